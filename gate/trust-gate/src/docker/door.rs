//! The plugin's protocol: the handshake, and one answer for each call.
//!
//! Invariants: every call gets an answer in time, status 200, that says yes or no; the engine stops what has no answer. What
//! stands in a call is bounded, and large calls wait for each other. Each answer ends its connection: an engine that goes on with
//! one that was closed meanwhile would wait and try again. Deliberately absent: how it is decided ([`super::judge`]).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::call::{Call, MAX_CALL};
use super::engine::Engine;
use super::judge::{Denied, Judge};
use crate::config::{DockerConfig, Mode};
use crate::health;
use crate::local::{Rules, sentence};

/// The protocol's own type of content.
const PROTOCOL: &str = "application/vnd.docker.plugins.v1.1+json";
/// How long a call may take, from its head to its answer.
const MAX_TIME: Duration = Duration::from_secs(15);
/// Calls that say they are no larger have room of their own.
const SMALL: usize = 64 * 1024;
/// So many of them at one time, and of all others.
const SMALL_CALLS: usize = 256;
const LARGE_CALLS: usize = 8;

struct Door {
    judge: Judge,
    small: Semaphore,
    large: Semaphore,
}

/// The service of this door.
pub(super) fn router(config: &DockerConfig, rules: Arc<dyn Rules>, engine: Engine) -> Router {
    let judge = Judge { config: config.clone(), rules, engine };
    let door = Arc::new(Door { judge, small: Semaphore::new(SMALL_CALLS), large: Semaphore::new(LARGE_CALLS) });
    Router::new().fallback(move |request: Request| {
        let door = Arc::clone(&door);
        async move { door.serve(request).await }
    })
}

impl Door {
    async fn serve(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        match (&parts.method, parts.uri.path()) {
            (&Method::POST, "/Plugin.Activate") => reply(json!({ "Implements": ["authz"] })),
            (&Method::POST, "/AuthZPlugin.AuthZReq") => {
                let due = Instant::now() + MAX_TIME;
                let late = || Denied(format!("no decision within {} s", MAX_TIME.as_secs()));
                let judged = timeout_at(due, self.call(&parts.headers, body)).await.unwrap_or_else(|_| Err(late()));
                self.answer(judged)
            }
            (&Method::POST, "/AuthZPlugin.AuthZRes") => {
                let _ = timeout_at(Instant::now() + MAX_TIME, drain(body)).await;
                self.answer(Ok(()))
            }
            (&Method::GET, "/livez") => health::ALIVE.into_response(),
            (&Method::GET, "/readyz") => {
                health::ready(self.judge.rules.trouble(), &parts.uri, || self.judge.rules.report())
            }
            _ => (StatusCode::NOT_FOUND, "this is an authorization plugin\n").into_response(),
        }
    }

    async fn call(&self, headers: &HeaderMap, body: Body) -> Result<(), Denied> {
        let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let room = if stated.is_some_and(|length| length <= SMALL) { &self.small } else { &self.large };
        let _place = room.acquire().await?;
        let bytes = whole(body).await?;
        let call = Call::parse(&bytes)?;
        drop(bytes);
        let judged = self.judge.judge(&call).await;
        if let Err(Denied(why)) = &judged {
            // Without the query: a build has its arguments there.
            let path: String = call.uri.split('?').next().unwrap_or_default().chars().take(200).collect();
            tracing::info!(
                method = sentence(&call.method),
                path = sentence(&path),
                user = call.whom(),
                "denied: {why}"
            );
        }
        judged
    }

    fn answer(&self, judged: Result<(), Denied>) -> Response {
        let (is_allowed, why) = match judged {
            Ok(()) => (true, String::new()),
            Err(Denied(why)) => (self.judge.config.mode != Mode::Enforce, why),
        };
        let message = if is_allowed { String::new() } else { sentence(&why) };
        reply(json!({ "Allow": is_allowed, "Msg": message, "Err": "" }))
    }
}

fn reply(answer: serde_json::Value) -> Response {
    let headers = [(CONTENT_TYPE, PROTOCOL), (CONNECTION, "close")];
    (headers, answer.to_string()).into_response()
}

async fn whole(body: Body) -> Result<Bytes, Denied> {
    match Limited::new(body, MAX_CALL).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(_) => Err(Denied(format!("the request is larger than {MAX_CALL} bytes, or was cut off"))),
    }
}

/// Takes a body without keeping it, so that whoever sends it comes to read the answer.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
