//! `/livez` and `/readyz`, the same on every door.
//!
//! `/readyz` is 200 if the door can decide, else 503 with the reason in one line. `/readyz?verbose` has the same status and
//! says how each collection and the policy is, as JSON. Deliberately absent: addresses of servers, since everybody who
//! reaches the door can ask.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};
use serde_json::Value;

/// The answer of `/livez`: the program runs.
pub(crate) const ALIVE: &str = "ok\n";

/// The answer of `/readyz`.
pub(crate) fn ready(trouble: Option<String>, uri: &Uri, report: impl FnOnce() -> Value) -> Response {
    let status = if trouble.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = |pair: &str| pair == "verbose" || pair.starts_with("verbose=");
    if uri.query().unwrap_or_default().split('&').any(verbose) {
        return (status, [(CONTENT_TYPE, "application/json")], format!("{}\n", report())).into_response();
    }
    (status, trouble.map_or_else(|| ALIVE.to_owned(), |trouble| format!("{trouble}\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_in_trouble_is_not_ready_however_it_is_asked() {
        let report = || serde_json::json!({"ready": false});
        for (uri, wanted) in [
            ("/readyz", "the clock went back\n"),
            ("/readyz?verboser", "the clock went back\n"),
            ("/readyz?verbose", "{\"ready\":false}\n"),
            ("/readyz?x=1&verbose=true", "{\"ready\":false}\n"),
        ] {
            let answer = ready(Some("the clock went back".to_owned()), &Uri::from_static(uri), report);
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{uri}");
            let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
            assert_eq!(body, wanted.as_bytes(), "{uri}");
        }
    }
}
