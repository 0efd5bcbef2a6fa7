//! The reader: an updated trusted set with what is needed to look things up in it.
//!
//! Everything is judged by the one reference time of the update. Roles are loaded as look-ups need them, from the store if
//! the stored file verifies, else from the server. Deliberately absent: a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use trust_tuf::lookup::{Lookup, LookupError, Outcome, RoleRequest, Step};
use trust_tuf::names::is_target_path;
use trust_tuf::trusted::TrustedSet;
use trust_tuf::{Reason, TargetInfo, Targets, UpdateError, UtcTime, Verified, Version, limits};

use crate::anchor::Anchor;
use crate::layout::{Layout, file_name};
use crate::problems::{Failure, Scene};
use crate::state::StateStore;
use crate::transport::{FetchError, Transport};
use crate::update::{self, Remote, Updated};
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
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_secs(60), max_staleness: None, layout: None, check_clock: true }
    }
}

/// An updated collection. Holds the lock of its state until it is dropped.
pub struct Reader<T> {
    anchor: Anchor,
    store: StateStore,
    transport: Option<T>,
    options: Options,
    layout: Layout,
    trusted: TrustedSet,
    pinned_version: Version,
    warnings: Vec<String>,
    fetch_failures: BTreeMap<String, (String, FetchError)>,
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
        mut store: StateStore,
        transport: T,
        now: UtcTime,
        options: Options,
    ) -> Result<Self, Problem> {
        let layout = options.layout.clone().unwrap_or_else(|| Layout::of(&anchor.collection));
        let scene = Scene::online(anchor.collection.as_str(), transport.describe());
        let updated = Self::update(&anchor, &mut store, &transport, &layout, now, &options).await;
        let Updated { set: trusted, pinned_version, warnings } = updated.map_err(|failure| scene.problem(failure))?;
        let transport = Some(transport);
        let fetch_failures = BTreeMap::new();
        Ok(Self { anchor, store, transport, options, layout, trusted, pinned_version, warnings, fetch_failures })
    }

    async fn update(
        anchor: &Anchor,
        store: &mut StateStore,
        transport: &T,
        layout: &Layout,
        now: UtcTime,
        options: &Options,
    ) -> Result<Updated, Failure> {
        if options.check_clock {
            update::check_clock(store, now)?;
        }
        if is_recent(store, anchor, options.max_staleness, now)
            && let Ok(updated) = update::offline(anchor, store, now)
        {
            return Ok(updated);
        }
        update::online(anchor, store, &Remote::new(transport, layout, options.patience), now).await
    }

    /// Uses the stored files alone, judged at `now`. Nothing is asked and nothing is written.
    pub fn offline(anchor: Anchor, store: StateStore, now: UtcTime) -> Result<Self, Problem> {
        Self::offline_with(anchor, store, now, Options::default())
    }

    /// The same, with options.
    pub fn offline_with(anchor: Anchor, store: StateStore, now: UtcTime, options: Options) -> Result<Self, Problem> {
        let scene = Scene::offline(anchor.collection.as_str());
        let clock = if options.check_clock { update::check_clock(&store, now) } else { Ok(()) };
        let Updated { set: trusted, pinned_version, warnings } =
            clock.and_then(|()| update::offline(&anchor, &store, now)).map_err(|failure| scene.problem(failure))?;
        let layout = options.layout.clone().unwrap_or_else(|| Layout::of(&anchor.collection));
        let (transport, fetch_failures) = (None, BTreeMap::new());
        Ok(Self { anchor, store, transport, options, layout, trusted, pinned_version, warnings, fetch_failures })
    }

    /// Updates again with the same store and server: after a publication, or in a program that stays up.
    pub async fn renew(self, now: UtcTime) -> Result<Self, Problem> {
        match self.transport {
            Some(transport) => {
                let options = Options { max_staleness: None, ..self.options };
                Self::refresh_with(self.anchor, self.store, transport, now, options).await
            }
            None => Self::offline_with(self.anchor, self.store, now, self.options),
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
        match &self.transport {
            Some(transport) => Scene::online(collection, transport.describe()),
            None => Scene::offline(collection),
        }
    }

    /// Whether a server is asked for what is not stored.
    pub(crate) fn is_online(&self) -> bool {
        self.transport.is_some()
    }

    /// When the last successful update began, as far as is known: the record on disk is written once a minute.
    pub(crate) fn updated_at(&self) -> UtcTime {
        match self.transport {
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

    pub(crate) async fn search(&mut self, path: &str) -> Result<Outcome, Failure> {
        let mut lookup = Lookup::new(&self.trusted, path);
        loop {
            match lookup.step(&self.trusted).map_err(|error| self.with_fetch_failure(error))? {
                Step::Done => return Ok(lookup.outcome()),
                Step::Need(request) => {
                    if let Err(failure) = self.load(&request).await {
                        let error = match failure {
                            Failure::Update(error) => LookupError::Role(error),
                            Failure::Fetch { file, error } => {
                                self.fetch_failures.insert(request.role.clone(), (file, error));
                                LookupError::Unavailable { role: request.role.clone() }
                            }
                            other => return Err(other),
                        };
                        lookup.failed(error).map_err(|error| self.with_fetch_failure(error))?;
                    }
                }
            }
        }
    }

    /// The search says only that a role could not be fetched; what happened there is the better answer.
    fn with_fetch_failure(&self, error: LookupError) -> Failure {
        match &error {
            LookupError::Unavailable { role } => match self.fetch_failures.get(role) {
                Some((file, error)) => Failure::Fetch { file: file.clone(), error: error.clone() },
                None => error.into(),
            },
            _ => error.into(),
        }
    }

    /// Loads a role: the stored file if it verifies, else the server's, which is then stored.
    async fn load(&mut self, request: &RoleRequest) -> Result<(), Failure> {
        let stored = self.store.targets(&request.role)?;
        if let Some(bytes) = stored {
            let refused = match self.trusted.accept_role(request, bytes) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // Offline, an expired file is worth saying; one that is not the current one is as good as none.
            if self.transport.is_none() && matches!(refused.reason, Reason::Expired { .. } | Reason::Signatures { .. })
            {
                return Err(refused.into());
            }
        }
        let Some(transport) = &self.transport else { return Err(Failure::NothingStored) };
        let file = file_name(&request.role, request.wanted.version, self.trusted.root().consistent_snapshot());
        let remote = Remote::new(transport, &self.layout, self.options.patience);
        let bytes = match remote.fetch(&file, request.wanted.limit).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(Failure::Fetch { file, error }),
        };
        let role = self.trusted.accept_role(request, bytes.to_vec())?;
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
                if seen.len() > limits::ROLES_PER_COLLECTION || !seen.insert(role.clone()) {
                    continue;
                }
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
        match self.load_named("targets", role).await {
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
        let Some(transport) = &self.transport else { return Err(Failure::NothingStored) };
        if !is_target_path(path) {
            return Err(fetch_error(FetchError::NotFound));
        }
        let consistent = self.trusted.root().consistent_snapshot();
        let mut last = FetchError::NotFound;
        for file in self.layout.target(path, target, consistent) {
            let fetch = tokio::time::timeout(self.options.patience, transport.fetch(&file, target.length));
            match fetch.await.unwrap_or(Err(FetchError::Timeout)) {
                Ok(bytes) => return checked(path, target, bytes),
                Err(error) => last = error,
            }
        }
        Err(fetch_error(last))
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
