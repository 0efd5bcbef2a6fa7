//! What is to be decided: a verified image, and what is to be done with it.
//!
//! Invariant: everything here is what the reader verified; nothing is checked again. Deliberately absent: a subject of an
//! image that was not verified.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trust_image::{Digest, ImageFacts, Reference};

/// What is to be done with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A cluster is to run it.
    Deploy,
    /// A client fetches it through a gate.
    Pull,
    /// A pipeline passes it on.
    Promote,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 3] = [Action::Deploy, Action::Pull, Action::Promote];

    /// `deploy`, `pull` or `promote`.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Deploy => "deploy",
            Action::Pull => "pull",
            Action::Promote => "promote",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is none of `deploy`, `pull`, `promote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an action is deploy, pull or promote")]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Action::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// A verified image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// As it was asked for.
    pub reference: Reference,
    /// What the reference means: the digest of the image or index that was verified.
    pub digest: Digest,
    /// The collection that speaks for it.
    pub collection: String,
    /// Direct delegations (or `targets`) that signed this digest.
    pub signers: Vec<String>,
    /// Those that signed another digest under this name.
    pub conflicts: Vec<String>,
    /// Of a reference with tag and digest: whether the tag is signed for another digest by now. `None`: not both were
    /// given, or it is not known, which counts as moved if both were given.
    pub tag_moved: Option<bool>,
    /// The version of the collection's root that this was verified with.
    pub root_version: u64,
    /// The signed facts; without them nothing is permitted.
    pub facts: Option<ImageFacts>,
}
