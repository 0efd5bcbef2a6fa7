//! The answer about Kubernetes manifests and compose files.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// `trust verify --manifests`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ManifestsReport {
    /// Every place of an image, by file and line.
    pub places: Vec<ManifestPlace>,
    /// One entry for each distinct image, what runs apart from what is written: the members of a success or of a failure, as in `trust verify` of that image.
    pub images: Vec<Value>,
    /// Exceptions that cannot be read, and so lift nothing.
    pub exceptions_unread: Vec<String>,
    /// What could not be read or understood: the members of a failure.
    pub unreadable: Vec<Value>,
    /// Files that were read.
    pub files: usize,
    /// Documents in them.
    pub documents: usize,
    /// Documents without an image.
    pub documents_without_images: usize,
    /// The manifests with their tags pinned, where they came from stdin.
    pub pinned: Option<String>,
    /// Files that were written, or would be (`--dry-run`).
    pub files_changed: Vec<String>,
    /// Whether nothing was written (`--dry-run`).
    pub dry_run: bool,
}

/// A place where an image stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ManifestPlace {
    /// The file; `-` for stdin.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The document in the file, from 1.
    pub document: usize,
    /// The kind and name of the object; `service NAME` in a compose file.
    pub object: String,
    /// The place in the object: `spec.template.spec.containers[0].image`.
    pub path: String,
    /// The image as it stands there; of what runs, its name in the spec with the digest that runs.
    pub image: String,
    /// What the spec says, where this is what runs by the status of a Pod; else null.
    pub written: Option<String>,
    /// Whether the image was verified and, where that was asked, allowed.
    pub ok: bool,
    /// The exit code of this image alone.
    pub exit: u8,
    /// What `--pin` writes there; null where nothing is written.
    pub pinned: Option<String>,
}
