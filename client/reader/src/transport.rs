//! How files are fetched: one trait, so that a test can be the server.
//!
//! Invariant: only [`FetchError::NotFound`] says that a file does not exist, and only a 404 makes it. Everything else is a
//! failure, because an outage must never read as "there is no newer root". Deliberately absent: what the bytes mean.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trust_tuf::UtcTime;

/// Fetches files of a server by their path.
pub trait Transport: Send + Sync {
    /// The file at `path`, relative to the server's address, of at most `limit` bytes. More is an error, never a cut.
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send;

    /// The same, past every cache on the way.
    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        self.fetch(path, limit)
    }

    /// The same in pieces, for a file that memory should not hold: no piece after `limit` bytes, and no end before the
    /// stated one, is ever given.
    fn open(&self, path: &str, limit: u64) -> impl Future<Output = Result<Body, FetchError>> + Send {
        async move { Ok(in_one_piece(self.fetch(path, limit).await?)) }
    }

    /// The server's address, for messages.
    fn describe(&self) -> String {
        String::new()
    }

    /// What the server said the time was when it answered last. Nobody signs it: it explains failures and decides nothing.
    fn server_time(&self) -> Option<UtcTime> {
        None
    }
}

/// A body that comes in pieces.
pub trait Pieces: Send {
    /// The next piece; `None` once the whole body came.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>>;
}

/// Any such body.
pub type Body = Box<dyn Pieces>;

struct OnePiece(Option<Bytes>);

impl Pieces for OnePiece {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, FetchError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}

/// A body that is there already.
pub fn in_one_piece(bytes: Bytes) -> Body {
    Box::new(OnePiece(Some(bytes)))
}

impl<T: Transport> Transport for &T {
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch(path, limit)
    }

    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch_past_caches(path, limit)
    }

    fn open(&self, path: &str, limit: u64) -> impl Future<Output = Result<Body, FetchError>> + Send {
        (**self).open(path, limit)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn server_time(&self) -> Option<UtcTime> {
        (**self).server_time()
    }
}

impl<T: Transport> Transport for Arc<T> {
    fn fetch(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch(path, limit)
    }

    fn fetch_past_caches(&self, path: &str, limit: u64) -> impl Future<Output = Result<Bytes, FetchError>> + Send {
        (**self).fetch_past_caches(path, limit)
    }

    fn open(&self, path: &str, limit: u64) -> impl Future<Output = Result<Body, FetchError>> + Send {
        (**self).open(path, limit)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn server_time(&self) -> Option<UtcTime> {
        (**self).server_time()
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
    #[error("no complete answer in time{0}")]
    Timeout(TimeLimit),
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
    /// One redirect too many.
    #[error("more than {limit} redirects")]
    Redirects {
        /// How many are followed.
        limit: usize,
    },
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

/// Which limit of [`crate::limits`] was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// No connection within this time.
    Connect(Duration),
    /// Nothing came for this long.
    Idle(Duration),
    /// Not complete within this time.
    Whole(Duration),
    /// Fewer bytes a second than this, for longer than the grace.
    Rate(u64),
    /// Not complete within what was left of the time of the command, or of this place's share in it.
    Share(Duration),
    /// Another transport's.
    Unnamed,
}

impl std::fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(limit) => write!(f, ": not connected within {limit:?}"),
            Self::Idle(limit) => write!(f, ": nothing came for {limit:?}"),
            Self::Whole(limit) => write!(f, ": not complete within {limit:?}"),
            Self::Rate(least) => write!(f, ": slower than {least} bytes a second"),
            Self::Share(time) => write!(f, ": not complete within the {:.1} s that it had", time.as_secs_f64()),
            Self::Unnamed => Ok(()),
        }
    }
}
