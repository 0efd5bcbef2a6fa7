//! A collection as the signer knows it: its own verified copy, and the few that stay in memory.
//!
//! Invariant: a value of [`Collection`] was verified from the admitted first root on, also when it comes from the store.

use std::collections::BTreeMap;

use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Role, sha256};
use trust_tuf::repository::RepositoryState;
use trust_tuf::{CollectionName, RoleType, Root, Snapshot, Timestamp, Verified, limits};
use trust_wire::signer::Signed;

use crate::online_role::OnlineRole;
use crate::refusal::{No, fail};
use crate::store::{Marks, SignedFile, Store};
use crate::vault::{HeldKey, Vault};

/// Collections in memory.
const REMEMBERED: usize = 512;
/// Bytes of role files in memory, over all collections.
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;

/// The verified state of a collection, what was signed for it last, and its keys.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    pub(crate) state: RepositoryState,
    pub(crate) marks: Marks,
    /// The bytes of all its roots.
    pub(crate) root_bytes: u64,
    pub(crate) snapshot: SignedFile,
    /// The same snapshot, as [`check_signed`] verified it: what the next one is compared with (rule S4).
    pub(crate) listed: Verified<Snapshot>,
    pub(crate) timestamp: SignedFile,
    pub(crate) keys: Vec<HeldKey>,
}

impl Collection {
    /// Reads a collection from the store and verifies all of it again; `None` if it has no root here.
    pub(crate) fn load(store: &Store, vault: &Vault, name: &CollectionName) -> Result<Option<Self>, No> {
        let Some(marks) = store.marks(name)? else { return Ok(None) };
        let damaged = |what: &str| fail(format!("the signer's own copy of {name} does not verify: {what}"));
        let roots = store.roots(name)?;
        let admitted = store.admitted(name)?;
        if roots.first().map(|first| sha256(first)) != admitted {
            return Err(damaged("its first root is not the admitted one"));
        }
        let newest = verify_chain(&roots).ok_or_else(|| damaged("its roots are not one chain"))?;
        if newest.version() != marks.root {
            return Err(damaged("its newest root is missing"));
        }
        let (files, tombstones) = store.role_files(name)?;
        let state = RepositoryState::restore(name.clone(), newest.bytes().clone(), files, tombstones)
            .map_err(|refusal| damaged(&refusal.to_string()))?;
        let snapshot = store.signed(name, OnlineRole::Snapshot, marks.snapshot)?;
        let timestamp = store.signed(name, OnlineRole::Timestamp, marks.timestamp)?;
        let listed = check_signed(&state, &snapshot, &timestamp).map_err(damaged)?;
        let keys: Result<Vec<HeldKey>, _> = store.keys(name)?.iter().map(|key| vault.unseal(name, key)).collect();
        let keys = keys.map_err(|error| fail(error.to_string()))?;
        let root_bytes = roots.iter().fold(0_u64, |sum, root| sum.saturating_add(length(root)));
        Ok(Some(Self { state, marks, root_bytes, snapshot, listed, timestamp, keys }))
    }

    /// The newest snapshot and timestamp, as an answer.
    pub(crate) fn signed(&self) -> Signed {
        Signed {
            snapshot_version: self.snapshot.version.get(),
            snapshot: self.snapshot.bytes.as_slice().into(),
            timestamp_version: self.timestamp.version.get(),
            timestamp: self.timestamp.bytes.as_slice().into(),
            resign_at: due(&self.timestamp).min(due(&self.snapshot)).to_string(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.roles().values().map(|role| role.bytes().len()).sum()
    }
}

/// How many bytes a file has.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// When a file is due to be made again: at half of its life.
pub(crate) fn due(file: &SignedFile) -> trust_tuf::UtcTime {
    let life = file.expires.secs_since(file.time).max(0);
    file.time.plus_secs(life / 2).unwrap_or(file.time)
}

fn verify_chain(roots: &[Vec<u8>]) -> Option<Verified<Root>> {
    let (first, later) = roots.split_first()?;
    let read = |bytes: &[u8]| Unverified::<Root>::read(bytes, limits::ROOT_BYTES).ok();
    later.iter().try_fold(read(first)?.verify_first().ok()?, |before, bytes| {
        let next = read(bytes)?.verify_next(&before).ok()?;
        (before.version().next() == Some(next.version())).then_some(next)
    })
}

/// Checks that the two files are what a client of this state accepts: signed by the keys of its root, the timestamp naming
/// exactly this snapshot, the snapshot listing exactly this state. Gives the verified snapshot.
pub(crate) fn check_signed(
    state: &RepositoryState,
    snapshot: &SignedFile,
    timestamp: &SignedFile,
) -> Result<Verified<Snapshot>, &'static str> {
    let root = state.root();
    let read = Unverified::<Snapshot>::read(snapshot.bytes.as_slice(), limits::STATED_BYTES);
    let list = read
        .ok()
        .and_then(|file| file.verify(root.role(RoleType::Snapshot)).ok())
        .ok_or("its snapshot is not signed as its root wants it")?;
    let read = Unverified::<Timestamp>::read(timestamp.bytes.as_slice(), limits::TIMESTAMP_BYTES);
    let head = read
        .ok()
        .and_then(|file| file.verify(root.role(RoleType::Timestamp)).ok())
        .ok_or("its timestamp is not signed as its root wants it")?;
    if list.version() != snapshot.version || list.expires() != snapshot.expires {
        return Err("its snapshot is not the recorded one");
    }
    if head.version() != timestamp.version || head.expires() != timestamp.expires {
        return Err("its timestamp is not the recorded one");
    }
    if *head.snapshot() != list.own_entry() {
        return Err("its timestamp names another snapshot");
    }
    let expected: BTreeMap<String, _> =
        state.meta().into_iter().map(|(role, entry)| (format!("{role}.json"), entry)).collect();
    if *list.meta() != expected {
        return Err("its snapshot lists other files than it has");
    }
    Ok(list)
}

/// The collections that were used last.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<CollectionName, (u64, Collection)>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    /// Takes a collection out; whoever changes it puts the new one back after the commit.
    pub(crate) fn take(&mut self, name: &CollectionName) -> Option<Collection> {
        let (_, collection) = self.entries.remove(name)?;
        self.bytes = self.bytes.saturating_sub(collection.bytes());
        Some(collection)
    }

    /// Puts a collection in, and lets those go that were not used for the longest time.
    pub(crate) fn put(&mut self, name: CollectionName, collection: Collection) {
        self.take(&name);
        let size = collection.bytes();
        while self.entries.len() >= REMEMBERED
            || (self.bytes.saturating_add(size) > REMEMBERED_BYTES && !self.entries.is_empty())
        {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            self.take(&oldest);
        }
        self.uses = self.uses.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self.entries.insert(name, (self.uses, collection));
    }

    /// Forgets everything; the store knows it all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
