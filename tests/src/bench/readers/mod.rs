//! Readers of TUF repositories beside each other and beside what none of them can leave out: ours, sigstore-tuf, tough and
//! python-tuf on the same repositories, in the same run, in turn.
//!
//! [`repositories`] makes what is read, [`contestants`] says who does what, [`worker`] runs each in a process of its own,
//! [`rounds`] lets them take turns. Deliberately absent: verdicts, and anything of HTTP but where a reader's own client
//! is what is measured.

pub mod cached;
pub mod contestants;
pub mod floor;
pub mod ours;
pub mod peers;
mod python;
pub mod repositories;
pub mod rounds;
mod scan;
mod served;
pub mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ratio;
use super::report::{Row, megabytes, time};
use contestants::Contestant as Who;
use contestants::Moment;
use repositories::Shape;
use rounds::{Effort, Measured, Race};
use served::Served;
use worker::{Programs, Worker};

/// How large the repositories are, and how much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Tags of the small repository.
    pub small: usize,
    /// Tags of the middle one.
    pub middle: usize,
    /// Targets of the large one, in one file; and of the one with bins.
    pub large: usize,
    /// 2^k bins.
    pub bits: u32,
    /// How much is measured.
    pub effort: Effort,
}

impl Sizes {
    /// As they stand in the goals.
    pub const FULL: Self = Self {
        small: 10,
        middle: 1_000,
        large: 100_000,
        bits: 14,
        effort: Effort { rounds: 10, slow_rounds: 3, turn: Duration::from_millis(60) },
    };
    /// To see that it works.
    pub const TINY: Self = Self {
        small: 2,
        middle: 3,
        large: 20,
        bits: 3,
        effort: Effort { rounds: 2, slow_rounds: 1, turn: Duration::from_millis(1) },
    };
}

/// The rows with goals, and what is to be said beside them: a table of all readers, versions and settings.
pub struct Report {
    /// The rows of the table of figures.
    pub rows: Vec<Row>,
    /// Lines of Markdown.
    pub notes: Vec<String>,
}

/// What all readers took on one repository at one moment.
struct Results {
    what: String,
    moment: Moment,
    all: Vec<rounds::Result>,
}

impl Results {
    fn of(&self, who: Who) -> Option<&Measured> {
        self.all.iter().flatten().find(|measured| measured.who == who)
    }

    /// Ours beside the floor.
    fn beside_floor(&self, what: String, goal: f64, peak: Option<(u64, u64)>) -> Option<Row> {
        let (core, floor) = (self.of(Who::Core)?, self.of(Who::Floor)?);
        let ratio = ratio(core.times.cpu(), floor.times.cpu());
        let small = peak.is_none_or(|(peak, most)| peak <= most);
        let most = peak.map(|(_, most)| format!(", ≤ {} over an empty process", megabytes(most)));
        Some(Row {
            what,
            wall: core.times.wall(),
            worst: core.times.worst(),
            cpu: Some(core.times.cpu()),
            peak: peak.map(|(peak, _)| peak),
            beside: format!("hashes, signatures, one pass: CPU {}", time(floor.times.cpu())),
            ratio: Some(ratio),
            goal: Some((format!("CPU ≤ {goal} × the floor's{}", most.unwrap_or_default()), ratio <= goal && small)),
        })
    }
}

/// The readers of the second table, in its order.
const TABLE: [Who; 8] =
    [Who::Floor, Who::Core, Who::Ours, Who::Sigstore, Who::Tough, Who::ToughHttpAtOnce, Who::ToughHttp, Who::Python];

/// Peak memory of processes that do nothing.
struct Empty {
    ours: u64,
    python: Option<u64>,
}

impl Empty {
    fn of(&self, who: Who) -> u64 {
        if who.python().is_some() { self.python.unwrap_or(0) } else { self.ours }
    }

    fn over(&self, measured: &Measured) -> u64 {
        measured.peak.saturating_sub(self.of(measured.who))
    }
}

struct Bench<'a> {
    programs: &'a Programs,
    dir: PathBuf,
    served: Served,
    effort: Effort,
}

impl Bench<'_> {
    fn repository(&self, name: &str, shape: Shape) -> io::Result<()> {
        repositories::make(shape, &self.dir.join(name))
    }

    fn race(&self, name: &str, what: &str, moment: Moment, all: &[Who]) -> Results {
        let race = Race {
            programs: self.programs,
            folder: &self.dir.join(name),
            base: &self.served.address(name),
            scratch: &self.dir,
            effort: self.effort,
        };
        let all: Vec<Who> =
            all.iter().copied().filter(|who| who.python().is_none() || self.programs.python.is_some()).collect();
        Results { what: what.to_owned(), moment, all: race.run(moment, &all) }
    }

    fn empty(&self) -> io::Result<Empty> {
        let peak = |who: Who, moment: Moment| -> io::Result<u64> {
            let state = tempfile::tempdir_in(&self.dir)?.keep();
            let mut worker = Worker::start(self.programs, who, moment, &self.dir.join("small"), &state, "")?;
            worker.run(1)?;
            worker.peak()
        };
        let python = self.programs.python.is_some().then(|| peak(Who::Python, Moment::Empty)).transpose()?;
        Ok(Empty { ours: peak(Who::Empty, Moment::Empty)?, python })
    }
}

/// Measures and tells. Everything is written below `dir`, which is made.
pub fn report(dir: &Path, programs: &Programs, sizes: Sizes) -> io::Result<Report> {
    std::fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    let bench = Bench { programs, served: Served::start(dir.clone())?, dir, effort: sizes.effort };
    bench.repository("small", Shape::flat(sizes.small))?;
    bench.repository("middle", Shape::flat(sizes.middle))?;
    bench.repository("large", Shape::flat(sizes.large))?;
    bench.repository("bins", Shape::bins(sizes.large, sizes.bits))?;
    let empty = bench.empty()?;

    let with_state = [Who::Ours, Who::Sigstore, Who::Tough, Who::Python];
    let with_floor = [&[Who::Floor, Who::Core][..], &with_state].concat();
    let warm = [&with_floor[..], &python::OTHER_WAYS].concat();
    let everybody = [&warm[..], &[Who::ToughHttpAtOnce, Who::ToughHttp]].concat();
    let warm_bins = [&with_state[..], &python::OTHER_WAYS].concat();
    let (small, middle) = (format!("{} tags", sizes.small), format!("{} tags", sizes.middle));
    let large = format!("{} targets in one file", sizes.large);
    let bins = format!("{} targets in 2^{} bins", sizes.large, sizes.bits);
    let results = vec![
        bench.race("small", &small, Moment::Cold, &with_state),
        bench.race("small", &small, Moment::Warm, &everybody),
        bench.race("small", &small, Moment::Changed, &with_state),
        bench.race("middle", &middle, Moment::Cold, &with_state),
        bench.race("middle", &middle, Moment::Warm, &everybody),
        bench.race("middle", &middle, Moment::Changed, &with_state),
        bench.race("large", &large, Moment::Warm, &warm),
        bench.race("large", &large, Moment::Changed, &with_state),
        bench.race("bins", &bins, Moment::Warm, &warm_bins),
        bench.race("bins", &bins, Moment::Changed, &with_floor),
        bench.race("bins", &bins, Moment::Renewed, &[Who::Floor, Who::Core]),
    ];
    let find = |what: &str, moment: Moment| results.iter().find(|r| r.what == what && r.moment == moment);
    let cached = bench.race("small", "", Moment::Renewed, &[Who::Map, Who::Cached]);
    let mut rows = Vec::from_iter(cached_row(&cached));
    for what in [&small, &middle] {
        let row =
            find(what, Moment::Warm).and_then(|r| r.beside_floor(format!("whole chain again, {what}"), 1.15, None));
        rows.extend(row);
    }
    if let Some(results) = find(&large, Moment::Warm) {
        let peak = results.of(Who::Core).map(|core| (empty.over(core), 40_000_000));
        rows.extend(results.beside_floor(format!("{large}: verify and look up one"), 1.2, peak));
    }
    for (moment, how) in [(Moment::Changed, "from its stored files"), (Moment::Renewed, "in a process that stayed up")]
    {
        let what = format!("{bins}, another image was published, {how}");
        rows.extend(find(&bins, moment).and_then(|r| r.beside_floor(what, 1.4, None)));
    }
    if let Some(ours) = find(&small, Moment::Warm).and_then(|r| r.of(Who::Ours)) {
        rows.push(peak_row(&small, ours, empty.over(ours), empty.ours));
    }
    rows.extend(results.iter().filter_map(|r| r.beside_python(35.0)));
    rows.extend(results.iter().flat_map(|r| r.beside_python_in_other_ways(35.0)));

    let failed = |r: &Results| {
        let ours = r.all.iter().filter_map(|one| one.as_ref().err());
        ours.filter(|(who, _)| who.is_ours()).map(|(_, why)| why.clone()).next()
    };
    if let Some(why) = results.iter().chain([&cached]).find_map(failed) {
        return Err(io::Error::other(why));
    }
    let mut notes = table(&results, &empty);
    notes.extend(python::table(&results));
    notes.push(settings(&bench, &empty, sizes)?);
    Ok(Report { rows, notes })
}

fn cached_row(results: &Results) -> Option<Row> {
    let (cached, map) = (results.of(Who::Cached)?, results.of(Who::Map)?);
    let most = Duration::from_micros(2);
    Some(Row {
        what: "cached verdict, in process, with the decision by policy".to_owned(),
        wall: cached.times.wall(),
        worst: cached.times.worst(),
        cpu: Some(cached.times.cpu()),
        peak: None,
        beside: format!("a look into a map: CPU {}", time(map.times.cpu())),
        ratio: Some(ratio(cached.times.cpu(), map.times.cpu())),
        goal: Some((format!("CPU ≤ {}", time(most)), cached.times.cpu() <= most)),
    })
}

fn peak_row(what: &str, ours: &Measured, over: u64, empty: u64) -> Row {
    Row {
        what: format!("peak memory over an empty process, {what}"),
        wall: ours.times.wall(),
        worst: ours.times.worst(),
        cpu: Some(ours.times.cpu()),
        peak: Some(over),
        beside: format!("a process that does nothing: {}", megabytes(empty)),
        ratio: None,
        goal: Some(("≤ 5 MB over it".to_owned(), over <= 5_000_000)),
    }
}

/// One line for each repository and moment: CPU time, wall time, memory over an empty process of each reader.
fn table(results: &[Results], empty: &Empty) -> Vec<String> {
    let mut notes = vec![
        String::new(),
        "All readers: CPU / wall, medians of an update and a look-up; peak memory over a process that does nothing."
            .to_owned(),
        String::new(),
        format!("| | {} |", TABLE.map(title).join(" | ")),
        format!("|---|{}", "---|".repeat(TABLE.len())),
    ];
    let cell = |results: &Results, who: Who| -> String {
        match results.all.iter().find(|one| one.as_ref().map_or_else(|(w, _)| *w, |m| m.who) == who) {
            None => "–".to_owned(),
            Some(Err(_)) => "cannot read it".to_owned(),
            Some(Ok(measured)) => {
                let (cpu, wall) = (time(measured.times.cpu()), time(measured.times.wall()));
                format!("{cpu} / {wall}, {}", megabytes(empty.over(measured)))
            }
        }
    };
    for results in results {
        let cells = TABLE.map(|who| cell(results, who));
        notes.push(format!("| {}, {} | {} |", results.what, results.moment.name(), cells.join(" | ")));
    }
    let refused = results.iter().flat_map(|r| r.all.iter().filter_map(move |one| Some((r, one.as_ref().err()?))));
    notes.push(String::new());
    for (results, (_, why)) in refused {
        notes.push(format!("Cannot read {}: {why}", results.what));
    }
    notes
}

fn title(who: Who) -> &'static str {
    match who {
        Who::Floor => "floor",
        Who::Core => "core/tuf alone",
        Who::Ours => "ours",
        Who::ToughHttp => "tough, HTTP, as it comes",
        Who::ToughHttpAtOnce => "tough, HTTP, first back-off 0",
        other => other.name(),
    }
}

/// The version of a crate in the lock file of this build.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let rest = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

fn settings(bench: &Bench<'_>, empty: &Empty, sizes: Sizes) -> io::Result<String> {
    let python = match &empty.python {
        None => "python-tuf: left out (make tools)".to_owned(),
        Some(peak) => {
            let state = tempfile::tempdir_in(&bench.dir)?.keep();
            let folder = bench.dir.join("small");
            let mut worker = Worker::start(bench.programs, Who::Python, Moment::Empty, &folder, &state, "")?;
            format!("python-tuf {} (imports measured by nobody; with them {})", worker.version()?, megabytes(*peak))
        }
    };
    let Effort { rounds, slow_rounds, turn } = sizes.effort;
    Ok(format!(
        "{python}, sigstore-tuf {}, tough {}. {rounds} rounds in turn, forwards and backwards, of about {} ms each \
         ({slow_rounds} rounds of whoever takes more than a second). Files straight from the folder, except where it \
         says HTTP; sigstore-tuf's limit of a targets file is raised, the rest is as it comes. An empty process of \
         ours: {}.",
        locked("sigstore-tuf"),
        locked("tough"),
        turn.as_millis(),
        megabytes(empty.ours),
    ))
}
