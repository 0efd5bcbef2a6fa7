//! A verified set of a collection in memory, ready to be served, and the checks by which a set gets there.
//!
//! A [`View`] is made only from files that verify as a whole: root chain, every delegated role under its delegator, a
//! snapshot that lists exactly these files, a timestamp that names exactly this snapshot. Expiry is judged only where
//! the signer has just answered: a stored set that has expired is still served, and clients say so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use trust_tuf::envelope::Unverified;
use trust_tuf::error::Reason;
use trust_tuf::limits;
use trust_tuf::model::{MetaEntry, Role, sha256};
use trust_tuf::repository::{Checked, Publication, Refusal, RepositoryState};
use trust_tuf::{CollectionName, RoleName, RoleType, Root, Snapshot, Timestamp, UtcTime, Verified, Version};
use trust_wire::api::Versions;
use trust_wire::signer::{CollectionFiles, Signed};

use crate::store::{NewSet, StoredFile, StoredSet, StoredTimestamp};

/// Why a set is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// A root does not follow from the one before.
    #[error("root: {0}")]
    Root(Reason),
    /// A role breaks a rule.
    #[error("{0}")]
    Role(#[from] Refusal),
    /// The snapshot does not verify.
    #[error("snapshot: {0}")]
    Snapshot(Reason),
    /// The timestamp does not verify.
    #[error("timestamp: {0}")]
    Timestamp(Reason),
    /// The snapshot lists something else than the roles that there are.
    #[error("the snapshot does not list exactly the current roles")]
    NotCovered,
    /// The timestamp names another snapshot.
    #[error("the timestamp does not name the snapshot")]
    NotNamed,
    /// A version that goes back, or stays where it must rise.
    #[error("{role} has version {got} after version {before}")]
    Lowered {
        /// The role.
        role: String,
        /// What there was.
        before: Version,
        /// What came.
        got: Version,
    },
    /// A role that was listed is not there any more.
    #[error("{0} has disappeared")]
    Removed(String),
    /// Other bytes under a version that was there before.
    #[error("{0} has other bytes under the same version")]
    Fork(String),
    /// What the signer has just made is expired.
    #[error("{0} is expired")]
    Expired(RoleType),
    /// The stated version is not the one in the file.
    #[error("{0} does not have the stated version")]
    Stated(RoleType),
    /// A name or time that cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
}

/// A file as it is served.
#[derive(Debug, Clone)]
pub struct File {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its `ETag`: SHA-256 in hex, quoted.
    pub etag: String,
}

impl File {
    fn new(bytes: &Arc<[u8]>) -> Self {
        Self { bytes: Bytes::from_owner(Arc::clone(bytes)), etag: etag(bytes) }
    }
}

/// The `ETag` of these bytes.
pub fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(sha256(bytes)))
}

/// The current files of a collection.
#[derive(Debug, Clone)]
pub struct View {
    state: RepositoryState,
    roots: Vec<Arc<[u8]>>,
    snapshot: Verified<Snapshot>,
    timestamp: Verified<Timestamp>,
    resign_at: UtcTime,
    files: HashMap<String, File>,
}

/// A snapshot and a timestamp that verify and belong together.
pub struct Cover {
    snapshot: Verified<Snapshot>,
    timestamp: Verified<Timestamp>,
    resign_at: UtcTime,
}

fn snapshot_under(root: &Root, bytes: &[u8]) -> Result<Verified<Snapshot>, SetError> {
    Unverified::<Snapshot>::read(bytes, limits::STATED_BYTES)
        .map_err(Reason::from)
        .and_then(|file| file.verify(root.role(RoleType::Snapshot)))
        .map_err(SetError::Snapshot)
}

fn timestamp_under(root: &Root, bytes: &[u8]) -> Result<Verified<Timestamp>, SetError> {
    Unverified::<Timestamp>::read(bytes, limits::TIMESTAMP_BYTES)
        .map_err(Reason::from)
        .and_then(|file| file.verify(root.role(RoleType::Timestamp)))
        .map_err(SetError::Timestamp)
}

fn names(timestamp: &Timestamp, snapshot: &Verified<Snapshot>) -> Result<(), SetError> {
    let entry = timestamp.snapshot();
    let own = snapshot.own_entry();
    let fits = entry.version == own.version
        && entry.length.is_none_or(|n| Some(n) == own.length)
        && entry.hashes.as_ref().is_none_or(|h| h.match_bytes(snapshot.bytes()));
    if fits { Ok(()) } else { Err(SetError::NotNamed) }
}

fn covers(snapshot: &Snapshot, meta: &BTreeMap<String, MetaEntry>) -> Result<(), SetError> {
    let same = snapshot.meta().len() == meta.len()
        && meta.iter().all(|(role, entry)| snapshot.entry(role).as_ref() == Some(entry));
    if same { Ok(()) } else { Err(SetError::NotCovered) }
}

impl Cover {
    fn read(root: &Root, snapshot: &[u8], timestamp: &[u8], resign_at: UtcTime) -> Result<Self, SetError> {
        let snapshot = snapshot_under(root, snapshot)?;
        let timestamp = timestamp_under(root, timestamp)?;
        names(&timestamp, &snapshot)?;
        Ok(Self { snapshot, timestamp, resign_at })
    }

    /// Reads what the signer made for this state, like a client: signed under its root, lists exactly its roles, not
    /// expired, and newer than what is shown now.
    pub fn check(
        state: &RepositoryState,
        signed: &Signed,
        before: Option<&View>,
        now: UtcTime,
    ) -> Result<Self, SetError> {
        let resign_at = UtcTime::parse(&signed.resign_at).ok_or(SetError::Unreadable("resign_at"))?;
        let cover = Self::read(state.root(), &signed.snapshot.0, &signed.timestamp.0, resign_at)?;
        covers(&cover.snapshot, &state.meta())?;
        let (snapshot, timestamp) = (&cover.snapshot, &cover.timestamp);
        for (role, stated, version, expires) in [
            (RoleType::Snapshot, signed.snapshot_version, snapshot.version(), snapshot.expires()),
            (RoleType::Timestamp, signed.timestamp_version, timestamp.version(), timestamp.expires()),
        ] {
            if stated != version.get() {
                return Err(SetError::Stated(role));
            }
            if expires <= now {
                return Err(SetError::Expired(role));
            }
            let old = before.map(|b| b.online_version(role));
            if let Some(before) = old.filter(|old| *old >= version) {
                return Err(SetError::Lowered { role: role.as_str().to_owned(), before, got: version });
            }
        }
        Ok(cover)
    }
}

/// The roots as bytes, oldest first, and the newest of them.
type Chain = (Vec<Arc<[u8]>>, Verified<Root>);

fn read_roots(files: &[Vec<u8>]) -> Result<Chain, SetError> {
    let mut newest: Option<Verified<Root>> = None;
    let mut roots = Vec::with_capacity(files.len());
    for bytes in files {
        let read =
            Unverified::<Root>::read(bytes.as_slice(), limits::ROOT_BYTES).map_err(|e| SetError::Root(e.into()))?;
        let (expected, root) = match &newest {
            None => (Some(Version::ONE), read.verify_first()),
            Some(old) => (old.version().next(), read.verify_next(old)),
        };
        let root = root.map_err(SetError::Root)?;
        if Some(root.version()) != expected {
            let expected = expected.unwrap_or(Version::ONE);
            return Err(SetError::Root(Reason::WrongVersion { expected, got: root.version() }));
        }
        roots.push(Arc::clone(root.bytes()));
        newest = Some(root);
    }
    newest.map(|newest| (roots, newest)).ok_or(SetError::Unreadable("the chain of roots"))
}

impl View {
    fn whole(
        collection: &CollectionName,
        roots: &[Vec<u8>],
        roles: BTreeMap<String, Vec<u8>>,
        snapshot: &[u8],
        timestamp: &[u8],
        resign_at: UtcTime,
    ) -> Result<Self, SetError> {
        let (roots, root) = read_roots(roots)?;
        let cover = Cover::read(&root, snapshot, timestamp, resign_at)?;
        // What the snapshot lists beyond the delegated roles are those that were delegated once.
        let mut tombstones = BTreeMap::new();
        for (file, entry) in cover.snapshot.meta() {
            let role = file.strip_suffix(".json").ok_or(SetError::Unreadable("a name in the snapshot"))?;
            if !roles.contains_key(role) {
                tombstones.insert(role.to_owned(), entry.clone());
            }
        }
        let roles = roles
            .into_iter()
            .map(|(name, bytes)| Ok((RoleName::parse(&name)?, bytes)))
            .collect::<Result<Vec<_>, trust_tuf::NameError>>()
            .map_err(|_| SetError::Unreadable("a role's name"))?;
        let state = RepositoryState::restore(collection.clone(), Arc::clone(root.bytes()), roles, tombstones)?;
        covers(&cover.snapshot, &state.meta())?;
        Ok(Self::build(state, roots, cover, None))
    }

    /// Reads a stored set, all of it verified again.
    pub fn stored(collection: &CollectionName, set: StoredSet) -> Result<Self, SetError> {
        let resign_at = UtcTime::from_unix(set.resign_at).ok_or(SetError::Unreadable("resign_at"))?;
        Self::whole(collection, &set.roots, set.roles, &set.snapshot, &set.timestamp, resign_at)
    }

    /// Reads the signer's set. Nothing in it may be lower than, or differ from, what is shown now.
    pub fn adopted(
        collection: &CollectionName,
        files: CollectionFiles,
        before: Option<&Self>,
    ) -> Result<Self, SetError> {
        let resign_at = UtcTime::parse(&files.signed.resign_at).ok_or(SetError::Unreadable("resign_at"))?;
        let roots: Vec<Vec<u8>> = files.roots.into_iter().map(|f| f.0).collect();
        let roles = files.roles.into_iter().map(|(name, f)| (name, f.0)).collect();
        let (snapshot, timestamp) = (files.signed.snapshot.0, files.signed.timestamp.0);
        let view = Self::whole(collection, &roots, roles, &snapshot, &timestamp, resign_at)?;
        if let Some(before) = before {
            view.not_before(before)?;
        }
        Ok(view)
    }

    fn not_before(&self, before: &Self) -> Result<(), SetError> {
        let lowered = |role: &str, before, got| SetError::Lowered { role: role.to_owned(), before, got };
        for (version, old) in (1_u64..).zip(&before.roots) {
            match self.roots.get(usize::try_from(version).unwrap_or(usize::MAX).saturating_sub(1)) {
                None => return Err(lowered("root", before.state.root().version(), self.state.root().version())),
                Some(new) if new != old => return Err(SetError::Fork(format!("root {version}"))),
                Some(_) => {}
            }
        }
        let now = self.state.meta();
        let keys = |view: &Self| view.state.root().role(RoleType::Snapshot).clone();
        let (old_keys, new_keys) = (keys(before), keys(self));
        let same_keys = old_keys.keys().any(|(_, key)| new_keys.holds(key));
        for (role, old) in before.state.meta() {
            match now.get(&role) {
                None if same_keys => return Err(SetError::Removed(role)),
                Some(new) if new.version < old.version => return Err(lowered(&role, old.version, new.version)),
                Some(new) if new.version == old.version && *new != old => return Err(SetError::Fork(role)),
                _ => {}
            }
        }
        for (role, old, new) in [
            (RoleType::Snapshot, before.snapshot.bytes(), self.snapshot.bytes()),
            (RoleType::Timestamp, before.timestamp.bytes(), self.timestamp.bytes()),
        ] {
            let (was, is) = (before.online_version(role), self.online_version(role));
            if is < was {
                return Err(lowered(role.as_str(), was, is));
            }
            if is == was && old != new {
                return Err(SetError::Fork(role.as_str().to_owned()));
            }
        }
        Ok(())
    }

    /// The set after a publication that the signer covered.
    pub fn published(before: Option<&Self>, checked: Checked, cover: Cover) -> Self {
        let mut roots = before.map(|b| b.roots.clone()).unwrap_or_default();
        roots.extend(checked.roots.iter().map(|root| Arc::clone(root.bytes())));
        Self::build(checked.state, roots, cover, before)
    }

    /// The same set under a new timestamp.
    pub fn renewed(&self, timestamp: &[u8], stated: u64, resign_at: &str, now: UtcTime) -> Result<Self, SetError> {
        let resign_at = UtcTime::parse(resign_at).ok_or(SetError::Unreadable("resign_at"))?;
        let timestamp = timestamp_under(self.state.root(), timestamp)?;
        names(&timestamp, &self.snapshot)?;
        let (was, is) = (self.timestamp.version(), timestamp.version());
        if is.get() != stated {
            return Err(SetError::Stated(RoleType::Timestamp));
        }
        if timestamp.expires() <= now {
            return Err(SetError::Expired(RoleType::Timestamp));
        }
        if is < was {
            return Err(SetError::Lowered { role: "timestamp".to_owned(), before: was, got: is });
        }
        if is == was && timestamp.bytes() != self.timestamp.bytes() {
            return Err(SetError::Fork("timestamp".to_owned()));
        }
        let cover = Cover { snapshot: self.snapshot.clone(), timestamp, resign_at };
        Ok(Self::build(self.state.clone(), self.roots.clone(), cover, Some(self)))
    }

    fn build(state: RepositoryState, roots: Vec<Arc<[u8]>>, cover: Cover, before: Option<&Self>) -> Self {
        let Cover { snapshot, timestamp, resign_at } = cover;
        let mut files = HashMap::new();
        let mut add = |name: String, bytes: &Arc<[u8]>| {
            // A versioned file never changes: it is hashed once.
            let file = before.and_then(|b| b.files.get(&name)).cloned().unwrap_or_else(|| File::new(bytes));
            files.insert(name, file);
        };
        for (version, bytes) in (1_u64..).zip(&roots) {
            add(format!("{version}.root.json"), bytes);
        }
        add(format!("{}.snapshot.json", snapshot.version()), snapshot.bytes());
        for (name, role) in state.roles() {
            add(format!("{}.{}.json", role.version(), name.as_str()), role.bytes());
        }
        files.insert("timestamp.json".to_owned(), File::new(timestamp.bytes()));
        Self { state, roots, snapshot, timestamp, resign_at, files }
    }

    /// A current file by its name in URLs.
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.get(name)
    }

    /// Whether every file of the publication is, byte for byte, in this set.
    pub fn holds(&self, publication: &Publication) -> bool {
        publication.roots.iter().all(|root| self.roots.iter().any(|own| own.as_ref() == root.as_slice()))
            && publication.roles.iter().all(|(name, file)| {
                self.state.roles().get(name).is_some_and(|role| role.bytes().as_ref() == file.as_slice())
            })
    }

    /// The bytes of all roles together.
    pub fn size(&self) -> usize {
        self.state.roles().values().map(|role| role.bytes().len()).sum()
    }

    /// The verified root and roles.
    pub fn state(&self) -> &RepositoryState {
        &self.state
    }

    /// The roots, oldest first.
    pub fn roots(&self) -> &[Arc<[u8]>] {
        &self.roots
    }

    /// When the next timestamp is due.
    pub fn resign_at(&self) -> UtcTime {
        self.resign_at
    }

    /// The current timestamp.
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    fn online_version(&self, role: RoleType) -> Version {
        match role {
            RoleType::Snapshot => self.snapshot.version(),
            _ => self.timestamp.version(),
        }
    }

    /// The newest snapshot's version.
    pub fn snapshot_version(&self) -> Version {
        self.snapshot.version()
    }

    /// The versions of root and of every role that the snapshot lists.
    pub fn versions(&self) -> Versions {
        let entries = self.snapshot.meta().iter();
        let role = |file: &str| file.strip_suffix(".json").unwrap_or(file).to_owned();
        Versions {
            root: Some(self.state.root().version().get()),
            roles: entries.map(|(file, entry)| (role(file), entry.version.get())).collect(),
        }
    }

    /// The SHA-256 of a target's content, if a current role lists the path with this hash (SHA-256 or SHA-512 in hex).
    pub fn content(&self, path: &str, hash: &str) -> Option<[u8; 32]> {
        self.state.roles().values().find_map(|role| {
            let hashes = role.target(path)?.hashes;
            let fits = |h: Option<String>| h.is_some_and(|h| h == hash);
            let named = fits(hashes.sha256.map(hex::encode)) || fits(hashes.sha512.map(hex::encode));
            hashes.sha256.filter(|_| named)
        })
    }

    /// The timestamp as it is stored.
    pub fn stored_timestamp(&self) -> StoredTimestamp {
        StoredTimestamp {
            version: self.timestamp.version().get(),
            body: Arc::clone(self.timestamp.bytes()),
            resign_at: self.resign_at.unix(),
        }
    }

    /// The set as it is stored: what is not in `before`, and which roles are delegated.
    pub fn to_store(&self, before: Option<&Self>) -> NewSet {
        let mut files = Vec::new();
        let known = before.map_or(0, |b| b.roots.len());
        for (version, body) in (1_u64..).zip(&self.roots).skip(known) {
            files.push(StoredFile { role: "root".to_owned(), version, body: Arc::clone(body) });
        }
        let mut live = BTreeMap::new();
        for (name, role) in self.state.roles() {
            let version = role.version();
            live.insert(name.as_str().to_owned(), version.get());
            let same = before.and_then(|b| b.state.roles().get(name)).is_some_and(|old| old.version() == version);
            if !same {
                let (role_name, body) = (name.as_str().to_owned(), Arc::clone(role.bytes()));
                files.push(StoredFile { role: role_name, version: version.get(), body });
            }
        }
        let snapshot = self.snapshot.version().get();
        let body = Arc::clone(self.snapshot.bytes());
        files.push(StoredFile { role: "snapshot".to_owned(), version: snapshot, body });
        NewSet {
            collection: self.state.collection().as_str().to_owned(),
            files,
            live,
            root: self.state.root().version().get(),
            snapshot,
            timestamp: self.stored_timestamp(),
        }
    }
}
