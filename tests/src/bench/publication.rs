//! One publication through server and signer, beside what it cannot do without: two durable transactions, the second
//! after the first, and the signatures that are made and checked on the way.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;
use trust_tuf::draft::Draft;
use trust_tuf::{PublicKey, RoleType, Signature, TargetInfo, UtcTime, json};
use trust_wire::api::{
    OnlineKeysRequest, OnlineKeysResponse, PublicationRequest, PublicationResponse, ReserveRequest, ReserveResponse,
    Versions,
};
use trust_wire::proof::key_from_json;

use super::process::{cpu_of, peak_of};
use super::report::{Row, megabytes, time};
use super::{Rounds, cpu_now, median, ratio};
use crate::stack::{Options, Stack, run};

const COLLECTION: &str = "registry.example.com/pay";
const ROUNDS: usize = 20;
const PER_ROUND: u32 = 10;
/// Operations before the first that counts: SQLite's log of 1,000 pages has come round, and no longer grows the file.
const WARM: (usize, usize) = (100, 400);
/// Publishers at once in the second line, each of a collection of its own, and publications of each in a round.
const PUBLISHERS: usize = 8;
const AT_ONCE: (usize, u32) = (5, 20);
/// How long the disk may take for a small write, so that ratios of wall times say something about the programs.
const PROMPT: Duration = Duration::from_millis(1);
const TAGS: usize = 10;
const YEAR: i64 = 365 * 86_400;

/// Just enough HTTP for one kept connection to a server that states lengths.
struct Http {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Http {
    fn connect(address: &str, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    fn send(&mut self, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let head = format!(
            "{head} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let (mut status, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_empty() {
                status = line;
            } else if line.is_empty() {
                break;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
            return Ok(body);
        }
        Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body))))
    }

    fn post<T: DeserializeOwned>(&mut self, path: &str, request: &impl serde::Serialize) -> io::Result<T> {
        let body = serde_json::to_vec(request)?;
        Ok(serde_json::from_slice(&self.send(&format!("POST {path}"), &body)?)?)
    }
}

fn key(pair: &Ed25519KeyPair) -> PublicKey {
    PublicKey::ed25519(pair.public_key().as_ref()).unwrap()
}

fn signed(pair: &Ed25519KeyPair, draft: &Draft) -> Vec<u8> {
    let sig = pair.sign(&draft.payload()).as_ref().to_vec();
    draft.assemble([Signature { keyid: key(pair).id(), sig }])
}

fn target(text: &str) -> TargetInfo {
    let mut info = TargetInfo::of(text.as_bytes());
    let facts = r#"{"image":{"annotations":{},"mediaType":"application/vnd.oci.image.manifest.v1+json","platforms":[],"signed":"2026-01-01T00:00:00Z","tags":["v1"]}}"#;
    info.custom = json::parse(facts.as_bytes()).ok();
    info
}

/// A person with the keys of root and targets in hand, and the server.
struct Publisher {
    http: Http,
    collection: String,
    pair: Ed25519KeyPair,
    expires: UtcTime,
    root: Vec<u8>,
    targets: Draft,
    published: u64,
}

impl Publisher {
    fn create(stack: &Stack, token: &str, collection: &str) -> io::Result<Self> {
        let mut http = Http::connect(&stack.server_address(), token.trim())?;
        let seed = |n: u8| Ed25519KeyPair::from_seed_unchecked(&[n; 32]).map_err(io::Error::other);
        let (root_pair, pair) = (seed(81)?, seed(82)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let expires = i64::try_from(now).ok().and_then(|now| UtcTime::from_unix(now + YEAR));
        let expires = expires.ok_or_else(|| io::Error::other("the clock is wrong"))?;

        let _: ReserveResponse = http.post("/v1/_collections", &ReserveRequest { name: collection.to_owned() })?;
        let request = OnlineKeysRequest {
            roles: ["timestamp", "snapshot"].map(str::to_owned).to_vec(),
            nonce: "a-nonce-of-the-benchmark".to_owned(),
        };
        let online: OnlineKeysResponse = http.post(&format!("/v1/{collection}/_online-keys"), &request)?;
        let mut root = Draft::root(expires);
        root.set_role(RoleType::Root, &[key(&root_pair)], 1);
        root.set_role(RoleType::Targets, &[key(&pair)], 1);
        for (role, proof) in [RoleType::Timestamp, RoleType::Snapshot].into_iter().zip(&online.proofs) {
            let key = key_from_json(&proof.key).ok_or_else(|| io::Error::other("an online key cannot be read"))?;
            root.set_role(role, &[key], 1);
        }
        let mut targets = Draft::targets(expires);
        for tag in 0..TAGS {
            targets.set_target(&format!("api/v{tag}"), &target("the first"));
        }
        let root = signed(&root_pair, &root);
        let fingerprint = hex::encode(trust_tuf::model::sha256(&root));
        let admitted = run(&mut stack.admit(collection, &fingerprint))?;
        if !admitted.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&admitted.stderr).into_owned()));
        }
        Ok(Self { http, collection: collection.to_owned(), pair, expires, root, targets, published: 0 })
    }

    /// Signs the next version of `targets` and publishes it; the file.
    fn publish(&mut self) -> io::Result<Vec<u8>> {
        let file = signed(&self.pair, &self.targets);
        let first = self.published == 0;
        let mut expected = Versions::default();
        if !first {
            expected.root = Some(1);
            expected.roles.insert("targets".to_owned(), self.published);
        }
        let request = PublicationRequest {
            idempotency_key: format!("publication-{:08}", self.published),
            expected,
            roots: if first { vec![self.root.as_slice().into()] } else { Vec::new() },
            roles: [("targets".to_owned(), file.as_slice().into())].into(),
            blobs: Vec::new(),
            grant: None,
        };
        let path = format!("/v1/{}/_publications", self.collection);
        let answer: PublicationResponse = self.http.post(&path, &request)?;
        self.published += 1;
        if answer.roles.get("targets") != Some(&self.published) {
            return Err(io::Error::other(format!("published another version: {answer:?}")));
        }
        Ok(file)
    }

    /// Another digest for one tag; what a person does before signing is not measured.
    fn change(&mut self, file: &[u8]) -> io::Result<()> {
        self.targets = Draft::next(file, self.expires).map_err(io::Error::other)?;
        let tag = usize::try_from(self.published).unwrap_or(0) % TAGS;
        self.targets.set_target(&format!("api/v{tag}"), &target(&format!("change {}", self.published)));
        Ok(())
    }

    fn current(&mut self, file: &str) -> io::Result<Vec<u8>> {
        self.http.send(&format!("GET /tuf/{}/_metadata/{file}", self.collection), b"")
    }
}

/// The disk alone: 4 KiB written over what is there, and synced.
fn sync(file: &File) -> io::Result<()> {
    file.write_all_at(&[7; 4096], 0)?;
    file.sync_data()
}

/// What a publication cannot do without.
struct Floor {
    stores: [Connection; 2],
    pair: Ed25519KeyPair,
    /// Role, snapshot, timestamp.
    files: [Vec<u8>; 3],
}

impl Floor {
    fn open(dir: &Path, files: [Vec<u8>; 3]) -> io::Result<Self> {
        let open = |name: &str| {
            let store = Connection::open(dir.join(name))?;
            store.pragma_update(None, "journal_mode", "wal")?;
            store.pragma_update(None, "synchronous", "full")?;
            store.execute_batch(
                "CREATE TABLE file (id INTEGER PRIMARY KEY, role BLOB, snapshot BLOB, timestamp BLOB)",
            )?;
            Ok::<_, rusqlite::Error>(store)
        };
        let stores = [open("floor-server.db"), open("floor-signer.db")];
        let [Ok(server), Ok(signer)] = stores else { return Err(io::Error::other("SQLite")) };
        let pair = Ed25519KeyPair::from_seed_unchecked(&[83; 32]).map_err(io::Error::other)?;
        Ok(Self { stores: [server, signer], pair, files })
    }

    fn publish(&mut self) {
        let Self { stores: [server, signer], pair, files } = self;
        let [role, snapshot, timestamp] = &*files;
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key());
        let write = |store: &mut Connection| {
            let transaction = store.transaction().unwrap();
            let insert = "INSERT INTO file (role, snapshot, timestamp) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(insert).unwrap().execute(params![role, snapshot, timestamp]).unwrap();
            transaction.commit().unwrap();
        };
        // The person signs; the server checks and keeps it.
        let by_person = pair.sign(role);
        public.verify(role, by_person.as_ref()).unwrap();
        write(server);
        // The signer checks, signs and marks.
        public.verify(role, by_person.as_ref()).unwrap();
        let made = [pair.sign(snapshot), pair.sign(timestamp)];
        write(signer);
        // The server checks what the signer made.
        public.verify(snapshot, made[0].as_ref()).unwrap();
        public.verify(timestamp, made[1].as_ref()).unwrap();
    }
}

/// Everybody publishes at once: time of each round for one publication, and the median CPU time of the clients for one.
fn at_once(stack: &Stack, token: &str) -> io::Result<(Vec<Duration>, Duration)> {
    let mut publishers = Vec::new();
    for n in 0..PUBLISHERS {
        let mut publisher = Publisher::create(stack, token, &format!("registry.example.com/many/c{n}"))?;
        let file = publisher.publish()?;
        publishers.push((publisher, file));
    }
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..AT_ONCE.0 {
        let start = Instant::now();
        let rounds: Vec<io::Result<Duration>> = thread::scope(|scope| {
            let threads: Vec<_> = publishers.iter_mut().map(|one| scope.spawn(move || publish_some(one))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let all = u32::try_from(PUBLISHERS).unwrap_or(1) * AT_ONCE.1;
        walls.push(start.elapsed() / all);
        let mut used = Duration::ZERO;
        for cpu in rounds {
            used += cpu?;
        }
        cpus.push(used / all);
    }
    Ok((walls, median(&cpus)))
}

/// Publishes as often as one does in a round; the CPU time of this thread for it, the preparation included.
fn publish_some((publisher, file): &mut (Publisher, Vec<u8>)) -> io::Result<Duration> {
    let before = cpu_now();
    for _ in 0..AT_ONCE.1 {
        publisher.change(file)?;
        *file = publisher.publish()?;
    }
    Ok(cpu_now().saturating_sub(before))
}

/// Measures and tells.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    let mut stack = Stack::start(dir, Options { registry: false, ..Options::default() })?;
    // One client after the other is measured here, not the limit of publications a second.
    fs::write(stack.dir.join("signer.toml"), "publications_per_second = 100000\nsignatures_per_second = 1000000\n")?;
    stack.start_signer()?;
    stack.start_server(None)?;
    let token = fs::read_to_string(stack.token("bench", "*=read,publish,admin")?)?;
    let mut publisher = Publisher::create(&stack, &token, COLLECTION)?;
    let mut file = publisher.publish()?;
    for _ in 0..WARM.0 {
        publisher.change(&file)?;
        file = publisher.publish()?;
    }
    let snapshot = publisher.current(&format!("{}.snapshot.json", publisher.published))?;
    let timestamp = publisher.current("timestamp.json")?;
    let bytes = [file.len(), snapshot.len(), timestamp.len()];
    let mut floor = Floor::open(&stack.dir, [file.clone(), snapshot, timestamp])?;
    (0..WARM.1).for_each(|_| floor.publish());

    let processes: Vec<(&str, u32)> = [("server", &stack.server), ("signer", &stack.signer)]
        .into_iter()
        .filter_map(|(name, process)| Some((name, process.as_ref()?.id())))
        .collect();
    let cpu = || processes.iter().map(|(_, id)| cpu_of(*id)).collect::<Vec<_>>();
    let disk = File::create(stack.dir.join("disk"))?;
    let (mut ours, mut beside, mut syncs) = (Rounds::default(), Rounds::default(), Rounds::default());
    let before = cpu();
    let mut failed = None;
    for _ in 0..ROUNDS {
        for _ in 0..PER_ROUND {
            publisher.change(&file)?;
            ours.round(1, || match publisher.publish() {
                Ok(published) => file = published,
                Err(error) => failed = Some(error),
            });
            if let Some(error) = failed.take() {
                return Err(error);
            }
        }
        for _ in 0..PER_ROUND {
            beside.round(1, || floor.publish());
        }
        for _ in 0..PER_ROUND {
            let mut synced = Ok(());
            syncs.round(1, || synced = sync(&disk));
            synced?;
        }
    }
    let count = u32::try_from(ROUNDS).unwrap_or(1) * PER_ROUND;
    let used: Vec<Duration> =
        cpu().iter().zip(&before).map(|(after, before)| after.saturating_sub(*before) / count).collect();
    let before = cpu();
    let (many, clients) = at_once(&stack, &token)?;
    let published = u32::try_from(AT_ONCE.0 * PUBLISHERS).unwrap_or(1) * AT_ONCE.1;
    let shared: Duration =
        cpu().iter().zip(&before).map(|(after, before)| after.saturating_sub(*before) / published).sum();
    let peaks: Vec<u64> = processes.iter().map(|(_, id)| peak_of(*id)).collect();
    let parts: Vec<String> =
        processes.iter().zip(&used).map(|((name, _), used)| format!("{name} {}", time(*used))).collect();

    let rate = |wall: Duration| 1.0 / wall.as_secs_f64();
    let of_floor = ratio(beside.wall(), ours.wall());
    // A virtual machine may learn of a finished write only with the next tick of its clock (4 ms here) while its processor
    // is busy. Whoever is lucky more often is then "quicker": such a run judges nothing.
    let goal = "≥ 0.7 × the floor's rate".to_owned();
    let judged = syncs.wall() <= PROMPT;
    let [role, snapshot, timestamp] = bytes;
    let of_processes = |name: &str, peak: u64| format!("{name} {}", megabytes(peak));
    let peaks: Vec<String> = processes.iter().zip(peaks).map(|((name, _), peak)| of_processes(name, peak)).collect();
    println!(
        "<!-- publication: {count} in {ROUNDS} rounds; role {role}, snapshot {snapshot}, timestamp {timestamp} bytes; CPU of {}; \
         peak memory of {} -->",
        parts.join(", "),
        peaks.join(", ")
    );
    Ok(vec![
        Row {
            what: format!("a publication through server and signer ({:.0}/s)", rate(ours.wall())),
            wall: ours.wall(),
            worst: ours.worst(),
            cpu: Some(used.iter().sum::<Duration>() + ours.cpu()),
            peak: None,
            beside: format!(
                "the floor below ({:.0}/s){}",
                rate(beside.wall()),
                if judged { "" } else { "; not judged: the disk answers late" }
            ),
            ratio: Some(of_floor),
            goal: judged.then_some((goal, of_floor >= 0.7)),
        },
        Row {
            what: format!(
                "{PUBLISHERS} publishers of {PUBLISHERS} collections at once ({:.0}/s together)",
                rate(median(&many))
            ),
            wall: median(&many),
            worst: many.iter().max().copied().unwrap_or_default(),
            cpu: Some(shared + clients),
            peak: None,
            beside: "–".to_owned(),
            ratio: None,
            goal: None,
        },
        Row {
            what: "floor: two durable transactions, 3 signatures, 4 checks".to_owned(),
            wall: beside.wall(),
            worst: beside.worst(),
            cpu: Some(beside.cpu()),
            peak: None,
            beside: "–".to_owned(),
            ratio: None,
            goal: None,
        },
        Row {
            what: "the disk alone: 4 KiB written and synced".to_owned(),
            wall: syncs.wall(),
            worst: syncs.worst(),
            cpu: Some(syncs.cpu()),
            peak: None,
            beside: "–".to_owned(),
            ratio: None,
            goal: None,
        },
    ])
}
