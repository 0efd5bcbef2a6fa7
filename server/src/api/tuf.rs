//! `/tuf/…`: metadata and contents of targets, for any TUF client.

use axum::response::Response;
use http::request::Parts;

use super::answer::{Cache, file};
use super::{Problem, path};
use crate::app::App;
use crate::app::auth::{Action, Principal};
use crate::app::error::AppError;

pub(super) async fn answer(app: &App, principal: &Principal, head: &Parts) -> Result<Response, Problem> {
    const NONE: AppError = AppError::NotFound("file");
    let raw = head.uri.path().strip_prefix("/tuf/").unwrap_or_default();
    let split = path::split(raw);
    let collection = split.as_ref().and_then(|split| split.collection.as_ref());
    // Before anything is looked up, so that the answer is the same whether or not the collection is there.
    if let Some(collection) = collection {
        app.access().authorise(principal, Action::Read, Some(collection))?;
    }
    let (Some(split), Some(collection)) = (&split, collection) else { return Err(NONE.into()) };
    let shared = app.access().anonymous_read;
    match (split.family.as_str(), split.rest.as_slice()) {
        ("_metadata", [name]) => {
            let found = app.file(collection, name).await?;
            let cache = if name == "timestamp.json" { Cache::Short { shared } } else { Cache::Immutable { shared } };
            Ok(file(&head.headers, &found, "application/json", cache))
        }
        ("_targets", rest) => {
            for (target, hash) in path::content(rest) {
                match app.content(collection, &target, &hash).await {
                    Ok(found) => {
                        return Ok(file(
                            &head.headers,
                            &found,
                            "application/octet-stream",
                            Cache::Immutable { shared },
                        ));
                    }
                    Err(AppError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(NONE.into())
        }
        _ => Err(NONE.into()),
    }
}
