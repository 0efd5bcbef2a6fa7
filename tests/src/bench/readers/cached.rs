//! A verdict that was reached before: the question to the decider of the gates, beside one look into a map.
//!
//! The decider is the real one with policy and the machine's clock: every question compares the deadlines of all that its
//! answer rests on. Left out is the log alone, which is not the verdict.

use std::collections::HashMap;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};

use trust_decide::{Decider, Mode, Question, SystemClock};
use trust_policy::Action;

use super::worker::Work;
use crate::bench::signed::{decider, image, repositories};

/// The question to a decider that has answered it before.
pub struct Cached {
    decider: Arc<Decider>,
    image: String,
}

impl Cached {
    pub(super) fn new(state: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(state)?;
        let runtime = super::ours::runtime()?;
        let (pay, policy) = repositories()?;
        let clock = Arc::new(SystemClock::new());
        let decider = runtime.block_on(decider(state, &pay, &policy, clock, None))?;
        Ok(Self { decider, image: image(7) })
    }
}

impl Work for Cached {
    fn operate(&mut self) -> Result<(), String> {
        let question = Question {
            image: &self.image,
            namespace: Some("shop"),
            action: Action::Deploy,
            door: "bench",
            whom: "bench",
            dry_run: false,
            mode: Mode::Enforce,
            digest_only: false,
        };
        let answer = self.decider.decide(&question);
        answer.is_allowed().then_some(()).ok_or_else(|| format!("{answer:?}"))
    }
}

/// A map behind a lock that many may read, and the wanted answer shared out of it.
pub struct Map {
    answers: RwLock<HashMap<String, Arc<u64>>>,
    image: String,
}

impl Map {
    pub(super) fn new() -> Self {
        let answers = (1..=10).map(|n| (image(n), Arc::new(u64::from(n)))).collect();
        Self { answers: RwLock::new(answers), image: image(7) }
    }
}

impl Work for Map {
    fn operate(&mut self) -> Result<(), String> {
        let answers = self.answers.read().map_err(|e| e.to_string())?;
        black_box(answers.get(&self.image).cloned()).map(drop).ok_or_else(|| "not found".to_owned())
    }
}
