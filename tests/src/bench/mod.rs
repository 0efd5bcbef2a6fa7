//! Measuring: each figure beside a floor or a peer of the same run, interleaved, with median and worst, in wall and CPU
//! time. Deliberately absent: verdicts. A missed goal is a word in the table, never a failure.

pub mod admission;
pub mod blobs;
pub mod chain;
pub mod cold;
pub mod commands;
pub mod decisions;
mod kept;
pub mod nothing;
pub mod policy;
pub mod process;
pub mod publication;
pub mod readers;
pub mod registry_gate;
pub mod report;
mod reviews;
pub mod rig;
mod signed;
mod steady;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread so far.
fn cpu_now() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// What one case took, per operation, over all rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl Rounds {
    /// Median CPU time of an operation.
    pub fn cpu(&self) -> Duration {
        median(&self.cpu)
    }

    /// Median wall time of an operation.
    pub fn wall(&self) -> Duration {
        median(&self.wall)
    }

    /// Worst round, wall time of an operation.
    pub fn worst(&self) -> Duration {
        self.wall.iter().max().copied().unwrap_or_default()
    }

    /// Runs one round.
    pub fn round(&mut self, operations: u32, mut operation: impl FnMut()) {
        let (wall, cpu) = (Instant::now(), cpu_now());
        for _ in 0..operations {
            operation();
        }
        self.cpu.push(cpu_now().saturating_sub(cpu) / operations.max(1));
        self.wall.push(wall.elapsed() / operations.max(1));
    }
}

/// Two cases in turn, so that both see the same machine.
pub fn beside(rounds: usize, operations: u32, mut ours: impl FnMut(), mut floor: impl FnMut()) -> (Rounds, Rounds) {
    let (mut a, mut b) = (Rounds::default(), Rounds::default());
    ours();
    floor();
    for _ in 0..rounds {
        a.round(operations, &mut ours);
        b.round(operations, &mut floor);
    }
    (a, b)
}

/// `a / b`.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(f64::MIN_POSITIVE)
}
