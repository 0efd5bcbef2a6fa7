//! A program's run from outside: wall time from its start to its end, CPU time and peak memory as the kernel counted them.
//!
//! The kernel counts for all ended children of a process together, and a child begins with the peak memory of its parent.
//! So each run is the only child of a small process of its own: the benchmark started again with [`ONCE`].

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::median;
use crate::stack::run;

/// The first argument of a benchmark that measures one run: `trust-bench --once PROGRAM ARGUMENT…`.
pub const ONCE: &str = "--once";

/// The first argument of a benchmark that draws random bytes from aws-lc-rs, as every TLS connection does, and ends.
pub const RANDOM: &str = "--random";

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From before its start until it was waited for.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Peak resident memory in bytes; at least that of the process that measures (about 4 MB).
    pub peak: u64,
}

/// The other side of [`measure`]: runs the program once and prints what it took.
#[allow(clippy::print_stdout)]
pub fn once(mut arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let program = arguments.next().ok_or_else(|| io::Error::other("usage: --once PROGRAM ARGUMENT…"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    let wall = started.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("{} {cpu} {} {}", wall.as_nanos(), usage.max_rss(), status.code().unwrap_or(-1));
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> Option<(Sample, i32)> {
    let mut words = text.split_whitespace();
    let wall = Duration::from_nanos(words.next()?.parse().ok()?);
    let cpu = Duration::from_micros(words.next()?.parse().ok()?);
    let peak = words.next()?.parse::<u64>().ok()?.checked_mul(1024)?;
    Some((Sample { wall, cpu, peak }, words.next()?.parse().ok()?))
}

/// Runs a command once, with exactly the environment that was set on it. A run that fails is an error: its time would say
/// nothing.
pub fn measure(command: &Command) -> io::Result<Sample> {
    let mut outer = Command::new(std::env::current_exe()?);
    outer.arg(ONCE).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = run(&mut outer)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match parse(&text) {
        Some((sample, 0)) => Ok(sample),
        Some((_, code)) => Err(io::Error::other(format!("{command:?} ended with {code}"))),
        None => Err(io::Error::other(format!("{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// Many runs of one command.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Measures the command once more.
    pub fn add(&mut self, command: &Command) -> io::Result<()> {
        self.0.push(measure(command)?);
        Ok(())
    }

    /// Median wall time.
    pub fn wall(&self) -> Duration {
        median(&self.0.iter().map(|s| s.wall).collect::<Vec<_>>())
    }

    /// Worst wall time.
    pub fn worst(&self) -> Duration {
        self.0.iter().map(|s| s.wall).max().unwrap_or_default()
    }

    /// Median CPU time.
    pub fn cpu(&self) -> Duration {
        median(&self.0.iter().map(|s| s.cpu).collect::<Vec<_>>())
    }

    /// Greatest peak memory, in bytes.
    pub fn peak(&self) -> u64 {
        self.0.iter().map(|s| s.peak).max().unwrap_or_default()
    }
}

/// CPU time of all threads that a running process has now.
pub fn cpu_of(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// CPU time that a running process has used, also by threads that have ended; in steps of the kernel's tick (10 ms).
pub fn used_by(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    Duration::from_millis(ticks(&text).saturating_mul(1_000 / TICKS))
}

/// Ticks of the kernel's clock in a second, as it tells times of processes (`USER_HZ`, the same on every machine).
const TICKS: u64 = 100;

/// User and system time in a line of `/proc/PID/stat`. The name in it may hold anything.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Peak resident memory of a running process, in bytes.
pub fn peak_of(process: u32) -> u64 {
    memory_of(process, "VmHWM:")
}

/// Resident memory of a running process, in bytes.
pub fn resident_of(process: u32) -> u64 {
    memory_of(process, "VmRSS:")
}

fn memory_of(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_is_no_sample() {
        assert_eq!(parse("1000 2 3"), None);
        assert_eq!(parse(""), None);
        let sample = Sample { wall: Duration::from_micros(1), cpu: Duration::from_micros(2), peak: 3 * 1024 };
        assert_eq!(parse("1000 2 3 13\n"), Some((sample, 13)));
    }

    #[test]
    fn the_times_in_a_stat_line_are_found_behind_any_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 5 6 20 0 1 0 1 1 1";
        assert_eq!((ticks(line), ticks("")), (42, 0));
    }

    #[test]
    fn cpu_time_and_memory_of_a_process_are_read_from_the_kernel() {
        let own = std::process::id();
        let before = cpu_of(own);
        let mut sum = 0_u64;
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_of(own) > before && peak_of(own) >= resident_of(own) && resident_of(own) > 500_000);
    }
}
