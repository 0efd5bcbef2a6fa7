//! Answers about collections, their roles and people.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::images::Publication;
use super::local::RoleKeysReport;

/// `trust init`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Initialised {
    /// The collection.
    pub collection: String,
    /// Fingerprint of its first root: what others pin.
    pub fingerprint: String,
    /// Ids of the root keys.
    pub root_keys: Vec<String>,
    /// Ids of the keys of `targets`.
    pub targets_keys: Vec<String>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust rotate`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Rotated {
    /// The collection.
    pub collection: String,
    /// The role.
    pub role: String,
    /// `done`, or `overlap`: the first of two steps of an online key.
    pub step: String,
    /// Ids of the keys before.
    pub old_keys: Vec<String>,
    /// Ids of the keys now.
    pub new_keys: Vec<String>,
    /// After `overlap`: when the second step is due.
    pub finish_after: Option<String>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust signer list`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Signers {
    /// The collection.
    pub collection: String,
    /// Its signers, in order of priority.
    pub signers: Vec<SignerEntry>,
}

/// One signer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SignerEntry {
    /// The name.
    pub name: String,
    /// `signer`; or what the role is for, if it is a reserved one: `policy`, `labels`, `exceptions`, `revocations`.
    pub kind: String,
    /// How many of the keys must sign.
    pub threshold: u64,
    /// Ids of the keys.
    pub keys: Vec<String>,
    /// What they may sign.
    pub paths: Vec<String>,
    /// Over how many hash bins it is spread; null if it stands in one file.
    pub bins: Option<u64>,
    /// The version of their file; null if it is not there or not usable.
    pub version: Option<u64>,
    /// When it expires.
    pub expires: Option<String>,
}

/// `trust signer add | remove | last`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SignerChange {
    /// `added`, `removed` or `moved`.
    pub change: String,
    /// The signer.
    pub name: String,
    /// `signer`; or what the role is for, if it is a reserved one: `policy`, `labels`, `exceptions`, `revocations`.
    pub kind: String,
    /// The collection.
    pub collection: String,
    /// Of a reserved role that was added: what was in force and moved into it; of one that was removed: what was in force.
    pub files: Vec<String>,
    /// Why the file of a reserved role that was removed could not be read: what was in force there is not known; else null.
    pub files_unread: Option<String>,
    /// What they may sign; empty after removal.
    pub paths: Vec<String>,
    /// Over how many hash bins it is spread; null if it stands in one file, and after removal.
    pub bins: Option<u64>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust signer bins`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SignerLaidOut {
    /// The signer.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// Over how many hash bins it was spread before; null if it stood in one file.
    pub bins_before: Option<u64>,
    /// Over how many it is now.
    pub bins: Option<u64>,
    /// How many entries (tags and digests) were moved; 0 if all files were only signed again.
    pub moved: u64,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// `trust signer accept`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SignerAccepted {
    /// The signer.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// Ids of the keys that signed.
    pub keys: Vec<String>,
    /// Of a reserved role: what is in force of its kind, and is taken over.
    pub files: Vec<String>,
    /// The signer's first file, for `trust signer add --accept`.
    pub file: serde_json::Value,
}

/// `trust list` without a collection
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Collections {
    /// The collections that are pinned here.
    pub collections: Vec<super::local::PinEntry>,
}

/// `trust list COLLECTION`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Listed {
    /// The collection.
    pub collection: String,
    /// Its tags (and digest entries with `--digests`), by image and tag.
    pub entries: Vec<ListedEntry>,
    /// Entries of which it could not be decided what they mean, or whether they are revoked, with the reason.
    pub undecided: BTreeMap<String, String>,
    /// Roles that cannot be used, with the reason.
    pub unusable: BTreeMap<String, String>,
}

/// One tag, or one digest entry.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedEntry {
    /// `NAME:TAG` or `NAME@sha256:…`
    pub reference: String,
    /// The digest that the plain search finds.
    pub digest: String,
    /// Signers of this digest.
    pub signers: Vec<String>,
    /// Signers who say another digest.
    pub conflicts: Vec<String>,
    /// When it was signed, as the signer claims.
    pub signed: Option<String>,
    /// When the file of the first signer expires.
    pub expires: String,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// `trust inspect`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Inspected {
    /// One entry for each argument.
    pub subjects: Vec<InspectedSubject>,
}

/// A collection, or one image of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InspectedSubject {
    /// What was asked for.
    pub subject: String,
    /// The collection.
    pub collection: String,
    /// Its roles.
    pub roles: Vec<InspectedRole>,
    /// The revocation in force for the image; null if there is none, and for a collection.
    pub revoked: Option<RevocationReport>,
    /// Why `trust verify` refuses the image although no revocation of it is found; null where nothing of the kind is known.
    pub undecided: Option<String>,
    /// What signers say of the image; null for a collection.
    pub statements: Option<Vec<StatementReport>>,
    /// How many tags are signed.
    pub tags: u64,
    /// Fingerprint of the pinned root.
    pub pinned: String,
}

/// A revocation in force.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RevocationReport {
    /// The role that says so.
    pub by: String,
    /// The reason that it gives.
    pub reason: Option<String>,
    /// `digest`, `tag`, or `platform`: one of the images in the index.
    pub scope: String,
    /// The digest or tag that is revoked.
    pub revoked: String,
}

/// One role.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InspectedRole {
    /// Name, threshold and keys.
    #[serde(flatten)]
    pub keys: RoleKeysReport,
    /// Its version; null if its file cannot be used.
    pub version: Option<u64>,
    /// When it expires.
    pub expires: Option<String>,
    /// `offline`, or `signer` for the online roles.
    pub held_by: String,
}

/// What one signer says of an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatementReport {
    /// The signer.
    pub signer: String,
    /// The role below that signer which says it.
    pub role: String,
    /// The digest.
    pub digest: Option<String>,
    /// The length of the manifest.
    pub length: u64,
    /// The signed facts (`custom`).
    pub facts: serde_json::Value,
}

/// `trust log`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LogReport {
    /// The collection.
    pub collection: String,
    /// The server whose word this is: the log is not signed.
    pub server: String,
    /// Newest first.
    pub entries: Vec<trust_wire::api::LogEntry>,
}

/// `trust diff`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Difference {
    /// The collection.
    pub collection: String,
    /// The role.
    pub role: String,
    /// The older version.
    pub from: u64,
    /// The newer version.
    pub to: u64,
    /// Target paths that are new, with their digest.
    pub added: BTreeMap<String, String>,
    /// Target paths that are gone, with the digest that they had.
    pub removed: BTreeMap<String, String>,
    /// Target paths with another digest: from and to.
    pub changed: BTreeMap<String, [String; 2]>,
    /// Signers that are new.
    pub signers_added: Vec<String>,
    /// Signers that are gone.
    pub signers_removed: Vec<String>,
    /// Signers whose keys, threshold or paths changed.
    pub signers_changed: Vec<String>,
    /// Over how many hash bins the role was spread in the older version; null if it stood in one file. What stands in bins
    /// is not compared.
    pub bins_before: Option<u64>,
    /// The same in the newer version.
    pub bins: Option<u64>,
}
