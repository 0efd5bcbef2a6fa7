//! Image references as Docker, containerd and Kubernetes understand them (`[DOMAIN/]PATH[:TAG][@DIGEST]`).
//!
//! Invariant: a `Reference` is normalised when it is made, and [`Reference::name`] is the one canonical name under which
//! trust is looked up (host in lower case, default port dropped, aliases of one registry under one name). What a node
//! would refuse is refused here too; a port above 65535 and digests other than sha256 and sha512 are refused beyond that.
//! Deliberately absent: anything about what a registry serves.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// Longest reference that is read, in bytes.
pub const MAX_REFERENCE_LEN: usize = 1024;
/// Longest path (all components with their `/`), in bytes.
pub const MAX_PATH_LEN: usize = 255;
/// Longest domain with its port, in bytes.
pub const MAX_DOMAIN_LEN: usize = 255;
/// Longest tag, in bytes.
pub const MAX_TAG_LEN: usize = 128;
/// The tag that a reference without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";
/// The domain that a short name means.
pub const DOCKER_HUB: &str = "docker.io";

/// Hosts that are one registry under several names: (other name, canonical name). The only such table; every door uses it
/// through [`Reference::name`].
const HOST_ALIASES: &[(&str, &str)] = &[("index.docker.io", DOCKER_HUB), ("registry-1.docker.io", DOCKER_HUB)];

/// A normalised image reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    tag_defaulted: bool,
    digest: Option<Digest>,
    name: String,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the image reference is empty")]
    Empty,
    /// Longer than [`MAX_REFERENCE_LEN`].
    #[error("the image reference is longer than {MAX_REFERENCE_LEN} bytes")]
    TooLong,
    /// Exactly 64 hex digits: an image ID of one engine, which names no registry.
    #[error("64 hex digits are an image ID, not an image reference")]
    ImageId,
    /// The text starts with `http://`, `https://`, `docker://` or the like.
    #[error("an image reference has no URL scheme")]
    Scheme,
    /// A blank, tab, line break or other control character anywhere.
    #[error("the image reference contains white space or a control character")]
    Whitespace,
    /// The part before the first `/` is no host name, IPv4 or `[IPv6]`.
    #[error("the registry host is not valid")]
    InvalidDomain,
    /// What follows the host's `:` is no port from 1 to 65535.
    #[error("the registry port is not valid")]
    InvalidPort,
    /// Two `/` in a row, a leading or a trailing `/`.
    #[error("the image path has an empty component")]
    EmptyComponent,
    /// An upper-case letter in the path.
    #[error("the image path must be lower case")]
    UpperCasePath,
    /// A component that the grammar `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` does not take.
    #[error("a component of the image path is not valid")]
    InvalidPath,
    /// The path is longer than [`MAX_PATH_LEN`].
    #[error("the image path is longer than {MAX_PATH_LEN} bytes")]
    PathTooLong,
    /// The tag is empty, longer than [`MAX_TAG_LEN`], or has other characters than `[A-Za-z0-9_.-]`.
    #[error("the tag is not valid")]
    InvalidTag,
    /// The digest is refused.
    #[error("{0}")]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Parses and normalises a reference by Docker's rules.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_REFERENCE_LEN {
            return Err(ReferenceError::TooLong);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ReferenceError::Whitespace);
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::ImageId);
        }
        let (domain, rest) = split_domain(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(check_tag(tag)?.to_owned())),
            None => (rest, None),
        };
        let path = match path.contains('/') || domain != DOCKER_HUB {
            true => path.to_owned(),
            false => format!("library/{path}"),
        };
        check_path(&path)?;
        let name = canonical_name(domain, &path)?;
        let tag_defaulted = tag.is_none() && digest.is_none();
        let tag = if tag_defaulted { Some(DEFAULT_TAG.to_owned()) } else { tag };
        Ok(Reference { domain: domain.to_owned(), path, tag, tag_defaulted, digest, name })
    }

    /// The registry as written (`docker.io` for a short name): host in the given case, port as given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path as a node would ask for it (`library/ubuntu` for `ubuntu`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` if neither tag nor digest were given; `None` if only a digest was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Whether the tag was not written but means `latest`.
    pub fn is_tag_defaulted(&self) -> bool {
        self.tag_defaulted
    }

    /// The digest, if one was given. With a tag beside it, the digest decides at a gate.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The canonical name `DOMAIN/PATH`, without tag and digest: what collections are matched with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The canonical `HOST[:PORT]` of [`Reference::name`].
    pub fn canonical_domain(&self) -> &str {
        self.name.split_once('/').map_or(self.name.as_str(), |(domain, _)| domain)
    }

    /// The path of [`Reference::name`].
    pub fn canonical_path(&self) -> &str {
        self.name.split_once('/').map_or("", |(_, path)| path)
    }

    /// The same image by exactly this digest and without a tag: what is pulled after a verdict.
    pub fn pinned(&self, digest: Digest) -> Reference {
        Reference { tag: None, tag_defaulted: false, digest: Some(digest), ..self.clone() }
    }

    /// The same image under this tag and without a digest.
    pub fn tagged(&self, tag: &str) -> Result<Reference, ReferenceError> {
        let tag = Some(check_tag(tag)?.to_owned());
        Ok(Reference { tag, tag_defaulted: false, digest: None, ..self.clone() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Reference::parse(text)
    }
}

/// Checks a tag: 1 to 128 of `[A-Za-z0-9_.-]`, the first not `.` or `-`.
pub fn check_tag(tag: &str) -> Result<&str, ReferenceError> {
    let first_fits = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_fits = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    match first_fits && rest_fits && tag.len() <= MAX_TAG_LEN {
        true => Ok(tag),
        false => Err(ReferenceError::InvalidTag),
    }
}

/// Checks the path of an image name: components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, at most 255 bytes.
pub fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.len() > MAX_PATH_LEN {
        return Err(ReferenceError::PathTooLong);
    }
    path.split('/').try_for_each(check_component)
}

fn check_component(component: &str) -> Result<(), ReferenceError> {
    if component.is_empty() {
        return Err(ReferenceError::EmptyComponent);
    }
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCasePath);
    }
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges_fit = component.bytes().next().is_some_and(is_word) && component.bytes().last().is_some_and(is_word);
    // Between two words stands exactly one separator: `.`, `_`, `__`, or any number of `-`.
    let separators_fit = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|run| !run.is_empty())
        .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'));
    match edges_fit && separators_fit {
        true => Ok(()),
        false => Err(ReferenceError::InvalidPath),
    }
}

/// The canonical form of `HOST[:PORT]`: lower case, IPv6 in its short form, port without leading zeros, `:443` dropped,
/// aliases under their one name.
pub fn canonical_domain(domain: &str) -> Result<String, ReferenceError> {
    if domain.len() > MAX_DOMAIN_LEN {
        return Err(ReferenceError::InvalidDomain);
    }
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(ReferenceError::InvalidDomain)?;
            let address: Ipv6Addr = address.parse().map_err(|_| ReferenceError::InvalidDomain)?;
            let port = match port {
                "" => None,
                other => Some(other.strip_prefix(':').ok_or(ReferenceError::InvalidDomain)?),
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = match domain.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (domain, None),
            };
            check_host(host)?;
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = port.map(parse_port).transpose()?;
    let host = HOST_ALIASES.iter().find(|(alias, _)| host == *alias).map_or(host, |(_, name)| (*name).to_owned());
    Ok(match port {
        None | Some(443) => host,
        Some(port) => format!("{host}:{port}"),
    })
}

fn canonical_name(domain: &str, path: &str) -> Result<String, ReferenceError> {
    let canonical = canonical_domain(domain)?;
    // An alias of Docker Hub with a one-component path would otherwise read back as another name.
    match canonical == DOCKER_HUB && !path.contains('/') {
        true => Ok(format!("{canonical}/library/{path}")),
        false => Ok(format!("{canonical}/{path}")),
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let label_fits = |label: &str| {
        let is_word = |b: u8| b.is_ascii_alphanumeric();
        label.bytes().next().is_some_and(is_word)
            && label.bytes().last().is_some_and(is_word)
            && label.bytes().all(|b| is_word(b) || b == b'-')
    };
    match host.split('.').all(label_fits) {
        true => Ok(()),
        false => Err(ReferenceError::InvalidDomain),
    }
}

fn parse_port(port: &str) -> Result<u16, ReferenceError> {
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ReferenceError::InvalidPort);
    }
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(ReferenceError::InvalidPort),
    }
}

/// The domain that a reference names or means, and what follows it.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if is_domain(first) => match first {
            "index.docker.io" => (DOCKER_HUB, rest),
            other => (other, rest),
        },
        _ => (DOCKER_HUB, text),
    }
}

fn is_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
