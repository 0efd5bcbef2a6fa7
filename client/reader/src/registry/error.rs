//! What can go wrong between us and a registry, as named reasons: a caller tells from the reason who has to do what.
//!
//! Invariant: no reason holds a credential, a token, a URL with a query, or bytes that the registry sent.

use std::path::PathBuf;
use std::time::Duration;

use trust_image::Digest;

use crate::tls::TlsError;

/// A failed request: what was asked of whom, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} from registry {host}: {reason}")]
pub struct RegistryError {
    /// Canonical `HOST[:PORT]` of the registry.
    pub host: String,
    /// What was asked for: `team/app:v1`, `team/app@sha256:…`, …
    pub subject: String,
    /// Why it failed.
    pub reason: Reason,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The registry does not have it (404), or does not tell us that it has.
    #[error("not found")]
    NotFound,
    /// The registry wants credentials (401): none were found, or those found are not accepted.
    #[error("{}", if *.credentials_sent { "the registry does not accept the stored credentials" } else { "the registry asks for a login and no credentials are stored for it" })]
    Unauthorized {
        /// Whether stored credentials were used.
        credentials_sent: bool,
    },
    /// We are known and may not (403).
    #[error("access is denied")]
    Forbidden,
    /// Too many requests (429).
    #[error("the registry limits the rate of requests")]
    RateLimited {
        /// How long to wait, if the registry said it in seconds.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(&'static str),
    /// The certificate of the registry is not accepted.
    #[error("the registry's TLS certificate is not trusted: {0}")]
    Certificate(String),
    /// No complete answer within the deadline.
    #[error("no complete answer in time")]
    Timeout,
    /// The bytes are not those that were asked for.
    #[error("the registry served other content: expected {expected}, got {got}")]
    DigestMismatch {
        /// What was asked for.
        expected: Box<Digest>,
        /// What the served bytes hash to.
        got: Box<Digest>,
    },
    /// A body or a count is beyond the limit.
    #[error("larger than the limit of {limit}")]
    TooLarge {
        /// The limit: bytes of a body, or manifests of an index.
        limit: u64,
    },
    /// The content or the protocol is broken.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Any other status than those named here.
    #[error("the registry answered with status {0}")]
    Upstream(u16),
    /// The registry redirects what must not be redirected, or too often.
    #[error("a redirect was refused")]
    RedirectRefused,
    /// Plain HTTP to a host that is neither this machine nor allowed it explicitly.
    #[error("plain HTTP is refused for {0}")]
    InsecureRefused(String),
    /// An auth file cannot be used.
    #[error("the auth file {path} cannot be used: {why}")]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, without its content.
        why: String,
    },
    /// A credential helper failed.
    #[error("the credential helper {helper} failed: {why}")]
    CredentialHelper {
        /// Name of the program.
        helper: String,
        /// What is wrong, without its output.
        why: String,
    },
    /// There is no TLS configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The caller asked for something without naming a digest or tag.
    #[error("the reference has no {0}")]
    Incomplete(&'static str),
    /// A host in the options is not `HOST[:PORT]`.
    #[error("\"{0}\" is not a registry host")]
    InvalidHost(String),
}

impl Reason {
    /// Adds what was asked of whom.
    pub(crate) fn of(self, host: &str, subject: impl Into<String>) -> RegistryError {
        RegistryError { host: host.to_owned(), subject: subject.into(), reason: self }
    }

    /// The reason behind an error of the HTTP client. Its text is not used: it holds the URL.
    pub(crate) fn of_http(error: &reqwest::Error) -> Reason {
        if error.is_timeout() {
            return Reason::Timeout;
        }
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = source {
            if let Some(reason) = of_source(current) {
                return reason;
            }
            source = current.source();
        }
        Reason::Unreachable(match error {
            error if error.is_dns() => "its name cannot be resolved",
            error if error.is_connect() => "no connection",
            error if error.is_body() || error.is_decode() => "the answer was cut off",
            _ => "no valid HTTP answer",
        })
    }
}

pub(crate) fn of_source(error: &(dyn std::error::Error + 'static)) -> Option<Reason> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(why) => Reason::Certificate(why.to_string()),
            rustls::Error::InvalidMessage(_) => Reason::Unreachable(NOT_TLS),
            _ => Reason::Unreachable("the TLS handshake failed"),
        });
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    // An io error hides what it wraps from its own `source`.
    if let Some(reason) = io.get_ref().and_then(|inner| of_source(inner)) {
        return Some(reason);
    }
    match io.kind() {
        std::io::ErrorKind::ConnectionRefused => Some(Reason::Unreachable("connection refused")),
        std::io::ErrorKind::TimedOut => Some(Reason::Timeout),
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
            Some(Reason::Unreachable("no route"))
        }
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::UnexpectedEof => {
            Some(Reason::Unreachable("the connection was cut"))
        }
        _ => None,
    }
}

/// What is said of a host that answers something else than TLS.
pub(crate) const NOT_TLS: &str = "it does not speak TLS";
