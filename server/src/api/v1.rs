//! `/v1/…`: reservations, online keys, publications, lists. Every write passes the authorisation before its body is read.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use trust_tuf::CollectionName;
use trust_wire::api::{
    CollectionsResponse, LogResponse, OnlineKeysRequest, PUBLICATION_BODY, ReserveRequest, SMALL_BODY,
};
use trust_wire::signer::decode;

use super::answer::json;
use super::{Api, Problem, only, path};
use crate::app::auth::{Action, Principal};
use crate::app::error::AppError;
use crate::app::query::LOG_PAGE;
use crate::fail;

const READ: [Method; 2] = [Method::GET, Method::HEAD];

/// Takes the rest of a body that nobody read, within limits: a client that is still sending sees the answer then, and
/// not a broken connection.
pub(super) async fn drain(mut body: Body) {
    const BYTES: usize = 8 * 1024 * 1024;
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut left = BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever is too slow is cut off.
    let _ended = tokio::time::timeout(PATIENCE, rest).await;
}

/// `body` is taken where it is read.
pub(super) async fn answer(
    api: &Api,
    principal: &Principal,
    head: &Parts,
    body: &mut Option<Body>,
) -> Result<Response, Problem> {
    const NONE: AppError = AppError::NotFound("route");
    let app = &api.app;
    let raw = head.uri.path().strip_prefix("/v1/").unwrap_or_default();
    let Some(split) = path::split(raw).filter(|split| split.rest.is_empty()) else { return Err(NONE.into()) };
    let allow = |action, collection| app.access().authorise(principal, action, collection);
    match (split.family.as_str(), &split.collection) {
        ("_collections", None) if READ.contains(&head.method) => {
            allow(Action::Read, None)?;
            Ok(json(StatusCode::OK, &CollectionsResponse { collections: app.collections(principal) }))
        }
        ("_collections", None) => {
            only(&head.method, &[Method::GET, Method::HEAD, Method::POST])?;
            allow(Action::Admin, None)?;
            let request: ReserveRequest = read(head, body, SMALL_BODY).await?;
            let name = CollectionName::parse(&request.name).map_err(|e| AppError::BadRequest(e.to_string()))?;
            allow(Action::Admin, Some(&name))?;
            Ok(json(StatusCode::OK, &app.reserve(principal.name(), &name).await?))
        }
        ("_online-keys", Some(name)) => {
            only(&head.method, &[Method::POST])?;
            allow(Action::Publish, Some(name))?;
            let request: OnlineKeysRequest = read(head, body, SMALL_BODY).await?;
            Ok(json(StatusCode::OK, &app.online_keys(name, request).await?))
        }
        ("_publications", Some(name)) => {
            only(&head.method, &[Method::POST])?;
            allow(Action::Publish, Some(name))?;
            // Nothing is read for a collection that is not there.
            app.slot(name)?;
            // Few large bodies at a time, so that memory stays bounded.
            let _large = match length(head) {
                Some(small) if small <= SMALL_BODY => None,
                _ => Some(api.large(principal.name()).await?),
            };
            let body = bytes(head, body, PUBLICATION_BODY).await?;
            fail::point("server.P1");
            Ok(json(StatusCode::OK, &app.publish(principal.name(), name, &*body).await?))
        }
        ("_log", Some(name)) => {
            only(&head.method, &READ)?;
            allow(Action::Read, Some(name))?;
            let (before, limit) = log_query(head.uri.query().unwrap_or_default())?;
            Ok(json(StatusCode::OK, &LogResponse { entries: app.log(name, before, limit).await? }))
        }
        _ => Err(NONE.into()),
    }
}

fn log_query(query: &str) -> Result<(Option<u64>, u32), AppError> {
    let (mut before, mut limit) = (None, LOG_PAGE);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let bad = || AppError::BadRequest("write `before=N&limit=N`".to_owned());
        match pair.split_once('=') {
            Some(("before", n)) => before = Some(n.parse().map_err(|_| bad())?),
            Some(("limit", n)) => limit = n.parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        }
    }
    Ok((before, limit))
}

fn length(head: &Parts) -> Option<usize> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn bytes(head: &Parts, body: &mut Option<Body>, limit: usize) -> Result<Bytes, AppError> {
    let too_large = AppError::TooLarge { what: "the body", limit };
    if length(head).is_some_and(|n| n > limit) {
        return Err(too_large);
    }
    to_bytes(body.take().unwrap_or_default(), limit).await.map_err(|error| {
        let inner = error.into_inner();
        if inner.is::<http_body_util::LengthLimitError>() {
            too_large
        } else {
            AppError::BadRequest("the body was cut off".to_owned())
        }
    })
}

async fn read<T: DeserializeOwned>(head: &Parts, body: &mut Option<Body>, limit: usize) -> Result<T, AppError> {
    decode(&bytes(head, body, limit).await?).map_err(AppError::BadRequest)
}
