//! One update (5.3 to 5.6): drives the stages of [`trust_tuf::trusted`], fetching what is not stored and storing what was
//! accepted, each file before the next step.
//!
//! Requests go out in exactly this order: next roots until a 404, `timestamp.json`, then snapshot and targets unless the
//! stored ones are current. Only a 404 ends the walk of roots; every other failure ends the update, or what one of several
//! places has to do with it ([`crate::sources`]). Each step persists only what passed all its checks, so that a refused file
//! never locks out the next run.

use bytes::Bytes;
use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Role, sha256};
use trust_tuf::trusted::{Freshness, RootStage, SnapshotStage, TargetsStage, TimestampStage, TrustedSet};
use trust_tuf::{Reason, RoleType, Root, Snapshot, Timestamp, UpdateError, UtcTime, Version, limits};

use crate::anchor::Anchor;
use crate::layout::file_name;
use crate::problems::Failure;
use crate::sources::{Caches, Heard, Remote, SourceReport, SourceState};
use crate::state::{StateFile, StateStore};
use crate::transport::{FetchError, Transport};

/// How far the clock may be behind the last successful update, in seconds.
pub const CLOCK_TOLERANCE: i64 = 300;

/// What an update made trusted, and what should be said about it.
pub(crate) struct Updated {
    pub(crate) set: TrustedSet,
    pub(crate) pinned_version: Version,
    pub(crate) warnings: Vec<String>,
    /// What each place gave; empty offline.
    pub(crate) sources: Vec<SourceReport>,
    /// The place whose files these are.
    pub(crate) home: usize,
}

/// Refuses a clock that is clearly earlier than at the last successful update: with it, expired files would look fresh.
pub(crate) fn check_clock(store: &StateStore, now: UtcTime) -> Result<(), Failure> {
    match store.refreshed() {
        Some(seen) if seen.secs_since(now) > CLOCK_TOLERANCE => Err(Failure::ClockBack { now, seen }),
        _ => Ok(()),
    }
}

/// An update from a server and its mirrors. What it makes trusted is the newest that any of them has; what one of them does
/// not have, holds back or falsifies, another one may give.
pub(crate) async fn online<T: Transport>(
    anchor: &Anchor,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
    now: UtcTime,
    earlier: Option<&TrustedSet>,
) -> Result<Updated, Failure> {
    match update(anchor, store, remote, now, earlier).await {
        Ok(updated) => Ok(updated),
        Err(failure) => Err(remote.explain(failure)),
    }
}

async fn update<T: Transport>(
    anchor: &Anchor,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
    now: UtcTime,
    earlier: Option<&TrustedSet>,
) -> Result<Updated, Failure> {
    let mut warnings = Vec::new();
    let mut root = local_roots(anchor, store, now, earlier)?;
    let same_chain = store.root(root.pinned_version)?.as_deref() == Some(anchor.root.as_slice());
    store.begin(&root.fingerprint, same_chain)?;
    if !same_chain {
        store.keep_root(root.pinned_version, &anchor.root)?;
    }
    if store.newest_root_file()?.as_deref() != Some(&**root.stage.root().bytes()) {
        let newest = root.stage.root();
        store.keep_root(newest.version(), newest.bytes())?;
    }
    let stored_root = root.stage.root().version();
    if walk_roots(&mut root.stage, store, remote).await? == Walk::Limit {
        warnings
            .push(format!("more than {} new roots: the rest follows with the next update", limits::ROOTS_PER_UPDATE));
    }
    check_root_seen(&root.stage, store)?;
    let came = root.stage.root().version() > stored_root;

    let ground = Ground { anchor, now, earlier };
    let mut candidates = timestamps(&ground, root.stage, store, remote, came).await?;
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.stage.timestamp().version()));
    let heard = candidates.iter().flat_map(|candidate| candidate.places.clone()).collect::<Vec<_>>();
    // What the server said last stands. An older state of a mirror is none that could take its place where the server does
    // not hand over all of it: who was removed since would sign again.
    let said = heard.iter().find(|(place, _)| *place == 0).map(|(_, version)| *version);
    candidates.retain(|candidate| said.is_none_or(|said| candidate.stage.timestamp().version() >= said));
    let before = remote.failures();
    let mut first_failure = None;
    let mut left = candidates.len();
    for candidate in candidates {
        left = left.saturating_sub(1);
        let home = candidate.home();
        match complete(candidate, &ground, store, remote, left > 0).await {
            Ok(set) => {
                store.note_refreshed(now)?;
                let sources = reports(remote, &heard);
                return Ok(Updated { set, pinned_version: root.pinned_version, warnings, sources, home });
            }
            Err(failure @ Failure::State(_)) => return Err(failure),
            Err(failure) => {
                // An older timestamp is judged without what the newer one was missing.
                if left > 0 {
                    warnings
                        .push(format!("{} has a newer timestamp, but not its files: {failure}", remote.address(home)));
                    remote.restore(before.clone());
                }
                first_failure.get_or_insert(failure);
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| remote.failure()))
}

/// What each place gave. An older timestamp than a stored one is refused, but it is one.
fn reports<T: Transport>(remote: &Remote<'_, T>, heard: &[(usize, Version)]) -> Vec<SourceReport> {
    let state = |at: usize| match (remote.failure_of(at), heard.iter().find(|(place, _)| *place == at)) {
        (Some(Failure::Update(UpdateError { reason: Reason::Rollback { got, .. }, .. })), _) => {
            SourceState::Timestamp(*got)
        }
        (Some(failure), _) => SourceState::Failed(failure.clone()),
        (None, Some((_, version))) => SourceState::Timestamp(*version),
        (None, None) => SourceState::Unheard,
    };
    (0..remote.len()).map(|at| SourceReport { address: remote.address(at), state: state(at) }).collect()
}

/// An update from the stored files alone. Writes nothing.
pub(crate) fn offline(
    anchor: &Anchor,
    store: &StateStore,
    now: UtcTime,
    earlier: Option<&TrustedSet>,
) -> Result<Updated, Failure> {
    let root = local_roots(anchor, store, now, earlier)?;
    if store.anchor().is_some_and(|a| a == root.fingerprint) {
        check_root_seen(&root.stage, store)?;
    }
    let ground = Ground { anchor, now, earlier };
    let mut stage = root.stage.finish()?;
    offer_timestamp(&mut stage, &ground, store)?;
    // One that is stored and does not verify is of keys that left: an update was interrupted after the new root.
    let mut stage = stage.accept_local().ok_or_else(|| missing(store, TIMESTAMP))??;
    offer_snapshot(&mut stage, &ground, store)?;
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
    let (warnings, sources) = (Vec::new(), Vec::new());
    Ok(Updated { set, pinned_version: root.pinned_version, warnings, sources, home: 0 })
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

/// What an update rests on beside the stored files.
struct Ground<'a> {
    anchor: &'a Anchor,
    now: UtcTime,
    earlier: Option<&'a TrustedSet>,
}

struct LocalRoots {
    stage: RootStage,
    pinned_version: Version,
    fingerprint: String,
}

/// Walks the stored chain from the pinned root. A stored root that does not fit is fetched again. What `earlier` verified,
/// a set of the same process, is recognised in this and in all further steps.
fn local_roots(
    anchor: &Anchor,
    store: &StateStore,
    now: UtcTime,
    earlier: Option<&TrustedSet>,
) -> Result<LocalRoots, Failure> {
    let mut stage = match earlier {
        Some(earlier) => RootStage::pinned_after(anchor.root.clone(), now, earlier)?,
        None => RootStage::pinned(anchor.root.clone(), now)?,
    };
    let pinned_version = stage.root().version();
    // Of the bytes that were pinned: a first root is recognised by them, and its hash with it.
    let fingerprint = hex::encode(stage.root().sha256());
    // The limit of roots is for what a server sends: what is stored does not use it up.
    while let Some(next) = stage.root().version().next() {
        let Some(bytes) = store.root(next)? else { break };
        if stage.advance_local(bytes).is_err() {
            break;
        }
    }
    Ok(LocalRoots { stage, pinned_version, fingerprint })
}

#[derive(PartialEq, Eq)]
enum Walk {
    Newest,
    Limit,
}

/// Follows the chain of roots. Whoever had the last one is asked alone for the next; where it has none, everybody is. The walk is
/// at its end only where somebody says so (404) and nobody has more.
async fn walk_roots<T: Transport>(
    stage: &mut RootStage,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
) -> Result<Walk, Failure> {
    let mut leader: Option<usize> = None;
    while let Some(next) = stage.next_version() {
        let file = format!("{next}.root.json");
        let mut ended = false;
        if let Some(place) = leader {
            match remote.from(place, &file, limits::ROOT_BYTES, Caches::Allowed).await {
                Ok(bytes) => match advance(stage, store, bytes) {
                    Ok(()) => continue,
                    Err(failure @ Failure::State(_)) => return Err(failure),
                    Err(failure) => remote.fail(place, failure),
                },
                Err(FetchError::NotFound) => ended = true,
                Err(error) => remote.fail(place, Failure::Fetch { file: file.clone(), error }),
            }
        }
        let (mut found, mut fault) = (None, None);
        let hear = |place: usize, answer: Result<Bytes, FetchError>| match answer {
            Ok(bytes) => match advance(stage, store, bytes) {
                Ok(()) => {
                    found = Some(place);
                    Ok(Heard::Enough)
                }
                Err(failure @ Failure::State(_)) => {
                    fault = Some(failure);
                    Ok(Heard::Enough)
                }
                Err(failure) => Err(failure),
            },
            Err(FetchError::NotFound) => {
                ended = true;
                Ok(Heard::MoreMayCome)
            }
            Err(error) => Err(Failure::Fetch { file: file.clone(), error }),
        };
        remote.all(&file, limits::ROOT_BYTES, Caches::Allowed, leader, hear).await;
        match (fault, found) {
            (Some(fault), _) => return Err(fault),
            (None, Some(place)) => leader = Some(place),
            (None, None) if ended => return Ok(Walk::Newest),
            (None, None) => return Err(remote.failure()),
        }
    }
    Ok(Walk::Limit)
}

fn advance(stage: &mut RootStage, store: &mut StateStore, bytes: Bytes) -> Result<(), Failure> {
    let root = stage.advance(Vec::from(bytes))?;
    store.keep_root(root.version(), root.bytes())?;
    Ok(())
}

/// A root that was stored cannot vanish: whoever holds it back hides what it revoked.
fn check_root_seen(stage: &RootStage, store: &StateStore) -> Result<(), Failure> {
    let got = stage.root().version();
    match store.newest_root() {
        Some(seen) if seen > got => Err(Failure::RootHeldBack { got, seen }),
        _ => Ok(()),
    }
}

fn offer_timestamp(stage: &mut TimestampStage, ground: &Ground<'_>, store: &StateStore) -> Result<(), Failure> {
    let Some(bytes) = store.timestamp_after(ground.earlier.map(TrustedSet::timestamp))? else { return Ok(()) };
    if stage.offer_local(bytes.clone()) {
        return Ok(());
    }
    let verifies = |root: &Root| {
        let file = Unverified::<Timestamp>::read(bytes.clone(), limits::TIMESTAMP_BYTES);
        file.is_ok_and(|file| file.verify(root.role(RoleType::Timestamp)).is_ok())
    };
    check_accounted_for(StateFile::Timestamp, &bytes, ground, store, verifies)
}

fn offer_snapshot(stage: &mut SnapshotStage, ground: &Ground<'_>, store: &StateStore) -> Result<(), Failure> {
    let Some(bytes) = store.snapshot_after(ground.earlier.map(TrustedSet::snapshot))? else { return Ok(()) };
    if stage.offer_local(bytes.clone()) {
        return Ok(());
    }
    let verifies = |root: &Root| {
        let file = Unverified::<Snapshot>::read(bytes.clone(), limits::STATED_BYTES);
        file.is_ok_and(|file| file.verify(root.role(RoleType::Snapshot)).is_ok())
    };
    check_accounted_for(StateFile::Snapshot, &bytes, ground, store, verifies)
}

/// A stored file that does not verify under the newest root is no floor (5.3.11). That is fine for the recorded one, whose
/// keys were rotated away, and for one that an interrupted run stored before they were: some root of the chain spoke for
/// it. One that nobody ever signed is damage, and would take the floor away without a word.
fn check_accounted_for(
    file: StateFile<'_>,
    bytes: &[u8],
    ground: &Ground<'_>,
    store: &StateStore,
    verifies: impl Fn(&Root) -> bool,
) -> Result<(), Failure> {
    if store.is_accounted_for(file, bytes) {
        return Ok(());
    }
    let mut chain = RootStage::pinned(ground.anchor.root.clone(), ground.now)?;
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

/// A timestamp that was accepted, with the places that gave one of its version.
struct Candidate {
    stage: SnapshotStage,
    freshness: Freshness,
    places: Vec<(usize, Version)>,
}

impl Candidate {
    /// The place whose timestamp it is.
    fn home(&self) -> usize {
        self.places.first().map_or(0, |(place, _)| *place)
    }
}

/// The timestamps of all places that this root and the stored state accept.
struct Timestamps {
    stage: TimestampStage,
    candidates: Vec<Candidate>,
    // Whose signatures do not fit: perhaps a cache hides a new root.
    strangers: Vec<(usize, Bytes, UpdateError)>,
}

impl Timestamps {
    fn judge(&mut self, place: usize, bytes: Bytes) -> Result<Heard, Failure> {
        match self.stage.clone().accept(bytes.to_vec()) {
            Ok((stage, freshness)) => {
                let version = stage.timestamp().version();
                let same = self.candidates.iter_mut().find(|c| c.stage.timestamp().version() == version);
                match same {
                    Some(candidate) => candidate.places.push((place, version)),
                    None => self.candidates.push(Candidate { stage, freshness, places: vec![(place, version)] }),
                }
                Ok(Heard::MoreMayCome)
            }
            Err(error) => {
                if matches!(error.reason, Reason::Signatures { .. }) {
                    self.strangers.push((place, bytes, error.clone()));
                }
                Err(error.into())
            }
        }
    }
}

/// Asks everybody for the timestamp. `came`: whether a root came in this update, so that somebody has the collection.
async fn timestamps<T: Transport>(
    ground: &Ground<'_>,
    roots: RootStage,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
    came: bool,
) -> Result<Vec<Candidate>, Failure> {
    let mut stage = roots.clone().finish()?;
    offer_timestamp(&mut stage, ground, store)?;
    let mut found = Timestamps { stage, candidates: Vec::new(), strangers: Vec::new() };
    let mut received = Vec::new();
    let hear = |place: usize, answer: Result<Bytes, FetchError>| match answer {
        Ok(bytes) => {
            received.push((place, bytes.clone()));
            found.judge(place, bytes)
        }
        // After a root from this server, its store lacks a file. Before, nothing says that it ever had the collection. Where
        // one was verified, that is no "not signed" all the same: whoever holds it back would choose that answer.
        Err(FetchError::NotFound) if !came => Err(match store.newest_timestamp() {
            Some(version) => Failure::CollectionGone { version, seen: store.refreshed() },
            None => Failure::NoCollection,
        }),
        Err(error) => Err(Failure::Fetch { file: TIMESTAMP.to_owned(), error }),
    };
    remote.all(TIMESTAMP, limits::TIMESTAMP_BYTES, Caches::Allowed, None, hear).await;
    if !found.strangers.is_empty() {
        found = past_caches(ground, roots, store, remote, found, received).await?;
    }
    if found.candidates.is_empty() { Err(remote.failure()) } else { Ok(found.candidates) }
}

/// The signatures of a timestamp do not fit. Perhaps a cache hides a new root: where it came from, that is asked for once more,
/// past caches, and the same timestamps are judged again.
async fn past_caches<T: Transport>(
    ground: &Ground<'_>,
    mut roots: RootStage,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
    mut found: Timestamps,
    received: Vec<(usize, Bytes)>,
) -> Result<Timestamps, Failure> {
    let before = roots.root().version();
    for (place, ..) in &found.strangers {
        while let Some(next) = roots.next_version() {
            let file = format!("{next}.root.json");
            match remote.from(*place, &file, limits::ROOT_BYTES, Caches::Passed).await {
                Ok(bytes) => match advance(&mut roots, store, bytes) {
                    Ok(()) => continue,
                    Err(failure @ Failure::State(_)) => return Err(failure),
                    Err(failure) => remote.fail(*place, failure),
                },
                Err(FetchError::NotFound) => {}
                Err(error) => remote.fail(*place, Failure::Fetch { file, error }),
            }
            break;
        }
    }
    if roots.root().version() > before {
        let mut stage = roots.finish()?;
        offer_timestamp(&mut stage, ground, store)?;
        let mut again = Timestamps { stage, candidates: Vec::new(), strangers: Vec::new() };
        for (place, bytes) in received {
            match again.judge(place, bytes) {
                Ok(_) => remote.pardon(place),
                Err(failure) => remote.fail(place, failure),
            }
        }
        return Ok(again);
    }
    if found.candidates.is_empty() {
        for (place, _, error) in std::mem::take(&mut found.strangers) {
            if let Some(failure) = other_root(ground, remote, place, error).await {
                remote.fail(place, failure);
            }
        }
    }
    Ok(found)
}

/// Says whether a place speaks for another root: then its own file of the pinned version is another one. This only
/// names the failure; it trusts nothing.
async fn other_root<T: Transport>(
    ground: &Ground<'_>,
    remote: &mut Remote<'_, T>,
    place: usize,
    after: UpdateError,
) -> Option<Failure> {
    // What else went wrong there since says more.
    if !matches!(remote.failure_of(place), Some(Failure::Update(UpdateError { reason: Reason::Signatures { .. }, .. })))
    {
        return None;
    }
    let anchor = ground.anchor;
    let pinned = RootStage::pinned(anchor.root.clone(), ground.now).ok()?;
    let file = format!("{}.root.json", pinned.root().version());
    let bytes = remote.from(place, &file, limits::ROOT_BYTES, Caches::Allowed).await.ok()?;
    (*bytes != *anchor.root).then(|| Failure::OtherRoot { theirs: sha256(&bytes), after })
}

/// Snapshot and targets of a timestamp. `held`: another one could be gone back to, so that nothing is stored before all of it is
/// there; else each file is stored before the next step.
async fn complete<T: Transport>(
    candidate: Candidate,
    ground: &Ground<'_>,
    store: &mut StateStore,
    remote: &mut Remote<'_, T>,
    held: bool,
) -> Result<TrustedSet, Failure> {
    let (home, is_new) = (Some(candidate.home()), candidate.freshness == Freshness::New);
    let stage = candidate.stage;
    let timestamp = stage.timestamp().clone();
    if is_new && !held {
        store.keep_timestamp(timestamp.version(), timestamp.bytes())?;
    }
    let (stage, new_snapshot) = snapshot(stage, ground, store, remote, home).await?;
    let snapshot = stage.snapshot().clone();
    if new_snapshot && !held {
        store.keep_snapshot(snapshot.version(), snapshot.bytes())?;
    }
    let (set, new_targets) = targets(stage, store, remote, home).await?;
    if held && is_new {
        store.keep_timestamp(timestamp.version(), timestamp.bytes())?;
    }
    if held && new_snapshot {
        store.keep_snapshot(snapshot.version(), snapshot.bytes())?;
    }
    if new_targets {
        store.keep_targets("targets", set.targets().bytes())?;
    }
    Ok(set)
}

async fn snapshot<T: Transport>(
    mut stage: SnapshotStage,
    ground: &Ground<'_>,
    store: &StateStore,
    remote: &mut Remote<'_, T>,
    home: Option<usize>,
) -> Result<(TargetsStage, bool), Failure> {
    offer_snapshot(&mut stage, ground, store)?;
    match stage.accept_local() {
        Ok(stage) => Ok((stage, false)),
        Err(stage) => {
            let wanted = stage.wanted();
            let file = file_name("snapshot", wanted.version, stage.root().consistent_snapshot());
            let (_, accepted) = remote.first(home, &file, wanted, |bytes| Ok(stage.clone().accept(bytes)?)).await?;
            Ok((accepted, true))
        }
    }
}

async fn targets<T: Transport>(
    stage: TargetsStage,
    store: &StateStore,
    remote: &mut Remote<'_, T>,
    home: Option<usize>,
) -> Result<(TrustedSet, bool), Failure> {
    let mut stage = match stage.accept_known() {
        Ok(set) => return Ok((set, false)),
        Err(stage) => stage,
    };
    if let Some(bytes) = store.targets("targets")? {
        stage.offer_local(bytes);
    }
    match stage.accept_local() {
        Ok(set) => Ok((set, false)),
        Err(stage) => {
            let wanted = stage.wanted()?;
            let file = file_name("targets", wanted.version, stage.root().consistent_snapshot());
            let (_, accepted) = remote.first(home, &file, wanted, |bytes| Ok(stage.clone().accept(bytes)?)).await?;
            Ok((accepted, true))
        }
    }
}

#[cfg(test)]
mod staying_tests;
#[cfg(test)]
mod tests;
