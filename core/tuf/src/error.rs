//! Reasons for which a file is not read ([`MetadataError`]) or not trusted ([`Reason`]): named, so that tests and
//! programs can tell them apart without reading text.

use crate::json::{JsonError, JsonErrorKind};
use crate::keys::KeyId;
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

/// Why bytes are not a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not strict JSON, or a member of the wrong type.
    #[error("not strict JSON: {0}")]
    Json(#[from] JsonError),
    /// Larger than its limit.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// `_type` is another one.
    #[error("`_type` is not `{0}`")]
    WrongType(RoleType),
    /// A member that must be there is not.
    #[error("member `{0}` is missing")]
    Missing(&'static str),
    /// `spec_version` does not parse, or has another major version than 1.
    #[error("`spec_version` is not 1.x.y")]
    SpecVersion,
    /// `version` is 0 or beyond 2^63−1.
    #[error("`version` is not between 1 and 2^63-1")]
    Version,
    /// `expires` is not `YYYY-MM-DDTHH:MM:SSZ`.
    #[error("`expires` is not of the form YYYY-MM-DDTHH:MM:SSZ")]
    Expires,
    /// A threshold below 1.
    #[error("threshold of role `{0}` is below 1")]
    Threshold(String),
    /// A key id stands twice in a role's list.
    #[error("key id stands twice in role `{0}`")]
    DuplicateKeyId(String),
    /// Two signatures under one key id.
    #[error("two signatures under key id {0}")]
    DuplicateSignature(KeyId),
    /// More entries than the limit.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The name belongs to a top-level role, is empty, or stands twice.
    #[error("delegated role name `{0}` is not allowed")]
    RoleName(String),
    /// A delegation with both or neither of `paths` and `path_hash_prefixes`, or roles beside succinct roles.
    #[error("delegation `{0}` has both or neither of two exclusive members")]
    Exclusive(String),
    /// A hash prefix that is not 1 to 64 lower-case hex digits, or bits outside 1 to 32.
    #[error("delegation `{0}` has a malformed hash prefix or bit length")]
    HashPrefix(String),
    /// A hash of a known algorithm that is not hex of its length, or no hash at all.
    #[error("malformed or missing hash")]
    Hashes,
    /// The timestamp does not name exactly one file, `snapshot.json`; or the snapshot does not name `targets.json`.
    #[error("`meta` does not name what it must")]
    Meta,
}

impl MetadataError {
    pub(crate) fn expected(offset: usize, what: &'static str) -> Self {
        Self::Json(JsonError { kind: JsonErrorKind::Expected(what), offset })
    }
}

/// Whose signatures a new root lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootSide {
    /// The keys of the root before.
    Old,
    /// The keys that the new root itself declares.
    New,
}

/// Why a file is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are not a metadata file of this role.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// Too few distinct keys of the role signed.
    #[error("signed by {valid} of {needed} needed keys")]
    Signatures {
        /// Distinct keys of the role whose signatures are valid.
        valid: u64,
        /// The threshold.
        needed: u64,
    },
    /// Too few keys of the old or of the new root signed the new root.
    #[error("signed by {valid} of {needed} needed keys of the {} root", match side { RootSide::Old => "old", RootSide::New => "new" })]
    RootSignatures {
        /// Whose keys.
        side: RootSide,
        /// Distinct keys whose signatures are valid.
        valid: u64,
        /// The threshold.
        needed: u64,
    },
    /// The version is not the one that is due.
    #[error("has version {got}, expected {expected}")]
    WrongVersion {
        /// What the referring file says, or the next root version.
        expected: Version,
        /// What the file says.
        got: Version,
    },
    /// Older than what was trusted before.
    #[error("has version {got}, but version {trusted} was trusted before")]
    Rollback {
        /// The version that was trusted.
        trusted: Version,
        /// What came.
        got: Version,
    },
    /// The timestamp names an older snapshot than the one trusted before.
    #[error("names snapshot version {got}, but version {trusted} was trusted before")]
    SnapshotRollback {
        /// The snapshot version that was trusted.
        trusted: Version,
        /// What the timestamp names.
        got: Version,
    },
    /// The snapshot lists a role with a lower version than before.
    #[error("lists `{role}` with version {got}, but listed version {trusted} before")]
    RoleLowered {
        /// The role.
        role: String,
        /// The version before.
        trusted: Version,
        /// The version now.
        got: Version,
    },
    /// The snapshot no longer lists a role.
    #[error("no longer lists `{role}`")]
    RoleRemoved {
        /// The role.
        role: String,
    },
    /// Expired at the reference time.
    #[error("expired at {expires} (now {now})")]
    Expired {
        /// The first second at which it is expired.
        expires: UtcTime,
        /// The reference time of the update.
        now: UtcTime,
    },
    /// The length differs from the one stated.
    #[error("has {got} bytes, {expected} are stated")]
    Length {
        /// The stated length.
        expected: u64,
        /// The length that came.
        got: u64,
    },
    /// A hash differs from the one stated, or none of the stated ones is known.
    #[error("does not have the stated hash")]
    Hash,
    /// The snapshot does not list the role.
    #[error("is not listed in the snapshot")]
    NotInSnapshot,
    /// A delegation pattern with `[`, whose meaning the specification leaves open.
    #[error("delegates by the pattern `{0}`, whose meaning is not defined")]
    Pattern(String),
}

/// A file that is not trusted: which role, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} {reason}")]
pub struct UpdateError {
    /// The role's name.
    pub role: String,
    /// The reason.
    pub reason: Reason,
}

impl UpdateError {
    pub(crate) fn new(role: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self { role: role.into(), reason: reason.into() }
    }
}
