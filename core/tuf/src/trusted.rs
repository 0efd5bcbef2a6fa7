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

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::envelope::Unverified;
use crate::error::{Reason, UpdateError};
use crate::limits;
use crate::lookup::RoleRequest;
use crate::model::{MetaEntry, Role, RoleKeys, Root, Snapshot, Targets, Timestamp};
use crate::names::{RoleType, Version};
use crate::time::UtcTime;
use crate::verify::{Verified, check_entry};

/// A file to be fetched: its version and the most bytes it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The version that another file states.
    pub version: Version,
    /// The most bytes to read.
    pub limit: u64,
}

impl Wanted {
    pub(crate) fn of(entry: &MetaEntry, default: u64) -> Self {
        Self { version: entry.version, limit: entry.length.unwrap_or(default).min(limits::STATED_BYTES) }
    }
}

fn not_expired(role: &impl Role, now: UtcTime) -> Result<(), Reason> {
    let expires = role.expires();
    if expires <= now { Err(Reason::Expired { expires, now }) } else { Ok(()) }
}

/// Step 1: walk the chain of roots from the pinned one.
#[derive(Debug)]
pub struct RootStage {
    root: Verified<Root>,
    now: UtcTime,
    followed: usize,
}

impl RootStage {
    /// Starts from a root given out of band. It must be signed by its own threshold; its expiry does not matter (5.2).
    pub fn pinned(bytes: impl Into<Arc<[u8]>>, now: UtcTime) -> Result<Self, UpdateError> {
        let root = Unverified::<Root>::read(bytes, limits::ROOT_BYTES)
            .map_err(Reason::from)
            .and_then(Unverified::verify_first)
            .map_err(|reason| UpdateError::new("root", reason))?;
        Ok(Self { root, now, followed: 0 })
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
        let expected = self.root.version().next();
        let next = Unverified::<Root>::read(bytes, limits::ROOT_BYTES)
            .map_err(|e| error(e.into()))?
            .verify_next(&self.root)
            .map_err(error)?;
        if Some(next.version()) != expected {
            let expected = expected.unwrap_or(self.root.version());
            return Err(error(Reason::WrongVersion { expected, got: next.version() }));
        }
        self.root = next;
        Ok(&self.root)
    }

    /// Ends the walk: the last root must not be expired (5.3.10).
    pub fn finish(self) -> Result<TimestampStage, UpdateError> {
        not_expired(&*self.root, self.now).map_err(|reason| UpdateError::new("root", reason))?;
        Ok(TimestampStage { root: self.root, now: self.now, local: None })
    }
}

/// Step 2: the timestamp.
#[derive(Debug)]
pub struct TimestampStage {
    root: Verified<Root>,
    now: UtcTime,
    local: Option<Verified<Timestamp>>,
}

impl TimestampStage {
    /// The final root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// Offers the stored timestamp. It is the rollback floor exactly while it meets the threshold of its role under the
    /// final root, also if it is expired (5.3.11).
    pub fn offer_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> bool {
        self.local = verify_timestamp(&self.root, bytes).ok();
        self.local.is_some()
    }

    /// Accepts a received timestamp. One with the version of the stored one is discarded whatever it contains, and the
    /// stored one goes on (5.4.3).
    pub fn accept(self, bytes: impl Into<Arc<[u8]>>) -> Result<(SnapshotStage, Freshness), UpdateError> {
        let error = |reason: Reason| UpdateError::new("timestamp", reason);
        let received = verify_timestamp(&self.root, bytes).map_err(error)?;
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
        not_expired(&*timestamp, self.now).map_err(error)?;
        Ok((SnapshotStage { root: self.root, timestamp, now: self.now, local: None }, freshness))
    }

    /// Goes on with the stored timestamp alone, without asking anybody. `None` if there is none.
    pub fn accept_local(self) -> Option<Result<SnapshotStage, UpdateError>> {
        let timestamp = self.local?;
        if let Err(reason) = not_expired(&*timestamp, self.now) {
            return Some(Err(UpdateError::new("timestamp", reason)));
        }
        Some(Ok(SnapshotStage { root: self.root, timestamp, now: self.now, local: None }))
    }
}

fn verify_timestamp(root: &Root, bytes: impl Into<Arc<[u8]>>) -> Result<Verified<Timestamp>, Reason> {
    Unverified::<Timestamp>::read(bytes, limits::TIMESTAMP_BYTES)?.verify(root.role(RoleType::Timestamp))
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
#[derive(Debug)]
pub struct SnapshotStage {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    now: UtcTime,
    local: Option<Verified<Snapshot>>,
}

impl SnapshotStage {
    /// The trusted timestamp.
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// Offers the stored snapshot. It is the floor for every version it lists exactly while it meets the threshold of
    /// its role under the final root, also if it is expired or superseded.
    pub fn offer_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> bool {
        self.local = verify_snapshot(&self.root, bytes, limits::STATED_BYTES).ok();
        self.local.is_some()
    }

    /// What to fetch, unless [`Self::accept_local`] takes the stored one.
    pub fn wanted(&self) -> Wanted {
        Wanted::of(self.timestamp.snapshot(), limits::SNAPSHOT_BYTES)
    }

    /// Takes the stored snapshot if it is the one that the timestamp names and is not expired; otherwise gives the stage
    /// back, so that it can be fetched.
    #[expect(clippy::result_large_err, reason = "not an error: the stage goes back to be fed by a fetch")]
    pub fn accept_local(self) -> Result<TargetsStage, Self> {
        let current = self.local.as_ref().filter(|local| {
            let entry = self.timestamp.snapshot();
            local.version() == entry.version
                && check_entry(entry, local.bytes()).is_ok()
                && not_expired(&***local, self.now).is_ok()
        });
        match current.cloned() {
            Some(snapshot) => {
                Ok(TargetsStage { root: self.root, timestamp: self.timestamp, snapshot, now: self.now, local: None })
            }
            None => Err(self),
        }
    }

    /// Accepts a received snapshot.
    pub fn accept(self, bytes: impl Into<Arc<[u8]>>) -> Result<TargetsStage, UpdateError> {
        let snapshot = self.check(bytes.into()).map_err(|reason| UpdateError::new("snapshot", reason))?;
        Ok(TargetsStage { root: self.root, timestamp: self.timestamp, snapshot, now: self.now, local: None })
    }

    fn check(&self, bytes: Arc<[u8]>) -> Result<Verified<Snapshot>, Reason> {
        let entry = self.timestamp.snapshot();
        check_entry(entry, &bytes)?;
        let snapshot = verify_snapshot(&self.root, bytes, self.wanted().limit)?;
        if snapshot.version() != entry.version {
            return Err(Reason::WrongVersion { expected: entry.version, got: snapshot.version() });
        }
        if let Some(floor) = &self.local {
            check_not_lowered(floor, &snapshot)?;
        }
        not_expired(&*snapshot, self.now)?;
        Ok(snapshot)
    }
}

fn verify_snapshot(root: &Root, bytes: impl Into<Arc<[u8]>>, limit: u64) -> Result<Verified<Snapshot>, Reason> {
    Unverified::<Snapshot>::read(bytes, limit)?.verify(root.role(RoleType::Snapshot))
}

/// Every entry of the old snapshot is still there, with at least its version (5.5.5).
pub(crate) fn check_not_lowered(old: &Snapshot, new: &Snapshot) -> Result<(), Reason> {
    for (file, before) in old.meta() {
        let role = || file.strip_suffix(".json").unwrap_or(file).to_owned();
        match new.meta().get(file) {
            None => return Err(Reason::RoleRemoved { role: role() }),
            Some(now) if now.version < before.version => {
                return Err(Reason::RoleLowered { role: role(), trusted: before.version, got: now.version });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Step 4: the top-level targets.
#[derive(Debug)]
pub struct TargetsStage {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    now: UtcTime,
    local: Option<Verified<Targets>>,
}

impl TargetsStage {
    /// The trusted snapshot.
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// What to fetch, unless [`Self::accept_local`] takes the stored one.
    pub fn wanted(&self) -> Result<Wanted, UpdateError> {
        // Reading a snapshot demands the entry; without it there is nothing to ask for.
        let entry = self.snapshot.entry("targets").ok_or_else(|| UpdateError::new("targets", Reason::NotInSnapshot))?;
        Ok(Wanted::of(entry, limits::TARGETS_BYTES))
    }

    /// Offers the stored file; kept only if it is the one that the snapshot names, and not expired.
    pub fn offer_local(&mut self, bytes: impl Into<Arc<[u8]>>) -> bool {
        self.local = self.check(bytes.into()).ok();
        self.local.is_some()
    }

    /// Takes the stored file if it was good; otherwise gives the stage back.
    #[expect(clippy::result_large_err, reason = "not an error: the stage goes back to be fed by a fetch")]
    pub fn accept_local(mut self) -> Result<TrustedSet, Self> {
        match self.local.take() {
            Some(targets) => Ok(self.finish(targets)),
            None => Err(self),
        }
    }

    /// Accepts a received file.
    pub fn accept(self, bytes: impl Into<Arc<[u8]>>) -> Result<TrustedSet, UpdateError> {
        let targets = self.check(bytes.into()).map_err(|reason| UpdateError::new("targets", reason))?;
        Ok(self.finish(targets))
    }

    fn check(&self, bytes: Arc<[u8]>) -> Result<Verified<Targets>, Reason> {
        check_targets(&self.snapshot, "targets", self.root.role(RoleType::Targets), bytes, self.now)
    }

    fn finish(self, targets: Verified<Targets>) -> TrustedSet {
        let Self { root, timestamp, snapshot, now, local: _ } = self;
        TrustedSet { root, timestamp, snapshot, targets, now, delegated: BTreeMap::new() }
    }
}

/// The same checks for every targets file, top-level or delegated: listed, length, hashes, threshold of the delegator's
/// keys, version, expiry (5.6).
fn check_targets(
    snapshot: &Snapshot,
    role: &str,
    keys: &RoleKeys,
    bytes: Arc<[u8]>,
    now: UtcTime,
) -> Result<Verified<Targets>, Reason> {
    let entry = snapshot.entry(role).ok_or(Reason::NotInSnapshot)?;
    check_entry(entry, &bytes)?;
    let limit = Wanted::of(entry, limits::TARGETS_BYTES).limit;
    let targets = Unverified::<Targets>::read(bytes, limit)?.verify(keys)?;
    if targets.version() != entry.version {
        return Err(Reason::WrongVersion { expected: entry.version, got: targets.version() });
    }
    not_expired(&*targets, now)?;
    Ok(targets)
}

/// Everything that an update made trusted; delegated roles join it as look-ups need them.
#[derive(Debug, Clone)]
pub struct TrustedSet {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
    now: UtcTime,
    // By (delegator, role): a role verified under one delegator is verified again under another.
    delegated: BTreeMap<(String, String), Verified<Targets>>,
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
        let wanted = Wanted::of(self.snapshot.entry(role)?, limits::TARGETS_BYTES);
        Some(RoleRequest { delegator: delegator.to_owned(), role: role.to_owned(), wanted, keys: keys.clone() })
    }

    /// Every delegated role that is loaded: delegator, role, file. A role that two delegate is there twice.
    pub fn loaded(&self) -> impl Iterator<Item = (&str, &str, &Verified<Targets>)> {
        self.delegated.iter().map(|((delegator, role), file)| (delegator.as_str(), role.as_str(), file))
    }

    /// Takes over delegated roles of an earlier set whose `targets` and snapshot are byte for byte the same: what was
    /// verified then would be verified again with the same bytes and keys. What is expired by now is left out.
    pub fn adopt(&mut self, earlier: &Self) {
        if self.targets.bytes() != earlier.targets.bytes() || self.snapshot.bytes() != earlier.snapshot.bytes() {
            return;
        }
        for (place, file) in &earlier.delegated {
            if file.expires() > self.now {
                self.delegated.entry(place.clone()).or_insert_with(|| file.clone());
            }
        }
    }

    /// Accepts the file of a delegated role that a look-up asked for, with exactly the checks of the top-level file.
    pub fn accept_role(
        &mut self,
        request: &RoleRequest,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<&Verified<Targets>, UpdateError> {
        let role = check_targets(&self.snapshot, &request.role, &request.keys, bytes.into(), self.now)
            .map_err(|reason| UpdateError::new(request.role.clone(), reason))?;
        let place = (request.delegator.clone(), request.role.clone());
        self.delegated.remove(&place);
        Ok(self.delegated.entry(place).or_insert(role))
    }
}
