//! The door of Kubernetes: validating and mutating admission webhook over TLS.
//!
//! `POST /mutate` and `POST /validate` take an `AdmissionReview`; `GET /livez`, `GET /readyz`. Allow and deny are both 200;
//! any other status is a failed call, which `failurePolicy` of the cluster decides, so that it is given only to what is
//! not understood. Each answer comes before the API server stops waiting. Memory is bounded: a body, and all bodies
//! together. Deliberately absent: certificates of clients (whoever asks learns only whether an image may run), and calls to
//! the API server.

mod inline;
pub mod judge;
pub mod patch;
pub mod review;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use trust_listen::{Certificate, TlsError};

use self::inline::Workers;
use self::judge::{Door, Rules};
use self::review::{MAX_REVIEW_LEN, Review, ReviewError};
use crate::config::AdmissionConfig;
use crate::decides::Decides;

/// How long a decision may take if the caller does not say how long it waits, and the longest that it may say.
const WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Room for bodies is given in pieces of this size; so many in all (64 MiB).
const PIECE: usize = 64 * 1024;
const PIECES: usize = 1_024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the door needs while it serves.
pub struct Admission {
    decider: Arc<dyn Decides>,
    rules: Rules,
    room: Semaphore,
    workers: Arc<Workers>,
    leaving: AtomicBool,
}

impl Admission {
    /// A door with these rules.
    pub fn new(decider: Arc<dyn Decides>, rules: Rules) -> Arc<Self> {
        let (room, leaving) = (Semaphore::new(PIECES), AtomicBool::new(false));
        Arc::new(Self { decider, rules, room, workers: Workers::new(), leaving })
    }

    /// From now on it is not ready: nobody new is to be sent here.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Its routes.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/mutate", post(|state, request| reviewed(state, Door::Mutate, request)))
            .route("/validate", post(|state, request| reviewed(state, Door::Validate, request)))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(Arc::clone(self))
    }
}

/// Serves on `listener`, which is bound to `config.listen`, until `stop`; then is not ready for `config.drain`, and lets
/// running requests end.
pub async fn run(
    config: &AdmissionConfig,
    listener: TcpListener,
    decider: Arc<dyn Decides>,
    stop: impl Future<Output = ()>,
) -> Result<(), TlsError> {
    let certificate = Certificate::load(&config.certificate, &config.key)?;
    let acceptor = certificate.acceptor()?;
    let follower = tokio::spawn(certificate.follow(LOOK));
    let door = Admission::new(decider, Rules::from(config));
    let router = door.router();
    let end = async {
        stop.await;
        door.leave();
        tokio::time::sleep(config.drain).await;
    };
    trust_listen::serve(listener, Some(acceptor), router, end).await;
    follower.abort();
    Ok(())
}

async fn ready(State(door): State<Arc<Admission>>) -> (StatusCode, String) {
    if door.leaving.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match door.decider.trouble() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the content type is not application/json")]
    ContentType,
    #[error("the review is larger than {MAX_REVIEW_LEN} bytes")]
    TooLarge,
    #[error("the review did not arrive whole")]
    Cut,
    #[error("the review did not arrive in time")]
    Late,
    #[error("{0}")]
    Review(#[from] ReviewError),
    #[error("the decision failed")]
    Failed,
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Cut | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!("a call failed: {self}");
        (status, format!("{self}\n")).into_response()
    }
}

async fn reviewed(
    State(door): State<Arc<Admission>>,
    way: Door,
    request: Request<Body>,
) -> Result<Response, CallError> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let time = time_to_answer(&head.uri);
    let deadline = begun + time;
    if !is_json(&head.headers) {
        return Err(CallError::ContentType);
    }
    let (body, room) =
        tokio::time::timeout_at(deadline, read(&door, &head.headers, body)).await.map_err(|_| CallError::Late)??;
    // Known as soon as the review is read: so that a decision which takes too long is answered all the same.
    let uid = Arc::new(OnceLock::new());
    let (known, worker) = (Arc::clone(&uid), Arc::clone(&door));
    let work = door.workers.run(move || {
        let review = Review::parse(&body)?;
        drop(body);
        let _ = known.set(review.uid.clone());
        let answer = judge::answer(&review, way, worker.rules, worker.decider.as_ref(), deadline.into_std());
        if !answer.allowed {
            tracing::info!(
                operation = ?review.operation, kind = review.kind, name = review.name,
                namespace = review.namespace.as_deref().unwrap_or_default(), user = review.user,
                dry_run = review.dry_run, "denied: {}", answer.message
            );
        }
        Ok::<_, ReviewError>(answer.to_json(&review.uid))
    });
    let bytes = match tokio::time::timeout_at(deadline, work).await {
        Ok(Ok(answered)) => answered?,
        // It broke, which must not depend on `failurePolicy`.
        Ok(Err(_)) => {
            let uid = uid.get().ok_or(CallError::Failed)?;
            tracing::error!(uid, "the decision broke off");
            judge::without_decision(door.rules, "the decision broke off").to_json(uid)
        }
        Err(_) => {
            let uid = uid.get().ok_or(CallError::Late)?;
            tracing::warn!(uid, "no decision in time");
            let why = format!("no decision within {:.1} s", time.as_secs_f64());
            judge::without_decision(door.rules, &why).to_json(uid)
        }
    };
    drop(room);
    Ok(([(CONTENT_TYPE, JSON)], bytes).into_response())
}

/// What the caller waits (`?timeout=5s`), less what the way back takes.
fn time_to_answer(uri: &Uri) -> Duration {
    let asked = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("timeout="));
    let seconds = asked.and_then(|text| text.strip_suffix('s')).and_then(|text| text.parse::<u32>().ok());
    let wait = match seconds {
        Some(seconds) => Duration::from_secs(seconds.max(1).into()).min(LONGEST_WAIT),
        None => WAIT,
    };
    wait - (wait / 5).clamp(Duration::from_millis(200), Duration::from_secs(1))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// Reads a body, and takes the room that it needs until it is dropped.
async fn read<'d>(
    door: &'d Admission,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(Bytes, SemaphorePermit<'d>), CallError> {
    let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let expected = stated.unwrap_or(MAX_REVIEW_LEN);
    if expected > MAX_REVIEW_LEN {
        return Err(CallError::TooLarge);
    }
    let pieces = u32::try_from(expected / PIECE + 1).map_err(|_| CallError::TooLarge)?;
    let room = door.room.acquire_many(pieces).await.map_err(|_| CallError::Failed)?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| CallError::Cut)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_REVIEW_LEN {
            return Err(CallError::TooLarge);
        }
        if bytes.is_empty() && stated == Some(data.len()) {
            // The usual review comes in one piece.
            return Ok((data, room));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), room))
}

#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod tests;
