//! What nobody has asked for before: the first decision on an image that a refresh has changed, and everything from an empty
//! folder. Each beside the handler that does nothing, asked on a new connection as well.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use trust_image::Digest;

use super::admission::{DOOR, digest};
use super::nothing::Nothing;
use super::process::used_by;
use super::report::{Row, time};
use super::reviews::{checked, request, review};
use super::rig::{Rig, Sizes};
use super::signed::{image, publish, sign};
use super::{median, ratio};
use crate::simulator::Repository;
use crate::stack::gate::Gate;
use crate::stack::{Process, free_port};

const GOAL: Duration = Duration::from_millis(100);
/// How long a refresh may take until it is seen.
const WAIT: Duration = Duration::from_secs(20);
/// From the last file that a refresh fetches until it is in force, with room.
const SETTLE: Duration = Duration::from_millis(200);

/// One request on a new connection: when it was answered, and with what.
fn first(rig: &Rig, address: std::net::SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut client = rig.connect(address, true, request, 1)?;
    Ok(client.first_mut().ok_or(io::ErrorKind::NotConnected)?.ask()?.to_vec())
}

fn row(what: &str, times: &[Duration], floors: &[Duration], cpu: Option<Duration>, beside: &str) -> Row {
    let (wall, floor) = (median(times), median(floors));
    Row {
        what: what.to_owned(),
        wall,
        worst: times.iter().max().copied().unwrap_or_default(),
        cpu,
        peak: None,
        beside: format!("{beside}: {}", time(floor)),
        ratio: Some(ratio(wall, floor)),
        goal: Some((format!("≤ {} ms", GOAL.as_millis()), wall <= GOAL)),
    }
}

/// The rows.
pub fn rows(dir: &Path, sizes: Sizes) -> io::Result<Vec<Row>> {
    let mut rig = Rig::new(dir, |_| Ok(()))?;
    let ask = request(&review(&[image(1)]));
    let started = started(&rig, &ask, sizes)?;
    let changed = changed(&mut rig, &ask, sizes)?;
    Ok(vec![changed, started])
}

/// Signs other bytes as `api:v1`.
fn change(pay: &mut Repository, bytes: &[u8]) -> io::Result<String> {
    sign(pay, "v1", bytes)?;
    publish(pay);
    Ok(pay.file_name("alice"))
}

fn changed(rig: &mut Rig, ask: &[u8], sizes: Sizes) -> io::Result<Row> {
    let gate = rig.prepare("changed", "1s", "admission", DOOR)?.start("admission")?;
    let answer = first(rig, gate.listen, ask)?;
    checked(&answer, &[image(1)], digest)?;
    let nothing = Nothing::handler(&rig.dir.join("nothing"), &answer, &[], Some(&rig.dir))?;
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    for n in 0..sizes.cold {
        let bytes = format!("another manifest, number {n}");
        let file = change(&mut rig.pay, bytes.as_bytes())?;
        let until = Instant::now() + WAIT;
        while !rig.take_requests().contains(&file) {
            if Instant::now() > until {
                return Err(io::Error::other(format!("{file} was not fetched")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        let answer = first(rig, gate.listen, ask)?;
        times.push(begun.elapsed());
        checked(&answer, &[image(1)], |_| Digest::of(bytes.as_bytes()))?;
        let begun = Instant::now();
        first(rig, nothing.address, ask)?;
        floors.push(begun.elapsed());
    }
    let what = "admission, cold: the first decision after a refresh that changed the image, on a new connection (TLS)";
    Ok(row(what, &times, &floors, None, "the handler that does nothing, on a new connection"))
}

/// Asks as soon as somebody listens; whoever connects before it is served waits.
fn answered(rig: &Rig, process: &mut Process, address: std::net::SocketAddr, ask: &[u8]) -> io::Result<Vec<u8>> {
    let until = Instant::now() + WAIT;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until || process.wait(Duration::ZERO).is_some() {
            return Err(io::Error::other("nobody listens"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    first(rig, address, ask)
}

fn started(rig: &Rig, ask: &[u8], sizes: Sizes) -> io::Result<Row> {
    let prepared = rig.prepare("started", "1h", "admission", DOOR)?;
    let folder = rig.dir.join("nothing-started");
    // Made by a start that is not measured.
    drop(Nothing::handler(&folder, b"{}", &[], Some(&rig.dir))?);
    let floor_address = format!("127.0.0.1:{}", free_port()?);
    fs::write(folder.join("listen"), &floor_address)?;
    let floor_address = floor_address.parse().map_err(io::Error::other)?;
    let (mut times, mut floors, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..sizes.cold {
        for name in ["state", "decisions.log"] {
            let path = prepared.dir.join(name);
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        let mut command = Gate::command(&prepared.dir, "admission");
        let begun = Instant::now();
        let mut process = Process::start("trust-gate", &mut command, &prepared.dir.join("admission.log"))?;
        let answer = answered(rig, &mut process, prepared.listen, ask)?;
        times.push(begun.elapsed());
        cpu.push(used_by(process.id()));
        checked(&answer, &[image(1)], digest)?;
        drop(process);
        let mut command = Nothing::handler_command(&folder, Some(&rig.dir))?;
        let begun = Instant::now();
        let mut process = Process::start("trust-bench --nothing", &mut command, &folder.join("log"))?;
        answered(rig, &mut process, floor_address, ask)?;
        floors.push(begun.elapsed());
    }
    let what = "admission, cold: from the start of the process with an empty state folder to its first answer (TLS, two collections)";
    Ok(row(what, &times, &floors, Some(median(&cpu)), "the same of the handler that does nothing"))
}
