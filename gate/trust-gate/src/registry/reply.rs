//! Answers in the form of the registry protocol: errors with code, message and detail, and the headers that every answer has.
//!
//! Invariant: no header of the upstream is ever copied into an answer; every value here is made of parsed parts. A message is one
//! line of printable text. A HEAD has the headers of the GET and no body.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use trust_image::Digest;
use trust_reader::verdict::printable;

use super::path::PathError;

/// `Docker-Content-Digest`.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const NO_SNIFFING: HeaderName = HeaderName::from_static("x-content-type-options");

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// One of the protocol's codes.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<Box<Value>>,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
    /// The upstream's challenges, for a client that speaks for itself.
    pub(crate) challenges: Vec<HeaderValue>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &str) -> Refusal {
        Refusal { status, code, message: printable(message), detail: None, retry_after: None, challenges: Vec::new() }
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn detail(mut self, detail: Value) -> Refusal {
        self.detail = Some(Box::new(detail));
        self
    }

    /// There is no such manifest for this gate's clients.
    pub(crate) fn manifest_unknown(message: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    /// There is no such blob for this gate's clients.
    pub(crate) fn blob_unknown(name: &str, digest: &Digest, message: &str) -> Refusal {
        let detail = json!({ "repository": name, "digest": digest });
        Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message).detail(detail)
    }

    pub(crate) fn response(&self, is_head: bool) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(error), Some(detail)) = (error.as_object_mut(), &self.detail) {
            error.insert("detail".to_owned(), Value::clone(detail));
        }
        let body = json!({ "errors": [error] }).to_string();
        let mut response = whole(self.status, "application/json", body, is_head);
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        super::client::challenge(response.headers_mut(), &self.challenges);
        response
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Refusal {
        let message = error.to_string();
        let refuse = |status, code| Refusal::new(status, code, &message);
        match error {
            PathError::Writes => refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")
                .detail(json!({ "hint": "push to the registry itself, then sign the image; the gate passes on what is signed" })),
            PathError::Nothing => refuse(StatusCode::NOT_FOUND, "UNSUPPORTED"),
            PathError::Catalog => refuse(StatusCode::FORBIDDEN, "DENIED"),
            PathError::Framing => refuse(StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            PathError::Encoding | PathError::Name | PathError::Tag => refuse(StatusCode::BAD_REQUEST, "NAME_INVALID"),
            PathError::Digest(_) => refuse(StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            PathError::Page(_) => refuse(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
        }
    }
}

/// An answer with a body that is held whole.
pub(crate) fn whole(status: StatusCode, kind: &'static str, body: impl Into<bytes::Bytes>, is_head: bool) -> Response {
    let body = body.into();
    let length = body.len();
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, length.into());
    if !is_head {
        *response.body_mut() = Body::from(body);
    }
    response
}

/// An answer without body, with the headers that all have.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(NO_SNIFFING, HeaderValue::from_static("nosniff"));
    response
}

/// A digest as a header's value, or in quotes as an `ETag`.
pub(crate) fn header_of(digest: &Digest, quoted: bool) -> HeaderValue {
    let text = if quoted { format!("\"{digest}\"") } else { digest.to_string() };
    // Hex, a colon and quotes always fit.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
