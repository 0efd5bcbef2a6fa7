//! The mapping of images to TUF target paths, and of images to collections.
//!
//! In collection `registry.example.com/pay`, the tag `…/pay/api:v1` is the target `api/v1`, and what `api` holds under a
//! digest is `api/@sha256-HEX`; in collection `registry.example.com/pay/api` they are `v1` and `@sha256-HEX`. Invariant:
//! two images never share a path, and no image has a reserved path (two or more segments, the first beginning with `_`),
//! because no component of an image name begins with `_`, and no tag holds `@` or `/`. Deliberately absent: which roles
//! may say what about a path.

use std::fmt;

use crate::digest::Digest;
use crate::reference::{self, Reference};

/// The first segment of all revocations.
const REVOKED: &str = "_revoked";
const REVOKED_SUFFIX: &str = ".json";

/// What a target path of an image names: the image, and a tag or a digest of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageEntry {
    /// The canonical image name (`DOMAIN/PATH`).
    pub name: String,
    /// The tag or digest.
    pub entry: Entry,
}

/// The last segment of an image's target path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// `v1`: what the tag stands for.
    Tag(String),
    /// `@sha256-HEX`: that this digest is signed, whatever tags do.
    Digest(Digest),
}

/// What a revocation takes back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// A digest, under all names of the collection.
    Digest(Digest),
    /// One tag of one image.
    Tag {
        /// The canonical image name.
        name: String,
        /// The tag.
        tag: String,
    },
}

/// Why there is no such mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A collection's name is not `HOST[:PORT]/PATH` in canonical form.
    #[error("\"{0}\" is not a canonical collection name")]
    Collection(String),
    /// The image is not at or below the collection's name.
    #[error("the collection does not cover this image")]
    NotCovered,
    /// The reference has no tag.
    #[error("the image reference has no tag")]
    NoTag,
    /// The path is reserved for things that are not images.
    #[error("the target path is reserved")]
    Reserved,
    /// The path is neither that of a tag nor that of a digest.
    #[error("the target path is not that of an image")]
    NotAnImage,
}

impl fmt::Display for ImageEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Entry::Tag(tag) => write!(f, "{}:{tag}", self.name),
            Entry::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// Checks that a collection's name is in its one canonical form: host in lower case, no default port, no alias.
pub fn check_collection(collection: &str) -> Result<(), TargetError> {
    let refused = || TargetError::Collection(collection.to_owned());
    let (domain, path) = collection.split_once('/').ok_or_else(refused)?;
    let canonical = reference::canonical_domain(domain).map_err(|_| refused())?;
    reference::check_path(path).map_err(|_| refused())?;
    match canonical == domain {
        true => Ok(()),
        false => Err(refused()),
    }
}

/// Whether the collection speaks for the image of this canonical name: equal, or above it by whole path components.
pub fn covers(collection: &str, name: &str) -> bool {
    remainder(collection, name).is_some()
}

/// The collection of an image: the longest of the candidates that covers its canonical name. A candidate that is not
/// canonical is an error and not passed over, because passing over it would fall back to a shorter one.
pub fn collection_for<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Result<Option<&'a str>, TargetError> {
    let mut best: Option<&str> = None;
    for candidate in candidates {
        check_collection(candidate)?;
        if covers(candidate, name) && best.is_none_or(|best| best.len() < candidate.len()) {
            best = Some(candidate);
        }
    }
    Ok(best)
}

/// The target path of the reference's tag: `api/v1`, or `v1` if the collection is the image.
pub fn tag_path(collection: &str, image: &Reference) -> Result<String, TargetError> {
    let rest = rest_of(collection, image)?;
    Ok(join(rest, image.tag().ok_or(TargetError::NoTag)?))
}

/// The target path of a digest of the image: `api/@sha256-HEX`, or `@sha256-HEX` if the collection is the image.
pub fn digest_path(collection: &str, image: &Reference, digest: &Digest) -> Result<String, TargetError> {
    Ok(join(rest_of(collection, image)?, &digest_segment(digest)))
}

/// The path pattern that lets a role with this pattern write digest entries too: `api/@sha256-*` beside `api/v*`; `None` if
/// the pattern itself matches them (its last segment is `*`).
pub fn digest_pattern_beside(pattern: &str) -> Option<String> {
    let (rest, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    (last != "*").then(|| join(rest, "@sha256-*"))
}

/// The reserved path under which a digest is revoked for the whole collection: `_revoked/@sha256-HEX.json`.
pub fn revoked_digest_path(digest: &Digest) -> String {
    format!("{REVOKED}/{}{REVOKED_SUFFIX}", digest_segment(digest))
}

/// The reserved path under which the reference's tag is revoked: `_revoked/api/v1.json`.
pub fn revoked_tag_path(collection: &str, image: &Reference) -> Result<String, TargetError> {
    Ok(format!("{REVOKED}/{}{REVOKED_SUFFIX}", tag_path(collection, image)?))
}

/// Whether a target path is reserved: two or more segments, the first beginning with `_`.
pub fn is_reserved(path: &str) -> bool {
    path.starts_with('_') && path.contains('/')
}

/// The image that a target path of the collection names.
pub fn image_of(collection: &str, path: &str) -> Result<ImageEntry, TargetError> {
    check_collection(collection)?;
    if is_reserved(path) {
        return Err(TargetError::Reserved);
    }
    entry_of(collection, path)
}

/// What a path below `_revoked/` takes back in the collection.
pub fn revoked_of(collection: &str, path: &str) -> Result<Revoked, TargetError> {
    check_collection(collection)?;
    let inner = path
        .strip_prefix(REVOKED)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.strip_suffix(REVOKED_SUFFIX));
    let entry = entry_of(collection, inner.ok_or(TargetError::NotAnImage)?)?;
    match entry.entry {
        Entry::Tag(tag) => Ok(Revoked::Tag { name: entry.name, tag }),
        // A digest is revoked under every name at once: an entry with a name would be one that nobody looks up.
        Entry::Digest(digest) if entry.name == collection => Ok(Revoked::Digest(digest)),
        Entry::Digest(_) => Err(TargetError::NotAnImage),
    }
}

fn entry_of(collection: &str, path: &str) -> Result<ImageEntry, TargetError> {
    let (name, last) = match path.rsplit_once('/') {
        Some((rest, last)) => (format!("{collection}/{rest}"), last),
        None => (collection.to_owned(), path),
    };
    let (_, whole_path) = name.split_once('/').ok_or(TargetError::NotAnImage)?;
    reference::check_path(whole_path).map_err(|_| TargetError::NotAnImage)?;
    let entry = match last.strip_prefix('@') {
        Some(digest) => {
            let (algorithm, hex) = digest.split_once('-').ok_or(TargetError::NotAnImage)?;
            Entry::Digest(Digest::parse(&format!("{algorithm}:{hex}")).map_err(|_| TargetError::NotAnImage)?)
        }
        None => Entry::Tag(reference::check_tag(last).map_err(|_| TargetError::NotAnImage)?.to_owned()),
    };
    Ok(ImageEntry { name, entry })
}

fn rest_of<'a>(collection: &str, image: &'a Reference) -> Result<&'a str, TargetError> {
    check_collection(collection)?;
    remainder(collection, image.name()).ok_or(TargetError::NotCovered)
}

/// What is left of the name after the collection: empty if they are equal.
fn remainder<'a>(collection: &str, name: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix(collection)?;
    match rest {
        "" => Some(""),
        _ => rest.strip_prefix('/'),
    }
}

fn join(rest: &str, last: &str) -> String {
    match rest {
        "" => last.to_owned(),
        _ => format!("{rest}/{last}"),
    }
}

fn digest_segment(digest: &Digest) -> String {
    format!("@{}-{}", digest.algorithm(), digest.hex())
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
