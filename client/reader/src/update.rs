//! One update (5.3 to 5.6): drives the stages of [`trust_tuf::trusted`], fetching what is not stored and storing what was
//! accepted, each file before the next step.
//!
//! Requests go out in exactly this order: next roots until a 404, `timestamp.json`, then snapshot and targets unless the
//! stored ones are current. Only a 404 ends the walk of roots; every other failure ends the update. Each step persists
//! only what passed all its checks, so that a refused file never locks out the next run.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Role, sha256};
use trust_tuf::trusted::{Freshness, RootStage, SnapshotStage, TimestampStage, TrustedSet};
use trust_tuf::{Reason, RoleType, Root, Snapshot, Timestamp, UpdateError, UtcTime, Version, limits};

use crate::anchor::Anchor;
use crate::layout::{Layout, file_name};
use crate::problems::Failure;
use crate::state::{StateFile, StateStore};
use crate::transport::{FetchError, Transport};

/// How far the clock may be behind the last successful update, in seconds.
pub const CLOCK_TOLERANCE: i64 = 300;

/// The server of an update, with the moment at which its patience ends.
pub(crate) struct Remote<'a, T> {
    pub(crate) transport: &'a T,
    pub(crate) layout: &'a Layout,
    pub(crate) deadline: Instant,
}

impl<'a, T: Transport> Remote<'a, T> {
    pub(crate) fn new(transport: &'a T, layout: &'a Layout, patience: Duration) -> Self {
        let now = Instant::now();
        // A patience beyond what the clock can hold is a day.
        let deadline = now.checked_add(patience).unwrap_or(now + Duration::from_secs(86_400));
        Self { transport, layout, deadline }
    }

    pub(crate) async fn fetch(&self, file: &str, limit: u64) -> Result<Bytes, FetchError> {
        let path = self.layout.metadata(file);
        tokio::time::timeout_at(self.deadline, self.transport.fetch(&path, limit))
            .await
            .unwrap_or(Err(FetchError::Timeout))
    }

    async fn fetch_past_caches(&self, file: &str, limit: u64) -> Result<Bytes, FetchError> {
        let path = self.layout.metadata(file);
        let fetch = self.transport.fetch_past_caches(&path, limit);
        tokio::time::timeout_at(self.deadline, fetch).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn demand(&self, file: &str, limit: u64) -> Result<Bytes, Failure> {
        self.fetch(file, limit).await.map_err(|error| Failure::Fetch { file: file.to_owned(), error })
    }
}

/// What an update made trusted, and what should be said about it.
pub(crate) struct Updated {
    pub(crate) set: TrustedSet,
    pub(crate) pinned_version: Version,
    pub(crate) warnings: Vec<String>,
}

/// Refuses a clock that is clearly earlier than at the last successful update: with it, expired files would look fresh.
pub(crate) fn check_clock(store: &StateStore, now: UtcTime) -> Result<(), Failure> {
    match store.refreshed() {
        Some(seen) if seen.secs_since(now) > CLOCK_TOLERANCE => Err(Failure::ClockBack { now, seen }),
        _ => Ok(()),
    }
}

/// An update against a server.
pub(crate) async fn online<T: Transport>(
    anchor: &Anchor,
    store: &mut StateStore,
    remote: &Remote<'_, T>,
    now: UtcTime,
) -> Result<Updated, Failure> {
    let mut warnings = Vec::new();
    let mut root = local_roots(anchor, store, now)?;
    let same_chain = store.root(root.pinned_version)?.as_deref() == Some(anchor.root.as_slice());
    store.begin(&anchor.fingerprint(), same_chain)?;
    if !same_chain {
        store.keep_root(root.pinned_version, &anchor.root)?;
    }
    if store.newest_root_file()?.as_deref() != Some(&**root.stage.root().bytes()) {
        let newest = root.stage.root();
        store.keep_root(newest.version(), newest.bytes())?;
    }
    let stored_root = root.stage.root().version();
    if walk_roots(&mut root.stage, store, remote, Caches::Allowed).await? == Walk::Limit {
        warnings
            .push(format!("more than {} new roots: the rest follows with the next update", limits::ROOTS_PER_UPDATE));
    }
    check_root_seen(&root.stage, store)?;
    let root_bytes = root.stage.root().bytes().clone();
    let server_has_it = root.stage.root().version() > stored_root;

    let mut stage = root.stage.finish()?;
    let consistent = stage.root().consistent_snapshot();
    offer_timestamp(&mut stage, anchor, store, now)?;
    let received = match remote.demand("timestamp.json", limits::TIMESTAMP_BYTES).await {
        // After a root from this server, its store lacks a file. Before, nothing says that it ever had the collection. Where
        // one was verified, that is no "not signed" all the same: whoever holds it back would choose that answer.
        Err(Failure::Fetch { error: FetchError::NotFound, .. }) if !server_has_it => {
            return Err(match store.newest_timestamp() {
                Some(version) => Failure::CollectionGone { version, seen: store.refreshed() },
                None => Failure::NoCollection,
            });
        }
        other => other?,
    };
    let accepted = match stage.accept(received.to_vec()) {
        Err(error) if matches!(error.reason, Reason::Signatures { .. }) => {
            let stage = RootStage::pinned(root_bytes, now)?;
            retry_timestamp(anchor, stage, store, remote, &received, now, error).await?
        }
        other => other?,
    };
    let (stage, freshness) = accepted;
    if freshness == Freshness::New {
        store.keep_timestamp(stage.timestamp().version(), stage.timestamp().bytes())?;
    }
    let stage = snapshot(stage, anchor, store, remote, now, consistent).await?;
    let set = match stage {
        Ok(set) => set,
        Err(stage) => {
            let wanted = stage.wanted()?;
            let file = file_name("targets", wanted.version, consistent);
            let set = stage.accept(remote.demand(&file, wanted.limit).await?.to_vec())?;
            store.keep_targets("targets", set.targets().bytes())?;
            set
        }
    };
    store.note_refreshed(now)?;
    Ok(Updated { set, pinned_version: root.pinned_version, warnings })
}

/// An update from the stored files alone. Writes nothing.
pub(crate) fn offline(anchor: &Anchor, store: &StateStore, now: UtcTime) -> Result<Updated, Failure> {
    let root = local_roots(anchor, store, now)?;
    if store.anchor().is_some_and(|a| a == anchor.fingerprint()) {
        check_root_seen(&root.stage, store)?;
    }
    let mut stage = root.stage.finish()?;
    offer_timestamp(&mut stage, anchor, store, now)?;
    // One that is stored and does not verify is of keys that left: an update was interrupted after the new root.
    let mut stage = stage.accept_local().ok_or_else(|| missing(store, TIMESTAMP))??;
    offer_snapshot(&mut stage, anchor, store, now)?;
    let mut stage = match stage.accept_local() {
        Ok(stage) => stage,
        Err(stage) => judged(SNAPSHOT, stage.accept(store.snapshot()?.ok_or_else(|| missing(store, SNAPSHOT))?))?,
    };
    if let Some(bytes) = store.targets("targets")? {
        stage.offer_local(bytes);
    }
    let set = match stage.accept_local() {
        Ok(set) => set,
        Err(stage) => judged(TARGETS, stage.accept(store.targets("targets")?.ok_or_else(|| missing(store, TARGETS))?))?,
    };
    Ok(Updated { set, pinned_version: root.pinned_version, warnings: Vec::new() })
}

const TIMESTAMP: &str = "timestamp.json";
const SNAPSHOT: &str = "snapshot.json";
const TARGETS: &str = "targets.json";

/// A file that is not there: never stored, if no update ever came to its end.
fn missing(store: &StateStore, file: &'static str) -> Failure {
    if store.refreshed().is_none() { Failure::NothingStored } else { Failure::StoredOther { file } }
}

/// A stored file that was not taken, judged once more for its reason. One that is simply not the one that is wanted
/// was left by an interrupted update, or changed since.
fn judged<S>(file: &'static str, accepted: Result<S, UpdateError>) -> Result<S, Failure> {
    accepted.map_err(|error| match error.reason {
        Reason::Hash | Reason::Length { .. } | Reason::WrongVersion { .. } => Failure::StoredOther { file },
        _ => error.into(),
    })
}

struct LocalRoots {
    stage: RootStage,
    pinned_version: Version,
}

/// Walks the stored chain from the pinned root. A stored root that does not fit is fetched again.
fn local_roots(anchor: &Anchor, store: &StateStore, now: UtcTime) -> Result<LocalRoots, Failure> {
    let mut stage = RootStage::pinned(anchor.root.clone(), now)?;
    let pinned_version = stage.root().version();
    // The limit of roots is for what a server sends: what is stored does not use it up.
    while let Some(next) = stage.root().version().next() {
        let Some(bytes) = store.root(next)? else { break };
        if stage.advance_local(bytes).is_err() {
            break;
        }
    }
    Ok(LocalRoots { stage, pinned_version })
}

#[derive(PartialEq, Eq)]
enum Walk {
    Newest,
    Limit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caches {
    Allowed,
    Passed,
}

async fn walk_roots<T: Transport>(
    stage: &mut RootStage,
    store: &mut StateStore,
    remote: &Remote<'_, T>,
    caches: Caches,
) -> Result<Walk, Failure> {
    while let Some(next) = stage.next_version() {
        let file = format!("{next}.root.json");
        let answer = match caches {
            Caches::Allowed => remote.fetch(&file, limits::ROOT_BYTES).await,
            Caches::Passed => remote.fetch_past_caches(&file, limits::ROOT_BYTES).await,
        };
        match answer {
            Ok(bytes) => {
                let root = stage.advance(bytes.to_vec())?;
                store.keep_root(root.version(), root.bytes())?;
            }
            Err(FetchError::NotFound) => return Ok(Walk::Newest),
            Err(error) => return Err(Failure::Fetch { file, error }),
        }
    }
    Ok(Walk::Limit)
}

/// A root that was stored cannot vanish: whoever holds it back hides what it revoked.
fn check_root_seen(stage: &RootStage, store: &StateStore) -> Result<(), Failure> {
    let got = stage.root().version();
    match store.newest_root() {
        Some(seen) if seen > got => Err(Failure::RootHeldBack { got, seen }),
        _ => Ok(()),
    }
}

fn offer_timestamp(
    stage: &mut TimestampStage,
    anchor: &Anchor,
    store: &StateStore,
    now: UtcTime,
) -> Result<(), Failure> {
    let Some(bytes) = store.timestamp()? else { return Ok(()) };
    if stage.offer_local(bytes.clone()) {
        return Ok(());
    }
    let verifies = |root: &Root| {
        let file = Unverified::<Timestamp>::read(bytes.as_slice(), limits::TIMESTAMP_BYTES);
        file.is_ok_and(|file| file.verify(root.role(RoleType::Timestamp)).is_ok())
    };
    check_accounted_for(StateFile::Timestamp, &bytes, anchor, store, now, verifies)
}

fn offer_snapshot(stage: &mut SnapshotStage, anchor: &Anchor, store: &StateStore, now: UtcTime) -> Result<(), Failure> {
    let Some(bytes) = store.snapshot()? else { return Ok(()) };
    if stage.offer_local(bytes.clone()) {
        return Ok(());
    }
    let verifies = |root: &Root| {
        let file = Unverified::<Snapshot>::read(bytes.as_slice(), limits::STATED_BYTES);
        file.is_ok_and(|file| file.verify(root.role(RoleType::Snapshot)).is_ok())
    };
    check_accounted_for(StateFile::Snapshot, &bytes, anchor, store, now, verifies)
}

/// A stored file that does not verify under the newest root is no floor (5.3.11). That is fine for the recorded one, whose
/// keys were rotated away, and for one that an interrupted run stored before they were: some root of the chain spoke for
/// it. One that nobody ever signed is damage, and would take the floor away without a word.
fn check_accounted_for(
    file: StateFile<'_>,
    bytes: &[u8],
    anchor: &Anchor,
    store: &StateStore,
    now: UtcTime,
    verifies: impl Fn(&Root) -> bool,
) -> Result<(), Failure> {
    if store.is_accounted_for(file, bytes) {
        return Ok(());
    }
    let mut chain = RootStage::pinned(anchor.root.clone(), now)?;
    loop {
        if verifies(chain.root()) {
            return Ok(());
        }
        let next = chain.root().version().next().map(|next| store.root(next)).transpose()?.flatten();
        if next.is_none_or(|root| chain.advance_local(root).is_err()) {
            return Err(store.unaccounted_for(file).into());
        }
    }
}

/// The signatures of a timestamp do not fit. Perhaps a cache hides a new root: it is asked for once more, past caches,
/// and the same timestamp judged again.
async fn retry_timestamp<T: Transport>(
    anchor: &Anchor,
    mut roots: RootStage,
    store: &mut StateStore,
    remote: &Remote<'_, T>,
    received: &Bytes,
    now: UtcTime,
    error: UpdateError,
) -> Result<(SnapshotStage, Freshness), Failure> {
    let before = roots.root().version();
    walk_roots(&mut roots, store, remote, Caches::Passed).await?;
    if roots.root().version() == before {
        return Err(other_root(anchor, remote, now, error).await);
    }
    let mut stage = roots.finish()?;
    offer_timestamp(&mut stage, anchor, store, now)?;
    Ok(stage.accept(received.to_vec())?)
}

/// Says whether the server speaks for another root: then its own file of the pinned version is another one. This only
/// names the failure; it trusts nothing.
async fn other_root<T: Transport>(
    anchor: &Anchor,
    remote: &Remote<'_, T>,
    now: UtcTime,
    after: UpdateError,
) -> Failure {
    let Ok(pinned) = RootStage::pinned(anchor.root.clone(), now) else {
        return after.into();
    };
    let file = format!("{}.root.json", pinned.root().version());
    match remote.fetch(&file, limits::ROOT_BYTES).await {
        Ok(bytes) if *bytes != *anchor.root => Failure::OtherRoot { theirs: sha256(&bytes), after },
        _ => after.into(),
    }
}

async fn snapshot<T: Transport>(
    mut stage: SnapshotStage,
    anchor: &Anchor,
    store: &mut StateStore,
    remote: &Remote<'_, T>,
    now: UtcTime,
    consistent: bool,
) -> Result<Result<TrustedSet, trust_tuf::trusted::TargetsStage>, Failure> {
    offer_snapshot(&mut stage, anchor, store, now)?;
    let mut stage = match stage.accept_local() {
        Ok(stage) => stage,
        Err(stage) => {
            let wanted = stage.wanted();
            let file = file_name("snapshot", wanted.version, consistent);
            let stage = stage.accept(remote.demand(&file, wanted.limit).await?.to_vec())?;
            store.keep_snapshot(stage.snapshot().version(), stage.snapshot().bytes())?;
            stage
        }
    };
    if let Some(bytes) = store.targets("targets")? {
        stage.offer_local(bytes);
    }
    Ok(stage.accept_local())
}

#[cfg(test)]
mod tests;
