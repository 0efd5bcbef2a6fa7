//! The writing half of a `trust-server`: JSON requests with a token, and what their refusals mean.
//!
//! Nothing is repeated by itself: a publication carries an idempotency key, so that the caller may ask again. An answer
//! never proves that something is published: only a verified timestamp does.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trust_tuf::CollectionName;
use trust_wire::api::{
    CollectionsResponse, ErrorCode, ErrorDetail, ErrorResponse, LogResponse, OnlineKeysRequest, OnlineKeysResponse,
    PublicationRequest, PublicationResponse, ReserveRequest, ReserveResponse, SMALL_BODY, Versions,
};

use crate::catalogue::Code;
use crate::http::{Answer, HttpOptions, HttpTransport, shown_address};
use crate::problems::{Failure, code_of_fetch};
use crate::transport::FetchError;
use crate::verdict::Problem;

/// Largest answer that is read, in bytes: a log of the largest page fits.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// Most entries of one page of the log.
pub const LOG_PAGE: u32 = 200;

/// A client of the `/v1` routes.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: HttpTransport,
    whole: Duration,
}

impl ApiClient {
    /// A client of the server at this address. The token stands in the options.
    pub fn new(address: &str, options: HttpOptions) -> Result<Self, Problem> {
        let whole = options.whole;
        match HttpTransport::new(address, options) {
            Ok(http) => Ok(Self { http, whole }),
            Err(error) => Err(of_fetch(&shown_address(address), error)),
        }
    }

    /// The transport for reading from the same server.
    pub fn transport(&self) -> &HttpTransport {
        &self.http
    }

    /// Reserves a collection's name.
    pub async fn reserve(&self, collection: &CollectionName) -> Result<ReserveResponse, Problem> {
        let request = ReserveRequest { name: collection.to_string() };
        let answer = self.post("v1/_collections", &request).await?;
        self.read(answer, Some(collection), true)
    }

    /// Asks the signer for online keys. The proofs are for the caller to check.
    pub async fn online_keys(
        &self,
        collection: &CollectionName,
        request: &OnlineKeysRequest,
    ) -> Result<OnlineKeysResponse, Problem> {
        let answer = self.post(&format!("v1/{collection}/_online-keys"), request).await?;
        self.read(answer, Some(collection), false)
    }

    /// Publishes. `Ok` is the server's word: verify a timestamp before you call it published.
    pub async fn publish(
        &self,
        collection: &CollectionName,
        request: &PublicationRequest,
    ) -> Result<PublicationResponse, Problem> {
        let answer = self.post(&format!("v1/{collection}/_publications"), request).await?;
        self.read(answer, Some(collection), false)
    }

    /// A page of the log, newest first: entries before number `before`, at most `limit` (capped at [`LOG_PAGE`]).
    pub async fn log(
        &self,
        collection: &CollectionName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<LogResponse, Problem> {
        let mut path = format!("v1/{collection}/_log?limit={}", limit.min(LOG_PAGE));
        if let Some(before) = before {
            path.push_str(&format!("&before={before}"));
        }
        let answer = self.call(Method::GET, &path, None).await?;
        self.read(answer, Some(collection), false)
    }

    /// The collections that the token may read.
    pub async fn collections(&self) -> Result<CollectionsResponse, Problem> {
        let answer = self.call(Method::GET, "v1/_collections", None).await?;
        self.read(answer, None, false)
    }

    async fn post(&self, path: &str, request: &impl Serialize) -> Result<Answer, Problem> {
        let body = serde_json::to_vec(request).map_err(|_| Problem::new(Code::Internal))?;
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer, Problem> {
        let answer = self.http.call(method, path, body, MAX_ANSWER, self.whole).await;
        answer.map_err(|error| of_fetch(self.http.address(), error))
    }

    fn read<R: DeserializeOwned>(
        &self,
        answer: Answer,
        collection: Option<&CollectionName>,
        reserving: bool,
    ) -> Result<R, Problem> {
        let scene = |problem: Problem| {
            let problem = match collection {
                Some(collection) => problem.fact("collection", collection),
                None => problem,
            };
            problem.fact("server", self.http.address().trim_end_matches('/'))
        };
        if (200..300).contains(&answer.status) {
            return serde_json::from_slice(&answer.body)
                .map_err(|_| scene(Problem::new(Code::AnswerRefused)).fact("found", "an answer of another form"));
        }
        // An error body is a hint; the status alone decides when there is none.
        let detail = match answer.body.len() {
            len if len <= SMALL_BODY => serde_json::from_slice::<ErrorResponse>(&answer.body).ok().map(|e| e.error),
            _ => None,
        };
        let code = code_of(answer.status, detail.as_ref().map(|d| d.code), reserving);
        let mut problem = scene(Problem::new(code));
        if let Some(detail) = detail {
            problem = with_detail(problem, detail);
        } else {
            problem = problem.fact("found", format!("status {}", answer.status));
        }
        if let Some(after) = answer.retry_after {
            problem = problem.remedy([format!("try again in {} s", after.as_secs())]);
        }
        Err(problem)
    }
}

fn with_detail(mut problem: Problem, detail: ErrorDetail) -> Problem {
    if let Some(rule) = detail.rule {
        problem = problem.fact("rule", rule);
    }
    if !detail.message.is_empty() {
        problem = problem.fact("found", detail.message);
    }
    if let Some(current) = detail.current {
        problem = problem.fact("current", versions(&current));
    }
    problem
}

fn versions(current: &Versions) -> String {
    let root = current.root.map(|v| format!("root v{v}"));
    let roles = current.roles.iter().map(|(role, version)| format!("{role} v{version}"));
    root.into_iter().chain(roles).collect::<Vec<_>>().join(", ")
}

/// The code of an error answer. The word of the body counts only beside its own status.
fn code_of(status: u16, word: Option<ErrorCode>, reserving: bool) -> Code {
    let word = word.filter(|w| w.status() == status);
    match (status, word) {
        (_, Some(ErrorCode::SignerUnavailable)) => Code::SignerUnavailable,
        (_, Some(ErrorCode::SignerRefused)) => Code::SignerRefused,
        (401, _) => Code::LoginNeeded,
        (403, _) => Code::Forbidden,
        (404, _) => Code::NoSuchCollection,
        (409, _) if reserving => Code::NameTaken,
        (409, _) => Code::Conflict,
        (422, _) => Code::PublicationRefused,
        (429, _) => Code::RateLimited,
        (400 | 405 | 411 | 413 | 414 | 415 | 431, _) => Code::RequestRefused,
        (500.., _) => Code::ServerFault,
        _ => Code::AnswerRefused,
    }
}

fn of_fetch(address: &str, error: FetchError) -> Problem {
    let problem = Problem::new(code_of_fetch(&error)).fact("server", address.trim_end_matches('/'));
    problem.fact("found", &error).because(Failure::Fetch { file: String::new(), error })
}

#[cfg(test)]
mod tests;
