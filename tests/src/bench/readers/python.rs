//! python-tuf beside ours: with what a process remembers and without, from the folder and by each one's own HTTP client.
//!
//! Each row compares like with like as far as there is a like: python-tuf verifies everything again for each update in
//! every row, because its interface has no other way. Its HTTP client stands there in the better of two settings.

use super::super::ratio;
use super::super::report::{Row, time};
use super::contestants::Contestant as Who;
use super::contestants::Moment;
use super::{Results, rounds::Measured};

/// Who else takes part where the two are compared in all ways.
pub(super) const OTHER_WAYS: [Who; 5] =
    [Who::OursStaying, Who::OursHttp, Who::OursHttpStaying, Who::PythonHttp, Who::PythonHttpKept];

/// The columns of the table, with their titles.
const COLUMNS: [(Who, &str); 7] = [
    (Who::Ours, "folder: ours"),
    (Who::OursStaying, "ours, staying up"),
    (Who::Python, "python-tuf"),
    (Who::OursHttp, "HTTP: ours"),
    (Who::OursHttpStaying, "ours, staying up"),
    (Who::PythonHttpKept, "python-tuf, client kept"),
    (Who::PythonHttp, "python-tuf, as it comes"),
];

impl Results {
    /// Both with their state folders, both verify everything again, both from the folder.
    pub(super) fn beside_python(&self, goal: f64) -> Option<Row> {
        let what = format!("reader with its state folder, {}, {}", self.what, self.moment.name());
        Some(row(what, self.of(Who::Ours)?, self.of(Who::Python)?, "the same", goal))
    }

    /// The other ways: a process that stays up, HTTP, both.
    pub(super) fn beside_python_in_other_ways(&self, goal: f64) -> Vec<Row> {
        let (ours, staying) = (self.of(Who::OursHttp), self.of(Who::OursHttpStaying));
        let mut rows = Vec::new();
        if let (Some(ours), Some(python)) = (self.of(Who::OursStaying), self.of(Who::Python)) {
            let what = format!("reader that stays up, nothing new, {}", self.what);
            rows.push(row(what, ours, python, "a new Updater in its process", goal));
        }
        let clients = [(Who::PythonHttpKept, "its HTTP client kept"), (Who::PythonHttp, "its HTTP client as it comes")];
        let clients = clients.into_iter().filter_map(|(who, how)| Some((self.of(who)?, how)));
        let Some((python, how)) = clients.min_by_key(|(python, _)| python.times.cpu()) else { return rows };
        let ways = [(ours, "reader with its state folder, HTTP"), (staying, "reader that stays up, nothing new, HTTP")];
        for (ours, what) in ways {
            rows.extend(ours.map(|ours| row(format!("{what}, {}", self.what), ours, python, how, goal)));
        }
        rows
    }
}

fn row(what: String, ours: &Measured, python: &Measured, how: &str, goal: f64) -> Row {
    let ratio = ratio(python.times.cpu(), ours.times.cpu());
    Row {
        what,
        wall: ours.times.wall(),
        worst: ours.times.worst(),
        cpu: Some(ours.times.cpu()),
        peak: None,
        beside: format!("python-tuf, {how}: CPU {}", time(python.times.cpu())),
        ratio: Some(ratio),
        goal: Some((format!("python-tuf ÷ ours, CPU ≥ {goal}"), ratio >= goal)),
    }
}

/// One line for each repository where all ways were compared: CPU / wall.
pub(super) fn table(results: &[Results]) -> Vec<String> {
    let compared: Vec<&Results> =
        results.iter().filter(|r| r.moment == Moment::Warm && r.of(Who::PythonHttp).is_some()).collect();
    if compared.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        String::new(),
        "python-tuf beside ours, nothing new to be had: CPU / wall, medians of an update and a look-up.".to_owned(),
        String::new(),
        format!("| | {} |", COLUMNS.map(|(_, title)| title).join(" | ")),
        format!("|---|{}", "---|".repeat(COLUMNS.len())),
    ];
    for results in compared {
        let cell = |(who, _)| {
            results.of(who).map_or_else(
                || "–".to_owned(),
                |measured| format!("{} / {}", time(measured.times.cpu()), time(measured.times.wall())),
            )
        };
        lines.push(format!("| {} | {} |", results.what, COLUMNS.map(cell).join(" | ")));
    }
    lines.push(String::new());
    lines
}
