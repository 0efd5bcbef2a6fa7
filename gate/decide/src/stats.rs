//! What a decider has done since its start, for metrics.
//!
//! Invariant: counting waits for nobody for long and keeps a bounded number of values: by what was answered, by the id of the
//! reason, by duration. Deliberately absent: images, namespaces and people, which are in the audit log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::answer::{Answer, Mode, Outcome, Question};

/// What doors answer.
pub const ANSWERS: [&str; 4] = ["allow", "deny", "warn", "audit"];
/// Upper ends of the buckets of durations, in microseconds.
pub const BUCKETS: [u64; 10] = [5, 10, 25, 50, 100, 250, 1_000, 10_000, 100_000, 1_000_000];

/// Counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    answers: [AtomicU64; ANSWERS.len()],
    dry_runs: AtomicU64,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
    trials: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    excepted: AtomicU64,
    unlogged: AtomicU64,
    durations: [AtomicU64; BUCKETS.len()],
    longer: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers, in the order of [`ANSWERS`]; without dry runs.
    pub answers: [u64; ANSWERS.len()],
    /// Questions of which nothing could come.
    pub dry_runs: u64,
    /// Denials by the id of their reason, whatever the door made of them.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Decisions that rules in trial would change, by their mode and what it would be (`allow`, `deny`).
    pub trials: BTreeMap<(&'static str, &'static str), u64>,
    /// Allows by an exception.
    pub excepted: u64,
    /// Denials because the log could not be written.
    pub unlogged: u64,
    /// Decisions by duration: those of each of [`BUCKETS`], then longer ones.
    pub durations: [u64; BUCKETS.len() + 1],
    /// What all of them took.
    pub time: Duration,
}

/// What is counted of one answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) took: Duration,
    pub(crate) dry_run: bool,
    pub(crate) mode: Mode,
    /// The id of the reason of a denial; `None` for an allow.
    pub(crate) reason: Option<&'static str>,
    excepted: bool,
    trials: Vec<(&'static str, &'static str)>,
}

impl Tally {
    pub(crate) fn of(question: &Question<'_>, answer: &Answer, took: Duration) -> Self {
        let decision = answer.decision();
        let trials = decision.into_iter().flat_map(|decision| &decision.trials);
        let word = |allowed| if allowed { "allow" } else { "deny" };
        Self {
            took,
            dry_run: question.dry_run,
            mode: question.mode,
            reason: match &answer.outcome {
                Outcome::Allowed(_) => None,
                Outcome::Denied(denied) => Some(denied.problem.id()),
            },
            excepted: decision.is_some_and(|decision| decision.exception.is_some()),
            trials: trials.map(|trial| (trial.mode.as_str(), word(trial.allowed))).collect(),
        }
    }

    /// The same answer, withheld for this reason.
    pub(crate) fn refused(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), excepted: false, trials: Vec::new(), ..self }
    }
}

impl Counts {
    pub(crate) fn add(&self, tally: &Tally) {
        let one = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let micros = u64::try_from(tally.took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().zip(&self.durations).find(|(end, _)| micros <= **end);
        one(bucket.map_or(&self.longer, |(_, counter)| counter));
        self.nanoseconds.fetch_add(u64::try_from(tally.took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if tally.dry_run {
            return one(&self.dry_runs);
        }
        let word = answered(tally.reason.is_none(), tally.mode);
        for (_, counter) in ANSWERS.iter().zip(&self.answers).filter(|(known, _)| **known == word) {
            one(counter);
        }
        if let Some(reason) = tally.reason {
            more(&self.reasons, reason);
        }
        if tally.excepted && tally.reason.is_none() {
            one(&self.excepted);
        }
        for trial in &tally.trials {
            more(&self.trials, *trial);
        }
    }

    pub(crate) fn unlogged(&self) {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut durations = [0; BUCKETS.len() + 1];
        for (to, from) in durations.iter_mut().zip(self.durations.iter().chain([&self.longer])) {
            *to = of(from);
        }
        Stats {
            answers: self.answers.each_ref().map(of),
            dry_runs: of(&self.dry_runs),
            reasons: self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            trials: self.trials.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            excepted: of(&self.excepted),
            unlogged: of(&self.unlogged),
            durations,
            time: Duration::from_nanos(of(&self.nanoseconds)),
        }
    }
}

/// What a door answers.
pub(crate) const fn answered(is_allowed: bool, mode: Mode) -> &'static str {
    match (is_allowed, mode) {
        (true, _) => "allow",
        (false, Mode::Enforce) => "deny",
        (false, Mode::Warn) => "warn",
        (false, Mode::Audit) => "audit",
    }
}

fn more<K: Ord>(counts: &Mutex<BTreeMap<K, u64>>, key: K) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}
