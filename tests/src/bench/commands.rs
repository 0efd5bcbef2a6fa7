//! The `trust` command as people wait for it: a process from its start to its end, warm, beside a process that does
//! nothing and beside Notary v1's client at its own server.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::process::{self, Samples};
use super::ratio;
use super::report::{Row, megabytes, time};
use crate::stack::{Options, Process, Stack, images, run};

const ROUNDS: usize = 60;
/// Tags in the collection.
const TAGS: usize = 10;
const MEMORY_GOAL: u64 = 15_000_000;

fn done(command: &mut Command) -> io::Result<()> {
    let output = run(command)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&said))))
}

/// A Notary server with one published target, and the command that looks it up.
struct Notary {
    /// Ends the server when it is dropped.
    _server: Process,
    lookup: Vec<String>,
}

impl Notary {
    fn start(dir: &Path) -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/notary.sh");
        fs::create_dir_all(dir)?;
        let mut fetch = Command::new(&script);
        done(fetch.arg("fetch"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut serve = Command::new(&script);
        serve.arg("serve").arg(dir).arg(port.to_string());
        let server = Process::start("notary-server", &mut serve, &dir.join("log"))?;
        let (file, until) = (dir.join("lookup"), Instant::now() + Duration::from_secs(30));
        while !file.exists() {
            if Instant::now() > until {
                let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("notary-server: {log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let lookup = fs::read_to_string(file)?.lines().map(str::to_owned).collect();
        Ok(Self { _server: server, lookup })
    }

    fn command(&self) -> Option<Command> {
        let (program, arguments) = self.lookup.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        Some(command)
    }
}

/// A collection with signed tags and somebody who has pinned its root and seen its files.
struct Signed {
    /// Ends the programs when it is dropped.
    _stack: Stack,
    reader: crate::stack::Person,
    reference: String,
}

impl Signed {
    fn create(dir: &Path) -> io::Result<Self> {
        let stack = Stack::start(dir, Options { tls: true, ..Options::default() })?;
        let token = stack.token("alice", "*=read,publish,admin")?;
        let alice = stack.person("alice", Some(&token))?;
        let collection = format!("{}/demo", stack.registry);
        let fingerprint = stack.create(&alice, &collection)?;
        let image = images::single(&dir.join("image"), "a small image", &[("com.example.data", "public")])?;
        let mut sign = alice.trust();
        sign.arg("sign");
        for tag in 0..TAGS {
            images::push(&image, &format!("{}/demo/api:v{tag}", stack.registry))?;
            sign.arg(format!("{collection}/api:v{tag}@{}", image.digest));
        }
        done(&mut sign)?;
        let reader = stack.person("reader", None)?;
        done(reader.trust().args(["pin", "add", &collection, &fingerprint]))?;
        Ok(Self { _stack: stack, reader, reference: format!("{collection}/api:v7") })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.reader.trust();
        command.args(words).arg(&self.reference);
        command
    }
}

fn nothing() -> Command {
    let mut command = Command::new(
        ["/bin/true", "/usr/bin/true"].map(PathBuf::from).into_iter().find(|p| p.is_file()).unwrap_or_default(),
    );
    command.env_clear();
    command
}

/// Measures and tells. A peer that cannot be fetched is left out of the table.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    let signed = Signed::create(dir)?;
    let notary = Notary::start(&dir.join("notary"));
    if let Err(error) = &notary {
        println!("(left out: notary: {error})");
    }
    let lookup = notary.as_ref().ok().and_then(Notary::command);

    let cases = [
        ("`trust resolve --offline`", signed.command(&["resolve", "--offline"]), 5),
        ("`trust verify --no-registry`, TLS", signed.command(&["verify", "--no-registry"]), 10),
        ("`trust verify`, TLS, and HEAD at the registry", signed.command(&["verify"]), 15),
    ];
    let true_command = nothing();
    let mut random_command = Command::new(std::env::current_exe()?);
    random_command.arg(process::RANDOM);
    // The first one fetches all files, and each must do what it is measured for.
    for (_, command, _) in cases.iter().rev() {
        let mut again = Command::new(command.get_program());
        signed.reader.environment(&mut again);
        done(again.args(command.get_args()))?;
    }

    let mut ours: [Samples; 3] = Default::default();
    let (mut floor, mut random, mut peer) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        floor.add(&true_command)?;
        random.add(&random_command)?;
        for ((_, command, _), samples) in cases.iter().zip(&mut ours) {
            samples.add(command)?;
        }
        if let Some(lookup) = &lookup {
            peer.add(lookup)?;
        }
    }

    let mut rows = Vec::new();
    let plain = |what: &str, samples: &Samples| Row {
        what: what.to_owned(),
        wall: samples.wall(),
        worst: samples.worst(),
        cpu: Some(samples.cpu()),
        peak: Some(samples.peak()),
        beside: "–".to_owned(),
        ratio: None,
        goal: None,
    };
    for ((what, _, limit), samples) in cases.iter().zip(&ours) {
        let limit = Duration::from_millis(*limit);
        let goal = format!("≤ {} ms, ≤ {}", limit.as_millis(), megabytes(MEMORY_GOAL));
        let met = samples.wall() <= limit && samples.peak() <= MEMORY_GOAL;
        let beside = match lookup {
            Some(_) => (format!("`notary lookup` {}", time(peer.wall())), ratio(samples.wall(), peer.wall())),
            None => (format!("`true` {}", time(floor.wall())), ratio(samples.wall(), floor.wall())),
        };
        rows.push(Row { beside: beside.0, ratio: Some(beside.1), goal: Some((goal, met)), ..plain(what, samples) });
    }
    if lookup.is_some() {
        rows.push(plain("peer: `notary lookup`, TLS, its own server", &peer));
    }
    rows.push(plain("floor: a process that does nothing (`true`)", &floor));
    rows.push(plain("floor of TLS: a process that draws its first random bytes (aws-lc-rs)", &random));
    Ok(rows)
}
