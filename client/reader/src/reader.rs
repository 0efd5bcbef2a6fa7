//! The reader: an updated trusted set with what is needed to look things up in it.
//!
//! Everything is judged by the one reference time of the update. Roles are loaded as look-ups need them, from the store if
//! the stored file verifies, else from the server. Deliberately absent: a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use trust_tuf::lookup::{Lookup, LookupError, Outcome, RoleRequest, Statement, Step};
use trust_tuf::model::Role;
use trust_tuf::names::is_target_path;
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{Reason, TargetInfo, Targets, UpdateError, UtcTime, Verified, Version, limits};

use crate::anchor::Anchor;
use crate::clock;
use crate::layout::{Layout, file_name};
use crate::problems::{Failure, Scene};
use crate::sources::{Remote, SourceReport, Sources};
use crate::state::StateStore;
use crate::transport::{Body, FetchError, TimeLimit, Transport};
use crate::update::{self, Updated};
use crate::verdict::Problem;

/// How an update is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one update or the loading of one role may take in all.
    pub patience: Duration,
    /// If the last successful update is not older than this, the stored files are used without asking the server.
    pub max_staleness: Option<Duration>,
    /// Where the files lie; `None`: a collection on a `trust-server`.
    pub layout: Option<Layout>,
    /// Whether a clock that went back is refused. Off only where time itself is what is tested.
    pub check_clock: bool,
    /// In a program that stays up, what an earlier update of the same collection verified: it is recognised by its bytes
    /// and keys, and not verified again. What time and other files change is judged anew. It stands aside where the stored
    /// state is older than it, or gone: then all is fetched and stored again.
    pub earlier: Option<TrustedSet>,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: crate::limits::WHOLE, max_staleness: None, layout: None, check_clock: true, earlier: None }
    }
}

/// An updated collection. Holds the lock of its state until it is dropped.
pub struct Reader<T> {
    anchor: Anchor,
    store: StateStore,
    sources: Option<Sources<T>>,
    // The place that the trusted files came from: asked first for what they name.
    home: usize,
    reports: Vec<SourceReport>,
    options: Options,
    layout: Layout,
    trusted: TrustedSet,
    pinned_version: Version,
    warnings: Vec<String>,
    // Why a role could not be loaded.
    role_failures: BTreeMap<String, Failure>,
    // Whether what an earlier update verified lies in the store as well, or something newer.
    may_remember: bool,
}

/// What [`Reader::load_all_roles`] could not load: the role and why.
pub type UnloadedRole = (String, Problem);

impl<T: Transport> Reader<T> {
    /// Updates the stored state from the server, judged at `now`.
    pub async fn refresh(anchor: Anchor, store: StateStore, transport: T, now: UtcTime) -> Result<Self, Problem> {
        Self::refresh_with(anchor, store, transport, now, Options::default()).await
    }

    /// The same, with options.
    pub async fn refresh_with(
        anchor: Anchor,
        store: StateStore,
        transport: T,
        now: UtcTime,
        options: Options,
    ) -> Result<Self, Problem> {
        Self::refresh_from(anchor, store, Sources::one(transport), now, options).await
    }

    /// The same from a server and its mirrors: what one of them lacks, holds back or falsifies comes from another.
    pub async fn refresh_from(
        anchor: Anchor,
        mut store: StateStore,
        sources: Sources<T>,
        now: UtcTime,
        mut options: Options,
    ) -> Result<Self, Problem> {
        let layout = options.layout.clone().unwrap_or_else(|| Layout::of(&anchor.collection));
        let scene = Scene::online(anchor.collection.as_str(), sources.server().describe());
        let may_remember = options.earlier.as_ref().is_none_or(|earlier| !is_behind(&store, earlier));
        if !may_remember {
            options.earlier = None;
        }
        let updated = Self::update(&anchor, &mut store, &sources, &layout, now, &options).await;
        let server_time = sources.server().server_time();
        let Updated { set: trusted, pinned_version, mut warnings, sources: reports, home } =
            updated.map_err(|failure| scene.problem(clock::explain(failure, server_time)))?;
        warnings.extend(clock::warning(now, server_time));
        warnings.extend(reports.iter().filter_map(SourceReport::warning));
        let sources = Some(sources);
        let role_failures = BTreeMap::new();
        options.earlier = None;
        Ok(Self {
            anchor,
            store,
            sources,
            home,
            reports,
            options,
            layout,
            trusted,
            pinned_version,
            warnings,
            role_failures,
            may_remember,
        })
    }

    async fn update(
        anchor: &Anchor,
        store: &mut StateStore,
        sources: &Sources<T>,
        layout: &Layout,
        now: UtcTime,
        options: &Options,
    ) -> Result<Updated, Failure> {
        if options.check_clock {
            update::check_clock(store, now)?;
        }
        if is_recent(store, anchor, options.max_staleness, now)
            && let Ok(updated) = update::offline(anchor, store, now, options.earlier.as_ref())
        {
            return Ok(updated);
        }
        let mut remote = Remote::new(sources, layout, options.patience);
        update::online(anchor, store, &mut remote, now, options.earlier.as_ref()).await
    }

    /// Uses the stored files alone, judged at `now`. Nothing is asked and nothing is written.
    pub fn offline(anchor: Anchor, store: StateStore, now: UtcTime) -> Result<Self, Problem> {
        Self::offline_with(anchor, store, now, Options::default())
    }

    /// The same, with options.
    pub fn offline_with(
        anchor: Anchor,
        store: StateStore,
        now: UtcTime,
        mut options: Options,
    ) -> Result<Self, Problem> {
        let scene = Scene::offline(anchor.collection.as_str());
        let clock = if options.check_clock { update::check_clock(&store, now) } else { Ok(()) };
        let earlier = options.earlier.take();
        let Updated { set: trusted, pinned_version, warnings, sources: reports, home } = clock
            .and_then(|()| update::offline(&anchor, &store, now, earlier.as_ref()))
            .map_err(|failure| scene.problem(failure))?;
        let layout = options.layout.clone().unwrap_or_else(|| Layout::of(&anchor.collection));
        let (sources, role_failures) = (None, BTreeMap::new());
        Ok(Self {
            anchor,
            store,
            sources,
            home,
            reports,
            options,
            layout,
            trusted,
            pinned_version,
            warnings,
            role_failures,
            may_remember: true,
        })
    }

    /// Updates again with the same store, server and mirrors: after a publication, or in a program that stays up.
    pub async fn renew(self, now: UtcTime) -> Result<Self, Problem> {
        let earlier = Some(self.trusted);
        match self.sources {
            Some(sources) => {
                let options = Options { max_staleness: None, earlier, ..self.options };
                Self::refresh_from(self.anchor, self.store, sources, now, options).await
            }
            None => Self::offline_with(self.anchor, self.store, now, Options { earlier, ..self.options }),
        }
    }

    /// The verified set.
    pub fn trusted(&self) -> &TrustedSet {
        &self.trusted
    }

    /// The pinned root.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The version of the pinned root.
    pub fn pinned_version(&self) -> Version {
        self.pinned_version
    }

    pub(crate) fn trusted_mut(&mut self) -> &mut TrustedSet {
        &mut self.trusted
    }

    /// Whether delegated roles of an earlier update may be taken from memory: they lie in the store as well.
    pub(crate) fn may_remember(&self) -> bool {
        self.may_remember
    }

    /// The stored state.
    pub fn store(&self) -> &StateStore {
        &self.store
    }

    /// What should be said about the update, beside success.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where this reader reads: for problems that a caller makes.
    pub fn scene(&self) -> Scene {
        let collection = self.anchor.collection.as_str();
        match &self.sources {
            Some(sources) => Scene::online(collection, sources.server().describe()),
            None => Scene::offline(collection),
        }
    }

    /// Whether a server is asked for what is not stored.
    pub(crate) fn is_online(&self) -> bool {
        self.sources.is_some()
    }

    /// When the last successful update began, as far as is known: the record on disk is written once a minute.
    pub(crate) fn updated_at(&self) -> UtcTime {
        match self.sources {
            Some(_) if self.options.max_staleness.is_none() => self.trusted.now(),
            _ => self.store.refreshed().unwrap_or(UtcTime::EPOCH),
        }
    }

    /// Looks a target up. An empty outcome means that no role lists it; that it could not be decided is an error.
    pub async fn lookup(&mut self, path: &str) -> Result<Outcome, Problem> {
        match self.search(path).await {
            Ok(outcome) => Ok(outcome),
            Err(failure) => Err(self.scene().problem(failure)),
        }
    }

    /// The plain TUF answer to a path (5.6.7), for any repository: who lists it first, and what it says. `None`: no such
    /// target. No role is reserved, and none after the hit is asked for.
    pub async fn find(&mut self, path: &str) -> Result<Option<Statement>, Problem> {
        match self.run(Lookup::plain(&self.trusted, path)).await {
            Ok(outcome) => Ok(outcome.statements.into_iter().next()),
            Err(failure) => Err(self.scene().problem(failure)),
        }
    }

    pub(crate) async fn search(&mut self, path: &str) -> Result<Outcome, Failure> {
        let searched = self.run(Lookup::new(&self.trusted, path)).await;
        searched.map_err(|failure| clock::explain(failure, self.server_time()))
    }

    fn server_time(&self) -> Option<UtcTime> {
        self.sources.as_ref().and_then(|sources| sources.server().server_time())
    }

    async fn run(&mut self, mut lookup: Lookup) -> Result<Outcome, Failure> {
        loop {
            match lookup.step(&self.trusted).map_err(|error| self.with_fetch_failure(error))? {
                Step::Done => return Ok(lookup.outcome()),
                Step::Need(request) => {
                    if let Err(failure) = self.load(&request).await {
                        let error = match failure.main() {
                            Failure::Update(error) => LookupError::Role(error.clone()),
                            Failure::Fetch { .. } => LookupError::Unavailable { role: request.role.clone() },
                            _ => return Err(failure),
                        };
                        self.role_failures.insert(request.role.clone(), failure);
                        lookup.failed(error).map_err(|error| self.with_fetch_failure(error))?;
                    }
                }
            }
        }
    }

    /// The search says only which role it was; what happened there is the better answer.
    fn with_fetch_failure(&self, error: LookupError) -> Failure {
        let (LookupError::Unavailable { role } | LookupError::Role(UpdateError { role, .. })) = &error else {
            return error.into();
        };
        match (&error, self.role_failures.get(role)) {
            (LookupError::Unavailable { .. }, Some(failure)) => failure.clone(),
            (_, Some(Failure::EverySource { sources, .. })) => {
                Failure::EverySource { main: Box::new(error.into()), sources: sources.clone() }
            }
            _ => error.into(),
        }
    }

    /// Loads a role: the one of an earlier set if it is still the current one, the stored file if it verifies, else the
    /// server's, which is then stored.
    async fn load(&mut self, request: &RoleRequest) -> Result<(), Failure> {
        if self.trusted.accept_known(request).is_some() {
            return Ok(());
        }
        let stored = self.store.targets(&request.role)?;
        if let Some(bytes) = stored {
            let refused = match self.trusted.accept_role(request, bytes) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // Offline, an expired file is worth saying; one that is not the current one is as good as none.
            if self.sources.is_none() && matches!(refused.reason, Reason::Expired { .. } | Reason::Signatures { .. }) {
                return Err(refused.into());
            }
        }
        let Some(sources) = &self.sources else { return Err(Failure::NothingStored) };
        let file = file_name(&request.role, request.wanted.version, self.trusted.root().consistent_snapshot());
        let mut remote = Remote::new(sources, &self.layout, self.options.patience);
        let trusted = &mut self.trusted;
        let accept = |bytes| Ok(trusted.accept_role(request, bytes)?.clone());
        let (home, role) = remote.first(Some(self.home), &file, request.wanted, accept).await?;
        self.home = home;
        self.store.keep_targets(&request.role, role.bytes())?;
        Ok(())
    }

    /// Loads every role that is delegated by name, breadth first. One that cannot be loaded is reported and its subtree
    /// left out; the others go on. Local faults end it.
    pub async fn load_all_roles(&mut self) -> Result<Vec<UnloadedRole>, Problem> {
        let mut unloaded = Vec::new();
        let mut seen = BTreeSet::from(["targets".to_owned()]);
        let mut waiting = VecDeque::from([("targets".to_owned(), self.trusted.targets().clone())]);
        while let Some((delegator, file)) = waiting.pop_front() {
            for delegation in file.delegations().into_iter().flat_map(|d| d.roles()) {
                let role = delegation.name().to_owned();
                if seen.contains(&role) {
                    continue;
                }
                // `targets` is among them.
                if seen.len() > limits::ROLES_PER_COLLECTION {
                    let limit = LookupError::Limit { limit: limits::ROLES_PER_COLLECTION };
                    unloaded.push((role, self.scene().problem(limit.into())));
                    return Ok(unloaded);
                }
                seen.insert(role.clone());
                match self.load_named(&delegator, &role).await {
                    Ok(loaded) => waiting.push_back((role, loaded)),
                    Err(failure @ Failure::State(_)) => return Err(self.scene().problem(failure)),
                    Err(failure) => unloaded.push((role, self.scene().problem(failure))),
                }
            }
        }
        Ok(unloaded)
    }

    pub(crate) async fn load_named(&mut self, delegator: &str, role: &str) -> Result<Verified<Targets>, Failure> {
        if let Some(loaded) = self.trusted.delegated(delegator, role) {
            return Ok(loaded.clone());
        }
        let missing = || UpdateError { role: role.to_owned(), reason: Reason::NotInSnapshot };
        let request = self.trusted.request(delegator, role).ok_or_else(missing)?;
        self.load(&request).await?;
        self.trusted.delegated(delegator, role).cloned().ok_or_else(|| missing().into())
    }

    /// Loads one role that `targets` delegates directly (or gives `targets` itself).
    pub async fn role(&mut self, role: &str) -> Result<Verified<Targets>, Problem> {
        self.role_below("targets", role).await
    }

    /// Loads one role that a loaded role delegates, by name or as a hash bin.
    pub async fn role_below(&mut self, delegator: &str, role: &str) -> Result<Verified<Targets>, Problem> {
        match self.load_named(delegator, role).await {
            Ok(file) => Ok(file),
            Err(failure) => Err(self.scene().problem(failure)),
        }
    }

    /// Fetches the content of a target that a look-up found, and checks length and hashes. `limit` is the most bytes that
    /// the caller wants to hold.
    pub async fn content(&self, path: &str, target: &TargetInfo, limit: u64) -> Result<Bytes, Problem> {
        self.fetch_content(path, target, limit).await.map_err(|failure| self.scene().problem(failure))
    }

    async fn fetch_content(&self, path: &str, target: &TargetInfo, limit: u64) -> Result<Bytes, Failure> {
        let fetch_error = |error| Failure::Fetch { file: path.to_owned(), error };
        if target.length > limit {
            return Err(fetch_error(FetchError::TooLarge { limit }));
        }
        let Some(sources) = &self.sources else { return Err(Failure::NothingStored) };
        if !is_target_path(path) {
            return Err(fetch_error(FetchError::NotFound));
        }
        let paths = self.layout.target(path, target, self.trusted.root().consistent_snapshot());
        let mut remote = Remote::new(sources, &self.layout, self.options.patience);
        let accept = |bytes| checked(path, target, bytes);
        let (_, bytes) = remote.first_at(Some(self.home), path, &paths, target.length, accept).await?;
        Ok(bytes)
    }

    /// Where a target may lie: places with the paths there, the one that the metadata came from first. None if nobody is asked.
    pub(crate) fn target_files(&self, path: &str, target: &TargetInfo) -> Vec<(usize, String)> {
        let paths = self.layout.target(path, target, self.trusted.root().consistent_snapshot());
        let mut places: Vec<usize> = (0..self.sources.as_ref().map_or(0, |sources| sources.iter().count())).collect();
        places.sort_by_key(|place| *place != self.home);
        places.into_iter().flat_map(|place| paths.iter().map(move |path| (place, path.clone()))).collect()
    }

    /// Opens a file of a target at a place. Only until its body begins, the patience holds.
    pub(crate) async fn open_target(&self, (place, file): &(usize, String), limit: u64) -> Result<Body, FetchError> {
        let source = self.sources.as_ref().and_then(|sources| sources.iter().nth(*place));
        let body = tokio::time::timeout(self.options.patience, source.ok_or(FetchError::NotFound)?.open(file, limit));
        body.await.unwrap_or(Err(FetchError::Timeout(TimeLimit::Whole(self.options.patience))))
    }

    /// What the server and each mirror gave in the update; empty offline, or where nobody was asked.
    pub fn sources(&self) -> &[SourceReport] {
        &self.reports
    }
}

/// The bytes, if length and hashes are those of the target.
pub(crate) fn checked(path: &str, target: &TargetInfo, bytes: Bytes) -> Result<Bytes, Failure> {
    let got = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let reason = if got != target.length {
        Reason::Length { expected: target.length, got }
    } else if !target.hashes.match_bytes(&bytes) {
        Reason::Hash
    } else {
        return Ok(bytes);
    };
    Err(UpdateError { role: path.to_owned(), reason }.into())
}

/// Whether somebody emptied the stored state or put an older one in its place since this set was verified. What is in
/// memory alone would be lost with the process, and what the store has for it would not go with the rest.
fn is_behind(store: &StateStore, earlier: &TrustedSet) -> bool {
    store.newest_snapshot().is_none_or(|stored| stored < earlier.snapshot().version())
}

fn is_recent(store: &StateStore, anchor: &Anchor, max: Option<Duration>, now: UtcTime) -> bool {
    let (Some(max), Some(last)) = (max, store.refreshed()) else { return false };
    let age = now.secs_since(last);
    let max = i64::try_from(max.as_secs()).unwrap_or(i64::MAX);
    (0..=max).contains(&age) && store.anchor() == Some(anchor.fingerprint().as_str())
}

impl<T> std::fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("collection", &self.anchor.collection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
