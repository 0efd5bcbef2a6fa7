//! The HTTP API of `trust-server`: bodies of requests and answers. Reading metadata (`/tuf/…`) has no types of ours.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Base64, OnlineKeyProof};

/// The largest body of a publication, in bytes: several role files at their limit, in base64.
pub const PUBLICATION_BODY: usize = 48 * 1024 * 1024;
/// The largest body of every other request, in bytes.
pub const SMALL_BODY: usize = 64 * 1024;
/// The largest manifest that the server keeps, in bytes.
pub const BLOB_BYTES: usize = 4 * 1024 * 1024;
/// Blobs in one publication.
pub const BLOBS: usize = 256;

/// `POST /v1/_collections`: reserves a name. Needs a token with the action `admin`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReserveRequest {
    /// The collection's name.
    pub name: String,
}

/// Answer of `POST /v1/_collections`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReserveResponse {
    /// The collection's name.
    pub name: String,
    /// Whether it has a root already.
    pub published: bool,
}

/// `POST /v1/COLLECTION/_online-keys`: asks the signer for new online keys.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineKeysRequest {
    /// The roles to make a key for: `timestamp`, `snapshot`.
    pub roles: Vec<String>,
    /// 16 to 64 characters that the asker made up.
    pub nonce: String,
}

/// Answer of `POST /v1/COLLECTION/_online-keys`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OnlineKeysResponse {
    /// One proof for each role asked for, in the order asked.
    pub proofs: Vec<OnlineKeyProof>,
}

/// `POST /v1/COLLECTION/_publications`: files that become current at once or not at all.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicationRequest {
    /// 16 to 64 characters of `[A-Za-z0-9_-]`: the same key with the same body publishes once.
    pub idempotency_key: String,
    /// The versions that the files were built on: of each role that is sent, and of each other role that they rest on. If
    /// one of these has another version now: 409 with the current ones.
    pub expected: Versions,
    /// New roots, oldest first.
    #[serde(default)]
    pub roots: Vec<Base64>,
    /// New targets files by role.
    #[serde(default)]
    pub roles: BTreeMap<String, Base64>,
    /// Contents of targets: manifests, reserved targets. Each must be what a role file of this publication names.
    #[serde(default)]
    pub blobs: Vec<Blob>,
    /// A grant of the signer's operator for a first publication, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Base64>,
}

/// The content of a target.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// The target path.
    pub path: String,
    /// Its bytes, at most 4 MiB.
    pub bytes: Base64,
}

/// Versions of a collection. A role that is missing has no file yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The newest root; missing before the first publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<u64>,
    /// The roles concerned, by name.
    #[serde(default)]
    pub roles: BTreeMap<String, u64>,
}

/// Answer of a publication: what is current now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicationResponse {
    /// Number of the publication in the collection's log.
    pub sequence: u64,
    /// The newest root.
    pub root: u64,
    /// The snapshot that covers this publication.
    pub snapshot: u64,
    /// A timestamp that covers it.
    pub timestamp: u64,
    /// The published roles and their versions.
    pub roles: BTreeMap<String, u64>,
}

/// `GET /v1/_collections`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CollectionsResponse {
    /// The collections that the token may read, by name.
    pub collections: Vec<CollectionSummary>,
}

/// One collection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CollectionSummary {
    /// Its name.
    pub name: String,
    /// The newest root; missing before the first publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<u64>,
    /// When the current timestamp expires (`YYYY-MM-DDTHH:MM:SSZ`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_expires: Option<String>,
}

/// `GET /v1/COLLECTION/_log?before=N&limit=N`: newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogResponse {
    /// The entries.
    pub entries: Vec<LogEntry>,
}

/// One publication in the log. The log is the server's word, not signed metadata.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// Counts publications of the collection from 1.
    pub sequence: u64,
    /// When it became current (`YYYY-MM-DDTHH:MM:SSZ`).
    pub time: String,
    /// The name of the token that published.
    pub token: String,
    /// The newest root.
    pub root: u64,
    /// The snapshot made for it.
    pub snapshot: u64,
    /// The roles it published and their versions.
    pub roles: BTreeMap<String, u64>,
    /// Whether it carried a new root.
    pub new_root: bool,
}

/// Every error answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ErrorResponse {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The kind.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
    /// With `conflict`: the current versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Versions>,
    /// With `refused` and `signer_refused`: the rule that was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The kinds of error, each with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// 400: the request cannot be read.
    BadRequest,
    /// 401: no token, or one that is not valid.
    Unauthorized,
    /// 403: the token does not allow this.
    Forbidden,
    /// 404: no such collection or file.
    NotFound,
    /// 409: someone published first, or the name is taken.
    Conflict,
    /// 413: larger than a limit.
    TooLarge,
    /// 422: a file breaks a rule, or an idempotency key came with another body.
    Refused,
    /// 422: the signer refused.
    SignerRefused,
    /// 429: too many requests.
    RateLimited,
    /// 503: the signer does not answer. The publication is kept and goes on when it does.
    SignerUnavailable,
    /// 503: the server cannot serve this collection now.
    Unavailable,
    /// 500: a fault of the server.
    Internal,
}

impl ErrorCode {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Refused | Self::SignerRefused => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::SignerUnavailable | Self::Unavailable => 503,
        }
    }
}
