//! Lists of what is signed: the tags of a name, and the names.
//!
//! Invariant: a list is made of trust data that can be used now, never of what the upstream lists; where clients speak for
//! themselves, the upstream is asked whether this one may list. Lists are in ASCII order, with pages. Deliberately absent: whether
//! each entry may pass: that is asked at the pull.

use std::collections::BTreeSet;

use axum::response::Response;
use http::header::LINK;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::client::Client;
use super::path::{MAX_PAGE, Page};
use super::permit::{Permits, of_upstream};
use super::reply::{Refusal, whole};

/// The signed tags.
pub(crate) async fn tags(
    permits: &Permits,
    name: &str,
    page: &Page,
    is_head: bool,
    client: &Client,
) -> Result<Response, Refusal> {
    if client.is_own() {
        client.upstream.may_list(name).await.map_err(|error| of_upstream(&error))?;
    }
    let signed = permits.signed(name);
    let probe = signed.tags.keys().next().map_or("latest", String::as_str);
    match permits.check_tag(name, probe, &client.whom) {
        Err(denial) if !denial.is_about_the_image() => return Err(permits.denied(name, "tags/list", &denial)),
        _ if signed.tags.is_empty() => {
            let detail = json!({ "repository": name });
            return Err(
                Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no tag of this name is signed").detail(detail)
            );
        }
        _ => {}
    }
    let after = |last: &str| signed.tags.keys().map(String::as_str).filter(move |tag| *tag > last).collect();
    let (listed, next) = cut(page, after);
    let body = json!({ "name": name, "tags": listed }).to_string();
    Ok(linked(whole(StatusCode::OK, "application/json", body, is_head), &format!("{name}/tags/list"), next))
}

/// The names with signed tags.
pub(crate) async fn catalog(
    permits: &Permits,
    page: &Page,
    is_head: bool,
    client: &Client,
) -> Result<Response, Refusal> {
    if client.is_own() {
        client.upstream.may_list_all().await.map_err(|error| of_upstream(&error))?;
    }
    let mut names = BTreeSet::new();
    let mut trouble = None;
    let known = permits.names();
    for (name, tag) in known.iter() {
        // Names of a collection whose trust data cannot be used are not told.
        match permits.check_tag(name, tag, &client.whom) {
            Err(denial) if !denial.is_about_the_image() => trouble = trouble.or(Some((name, denial))),
            _ => {
                names.insert(name.as_str());
            }
        }
    }
    if let (true, Some((name, denial))) = (names.is_empty(), trouble) {
        return Err(permits.denied(name, "_catalog", &denial));
    }
    let (listed, next) = cut(page, |last| names.iter().copied().filter(|name| *name > last).collect());
    let body = json!({ "repositories": listed }).to_string();
    Ok(linked(whole(StatusCode::OK, "application/json", body, is_head), "_catalog", next))
}

/// One page of a list in order, and its last entry and length if more follows. `last` need not be an entry.
fn cut<'a>(page: &Page, after: impl FnOnce(&str) -> Vec<&'a str>) -> (Vec<&'a str>, Option<(String, usize)>) {
    let count = page.count.unwrap_or(MAX_PAGE);
    let mut listed = after(page.last.as_deref().unwrap_or_default());
    let more = listed.len() > count;
    listed.truncate(count);
    let next = listed.last().filter(|_| more).map(|last| ((*last).to_owned(), count));
    (listed, next)
}

fn linked(mut response: Response, list: &str, next: Option<(String, usize)>) -> Response {
    if let Some((last, count)) = next {
        let link = format!("</v2/{list}?last={}&n={count}>; rel=\"next\"", last.replace('/', "%2F"));
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    response
}
