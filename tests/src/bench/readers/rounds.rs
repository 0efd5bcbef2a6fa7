//! Contestants in turns: each round lets every one do a few operations, forwards and backwards in turn, so that all see
//! the same machine.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::contestants::{Contestant, Moment};
use super::worker::{Programs, Worker};
use crate::bench::Rounds;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds.
    pub rounds: usize,
    /// Rounds of whoever takes more than [`SLOW`] for one operation.
    pub slow_rounds: usize,
    /// How long the operations of one contestant in one round take together, about.
    pub turn: Duration,
}

/// From here on an operation is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Operations of one turn at most.
const MOST: u32 = 20_000;

/// What one contestant took.
pub struct Measured {
    /// Who.
    pub who: Contestant,
    /// Times of an operation.
    pub times: Rounds,
    /// Peak memory of its process, in bytes.
    pub peak: u64,
    /// Operations in all rounds together.
    pub operations: u32,
}

/// A contestant, or why it does not take part.
pub type Result = std::result::Result<Measured, (Contestant, String)>;

/// One repository at one moment.
pub struct Race<'a> {
    /// How contestants are started.
    pub programs: &'a Programs,
    /// The repository.
    pub folder: &'a Path,
    /// The address under which it is served.
    pub base: &'a str,
    /// A folder for their states.
    pub scratch: &'a Path,
    /// How much is measured.
    pub effort: Effort,
}

struct Runner {
    worker: Worker,
    measured: Measured,
    per_turn: u32,
    turns: usize,
}

impl Race<'_> {
    /// Measures. Who cannot read the repository is told with its reason, and the others go on.
    pub fn run(&self, moment: Moment, all: &[Contestant]) -> Vec<Result> {
        let mut runners: Vec<std::result::Result<Runner, (Contestant, String)>> =
            all.iter().map(|who| self.start(moment, *who).map_err(|e| (*who, e.to_string()))).collect();
        for round in 0..self.effort.rounds {
            let forwards = 0..runners.len();
            let order: Vec<usize> = if round % 2 == 0 { forwards.collect() } else { forwards.rev().collect() };
            for place in order {
                let Some(Ok(runner)) = runners.get_mut(place) else { continue };
                if runner.turns == 0 {
                    continue;
                }
                if let Err(error) = runner.turn()
                    && let Some(place) = runners.get_mut(place)
                    && let Ok(runner) = place
                {
                    *place = Err((runner.measured.who, error.to_string()));
                }
            }
        }
        let peak = |runner: std::result::Result<Runner, _>| {
            let mut runner = runner?;
            let who = runner.measured.who;
            let peak = runner.worker.peak().map_err(|e| (who, e.to_string()))?;
            Ok(Measured { peak, ..runner.measured })
        };
        runners.into_iter().map(peak).collect()
    }

    fn start(&self, moment: Moment, who: Contestant) -> io::Result<Runner> {
        let state = tempfile::tempdir_in(self.scratch)?.keep();
        let mut worker = Worker::start(self.programs, who, moment, self.folder, &state, self.base)?;
        // The first one warms up, the second one says how many fit into a turn.
        let (first, _) = worker.run(1)?;
        let (one, _) = if first < SLOW { worker.run(1)? } else { (first, first) };
        let fit = self.effort.turn.as_nanos() / one.as_nanos().max(1);
        Ok(Runner {
            worker,
            measured: Measured { who, times: Rounds::default(), peak: 0, operations: 0 },
            per_turn: u32::try_from(fit).unwrap_or(MOST).clamp(1, MOST),
            turns: if one < SLOW { self.effort.rounds } else { self.effort.slow_rounds },
        })
    }
}

impl Runner {
    fn turn(&mut self) -> io::Result<()> {
        let (wall, cpu) = self.worker.run(self.per_turn)?;
        self.measured.times.wall.push(wall / self.per_turn);
        self.measured.times.cpu.push(cpu / self.per_turn);
        self.measured.operations += self.per_turn;
        self.turns -= 1;
        Ok(())
    }
}
