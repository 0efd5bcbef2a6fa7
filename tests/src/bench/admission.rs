//! Warm decisions of the admission door over TLS, beside a handler that does nothing behind the same listener.
//!
//! Each is a process of its own; the clients are threads of this one with kept connections. The gate is the real one: each
//! decision is in its audit log, and requests at the trust server are counted: once it is warm, there may be none. First one
//! request after the other on each connection, then a fixed rate, where what waits in a queue is counted.

use std::io;
use std::path::Path;
use std::time::Duration;

use trust_image::Digest;

use super::kept::round;
use super::nothing::Nothing;
use super::process::used_by;
use super::report::{Row, time};
use super::reviews::{checked, request, review};
use super::rig::{Rig, Running, Sizes};
use super::signed::{TAGS, content, image};
use super::steady::{Waits, steady};
use super::{median, ratio};

const GOAL: f64 = 0.6;
const TAIL_GOAL: f64 = 3.0;
/// Containers of one image.
const MANY: usize = 50;
/// Connections of a load at a fixed rate.
const CONNECTIONS: usize = 8;
const JSON: (&str, &str) = ("content-type", "application/json");

pub(super) fn digest(image: &str) -> Digest {
    let n = image.rsplit_once(":v").and_then(|(_, n)| n.parse().ok()).unwrap_or_default();
    Digest::of(&content(n))
}

/// The lines of `[admission]`, below `listen`.
pub(super) const DOOR: &str = "certificate = \"tls.crt\"\nkey = \"tls.key\"\nmode = \"enforce\"\n";

struct Sides {
    rig: Rig,
    gate: Running,
    sizes: Sizes,
}

/// One request after the other on so many connections, both sides in turn.
struct Closed {
    ours: Duration,
    worst: Duration,
    floor: Duration,
    /// CPU time of a request in the processes themselves.
    cpu: Duration,
    floor_cpu: Duration,
}

impl Sides {
    fn start(dir: &Path, sizes: Sizes) -> io::Result<Self> {
        let rig = Rig::new(dir, |_| Ok(()))?;
        let gate = rig.prepare("gate", "1h", "admission", DOOR)?.start("admission")?;
        Ok(Self { rig, gate, sizes })
    }

    /// A handler that answers as the gate does to this.
    fn nothing(&self, name: &str, body: &[u8], images: &[String]) -> io::Result<Nothing> {
        let mut first = self.rig.connect(self.gate.listen, true, &request(body), 1)?;
        let answer = first.first_mut().ok_or(io::ErrorKind::NotConnected)?.ask()?.to_vec();
        checked(&answer, images, digest)?;
        Nothing::handler(&self.rig.dir.join(name), &answer, &[JSON], Some(&self.rig.dir))
    }

    fn closed(&self, nothing: &Nothing, body: &[u8], connections: usize) -> io::Result<Closed> {
        let connect = |address| self.rig.connect(address, true, &request(body), connections);
        let (mut a, mut b) = (connect(self.gate.listen)?, connect(nothing.address)?);
        for clients in [&mut a, &mut b] {
            round(clients, self.sizes.operations)?;
        }
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        let ids = [self.gate.gate.process.id(), nothing.process.id()];
        let before = ids.map(used_by);
        for _ in 0..self.sizes.rounds {
            times.push(round(&mut a, self.sizes.operations)?);
            floors.push(round(&mut b, self.sizes.operations)?);
        }
        let asked = self.sizes.rounds as f64 * f64::from(self.sizes.operations) * connections as f64;
        let after = ids.map(used_by);
        let used = |n: usize| after[n].saturating_sub(before[n]).div_f64(asked);
        Ok(Closed {
            ours: median(&times),
            worst: times.iter().max().copied().unwrap_or_default(),
            floor: median(&floors),
            cpu: used(0),
            floor_cpu: used(1),
        })
    }

    /// Whether the trust server was asked for nothing.
    fn asked_nobody(&self) -> io::Result<()> {
        match self.rig.take_requests().len() {
            0 => Ok(()),
            fetched => Err(io::Error::other(format!("{fetched} network calls in warm decisions"))),
        }
    }

    /// Both sides in turn at the same rate; the median run of each.
    fn at_rate(&self, nothing: &Nothing, body: &[u8], rate: f64) -> io::Result<(Waits, Waits)> {
        let connect = |address| self.rig.connect(address, true, &request(body), CONNECTIONS);
        let (mut a, mut b) = (connect(self.gate.listen)?, connect(nothing.address)?);
        for clients in [&mut a, &mut b] {
            round(clients, self.sizes.operations)?;
        }
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        let (length, times) = self.sizes.steady;
        for _ in 0..times {
            ours.push(steady(&mut a, rate, length)?);
            floors.push(steady(&mut b, rate, length)?);
        }
        let middle = |mut runs: Vec<Waits>| {
            runs.sort_by_key(|run| run.at(0.99));
            let place = runs.len() / 2;
            (place < runs.len()).then(|| runs.swap_remove(place))
        };
        middle(ours).zip(middle(floors)).ok_or_else(|| io::Error::other("no run"))
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn per_second(time: Duration) -> f64 {
    1.0 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn row(what: String, closed: &Closed) -> Row {
    let reached = ratio(closed.floor, closed.ours);
    Row {
        what,
        wall: closed.ours,
        worst: closed.worst,
        cpu: Some(closed.cpu),
        peak: None,
        beside: format!(
            "a handler that does nothing behind the same listener: {} ({:.0}/s), CPU {}",
            time(closed.floor),
            per_second(closed.floor),
            time(closed.floor_cpu)
        ),
        ratio: Some(reached),
        goal: Some((format!("≥ {GOAL}"), reached >= GOAL)),
    }
}

/// The rows.
pub fn rows(dir: &Path, sizes: Sizes) -> io::Result<Vec<Row>> {
    let sides = Sides::start(dir, sizes)?;
    let mut rows = Vec::new();
    // What a handler that does nothing reaches, by connections.
    let mut most = Vec::new();
    let one = [image(1)];
    for (count, connections) in [(1, 1), (1, 4), (3, 4)] {
        let images: Vec<String> = (1..=count).map(image).collect();
        let body = review(&images);
        let nothing = sides.nothing(&format!("nothing{count}"), &body, &images)?;
        sides.rig.take_requests();
        let closed = sides.closed(&nothing, &body, connections)?;
        sides.asked_nobody()?;
        let what = format!(
            "admission: warm decision over TLS, Deployment with {count} image{} ({} bytes), log on, {connections} connection{}: {:.0}/s, no network call",
            plural(images.len()),
            body.len(),
            plural(connections),
            per_second(closed.ours)
        );
        rows.push(Row { goal: row(String::new(), &closed).goal.filter(|_| count == 1), ..row(what, &closed) });
        if count == 1 {
            most.push((connections, per_second(closed.floor), per_second(closed.ours)));
        }
    }
    let body = review(&one);
    let nothing = sides.nothing("nothing", &body, &one)?;
    for (connections, floor, ours) in most {
        rows.push(tail(&sides, &nothing, &body, (floor / 2.0, "the handler that does nothing", connections), true)?);
        rows.push(tail(&sides, &nothing, &body, (ours / 2.0, "the gate", connections), false)?);
    }
    sides.asked_nobody()?;
    rows.push(many(&sides)?);
    sides.asked_nobody()?;
    Ok(rows)
}

/// Both sides at half of what one of them reaches.
fn tail(
    sides: &Sides,
    nothing: &Nothing,
    body: &[u8],
    (rate, whose, connections): (f64, &str, usize),
    is_judged: bool,
) -> io::Result<Row> {
    let (ours, floor) = sides.at_rate(nothing, body, rate)?;
    let reached = ratio(ours.at(0.99), floor.at(0.99));
    Ok(Row {
        what: format!(
            "admission: p99 from the moment a request is due, at {rate:.0}/s: half of what {whose} reaches on {connections} connection{} (median: {})",
            plural(connections),
            time(ours.at(0.5))
        ),
        wall: ours.at(0.99),
        worst: ours.at(1.0),
        cpu: None,
        peak: None,
        beside: format!(
            "the handler that does nothing, at the same rate: {} (median: {})",
            time(floor.at(0.99)),
            time(floor.at(0.5))
        ),
        ratio: Some(reached),
        goal: is_judged.then(|| (format!("p99 ≤ {TAIL_GOAL} ×"), reached <= TAIL_GOAL)),
    })
}

/// A workload of many containers of one image that was never asked for: what is counted, and what it takes once it is known.
fn many(sides: &Sides) -> io::Result<Row> {
    const COUNTED: [&str; 3] =
        ["trust_gate_verifications_total", "trust_gate_evaluations_total", "trust_gate_decision_seconds_count"];
    let count = || -> io::Result<Vec<u64>> { COUNTED.iter().map(|name| sides.gate.metric(name)).collect() };
    let images = vec![image(TAGS); MANY];
    let body = review(&images);
    let before = count()?;
    let nothing = sides.nothing("many", &body, &images)?;
    let counted: Vec<u64> = count()?.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before)).collect();
    let closed = sides.closed(&nothing, &body, 1)?;
    let single = review(&images[..1]);
    let beside = sides.nothing("single", &single, &images[..1])?;
    let single = sides.closed(&beside, &single, 1)?;
    let [verified, evaluated, decided] = counted[..] else { return Err(io::Error::other("not three counts")) };
    let what = format!(
        "admission: {MANY} containers of one image ({} bytes), warm, 1 connection; asked for the first time they cost {verified} verification{}, {evaluated} evaluation{}, {decided} decision{}",
        body.len(),
        plural(verified as usize),
        plural(evaluated as usize),
        plural(decided as usize)
    );
    let row = row(what, &closed);
    let beside = format!("with one container {} (CPU {}); {}", time(single.ours), time(single.cpu), row.beside);
    Ok(Row {
        beside,
        goal: Some(("1 verification".to_owned(), verified == 1 && evaluated == 1 && decided == 1)),
        ..row
    })
}
