//! Answers about images.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// `trust sign`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Signed {
    /// One entry for each image, in the order given.
    pub images: Vec<SignedImage>,
    /// What is probably not meant: labels that are nearly written like governed ones.
    pub warnings: Vec<String>,
    /// Whether nothing was published (`--dry-run`).
    pub dry_run: bool,
}

/// One signed image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SignedImage {
    /// The image as it was given.
    pub reference: String,
    /// `NAME@sha256:…`
    pub resolved: String,
    /// The signed digest.
    pub digest: String,
    /// The collection.
    pub collection: String,
    /// Who signed.
    pub signer: String,
    /// Platforms that the digest covers; `unknown/unknown` is an attestation or artifact.
    pub platforms: Vec<String>,
    /// Whether the digest is that of an index.
    pub index: bool,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// What became current.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Publication {
    /// The server.
    pub server: String,
    /// Number of the publication in the collection's log.
    pub sequence: u64,
    /// The newest root.
    pub root: u64,
    /// The snapshot that covers it.
    pub snapshot: u64,
    /// A timestamp that covers it, as this client verified it.
    pub timestamp: u64,
    /// The published roles and their versions.
    pub roles: std::collections::BTreeMap<String, u64>,
}

/// `trust verify`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerifyReport {
    /// One entry for each image, in the order given: the members of a success (`reference`, `digest`, `signers`, …) or
    /// those of a failure, each with its own `ok` and `exit`.
    pub images: Vec<Value>,
    /// Exceptions that cannot be read, and so lift nothing.
    pub exceptions_unread: Vec<String>,
}

/// `trust resolve`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Resolved {
    /// The image as it was given.
    pub reference: String,
    /// `NAME@sha256:…`
    pub resolved: String,
    /// The verified digest.
    pub digest: String,
    /// Who signed it.
    pub signers: Vec<String>,
}

/// `trust unsign`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Unsigned {
    /// The image as it was given.
    pub reference: String,
    /// The collection.
    pub collection: String,
    /// Whose entries were removed.
    pub signer: String,
    /// The target paths that were removed.
    pub removed: Vec<String>,
    /// What the reference means afterwards: the digest that others still sign for it, or null.
    pub remains: Option<String>,
    /// Who still signs the tag.
    pub remaining_signers: Vec<String>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust revoke`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Revoked {
    /// The image as it was given.
    pub reference: String,
    /// The collection.
    pub collection: String,
    /// `digest` or `tag`.
    pub kind: String,
    /// The reserved target that says so.
    pub target: String,
    /// The reason.
    pub reason: String,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}
