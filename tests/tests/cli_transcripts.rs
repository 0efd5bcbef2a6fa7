//! A transcript of every command: what it prints for people, on which stream, and how it ends, told as one story on a real
//! stack and compared with `tests/transcripts/NAME.txt`. `UPDATE_TRANSCRIPTS=1` writes the files again.
//!
//! What differs between two runs (ports, keys, times, folders) is replaced by a word in `<…>` or capitals.

mod cli_world;
#[path = "cli_transcripts/policies.rs"]
mod policies;
#[path = "cli_transcripts/reserved.rs"]
mod reserved;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cli_world::{Run, World};
use trust_tests::stack::Person;
use trust_tests::stack::proxy::Answer;

/// The transcripts of one run.
struct Book {
    world: World,
    words: Vec<(String, String)>,
    written: BTreeSet<String>,
    update: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

impl Book {
    fn open() -> Self {
        let world = World::start();
        let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
        let mut book = Self { world, words: Vec::new(), written: BTreeSet::new(), update };
        book.learn();
        book
    }

    /// What is replaced by what; longer texts first.
    fn learn(&mut self) {
        let world = &self.world;
        let registry = world.registry.address().to_owned();
        let mut words = vec![
            (registry.clone(), "REGISTRY".to_owned()),
            (registry.replace([':', '.'], "-"), "REGISTRY".to_owned()),
            (registry.replace(':', "_"), "REGISTRY".to_owned()),
            (world.stack.registry.clone(), "BEHIND".to_owned()),
            (world.stack.server_address(), "SERVER".to_owned()),
            (world.server.address().to_owned(), "MIDDLE".to_owned()),
            (world.stack.identity.clone(), "<signer>".to_owned()),
            (world.stack.identity.chars().take(12).collect(), "<signer, short>".to_owned()),
            (world.dir.display().to_string(), "DIR".to_owned()),
            (trust_tests::stack::tools_dir().display().to_string(), "TOOLS".to_owned()),
            (env!("CARGO_PKG_VERSION").to_owned(), "<version>".to_owned()),
        ];
        for person in [&world.alice, &world.ops] {
            let name = person.home.file_name().unwrap().to_string_lossy().into_owned();
            words.push((person.home.display().to_string(), format!("/home/{name}")));
        }
        if !world.root.is_empty() {
            words.push((world.root.clone(), "<root>".to_owned()));
            words.push((world.root.chars().take(12).collect(), "<root, short>".to_owned()));
        }
        for (name, image) in &world.images {
            let hex = image.digest.trim_start_matches("sha256:");
            words.push((hex.to_owned(), format!("<{name}>")));
            words.push((hex.chars().take(12).collect(), format!("<{name}, short>")));
        }
        words.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        self.words = words;
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.words {
            text = text.replace(from, to);
        }
        text.lines().map(|line| format!("{}\n", steady(line))).collect()
    }

    /// Runs, and compares with the transcript of this name.
    fn tell(&mut self, name: &str, person: &Person, arguments: &[&str], exit: i32) -> Run {
        let run = self.world.run(person, arguments);
        self.compare(name, person, &run, exit);
        run
    }

    fn compare(&mut self, name: &str, person: &Person, run: &Run, exit: i32) {
        let who = person.home.file_name().unwrap().to_string_lossy().into_owned();
        self.world.check(
            &format!("{name} ends with {exit}"),
            run.exit == exit,
            &format!("exit {}\n{}", run.exit, run.said()),
        );
        let mut text = self.plain(&format!("{who}$ {}", run.line));
        text.push_str(&format!("exit {}\n", run.exit));
        for (stream, said) in [("stdout", &run.out), ("stderr", &run.err)] {
            if !said.is_empty() {
                text.push_str(&format!("── {stream}\n{}", self.plain(said)));
            }
        }
        assert!(self.written.insert(name.to_owned()), "two transcripts are called {name}");
        let path = folder().join(format!("{name}.txt"));
        if self.update {
            fs::write(&path, &text).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        let difference = difference(&stored, &text);
        self.world.check(
            &format!("transcripts/{name}.txt (UPDATE_TRANSCRIPTS=1 writes it)"),
            stored == text,
            &difference,
        );
    }

    /// No file is left over from a command that is gone.
    fn close(mut self) {
        let stored: BTreeSet<String> = fs::read_dir(folder())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().strip_suffix(".txt").map(str::to_owned))
            .collect();
        let left: Vec<&String> = stored.difference(&self.written).collect();
        self.world.check("every transcript belongs to a run", left.is_empty(), &format!("{left:?}"));
        self.world.finish(100);
    }
}

/// A line without what differs between two runs: ids, times, spans; and, where one was replaced, without columns.
fn steady(line: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || c == '-' || c == ':' {
            word.push(c);
        } else {
            out.push_str(&steady_word(&word));
            word.clear();
            if c != '\n' {
                out.push(c);
            }
        }
    }
    let out = spans(&out);
    // The head of a table is as wide as what stands below it.
    let capitals = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'#');
    let heads_table = line.split_whitespace().count() > 2 && line.split_whitespace().take(3).all(capitals);
    if !heads_table && out == *line && !out.contains('<') && !out.contains("REGISTRY") && !out.contains("/home/") {
        return out;
    }
    let indent = out.len() - out.trim_start().len();
    let mut packed = out[..indent].to_owned();
    let mut blanks = 0;
    for c in out[indent..].chars() {
        if c == ' ' {
            blanks += 1;
            if blanks > 2 {
                continue;
            }
        } else {
            blanks = 0;
        }
        packed.push(c);
    }
    packed
}

fn steady_word(word: &str) -> String {
    let hex = |n: usize| word.len() == n && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let day = word.len() == 10
        && word.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    // The day of the grant, and a part that is random.
    let exception = word.split_once('-').is_some_and(|(day, rest)| {
        day.len() == 8 && day.starts_with("20") && rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit())
    });
    let clock =
        word.len() == 5 && word.bytes().enumerate().all(|(at, b)| if at == 2 { b == b':' } else { b.is_ascii_digit() });
    match word {
        _ if hex(64) => "<id>".to_owned(),
        _ if hex(12) => "<id, short>".to_owned(),
        _ if word.len() == 20 && word.ends_with('Z') && word.contains('T') => "<time>".to_owned(),
        _ if day => "<day>".to_owned(),
        _ if exception => "<exception>".to_owned(),
        _ if clock => "<clock>".to_owned(),
        _ => match word.strip_prefix("sha256:") {
            Some(rest) => format!("sha256:{}", steady_word(rest)),
            None => word.to_owned(),
        },
    }
}

/// `23 h 59 min` → `<span>`.
fn spans(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let unit = words.get(at + 1).map(|u| u.trim_end_matches([',', ')', ';']));
        let number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        if number && unit.is_some_and(|u| ["s", "min", "h", "d"].contains(&u)) {
            let tail: String = words[at + 1].chars().filter(|c| !c.is_ascii_alphabetic()).collect();
            if out.last().is_some_and(|last| last == "<span>") {
                out.pop();
            }
            out.push(format!("<span>{tail}"));
            at += 2;
        } else {
            out.push((*word).to_owned());
            at += 1;
        }
    }
    out.join(" ")
}

/// The lines that differ, `-` as stored, `+` as said now.
fn difference(stored: &str, now: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (stored.lines().collect(), now.lines().collect());
    let same_front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_front;
    let same_back = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    for (mark, lines) in [('-', &old), ('+', &new)] {
        for line in &lines[same_front..lines.len() - same_back] {
            out.push_str(&format!("{mark} {line}\n"));
        }
    }
    out
}

#[test]
fn every_command_says_what_its_transcript_says() {
    let mut book = Book::open();
    birth(&mut book);
    images(&mut book);
    policies::policies(&mut book);
    policies::manifests(&mut book);
    reserved::reserved(&mut book);
    refusals(&mut book);
    people(&mut book);
    rotations(&mut book);
    bins(&mut book);
    this_machine(&mut book);
    help(&mut book);
    book.close();
}

fn birth(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    book.tell("key-list-empty", &alice, &["key", "list"], 42);
    book.tell("pin-list-empty", &ops, &["pin", "list"], 10);
    book.tell("list-empty", &ops, &["list"], 10);
    let unheard = format!("{demo}/api:v1");
    book.tell("verify-not-pinned", &ops, &["verify", &unheard], 10);
    book.tell("sign-not-pinned", &alice, &["sign", &format!("{unheard}@sha256:{}", "0".repeat(64))], 10);
    let nowhere = format!("{}/nowhere", book.world.registry.address());
    book.tell("pin-add-no-such-collection", &ops, &["pin", "add", &nowhere, "--first-use"], 10);
    book.tell("init-without-token", &ops, &["init", &demo], 31);
    let waiting = book.tell("init-not-admitted", &alice, &["init", &demo], 12);
    let dry = book.world.run(&alice, &["init", &demo, "--dry-run", "-o", "json"]).json();
    book.world.root = dry["fingerprint"].as_str().unwrap().to_owned();
    assert!(waiting.err.contains(&book.world.root));
    // Told again with the root's name, so that both transcripts name it alike.
    book.learn();
    book.tell("init-dry-run", &alice, &["init", &demo, "--dry-run"], 0);
    let mut admit = book.world.stack.admit(&demo, &book.world.root);
    let admitted = book.world.run_command(&mut admit);
    book.world.expect("admit", &admitted, 0, &["admitted"]);
    book.tell("init", &alice, &["init", &demo], 0);
    book.tell("init-again", &alice, &["init", &demo], 32);
    let root = book.world.root.clone();
    book.tell("pin-add-other-fingerprint", &ops, &["pin", "add", &demo, &"0".repeat(64)], 16);
    book.tell("pin-add", &ops, &["pin", "add", &demo, &root], 0);
    book.tell("pin-list", &ops, &["pin", "list"], 0);
    book.tell("pin-show", &ops, &["pin", "show", &demo], 0);
    book.tell("list-nothing-signed", &ops, &["list", &demo], 10);
}

fn images(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    let api = book.world.push("api", "demo/api:v1", false);
    let web = book.world.push("web", "demo/web:v1", true);
    let other = book.world.push("other", "demo/api:unsigned", false);
    book.learn();
    let (api_v1, web_v1) = (format!("{demo}/api:v1"), format!("{demo}/web:v1"));
    let by_digest = format!("{api_v1}@{}", api.digest);
    book.tell("sign-dry-run", &alice, &["sign", &by_digest, "--dry-run"], 0);
    book.tell("sign", &alice, &["sign", &by_digest], 0);
    book.tell("sign-index", &alice, &["sign", &web_v1, "--expect", &web.digest], 0);
    book.tell("sign-no-digest", &alice, &["sign", &web_v1], 40);
    book.tell("sign-expects-another", &alice, &["sign", &web_v1, "--expect", &api.digest], 13);
    book.tell("sign-no-such-image", &alice, &["sign", &format!("{demo}/api:v9@sha256:{}", "0".repeat(64))], 11);
    book.tell("sign-without-key", &ops, &["sign", &by_digest], 42);
    book.tell("verify", &ops, &["verify", &api_v1], 0);
    book.tell("verify-index", &ops, &["verify", "--content", &web_v1], 0);
    book.tell("verify-no-registry", &ops, &["verify", "--no-registry", &api_v1], 0);
    book.tell("verify-by-digest", &ops, &["verify", &format!("{demo}/api@{}", api.digest)], 0);
    book.tell("verify-several", &ops, &["verify", &api_v1, &format!("{demo}/api:unsigned"), &web_v1], 10);
    book.tell("resolve", &ops, &["resolve", &api_v1], 0);
    book.tell("resolve-offline", &ops, &["resolve", "--offline", &api_v1], 0);
    book.tell("resolve-not-signed", &ops, &["resolve", &format!("{demo}/api:unsigned")], 10);
    book.tell(
        "exec",
        &ops,
        &[
            "exec",
            "--",
            "skopeo",
            "--insecure-policy",
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{api_v1}"),
        ],
        0,
    );
    book.tell("exec-not-signed", &ops, &["exec", "--", "docker", "pull", &format!("{demo}/api:unsigned")], 10);
    book.tell("exec-not-understood", &ops, &["exec", "--", "docker", "compose", "up"], 2);
    book.tell("exec-no-such-program", &ops, &["exec", "--", "skopeo-of-nowhere", &format!("docker://{api_v1}")], 2);
    book.tell("list", &ops, &["list", &demo], 0);
    book.tell("list-digests", &ops, &["list", &demo, "--digests"], 0);
    book.tell("list-collections", &ops, &["list"], 0);
    book.tell("inspect", &ops, &["inspect", &demo], 0);
    book.tell("inspect-tag", &ops, &["inspect", &web_v1], 0);
    book.tell("inspect-not-signed", &ops, &["inspect", &format!("{demo}/api:unsigned")], 10);
    book.tell("log", &ops, &["log", &demo], 0);
    book.tell("diff", &ops, &["diff", &demo], 0);
    book.tell("diff-no-such-version", &ops, &["diff", &demo, "--from", "77"], 2);
    drop(other);
}

fn refusals(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    let (api_v1, other) = (format!("{demo}/api:v1"), book.world.images["other"].clone());
    let api = book.world.images["api"].clone();
    book.world.sign(&format!("{demo}/api:v9@{}", api.digest));
    book.tell("verify-not-pushed", &ops, &["verify", &format!("{demo}/api:v9")], 11);
    book.tell("verify-not-signed", &ops, &["verify", &format!("{demo}/api:unsigned")], 10);
    book.world.push_again(&other, "demo/api:v1");
    book.tell("verify-pushed-again", &ops, &["verify", &api_v1], 13);
    book.world.push_again(&api, "demo/api:v1");
    book.tell("verify-other-digest", &ops, &["verify", &format!("{api_v1}@{}", other.digest)], 13);
    book.tell("verify-signer-unknown", &ops, &["verify", &format!("{demo}/web:v1"), "--signer", "nobody"], 12);
    book.tell("verify-min-signers", &ops, &["verify", &api_v1, "--min-signers", "2"], 12);
    let lie = Answer::ok(&b"{}"[..]).header("content-type", "application/vnd.oci.image.manifest.v1+json");
    book.world.registry.answer(&format!("/manifests/{}", api.digest), lie);
    book.tell("verify-registry-lies", &ops, &["verify", "--content", &api_v1], 13);
    book.world.registry.honest();
    book.world
        .registry
        .answer("/demo/api/manifests/v1", Answer::status(401).header("www-authenticate", "Basic realm=\"team\""));
    book.tell("verify-registry-login", &ops, &["verify", &api_v1], 31);
    book.world.registry.honest();

    let server = book.world.server.url();
    let through = |words: &[&'static str]| -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).chain(["--server".to_owned(), server.clone()]).collect()
    };
    let cases: [(&str, Answer, i32); 7] = [
        ("server-withholds", Answer::status(404), 34),
        ("server-forbidden", Answer::status(403), 31),
        ("server-login", Answer::status(401), 31),
        ("server-limits", Answer::status(429).header("retry-after", "17"), 33),
        ("server-fails", Answer::status(500), 34),
        ("server-redirects", Answer::status(302).header("location", "http://example.com/"), 34),
        ("server-damaged", Answer::ok(&b"{\"signed\": {"[..]), 12),
    ];
    for (name, answer, exit) in cases {
        book.world.server.answer("/_metadata/timestamp.json", answer);
        let words = through(&["resolve"]);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(&api_v1);
        book.tell(name, &ops, &words, exit);
        book.world.server.honest();
    }
    book.tell("server-down", &ops, &["resolve", &api_v1, "--server", "http://127.0.0.1:1"], 30);
    book.tell("server-plain-http", &ops, &["resolve", &api_v1, "--server", "http://trust.example.com"], 3);
    let asleep = book.world.stack.person("asleep", None).unwrap();
    book.tell("offline-nothing-stored", &ops_with_pin(book, &asleep), &["resolve", "--offline", &api_v1], 10);
    book.tell("unsign-not-mine", &alice, &["unsign", &format!("{demo}/api:unsigned"), "--yes"], 10);
    book.tell("unsign-unconfirmed", &alice, &["unsign", &api_v1], 40);
    book.tell("revoke-unconfirmed", &alice, &["revoke", &api_v1, "--reason", "a test"], 40);
    book.tell("revoke-wrong-name", &alice, &["revoke", &api_v1, "--reason", "a test", "--confirm", &demo], 2);
}

/// A person whose configuration pins the collection by hand, and who never updated.
fn ops_with_pin(book: &Book, person: &Person) -> Person {
    let config = person.home.join("config/trust");
    let world = &book.world;
    let text = fs::read_to_string(config.join("config.toml")).unwrap();
    let pin = format!("{text}\n[[pins]]\ncollection = \"{}\"\nfingerprint = \"{}\"\n", world.demo, world.root);
    fs::write(config.join("config.toml"), pin).unwrap();
    let roots = config.join("roots");
    fs::create_dir_all(&roots).unwrap();
    let file = format!("{}.root.json", world.root);
    fs::copy(world.ops.home.join("config/trust/roots").join(&file), roots.join(&file)).unwrap();
    person.clone()
}

fn people(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    let api_v1 = format!("{demo}/api:v1");
    let by_digest = format!("{api_v1}@{}", book.world.images["api"].digest);
    book.tell("key-generate", &alice, &["key", "generate", "alice"], 0);
    book.tell("key-generate-again", &alice, &["key", "generate", "alice"], 42);
    book.tell(
        "key-generate-unencrypted",
        &alice,
        &["key", "generate", "robot", "--type", "p256", "--no-passphrase"],
        0,
    );
    book.tell("key-list", &alice, &["key", "list"], 0);
    let shown = book.world.run(&alice, &["key", "show", "alice"]);
    book.world.expect("key show", &shown, 0, &["BEGIN PUBLIC KEY", "ed25519"]);
    let backup = alice.home.join("backup.pem").display().to_string();
    let passphrase = alice.home.join("passphrase").display().to_string();
    book.tell(
        "key-export-private",
        &alice,
        &["key", "export", "alice", "--private", "--out", &backup, "--new-passphrase-file", &passphrase],
        0,
    );
    book.tell("key-import", &alice, &["key", "import", &format!("file:{backup}"), "alice-2"], 0);
    book.tell("key-show-missing", &alice, &["key", "show", "nobody"], 42);
    let out = alice.home.join("alice.pub").display().to_string();
    book.tell("key-export", &alice, &["key", "export", "alice", "--out", &out], 0);
    book.tell("signer-list-empty", &ops, &["signer", "list", &demo], 0);
    book.tell("signer-add", &alice, &["signer", "add", "alice", &demo, "--signer-key", "alice"], 0);
    book.tell("signer-add-again", &alice, &["signer", "add", "alice", &demo, "--signer-key", "alice"], 2);
    book.tell("key-generate-qa", &ops, &["key", "generate", "qa"], 0);
    let (public, role) =
        (ops.home.join("qa.pub").display().to_string(), ops.home.join("qa.json").display().to_string());
    book.tell("key-export-qa", &ops, &["key", "export", "qa", "--out", &public], 0);
    book.tell("signer-accept", &ops, &["signer", "accept", "qa", &demo, "--key", "qa", "--out", &role], 0);
    book.tell("signer-add-without-accept", &alice, &["signer", "add", "qa", &demo, "--public-key", &public], 42);
    book.tell(
        "signer-add-accepted",
        &alice,
        &["signer", "add", "qa", &demo, "--public-key", &public, "--accept", &role, "--paths", "api/*"],
        0,
    );
    book.tell("signer-list", &ops, &["signer", "list", &demo], 0);
    book.tell("sign-as", &alice, &["sign", &by_digest, "--as", "alice"], 0);
    book.tell("sign-as-stranger", &alice, &["sign", &by_digest, "--as", "mallory"], 42);
    book.tell(
        "sign-outside-paths",
        &ops,
        &["sign", &format!("{demo}/web:v1@{}", book.world.images["web"].digest), "--as", "qa"],
        42,
    );
    book.tell("sign-token-missing", &ops, &["sign", &by_digest, "--as", "qa"], 31);
    book.tell("verify-signer", &ops, &["verify", &api_v1, "--signer", "alice"], 0);
    book.tell("verify-signer-missing", &ops, &["verify", &api_v1, "--signer", "alice", "--signer", "qa"], 12);
    book.tell("list-signers", &ops, &["list", &demo], 0);
    book.tell("inspect-signers", &ops, &["inspect", &demo], 0);
    book.tell("diff-role", &ops, &["diff", &demo, "--role", "alice"], 0);
    book.tell("unsign", &alice, &["unsign", &api_v1, "--as", "alice", "--yes"], 0);
    book.tell("signer-remove-unconfirmed", &alice, &["signer", "remove", "qa", &demo], 40);
    book.tell("signer-remove", &alice, &["signer", "remove", "qa", &demo, "--confirm", &demo], 0);
    book.tell("signer-remove-unknown", &alice, &["signer", "remove", "qa", &demo, "--confirm", &demo], 42);
    let web = book.world.images["web"].clone();
    book.tell(
        "revoke",
        &alice,
        &["revoke", &api_v1, "--reason", "leaks a password", "--confirm", &format!("{demo}/api")],
        0,
    );
    book.tell("verify-revoked", &ops, &["verify", &api_v1], 17);
    let digest = format!("{demo}/web@{}", web.digest);
    book.tell(
        "revoke-digest",
        &alice,
        &["revoke", &digest, "--reason", "CVE-2026-1", "--confirm", &format!("{demo}/web")],
        0,
    );
    book.tell("verify-revoked-digest", &ops, &["verify", &format!("{demo}/web:v1")], 17);
}

fn rotations(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    book.tell("rotate-without-keys", &ops, &["rotate", "targets", &demo], 42);
    book.tell("rotate-dry-run", &alice, &["rotate", "targets", &demo, "--dry-run"], 0);
    book.tell("rotate-timestamp", &alice, &["rotate", "timestamp", &demo, "--overlap", "0s"], 0);
    book.tell("rotate-timestamp-finish", &alice, &["rotate", "timestamp", &demo, "--finish"], 0);
    book.tell("rotate-finish-too-early", &alice, &["rotate", "snapshot", &demo, "--finish"], 2);
    book.tell("rotate-snapshot-emergency", &alice, &["rotate", "snapshot", &demo, "--emergency"], 0);
    book.tell("rotate-targets", &alice, &["rotate", "targets", &demo], 0);
    book.tell("rotate-root", &alice, &["rotate", "root", &demo], 0);
    book.tell("rotate-signer", &alice, &["rotate", "signer:alice", &demo], 0);
    book.tell("inspect-rotated", &ops, &["inspect", &demo], 0);
    book.tell("log-since", &ops, &["log", &demo, "--limit", "2"], 0);
}

fn bins(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    book.world.run(&alice, &["key", "generate", "ci"]);
    let add = ["signer", "add", "ci", &demo, "--signer-key", "ci", "--bins"];
    book.tell("signer-add-bins-usage", &alice, &[&add[..], &["1000"]].concat(), 2);
    book.tell("signer-add-bins", &alice, &[&add[..], &["4"]].concat(), 0);
    let image = format!("{demo}/api:nightly@{}", book.world.images["api"].digest);
    // Which bins that touches is the digest's to say.
    book.world.run(&alice, &["sign", &image, "--as", "ci"]);
    book.tell("signer-bins-behind", &alice, &["signer", "bins", "alice", &demo, "16"], 2);
    book.tell("signer-bins-dry-run", &alice, &["signer", "bins", "ci", &demo, "2^4", "--dry-run"], 0);
    book.tell("signer-bins", &alice, &["signer", "bins", "ci", &demo, "2^4"], 0);
    book.tell("signer-bins-again", &alice, &["signer", "bins", "ci", &demo, "16"], 0);
    book.tell("signer-bins-stranger", &ops, &["signer", "bins", "ci", &demo, "2"], 42);
    book.tell("signer-list-bins", &ops, &["signer", "list", &demo], 0);
    book.tell("log-bins", &ops, &["log", &demo, "--limit", "2"], 0);
    book.tell("signer-last-refused", &alice, &["signer", "last", "alice", &demo], 12);
    book.tell("signer-bins-none", &alice, &["signer", "bins", "ci", &demo, "none"], 0);
    book.tell("signer-last", &alice, &["signer", "last", "alice", &demo], 0);
}

fn this_machine(book: &mut Book) {
    let (ops, demo) = (book.world.ops.clone(), book.world.demo.clone());
    let server = book.world.server.url();
    book.tell("context-add", &ops, &["context", "add", "eu", "--server", &server], 0);
    book.tell("context-add-again", &ops, &["context", "add", "eu", "--server", &server], 2);
    book.tell("context-list", &ops, &["context", "list"], 0);
    book.tell("context-use", &ops, &["context", "use", "eu"], 0);
    book.tell("context-use-unknown", &ops, &["context", "use", "us"], 3);
    book.tell("context-unknown", &ops, &["resolve", &format!("{demo}/web:v1"), "--context", "us"], 3);
    book.tell("context-remove", &ops, &["context", "remove", "eu"], 0);
    book.tell("context-use-default", &ops, &["context", "use", "default"], 0);
    book.tell("config-show", &ops, &["config", "show", "--origin"], 0);
    book.tell("config-path", &ops, &["config", "path"], 0);
    book.tell("env", &ops, &["env"], 0);
    book.tell("version", &ops, &["version"], 0);
    book.tell("pin-remove-unconfirmed", &ops, &["pin", "remove", &demo], 40);
    book.tell("pin-remove", &ops, &["pin", "remove", &demo, "--confirm", &demo], 0);
    book.tell("pin-remove-again", &ops, &["pin", "remove", &demo, "--confirm", &demo], 10);
    let man = ops.home.join("man").display().to_string();
    book.tell("man", &ops, &["man", "--dir", &man], 0);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = book.world.run(&ops, &["completion", shell]);
        book.world.check(&format!("completion {shell}"), run.exit == 0 && run.out.contains("revoke"), &run.err);
    }
}

/// Every command and group, as `trust CMD -h` and the manual pages name them.
const COMMANDS: &[&str] = &[
    "init",
    "sign",
    "verify",
    "resolve",
    "inspect",
    "list",
    "log",
    "diff",
    "unsign",
    "revoke",
    "rotate",
    "exec",
    "key",
    "key generate",
    "key list",
    "key show",
    "key export",
    "key import",
    "signer",
    "signer add",
    "signer accept",
    "signer remove",
    "signer bins",
    "signer last",
    "signer list",
    "pin",
    "pin add",
    "pin list",
    "pin remove",
    "pin show",
    "policy",
    "policy init",
    "policy check",
    "policy fmt",
    "policy test",
    "policy explain",
    "policy publish",
    "policy show",
    "policy use",
    "policy pull",
    "policy diff",
    "policy log",
    "labels",
    "labels check",
    "labels show",
    "labels publish",
    "exception",
    "exception grant",
    "exception list",
    "exception revoke",
    "exception prune",
    "context",
    "context add",
    "context use",
    "context list",
    "context remove",
    "config",
    "config show",
    "config path",
    "status",
    "doctor",
    "env",
    "version",
    "completion",
    "man",
    "help",
];

fn help(book: &mut Book) {
    let ops = book.world.ops.clone();
    book.tell("help-trust", &ops, &[], 2);
    book.tell("help-long", &ops, &["--help"], 0);
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("-h");
        book.tell(&format!("help-{}", command.replace(' ', "-")), &ops, &words, 0);
    }
    for topic in [
        "exit-codes",
        "environment",
        "references",
        "key-uris",
        "config",
        "policy",
        "exceptions",
        "labels",
        "manifests",
        "E0009",
        "E1403",
        "sign",
    ] {
        book.tell(&format!("topic-{topic}"), &ops, &["help", topic], 0);
    }
    book.tell("topic-unknown", &ops, &["help", "E9999"], 2);
    book.tell("usage-typing-error", &ops, &["verfy"], 2);
    book.tell("usage-missing", &ops, &["verify"], 2);
    book.tell("usage-unknown-flag", &ops, &["verify", "--insecure", "a/b:v1"], 2);
    book.tell("usage-bad-reference", &ops, &["verify", "Ubuntu:v1"], 2);
    book.tell("usage-bad-digest", &ops, &["sign", "r.example/a:v1", "--expect", "sha256:abc"], 2);
    // Whoever adds a command adds its transcripts: the manual has one page for each.
    let pages = fs::read_dir(ops.home.join("man")).unwrap().count();
    book.world.check("every command has a help transcript", pages == COMMANDS.len() + 1, &format!("{pages} pages"));
}
