//! A decision that was made before, asked of a decider: no door, ten images in turn, without a log and with one. Beside it
//! a look into a map by the image's text alone, and as many bytes appended to a file.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trust_decide::{Clock, Decider, Mode, Question};
use trust_policy::Action;
use trust_tuf::UtcTime;

use super::report::{Row, time};
use super::signed::{TAGS, image, repositories};
use super::{beside, ratio};
use crate::simulator::now;

const ROUNDS: usize = 40;
const OPERATIONS: u32 = 5_000;
const GOAL: Duration = Duration::from_micros(1);

/// The clock of this machine, moved to where everything that is signed here is valid: reading it costs what it costs.
struct Moved {
    by: i64,
}

impl Moved {
    fn new() -> Self {
        Self { by: now().unix() - unix() }
    }
}

fn unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

impl Clock for Moved {
    fn now(&self) -> UtcTime {
        UtcTime::from_unix(unix() + self.by).expect("a time")
    }
}

fn question(image: &str) -> Question<'_> {
    Question {
        image,
        namespace: None,
        action: Action::Deploy,
        door: "bench",
        whom: "bench",
        dry_run: false,
        mode: Mode::Enforce,
        digest_only: false,
    }
}

/// A decider in a folder of its own.
fn decider(dir: &Path, has_log: bool) -> io::Result<Arc<Decider>> {
    fs::create_dir_all(dir)?;
    let (pay, policy) = repositories()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let log = has_log.then(|| dir.join("decisions.log"));
    runtime.block_on(super::signed::decider(dir, &pay, &policy, Arc::new(Moved::new()), log))
}

/// Measures and tells.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    let (decider, logging) = (decider(&dir.join("plain"), false)?, decider(&dir.join("logging"), true)?);
    let images: Vec<String> = (1..=TAGS).map(image).collect();
    let known: HashMap<String, u64> = images.iter().map(|image| (image.clone(), 1)).collect();
    let (mut at, mut beside_at) = (0, 0);
    let next = |at: &mut usize| {
        *at = (*at + 1) % images.len();
        images.get(*at).map_or("", String::as_str)
    };
    let (ours, floor) = beside(
        ROUNDS,
        OPERATIONS,
        || assert!(decider.decide(&question(next(&mut at))).is_allowed()),
        || assert!(black_box(&known).contains_key(next(&mut beside_at))),
    );
    // The log, beside the same bytes written to a file and nothing else.
    let (mut logged_at, path) = (0, dir.join("logging/decisions.log"));
    assert!(logging.decide(&question(next(&mut logged_at))).is_allowed());
    let line = fs::read(&path)?;
    let plain = fs::File::options().create(true).append(true).open(dir.join("plain.log"))?;
    let (logged, written) = beside(
        ROUNDS,
        OPERATIONS,
        || assert!(logging.decide(&question(next(&mut logged_at))).is_allowed()),
        || assert!((&plain).write_all(black_box(&line)).is_ok()),
    );
    for decider in [&decider, &logging] {
        let made = decider.counters().evaluations;
        if made > u64::from(TAGS) {
            return Err(io::Error::other(format!("{made} decisions were made anew")));
        }
    }
    let first = Row {
        what: "cached decision of a gate, ten images in turn".to_owned(),
        wall: ours.wall(),
        worst: ours.worst(),
        cpu: Some(ours.cpu()),
        peak: None,
        beside: format!("a look into a map by the image's text: CPU {}", time(floor.cpu())),
        ratio: Some(ratio(ours.cpu(), floor.cpu())),
        goal: Some(("CPU ≤ 1 µs".to_owned(), ours.cpu() <= GOAL)),
    };
    let second = Row {
        what: format!(
            "the same with its line in the audit log ({} bytes, chained, under the lock of the file)",
            line.len()
        ),
        wall: logged.wall(),
        worst: logged.worst(),
        cpu: Some(logged.cpu()),
        peak: None,
        beside: format!("as many bytes appended to a file: CPU {}", time(written.cpu())),
        ratio: Some(ratio(logged.cpu(), written.cpu())),
        goal: None,
    };
    Ok(vec![first, second])
}
