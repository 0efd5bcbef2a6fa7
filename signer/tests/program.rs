//! The program as a process of its own: its socket, its commands, its end by `kill -9`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trust_wire::signer::{FRAME_BYTES, Reply, Request, read_frame, write_frame};

const PROGRAM: &str = env!("CARGO_BIN_EXE_trust-signer");

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(arguments).arg("--data").arg(self.path("data")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn serve(&self, more: &[&str]) -> Running {
        let ready = self.path("ready");
        let _ = fs::remove_file(&ready);
        let mut command = self.command(&["serve", "--dev"]);
        command.arg("--socket").arg(self.path("run/signer.sock")).arg("--ready-file").arg(&ready).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !ready.exists() {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the signer did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Running { child }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path("run/signer.sock")).unwrap()
    }
}

struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(stream: &mut UnixStream, request: &Request) -> Reply {
    write_frame(stream, request).unwrap();
    serde_json::from_slice(&read_frame(stream).unwrap().unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn s16_a_user_who_is_not_allowed_gets_no_answer_but_the_refusal() {
    let place = Place::new();
    let someone_else = (rustix::process::geteuid().as_raw() + 12_345).to_string();
    let _signer = place.serve(&["--allow-uid", &someone_else]);
    let mut stream = place.connect();
    let _ = write_frame(&mut stream, &Request::Health {});
    let body = read_frame(&mut stream).unwrap().unwrap();
    let reply: Reply = serde_json::from_slice(&body).unwrap();
    assert!(matches!(reply, Reply::Refused { rule, .. } if rule == "S16"));
    let rest = read_frame(&mut stream);
    assert!(rest.is_err() || rest.unwrap().is_none(), "the connection is closed");
}

#[test]
fn s13_garbage_and_frames_over_the_limit_are_refused_and_the_signer_goes_on() {
    let place = Place::new();
    let _signer = place.serve(&[]);
    let mut stream = place.connect();
    for body in [&b"{"[..], b"", b"\xff\xfe", b"{\"op\":\"sign\",\"bytes\":\"AA==\"}", &[b'['; 10_000]] {
        stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let reply: Reply = serde_json::from_slice(&read_frame(&mut stream).unwrap().unwrap()).unwrap();
        assert!(matches!(reply, Reply::Refused { rule, .. } if rule == "S13"), "{body:?}");
    }
    assert!(matches!(ask(&mut stream, &Request::Health {}), Reply::Health { .. }));
    let over = u32::try_from(FRAME_BYTES).unwrap() + 1;
    stream.write_all(&over.to_be_bytes()).unwrap();
    let reply: Reply = serde_json::from_slice(&read_frame(&mut stream).unwrap().unwrap()).unwrap();
    assert!(matches!(reply, Reply::Refused { rule, .. } if rule == "S13"));
    let mut half = place.connect();
    half.write_all(&[0, 0]).unwrap();
    drop(half);
    assert!(matches!(ask(&mut place.connect(), &Request::Health {}), Reply::Health { .. }));
}

#[test]
fn what_was_prepared_belongs_to_the_next_request_of_its_connection_alone_and_is_small() {
    let place = Place::new();
    let _signer = place.serve(&[]);
    let prepare = |bytes: usize| Request::Prepare {
        collection: "r.example/a".to_owned(),
        roots: vec![vec![b'x'; bytes].into()],
        roles: [("targets".to_owned(), b"x".to_vec().into())].into(),
        grant: None,
    };
    let rule = |reply: Reply| match reply {
        Reply::Refused { rule, .. } => rule,
        other => panic!("{other:?}"),
    };
    let mut stream = place.connect();
    assert_eq!(rule(ask(&mut stream, &Request::Commit {})), "request", "nothing was prepared");
    // Prepared, and committed: it is judged, and refused for what it is.
    write_frame(&mut stream, &prepare(10)).unwrap();
    let judged = rule(ask(&mut stream, &Request::Commit {}));
    assert_ne!(judged, "request");
    assert_eq!(rule(ask(&mut stream, &Request::Commit {})), "request", "once");
    // Something else between: it is gone.
    write_frame(&mut stream, &prepare(10)).unwrap();
    assert!(matches!(ask(&mut stream, &Request::Health {}), Reply::Health { .. }));
    assert_eq!(rule(ask(&mut stream, &Request::Commit {})), "request");
    // Another connection has no part in it.
    write_frame(&mut stream, &prepare(10)).unwrap();
    assert_eq!(rule(ask(&mut place.connect(), &Request::Commit {})), "request");
    assert_eq!(rule(ask(&mut stream, &Request::Commit {})), judged);
    // A large one is refused at once, and nothing of it waits.
    assert_eq!(rule(ask(&mut stream, &prepare(trust_wire::signer::PREPARE_BYTES))), "S13");
    assert_eq!(rule(ask(&mut stream, &Request::Commit {})), "request");
    // One that never commits goes with its connection.
    write_frame(&mut stream, &prepare(10)).unwrap();
    drop(stream);
    assert!(matches!(ask(&mut place.connect(), &Request::Health {}), Reply::Health { .. }));
}

#[test]
fn more_connections_than_the_limit_are_turned_away_and_idle_ones_stay() {
    let place = Place::new();
    let _signer = place.serve(&[]);
    let mut open: Vec<UnixStream> = (0..trust_signer::socket::CONNECTIONS).map(|_| place.connect()).collect();
    for stream in &mut open {
        assert!(matches!(ask(stream, &Request::Health {}), Reply::Health { .. }));
    }
    let mut more = place.connect();
    let reply: Reply = serde_json::from_slice(&read_frame(&mut more).unwrap().unwrap()).unwrap();
    assert!(matches!(reply, Reply::Failed { .. }));
    assert!(matches!(ask(&mut open[0], &Request::Health {}), Reply::Health { .. }));
}

#[test]
fn the_socket_is_private_and_replaced_only_when_nobody_answers() {
    let place = Place::new();
    let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    {
        let _signer = place.serve(&[]);
        assert_eq!(mode(place.path("run/signer.sock")), 0o600);
        assert_eq!(mode(place.path("run")), 0o700);
        assert_eq!(mode(place.path("data")), 0o700);
        assert_eq!(mode(place.path("data/passphrase")), 0o600);
    }
    assert!(place.path("run/signer.sock").exists(), "killed: the socket is left");
    let _signer = place.serve(&[]);
    let second = Place::new();
    let mut command = second.command(&["serve", "--dev"]);
    command.arg("--socket");
    let output = command.arg(place.path("run/signer.sock")).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("another program answers"), "{}", said(&output));
    assert!(matches!(ask(&mut place.connect(), &Request::Health {}), Reply::Health { .. }));
}

#[test]
fn a_socket_folder_that_others_can_write_to_and_a_file_in_the_sockets_place_are_refused() {
    let place = Place::new();
    let run = place.path("run");
    fs::create_dir(&run).unwrap();
    let start = || place.command(&["serve", "--dev"]).arg("--socket").arg(run.join("signer.sock")).output().unwrap();
    for mode in [0o770, 0o777, 0o1777] {
        fs::set_permissions(&run, fs::Permissions::from_mode(mode)).unwrap();
        let output = start();
        assert!(!output.status.success() && said(&output).contains("has mode"), "{}", said(&output));
    }
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(run.join("signer.sock"), "mine").unwrap();
    let output = start();
    assert!(!output.status.success() && said(&output).contains("not a socket"), "{}", said(&output));
    assert_eq!(fs::read(run.join("signer.sock")).unwrap(), b"mine");
}

#[test]
fn two_signers_do_not_run_on_one_store() {
    let place = Place::new();
    let _signer = place.serve(&[]);
    let output = place.command(&["serve", "--dev"]).arg("--socket").arg(place.path("run/other.sock")).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("another signer runs"), "{}", said(&output));
}

#[test]
fn keys_outlive_kill_9_and_open_only_with_the_passphrase() {
    let place = Place::new();
    let identity = {
        let _signer = place.serve(&[]);
        let reply = ask(&mut place.connect(), &Request::Health {});
        let Reply::Health { identity, .. } = reply else { panic!() };
        identity
    };
    {
        let _signer = place.serve(&[]);
        let Reply::Health { identity: again, .. } = ask(&mut place.connect(), &Request::Health {}) else { panic!() };
        assert_eq!(again, identity);
    }
    let wrong = place.path("wrong");
    fs::write(&wrong, "another\n").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let serve = |file: &Path| {
        let mut command = place.command(&["serve"]);
        command.arg("--socket");
        command.arg(place.path("run/signer.sock")).arg("--passphrase-file").arg(file).output().unwrap()
    };
    let output = serve(&wrong);
    assert!(!output.status.success() && said(&output).contains("wrong passphrase"), "{}", said(&output));
    assert!(!said(&output).contains("another"), "what was typed is not shown");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(said(&serve(&wrong)).contains("0644"));
    let output = place.command(&["serve"]).arg("--socket").arg(place.path("run/signer.sock")).output().unwrap();
    assert_eq!(output.status.code(), Some(40), "nobody is asked: {}", said(&output));
}

#[test]
fn a_missing_store_is_named_and_not_made() {
    let place = Place::new();
    fs::write(place.path("p"), "p\n").unwrap();
    fs::set_permissions(place.path("p"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = place.command(&["serve"]);
    command.arg("--socket");
    let output = command.arg(place.path("run/s")).arg("--passphrase-file").arg(place.path("p")).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("trust-signer init"), "{}", said(&output));
    for arguments in [&["identity"][..], &["audit", "verify"], &["admit", "r.example/a", &"00".repeat(32)]] {
        assert!(!place.run(arguments).status.success());
    }
    assert!(!place.path("data").exists());
}

#[test]
fn operators_commands_work_while_the_signer_runs_and_need_no_passphrase() {
    let place = Place::new();
    let _signer = place.serve(&[]);
    let identity = place.run(&["identity"]);
    let fingerprint = String::from_utf8(identity.stdout).unwrap();
    assert_eq!(fingerprint.trim().len(), 64);
    for (name, fingerprint, fine) in [
        ("r.example/a", "00".repeat(32), true),
        ("r.example/a", "00".repeat(32), true),
        ("r.example/a", "00".repeat(31), false),
        ("r.example/a", "zz".repeat(32), false),
        ("R.example/a", "00".repeat(32), false),
        ("r.example", "00".repeat(32), false),
    ] {
        assert_eq!(place.run(&["admit", name, &fingerprint]).status.success(), fine, "{name} {fingerprint}");
    }
    let audit = place.run(&["audit", "verify"]);
    assert!(said(&audit).contains("ok: 1 entries"), "{}", said(&audit));
}

#[test]
fn a_bad_configuration_is_refused_with_the_reason() {
    let place = Place::new();
    for (text, word) in
        [("lifetime = 7", "lifetime"), ("[[lifetime]]\ncollection = \"r/a\"\ntimestamp = \"8d\"", "7 days")]
    {
        fs::write(place.path("c.toml"), text).unwrap();
        let mut command = place.command(&["serve", "--dev"]);
        command.arg("--socket");
        let output = command.arg(place.path("run/s")).arg("--config").arg(place.path("c.toml")).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(word), "{}", said(&output));
    }
}

#[test]
fn kill_9_of_whoever_started_it_ends_a_signer_that_was_told_to_end_with_it() {
    let place = Place::new();
    let (socket, pid) = (place.path("run/signer.sock"), place.path("pid"));
    // The shell stays: it is the parent that dies.
    let script = r#""$0" serve --dev --data "$1" --socket "$2" --end-with-parent $$ & echo $! >"$3"; wait"#;
    let mut parent = Command::new("sh")
        .args(["-c", script, PROGRAM])
        .args([&place.path("data"), &socket, &pid])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < until, "the signer did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let child = fs::read_to_string(&pid).unwrap();
    let alive = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(alive());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    // The main thread can be gone a moment before the threads that hold the socket.
    while alive() || UnixStream::connect(&socket).is_ok() {
        assert!(Instant::now() < until, "it lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signer_whose_parent_ended_before_it_could_say_so_does_not_start() {
    let place = Place::new();
    // Any process that is not its parent stands for one that is gone.
    let mut command = place.command(&["serve", "--dev", "--end-with-parent", "1"]);
    let output = command.arg("--socket").arg(place.path("run/signer.sock")).output().unwrap();
    assert!(output.status.code() == Some(1) && said(&output).contains("has ended"), "{}", said(&output));
    assert!(!place.path("data").exists());
}

#[test]
fn exit_codes_tell_usage_configuration_and_this_machine_apart() {
    let place = Place::new();
    let help = said(&Command::new(PROGRAM).args(["serve", "--help"]).output().unwrap());
    assert!(!help.contains("end-with-parent"), "{help}");
    for (code, says) in [(2, "wrong usage"), (3, "configuration"), (35, "this machine"), (40, "nobody to ask")] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{code} "))).unwrap();
        assert!(line.contains(says), "{line}");
    }
    fs::write(place.path("c.toml"), "speed = 3").unwrap();
    let serve = |more: &[&str]| {
        let mut command = place.command(&["serve", "--dev"]);
        command.arg("--socket").arg(place.path("run/s")).args(more);
        command.output().unwrap().status.code()
    };
    let config = place.path("c.toml");
    assert_eq!(serve(&["--config", config.to_str().unwrap()]), Some(3));
    assert_eq!(serve(&["--speed"]), Some(2));
    assert_eq!(place.run(&["admit", "r.example/a", "zz"]).status.code(), Some(2));
    assert_eq!(place.run(&["identity"]).status.code(), Some(35), "no store");
    fs::create_dir(place.path("data")).unwrap();
    fs::set_permissions(place.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(serve(&[]), Some(35), "the folder is open to others");
}

#[test]
fn a_grant_needs_a_good_key_and_pattern_and_replaces_no_file() {
    use trust_keys::{Algorithm, LocalKey, Passphrase, Protection, ScryptCost, SigningKey, private_pem};
    let place = Place::new();
    let key = LocalKey::generate(Algorithm::Ed25519).unwrap();
    let write = |name: &str, pem: &str| {
        fs::write(place.path(name), pem).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("plain.pem", &private_pem(&key, Protection::Unencrypted).unwrap());
    let passphrase = Passphrase::new(*b"correct horse").unwrap();
    let protection = Protection::Passphrase { passphrase: &passphrase, cost: ScryptCost::DEV };
    write("locked.pem", &private_pem(&key, protection).unwrap());
    write("p", "correct horse\n");
    write("wrong", "another\n");
    write("no.pem", "no key");
    write("open.pem", "no key");
    fs::set_permissions(place.path("open.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-example/INSECURE-EXAMPLE-root.pem");
    write("example.pem", &fs::read_to_string(example).unwrap());
    fs::write(place.path("taken"), "mine").unwrap();
    let grant = |pattern: &str, key: &str, out: &str, more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("TRUST_SIGNER_PASSPHRASE", "correct horse").current_dir(place.dir.path());
        command.args(["grant", pattern, "--key", key, "--out", out]).args(more).stdin(Stdio::null()).output().unwrap()
    };
    let root = "ab".repeat(32);
    for (pattern, key, out, more, code) in [
        ("r.example/*/x", "plain.pem", "g", &[][..], 2),
        ("r.example/*", "plain.pem", "g", &["--expires", "366d"], 2),
        ("r.example/*", "plain.pem", "g", &["--expires", "0d"], 2),
        ("r.example/*", "plain.pem", "g", &["--root", "ab"], 2),
        ("r.example/*", "plain.pem", "taken", &[], 35),
        ("r.example/*", "open.pem", "g", &[], 35),
        ("r.example/*", "none.pem", "g", &[], 35),
        ("r.example/*", "no.pem", "g", &[], 1),
        ("r.example/*", "example.pem", "g", &[], 1),
        ("r.example/*", "locked.pem", "g", &["--passphrase-file", "wrong"], 1),
        // The signer's own passphrase is not tried.
        ("r.example/*", "locked.pem", "g", &[], 40),
    ] {
        let output = grant(pattern, key, out, more);
        assert_eq!(output.status.code(), Some(code), "{pattern} {key} {more:?}: {}", said(&output));
        assert!(!place.path("g").exists(), "{pattern} {key} {more:?}");
    }
    assert_eq!(fs::read(place.path("taken")).unwrap(), b"mine");
    for (key_file, out, more) in [
        ("plain.pem", "1", &["--expires", "12h"][..]),
        ("locked.pem", "2", &["--passphrase-file", "p", "--root", &root]),
    ] {
        let output = grant("r.example/*", key_file, out, more);
        assert!(output.status.success() && said(&output).contains(key.id().as_str()), "{}", said(&output));
        let file = trust_tuf::json::parse(&fs::read(place.path(out)).unwrap()).unwrap();
        let signed = file.get("signed").unwrap();
        let signature = &file.get("signatures").unwrap().as_array().unwrap()[0];
        let signature = hex::decode(signature.get("sig").unwrap().as_str().unwrap()).unwrap();
        assert!(key.public().verify(&signed.canonical(), &signature));
        assert_eq!(signed.get("root_sha256").and_then(|r| r.as_str()), more.contains(&"--root").then_some(&*root));
    }
}

#[test]
fn no_flag_takes_a_secret() {
    for command in [&["serve", "--help"][..], &["init", "--help"], &["admit", "--help"]] {
        let output = Command::new(PROGRAM).args(command).output().unwrap();
        let help = said(&output);
        assert!(!help.contains("--passphrase <") && !help.contains("--passphrase="), "{help}");
    }
}

#[test]
fn a_peer_that_listens_in_the_signers_place_is_not_replaced() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    fs::set_permissions(place.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(place.path("run/signer.sock")).unwrap();
    let output =
        place.command(&["serve", "--dev"]).arg("--socket").arg(place.path("run/signer.sock")).output().unwrap();
    assert!(!output.status.success());
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert!(got.is_empty());
}
