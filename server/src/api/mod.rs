//! HTTP: routes, the principal of a request, deadlines. What is allowed is decided in [`crate::app`].
//!
//! Collections have slashes in their names, so that each family of paths has one catch-all, split by hand at the first
//! segment that begins with `_`: no component of a collection does. Deliberately absent: compression, cookies, pages.

mod answer;
mod health;
pub mod openapi;
mod path;
mod tuf;
mod v1;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::app::App;
use crate::app::auth::Principal;
use crate::app::error::AppError;
use crate::fail;

/// The longest that a request may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest that a publication may take.
const PUBLICATION_DEADLINE: Duration = Duration::from_secs(120);
/// The largest head of a request (path, names and values of headers), in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// Large bodies that are read at one time.
const LARGE_BODIES: usize = 8;

/// How many of them one token may send: whoever sends slowly does not keep others from publishing.
const LARGE_BODIES_OF_ONE: usize = 2;

struct Api {
    app: Arc<App>,
    large: Semaphore,
    senders: Mutex<BTreeMap<String, usize>>,
}

/// The right to send a large body.
struct Large<'a> {
    api: &'a Api,
    token: String,
    _place: Option<SemaphorePermit<'a>>,
}

impl Api {
    /// Waits for a place among the large bodies. A token that has its share already is told so at once.
    async fn large(&self, token: &str) -> Result<Large<'_>, AppError> {
        {
            let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
            let count = senders.entry(token.to_owned()).or_default();
            if *count >= LARGE_BODIES_OF_ONE {
                return Err(AppError::RateLimited);
            }
            *count += 1;
        }
        // From here on the share is given back whatever happens.
        let mut large = Large { api: self, token: token.to_owned(), _place: None };
        large._place = Some(self.large.acquire().await.map_err(|_| AppError::Internal)?);
        Ok(large)
    }
}

impl Drop for Large<'_> {
    fn drop(&mut self) {
        let mut senders = self.api.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = senders.get_mut(&self.token) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                senders.remove(&self.token);
            }
        }
    }
}

/// Every route of the server.
pub fn router(app: Arc<App>) -> Router {
    let api = Arc::new(Api { app, large: Semaphore::new(LARGE_BODIES), senders: Mutex::default() });
    Router::new()
        .route("/tuf/{*rest}", any(tuf))
        .route("/v1/{*rest}", any(v1))
        .route("/livez", any(live))
        .route("/readyz", any(ready))
        .fallback(any(nothing))
        .layer(axum::middleware::from_fn(small_head))
        .with_state(api)
}

/// Lets requests with a head of a sensible size through.
async fn small_head(request: Request, next: axum::middleware::Next) -> Response {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if headers.fold(path, usize::saturating_add) > HEAD_BYTES {
        return answer::head(HEAD_BYTES);
    }
    next.run(request).await
}

async fn tuf(State(api): State<Arc<Api>>, request: Request) -> Response {
    fail::point("server.P0");
    let start = Instant::now();
    let (head, _) = request.into_parts();
    let work = async {
        only(&head.method, &[Method::GET, Method::HEAD])?;
        let principal = principal(&api, &head.uri, &head.headers).await?;
        tuf::answer(&api.app, &principal, &head).await
    };
    finish(&head, start, within(DEADLINE, work).await)
}

async fn v1(State(api): State<Arc<Api>>, request: Request) -> Response {
    fail::point("server.P0");
    let start = Instant::now();
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let publication = head.uri.path().ends_with("/_publications");
    let deadline = if publication { PUBLICATION_DEADLINE } else { DEADLINE };
    let work = async {
        let principal = principal(&api, &head.uri, &head.headers).await?;
        v1::answer(&api, &principal, &head, &mut body).await
    };
    let answer = within(deadline, work).await;
    if let Some(unread) = body {
        v1::drain(unread).await;
    }
    finish(&head, start, answer)
}

async fn live(request: Request) -> Response {
    let start = Instant::now();
    let (head, _) = request.into_parts();
    let answer = only(&head.method, &[Method::GET, Method::HEAD]).map(|()| health::live());
    finish(&head, start, answer)
}

async fn ready(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let (head, _) = request.into_parts();
    let work = async {
        only(&head.method, &[Method::GET, Method::HEAD])?;
        Ok(health::ready(&api.app, &head.uri).await)
    };
    finish(&head, start, within(DEADLINE, work).await)
}

async fn nothing(request: Request) -> Response {
    let start = Instant::now();
    let (head, _) = request.into_parts();
    finish(&head, start, Err(AppError::NotFound("route").into()))
}

/// Why there is no answer: a reason of the application, or one that only HTTP knows.
enum Problem {
    App(AppError),
    Method(&'static str),
}

impl<E: Into<AppError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::App(error.into())
    }
}

fn only(method: &Method, allowed: &[Method]) -> Result<(), Problem> {
    if allowed.contains(method) {
        return Ok(());
    }
    Err(Problem::Method(if allowed.contains(&Method::POST) {
        if allowed.contains(&Method::GET) { "GET, HEAD, POST" } else { "POST" }
    } else {
        "GET, HEAD"
    }))
}

async fn within(
    deadline: Duration,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    match tokio::time::timeout(deadline, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::App(AppError::Unavailable("the request took too long"))),
    }
}

fn finish(head: &Parts, start: Instant, answer: Result<Response, Problem>) -> Response {
    let response = answer.unwrap_or_else(|problem| match problem {
        Problem::App(error) => answer::error(&error),
        Problem::Method(allowed) => answer::method(allowed),
    });
    // The path without its query, in which somebody may have put a secret.
    let (path, status) = (head.uri.path(), response.status().as_u16());
    tracing::debug!(method = %head.method, path, status, micros = start.elapsed().as_micros(), "request");
    if head.method == Method::HEAD { answer::without_body(response) } else { response }
}

/// Who sends the request: the bearer of a token, or nobody. A token in the URL is refused, valid or not: URLs are
/// logged on the way.
async fn principal(api: &Api, uri: &Uri, headers: &HeaderMap) -> Result<Principal, Problem> {
    if uri.query().is_some_and(names_a_secret) {
        return Err(AppError::BadRequest(
            "a token does not belong into a URL; send `Authorization: Bearer`".to_owned(),
        )
        .into());
    }
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (given.next(), given.next()) {
        (None, _) => None,
        (Some(one), None) => {
            let bearer = one.to_str().ok().and_then(|text| text.split_once(' '));
            let (_, token) = bearer
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .ok_or(AppError::Unauthorized("write `Authorization: Bearer TOKEN`"))?;
            Some(token.trim())
        }
        (Some(_), Some(_)) => return Err(AppError::Unauthorized("more than one `Authorization`").into()),
    };
    let principal = api.app.principal(token).await?;
    fail::point("server.P3");
    Ok(principal)
}

fn names_a_secret(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = path::decode(name).unwrap_or_default().to_ascii_lowercase();
        let value = path::decode(value).unwrap_or_default();
        ["token", "auth", "key", "secret", "password"].iter().any(|word| name.contains(word))
            || value.starts_with("trust_")
    })
}
