//! A collection on a real stack with one signed image, and the questions that every fault test asks afterwards: is what is
//! served whole, did a version go back, is something lost that was acknowledged.
//!
//! [`Watch`] looks on while things happen, as a cache or a client without a state would; [`Scene::check`] looks at the end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use trust_image::Digest;
use trust_tuf::UtcTime;

use super::images::{self, Image};
use super::{Options, Person, Stack, built, run};

/// An answer over HTTP, as it came.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came after the head.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Reads a whole answer; one that is shorter than it says is an error.
    pub fn parse(answer: &[u8], to_head: bool) -> io::Result<Self> {
        let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(cut_off)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).ok_or_else(cut_off)?;
        let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
        let answer = Self { status, headers: lines.filter_map(pair).collect(), body: answer[end + 4..].to_vec() };
        let stated = answer.header("content-length").and_then(|n| n.parse::<usize>().ok());
        let empty = to_head || matches!(status, 204 | 304);
        if stated.is_some_and(|n| n != answer.body.len()) && !empty { Err(cut_off()) } else { Ok(answer) }
    }
}

/// One request on a connection of its own.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<HttpAnswer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    HttpAnswer::parse(&answer, method == "HEAD")
}

/// A stack with a collection, a person who signs as `targets`, a reader with a pin, and one image signed as `app:v0`.
pub struct Scene {
    /// The stack.
    pub stack: Stack,
    /// Signs as `targets`.
    pub alice: Person,
    /// Verifies; has a state of its own and no token.
    pub reader: Person,
    /// The image.
    pub image: Image,
    /// The collection.
    pub collection: String,
    /// Its root's fingerprint.
    pub fingerprint: String,
}

impl Scene {
    /// Starts a stack with this collection.
    pub fn start(dir: &Path, name: &str, options: Options) -> Self {
        Self::on(Stack::start(dir, options).unwrap(), dir, name)
    }

    /// Makes the collection on a running stack.
    pub fn on(stack: Stack, dir: &Path, name: &str) -> Self {
        let token = stack.token("alice", "*=read,publish,admin").unwrap();
        let alice = stack.person("alice", Some(&token)).unwrap();
        let reader = stack.person("reader", None).unwrap();
        let collection = format!("{}/{name}", stack.registry);
        let fingerprint = stack.create(&alice, &collection).unwrap();
        let image = images::single(&dir.join("image"), name, &[]).unwrap();
        images::push(&image, &format!("{collection}/app:v0")).unwrap();
        let scene = Self { stack, alice, reader, image, collection, fingerprint };
        scene.pin(&scene.reader);
        assert_exit(&scene.sign("v0"), 0, "the first signature");
        assert_eq!(scene.resolve("v0"), Some(0));
        scene
    }

    /// Pins the collection's root on another machine.
    pub fn pin(&self, person: &Person) {
        let pin = run(person.trust().args(["pin", "add", &self.collection, &self.fingerprint])).unwrap();
        assert_exit(&pin, 0, "pin add");
    }

    /// `trust sign app:TAG@DIGEST` as this person.
    pub fn sign_command(&self, person: &Person, tag: &str) -> Command {
        let mut command = person.trust();
        command.args(["sign", &format!("{}/app:{tag}@{}", self.collection, self.image.digest)]);
        command
    }

    /// Alice signs a tag.
    pub fn sign(&self, tag: &str) -> Output {
        run(&mut self.sign_command(&self.alice, tag)).unwrap()
    }

    /// `trust resolve` by the reader.
    pub fn resolve(&self, tag: &str) -> Option<i32> {
        self.resolve_as(&self.reader, tag).status.code()
    }

    /// `trust resolve` by somebody.
    pub fn resolve_as(&self, person: &Person, tag: &str) -> Output {
        run(person.trust().args(["resolve", &format!("{}/app:{tag}", self.collection)])).unwrap()
    }

    /// Waits until the reader finds a tag; whether it came in time.
    pub fn comes(&self, tag: &str, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            if self.resolve(tag) == Some(0) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The path of a metadata file in URLs.
    pub fn path(&self, file: &str) -> String {
        format!("/tuf/{}/_metadata/{file}", self.collection)
    }

    /// A metadata file from the server.
    pub fn metadata(&self, file: &str) -> HttpAnswer {
        ask(&self.stack.server_address(), "GET", &self.path(file), &[]).unwrap()
    }

    /// The versions of timestamp and snapshot that are served now.
    pub fn versions(&self) -> (u64, u64) {
        let timestamp = self.metadata("timestamp.json");
        assert_eq!(timestamp.status, 200, "{}", String::from_utf8_lossy(&timestamp.body));
        let signed = &timestamp.json()["signed"];
        (number(&signed["version"]), number(&signed["meta"]["snapshot.json"]["version"]))
    }

    /// The server's log, oldest first.
    pub fn log(&self) -> Vec<Value> {
        let out = run(self.alice.trust().args(["log", &self.collection, "-o", "json", "--limit", "1000"])).unwrap();
        assert_exit(&out, 0, "trust log");
        let value: Value = serde_json::from_slice(&out.stdout).unwrap();
        let mut entries = value["entries"].as_array().cloned().unwrap_or_default();
        entries.reverse();
        entries
    }

    /// The invariants at rest: every acknowledged tag is there, for the old reader and for a new one, with the digest that
    /// was signed; the log counts 1, 2, 3, …, and in it the snapshot and each role rise by exactly one; every version in it
    /// is served, and has that number; the signer's audit log is whole.
    pub fn check(&self, acknowledged: &[String]) {
        let new = self.stack.person("newcomer", None).unwrap();
        if !new.home.join("config/trust/roots").exists() {
            self.pin(&new);
        }
        for person in [&self.reader, &new] {
            let out = run(person.trust().args(["list", &self.collection, "-o", "json"])).unwrap();
            assert_exit(&out, 0, "trust list");
            let value: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            let listed = value["entries"].as_array().cloned().unwrap_or_default();
            for tag in acknowledged {
                let is_it = |e: &&Value| e["reference"].as_str().is_some_and(|r| r.ends_with(&format!("app:{tag}")));
                let digest = listed.iter().find(is_it).and_then(|e| e["digest"].as_str());
                assert_eq!(digest, Some(self.image.digest.as_str()), "acknowledged tag {tag} is lost: {value:#}");
            }
        }
        self.check_history();
        let mut audit = Command::new(built("trust-signer"));
        audit.args(["audit", "verify", "--data"]).arg(self.stack.signer_data());
        assert_exit(&run(&mut audit).unwrap(), 0, "audit verify");
    }

    /// The log and the files that it speaks of.
    pub fn check_history(&self) {
        let log = self.log();
        let mut last = std::collections::BTreeMap::<String, u64>::new();
        for (expected, entry) in (1_u64..).zip(&log) {
            assert_eq!(number(&entry["sequence"]), expected, "the log has a hole: {log:#?}");
            let mut now = vec![("snapshot".to_owned(), number(&entry["snapshot"]))];
            let roles = entry["roles"].as_object().cloned().unwrap_or_default();
            now.extend(roles.iter().map(|(role, version)| (role.clone(), number(version))));
            for (role, version) in now {
                let before = last.insert(role.clone(), version).unwrap_or(0);
                let adopted = entry["token"].as_str().is_some_and(|t| t.starts_with('('));
                let follows = if adopted { version > before } else { version == before + 1 };
                assert!(follows, "{role} v{version} after v{before} in entry {expected}");
                let file = self.metadata(&format!("{version}.{role}.json"));
                assert_eq!(number(&file.json()["signed"]["version"]), version, "{version}.{role}.json");
            }
        }
        let (_, snapshot) = self.versions();
        assert_eq!(last.get("snapshot"), Some(&snapshot), "the log ends with what is served");
    }
}

/// A number in JSON; 0 if there is none.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Asserts an exit code, with what the program said.
#[track_caller]
pub fn assert_exit(output: &Output, exit: i32, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{what}: {said}");
}

/// What an observer saw.
#[derive(Debug, Default)]
pub struct Report {
    /// The timestamp versions, each once, in the order in which they were seen.
    pub versions: Vec<u64>,
    /// What must never be seen.
    pub wrong: Vec<String>,
    /// Looks without an answer: the server was not there.
    pub down: usize,
}

/// Somebody who looks at the served metadata all the time.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Report>>,
}

impl Watch {
    /// Begins to look.
    pub fn start(scene: &Scene) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, address, base) = (Arc::clone(&stop), scene.stack.server_address(), scene.path(""));
        let thread = std::thread::spawn(move || {
            let mut report = Report::default();
            while !flag.load(Ordering::SeqCst) {
                look(&address, &base, &mut report);
                std::thread::sleep(Duration::from_millis(25));
            }
            report
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops looking.
    pub fn report(mut self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().and_then(|t| t.join().ok()).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// One look: the timestamp is no older than before and not expired; if it is new, everything below it is there and fits.
fn look(address: &str, base: &str, report: &mut Report) {
    let get = |file: &str, wrong: &mut Vec<String>| match ask(address, "GET", &format!("{base}{file}"), &[]) {
        Ok(answer) if answer.status == 200 => Some(answer),
        // Not there, or not yet in agreement with the signer after a start.
        Err(_) => None,
        Ok(answer) if answer.status == 503 => None,
        Ok(answer) => {
            wrong.push(format!("{file}: status {}", answer.status));
            None
        }
    };
    let Some(timestamp) = get("timestamp.json", &mut report.wrong) else {
        report.down += 1;
        return;
    };
    let signed = &timestamp.json()["signed"];
    let (version, last) = (number(&signed["version"]), report.versions.last().copied().unwrap_or(0));
    let now = jiff::Timestamp::now().as_second();
    let expires = signed["expires"].as_str().and_then(UtcTime::parse).map_or(0, UtcTime::unix);
    if expires <= now {
        report.wrong.push(format!("timestamp v{version} expired {} s ago", now - expires));
    }
    if version < last {
        report.wrong.push(format!("timestamp v{version} after v{last}"));
    }
    if version <= last {
        return;
    }
    report.versions.push(version);
    let entry = &signed["meta"]["snapshot.json"];
    let Some(snapshot) = get(&format!("{}.snapshot.json", entry["version"]), &mut report.wrong) else { return };
    let sum = entry["hashes"]["sha256"].as_str().map(|sum| format!("sha256:{sum}"));
    if sum.is_some_and(|sum| sum != Digest::of(&snapshot.body).to_string()) {
        report.wrong.push(format!("timestamp v{version}: its snapshot has another hash"));
    }
    let roles = snapshot.json()["signed"]["meta"].as_object().cloned().unwrap_or_default();
    for (file, entry) in roles {
        let Some(role) = get(&format!("{}.{file}", entry["version"]), &mut report.wrong) else { continue };
        let sum = entry["hashes"]["sha256"].as_str().map(|sum| format!("sha256:{sum}"));
        if sum.is_some_and(|sum| sum != Digest::of(&role.body).to_string()) {
            report.wrong.push(format!("timestamp v{version}: {file} has another hash"));
        }
    }
}
