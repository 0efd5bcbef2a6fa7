//! How files are fetched: one trait, so that a test can be the server.
//!
//! Invariant: only [`FetchError::NotFound`] says that a file does not exist, and only a 404 makes it. Everything else is a
//! failure, because an outage must never read as "there is no newer root". Deliberately absent: what the bytes mean.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// Fetches files of a server by their path.
pub trait Transport: Send + Sync {
    /// The file at `path`, relative to the server's address, of at most `limit` bytes. More is an error, never a cut.
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send;

    /// The same, past every cache on the way.
    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        self.fetch(path, limit)
    }

    /// The server's address, for messages.
    fn describe(&self) -> String {
        String::new()
    }
}

impl<T: Transport> Transport for &T {
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch(path, limit)
    }

    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch_past_caches(path, limit)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

impl<T: Transport> Transport for Arc<T> {
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch(path, limit)
    }

    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch_past_caches(path, limit)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// Why a file was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// 404, and nothing else.
    #[error("not found")]
    NotFound,
    /// 401.
    #[error("a token is needed")]
    Unauthorized,
    /// 403.
    #[error("access is denied")]
    Forbidden,
    /// 429.
    #[error("too many requests")]
    RateLimited {
        /// How long to wait, if the server said it in seconds.
        retry_after: Option<Duration>,
    },
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(&'static str),
    /// The certificate is not accepted.
    #[error("the certificate is not accepted: {0}")]
    Certificate(String),
    /// No answer in time, or one that trickles.
    #[error("no complete answer in time")]
    Timeout,
    /// More than the limit.
    #[error("more than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body ended before its stated end.
    #[error("the answer was cut off")]
    Truncated,
    /// Any other status.
    #[error("status {0}")]
    Status(u16),
    /// A redirect that is not followed.
    #[error("a redirect was refused")]
    Redirect,
    /// Plain HTTP to another machine.
    #[error("plain HTTP is refused")]
    InsecureRefused,
    /// A body with a `Content-Encoding`, which nobody asked for.
    #[error("the answer is encoded, which nobody asked for")]
    Encoding,
    /// The client cannot be set up: a file of authorities, or the address.
    #[error("{0}")]
    Setup(String),
}
