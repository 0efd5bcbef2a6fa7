//! Answers: headers for caches, errors as JSON, `HEAD`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use trust_wire::api::{ErrorCode, ErrorDetail, ErrorResponse};

use crate::app::error::AppError;
use crate::app::view::File;

/// How long an answer may be kept on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// A versioned file: for ever; by caches on the way only if everybody may read it.
    Immutable {
        /// Whether everybody may read it.
        shared: bool,
    },
    /// The timestamp: a second, and asked again by `ETag`.
    Short {
        /// Whether everybody may read it.
        shared: bool,
    },
    /// Not at all.
    Never,
}

impl Cache {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Immutable { shared: true } => "public, max-age=31536000, immutable",
            Self::Immutable { shared: false } => "private, max-age=31536000, immutable",
            Self::Short { shared: true } => "public, max-age=1, must-revalidate",
            Self::Short { shared: false } => "private, max-age=1, must-revalidate",
            Self::Never => "no-store",
        }
    }
}

fn build(status: StatusCode, kind: &'static str, cache: Cache, body: Body, length: usize) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache.as_str()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A file, or 304 if the asker has it.
pub(super) fn file(asked: &HeaderMap, file: &File, kind: &'static str, cache: Cache) -> Response {
    let has_it = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == file.etag)
    });
    let mut response = if has_it {
        let mut response = build(StatusCode::NOT_MODIFIED, kind, cache, Body::empty(), 0);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().remove(header::CONTENT_TYPE);
        response
    } else {
        build(StatusCode::OK, kind, cache, Body::from(file.bytes.clone()), file.bytes.len())
    };
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let length = body.len();
    build(status, "application/json", Cache::Never, Body::from(body), length)
}

/// Text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response {
    build(status, "text/plain; charset=utf-8", Cache::Never, Body::from(text), text.len())
}

/// An error.
pub(super) fn error(error: &AppError) -> Response {
    let detail = error.detail();
    let code = detail.code;
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &ErrorResponse { error: detail });
    let headers = response.headers_mut();
    if code == ErrorCode::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"trust\""));
    }
    if matches!(code, ErrorCode::RateLimited | ErrorCode::SignerUnavailable | ErrorCode::Unavailable) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// 431. What the request wants is not looked at.
pub(super) fn head(limit: usize) -> Response {
    let mut response = error(&AppError::TooLarge { what: "the head of the request", limit });
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 405.
pub(super) fn method(allowed: &'static str) -> Response {
    let message = format!("this path answers {allowed} only");
    let detail = ErrorDetail { code: ErrorCode::BadRequest, message, current: None, rule: None };
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &ErrorResponse { error: detail });
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The same head, with the length that the body would have had.
pub(super) fn without_body(response: Response) -> Response {
    let (head, _) = response.into_parts();
    Response::from_parts(head, Body::empty())
}
