//! Image manifests and indexes read from raw bytes: OCI manifest, OCI index, Docker schema 2, Docker list.
//!
//! Invariant: a body has one meaning. The kind comes from the `mediaType` inside it, or from its shape if there is none,
//! and both must agree; a body that could be read as the other kind is refused (CVE-2021-41190), as are schema 1,
//! duplicate members and second spellings. Deliberately absent: fetching, and anything inside layers.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::digest::{Digest, DigestError};
use crate::json::{self, JsonError};

/// Largest manifest or index that is read, in bytes (OCI distribution specification, "Pushing manifests").
pub const MAX_MANIFEST_LEN: usize = 4 * 1024 * 1024;
/// Layers in one manifest.
pub const MAX_LAYERS: usize = 1024;
/// Manifests in one index.
pub const MAX_INDEX_ENTRIES: usize = 256;
/// Annotations on one manifest, index or descriptor.
pub const MAX_ANNOTATIONS: usize = 512;
/// Longest media type, and longest part of a platform, in bytes.
const MAX_WORD_LEN: usize = 255;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA_1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The config media types of something that a runtime starts; any other config makes the manifest an artifact.
const IMAGE_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The one layer type of a build attestation: a statement about software, and no file system.
const STATEMENT: &str = "application/vnd.in-toto+json";

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const ATTESTATION: &str = "attestation-manifest";

/// Annotations of a manifest, index or descriptor: key to value, sorted.
pub type Annotations = BTreeMap<String, String>;

/// The four kinds of manifest that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
}

impl MediaType {
    /// All four: the Accept list of a client that wants no registry to convert anything.
    pub const ALL: [MediaType; 4] =
        [MediaType::OciManifest, MediaType::OciIndex, MediaType::DockerManifest, MediaType::DockerList];

    /// The text of the media type.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaType::OciManifest => OCI_MANIFEST,
            MediaType::OciIndex => OCI_INDEX,
            MediaType::DockerManifest => DOCKER_MANIFEST,
            MediaType::DockerList => DOCKER_LIST,
        }
    }

    /// The kind that this text names, if it is one of the four.
    pub fn parse(text: &str) -> Option<MediaType> {
        MediaType::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it lists manifests instead of layers.
    pub fn is_index(self) -> bool {
        matches!(self, MediaType::OciIndex | MediaType::DockerList)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`MAX_MANIFEST_LEN`].
    #[error("the manifest is larger than {MAX_MANIFEST_LEN} bytes")]
    TooLarge,
    /// Not acceptable as JSON.
    #[error("the manifest is refused: {0}")]
    Json(#[from] JsonError),
    /// Docker schema 1: no content addressing worth the name, refused always.
    #[error("the manifest is Docker schema 1, which is refused")]
    SchemaOne,
    /// `schemaVersion` is absent or not 2.
    #[error("the manifest's schemaVersion is not 2")]
    SchemaVersion,
    /// `mediaType` names something else than the four kinds.
    #[error("the manifest's media type is not one of an image or index")]
    UnsupportedMediaType,
    /// The body fits the other kind too, or contradicts its `mediaType`.
    #[error("the manifest can be read as an image and as an index")]
    Ambiguous,
    /// A member is absent.
    #[error("the manifest has no \"{0}\"")]
    Missing(&'static str),
    /// A member has another type or range than it should.
    #[error("the manifest's \"{0}\" is not what it should be")]
    Wrong(&'static str),
    /// A descriptor's digest is refused.
    #[error("a descriptor in the manifest is refused: {0}")]
    Digest(#[from] DigestError),
    /// More layers, manifests or annotations than the limits.
    #[error("the manifest has too many entries in \"{0}\"")]
    TooMany(&'static str),
    /// An entry calls itself an attestation but has a platform on which a runtime would start it.
    #[error("an entry of the index is marked as attestation and yet has a runnable platform")]
    DisguisedAttestation,
}

/// A parsed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image (or artifact): config and layers.
    Image(ImageManifest),
    /// A list of manifests.
    Index(Index),
}

/// A manifest with config and layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    /// OCI manifest or Docker schema 2.
    pub media_type: MediaType,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first; at most [`MAX_LAYERS`].
    pub layers: Vec<Descriptor>,
    /// The manifest's own annotations (none in Docker schema 2).
    pub annotations: Annotations,
}

/// A manifest that lists manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// OCI index or Docker list.
    pub media_type: MediaType,
    /// The entries in their order; at most [`MAX_INDEX_ENTRIES`].
    pub manifests: Vec<Descriptor>,
    /// The index's own annotations.
    pub annotations: Annotations,
}

/// A reference by content from one document to another (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type of the content, as stated.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes, as stated.
    pub size: u64,
    /// Platform, if stated; only entries of an index have one.
    pub platform: Option<Platform>,
    /// Annotations of the entry.
    pub annotations: Annotations,
}

impl ImageManifest {
    /// Whether all that it holds are in-toto statements, at least one: nothing of it is unpacked as a file system.
    pub fn holds_only_statements(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(|layer| layer.media_type == STATEMENT)
    }
}

/// A platform: `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// Operating system, such as `linux`.
    pub os: String,
    /// Architecture, such as `amd64`.
    pub architecture: String,
    /// Variant, such as `v8`; never empty.
    pub variant: Option<String>,
}

impl Platform {
    /// A platform of these parts; `None` if one has characters outside `[A-Za-z0-9._-]` or a length outside 1–255 bytes.
    /// An empty variant is none.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Option<Platform> {
        let variant = variant.filter(|variant| !variant.is_empty());
        [Some(os), Some(architecture), variant].into_iter().flatten().all(is_word).then(|| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// `unknown/unknown`: how build attestations are listed, and nothing that a runtime asks for.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_WORD_LEN
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Descriptor {
    /// Whether this entry of an index calls itself a build attestation. What it is, its content says: see
    /// [`ImageManifest::holds_only_statements`]. [`Manifest::parse`] has refused entries that carry the annotation and have a
    /// platform on which they would be started.
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(Platform::is_unknown) || self.is_marked_attestation()
    }

    fn is_marked_attestation(&self) -> bool {
        self.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION)
    }

    /// Whether this is the config of something that a runtime starts (and not of an artifact).
    pub fn is_image_config(&self) -> bool {
        IMAGE_CONFIGS.contains(&self.media_type.as_str())
    }
}

impl Manifest {
    /// Reads a manifest or index of at most [`MAX_MANIFEST_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_MANIFEST_LEN {
            return Err(ManifestError::TooLarge);
        }
        let value = json::parse(bytes)?;
        let body = value.as_object().ok_or(ManifestError::Wrong("manifest"))?;
        let media_type = kind_of(body)?;
        let annotations = annotations_of(body)?;
        if media_type.is_index() {
            let manifests = descriptors(body, "manifests", MAX_INDEX_ENTRIES)?;
            // containerd starts an entry without platform, or with a real one, whatever its annotations say.
            let disguised = |entry: &Descriptor| {
                entry.is_marked_attestation() && !entry.platform.as_ref().is_some_and(Platform::is_unknown)
            };
            if manifests.iter().any(disguised) {
                return Err(ManifestError::DisguisedAttestation);
            }
            return Ok(Manifest::Index(Index { media_type, manifests, annotations }));
        }
        let config = json::member(body, "config")?.ok_or(ManifestError::Missing("config"))?;
        let config = descriptor(config.as_object().ok_or(ManifestError::Wrong("config"))?)?;
        let layers = descriptors(body, "layers", MAX_LAYERS)?;
        Ok(Manifest::Image(ImageManifest { media_type, config, layers, annotations }))
    }

    /// The media type: stated in the body, or by its shape.
    pub fn media_type(&self) -> MediaType {
        match self {
            Manifest::Image(image) => image.media_type,
            Manifest::Index(index) => index.media_type,
        }
    }

    /// The annotations of the manifest or index itself.
    pub fn annotations(&self) -> &Annotations {
        match self {
            Manifest::Image(image) => &image.annotations,
            Manifest::Index(index) => &index.annotations,
        }
    }
}

fn kind_of(body: &Map<String, Value>) -> Result<MediaType, ManifestError> {
    let stated = match json::member(body, "mediaType")? {
        None => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(ManifestError::Wrong("mediaType")),
    };
    if matches!(stated, Some(DOCKER_SCHEMA_1 | DOCKER_SCHEMA_1_SIGNED)) || json::member(body, "fsLayers")?.is_some() {
        return Err(ManifestError::SchemaOne);
    }
    match json::member(body, "schemaVersion")?.and_then(Value::as_u64) {
        Some(2) => {}
        Some(1) => return Err(ManifestError::SchemaOne),
        _ => return Err(ManifestError::SchemaVersion),
    }
    let as_index = json::member(body, "manifests")?.is_some();
    let as_image = json::member(body, "config")?.is_some() || json::member(body, "layers")?.is_some();
    let kind = match stated {
        Some(text) => MediaType::parse(text).ok_or(ManifestError::UnsupportedMediaType)?,
        None if as_index => MediaType::OciIndex,
        None => MediaType::OciManifest,
    };
    match (as_index, as_image) {
        (true, true) => Err(ManifestError::Ambiguous),
        (true, false) if !kind.is_index() => Err(ManifestError::Ambiguous),
        (false, true) if kind.is_index() => Err(ManifestError::Ambiguous),
        _ => Ok(kind),
    }
}

fn descriptors(body: &Map<String, Value>, name: &'static str, limit: usize) -> Result<Vec<Descriptor>, ManifestError> {
    let list = json::member(body, name)?.ok_or(ManifestError::Missing(name))?;
    let list = list.as_array().ok_or(ManifestError::Wrong(name))?;
    if list.len() > limit {
        return Err(ManifestError::TooMany(name));
    }
    list.iter().map(|entry| descriptor(entry.as_object().ok_or(ManifestError::Wrong(name))?)).collect()
}

fn descriptor(object: &Map<String, Value>) -> Result<Descriptor, ManifestError> {
    let media_type = required_str(object, "mediaType")?;
    if media_type.is_empty() || media_type.len() > MAX_WORD_LEN {
        return Err(ManifestError::Wrong("mediaType"));
    }
    let digest = Digest::parse(required_str(object, "digest")?)?;
    let size = json::member(object, "size")?.ok_or(ManifestError::Missing("size"))?;
    // The specification's int64: what does not fit is refused, so that no reader sees a negative length.
    let size = size.as_u64().filter(|size| i64::try_from(*size).is_ok()).ok_or(ManifestError::Wrong("size"))?;
    let platform = match json::member(object, "platform")? {
        None | Some(Value::Null) => None,
        Some(Value::Object(platform)) => Some(platform_of(platform)?),
        Some(_) => return Err(ManifestError::Wrong("platform")),
    };
    let annotations = annotations_of(object)?;
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size, platform, annotations })
}

/// `os`, `architecture` and `variant` of an object: a descriptor's platform, or an image config.
pub(crate) fn platform_of(object: &Map<String, Value>) -> Result<Platform, ManifestError> {
    let os = required_str(object, "os")?;
    let architecture = required_str(object, "architecture")?;
    let variant = match json::member(object, "variant")? {
        None | Some(Value::Null) => None,
        Some(Value::String(variant)) => Some(variant.as_str()),
        Some(_) => return Err(ManifestError::Wrong("variant")),
    };
    Platform::new(os, architecture, variant).ok_or(ManifestError::Wrong("platform"))
}

fn annotations_of(object: &Map<String, Value>) -> Result<Annotations, ManifestError> {
    let annotations = match json::member(object, "annotations")? {
        None | Some(Value::Null) => return Ok(Annotations::new()),
        Some(Value::Object(annotations)) => annotations,
        Some(_) => return Err(ManifestError::Wrong("annotations")),
    };
    if annotations.len() > MAX_ANNOTATIONS {
        return Err(ManifestError::TooMany("annotations"));
    }
    let text = |(key, value): (&String, &Value)| match value.as_str() {
        Some(value) => Ok((key.clone(), value.to_owned())),
        None => Err(ManifestError::Wrong("annotations")),
    };
    annotations.iter().map(text).collect()
}

fn required_str<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ManifestError> {
    json::member(object, name)?.ok_or(ManifestError::Missing(name))?.as_str().ok_or(ManifestError::Wrong(name))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
