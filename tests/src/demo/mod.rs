//! The story of `make demo`, told with real programs: each command is shown, run and checked.

mod gates;

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use trust_tuf::json::{self, Value};

use crate::stack::images::{self, Image};
use crate::stack::proxy::{Answer, Proxy};
use crate::stack::{Options, Person, Stack, run, tool};

/// What a command must do.
struct Expect<'a> {
    exit: i32,
    /// Each must be in the output.
    says: &'a [&'a str],
}

const DONE: Expect<'_> = Expect { exit: 0, says: &[] };

fn refused<'a>(exit: i32, says: &'a [&'a str]) -> Expect<'a> {
    Expect { exit, says }
}

/// The people of the story, and what stands between them and the services.
struct Cast {
    alice: Person,
    qa: Person,
    /// A second client, with the pinned root.
    ops: Person,
    /// A client that sleeps from step 1 to step 4.
    sleeper: Person,
    /// A client behind a middle man in front of the server.
    victim: Person,
    /// In front of the server.
    mitm: Proxy,
    /// In front of the registry: what images are called by.
    registry: Proxy,
}

/// The running story.
pub struct Demo {
    stack: Stack,
    cast: Cast,
    images: std::path::PathBuf,
    wrong: Vec<String>,
    commands: usize,
    started: Instant,
}

#[allow(clippy::print_stdout)]
fn say(text: &str) {
    println!("{text}");
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) { argument.to_owned() } else { format!("'{argument}'") }
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|a| quoted(&a.to_string_lossy()));
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

impl Demo {
    /// Starts registry, signer and server below `dir`.
    pub fn start(dir: &Path) -> io::Result<Self> {
        let started = Instant::now();
        let lifetimes = vec![("REGISTRY/frozen".to_owned(), "5s".to_owned())];
        let (stack, registry) = start_stack(dir, lifetimes)?;
        let admin = stack.token("alice", "*=read,publish,admin")?;
        let publisher = stack.token("qa", &format!("{}/demo=read,publish", registry.address()))?;
        let mitm = Proxy::start(&stack.server_address())?;
        let cast = Cast {
            alice: stack.person("alice", Some(&admin))?,
            qa: stack.person("qa", Some(&publisher))?,
            ops: stack.person("ops", None)?,
            sleeper: stack.person("sleeper", None)?,
            victim: stack.person_at("victim", None, &mitm.url())?,
            mitm,
            registry,
        };
        let images = dir.join("images");
        Ok(Self { stack, cast, images, wrong: Vec::new(), commands: 0, started })
    }

    /// Tells the whole story; the number of checks that failed.
    pub fn tell(&mut self) -> io::Result<usize> {
        say(&format!("registry  {} (docker-registry, behind {})", self.stack.registry, self.cast.registry.address()));
        say(&format!("server    {} (trust-server on SQLite)", self.stack.server_url));
        say(&format!("signer    a process of its own on a Unix socket, identity {}", self.stack.identity));
        let demo = format!("{}/demo", self.cast.registry.address());
        self.create(&demo)?;
        let signed = self.sign_and_verify(&demo)?;
        self.refusals(&demo, &signed)?;
        self.rotations(&demo)?;
        self.people(&demo, &signed)?;
        let policy = self.policy(&demo)?;
        let registry = self.registry_gate(&demo, &signed, &policy)?;
        let admission = self.admission(&demo, &signed, &policy)?;
        self.tightened(&demo, &policy, &registry, &admission)?;
        self.exception(&demo, &policy, &admission)?;
        self.node(&demo, &signed, &policy)?;
        self.audit(&registry)?;
        for gate in [&registry, &admission] {
            self.check("each decision is in the gate's log", gates::decisions(&gate.dir) > 0);
        }
        say(&format!("\n{} commands in {:.1} s", self.commands, self.started.elapsed().as_secs_f64()));
        for wrong in &self.wrong {
            say(&format!("WRONG  {wrong}"));
        }
        Ok(self.wrong.len())
    }

    /// Leaves the stack running and says what to try.
    pub fn keep(self) {
        let alice = &self.cast.alice.home;
        say("\nThe stack is still running. To go on as alice:");
        for (name, dir) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            say(&format!("  export XDG_{name}_HOME={}", alice.join(dir).display()));
        }
        let passphrase = alice.join("passphrase");
        say(&format!("  export TRUST_PASSPHRASE_FILE={0} TRUST_ROOT_PASSPHRASE_FILE={0}", passphrase.display()));
        let demo = format!("{}/demo", self.stack.registry);
        say(&format!("  trust list {demo}\n  trust inspect {demo}\n  trust log {demo}"));
        say("To end it:");
        let processes = [&self.stack.registry_process, &self.stack.signer, &self.stack.server];
        let ids: Vec<String> = processes.into_iter().flatten().map(|p| p.id().to_string()).collect();
        say(&format!("  kill {} && rm -r {}", ids.join(" "), self.stack.dir.display()));
        self.stack.keep();
    }

    fn heading(&self, text: &str) {
        say(&format!("\n── {text} ──"));
    }

    /// Shows and runs a command, and checks what it must do.
    fn step(&mut self, who: &str, mut command: Command, expect: &Expect<'_>) -> io::Result<String> {
        let line = shown(&command);
        say(&format!("\n{who}$ {line}"));
        let output = run(&mut command)?;
        self.commands += 1;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        for text in all.lines() {
            say(&format!("  {text}"));
        }
        let exit = output.status.code().unwrap_or(-1);
        let mut problems = Vec::new();
        if exit != expect.exit {
            problems.push(format!("exit {exit}, expected {}", expect.exit));
        }
        problems.extend(expect.says.iter().filter(|s| !all.contains(*s)).map(|s| format!("does not say `{s}`")));
        if problems.is_empty() {
            say(&format!("  → exit {exit}, as expected"));
        } else {
            say(&format!("  → WRONG: {}", problems.join("; ")));
            self.wrong.push(format!("{line}: {}", problems.join("; ")));
        }
        Ok(stdout)
    }

    fn trust(&mut self, who: &str, person: &Person, arguments: &[&str], expect: &Expect<'_>) -> io::Result<String> {
        let mut command = person.trust();
        command.args(arguments);
        self.step(who, command, expect)
    }

    fn check(&mut self, what: &str, holds: bool) {
        say(&format!("  {} {what}", if holds { "checked:" } else { "WRONG:" }));
        if !holds {
            self.wrong.push(what.to_owned());
        }
    }

    /// Pushes past the middle man, under the name that images are called by.
    fn push(&mut self, image: &Image, path: &str) -> io::Result<()> {
        let reference = format!("{}/{path}", self.stack.registry);
        let command = images::push_command(image, &reference).ok_or_else(|| io::Error::other("skopeo is missing"))?;
        self.step("alice", command, &DONE)?;
        Ok(())
    }

    /// `trust init`, the operator's word at the signer, `trust init` again.
    fn init(&mut self, collection: &str) -> io::Result<String> {
        let alice = self.cast.alice.clone();
        self.trust("alice", &alice, &["init", collection], &refused(12, &["E3602", "trust-signer admit"]))?;
        let fingerprint = self.fingerprint(&alice, collection)?;
        let admit = self.stack.admit(collection, &fingerprint);
        self.step("operator", admit, &DONE)?;
        self.trust("alice", &alice, &["init", collection], &DONE)?;
        Ok(fingerprint)
    }

    /// The fingerprint of a root that `trust init` has signed, or of the pinned one.
    fn fingerprint(&mut self, person: &Person, collection: &str) -> io::Result<String> {
        let mut command = person.trust();
        command.args(["init", collection, "--dry-run", "-o", "json"]);
        let output = run(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value: serde_json::Value = serde_json::from_str(&text).map_err(io::Error::other)?;
        let found = ["fingerprint", "root_fingerprint"].iter().find_map(|n| value.get(n)?.as_str().map(str::to_owned));
        found.ok_or_else(|| io::Error::other(format!("no fingerprint in {text}")))
    }

    fn create(&mut self, demo: &str) -> io::Result<()> {
        self.heading("1. A collection is born; its root is pinned on a second client");
        let fingerprint = self.init(demo)?;
        for (who, person) in [("ops", self.cast.ops.clone()), ("sleeper", self.cast.sleeper.clone())] {
            self.trust(who, &person, &["pin", "add", demo, &fingerprint], &DONE)?;
        }
        let victim = self.cast.victim.clone();
        self.trust("victim", &victim, &["pin", "add", demo, &fingerprint], &DONE)?;
        Ok(())
    }

    fn sign_and_verify(&mut self, demo: &str) -> io::Result<Signed> {
        self.heading("2. Sign by digest, verify, resolve, pull exactly that");
        let api = images::single(&self.images.join("api"), "api, version 1", &[("com.example.data", "public")])?;
        let web = images::index(&self.images.join("web"), "web, version 1", &[])?;
        self.push(&api, "demo/api:v1")?;
        self.push(&web, "demo/web:v1")?;
        let (alice, ops) = (self.cast.alice.clone(), self.cast.ops.clone());
        let (api_name, web_name) = (format!("{demo}/api:v1"), format!("{demo}/web:v1"));
        self.trust("alice", &alice, &["sign", &format!("{api_name}@{}", api.digest)], &DONE)?;
        self.trust("alice", &alice, &["sign", &web_name, "--expect", &web.digest], &DONE)?;
        self.trust("ops", &ops, &["verify", &api_name, &web_name], &refused(0, &[&api.digest, &web.digest]))?;
        let resolved = self.trust("ops", &ops, &["resolve", &api_name], &DONE)?;
        self.check(
            "resolve printed NAME@DIGEST and nothing else",
            resolved.trim() == format!("{demo}/api@{}", api.digest),
        );

        let out = self.images.join("pulled");
        let skopeo = tool("skopeo").unwrap_or_default();
        let skopeo = skopeo.to_string_lossy().into_owned();
        let copy = |name: &str, to: &Path| -> Vec<String> {
            let words = ["exec", "--", &skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"];
            let mut words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            words.extend([format!("docker://{name}"), format!("dir:{}", to.display())]);
            words
        };
        self.cast.registry.take_requests();
        let words = copy(&api_name, &out);
        self.trust("ops", &ops, &words.iter().map(String::as_str).collect::<Vec<_>>(), &DONE)?;
        let asked = self.cast.registry.take_requests();
        let by_digest = asked.iter().any(|r| r.ends_with(&api.digest)) && !asked.iter().any(|r| r.ends_with("/v1"));
        self.check("skopeo asked for the verified digest and for no tag", by_digest);
        let pulled = std::fs::read(out.join("manifest.json")).unwrap_or_default();
        self.check("the pulled manifest is the signed one", trust_image::Digest::of(&pulled).to_string() == api.digest);

        let unsigned = images::single(&self.images.join("unsigned"), "nobody signed this", &[])?;
        self.push(&unsigned, "demo/api:unsigned")?;
        self.cast.registry.take_requests();
        let words = copy(&format!("{demo}/api:unsigned"), &self.images.join("not-pulled"));
        self.trust("ops", &ops, &words.iter().map(String::as_str).collect::<Vec<_>>(), &refused(10, &["E1001"]))?;
        let asked = self.cast.registry.take_requests();
        self.check("nothing was fetched", asked.is_empty() && !self.images.join("not-pulled").exists());
        // The client that will be attacked, and the one that will sleep, have seen this.
        let (victim, sleeper) = (self.cast.victim.clone(), self.cast.sleeper.clone());
        self.trust("victim", &victim, &["resolve", &api_name], &DONE)?;
        self.trust("sleeper", &sleeper, &["resolve", &api_name], &DONE)?;
        Ok(Signed { api, api_name, web_name })
    }

    fn refusals(&mut self, demo: &str, signed: &Signed) -> io::Result<()> {
        self.heading("3. Refused, each for its own reason");
        let (alice, ops, victim) = (self.cast.alice.clone(), self.cast.ops.clone(), self.cast.victim.clone());
        let api = signed.api_name.as_str();

        say("\n• an unsigned tag");
        self.trust("ops", &ops, &["verify", &format!("{demo}/api:unsigned")], &refused(10, &["E1001"]))?;

        say("\n• the tag was pushed again after signing");
        let other = images::single(&self.images.join("other"), "api, changed", &[])?;
        self.push(&other, "demo/api:v1")?;
        self.trust("ops", &ops, &["verify", api], &refused(13, &["E1403"]))?;
        self.push(&signed.api, "demo/api:v1")?;

        say("\n• the registry serves another manifest under the signed digest");
        let lie =
            std::fs::read(self.images.join("other/blobs/sha256").join(other.digest.trim_start_matches("sha256:")))?;
        let answer = Answer::ok(lie).header("content-type", "application/vnd.oci.image.manifest.v1+json");
        self.cast.registry.answer(&format!("/manifests/{}", signed.api.digest), answer.clone());
        self.cast.registry.answer("/demo/api/manifests/v1", answer.header("docker-content-digest", &signed.api.digest));
        self.trust("ops", &ops, &["verify", "--content", api], &refused(13, &["E1404"]))?;
        self.cast.registry.honest();

        say("\n• older metadata, replayed after newer was seen");
        let old_world = self.cast.mitm.recording();
        self.trust("alice", &alice, &["sign", &format!("{demo}/api:v3@{}", signed.api.digest)], &DONE)?;
        self.trust("victim", &victim, &["resolve", api], &DONE)?;
        self.cast.mitm.replay(old_world);
        self.trust("victim", &victim, &["resolve", api], &refused(15, &["E1301"]))?;
        self.cast.mitm.honest();

        say("\n• a timestamp signed by a stranger");
        let forged = forge(&self.server_file(demo, "timestamp.json")?)?;
        self.cast.mitm.answer("/_metadata/timestamp.json", Answer::ok(forged));
        self.trust("victim", &victim, &["resolve", api], &refused(12, &["E1201"]))?;
        self.cast.mitm.honest();
        self.trust("victim", &victim, &["resolve", api], &DONE)?;

        say("\n• another root than the pinned one");
        let stranger = self.stack.person("stranger", None)?;
        let wrong = "0".repeat(64);
        self.trust("stranger", &stranger, &["pin", "add", demo, &wrong], &refused(16, &["E1605"]))?;

        say("\n• an image that was revoked");
        let v3 = format!("{demo}/api:v3");
        self.trust(
            "alice",
            &alice,
            &["revoke", &v3, "--reason", "contains a leaked key", "--confirm", &format!("{demo}/api")],
            &DONE,
        )?;
        self.trust("ops", &ops, &["verify", &v3], &refused(17, &["E1022"]))?;
        self.trust("ops", &ops, &["verify", &signed.web_name], &DONE)?;

        self.frozen()
    }

    fn frozen(&mut self) -> io::Result<()> {
        say("\n• the server is frozen: a collection whose timestamp lives 5 s, and nobody who re-signs it");
        let collection = format!("{}/frozen", self.cast.registry.address());
        let image = images::single(&self.images.join("frozen"), "soon stale", &[])?;
        self.init(&collection)?;
        self.push(&image, "frozen:v1")?;
        let (alice, name) = (self.cast.alice.clone(), format!("{collection}:v1"));
        self.trust("alice", &alice, &["sign", &format!("{name}@{}", image.digest)], &DONE)?;
        self.trust("alice", &alice, &["verify", &name], &DONE)?;
        if let Some(signer) = &self.stack.signer {
            signer.signal("STOP");
        }
        std::thread::sleep(Duration::from_secs(6));
        self.trust("alice", &alice, &["verify", &name], &refused(14, &["E1311"]))?;
        if let Some(signer) = &self.stack.signer {
            signer.signal("CONT");
        }
        std::thread::sleep(Duration::from_secs(2));
        self.trust("alice", &alice, &["verify", &name], &DONE)?;
        Ok(())
    }

    fn rotations(&mut self, demo: &str) -> io::Result<()> {
        self.heading("4. Keys are rotated, and nobody notices");
        let (alice, sleeper, ops) = (self.cast.alice.clone(), self.cast.sleeper.clone(), self.cast.ops.clone());
        self.trust("alice", &alice, &["rotate", "timestamp", demo, "--overlap", "0s"], &DONE)?;
        self.trust("alice", &alice, &["rotate", "timestamp", demo, "--finish"], &DONE)?;
        self.trust("alice", &alice, &["rotate", "targets", demo], &DONE)?;
        self.trust("alice", &alice, &["rotate", "root", demo], &DONE)?;
        say("\n• the client that slept since step 2");
        let web = format!("{demo}/web:v1");
        self.trust("sleeper", &sleeper, &["verify", &web], &DONE)?;
        self.trust("ops", &ops, &["verify", &web], &DONE)?;
        Ok(())
    }

    fn people(&mut self, demo: &str, signed: &Signed) -> io::Result<()> {
        self.heading("5. Several people sign");
        let (alice, qa, ops) = (self.cast.alice.clone(), self.cast.qa.clone(), self.cast.ops.clone());
        let qa_pub = self.images.join("qa.pub").display().to_string();
        let qa_role = self.images.join("qa.json").display().to_string();
        let web = signed.web_name.as_str();
        self.trust("alice", &alice, &["key", "generate", "alice"], &DONE)?;
        self.trust("alice", &alice, &["signer", "add", "alice", demo, "--signer-key", "alice"], &DONE)?;
        self.trust("qa", &qa, &["key", "generate", "qa"], &DONE)?;
        self.trust("qa", &qa, &["key", "export", "qa", "--out", &qa_pub], &DONE)?;
        self.trust("qa", &qa, &["signer", "accept", "qa", demo, "--key", "qa", "--out", &qa_role], &DONE)?;
        let add = ["signer", "add", "qa", demo, "--public-key", &qa_pub, "--accept", &qa_role];
        self.trust("alice", &alice, &add, &DONE)?;
        let fingerprint = self.pinned(&alice, demo)?;
        self.trust("qa", &qa, &["pin", "add", demo, &fingerprint], &DONE)?;
        let resolved = self.trust("ops", &ops, &["resolve", web], &DONE)?;
        let digest = resolved.trim().rsplit_once('@').map(|(_, d)| d.to_owned()).unwrap_or_default();
        let by_digest = format!("{web}@{digest}");
        self.trust("ops", &ops, &["verify", web, "--signer", "alice", "--signer", "qa"], &refused(12, &["E1004"]))?;
        self.trust("alice", &alice, &["sign", &by_digest, "--as", "alice", "--key", "alice"], &DONE)?;
        self.trust("qa", &qa, &["sign", &by_digest, "--as", "qa", "--key", "qa"], &DONE)?;
        self.trust(
            "ops",
            &ops,
            &["verify", web, "--signer", "alice", "--signer", "qa"],
            &refused(0, &["alice", "qa"]),
        )?;
        self.trust("ops", &ops, &["list", demo], &refused(0, &["web:v1"]))?;
        self.trust("ops", &ops, &["inspect", demo], &refused(0, &["alice", "qa"]))?;
        self.trust("ops", &ops, &["log", demo], &DONE)?;
        self.trust("qa", &qa, &["unsign", web, "--as", "qa", "--key", "qa", "--yes"], &DONE)?;
        self.trust("ops", &ops, &["verify", web, "--signer", "qa"], &refused(12, &["E1004"]))?;
        self.trust("ops", &ops, &["verify", web], &DONE)?;
        Ok(())
    }

    fn server_file(&self, collection: &str, file: &str) -> io::Result<Vec<u8>> {
        crate::stack::proxy::get(&self.stack.server_address(), &format!("/tuf/{collection}/_metadata/{file}"))
    }
}

struct Signed {
    api: Image,
    api_name: String,
    web_name: String,
}

/// The registry stands behind a middle man, whose address is the host of every image; so the signer's configuration,
/// which names a collection, is written with that address.
fn start_stack(dir: &Path, lifetimes: Vec<(String, String)>) -> io::Result<(Stack, Proxy)> {
    let registry = Stack::registry_only(dir)?;
    let proxy = Proxy::start(&registry.registry)?;
    let lifetimes = lifetimes.into_iter().map(|(c, life)| (c.replace("REGISTRY", proxy.address()), life)).collect();
    let stack = registry.with_services(Options { lifetimes, ..Options::default() })?;
    Ok((stack, proxy))
}

/// The same file one version on, signed by a key that nobody trusts, under the trusted key's id.
fn forge(file: &[u8]) -> io::Result<Vec<u8>> {
    let envelope = json::parse(file).map_err(io::Error::other)?;
    let missing = || io::Error::other("not a metadata file");
    let mut signed = envelope.get("signed").cloned().ok_or_else(missing)?;
    let version = signed.get("version").and_then(Value::as_u64).unwrap_or(1);
    if let Some(members) = signed.as_object_mut() {
        members.insert("version".to_owned(), Value::from(version + 1));
    }
    let stranger = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(io::Error::other)?;
    let sig = hex::encode(stranger.sign(&signed.canonical()).as_ref());
    let ids = envelope.get("signatures").and_then(Value::as_array).unwrap_or_default();
    let id = ids.first().and_then(|s| s.get("keyid")).cloned().ok_or_else(missing)?;
    let signatures = Value::Array(vec![Value::object([("keyid", id), ("sig", Value::from(sig))])]);
    Ok(Value::object([("signatures", signatures), ("signed", signed)]).to_json())
}
