//! What the tests of the command line share: one real stack with people on it, runs of `trust` that are watched for
//! secrets, and checks that are collected, so that one run tells everything that is wrong.
//!
//! Invariant: nothing here calls the library of the command; only the built program is judged.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod hostile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::proxy::Proxy;
use trust_tests::stack::{Options, Person, Stack, run};

/// One finished run of a program.
#[derive(Debug, Clone)]
pub struct Run {
    /// The arguments, as they were typed.
    pub line: String,
    /// The exit code; -1 for a signal.
    pub exit: i32,
    /// What it printed.
    pub out: String,
    /// What it reported.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// Both streams.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// The one document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or(Value::Null)
    }
}

/// The stack, its people, and what was found wrong so far.
pub struct World {
    /// Everything lies below it.
    pub dir: PathBuf,
    /// The real services.
    pub stack: Stack,
    /// In front of the registry: the name that images are called by.
    pub registry: Proxy,
    /// In front of the server.
    pub server: Proxy,
    /// Holds the keys of the collection.
    pub alice: Person,
    /// A client with the pinned root.
    pub ops: Person,
    /// The collection that is ready to be used.
    pub demo: String,
    /// Fingerprint of its root.
    pub root: String,
    /// The images by name.
    pub images: BTreeMap<&'static str, Image>,
    secrets: Vec<String>,
    wrong: Vec<String>,
    checks: usize,
    _folder: tempfile::TempDir,
}

impl World {
    /// Registry, signer and server; nobody has made a collection yet.
    pub fn start() -> Self {
        // In memory where there is such a folder: what a disk does in time is judged elsewhere.
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("cli");
        let folder = if memory.is_dir() { folder.tempdir_in(memory) } else { folder.tempdir() }.unwrap();
        let dir = folder.path().to_owned();
        let registry_only = Stack::registry_only(&dir).unwrap();
        let registry = Proxy::start(&registry_only.registry).unwrap();
        let stack = registry_only.with_services(Options::default()).unwrap();
        let server = Proxy::start(&stack.server_address()).unwrap();
        let token = stack.token("alice", "*=read,publish,admin").unwrap();
        let (alice, ops) = (stack.person("alice", Some(&token)).unwrap(), stack.person("ops", None).unwrap());
        let secrets = ["alice", "ops"].map(|name| format!("the passphrase of {name}"));
        let mut secrets = secrets.to_vec();
        secrets.push(std::fs::read_to_string(&token).unwrap().trim().to_owned());
        let demo = format!("{}/demo", registry.address());
        Self {
            dir,
            stack,
            registry,
            server,
            alice,
            ops,
            demo,
            root: String::new(),
            images: BTreeMap::new(),
            secrets,
            wrong: Vec::new(),
            checks: 0,
            _folder: folder,
        }
    }

    /// The collection is made, and `ops` has pinned it.
    pub fn create_demo(&mut self) {
        self.root = self.stack.create(&self.alice, &self.demo).unwrap();
        self.pin(&self.ops.clone());
    }

    /// This person pins the collection.
    pub fn pin(&mut self, person: &Person) {
        let (demo, root) = (self.demo.clone(), self.root.clone());
        let run = self.run(person, &["pin", "add", &demo, &root]);
        assert_eq!(run.exit, 0, "{}", run.said());
    }

    /// Makes and pushes a small image as `PATH:TAG`; `index` for one of two platforms.
    pub fn push(&mut self, name: &'static str, path: &str, index: bool) -> Image {
        let layout = self.dir.join("images").join(name);
        let image = match index {
            true => images::index(&layout, name, &[]),
            false => images::single(&layout, name, &[("com.example.team", name)]),
        };
        let image = image.unwrap();
        self.push_again(&image, path);
        self.images.insert(name, image.clone());
        image
    }

    /// Makes and pushes a small image of one platform with these labels.
    pub fn push_labelled(&mut self, name: &'static str, path: &str, labels: &[(&str, &str)]) -> Image {
        let image = images::single(&self.dir.join("images").join(name), name, labels).unwrap();
        self.push_again(&image, path);
        self.images.insert(name, image.clone());
        image
    }

    /// A collection for the policy, which `ops` pins; its name.
    pub fn create_policy(&mut self) -> String {
        let name = format!("{}/policy", self.registry.address());
        let root = self.stack.create(&self.alice, &name).unwrap();
        let ops = self.ops.clone();
        let run = self.run(&ops, &["pin", "add", &name, &root]);
        assert_eq!(run.exit, 0, "{}", run.said());
        name
    }

    /// Images that differ in their label, pushed and signed: `data-NAME`.
    pub fn sign_labelled(&mut self) {
        let key = "com.example.data";
        for (name, labels) in [
            ("data-public", vec![(key, "public")]),
            ("data-PII", vec![(key, "PII")]),
            ("data-typo", vec![(key, "Pii")]),
            ("data-none", vec![]),
        ] {
            let path = format!("demo/{}:v1", name.to_lowercase());
            let image = self.push_labelled(name, &path, &labels);
            let reference = format!("{}/{path}@{}", self.registry.address(), image.digest);
            self.sign(&reference);
        }
    }

    /// Pushes an image under another name.
    pub fn push_again(&self, image: &Image, path: &str) {
        images::push(image, &format!("{}/{path}", self.stack.registry)).unwrap();
    }

    /// Signs as alice; it must succeed.
    pub fn sign(&mut self, reference: &str) {
        let alice = self.alice.clone();
        let run = self.run(&alice, &["sign", reference]);
        assert_eq!(run.exit, 0, "{}", run.said());
    }

    /// From now on this text may be in no output.
    pub fn secret(&mut self, text: &str) {
        self.secrets.push(text.to_owned());
    }

    /// `trust` as this person.
    pub fn run(&mut self, person: &Person, arguments: &[&str]) -> Run {
        self.run_with(person, arguments, |_| {})
    }

    /// The same, with a change of the command (variables, folder).
    pub fn run_with(&mut self, person: &Person, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Run {
        let mut command = person.trust();
        command.args(arguments).current_dir(&person.home);
        change(&mut command);
        self.run_command(&mut command)
    }

    /// Any command; what it says is searched for secrets.
    pub fn run_command(&mut self, command: &mut Command) -> Run {
        let began = Instant::now();
        let output = run(command).unwrap();
        self.seen(command, output, began.elapsed())
    }

    /// `trust` as this person, with this file as stdin.
    pub fn run_fed(&mut self, person: &Person, arguments: &[&str], file: &Path) -> Run {
        let mut command = person.trust();
        command.args(arguments).current_dir(&person.home).stdin(std::fs::File::open(file).unwrap());
        let began = Instant::now();
        let output = command.output().unwrap();
        self.seen(&command, output, began.elapsed())
    }

    fn seen(&mut self, command: &Command, output: std::process::Output, took: Duration) -> Run {
        let mut words = vec![Path::new(command.get_program()).file_name().unwrap().to_string_lossy().into_owned()];
        words.extend(command.get_args().map(|a| quoted(&a.to_string_lossy())));
        let line = words.join(" ");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let done = Run {
            line,
            exit: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
            took,
        };
        let said = done.said();
        let leaks: Vec<String> = self.secrets.iter().filter(|s| said.contains(*s)).cloned().collect();
        for secret in leaks {
            self.wrong.push(format!("`{}` prints a secret ({} bytes)", done.line, secret.len()));
        }
        if said.contains("panicked") || said.contains("RUST_BACKTRACE") {
            self.wrong.push(format!("`{}` panics:\n{said}", done.line));
        }
        done
    }

    /// Notes that something must hold.
    pub fn check(&mut self, what: &str, holds: bool, seen: &str) {
        self.checks += 1;
        if !holds {
            self.wrong.push(format!("{what}\n{}", indented(seen)));
        }
    }

    /// The run ended with this code and said all of this.
    pub fn expect(&mut self, what: &str, run: &Run, exit: i32, says: &[&str]) {
        let said = run.said();
        let missing: Vec<&&str> = says.iter().filter(|text| !said.contains(**text)).collect();
        let holds = run.exit == exit && missing.is_empty();
        let seen = format!("$ {}\nexit {} (expected {exit}), missing {missing:?}\n{said}", run.line, run.exit);
        self.check(what, holds, &seen);
        if exit != 0 {
            self.check(&format!("{what}: no success mark"), !said.contains('✓'), &said);
        }
    }

    /// Runs as this person and expects.
    pub fn refused(&mut self, what: &str, person: &Person, arguments: &[&str], exit: i32, says: &[&str]) -> Run {
        let run = self.run(person, arguments);
        self.expect(what, &run, exit, says);
        run
    }

    /// Ends the test: everything that was wrong, at once.
    pub fn finish(self, at_least: usize) {
        assert!(
            self.wrong.is_empty(),
            "{} of {} checks:\n\n{}",
            self.wrong.len(),
            self.checks,
            self.wrong.join("\n\n")
        );
        assert!(self.checks >= at_least, "only {} checks ran", self.checks);
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
