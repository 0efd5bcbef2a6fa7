//! Answers about policies as they were, and in folders.

use schemars::JsonSchema;
use serde::Serialize;

use super::policy::PolicyChanges;

/// `trust policy pull`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyPulled {
    /// The policy collection.
    pub collection: String,
    /// The version of the role that says which rules are in force.
    pub version: u64,
    /// The folder.
    pub folder: String,
    /// The files that were written.
    pub written: Vec<String>,
    /// The files that were there already with the same content.
    pub unchanged: Vec<String>,
    /// Whether nothing was written (`--dry-run`).
    pub dry_run: bool,
}

/// `trust policy diff`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyDifference {
    /// The policy collection.
    pub collection: String,
    /// The folder that was compared with what is in force; null if two versions were compared.
    pub folder: Option<String>,
    /// The role whose versions were compared; null for a folder.
    pub role: Option<String>,
    /// The older version; null for a folder.
    pub from: Option<u64>,
    /// The newer version; of a folder, the version in force.
    pub to: u64,
    /// Whether nothing differs.
    pub same: bool,
    /// From what is in force to the folder, or from the older to the newer version. Of versions only files are compared: the
    /// server keeps the contents that are in force, and no older ones.
    pub changes: PolicyChanges,
}

/// `trust policy log`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyLog {
    /// The policy collection.
    pub collection: String,
    /// The server, whose word the times and tokens are; everything else is signed.
    pub server: String,
    /// Newest first.
    pub entries: Vec<PolicyLogEntry>,
}

/// One version of a role that holds rules, labels or exceptions.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyLogEntry {
    /// The role.
    pub role: String,
    /// The version of its file.
    pub version: u64,
    /// When it was published, as the server says; null if it does not.
    pub time: Option<String>,
    /// The token that published it, as the server says.
    pub token: Option<String>,
    /// Ids of the keys that signed it.
    pub signed_by: Vec<String>,
    /// Files that came.
    pub added: Vec<String>,
    /// Files that changed.
    pub changed: Vec<String>,
    /// Files that left.
    pub removed: Vec<String>,
    /// Exceptions that were granted in it, as their signer described them.
    pub granted: Vec<String>,
    /// Exceptions that left in it: whether before their time, by the server's word when this was.
    pub ended: Vec<String>,
    /// Of the first file of a role of its own: the keys and the threshold that it has today; null of every other one.
    pub own_role: Option<String>,
    /// Why it cannot be shown: the keys that the role has today did not sign it.
    pub fault: Option<String>,
}
