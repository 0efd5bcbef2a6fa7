//! What an image is, from content that its digest covers: its platforms with their labels. The source of signed facts.
//!
//! Invariant: every byte that a fact comes from was hashed against a digest that leads back to the one asked for. An entry of an
//! index is judged by its content and never by what the index calls it: runtimes choose by platform and take the type from the
//! registry. What is neither an image with a platform nor plainly an attestation makes the whole index one that is not signed.

use std::collections::BTreeMap;

use trust_image::config::{ImageConfig, MAX_CONFIG_LEN};
use trust_image::facts::{MAX_PLATFORMS, NOT_RUNNABLE};
use trust_image::json::JsonError;
use trust_image::manifest::{Annotations, Descriptor, Index};
use trust_image::{
    ConfigError, Digest, FactsError, ImageFacts, ImageManifest, Manifest, MediaType, Platform, PlatformFacts, Reference,
};

use super::client::{FetchedManifest, RegistryClient};
use super::error::{Reason, RegistryError};

/// How deep indexes may stand in indexes.
const MAX_INDEX_DEPTH: usize = 4;
/// Bytes that one inspection reads, beside the manifest asked for.
const MAX_INSPECT_LEN: u64 = 64 * 1024 * 1024;

/// An image or index with what its digest covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContent {
    /// The digest that was asked for.
    pub digest: Digest,
    /// Media type of the manifest or index.
    pub media_type: MediaType,
    /// The manifest's bytes; their number is the target's length.
    pub manifest: Vec<u8>,
    /// One entry for a single image, one for each entry of an index, in their order; at most 64. An index within an index is
    /// an entry too (not runnable), with its own entries behind it: whoever revokes it revokes the whole.
    pub platforms: Vec<PlatformContent>,
    /// Annotations of the manifest or index itself.
    pub annotations: Annotations,
}

/// One platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformContent {
    /// `os/architecture[/variant]`, as an index states it, else from the image config; `unknown/unknown` for an attestation or
    /// a nested index, and for a single manifest that is an artifact.
    pub platform: String,
    /// Digest of this platform's manifest.
    pub digest: Digest,
    /// Labels of the image config.
    pub labels: BTreeMap<String, String>,
    /// Whether a runtime can start it.
    pub runnable: bool,
}

impl ImageContent {
    /// Length of the manifest in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.manifest.len()).unwrap_or(u64::MAX)
    }

    /// The facts to sign: time of signing (`YYYY-MM-DDTHH:MM:SSZ`) and tags are the signer's, the rest is from the content.
    pub fn facts<'a>(&self, signed: &str, tags: impl IntoIterator<Item = &'a str>) -> Result<ImageFacts, FactsError> {
        let platform = |content: &PlatformContent| PlatformFacts {
            platform: content.platform.clone(),
            digest: content.digest,
            labels: content.labels.clone(),
        };
        let mut facts = ImageFacts {
            media_type: self.media_type.as_str().to_owned(),
            signed: signed.to_owned(),
            tags: Vec::new(),
            platforms: self.platforms.iter().map(platform).collect(),
            annotations: self.annotations.clone(),
            stated: BTreeMap::new(),
        };
        tags.into_iter().try_for_each(|tag| facts.add_tag(tag))?;
        Ok(facts)
    }
}

impl RegistryClient {
    /// Reads the image of the reference's digest with all its platforms and their labels.
    pub async fn inspect(&self, image: &Reference) -> Result<ImageContent, RegistryError> {
        let timed = tokio::time::timeout(self.inspect_timeout, self.inspect_in_time(image)).await;
        timed.unwrap_or_else(|_| Err(Reason::Timeout.of(image.canonical_domain(), image.to_string())))
    }

    async fn inspect_in_time(&self, image: &Reference) -> Result<ImageContent, RegistryError> {
        let digest = image.digest().ok_or_else(|| refuse(image, Reason::Incomplete("digest")))?;
        let root = self.manifest_by_digest(image, digest).await?;
        let mut walk = Walk { client: self, image, bytes_left: MAX_INSPECT_LEN };
        let platforms = match &root.manifest {
            Manifest::Image(manifest) => vec![walk.content_of(Place::Alone, *digest, manifest).await?],
            Manifest::Index(index) => walk.children_of(index).await?,
        };
        let FetchedManifest { digest, bytes, manifest } = root;
        let annotations = manifest.annotations().clone();
        Ok(ImageContent { digest, media_type: manifest.media_type(), manifest: bytes, platforms, annotations })
    }
}

fn refuse(image: &Reference, reason: Reason) -> RegistryError {
    reason.of(image.canonical_domain(), image.to_string())
}

struct Walk<'a> {
    client: &'a RegistryClient,
    image: &'a Reference,
    bytes_left: u64,
}

impl Walk<'_> {
    fn malformed(&self, what: impl Into<String>) -> RegistryError {
        refuse(self.image, Reason::Malformed(what.into()))
    }

    /// Counts what is read, and compares it with the length that the descriptor states.
    fn take(&mut self, entry: &Descriptor, bytes: &[u8]) -> Result<(), RegistryError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len != entry.size {
            return Err(
                self.malformed(format!("{} has {len} bytes instead of the stated {}", entry.digest, entry.size))
            );
        }
        let left = self.bytes_left.checked_sub(len);
        self.bytes_left = left.ok_or_else(|| refuse(self.image, Reason::TooLarge { limit: MAX_INSPECT_LEN }))?;
        Ok(())
    }

    async fn children_of(&mut self, root: &Index) -> Result<Vec<PlatformContent>, RegistryError> {
        let mut found = Vec::new();
        let mut seen = 0usize;
        // A stack instead of recursion; the first entry is on top, so that the order stays that of the index.
        let mut waiting: Vec<(Descriptor, usize)> = Vec::new();
        let push = |waiting: &mut Vec<(Descriptor, usize)>, seen: &mut usize, index: &Index, depth: usize| {
            *seen = seen.saturating_add(index.manifests.len());
            waiting.extend(index.manifests.iter().rev().map(|entry| (entry.clone(), depth)));
            match *seen <= MAX_PLATFORMS {
                true => Ok(()),
                false => Err(Reason::TooLarge { limit: u64::try_from(MAX_PLATFORMS).unwrap_or(u64::MAX) }),
            }
        };
        push(&mut waiting, &mut seen, root, 1).map_err(|reason| refuse(self.image, reason))?;
        while let Some((entry, depth)) = waiting.pop() {
            let kind = match MediaType::parse(&entry.media_type) {
                Some(kind) => kind,
                None if entry.media_type.starts_with("application/vnd.docker.distribution.manifest.v1+") => {
                    return Err(self.malformed("the index lists a Docker schema 1 manifest, which is refused"));
                }
                // Some runtimes do not look at this type: they choose by platform, and the registry says what it is.
                None => {
                    let kind: String = entry.media_type.escape_default().take(128).collect();
                    let what = "which is no type of an image or index";
                    return Err(self.malformed(format!("the index lists {} as {kind}, {what}", entry.digest)));
                }
            };
            let child = self.client.manifest_by_digest(self.image, &entry.digest).await?;
            self.take(&entry, &child.bytes)?;
            match child.manifest {
                Manifest::Index(_) if !kind.is_index() => {
                    return Err(self.malformed("an entry is listed as an image and is an index"));
                }
                Manifest::Image(_) if kind.is_index() => {
                    return Err(self.malformed("an entry is listed as an index and is an image"));
                }
                Manifest::Index(_) if depth >= MAX_INDEX_DEPTH => {
                    return Err(self.malformed("indexes are nested too deep"));
                }
                Manifest::Index(index) => {
                    found.push(not_runnable(entry.digest));
                    push(&mut waiting, &mut seen, &index, depth.saturating_add(1))
                        .map_err(|reason| refuse(self.image, reason))?;
                }
                Manifest::Image(manifest) => {
                    let place = Place::Listed { as_attestation: entry.is_attestation(), platform: entry.platform };
                    found.push(self.content_of(place, entry.digest, &manifest).await?)
                }
            }
        }
        Ok(found)
    }

    /// One image manifest. Its platform is what its index states or, where that states none that runs, what its config says:
    /// the config decides by its content, because containerd does not look at its media type.
    async fn content_of(
        &mut self,
        place: Place,
        digest: Digest,
        manifest: &ImageManifest,
    ) -> Result<PlatformContent, RegistryError> {
        let config = &manifest.config;
        if config.size > u64::try_from(MAX_CONFIG_LEN).unwrap_or(u64::MAX) {
            return Err(refuse(
                self.image,
                Reason::TooLarge { limit: u64::try_from(MAX_CONFIG_LEN).unwrap_or(u64::MAX) },
            ));
        }
        let bytes = self.client.config_blob(self.image, &config.digest).await?;
        self.take(config, &bytes)?;
        let is_attestation =
            matches!(place, Place::Listed { as_attestation: true, .. }) && manifest.holds_only_statements();
        let (own, labels) = match ImageConfig::parse(&bytes) {
            Ok(read) => (Some(read.platform).filter(|own| !own.is_unknown()), read.labels),
            Err(ConfigError::Missing("os")) if is_attestation => (None, BTreeMap::new()),
            Err(error) if config.is_image_config() || !is_no_image(&error) => {
                return Err(self.malformed(error.to_string()));
            }
            // A single artifact, such as a chart, runs nowhere; below an index it would be what nobody was asked about.
            Err(_) if matches!(place, Place::Alone) => return Ok(not_runnable(digest)),
            Err(_) => (None, BTreeMap::new()),
        };
        let listed = match place {
            Place::Listed { platform, .. } => platform.filter(|listed| !listed.is_unknown()),
            Place::Alone => None,
        };
        match listed.or(own) {
            Some(platform) => Ok(PlatformContent { platform: platform.to_string(), digest, labels, runnable: true }),
            None if is_attestation => Ok(not_runnable(digest)),
            None => Err(self.malformed(format!(
                "{digest} has no platform, neither in an index nor in its config, and is no attestation (whose layers are \
                 all in-toto statements)"
            ))),
        }
    }
}

/// Where an image manifest stands.
enum Place {
    /// It is what was asked for.
    Alone,
    /// In an index.
    Listed { platform: Option<Platform>, as_attestation: bool },
}

/// Whether the reason says that this is something else than an image config, and not a damaged or ambiguous one.
fn is_no_image(error: &ConfigError) -> bool {
    matches!(
        error,
        ConfigError::Missing(_)
            | ConfigError::Wrong("config")
            | ConfigError::Json(JsonError::Syntax { .. } | JsonError::Truncated)
    )
}

fn not_runnable(digest: Digest) -> PlatformContent {
    PlatformContent { platform: NOT_RUNNABLE.to_owned(), digest, labels: BTreeMap::new(), runnable: false }
}
