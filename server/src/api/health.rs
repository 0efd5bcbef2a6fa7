//! `/livez`: the process answers. `/readyz`: database and signer answer too.

use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::answer::{json, text};
use crate::app::App;

#[derive(Serialize)]
struct Verbose {
    ready: bool,
    database: bool,
    signer: bool,
    /// Collections that are not served: they wait for the signer, or their files do not verify.
    blocked_collections: usize,
}

pub(super) fn live() -> Response {
    text(StatusCode::OK, "ok\n")
}

pub(super) async fn ready(app: &App, uri: &Uri) -> Response {
    let health = app.health().await;
    let ready = health.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="))) {
        let (database, signer, blocked_collections) = (health.database, health.signer, health.blocked);
        return json(status, &Verbose { ready, database, signer, blocked_collections });
    }
    text(status, if ready { "ok\n" } else { "not ready\n" })
}
