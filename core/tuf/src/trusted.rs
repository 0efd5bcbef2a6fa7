//! The trusted set: the rules of an update, step by step (5.3 to 5.6), as types that consume each other.
//!
//! `RootStage` → `TimestampStage` → `SnapshotStage` → `TargetsStage` → [`TrustedSet`]. Each step takes received bytes
//! and gives the next stage or a reason. A step cannot be left out or repeated: the types do not fit.
//!
//! - The reference time is given once, with the pinned root; every expiry of the update is judged by it. A file whose
//!   `expires` equals it is expired.
//! - Local files are offered like received ones. One that does not verify is ignored; one that verifies but is expired
//!   or superseded still guards against rollback.
//! - The caller persists a file after the step that accepted it, and before the next one. Nothing else is persisted.

use std::sync::Arc;

use crate::envelope::Unverified;
use crate::error::{Reason, UpdateError};
use crate::known::{Delegated, Known, again};
use crate::limits;
use crate::lookup::RoleRequest;
use crate::model::{MetaEntry, Role, RoleKeys, Root, Snapshot, Targets, Timestamp};
use crate::names::{RoleType, Version};
use crate::time::UtcTime;
use crate::verify::{Verified, check_entry, check_signed};

/// A file to be fetched: its version and the most bytes it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The version that another file states.
    pub version: Version,
    /// The most bytes to read.
    pub limit: u64,
    /// Whether another file states that it has exactly so many.
    pub is_stated: bool,
}

impl Wanted {
    pub(crate) fn of(entry: &MetaEntry, default: u64) -> Self {
        let limit = entry.length.unwrap_or(default).min(limits::STATED_BYTES);
        Self { version: entry.version, limit, is_stated: entry.length == Some(limit) }
    }
}

/// Bytes as they came: looked at before they become a file, which may take as much memory once more.
pub trait Received: AsRef<[u8]> + Into<Arc<[u8]>> {}

impl<T: AsRef<[u8]> + Into<Arc<[u8]>>> Received for T {}

fn not_expired(role: &impl Role, now: UtcTime) -> Result<(), Reason> {
    let expires = role.expires();
    if expires <= now { Err(Reason::Expired { expires, now }) } else { Ok(()) }
}

/// Step 1: walk the chain of roots from the pinned one.
#[derive(Debug, Clone)]
pub struct RootStage {
    root: Verified<Root>,
    now: UtcTime,
    followed: usize,
    // The chain from the pinned root, as far as it is kept; the newest root is in it or beyond it.
    chain: Vec<Verified<Root>>,
    known: Known,
}

impl RootStage {
    /// Starts from a root given out of band. It must be signed by its own threshold; its expiry does not matter (5.2).
    pub fn pinned(bytes: impl Into<Arc<[u8]>>, now: UtcTime) -> Result<Self, UpdateError> {
        Self::begin(bytes.into(), now, Known::default())
    }

    /// The same, in a program that stays up: files that `earlier` holds, an earlier set of the same pinned root, are
    /// recognised by their bytes and the keys that judge them, and not read and verified again. All that time and other
    /// files change is judged anew.
    pub fn pinned_after(bytes: impl Into<Arc<[u8]>>, now: UtcTime, earlier: &TrustedSet) -> Result<Self, UpdateError> {
        let bytes = bytes.into();
        // A set of another pinned root is another repository.
        let known = if earlier.is_of(&bytes) { earlier.known() } else { Known::default() };
        Self::begin(bytes, now, known)
    }

    fn begin(bytes: Arc<[u8]>, now: UtcTime, known: Known) -> Result<Self, UpdateError> {
        let root = match known.first_root(&bytes) {
            Some(root) => root.clone(),
            None => Unverified::<Root>::read(bytes, limits::ROOT_BYTES)
                .map_err(Reason::from)
                .and_then(Unverified::verify_first)
                .map_err(|reason| UpdateError::new("root", reason))?,
        };
        Ok(Self { chain: vec![root.clone()], root, now, followed: 0, known })
    }

    /// The newest root so far.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The version to ask for next; `None` after as many as one update follows, or at the last version there is.
    pub fn next_version(&self) -> Option<Version> {
        if self.followed >= limits::ROOTS_PER_UPDATE { None } else { self.root.version().next() }
    }

    /// Accepts the next root: exactly one version on, signed by the old and by the new threshold. It is to be persisted
    /// at once. Its expiry is not checked here: a later one may replace it.
    pub fn advance(&mut self, bytes: impl Into<Arc<[u8]>>) -> Result<&Verified<Root>, UpdateError> {
        self.followed = self.followed.saturating_add(1);
        self.advance_local(bytes)
    }

    /// The same for a root that was stored before: it does not count towards what one update follows.
    pub fn advance_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> Result<&Verified<Root>, UpdateError> {
        let error = |reason: Reason| UpdateError::new("root", reason);
        let bytes = bytes.into();
        let expected = self.root.version().next();
        let next = match self.known.next_root(self.chain.len(), &bytes, &self.root) {
            Some(root) => root.clone(),
            None => Unverified::<Root>::read(bytes, limits::ROOT_BYTES)
                .map_err(|e| error(e.into()))?
                .verify_next(&self.root)
                .map_err(error)?,
        };
        if Some(next.version()) != expected {
            let expected = expected.unwrap_or(self.root.version());
            return Err(error(Reason::WrongVersion { expected, got: next.version() }));
        }
        if self.chain.len() < limits::ROOTS_KEPT {
            self.chain.push(next.clone());
        }
        self.root = next;
        Ok(&self.root)
    }

    /// Ends the walk: the last root must not be expired (5.3.10).
    pub fn finish(self) -> Result<TimestampStage, UpdateError> {
        not_expired(&*self.root, self.now).map_err(|reason| UpdateError::new("root", reason))?;
        let head = Head { root: self.root, chain: self.chain.into(), now: self.now, known: self.known };
        Ok(TimestampStage { head, local: None })
    }
}

/// What all later steps rest on.
#[derive(Debug, Clone)]
struct Head {
    root: Verified<Root>,
    chain: Arc<[Verified<Root>]>,
    now: UtcTime,
    known: Known,
}

/// Step 2: the timestamp.
#[derive(Debug, Clone)]
pub struct TimestampStage {
    head: Head,
    local: Option<Verified<Timestamp>>,
}

impl TimestampStage {
    /// The final root.
    pub fn root(&self) -> &Verified<Root> {
        &self.head.root
    }

    /// Offers the stored timestamp. It is the rollback floor exactly while it meets the threshold of its role under the
    /// final root, also if it is expired (5.3.11).
    pub fn offer_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> bool {
        self.local = self.verify(bytes.into()).ok();
        self.local.is_some()
    }

    /// Accepts a received timestamp. One with the version of the stored one is discarded whatever it contains, and the
    /// stored one goes on (5.4.3).
    pub fn accept(self, bytes: impl Into<Arc<[u8]>>) -> Result<(SnapshotStage, Freshness), UpdateError> {
        let error = |reason: Reason| UpdateError::new("timestamp", reason);
        let received = self.verify(bytes.into()).map_err(error)?;
        let (timestamp, freshness) = match self.local {
            Some(trusted) if received.version() < trusted.version() => {
                return Err(error(Reason::Rollback { trusted: trusted.version(), got: received.version() }));
            }
            Some(trusted) if received.version() == trusted.version() => (trusted, Freshness::Unchanged),
            Some(trusted) if received.snapshot().version < trusted.snapshot().version => {
                let (trusted, got) = (trusted.snapshot().version, received.snapshot().version);
                return Err(error(Reason::SnapshotRollback { trusted, got }));
            }
            _ => (received, Freshness::New),
        };
        not_expired(&*timestamp, self.head.now).map_err(error)?;
        Ok((SnapshotStage { head: self.head, timestamp, local: None }, freshness))
    }

    fn verify(&self, bytes: Arc<[u8]>) -> Result<Verified<Timestamp>, Reason> {
        let keys = self.head.root.role(RoleType::Timestamp);
        // Mostly the server has what is stored.
        let known = self.local.as_ref().filter(|local| local.is_again(&bytes)).or(self.head.known.timestamp.as_ref());
        verified(known, bytes, limits::TIMESTAMP_BYTES, keys)
    }

    /// Goes on with the stored timestamp alone, without asking anybody. `None` if there is none.
    pub fn accept_local(self) -> Option<Result<SnapshotStage, UpdateError>> {
        let timestamp = self.local?;
        if let Err(reason) = not_expired(&*timestamp, self.head.now) {
            return Some(Err(UpdateError::new("timestamp", reason)));
        }
        Some(Ok(SnapshotStage { head: self.head, timestamp, local: None }))
    }
}

/// A file that these keys signed: one that is known already, if these are its bytes and the same keys judged it.
fn verified<R: Role>(
    known: Option<&Verified<R>>,
    bytes: Arc<[u8]>,
    limit: u64,
    keys: &RoleKeys,
) -> Result<Verified<R>, Reason> {
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    match again(known, &bytes, keys) {
        Some(file) if fits => Ok(file),
        _ => Unverified::read(bytes, limit)?.verify(keys),
    }
}

/// Whether a received timestamp says anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is newer than the stored one, and is to be persisted.
    New,
    /// It has the version of the stored one, which goes on.
    Unchanged,
}

/// Step 3: the snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotStage {
    head: Head,
    timestamp: Verified<Timestamp>,
    local: Option<Verified<Snapshot>>,
}

impl SnapshotStage {
    /// The final root.
    pub fn root(&self) -> &Verified<Root> {
        &self.head.root
    }

    /// The trusted timestamp.
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// Offers the stored snapshot. It is the floor for every version it lists exactly while it meets the threshold of
    /// its role under the final root, also if it is expired or superseded.
    pub fn offer_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> bool {
        self.local = self.verify(bytes.into(), limits::STATED_BYTES).ok();
        self.local.is_some()
    }

    /// What to fetch, unless [`Self::accept_local`] takes the stored one.
    pub fn wanted(&self) -> Wanted {
        Wanted::of(self.timestamp.snapshot(), limits::SNAPSHOT_BYTES)
    }

    /// Takes the stored snapshot if it is the one that the timestamp names and is not expired; otherwise gives the stage
    /// back, so that it can be fetched.
    pub fn accept_local(self) -> Result<TargetsStage, Self> {
        let current = self.local.as_ref().filter(|local| {
            let entry = self.timestamp.snapshot();
            local.version() == entry.version
                && local.check_entry(entry).is_ok()
                && not_expired(&***local, self.head.now).is_ok()
        });
        match current.cloned() {
            Some(snapshot) => Ok(TargetsStage { head: self.head, timestamp: self.timestamp, snapshot, local: None }),
            None => Err(self),
        }
    }

    /// Accepts a received snapshot.
    pub fn accept(self, bytes: impl Received) -> Result<TargetsStage, UpdateError> {
        let snapshot = self.check(bytes).map_err(|reason| UpdateError::new("snapshot", reason))?;
        Ok(TargetsStage { head: self.head, timestamp: self.timestamp, snapshot, local: None })
    }

    fn check(&self, bytes: impl Received) -> Result<Verified<Snapshot>, Reason> {
        let entry = self.timestamp.snapshot();
        let hash = check_entry(entry, bytes.as_ref())?;
        let snapshot = self.verify(bytes.into(), self.wanted().limit)?.with_sha256(hash);
        if snapshot.version() != entry.version {
            return Err(Reason::WrongVersion { expected: entry.version, got: snapshot.version() });
        }
        if let Some(floor) = &self.local {
            floor.check_not_lowered(&snapshot)?;
        }
        not_expired(&*snapshot, self.head.now)?;
        Ok(snapshot)
    }

    fn verify(&self, bytes: Arc<[u8]>, limit: u64) -> Result<Verified<Snapshot>, Reason> {
        let keys = self.head.root.role(RoleType::Snapshot);
        verified(self.head.known.snapshot.as_ref(), bytes, limit, keys)
    }
}

/// Step 4: the top-level targets.
#[derive(Debug, Clone)]
pub struct TargetsStage {
    head: Head,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    local: Option<Verified<Targets>>,
}

impl TargetsStage {
    /// The final root.
    pub fn root(&self) -> &Verified<Root> {
        &self.head.root
    }

    /// The trusted snapshot.
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// What to fetch, unless [`Self::accept_local`] takes the stored one.
    pub fn wanted(&self) -> Result<Wanted, UpdateError> {
        // Reading a snapshot demands the entry; without it there is nothing to ask for.
        let entry = self.snapshot.entry("targets").ok_or_else(|| UpdateError::new("targets", Reason::NotInSnapshot))?;
        Ok(Wanted::of(&entry, limits::TARGETS_BYTES))
    }

    /// Offers the stored file; kept only if it is the one that the snapshot names, and not expired.
    pub fn offer_local(&mut self, bytes: impl Received) -> bool {
        self.local = self.check(bytes).ok();
        self.local.is_some()
    }

    /// Takes the stored file if it was good; otherwise gives the stage back.
    pub fn accept_local(mut self) -> Result<TrustedSet, Self> {
        match self.local.take() {
            Some(targets) => Ok(self.finish(targets)),
            None => Err(self),
        }
    }

    /// Takes the file of the earlier set, without its bytes from anywhere, if it is the one that the snapshot names, the
    /// same keys judge it and it is not expired; otherwise gives the stage back.
    pub fn accept_known(self) -> Result<TrustedSet, Self> {
        let keys = self.head.root.role(RoleType::Targets);
        let known = self.head.known.targets.clone().filter(|file| file.was_judged_by(keys));
        match known.filter(|file| is_current(&self.snapshot, "targets", file, self.head.now).is_ok()) {
            Some(targets) => Ok(self.finish(targets)),
            None => Err(self),
        }
    }

    /// Accepts a received file.
    pub fn accept(self, bytes: impl Received) -> Result<TrustedSet, UpdateError> {
        let targets = self.check(bytes).map_err(|reason| UpdateError::new("targets", reason))?;
        Ok(self.finish(targets))
    }

    fn check(&self, bytes: impl Received) -> Result<Verified<Targets>, Reason> {
        let Head { root, known, now, .. } = &self.head;
        check_targets(&self.snapshot, "targets", root.role(RoleType::Targets), bytes, known.targets.as_ref(), *now)
    }

    fn finish(self, targets: Verified<Targets>) -> TrustedSet {
        let Self { head: Head { root, chain, now, known }, timestamp, snapshot, local: _ } = self;
        let (delegated, known) = (Delegated::default(), known.delegated);
        TrustedSet { root, chain, timestamp, snapshot, targets, now, delegated, known }
    }
}

/// From this length on, in bytes, a targets file whose hash nobody states is built only once its signatures were checked.
const UNVOUCHED: u64 = 256 * 1024;

/// The same checks for every targets file, top-level or delegated: listed, length, hashes, threshold of the delegator's
/// keys, version, expiry (5.6).
fn check_targets(
    snapshot: &Snapshot,
    role: &str,
    keys: &RoleKeys,
    bytes: impl Received,
    known: Option<&Verified<Targets>>,
    now: UtcTime,
) -> Result<Verified<Targets>, Reason> {
    let entry = snapshot.entry(role).ok_or(Reason::NotInSnapshot)?;
    let received = bytes.as_ref();
    let hash = check_entry(&entry, received)?;
    let limit = Wanted::of(&entry, limits::TARGETS_BYTES).limit;
    // What nobody vouches for by its hash may be built to take many times its length: first it must be signed.
    if entry.hashes.is_none()
        && (UNVOUCHED..=limit).contains(&(received.len() as u64))
        && known.is_none_or(|known| !known.is_again(received))
    {
        check_signed(received, keys)?;
    }
    let targets = verified(known, bytes.into(), limit, keys)?.with_sha256(hash);
    check_version(&entry, &targets)?;
    not_expired(&*targets, now)?;
    Ok(targets)
}

fn check_version(entry: &MetaEntry, file: &Targets) -> Result<(), Reason> {
    let (expected, got) = (entry.version, file.version());
    if got == expected { Ok(()) } else { Err(Reason::WrongVersion { expected, got }) }
}

/// All that [`check_targets`] checks of a file whose signatures are known.
fn is_current(snapshot: &Snapshot, role: &str, file: &Verified<Targets>, now: UtcTime) -> Result<(), Reason> {
    let entry = snapshot.entry(role).ok_or(Reason::NotInSnapshot)?;
    file.check_entry(&entry)?;
    check_version(&entry, file)?;
    not_expired(&**file, now)
}

/// Everything that an update made trusted; delegated roles join it as look-ups need them.
#[derive(Debug, Clone)]
pub struct TrustedSet {
    root: Verified<Root>,
    // The chain from the pinned root, as far as it is kept.
    chain: Arc<[Verified<Root>]>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
    now: UtcTime,
    // By (delegator, role): a role verified under one delegator is verified again under another.
    delegated: Delegated,
    // Delegated roles of an earlier set, which look-ups have not needed yet.
    known: Delegated,
}

impl TrustedSet {
    /// The root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The timestamp.
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// The top-level targets.
    pub fn targets(&self) -> &Verified<Targets> {
        &self.targets
    }

    /// The reference time of the update.
    pub fn now(&self) -> UtcTime {
        self.now
    }

    /// The first second at which one of the four top-level files is expired.
    pub fn expires(&self) -> UtcTime {
        self.root.expires().min(self.timestamp.expires()).min(self.snapshot.expires()).min(self.targets.expires())
    }

    /// A delegated role that was verified under this delegator.
    pub fn delegated(&self, delegator: &str, role: &str) -> Option<&Verified<Targets>> {
        if role == "targets" {
            return Some(&self.targets);
        }
        self.delegated.get(&(delegator.to_owned(), role.to_owned()))
    }

    /// What to fetch for a role that a loaded role delegates, by name or as a bin; `None` if that role is not loaded, does not
    /// delegate it, or the snapshot does not list it. For whoever needs roles without a look-up: lists, signing.
    pub fn request(&self, delegator: &str, role: &str) -> Option<RoleRequest> {
        let from = if delegator == "targets" {
            &self.targets
        } else {
            self.delegated.iter().find(|((_, name), _)| name == delegator).map(|(_, file)| file)?
        };
        let delegations = from.delegations()?;
        let keys = match delegations.role(role) {
            Some(delegation) => delegation.keys(),
            None => delegations.succinct().filter(|bins| bins.is_bin(role))?.keys(),
        };
        let wanted = Wanted::of(&self.snapshot.entry(role)?, limits::TARGETS_BYTES);
        Some(RoleRequest { delegator: delegator.to_owned(), role: role.to_owned(), wanted, keys: keys.clone() })
    }

    /// Every delegated role that is loaded: delegator, role, file. A role that two delegate is there twice.
    pub fn loaded(&self) -> impl Iterator<Item = (&str, &str, &Verified<Targets>)> {
        self.delegated.iter().map(|((delegator, role), file)| (delegator.as_str(), role.as_str(), file))
    }

    /// Remembers the delegated roles of an earlier set of the same pinned root, for [`Self::accept_known`].
    pub fn remember(&mut self, earlier: &Self) {
        if self.chain.first().is_some_and(|first| earlier.is_of(first.bytes())) {
            self.known = Arc::clone(&earlier.delegated);
        }
    }

    /// Lets go of what is known of an earlier set and was not needed: once everything is loaded.
    pub fn forget(&mut self) {
        self.known = Delegated::default();
    }

    fn is_of(&self, first_root: &[u8]) -> bool {
        self.chain.first().is_some_and(|first| first.is_again(first_root))
    }

    fn known(&self) -> Known {
        Known {
            roots: Arc::clone(&self.chain),
            timestamp: Some(self.timestamp.clone()),
            snapshot: Some(self.snapshot.clone()),
            targets: Some(self.targets.clone()),
            delegated: Arc::clone(&self.delegated),
        }
    }

    /// Takes the file of a delegated role from the earlier set, without its bytes from anywhere, if it is the one that the
    /// snapshot names, the same keys judge it under the same delegator and it is not expired.
    pub fn accept_known(&mut self, request: &RoleRequest) -> Option<&Verified<Targets>> {
        let place = (request.delegator.clone(), request.role.clone());
        let file = self.known.get(&place).filter(|file| file.was_judged_by(&request.keys))?.clone();
        is_current(&self.snapshot, &request.role, &file, self.now).ok()?;
        Some(self.take(place, file))
    }

    fn take(&mut self, place: (String, String), file: Verified<Targets>) -> &Verified<Targets> {
        let delegated = Arc::make_mut(&mut self.delegated);
        delegated.remove(&place);
        delegated.entry(place).or_insert(file)
    }

    /// Accepts the file of a delegated role that a look-up asked for, with exactly the checks of the top-level file.
    pub fn accept_role(
        &mut self,
        request: &RoleRequest,
        bytes: impl Received,
    ) -> Result<&Verified<Targets>, UpdateError> {
        let place = (request.delegator.clone(), request.role.clone());
        let known = self.known.get(&place);
        let role = check_targets(&self.snapshot, &request.role, &request.keys, bytes, known, self.now)
            .map_err(|reason| UpdateError::new(request.role.clone(), reason))?;
        Ok(self.take(place, role))
    }
}

#[cfg(test)]
mod tests;
