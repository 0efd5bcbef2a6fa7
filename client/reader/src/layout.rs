//! Where files lie on a server: paths relative to its address.

use trust_tuf::names::percent_encode;
use trust_tuf::{CollectionName, TargetInfo, Version};

/// The folders of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    metadata: String,
    targets: String,
}

impl Layout {
    /// A collection on a `trust-server`.
    pub fn of(collection: &CollectionName) -> Self {
        Self { metadata: format!("tuf/{collection}/_metadata/"), targets: format!("tuf/{collection}/_targets/") }
    }

    /// Any TUF repository: the folders of metadata and targets relative to the transport's address, each empty or with
    /// a `/` at its end.
    pub fn foreign(metadata: impl Into<String>, targets: impl Into<String>) -> Self {
        Self { metadata: metadata.into(), targets: targets.into() }
    }

    /// The path of a metadata file.
    pub fn metadata(&self, file: &str) -> String {
        format!("{}{file}", self.metadata)
    }

    /// The paths under which a target may lie, the best first (5.7.3): the hash stands before the last component.
    pub fn target(&self, path: &str, target: &TargetInfo, consistent: bool) -> Vec<String> {
        let encoded: Vec<String> = path.split('/').map(percent_encode).collect();
        let plain = encoded.join("/");
        if !consistent {
            return vec![format!("{}{plain}", self.targets)];
        }
        let hashes = [target.hashes.sha256.map(hex::encode), target.hashes.sha512.map(hex::encode)];
        let under = |hash: String| match plain.rsplit_once('/') {
            Some((folder, name)) => format!("{}{folder}/{hash}.{name}", self.targets),
            None => format!("{}{hash}.{plain}", self.targets),
        };
        hashes.into_iter().flatten().map(under).collect()
    }
}

/// The name of a role's file: with its version on a consistent repository.
pub(crate) fn file_name(role: &str, version: Version, consistent: bool) -> String {
    let role = percent_encode(role);
    if consistent { format!("{version}.{role}.json") } else { format!("{role}.json") }
}
