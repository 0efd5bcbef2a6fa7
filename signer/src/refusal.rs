//! Why the signer does not sign: the rule of the design's table, and one sentence for people.

use trust_tuf::repository::{Refusal, Rule as PublicationRule};
use trust_wire::signer::{Reply, Resigned};

use crate::store::StoreError;

/// The rules, by their numbers in the design. Some have no number in answers: S6 and S12 because no request can express
/// what they forbid, S9 (clock) and S11 (no audit, no signature) because they pass: they show as [`No::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleId {
    /// The request has the right form, but a value in it is not well formed.
    Request,
    /// Any role but snapshot and timestamp.
    S1,
    /// A version that is not the last one plus one.
    S2,
    /// An expiry over a ceiling, or in the past.
    S3,
    /// A snapshot that would drop a role or lower a version.
    S4,
    /// A role that does not verify, or breaks a rule for what may be published.
    S5,
    /// A root that is not chained, or breaks a rule for roots.
    S7,
    /// A first root that no operator admitted.
    S8,
    /// More than the configured rate.
    S10,
    /// A message that is not of this protocol: over a limit, not strict JSON, unknown fields, unknown operation.
    S13,
    /// A root that does not name the keys held here.
    S14,
    /// Two contents for one version.
    S15,
    /// A peer that is not allowed.
    S16,
}

impl RuleId {
    /// As it stands in an answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::S4 => "S4",
            Self::S5 => "S5",
            Self::S7 => "S7",
            Self::S8 => "S8",
            Self::S10 => "S10",
            Self::S13 => "S13",
            Self::S14 => "S14",
            Self::S15 => "S15",
            Self::S16 => "S16",
        }
    }
}

/// A negative answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum No {
    /// A rule is broken: asking again does not help.
    #[error("{}: {reason}", rule.as_str())]
    Refused {
        /// The rule.
        rule: RuleId,
        /// One sentence for people.
        reason: String,
    },
    /// The signer cannot do it now (disk, clock, damage in its store).
    #[error("{reason}")]
    Failed {
        /// One sentence for people.
        reason: String,
    },
}

/// Refuses by a rule.
pub(crate) fn refuse(rule: RuleId, reason: impl Into<String>) -> No {
    No::Refused { rule, reason: reason.into() }
}

/// Fails for now.
pub(crate) fn fail(reason: impl Into<String>) -> No {
    No::Failed { reason: reason.into() }
}

impl No {
    /// The answer to a request.
    pub fn into_reply(self) -> Reply {
        match self {
            Self::Refused { rule, reason } => Reply::Refused { rule: rule.as_str().to_owned(), reason },
            Self::Failed { reason } => Reply::Failed { reason },
        }
    }

    /// The answer for one collection of a batch.
    pub fn into_resigned(self) -> Resigned {
        match self {
            Self::Refused { rule, reason } => Resigned::Refused { rule: rule.as_str().to_owned(), reason },
            Self::Failed { reason } => Resigned::Refused { rule: "failed".to_owned(), reason },
        }
    }
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        fail(error.to_string())
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        let of_root = refusal.file == "root";
        let rule = match &refusal.rule {
            PublicationRule::TooMany { .. } | PublicationRule::PathWork => RuleId::S13,
            PublicationRule::Empty | PublicationRule::Incomplete => RuleId::Request,
            _ if of_root => RuleId::S7,
            PublicationRule::NextVersion { .. } => RuleId::S2,
            PublicationRule::Life { .. } => RuleId::S3,
            _ => RuleId::S5,
        };
        refuse(rule, refusal.to_string())
    }
}
