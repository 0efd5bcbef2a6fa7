//! Answers about exceptions.

use schemars::JsonSchema;
use serde::Serialize;

use super::images::Publication;

/// `trust exception list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExceptionsListed {
    /// The policy collection.
    pub collection: String,
    /// The role that signs them: `targets`, or `_exceptions` where it is delegated; null if it cannot be read.
    pub role: Option<String>,
    /// The version of its file.
    pub version: Option<u64>,
    /// The exceptions, by id.
    pub exceptions: Vec<ExceptionEntry>,
    /// What cannot be read, and so lifts nothing.
    pub unread: Vec<String>,
}

/// One exception.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExceptionEntry {
    /// Its id.
    pub id: String,
    /// The image by its digest.
    pub image: String,
    /// The environment.
    pub environment: String,
    /// The rules that it lifts.
    pub rules: Vec<String>,
    /// Why.
    pub reason: String,
    /// When its signer says that it was granted.
    pub granted: String,
    /// The first second at which it does not hold any more.
    pub expires: String,
    /// Whether it holds now.
    pub in_force: bool,
    /// Who signed it.
    pub signed_by: Vec<String>,
}

/// `trust exception prune`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExceptionsPruned {
    /// The policy collection.
    pub collection: String,
    /// The role that signed it.
    pub role: String,
    /// Ids of exceptions that had expired and were removed.
    pub removed: Vec<String>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust exception grant | revoke`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExceptionChange {
    /// `granted` or `revoked`.
    pub change: String,
    /// The policy collection.
    pub collection: String,
    /// The role that signed it.
    pub role: String,
    /// The exception.
    pub exception: ExceptionEntry,
    /// Ids of exceptions that had expired and were removed.
    pub removed: Vec<String>,
    /// Of one that is granted: what is probably not meant.
    pub warnings: Vec<String>,
    /// Of one that is revoked: others that hold for the same image in the same environment.
    pub beside: Vec<ExceptionEntry>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}
