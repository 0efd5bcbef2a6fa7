//! The policy in force: from the one role of the policy collection, all or nothing.
//!
//! A policy that is there, verified, and does not load (a rule is wrong) never replaces one that did. The old one goes on
//! for [`BAD_POLICY_GRACE`], and says so at every refresh; then everything is denied. Contents that cannot be had are no
//! such policy: that refresh failed, and counts against `max_staleness`. That an older policy cannot
//! come back is the version of the role's file, which the reader guards. Deliberately absent: what rules mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use trust_policy::{Policy, PolicyIdentity, Source};
use trust_reader::catalogue::Code;
use trust_reader::reserved::ReservedSet;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

/// How long the last good policy serves when a new one does not load, in seconds.
pub const BAD_POLICY_GRACE: i64 = 24 * 3_600;

/// `_policy` and `_labels` of the policy collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) policy: ReservedSet,
    pub(crate) labels: ReservedSet,
}

/// A policy that loaded.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) policy: Policy,
    /// Another number for every policy that came into force: what decisions are cached by.
    pub(crate) epoch: u64,
    /// The first of the expiries of the roles that it came from, and which role that is.
    pub(crate) expires: UtcTime,
    pub(crate) expires_first: String,
    sets: Sets,
}

/// What is in force, and what stands in the way of a newer one.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) in_force: Option<Arc<InForce>>,
    /// Since when the newest one does not load, and why.
    pub(crate) failing: Option<(UtcTime, Problem)>,
}

/// The place of the policy. Written by the refresh of the policy collection alone.
#[derive(Debug)]
pub(crate) struct PolicySlot {
    collection: String,
    state: ArcSwap<State>,
    epochs: AtomicU64,
}

impl PolicySlot {
    pub(crate) fn new(collection: &str) -> Self {
        Self { collection: collection.to_owned(), state: ArcSwap::default(), epochs: AtomicU64::new(1) }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Takes what a refresh found.
    pub(crate) fn take(&self, found: Result<Sets, Problem>, now: UtcTime) {
        let before = self.state();
        if let (Ok(sets), Some(in_force)) = (&found, &before.in_force)
            && *sets == in_force.sets
        {
            if before.failing.is_some() {
                tracing::info!(collection = self.collection, "the policy in force is the newest one again");
                self.state.store(State { in_force: before.in_force.clone(), failing: None }.into());
            }
            return;
        }
        let state = match found.and_then(|sets| self.load(sets)) {
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
                State { in_force: Some(in_force.into()), failing: None }
            }
            Err(problem) => {
                let since = before.failing.as_ref().map_or(now, |(since, _)| *since);
                let line = crate::answer::problem_line(&problem);
                tracing::error!(collection = self.collection, "the newest policy does not load: {line}");
                State { in_force: before.in_force.clone(), failing: Some((since, problem)) }
            }
        };
        self.state.store(state.into());
    }

    fn load(&self, sets: Sets) -> Result<InForce, Problem> {
        let source = |(path, bytes): &(String, bytes::Bytes)| Source { path: path.clone(), bytes: bytes.to_vec() };
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
            signed_by: sets.policy.signed_by.iter().map(|id| format!("key {}", id.get(..12).unwrap_or(id))).collect(),
        };
        let refused = |error: &dyn std::fmt::Display| {
            let version = format!("{} v{}", sets.policy.role, sets.policy.version);
            self.problem(Code::PolicyRefused).fact("role", version).fact("found", error)
        };
        let policy = Policy::load(&sources, identity).map_err(|error| refused(&error))?;
        let [policy_role, labels_role] = [&sets.policy, &sets.labels].map(|set| (set.expires, set.role.clone()));
        let (expires, expires_first) = policy_role.min(labels_role);
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        Ok(InForce { policy, epoch, expires, expires_first, sets })
    }

    fn problem(&self, code: Code) -> Problem {
        Problem::new(code).fact("policy collection", &self.collection)
    }

    /// The policy to decide by at `now`, and until when it may be; what else the policy collection rests on is looked at by
    /// the caller.
    pub(crate) fn usable(&self, now: UtcTime) -> Result<(Arc<InForce>, UtcTime), Problem> {
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
        Ok((Arc::clone(in_force), until))
    }
}

/// Names another problem as what was found.
pub(crate) fn because(problem: Problem, cause: &Problem) -> Problem {
    let problem = problem.fact("found", cause);
    let facts = cause.facts.iter().filter(|(label, _)| label != "policy collection").take(4);
    facts.fold(problem, |problem, (label, value)| problem.fact(label, value))
}

#[cfg(test)]
mod tests;
