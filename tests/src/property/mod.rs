//! Property tests of the whole client: stories of a repository, its attackers and its clients, told by a number.
//!
//! A [`Story`] is a list of steps; each has a seed of its own, so that a step can be left out and the others stay as they
//! are. After every update two clients (the stages of `trust-tuf`, and the shipped reader on its folder) are compared with
//! [`plain::Plain`], which knows all keys, all signatures and no cryptography. Beside that comparison stand promises that
//! need no oracle: what nobody with power signed is not trusted, the same again gives the same, and a repository that is
//! good again is accepted again.

pub mod attacker;
pub mod dice;
pub mod plain;
pub mod scene;
pub(crate) mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dice::Dice;
use scene::Scene;
pub use steps::Step;

/// What happens, in order; each step with the seed of its choices.
#[derive(Debug, Clone)]
pub struct Story {
    seed: u64,
    steps: Vec<(Step, u64)>,
}

impl Story {
    /// The story of this seed. It ends with a repository that is good again.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let length = 6 + dice.below(14);
        let mut steps: Vec<(Step, u64)> = (0..length).map(|_| (Step::random(&mut dice), dice.roll())).collect();
        steps.push((Step::Recover, dice.roll()));
        Self { seed, steps }
    }

    /// Tells it. The promise that was broken, if one was; a panic counts as one.
    pub fn tell(&self) -> Result<(), String> {
        let told = catch_unwind(AssertUnwindSafe(|| {
            let mut scene = Scene::new(&mut Dice::new(self.seed));
            for (at, (step, seed)) in self.steps.iter().enumerate() {
                step.run(&mut scene, &mut Dice::new(*seed))
                    .map_err(|broken| format!("step {at} {step:?}: {broken}"))?;
            }
            Ok(())
        }));
        told.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        })
    }

    /// The same with every step left out that is not needed to break a promise.
    pub fn shortened(&self) -> Self {
        let mut best = self.clone();
        let mut at = 0;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.remove(at);
            if shorter.tell().is_err() {
                best = shorter;
            } else {
                at += 1;
            }
        }
        best
    }
}

/// Tells the story that these bytes choose, step by step. Panics if a promise is broken.
pub fn tell_bytes(bytes: &[u8]) {
    /// A longer story says nothing new.
    const STEPS: usize = 24;
    let mut dice = Dice::of_bytes(bytes);
    let mut scene = Scene::new(&mut dice);
    let mut steps = Vec::new();
    while !dice.is_empty() && steps.len() < STEPS {
        let step = Step::random(&mut dice);
        steps.push(step);
        step.run(&mut scene, &mut dice).unwrap_or_else(|broken| panic!("{broken}\n{steps:?}"));
    }
    Step::Recover.run(&mut scene, &mut dice).unwrap_or_else(|broken| panic!("at the end: {broken}\n{steps:?}"));
}

/// Tells the story of each seed. A broken promise fails with the seed, the shortest story and what is broken.
pub fn check(seeds: impl IntoIterator<Item = u64>) -> usize {
    let mut told = 0;
    for seed in seeds {
        let story = Story::of(seed);
        if let Err(broken) = story.tell() {
            let short = story.shortened();
            let again = short.tell().err().unwrap_or_default();
            panic!("seed {seed}: {broken}\nshortest: {again}\n{:#?}", short.steps);
        }
        told += 1;
    }
    told
}
