//! What was verified and decided, with everything that it depends on.
//!
//! One maker for each key, however many ask at once. A refusal is used for [`REFUSAL_LIFE`] seconds at most, one that is
//! about the network not at all, and a decision of rules that read the time for [`TIMED_LIFE`]. A decision is found by the
//! words of its question, before the image's name is even read, and says which view and policy it rests on: where one of
//! them was replaced it is made anew. Verifications of views that were replaced have other keys and are left to fade.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use trust_image::Reference;
use trust_policy::Action;
use trust_reader::catalogue::exit;
use trust_reader::verdict::Problem;
use trust_reader::verify::VerifiedImage;
use trust_tuf::UtcTime;

use crate::answer::{Denied, Outcome};

/// How long a refusal is used, in seconds.
pub(crate) const REFUSAL_LIFE: i64 = 5;
/// How long a decision of rules that read the time is used, in seconds.
pub(crate) const TIMED_LIFE: i64 = 60;
/// Verifications and decisions that are kept, each.
const ENTRIES: u64 = 8_192;
/// What nobody asks for is dropped after this.
const IDLE: Duration = Duration::from_secs(1_800);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct VerificationKey {
    pub(super) collection: usize,
    pub(super) generation: u64,
    /// As it was given: two spellings are two keys with equal answers.
    pub(super) image: Arc<str>,
}

/// The words of a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DecisionKey {
    /// As it was given: two spellings are two keys with equal answers.
    pub(super) image: Arc<str>,
    pub(super) environment: usize,
    pub(super) action: Action,
}

/// What a decision was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Basis {
    /// The place of the collection that covers the image.
    pub(super) collection: usize,
    /// The number of its view.
    pub(super) generation: u64,
    /// The number of policy and exceptions; 0: signatures alone.
    pub(super) policy: u64,
}

/// An image that was verified.
#[derive(Debug)]
pub(super) struct Verification {
    pub(super) image: Reference,
    pub(super) pinned: Reference,
    pub(super) verified: VerifiedImage,
    /// The first of all expiries that it rests on.
    pub(super) rests_until: UtcTime,
}

#[derive(Debug, Clone)]
struct Verified {
    made: UtcTime,
    result: Result<Arc<Verification>, Arc<Problem>>,
}

/// A decision.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) basis: Basis,
    pub(super) made: UtcTime,
    /// The first of the expiries that the verification rests on. Not what a refresh moves: that is compared at each use.
    pub(super) rests_until: UtcTime,
    pub(super) reads_time: bool,
    /// When the exception that allows it ends.
    pub(super) ends: Option<UtcTime>,
    pub(super) outcome: Outcome,
}

impl Decided {
    pub(super) fn refused(basis: Basis, denied: Denied, now: UtcTime) -> Self {
        Self {
            basis,
            made: now,
            rests_until: now,
            reads_time: false,
            ends: None,
            outcome: Outcome::Denied(denied.into()),
        }
    }

    /// The first second at which an allow does not hold any more. `limit`: until when views and policy may be used.
    pub(super) fn until(&self, limit: UtcTime) -> UtcTime {
        let timed = if self.reads_time { self.made.plus_secs(TIMED_LIFE) } else { None };
        [timed, self.ends].into_iter().flatten().fold(limit.min(self.rests_until), UtcTime::min)
    }

    pub(super) fn is_over(&self, now: UtcTime) -> bool {
        match &self.outcome {
            Outcome::Denied(denied) => is_refusal_over(&denied.problem, self.made, now),
            // One whose role has expired stays: it is refused at its use, with the name of what expired.
            // One by an exception that has ended is decided anew.
            Outcome::Allowed(_) => {
                (self.reads_time && !is_within(self.made, now, TIMED_LIFE)) || self.ends.is_some_and(|ends| ends <= now)
            }
        }
    }
}

/// Whether `now` is less than `life` seconds after `made`. A clock that went back a little makes what was made anew.
fn is_within(made: UtcTime, now: UtcTime, life: i64) -> bool {
    (0..life).contains(&now.secs_since(made))
}

fn is_refusal_over(problem: &Problem, made: UtcTime, now: UtcTime) -> bool {
    let is_transient = matches!(
        problem.exit(),
        exit::INTERNAL
            | exit::NETWORK
            | exit::FORBIDDEN
            | exit::CONFLICT
            | exit::RATE_LIMITED
            | exit::UNAVAILABLE
            | exit::LOCAL
    );
    is_transient || !is_within(made, now, REFUSAL_LIFE)
}

/// The caches.
#[derive(Debug)]
pub(super) struct Caches {
    verified: Cache<VerificationKey, Verified>,
    decided: Cache<DecisionKey, Decided>,
    verifications: AtomicU64,
    evaluations: AtomicU64,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            verified: Cache::builder().max_capacity(ENTRIES).time_to_idle(IDLE).build(),
            decided: Cache::builder().max_capacity(ENTRIES).time_to_idle(IDLE).build(),
            verifications: AtomicU64::new(0),
            evaluations: AtomicU64::new(0),
        }
    }
}

impl Caches {
    /// The verification, made if it is not here.
    pub(super) fn verified(
        &self,
        key: &VerificationKey,
        now: UtcTime,
        make: impl FnOnce() -> Result<Verification, Problem>,
    ) -> Result<Arc<Verification>, Arc<Problem>> {
        let is_over =
            |known: &Verified| known.result.as_ref().is_err_and(|problem| is_refusal_over(problem, known.made, now));
        let made = || {
            self.verifications.fetch_add(1, Ordering::Relaxed);
            Verified { made: now, result: make().map(Arc::new).map_err(Arc::new) }
        };
        self.verified.entry_by_ref(key).or_insert_with_if(made, is_over).into_value().result
    }

    /// The decision that was made last, whether it still holds or not.
    pub(super) fn last(&self, key: &DecisionKey) -> Option<Decided> {
        self.decided.get(key)
    }

    /// The decision, made if it is not here. `limit` is until when views and policy may be used now: an allow says the
    /// earlier one of it and what it rests on.
    pub(super) fn decided(
        &self,
        key: &DecisionKey,
        basis: Basis,
        now: UtcTime,
        limit: UtcTime,
        make: impl FnOnce() -> Decided,
    ) -> Decided {
        let is_over = |known: &Decided| known.basis != basis || known.is_over(now);
        let decided = self.decided.entry_by_ref(key).or_insert_with_if(make, is_over).into_value();
        match &decided.outcome {
            // A refresh has moved the limit.
            Outcome::Allowed(allowed) if allowed.until != decided.until(limit) => {
                let allowed = allowed.lasting(decided.until(limit));
                let decided = Decided { outcome: Outcome::Allowed(allowed.into()), ..decided };
                self.decided.insert(key.clone(), decided.clone());
                decided
            }
            _ => decided,
        }
    }

    pub(super) fn count_evaluation(&self) {
        self.evaluations.fetch_add(1, Ordering::Relaxed);
    }

    /// Verifications and evaluations so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.verifications.load(Ordering::Relaxed), self.evaluations.load(Ordering::Relaxed))
    }
}
