//! `[[collections]]`: the pinned collections and their servers.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use trust_reader::anchor;
use trust_reader::sources::check_mirrors;
use trust_tuf::CollectionName;

use super::{ConfigError, MAX_ROOT_LEN, read_file, value};

/// A pinned collection.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// The bytes of the pinned root, with the fingerprint that was asked for.
    pub root: Vec<u8>,
    /// The file that they came from.
    pub root_file: PathBuf,
    /// Address of its server.
    pub server: String,
    /// Mirrors of the server: further addresses to read from.
    pub mirrors: Vec<String>,
    /// Authorities of the certificates of server and mirrors; `None`: the machine's own.
    pub ca: Option<PathBuf>,
    /// Whether server and mirrors may be asked by plain HTTP over the network. Metadata is signed; who reads it is not hidden.
    pub plain_http: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionEntry {
    name: String,
    root: PathBuf,
    fingerprint: String,
    server: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    plain_http: bool,
}

impl CollectionEntry {
    /// With its root read and compared with the fingerprint.
    pub(super) fn complete(self, folder: &Path) -> Result<Collection, ConfigError> {
        let name = CollectionName::parse(&self.name).map_err(|e| value(&format!("collection {:?}", self.name), &e))?;
        let wanted = self.fingerprint.to_ascii_lowercase();
        if wanted.len() != 64 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(value(&format!("fingerprint of {name}"), "is 64 hex digits"));
        }
        let path = folder.join(&self.root);
        let root = read_file(&path, MAX_ROOT_LEN)?;
        let found = anchor::fingerprint(&root);
        if found != wanted {
            let path = path.display().to_string();
            return Err(ConfigError::Fingerprint { path, collection: self.name, wanted, found });
        }
        if !["https://", "http://"].iter().any(|scheme| self.server.starts_with(scheme)) {
            return Err(value(&format!("server of {name}"), "is an address as https://trust.example.com"));
        }
        check_mirrors(Some(&self.server), &self.mirrors).map_err(|e| value(&format!("mirrors of {name}"), &e))?;
        let (server, mirrors, ca) = (self.server, self.mirrors, self.ca.map(|ca| folder.join(ca)));
        Ok(Collection { name, root, root_file: path, server, mirrors, ca, plain_http: self.plain_http })
    }
}
