//! Answers for people who keep things running.

use schemars::JsonSchema;
use serde::Serialize;

/// `trust status`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatusReport {
    /// One entry for each collection.
    pub collections: Vec<CollectionStatus>,
}

/// What will expire in a collection.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CollectionStatus {
    /// The collection.
    pub collection: String,
    /// Its roles; empty if it could not be updated.
    pub roles: Vec<RoleStatus>,
    /// What the server and each mirror gave, the server first; empty without network.
    pub sources: Vec<SourceStatus>,
    /// Why it could not be updated: an id and what happened.
    pub fault: Option<String>,
}

/// What a server or mirror gave.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SourceStatus {
    /// Its address.
    pub address: String,
    /// `current`, `behind` (it has an older timestamp), `failed`, or `unheard` (no answer in the time that the others left).
    pub state: String,
    /// The version of its timestamp; null if it gave none that could be used.
    pub timestamp: Option<u64>,
    /// Why it failed.
    pub fault: Option<String>,
}

/// When a role expires.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RoleStatus {
    /// The role.
    pub role: String,
    /// The version of its file; null if it cannot be used.
    pub version: Option<u64>,
    /// When it expires; null if that is not known.
    pub expires: Option<String>,
    /// `ok`, `due` (within 7 days, and people must renew it), or `unusable`.
    pub state: String,
    /// Who renews it.
    pub renewed_by: String,
    /// Ids of the keys that may.
    pub keys: Vec<String>,
}

/// `trust doctor`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DoctorReport {
    /// What was looked at, in order.
    pub checks: Vec<DoctorCheck>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DoctorCheck {
    /// What: `client`, `keys`, `collection`, `server` and `mirror` (where there are mirrors), `registry`, `policy`, `docker`;
    /// `containers`, `containerd` and `docker` for what these tools do when they pull; `reach` for a registry behind a gate.
    pub name: String,
    /// `ok`, `warning` or `problem`.
    pub state: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}
