//! The policy in force: from the one role of the policy collection, all or nothing.
//!
//! A policy that is there, verified, and does not load (a rule is wrong) never replaces one that did. The old one goes on
//! for [`BAD_POLICY_GRACE`], and says so at every refresh; then everything is denied. Contents that cannot be had are no
//! such policy: that refresh failed, and counts against `max_staleness`. That an older policy cannot
//! come back is the version of the role's file, which the reader guards. Exceptions stand beside it: a new set of them counts
//! also while a new policy does not load, and what is wrong with them lifts nothing and stops nothing. Deliberately absent:
//! what rules mean.

use std::sync::Arc;

use arc_swap::ArcSwap;
use trust_policy::{Decision, Exception, Exceptions, Policy, PolicyIdentity, Source, Subject};
use trust_reader::catalogue::Code;
use trust_reader::reserved::ReservedSet;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

/// How long the last good policy serves when a new one does not load, in seconds.
pub const BAD_POLICY_GRACE: i64 = 24 * 3_600;

/// Exceptions that do not read and are told.
const MAX_TOLD: usize = 4;

/// Since when the newest policy does not load, and why.
type Failing = Option<(UtcTime, Problem)>;

/// `_policy` and `_labels` of the policy collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) policy: ReservedSet,
    pub(crate) labels: ReservedSet,
}

/// What a refresh of the policy collection found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rules: Result<Sets, Problem>,
    /// `_exceptions`. What cannot be had lifts nothing, and holds up nothing else.
    pub(crate) exceptions: Result<ReservedSet, Problem>,
}

/// A policy that loaded.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) policy: Policy,
    /// The first of the expiries of the roles that it came from, and which role that is.
    pub(crate) expires: UtcTime,
    pub(crate) expires_first: String,
    sets: Sets,
}

/// The exceptions in force, each with an end of its own.
#[derive(Debug, Default)]
pub(crate) struct Lifting {
    exceptions: Exceptions,
    /// What they came from, with the expiry of its role: after it none holds.
    set: Option<ReservedSet>,
    /// What could not be had, or what did not read.
    pub(crate) problem: Option<Problem>,
}

impl Lifting {
    /// The decision, allowed if an exception lifts its denial, and then until when.
    pub(crate) fn lift(&self, decision: Decision, subject: &Subject, now: UtcTime) -> (Decision, Option<UtcTime>) {
        let Some(expires) = self.set.as_ref().map(|set| set.expires).filter(|expires| now < *expires) else {
            return (decision, None);
        };
        let lifted = self.exceptions.lift(decision, subject, now.unix());
        let ends = lifted.exception.as_ref().map(|used| UtcTime::parse(&used.expires).unwrap_or(now).min(expires));
        (lifted, ends)
    }

    /// How many hold at this moment.
    pub(crate) fn count(&self, now: UtcTime) -> usize {
        match &self.set {
            Some(set) if now < set.expires => self.exceptions.in_force(now.unix()).count(),
            _ => 0,
        }
    }
}

/// What is in force, and what stands in the way of a newer one.
#[derive(Debug, Default, Clone)]
pub(crate) struct State {
    pub(crate) in_force: Option<Arc<InForce>>,
    pub(crate) failing: Failing,
    pub(crate) lifting: Arc<Lifting>,
    /// Another number for all rules and exceptions that came into force: what decisions are cached by.
    epoch: u64,
}

/// What decides now.
#[derive(Debug)]
pub(crate) struct Usable {
    pub(crate) in_force: Arc<InForce>,
    pub(crate) lifting: Arc<Lifting>,
    pub(crate) epoch: u64,
    /// Until when it may, as far as the policy collection's own roles say.
    pub(crate) until: UtcTime,
}

/// The place of the policy. Written by the refresh of the policy collection alone.
#[derive(Debug)]
pub(crate) struct PolicySlot {
    collection: String,
    state: ArcSwap<State>,
}

impl PolicySlot {
    pub(crate) fn new(collection: &str) -> Self {
        Self { collection: collection.to_owned(), state: ArcSwap::default() }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Takes what a refresh found.
    pub(crate) fn take(&self, found: Found, now: UtcTime) {
        let before = self.state();
        let lifting = self.lifting(found.exceptions, &before.lifting, now);
        let (in_force, failing) = self.rules(found.rules, &before, now);
        let is_same_policy = match (&in_force, &before.in_force) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        let is_same = is_same_policy && Arc::ptr_eq(&lifting, &before.lifting);
        let epoch = if is_same { before.epoch } else { before.epoch.wrapping_add(1).max(1) };
        self.state.store(State { in_force, failing, lifting, epoch }.into());
    }

    /// The policy to decide by, and what stands in the way of a newer one.
    fn rules(&self, found: Result<Sets, Problem>, before: &State, now: UtcTime) -> (Option<Arc<InForce>>, Failing) {
        if let (Ok(sets), Some(in_force)) = (&found, &before.in_force)
            && *sets == in_force.sets
        {
            if before.failing.is_some() {
                tracing::info!(collection = self.collection, "the policy in force is the newest one again");
            }
            return (before.in_force.clone(), None);
        }
        match found.and_then(|sets| self.load(sets)) {
            Ok(in_force) => {
                let identity = in_force.policy.identity();
                tracing::info!(
                    collection = self.collection,
                    version = identity.version,
                    digest = identity.digest,
                    "a policy is in force"
                );
                for warning in in_force.policy.warnings() {
                    tracing::warn!(collection = self.collection, "policy: {warning}");
                }
                (Some(in_force.into()), None)
            }
            Err(problem) => {
                let since = before.failing.as_ref().map_or(now, |(since, _)| *since);
                let line = crate::answer::problem_line(&problem);
                tracing::error!(collection = self.collection, "the newest policy does not load: {line}");
                (before.in_force.clone(), Some((since, problem)))
            }
        }
    }

    /// The exceptions; the same value as before where they are the same.
    fn lifting(&self, found: Result<ReservedSet, Problem>, before: &Arc<Lifting>, now: UtcTime) -> Arc<Lifting> {
        let told = |problem: &Problem| {
            let line = crate::answer::problem_line(problem);
            tracing::error!(collection = self.collection, "exceptions: {line}");
        };
        let set = match found {
            Ok(set) => set,
            Err(problem) => {
                told(&problem);
                return Lifting { problem: Some(problem), ..Lifting::default() }.into();
            }
        };
        if before.set.as_ref() == Some(&set) && before.problem.is_none() {
            return Arc::clone(before);
        }
        let sources: Vec<Source> = set.entries.iter().map(source).collect();
        let (exceptions, mut refused) = Exceptions::read(&sources, &signed_by(&set));
        // Whoever holds the key for an hour could sign for a year, seven days at a time: that is told before it holds.
        refused.extend(exceptions.iter().filter(|exception| exception.is_to_come(now.unix())).map(|exception| {
            let (path, granted) = (Exception::path_of(exception.id()), &exception.file().granted);
            format!("{path}: it was signed in advance, and is to hold from {granted}")
        }));
        let problem = refused.first().map(|first| {
            let problem = self.problem(Code::ExceptionRefused).fact("role", format!("{} v{}", set.role, set.version));
            refused.iter().skip(1).take(MAX_TOLD).fold(problem.fact("found", first), |p, told| p.fact("found", told))
        });
        problem.iter().for_each(told);
        for exception in exceptions.iter() {
            let file = exception.file();
            tracing::warn!(
                collection = self.collection,
                exception = exception.id(),
                image = file.image,
                environment = file.environment,
                expires = file.expires,
                "an exception is signed"
            );
        }
        Lifting { exceptions, set: Some(set), problem }.into()
    }

    fn load(&self, sets: Sets) -> Result<InForce, Problem> {
        if sets.policy.entries.is_empty() {
            let found = format!("role {} v{} lists no file of a policy", sets.policy.role, sets.policy.version);
            return Err(self.problem(Code::NoPolicy).fact("found", found));
        }
        let sources: Vec<Source> = sets.policy.entries.iter().chain(&sets.labels.entries).map(source).collect();
        let identity = PolicyIdentity {
            collection: self.collection.clone(),
            version: sets.policy.version,
            // Over all sources: the policy computes it.
            digest: String::new(),
            signed_by: signed_by(&sets.policy),
        };
        let refused = |error: &dyn std::fmt::Display| {
            let version = format!("{} v{}", sets.policy.role, sets.policy.version);
            self.problem(Code::PolicyRefused).fact("role", version).fact("found", error)
        };
        let policy = Policy::load(&sources, identity).map_err(|error| refused(&error))?;
        let [policy_role, labels_role] = [&sets.policy, &sets.labels].map(|set| (set.expires, set.role.clone()));
        let (expires, expires_first) = policy_role.min(labels_role);
        Ok(InForce { policy, expires, expires_first, sets })
    }

    fn problem(&self, code: Code) -> Problem {
        Problem::new(code).fact("policy collection", &self.collection)
    }

    /// The policy to decide by at `now`, and until when it may be; what else the policy collection rests on is looked at by
    /// the caller.
    pub(crate) fn usable(&self, now: UtcTime) -> Result<Usable, Problem> {
        let state = self.state.load();
        let Some(in_force) = &state.in_force else {
            let problem = self.problem(Code::NoPolicy);
            return Err(match &state.failing {
                Some((_, cause)) => because(problem, cause),
                None => problem.fact("found", "none was loaded yet"),
            });
        };
        let mut until = in_force.expires;
        if until <= now {
            return Err(self
                .problem(Code::NoPolicy)
                .fact("role", &in_force.expires_first)
                .fact("expired", until)
                .fact("now", now)
                .cause("the role file that the policy in force came from has expired"));
        }
        if let Some((since, cause)) = &state.failing {
            let grace = since.plus_secs(BAD_POLICY_GRACE).unwrap_or(*since);
            if grace <= now {
                let problem = self.problem(Code::NoPolicy).fact("newest one fails since", since).fact("now", now);
                let why = "the newest policy does not load, and the last good one served for 24 hours";
                return Err(because(problem, cause).cause(why));
            }
            until = until.min(grace);
        }
        let (in_force, lifting) = (Arc::clone(in_force), Arc::clone(&state.lifting));
        Ok(Usable { in_force, lifting, epoch: state.epoch, until })
    }
}

fn source((path, bytes): &(String, bytes::Bytes)) -> Source {
    Source { path: path.clone(), bytes: bytes.to_vec() }
}

/// Whose signatures counted, for people.
fn signed_by(set: &ReservedSet) -> Vec<String> {
    set.signed_by.iter().map(|id| format!("key {}", id.get(..12).unwrap_or(id))).collect()
}

/// Names another problem as what was found.
pub(crate) fn because(problem: Problem, cause: &Problem) -> Problem {
    let problem = problem.fact("found", cause);
    let facts = cause.facts.iter().filter(|(label, _)| label != "policy collection").take(4);
    facts.fold(problem, |problem, (label, value)| problem.fact(label, value))
}

#[cfg(test)]
mod tests;
