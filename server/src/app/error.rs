//! What goes wrong in a request, as a named reason; each has one code of the API.

use trust_tuf::repository::{Refusal, Rule};
use trust_wire::api::{ErrorCode, ErrorDetail, Versions};

use crate::signer_link::SignerError;
use crate::store::StoreError;

/// Why a request is not done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// It cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// No token, or one that is not valid.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The token does not allow it.
    #[error("the token does not allow `{action}` here")]
    Forbidden {
        /// What was asked.
        action: &'static str,
    },
    /// No such collection or file.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Someone published first, or the name is taken.
    #[error("{message}")]
    Conflict {
        /// One sentence.
        message: String,
        /// What is current.
        current: Option<Versions>,
    },
    /// Larger than a limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A file breaks a rule.
    #[error("{message}")]
    Refused {
        /// The rule's name.
        rule: &'static str,
        /// One sentence.
        message: String,
    },
    /// The signer refused.
    #[error("the signer refused by rule {rule}: {reason}")]
    SignerRefused {
        /// `S1` to `S16`.
        rule: String,
        /// The signer's sentence.
        reason: String,
    },
    /// The signer does not answer, or not with what it must.
    #[error("{0}")]
    SignerUnavailable(&'static str),
    /// Too many requests wait.
    #[error("too many publications of this collection or this token wait; try again")]
    RateLimited,
    /// This collection cannot be served now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault of ours. What it was stands in the log, not in the answer.
    #[error("internal fault")]
    Internal,
}

/// The publication was stored and goes on when the signer is back.
pub(super) const KEPT: &str =
    "the signer does not answer; the publication is kept and goes on when it does: ask again with the same key";

impl AppError {
    /// The code of the API.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Forbidden { .. } => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Refused { .. } => ErrorCode::Refused,
            Self::SignerRefused { .. } => ErrorCode::SignerRefused,
            Self::SignerUnavailable(_) => ErrorCode::SignerUnavailable,
            Self::RateLimited => ErrorCode::RateLimited,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// As the API answers it.
    pub fn detail(&self) -> ErrorDetail {
        let (current, rule) = match self {
            Self::Conflict { current, .. } => (current.clone(), None),
            Self::Refused { rule, .. } => (None, Some((*rule).to_owned())),
            Self::SignerRefused { rule, .. } => (None, Some(rule.clone())),
            _ => (None, None),
        };
        ErrorDetail { code: self.code(), message: self.to_string(), current, rule }
    }

    pub(super) fn refused(rule: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { rule, message: message.into() }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "store");
        match error {
            StoreError::Full => Self::Unavailable("the server's disk is full"),
            StoreError::Poisoned => Self::Unavailable("the server's disk failed"),
            StoreError::Damaged(_) => Self::Unavailable("the stored file is damaged"),
            _ => Self::Internal,
        }
    }
}

impl From<SignerError> for AppError {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::Refused { rule, reason } => Self::SignerRefused { rule, reason },
            SignerError::Unavailable(reason) => {
                tracing::warn!(reason, "signer");
                Self::SignerUnavailable("the signer does not answer")
            }
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(rule_name(&refusal.rule), refusal.to_string())
    }
}

/// The name of a rule in answers.
fn rule_name(rule: &Rule) -> &'static str {
    match rule {
        Rule::Trust(_) => "trust",
        Rule::NextVersion { .. } => "next_version",
        Rule::Empty => "empty",
        Rule::Incomplete => "incomplete",
        Rule::TooMany { .. } => "too_many",
        Rule::Life { .. } => "life",
        Rule::ConsistentSnapshot => "consistent_snapshot",
        Rule::Envelope => "envelope",
        Rule::Key { .. } => "key",
        Rule::ThresholdTooHigh { .. } => "threshold",
        Rule::OnlineOffline(_) => "online_offline",
        Rule::ExampleKey(_) => "example_key",
        Rule::RoleName(_) => "role_name",
        Rule::Pattern(_) => "pattern",
        Rule::Bins(_) => "bins",
        Rule::SnapshotSize { .. } => "snapshot_size",
        Rule::TwoDelegators(_) => "two_delegators",
        Rule::MissingRole(_) => "missing_role",
        Rule::Undelegated => "undelegated",
        Rule::TargetPath(_) => "target_path",
        Rule::OutsidePaths(_) => "outside_paths",
        Rule::Reserved { .. } => "reserved",
        Rule::NoSha256(_) => "no_sha256",
        Rule::Custom(_) => "custom",
        Rule::PathWork => "path_work",
        _ => "rule",
    }
}
