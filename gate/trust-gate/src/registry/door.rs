//! The HTTP service: each request becomes a route, and each route an answer.
//!
//! Invariant: HEAD and GET of one reference have the same decision, the same status and the same headers, because they are made
//! of the same value. Every answer that is no blob is complete in memory before its first byte goes out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, ETAG, IF_NONE_MATCH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use trust_image::Digest;
use trust_reader::registry::Upstream;

use super::client::Client;
use super::document::Document;
use super::path::{self, PathError, Route, Wanted};
use super::permit::{Permits, of_upstream};
use super::reply::{CONTENT_DIGEST, Refusal, empty, header_of, whole};
use super::writes::{self, Write};
use super::{blob, lists, push, referrers};
use crate::config::Login;
use crate::health;

/// How long an answer may take until its head goes out.
const MAX_TIME: Duration = Duration::from_secs(100);

/// A door: what may pass, the registry behind, and its switches.
pub(crate) struct Door {
    pub(crate) permits: Permits,
    pub(crate) upstream: Upstream,
    pub(crate) login: Login,
    pub(crate) push: bool,
    pub(crate) catalog: bool,
    /// Pushes at one time: each may take long, and those who pull must find a place all the same.
    pub(crate) pushing: Semaphore,
}

/// Pushes at one time, a fourth of all connections.
pub(crate) const PUSHES: usize = 256;

/// The service of this door.
pub(crate) fn router(door: Arc<Door>) -> Router {
    // No routes of the library: it would match decoded paths, and names may hold any of the words.
    Router::new().fallback(move |request: Request| {
        let door = Arc::clone(&door);
        async move { door.serve(request).await }
    })
}

impl Door {
    async fn serve(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let permits = &self.permits;
        if parts.method == Method::GET {
            match parts.uri.path() {
                "/livez" => return health::ALIVE.into_response(),
                "/readyz" => return health::ready(permits.rules.trouble(), &parts.uri, || permits.rules.report()),
                _ => {}
            }
        }
        let client = Client::new(&parts.headers, &self.upstream, self.login);
        let result = match self.write(&parts) {
            Err(refusal) => Err(refusal),
            Ok(Some(write)) => match self.pushing.try_acquire() {
                Ok(_place) => match push::answer(&write, &parts, body, &client).await {
                    Ok(response) => Ok(response),
                    Err(refusal) => Err(client.refused().unwrap_or(refusal)),
                },
                Err(_) => {
                    let message = "too many pushes at one time";
                    Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message).retry_after(5))
                }
            },
            // A body that somebody sent with a read is not read.
            Ok(None) => {
                let exchange = async {
                    match self.read(&parts, is_head, &client).await {
                        Ok(response) => Ok(response),
                        Err(refusal) => Err(client.may_hear(refusal).await),
                    }
                };
                tokio::time::timeout(MAX_TIME, exchange).await.unwrap_or_else(|_| Err(too_slow()))
            }
        };
        let mut response = result.unwrap_or_else(|refusal| refusal.response(is_head));
        if parts.headers.contains_key(TRANSFER_ENCODING) {
            // Nothing rides behind a body whose end a proxy in front may have seen elsewhere.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The request as one that writes, if it is one and writing is let through.
    fn write(&self, parts: &Parts) -> Result<Option<Write>, Refusal> {
        let write = if self.push { writes::read(&parts.method, &parts.uri)? } else { None };
        // The library reads such a body by its chunks and hides a length that stands beside; it ends the connection then. Where
        // no body belongs, none is taken: a proxy in front may see another end of the request.
        if parts.headers.contains_key(TRANSFER_ENCODING) && !write.as_ref().is_some_and(Write::has_body) {
            return Err(PathError::Framing.into());
        }
        Ok(write)
    }

    async fn read(&self, request: &Parts, is_head: bool, client: &Client) -> Result<Response, Refusal> {
        let headers = &request.headers;
        let permits = &self.permits;
        match path::read(&request.method, &request.uri)? {
            Route::Ping => {
                if client.is_own() {
                    client.upstream.ping().await.map_err(|error| of_upstream(&error))?;
                }
                Ok(whole(StatusCode::OK, "application/json", "{}", is_head))
            }
            Route::Manifest(name, wanted) => {
                let document = match wanted {
                    Wanted::Tag(tag) => permits.by_tag(&name, &tag, client).await?,
                    Wanted::Digest(digest) => permits.by_digest(&name, &digest, client).await?,
                };
                Ok(manifest(&document, headers, is_head))
            }
            Route::Blob(name, digest) => {
                let answer = blob::answer(permits, &name, &digest, headers, is_head, client).await;
                // Who pushes asks first whether a layer is there. A denial would end the push; an upload harms nobody.
                match answer {
                    Err(refusal) if is_head && self.push && refusal.code == "DENIED" => {
                        Err(Refusal::blob_unknown(&name, &digest, "no allowed image of this name holds this blob"))
                    }
                    answer => answer,
                }
            }
            Route::Tags(name, page) => lists::tags(permits, &name, &page, is_head, client).await,
            Route::Referrers(name, digest, kind) => {
                referrers::answer(permits, &name, &digest, kind.as_deref(), is_head, client).await
            }
            Route::Catalog(_) if !self.catalog => Err(PathError::Catalog.into()),
            Route::Catalog(page) => lists::catalog(permits, &page, is_head, client).await,
        }
    }
}

fn too_slow() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the answer takes too long").retry_after(5)
}

fn manifest(document: &Document, headers: &HeaderMap, is_head: bool) -> Response {
    let mut response = match is_known(headers, IF_NONE_MATCH, &document.digest) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => whole(StatusCode::OK, document.kind.as_str(), document.bytes.clone(), is_head),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, header_of(&document.digest, false));
    headers.insert(ETAG, header_of(&document.digest, true));
    // What it means may change with the next decision.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// Whether the client says that it has this content already.
pub(crate) fn is_known(headers: &HeaderMap, name: HeaderName, digest: &Digest) -> bool {
    let wanted = header_of(digest, true);
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.take(16).flat_map(|value| value.split(',')).any(|tag| tag.trim().as_bytes() == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;

    #[tokio::test]
    async fn health_is_told_beside_the_protocol_and_pulls_nothing() {
        let world = World::start().await;
        for (path, body) in [("/livez", "ok\n"), ("/readyz", "ok\n"), ("/readyz?verbose", "null\n")] {
            let got = world.get(path).await;
            assert_eq!((got.status, got.body.as_slice()), (200, body.as_bytes()), "{path}");
        }
        assert_eq!(world.get("/v2/livez").await.status, 404);
        assert_eq!(world.ask("POST", "/readyz", &[]).await.status, 405);
        assert_eq!(world.upstream.asked(), [""; 0]);
    }
}
