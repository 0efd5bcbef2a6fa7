//! What is attacked: anything that refreshes from a [`super::Wire`] and keeps files.

use std::collections::BTreeMap;

use trust_tuf::error::Reason;
use trust_tuf::lookup::{LookupError, Outcome};
use trust_tuf::{UpdateError, UtcTime};

use super::WireError;

/// Why a refresh or a look-up failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A file is not trusted.
    Refused(UpdateError),
    /// A file did not come.
    Fetch {
        /// Its name.
        file: String,
        /// Why.
        error: WireError,
    },
    /// A look-up could not decide for a reason of its own.
    Undecided(LookupError),
    /// Something that no test expects.
    Other(String),
}

impl Failure {
    /// The role and the reason, if a file was refused.
    pub fn refusal(&self) -> Option<(&str, &Reason)> {
        match self {
            Self::Refused(e) | Self::Undecided(LookupError::Role(e)) => Some((&e.role, &e.reason)),
            _ => None,
        }
    }
}

/// A finished look-up.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was found.
    pub outcome: Outcome,
}

impl Answer {
    /// The role whose statement is the plain TUF answer.
    pub fn role(&self) -> Option<&str> {
        self.outcome.hit().map(|s| s.role.as_str())
    }

    /// The roles that were visited up to the answer, in order.
    pub fn visited(&self) -> Vec<&str> {
        self.outcome.visited.iter().map(|v| v.role.as_str()).collect()
    }

    /// Who says something of the target, in order.
    pub fn signers(&self) -> Vec<&str> {
        self.outcome.statements.iter().map(|s| s.signer.as_str()).collect()
    }
}

/// A client with a pinned root and a place to keep files.
pub trait Client {
    /// One update at this time.
    fn refresh(&mut self, now: UtcTime) -> Result<(), Failure>;

    /// One update at this time, then a look-up.
    fn lookup(&mut self, now: UtcTime, path: &str) -> Result<Answer, Failure> {
        self.lookups(now, &[path])?.pop().unwrap_or_else(|| Err(Failure::Other("no answer".to_owned())))
    }

    /// One update at this time, then several look-ups in the one trusted set.
    fn lookups(&mut self, now: UtcTime, paths: &[&str]) -> Result<Vec<Result<Answer, Failure>>, Failure>;

    /// The files that are kept: `root.json`, `timestamp.json`, … as received.
    fn files(&self) -> BTreeMap<String, Vec<u8>>;

    /// What lies beside the kept files where nothing may lie: a client on a disk of its own has nothing.
    fn strays(&self) -> Vec<String> {
        Vec::new()
    }

    /// Damages a kept file: other bytes in its place.
    fn plant(&mut self, file: &str, bytes: &[u8]);
}
