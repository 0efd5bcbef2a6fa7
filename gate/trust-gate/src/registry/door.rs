//! The HTTP service: each request becomes a route, and each route an answer.
//!
//! Invariant: HEAD and GET of one reference have the same decision, the same status and the same headers, because they are made
//! of the same value. Every answer that is no blob is complete in memory before its first byte goes out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LINK, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use trust_image::Digest;
use trust_reader::verdict::printable;

use super::blob;
use super::document::Document;
use super::path::{self, MAX_PAGE, Page, Route, Wanted};
use super::permit::Permits;
use super::reply::{CONTENT_DIGEST, Refusal, empty, header_of, whole};
use crate::health;

/// How long an answer may take until its head goes out.
const MAX_TIME: Duration = Duration::from_secs(100);
/// The longest name of a client in the log, in bytes.
const MAX_WHOM: usize = 120;

/// The service of this door.
pub(crate) fn router(permits: Arc<Permits>) -> Router {
    // No routes of the library: it would match decoded paths, and names may hold any of the words.
    Router::new().fallback(move |request: Request| {
        let permits = Arc::clone(&permits);
        async move {
            // A body that somebody sent with it is not read.
            let (parts, _) = request.into_parts();
            let is_head = parts.method == Method::HEAD;
            if parts.method == Method::GET {
                match parts.uri.path() {
                    "/livez" => return health::ALIVE.into_response(),
                    "/readyz" => return health::ready(permits.rules.trouble(), &parts.uri, || permits.rules.report()),
                    _ => {}
                }
            }
            let answer = tokio::time::timeout(MAX_TIME, answer(&permits, &parts, is_head)).await;
            answer.unwrap_or_else(|_| Err(too_slow())).unwrap_or_else(|refusal| refusal.response(is_head))
        }
    })
}

async fn answer(permits: &Permits, request: &Parts, is_head: bool) -> Result<Response, Refusal> {
    let headers = &request.headers;
    let whom = whom(headers);
    match path::read(&request.method, &request.uri)? {
        Route::Ping => Ok(whole(StatusCode::OK, "application/json", "{}", is_head)),
        Route::Manifest(name, wanted) => {
            let document = match wanted {
                Wanted::Tag(tag) => permits.by_tag(&name, &tag, &whom).await?,
                Wanted::Digest(digest) => permits.by_digest(&name, &digest, &whom).await?,
            };
            Ok(manifest(&document, headers, is_head))
        }
        Route::Blob(name, digest) => blob::answer(permits, &name, &digest, headers, is_head, &whom).await,
        Route::Tags(name, page) => tags(permits, &name, &page, is_head, &whom),
    }
}

/// Who asks, as far as that is known: what the client calls itself, for the log alone.
fn whom(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown client");
    printable(text.get(..text.len().min(MAX_WHOM)).unwrap_or_default())
}

fn too_slow() -> Refusal {
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the answer takes too long");
    refusal.retry_after = Some(5);
    refusal
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

/// The signed tags, from trust data that can be used now.
fn tags(permits: &Permits, name: &str, page: &Page, is_head: bool, whom: &str) -> Result<Response, Refusal> {
    let signed = permits.signed(name);
    let probe = signed.tags.keys().next().map_or("latest", String::as_str);
    match permits.check_tag(name, probe, whom) {
        Err(denial) if !denial.is_about_the_image() => return Err(permits.denied(name, "tags/list", &denial)),
        _ if signed.tags.is_empty() => {
            let detail = json!({ "repository": name });
            return Err(
                Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no tag of this name is signed").detail(detail)
            );
        }
        _ => {}
    }
    let count = page.count.unwrap_or(MAX_PAGE);
    let mut names = signed.tags.keys().map(String::as_str);
    let mut listed: Vec<&str> = match &page.last {
        // `last` need not be one of the tags.
        Some(last) => names.filter(|tag| *tag > last.as_str()).take(count.saturating_add(1)).collect(),
        None => names.by_ref().take(count.saturating_add(1)).collect(),
    };
    let more = listed.len() > count;
    listed.truncate(count);
    let body = json!({ "name": name, "tags": listed }).to_string();
    let mut response = whole(StatusCode::OK, "application/json", body, is_head);
    if let (true, Some(last)) = (more, listed.last()) {
        let link = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
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
