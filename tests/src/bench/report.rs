//! The report: one table in Markdown, and the machine that it was measured on.

use std::fmt;
use std::fs;
use std::time::Duration;

/// A line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Median wall time of an operation.
    pub wall: Duration,
    /// Worst wall time.
    pub worst: Duration,
    /// Median CPU time.
    pub cpu: Option<Duration>,
    /// Greatest peak memory, in bytes.
    pub peak: Option<u64>,
    /// What was measured beside it.
    pub beside: String,
    /// The figure beside it over ours, or ours over it: the goal says which.
    pub ratio: Option<f64>,
    /// The goal, and whether it was met.
    pub goal: Option<(String, bool)>,
}

/// The head of the table.
pub const HEAD: &str = "| what | wall: median | worst | CPU | peak memory | beside it, same run | ratio | goal |\n\
                        |---|---|---|---|---|---|---|---|";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let goal = self.goal.as_ref().map(|(goal, met)| format!("{goal}: {}", if *met { "met" } else { "**missed**" }));
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.what,
            time(self.wall),
            time(self.worst),
            optional(self.cpu.map(time)),
            optional(self.peak.map(megabytes)),
            self.beside,
            optional(self.ratio.map(|r| format!("{r:.2}"))),
            optional(goal),
        )
    }
}

/// A time with three significant figures or so.
pub fn time(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.0} ms", us / 1e3),
    }
}

/// Bytes as MB (10^6).
pub fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// What ran on the machine beside this in the last minute: the load average.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The machine and the build, in one line each.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let count = cpus.lines().filter(|l| l.starts_with("processor")).count();
    format!(
        "Machine: {count} × {}, {}, Linux {}, load before the run {}.\nBuild: {}, trust {}.",
        field(&cpus, "model name"),
        field(&memory, "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        load(),
        if cfg!(debug_assertions) { "debug (its figures mean nothing)" } else { "release" },
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_said_in_the_table() {
        let row = Row {
            what: "x".to_owned(),
            wall: Duration::from_micros(1_234),
            worst: Duration::from_millis(250),
            cpu: None,
            peak: Some(15_960_000),
            beside: "y".to_owned(),
            ratio: Some(1.5),
            goal: Some(("≤ 1 ms".to_owned(), false)),
        };
        assert_eq!(row.to_string(), "| x | 1.23 ms | 250 ms | – | 16.0 MB | y | 1.50 | ≤ 1 ms: **missed** |");
        let columns = |text: &str| text.matches('|').count();
        assert!(HEAD.lines().all(|line| columns(line) == columns(&row.to_string())));
    }
}
