//! The process ends at each of its fail points; what was asked is asked again, and nothing is signed twice. Built only with
//! the feature `fail-points`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::people::{Files, Team};
use tempfile::TempDir;
use trust_signer::store::Store;
use trust_tuf::{RoleType, UtcTime};
use trust_wire::proof::key_from_json;
use trust_wire::signer::{CollectionFiles, Reply, Request, Signed, read_frame, write_frame};

const NAME: &str = "r.example/a";

struct Signer {
    dir: TempDir,
    child: Option<Child>,
    checker: common::checker::Checker,
}

impl Signer {
    fn new() -> Self {
        let dir = common::folder();
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        let mut checker = common::checker::Checker::default();
        checker.dev = true;
        Self { dir, child: None, checker }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/s")
    }

    fn start(&mut self, fail_point: Option<&str>) {
        self.stop();
        let ready = self.dir.path().join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust-signer"));
        command.env_clear().args(["serve", "--dev", "--data"]).arg(self.dir.path().join("data"));
        command.arg("--socket").arg(self.socket()).arg("--ready-file").arg(&ready);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.envs(fail_point.map(|point| ("TRUST_FAIL_POINT", point)));
        self.child = Some(command.spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(20);
        while !ready.exists() {
            assert!(Instant::now() < until, "the signer did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `None`: the process ended before it answered.
    fn ask(&mut self, request: &Request) -> Option<Reply> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        write_frame(&mut stream, request).ok()?;
        let body = read_frame(&mut stream).ok()??;
        let reply: Reply = serde_json::from_slice(&body).unwrap();
        self.checker.saw(UtcTime::from_unix(now()).unwrap(), request, &reply);
        Some(reply)
    }

    fn publish(&mut self, files: &Files) -> Option<Signed> {
        match self.ask(&files.request(NAME))? {
            Reply::Published(signed) => Some(signed),
            other => panic!("{other:?}"),
        }
    }

    /// In two steps.
    fn publish_prepared(&mut self, files: &Files) -> Option<Signed> {
        let Request::Publish { collection, roots, roles, grant } = files.request(NAME) else { panic!() };
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        write_frame(&mut stream, &Request::Prepare { collection, roots, roles, grant }).ok()?;
        write_frame(&mut stream, &Request::Commit {}).ok()?;
        let body = read_frame(&mut stream).ok()??;
        let reply: Reply = serde_json::from_slice(&body).unwrap();
        self.checker.saw(UtcTime::from_unix(now()).unwrap(), &files.request(NAME), &reply);
        let Reply::Published(signed) = reply else { panic!("{reply:?}") };
        Some(signed)
    }

    fn files(&mut self) -> Option<CollectionFiles> {
        match self.ask(&Request::Files { collection: NAME.to_owned() })? {
            Reply::Files { files } => files,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn born(signer: &mut Signer) -> Team {
    let mut team = Team::new(NAME, 1);
    for role in ["timestamp", "snapshot"] {
        let nonce = "0123456789abcdef".to_owned();
        let request =
            Request::NewOnlineKeys { collection: NAME.to_owned(), roles: vec![role.to_owned()], nonce: nonce.clone() };
        let Some(Reply::NewOnlineKeys { proofs }) = signer.ask(&request) else { panic!() };
        let identity = key_from_json(&proofs[0].identity).unwrap().id();
        let key = proofs[0].check(NAME, RoleType::from_name(role).unwrap(), &nonce, &identity).unwrap();
        team.online.insert(role.to_owned(), vec![key]);
    }
    team
}

#[test]
fn a_publication_that_was_cut_off_at_any_point_is_there_wholly_or_not_and_the_retry_gets_it() {
    for (point, durable, in_two) in [
        ("signer.before_mark", false, false),
        ("signer.before_commit", false, false),
        ("signer.after_commit_before_reply", true, false),
        ("signer.prepared", false, true),
        ("signer.before_mark", false, true),
        ("signer.before_commit", false, true),
        ("signer.after_commit_before_reply", true, true),
    ] {
        let mut signer = Signer::new();
        signer.start(None);
        let mut team = born(&mut signer);
        let first = team.first(now());
        for publication in [1, 2] {
            let files = if publication == 1 { first.clone() } else { team.next_targets(now(), "two") };
            signer.start(Some(point));
            // A first publication has nothing to prepare.
            let answer = if in_two && publication == 1 && point == "signer.prepared" {
                signer.start(None);
                signer.publish(&files);
                team.accepted(&files);
                continue;
            } else if in_two {
                signer.publish_prepared(&files)
            } else {
                signer.publish(&files)
            };
            assert!(answer.is_none(), "{point}: it ends before the answer");
            let status = signer.child.take().unwrap().wait().unwrap();
            assert!(!status.success(), "{point}");

            let store = Store::open(&signer.dir.path().join("data")).unwrap();
            let audited = store.verify_audit().unwrap().signatures;
            drop(store);
            let expected = if durable { 2 * publication } else { 2 * (publication - 1) };
            assert_eq!(audited, expected, "{point}: mark, audit entries and signatures are there together, or not");

            signer.start(None);
            let signed = signer.publish(&files).unwrap();
            assert_eq!((signed.snapshot_version, signed.timestamp_version), (publication, publication), "{point}");
            assert_eq!(signer.files().unwrap().signed, signed);
            team.accepted(&files);
        }
    }
}

#[test]
fn kill_9_at_random_moments_loses_no_answer_and_makes_no_second_body_soak() {
    let mut signer = Signer::new();
    signer.start(None);
    let mut team = born(&mut signer);
    let first = team.first(now());
    signer.publish(&first).unwrap();
    team.accepted(&first);
    let mut dice = common::Dice::new(1);
    let kills = std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(12_u64).min(2_000);
    for kill in 0..kills {
        let files = team.next_targets(now(), &kill.to_string());
        let pid = signer.child.as_ref().unwrap().id().to_string();
        let delay = Duration::from_micros(dice.roll(3_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            Command::new("kill").args(["-9", &pid]).status().unwrap()
        });
        let answered = signer.publish(&files);
        killer.join().unwrap();
        signer.start(None);
        let again = signer.publish(&files).unwrap();
        assert!(answered.is_none_or(|signed| signed == again), "an answer that was given is kept");
        team.accepted(&files);
    }
    let store = Store::open(&signer.dir.path().join("data")).unwrap();
    assert_eq!(store.verify_audit().unwrap().signatures, 2 * (kills + 1));
}
