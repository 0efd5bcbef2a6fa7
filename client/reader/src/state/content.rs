//! Contents of reserved targets (policy, labels, …), kept so that a restart without network has what is in force.
//!
//! They lie in `content/KIND/`, each under its hash. Nothing here is trusted: who reads one checks it against the role
//! that names it.

use std::collections::BTreeSet;

use super::{StateError, StateStore};

const CONTENT: &str = "content";

impl StateStore {
    /// A kept content of at most `limit` bytes; `None` if there is none.
    pub(crate) fn content(&self, kind: &str, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
        let content = self.folder.subfolder(CONTENT)?.subfolder(kind)?.read(name, limit)?;
        Ok(content.map(|bytes| bytes.to_vec()))
    }

    /// Keeps a content that was checked.
    pub(crate) fn keep_content(&self, kind: &str, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.folder.subfolder(CONTENT)?.subfolder(kind)?.write(name, bytes)
    }

    /// Removes every content of this kind that is not named any more.
    pub(crate) fn prune_content(&self, kind: &str, named: &BTreeSet<String>) -> Result<(), StateError> {
        let folder = self.folder.subfolder(CONTENT)?.subfolder(kind)?;
        for name in folder.names()? {
            if !named.contains(&name) {
                folder.remove(&name)?;
            }
        }
        Ok(())
    }
}
