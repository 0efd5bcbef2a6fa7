//! What is in force of one reserved kind (`_policy`, `_labels`, …), as one set from the one role that counts.
//!
//! The contents are kept beside the stored state and checked against the role whenever they are read, so that a restart
//! without network has what was in force. Deliberately absent: what the contents mean.

use std::collections::BTreeSet;

use bytes::Bytes;
use trust_tuf::model::Role;
use trust_tuf::{TargetInfo, Targets, UpdateError, UtcTime, Verified, reserved};

use crate::catalogue::Code;
use crate::problems::Failure;
use crate::reader::{Reader, checked};
use crate::transport::Transport;
use crate::verdict::Problem;

/// Files of one kind.
pub const MAX_ENTRIES: usize = 64;
/// Bytes of one file.
pub const MAX_ENTRY_BYTES: u64 = 1024 * 1024;
/// Bytes of all files of one kind together.
pub const MAX_SET_BYTES: u64 = 4 * 1024 * 1024;

/// The files of one kind that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedSet {
    /// The role that says so: the kind's own role where `targets` delegates it, else `targets`.
    pub role: String,
    /// The version of that role's file.
    pub version: u64,
    /// When that role's file expires. (What the whole update rests on: [`crate::view::View::expires`].)
    pub expires: UtcTime,
    /// The ids of the keys whose signatures on that file counted.
    pub signed_by: Vec<String>,
    /// Path and content, in byte order of the paths. Empty: nothing is in force.
    pub entries: Vec<(String, Bytes)>,
}

impl<T: Transport> Reader<T> {
    /// What is in force of a kind, one of [`reserved::KINDS`]: at most [`MAX_ENTRIES`] files. All or nothing: a file that
    /// cannot be had or does not check is an error, because what is missing could be the rule that forbids.
    pub async fn reserved(&mut self, kind: &str) -> Result<ReservedSet, Problem> {
        if !reserved::KINDS.contains(&kind) {
            return Err(Problem::new(Code::Internal).fact("kind", kind));
        }
        let delegates = |file: &Targets| file.delegations().is_some_and(|d| d.role(kind).is_some());
        let role = if delegates(self.trusted().targets()) { kind } else { "targets" };
        let file = self.role(role).await?;
        let wanted = self.entries_of(kind, &file)?;
        let mut entries = Vec::with_capacity(wanted.len());
        let mut names = BTreeSet::new();
        for (path, target) in wanted {
            let name = kept_name(&target).ok_or_else(|| self.limit(&path, "it has no hash that is known here"))?;
            let content = self.kept_content(kind, &name, &path, &target).await?;
            names.insert(name);
            entries.push((path, content));
        }
        if self.is_online() {
            self.store().prune_content(kind, &names).map_err(|error| self.scene().problem(error.into()))?;
        }
        Ok(ReservedSet {
            role: role.to_owned(),
            version: file.version().get(),
            expires: file.expires(),
            signed_by: file.signers().iter().map(|id| id.as_str().to_owned()).collect(),
            entries,
        })
    }

    /// Paths and targets of the kind, within the limits. What the role lists outside its patterns does not count, as in
    /// every search.
    fn entries_of(&self, kind: &str, file: &Verified<Targets>) -> Result<Vec<(String, TargetInfo)>, Problem> {
        let delegation = self.trusted().targets().delegations().and_then(|d| d.role(kind));
        let mut wanted = Vec::new();
        let mut total = 0_u64;
        for path in file.paths().filter(|path| reserved::kind(path) == Some(kind)) {
            let counts = delegation
                .map_or(Ok(true), |d| d.matches(path))
                .map_err(|reason| self.scene().problem(UpdateError { role: "targets".to_owned(), reason }.into()))?;
            let Some(target) = file.target(path).filter(|_| counts) else { continue };
            total = total.saturating_add(target.length);
            if target.length > MAX_ENTRY_BYTES {
                return Err(self.limit(path, &format!("it has more than {MAX_ENTRY_BYTES} bytes")));
            }
            if wanted.len() >= MAX_ENTRIES || total > MAX_SET_BYTES {
                let found = format!("there are more than {MAX_ENTRIES} files or {MAX_SET_BYTES} bytes of this kind");
                return Err(self.limit(path, &found));
            }
            wanted.push((path.to_owned(), target));
        }
        Ok(wanted)
    }

    fn limit(&self, path: &str, found: &str) -> Problem {
        let collection = &self.anchor().collection;
        Problem::new(Code::PolicyRefused).fact("collection", collection).fact("file", path).fact("found", found)
    }

    /// The kept content if it is the right one, else the server's, which is then kept.
    async fn kept_content(&self, kind: &str, name: &str, path: &str, target: &TargetInfo) -> Result<Bytes, Problem> {
        let kept = self.store().content(kind, name, MAX_ENTRY_BYTES);
        if let Ok(Some(bytes)) = kept
            && let Ok(bytes) = checked(path, target, bytes.into())
        {
            return Ok(bytes);
        }
        if !self.is_online() {
            let problem = Problem::new(Code::StoredIncomplete).fact("collection", &self.anchor().collection);
            return Err(problem.fact("file", path).because(Failure::NothingStored));
        }
        let bytes = self.content(path, target, MAX_ENTRY_BYTES).await?;
        let written = self.store().keep_content(kind, name, &bytes);
        written.map_err(|error| self.scene().problem(error.into()))?;
        Ok(bytes)
    }
}

/// The name under which a content is kept: its hash.
fn kept_name(target: &TargetInfo) -> Option<String> {
    let long = || target.hashes.sha512.map(|hash| format!("sha512-{}", hex::encode(hash)));
    target.hashes.sha256.map(hex::encode).or_else(long)
}

#[cfg(test)]
mod tests;
