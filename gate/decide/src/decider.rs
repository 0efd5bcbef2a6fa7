//! Question in, answer out.
//!
//! A warm answer is one look into a cache and some comparisons of times. A cold one verifies in memory, once for all that
//! ask at the same time. Invariants: what is cached is keyed by everything that it depends on (view, image, environment,
//! action, policy), and every use compares its deadline; an allow ends with the first of all expiries that it rests on and
//! with `max_staleness` after the last successful refresh of its collection and of the policy's.

mod cache;
mod names;
mod record;
mod refresh;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use trust_image::{Reference, target};
use trust_policy::{Cause, Decision, Environment, Subject};
use trust_reader::anchor::Anchor;
use trust_reader::catalogue::Code;
use trust_reader::http::{HttpOptions, HttpTransport};
use trust_reader::sources::Sources;
use trust_reader::verdict::{Problem, printable};
use trust_reader::verify::{Meaning, Require, VerifiedImage};
use trust_reader::view::SignedEntry;
use trust_tuf::UtcTime;

use crate::answer::{Allowed, Answer, Denied, Outcome, Question, problem_of};
use crate::clock::{Clock, Watch};
use crate::collection::{Collection, Loaded};
use crate::health::{CollectionHealth, Health, PolicyHealth};
use crate::log::{self, Log};
use crate::policy::{PolicySlot, Usable, because};
use crate::settings::{Environments, Pinned, PolicyFrom, Settings, StartError};
use crate::stats::{Counts, Stats};
use crate::transport::AnyTransport;
use cache::{Basis, Caches, Decided, DecisionKey, Verification, VerificationKey};
pub use record::{Draft, Entry, Unentered};

/// How many of what a decider has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Allows given.
    pub allowed: u64,
    /// Denials given.
    pub denied: u64,
    /// Verifications of an image, each of which several answers may rest on.
    pub verifications: u64,
    /// Evaluations of the policy.
    pub evaluations: u64,
}

/// Decides. Cheap to ask from many threads.
#[derive(Debug)]
pub struct Decider {
    // The longest names first: the first that covers an image is the longest.
    collections: Vec<Arc<Collection>>,
    policy: Option<PolicySource>,
    environments: EnvironmentMap,
    require: Require,
    refresh: std::time::Duration,
    max_staleness: i64,
    watch: Arc<Watch>,
    log: Option<Arc<Log>>,
    /// What the last line could not be written for.
    log_problem: ArcSwapOption<Problem>,
    caches: Caches,
    allowed: AtomicU64,
    denied: AtomicU64,
    counts: Arc<Counts>,
    /// What was verified and evaluated by the decider before this one.
    carried: Counters,
}

#[derive(Debug)]
struct PolicySource {
    collection: Arc<Collection>,
    slot: PolicySlot,
}

/// Environments by number: a number says more than a name, which two could share.
#[derive(Debug)]
struct EnvironmentMap {
    list: Vec<Environment>,
    namespaces: Option<BTreeMap<String, usize>>,
}

/// Place 0 is the one that is taken where no other is named.
const DEFAULT: usize = 0;
/// Collections that a text names.
const MAX_NAMED: usize = 8;

impl EnvironmentMap {
    fn new(environments: Environments) -> Self {
        match environments {
            Environments::Fixed(environment) => Self { list: vec![environment], namespaces: None },
            Environments::Namespaces(map) => {
                let origin = "the default for namespaces that are not in [namespaces]".to_owned();
                let mut list = vec![Environment { origin, ..Environment::strictest() }];
                let mut namespaces = BTreeMap::new();
                for (namespace, environment) in map {
                    namespaces.insert(namespace, list.len());
                    list.push(environment);
                }
                Self { list, namespaces: Some(namespaces) }
            }
        }
    }

    /// The number of the environment: never chosen by anything but the name of the namespace.
    fn of(&self, namespace: Option<&str>) -> usize {
        match (&self.namespaces, namespace) {
            (Some(map), Some(namespace)) => map.get(namespace).copied().unwrap_or(DEFAULT),
            _ => DEFAULT,
        }
    }

    /// Why it is the strictest one, if nobody named another.
    fn note(&self, namespace: Option<&str>) -> Option<String> {
        let map = self.namespaces.as_ref()?;
        match namespace {
            Some(namespace) if map.contains_key(namespace) => None,
            Some(namespace) => {
                let namespace = printable(namespace);
                Some(format!("namespace {namespace} is not in [namespaces]; the strictest environment applies"))
            }
            None => Some("there is no namespace; the strictest environment applies".to_owned()),
        }
    }
}

/// The server and its mirrors. Each mirror is reached like the server, but never with its token.
fn sources(
    pinned: &Pinned,
    connect: impl Fn(&Pinned) -> Result<AnyTransport, Problem>,
) -> Result<Sources<AnyTransport>, Problem> {
    let as_server = |mirror: &String| {
        let http = HttpOptions { token: None, ..pinned.http.clone() };
        connect(&Pinned { server: mirror.clone(), mirrors: Vec::new(), http, ..pinned.clone() })
    };
    Ok(Sources::new(connect(pinned)?, pinned.mirrors.iter().map(as_server).collect::<Result<Vec<_>, _>>()?))
}

fn connect(pinned: &Pinned) -> Result<AnyTransport, Problem> {
    let transport = HttpTransport::new(&pinned.server, pinned.http.clone()).map_err(|error| {
        Problem::new(Code::Configuration)
            .fact("collection", &pinned.collection)
            .fact("server", trust_reader::http::shown_address(&pinned.server))
            .fact("found", error)
    })?;
    Ok(AnyTransport::new(transport))
}

/// Whether the cause is one of an allow.
fn is_allow(decision: &Decision) -> bool {
    match decision.cause {
        Cause::Permitted => true,
        Cause::Excepted => decision.exception.is_some(),
        _ => false,
    }
}

/// All that signed an image.
fn names(image: &VerifiedImage) -> Vec<String> {
    image.signers.iter().map(|signer| signer.name.clone()).collect()
}

/// What a tag alone is where the digest must be named.
fn tag_alone(question: &Question<'_>, allowed: &Allowed) -> Denied {
    let digest = allowed.verified.digest;
    let image = question.image;
    let problem = Problem::new(Code::TagAlone).headline(format!(
        "verified as {digest}, but the Pod names the tag alone; let the webhook /mutate run first, or name {image}@{digest}"
    ));
    // Without the policy's decision, which is another one.
    let problem = problem.fact("image", image).within(&allowed.verified.collection);
    Denied { problem, decision: None, digest: Some(digest), signers: names(&allowed.verified) }
}

impl Decider {
    /// Starts over HTTP: reads the stored states, then asks the servers.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        Self::started(settings, clock, connect, None).await
    }

    /// The same in the place of another one: what that one has counted is counted on.
    pub async fn start_after(
        before: &Self,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StartError> {
        Self::started(settings, clock, connect, Some(before)).await
    }

    /// Whether a start with these settings would find files, folders and addresses that can be used. Asks no server and
    /// makes nothing.
    pub fn check(settings: &Settings) -> Result<(), StartError> {
        settings.check()?;
        for pinned in &settings.collections {
            sources(pinned, connect).map_err(StartError::Settings)?;
        }
        crate::folder::check(&settings.state).map_err(StartError::State)?;
        // In a state folder that is still to be made there is no log to look at.
        let log = settings.log.as_deref().filter(|log| !log.starts_with(&settings.state) || settings.state.exists());
        log.map_or(Ok(()), |log| Log::check(log, &settings.state)).map_err(StartError::Log)
    }

    /// The same over any transport.
    pub async fn start_on(
        settings: Settings,
        clock: Arc<dyn Clock>,
        connect: impl Fn(&Pinned) -> Result<AnyTransport, Problem>,
    ) -> Result<Arc<Self>, StartError> {
        Self::started(settings, clock, connect, None).await
    }

    async fn started(
        settings: Settings,
        clock: Arc<dyn Clock>,
        connect: impl Fn(&Pinned) -> Result<AnyTransport, Problem>,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, StartError> {
        settings.check()?;
        let policy_name = match &settings.policy {
            PolicyFrom::Collection(name) => Some(name.as_str()),
            PolicyFrom::SignaturesAlone => None,
        };
        crate::folder::make(&settings.state).map_err(StartError::State)?;
        let log = settings.log.as_deref().map(|log| Log::open(log, &settings.state));
        let log = log.transpose().map_err(StartError::Log)?.map(Arc::new);
        let mut collections = Vec::with_capacity(settings.collections.len());
        for pinned in &settings.collections {
            let sources = sources(pinned, &connect).map_err(StartError::Settings)?;
            let anchor = Anchor { collection: pinned.collection.clone(), root: pinned.root.clone() };
            let has_policy = policy_name == Some(anchor.collection.as_str());
            collections.push(Arc::new(Collection::new(anchor, sources, &settings.state, has_policy)));
        }
        let policy = policy_name
            .and_then(|name| collections.iter().find(|c| c.name() == name))
            .map(|c| PolicySource { collection: Arc::clone(c), slot: PolicySlot::new(c.name()) });
        collections.sort_by_key(|c| std::cmp::Reverse(c.name().len()));
        let decider = Arc::new(Self {
            collections,
            policy,
            environments: EnvironmentMap::new(settings.environments),
            require: settings.require,
            refresh: settings.refresh,
            max_staleness: i64::try_from(settings.max_staleness.as_secs()).unwrap_or(i64::MAX),
            watch: Arc::new(Watch::new(clock)),
            log,
            log_problem: ArcSwapOption::empty(),
            caches: Caches::default(),
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            counts: before.map(|before| Arc::clone(&before.counts)).unwrap_or_default(),
            carried: before.map(Self::counters).unwrap_or_default(),
        });
        decider.load().await?;
        Ok(decider)
    }

    fn considered(&self, question: &Question<'_>, problem: Option<&Problem>) -> Answer {
        let environment = self.environments.of(question.namespace);
        let judged = problem.map_or_else(|| self.judge(question, environment), |problem| Err(problem.clone()));
        self.answer(question, environment, judged)
    }

    fn answer(&self, question: &Question<'_>, environment: usize, judged: Result<Outcome, Problem>) -> Answer {
        let outcome = match judged {
            Ok(Outcome::Allowed(allowed))
                if question.digest_only
                    && !Reference::parse(question.image).is_ok_and(|image| image.digest().is_some()) =>
            {
                Outcome::Denied(tag_alone(question, &allowed).into())
            }
            Ok(outcome) => outcome,
            Err(problem) => Outcome::Denied(Arc::new(Denied::new(problem.about(question.image)))),
        };
        let note = match outcome {
            Outcome::Denied(_) => self.environments.note(question.namespace),
            Outcome::Allowed(_) => None,
        };
        let environment = self.environments.list.get(environment).map(|e| e.name.clone()).unwrap_or_default();
        Answer { image: printable(question.image), environment, outcome, note }
    }

    fn judge(&self, question: &Question<'_>, environment: usize) -> Result<Outcome, Problem> {
        let now = self.watch.now()?;
        let key = DecisionKey { image: question.image.into(), environment, action: question.action };
        if let Some(outcome) = self.again(&key, now) {
            return Ok(outcome);
        }
        let image = Reference::parse(question.image)
            .map_err(|error| Problem::new(Code::BadReference).fact("image", question.image).fact("found", error))?;
        let (number, collection) = self.collection_of(&image)?;
        let (loaded, fresh_until) = self.fresh(collection, now)?;
        let policy = self.policy.as_ref().map(|source| self.policy_at(source, now)).transpose()?;
        let generation = loaded.generation;
        let basis = Basis { collection: number, generation, policy: policy.as_ref().map_or(0, |policy| policy.epoch) };
        let limit = policy.as_ref().map_or(fresh_until, |policy| fresh_until.min(policy.until));
        let decided = self.caches.decided(&key, basis, now, limit, || {
            let verification = VerificationKey { collection: number, generation, image: Arc::clone(&key.image) };
            let verification = self.caches.verified(&verification, now, || self.verify(&loaded, &image));
            self.decided(&verification, policy.as_ref(), &key, basis, now)
        });
        match &decided.outcome {
            // Its top-level files are looked at above; a role that it rests on may have expired since.
            Outcome::Allowed(allowed) if decided.rests_until <= now => {
                let expired = loaded.view.expired(Some(&allowed.verified), now);
                Err(expired.unwrap_or_else(|| Problem::new(Code::RoleExpired).fact("image", &image)))
            }
            outcome => Ok(outcome.clone()),
        }
    }

    /// What was decided on the same words, if everything that it rests on is still the same and still holds. Whatever does
    /// not, is for the long way to tell.
    fn again(&self, key: &DecisionKey, now: UtcTime) -> Option<Outcome> {
        let known = self.caches.last(key)?;
        let loaded = self.collections.get(known.basis.collection)?.loaded()?;
        let fresh_until = self.usable_until(&loaded, now)?;
        let (policy, limit) = match &self.policy {
            None => (0, fresh_until),
            Some(source) => {
                let usable = self.policy_at(source, now).ok()?;
                (usable.epoch, fresh_until.min(usable.until))
            }
        };
        let is_same = known.basis.generation == loaded.generation && known.basis.policy == policy;
        match &known.outcome {
            _ if !is_same || known.is_over(now) => None,
            Outcome::Allowed(allowed) => {
                let holds = known.rests_until > now && allowed.until == known.until(limit);
                holds.then(|| known.outcome.clone())
            }
            Outcome::Denied(_) => Some(known.outcome.clone()),
        }
    }

    /// Until when a view may be used, if that is not over.
    fn usable_until(&self, loaded: &Loaded, now: UtcTime) -> Option<UtcTime> {
        let refreshed = loaded.view.refreshed();
        let until = refreshed.plus_secs(self.max_staleness).unwrap_or(refreshed).min(loaded.view.expires());
        (until > now).then_some(until)
    }

    /// The collection of an image: the longest pinned name that covers it, and no shorter one beside it.
    fn collection_of(&self, image: &Reference) -> Result<(usize, &Arc<Collection>), Problem> {
        let covers = |collection: &Arc<Collection>| target::covers(collection.name(), image.name());
        let found = self.collections.iter().enumerate().find(|(_, collection)| covers(collection));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.collections.iter().take(MAX_NAMED).map(|c| c.name()).collect();
            let more = self.collections.len().saturating_sub(MAX_NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            Problem::new(Code::NoPin)
                .fact("image", image)
                .fact("its name is", image.name())
                .fact("pinned are", format!("{}{more}", names.join(", ")))
                .remedy(["pin the root of the image's collection in the configuration of the gate"])
        })
    }

    /// The view of a collection and until when it may be used, if that is not over.
    fn fresh(&self, collection: &Collection, now: UtcTime) -> Result<(Arc<Loaded>, UtcTime), Problem> {
        let Some(loaded) = collection.loaded() else {
            let nothing = || Problem::new(Code::NothingStored).fact("collection", collection.name());
            return Err(collection.problem().map_or_else(nothing, |problem| (*problem).clone()));
        };
        if let Some(until) = self.usable_until(&loaded, now) {
            return Ok((loaded, until));
        }
        if let Some(expired) = loaded.view.expired(None, now) {
            return Err(self.with_refresh(collection, expired));
        }
        let refreshed = loaded.view.refreshed();
        let stale = refreshed.plus_secs(self.max_staleness).unwrap_or(refreshed);
        let overdue = Problem::new(Code::RefreshOverdue)
            .fact("collection", collection.name())
            .fact("refreshed", refreshed)
            .fact("allowed until", stale)
            .fact("now", now);
        Err(self.with_refresh(collection, overdue))
    }

    /// Says beside a problem what the last refresh failed with.
    #[expect(clippy::unused_self, reason = "reads better beside its callers")]
    fn with_refresh(&self, collection: &Collection, problem: Problem) -> Problem {
        match collection.problem() {
            Some(refresh) => problem.fact("last refresh", refresh),
            None => problem,
        }
    }

    /// The policy and until when it may be used, if that is not over.
    fn policy_at(&self, source: &PolicySource, now: UtcTime) -> Result<Usable, Problem> {
        let no_policy = || Problem::new(Code::NoPolicy).fact("policy collection", source.collection.name());
        let (_, fresh_until) = self.fresh(&source.collection, now).map_err(|problem| because(no_policy(), &problem))?;
        let usable = source.slot.usable(now)?;
        Ok(Usable { until: usable.until.min(fresh_until), ..usable })
    }

    fn verify(&self, loaded: &Loaded, image: &Reference) -> Result<Verification, Problem> {
        let verified = loaded.view.verify(image, &self.require, Meaning::DigestDecides)?;
        let no_time = || Problem::new(Code::Internal).fact("image", image).fact("expires", &verified.expires);
        let rests_until = UtcTime::parse(&verified.expires).ok_or_else(no_time)?;
        Ok(Verification { pinned: image.pinned(verified.digest), image: image.clone(), verified, rests_until })
    }

    /// The decision on a verification.
    fn decided(
        &self,
        verification: &Result<Arc<Verification>, Arc<Problem>>,
        policy: Option<&Usable>,
        key: &DecisionKey,
        basis: Basis,
        now: UtcTime,
    ) -> Decided {
        let verification = match verification {
            Ok(verification) => verification,
            Err(problem) => return Decided::refused(basis, Denied::new((**problem).clone()), now),
        };
        let Verification { image, verified, pinned, rests_until } = &**verification;
        let mut ends = None;
        let decision = match (policy, self.environments.list.get(key.environment)) {
            (None, _) => None,
            (Some(usable), Some(environment)) => {
                let subject = Subject {
                    reference: image.clone(),
                    digest: verified.digest,
                    collection: verified.collection.clone(),
                    signers: verified.counted_signers(),
                    conflicts: verified.conflicts.iter().map(|c| c.name.clone()).collect(),
                    tag_moved: verified.tag_moved,
                    root_version: verified.versions.root,
                    facts: verified.facts.clone(),
                };
                self.caches.count_evaluation();
                let decision = usable.in_force.policy.decide(environment, key.action, &subject, now.unix());
                let (decision, excepted_until) = usable.lifting.lift(decision, &subject, now);
                ends = excepted_until;
                Some(decision)
            }
            (Some(_), None) => return Decided::refused(basis, Denied::new(Problem::new(Code::Internal)), now),
        };
        if let Some(decision) = decision.as_ref().filter(|d| !d.allowed || !is_allow(d)) {
            let problem = problem_of(decision, verified);
            let (decision, digest) = (Some(decision.clone()), Some(verified.digest));
            let denied = Denied { problem, decision, digest, signers: names(verified) };
            return Decided::refused(basis, denied, now);
        }
        // Until when is said at each use, also at this first one.
        let allowed = Allowed::new(&key.image, verified.clone(), pinned.clone(), decision, now);
        Decided {
            basis,
            made: now,
            rests_until: *rests_until,
            reads_time: policy.is_some_and(|usable| usable.in_force.policy.reads_time()),
            ends,
            outcome: Outcome::Allowed(allowed.into()),
        }
    }

    /// What is signed of one canonical image name, for a list. Nothing may pass because it is here.
    pub fn entries(&self, name: &str) -> Vec<SignedEntry> {
        let collection = self.collections.iter().find(|c| target::covers(c.name(), name));
        collection.and_then(|c| c.loaded()).map(|loaded| loaded.view.entries(name)).unwrap_or_default()
    }

    /// The time of the clock that decisions are made by, believed or not.
    pub fn now(&self) -> UtcTime {
        self.watch.wall()
    }

    /// The head of the audit log that is kept in a state folder.
    pub fn kept_head(state: &std::path::Path) -> Result<crate::audit::Head, Problem> {
        log::kept(state)
    }

    /// How many of what was done since the start.
    pub fn counters(&self) -> Counters {
        let (verifications, evaluations) = self.caches.counts();
        let carried = self.carried;
        Counters {
            allowed: self.allowed.load(Ordering::Relaxed).saturating_add(carried.allowed),
            denied: self.denied.load(Ordering::Relaxed).saturating_add(carried.denied),
            verifications: verifications.saturating_add(carried.verifications),
            evaluations: evaluations.saturating_add(carried.evaluations),
        }
    }

    /// What it answered since the start, and how long that took.
    pub fn stats(&self) -> Stats {
        self.counts.now()
    }

    /// How this decider is.
    pub fn health(&self) -> Health {
        let now = self.watch.now();
        let collections: Vec<CollectionHealth> = self
            .collections
            .iter()
            .map(|collection| {
                let loaded = collection.loaded();
                CollectionHealth {
                    name: collection.name().to_owned(),
                    refreshed: loaded.as_ref().map(|loaded| loaded.view.refreshed()),
                    expires: loaded.as_ref().map(|loaded| loaded.view.expires()),
                    usable: matches!((&loaded, &now), (Some(loaded), Ok(now)) if self.usable_until(loaded, *now).is_some()),
                    problem: collection.problem().map(|problem| (*problem).clone()),
                }
            })
            .collect();
        let policy = self.policy.as_ref().map(|source| {
            let state = source.slot.state();
            let failing = state.failing.clone();
            let unusable = now.as_ref().ok().and_then(|now| self.policy_at(source, *now).err());
            PolicyHealth {
                identity: state.in_force.as_ref().map(|in_force| in_force.policy.identity().clone()),
                failing_since: failing.as_ref().map(|(since, _)| *since),
                problem: unusable.or(failing.map(|(_, problem)| problem)),
                exceptions: now.as_ref().map_or(0, |now| state.lifting.count(*now)),
                exceptions_problem: state.lifting.problem.clone(),
            }
        });
        let has_policy = policy.as_ref().is_none_or(|policy| policy.identity.is_some());
        let ready = has_policy && collections.iter().all(|collection| collection.refreshed.is_some());
        let log_problem = || self.log_problem.load().as_deref().cloned();
        let log = self.log.as_ref().map(|log| log.head().to_string());
        Health { ready, collections, policy, log, problem: now.err().or_else(log_problem) }
    }
}
