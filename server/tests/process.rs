//! The program itself: command line, TLS, stopping, slow clients, and death at every step of a publication.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, clippy::print_stderr)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use common::*;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trust-server"));
    command.env_remove("TRUST_FAIL_POINT").env("TRUST_LOG", "warn");
    command
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(dir, Stdio::null(), change)
    }

    fn start_with(dir: &Path, stderr: Stdio, change: impl FnOnce(&mut Command)) -> Self {
        let ready = dir.join("ready");
        drop(std::fs::remove_file(&ready));
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.join("data"));
        command.arg("--signer-socket").arg(dir.join("s.sock")).arg("--ready-file").arg(&ready);
        change(&mut command);
        let mut child = command.stderr(stderr).spawn().unwrap();
        let start = Instant::now();
        while !ready.exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "not ready");
            assert!(child.try_wait().unwrap().is_none(), "ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, address: std::fs::read_to_string(ready).unwrap() }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Status (0: cut off) and body.
    fn send(&self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> (u16, Vec<u8>) {
        let Ok(mut stream) = TcpStream::connect(&self.address) else { return (0, Vec::new()) };
        let token = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut answer = Vec::new();
        if sent.and_then(|()| stream.read_to_end(&mut answer)).is_err() || answer.len() < 12 {
            return (0, Vec::new());
        }
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        (status, answer.split_off(split + 4))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A folder with a running signer and an admin token.
fn world() -> (tempfile::TempDir, Arc<FakeSigner>, String) {
    let dir = tempfile::tempdir().unwrap();
    let signer = FakeSigner::new(Arc::new(AtomicI64::new(*START)));
    signer.listen(&dir.path().join("s.sock"));
    let token = output(
        program()
            .args(["token", "create", "--name", "a", "--scope", "*=read,publish,admin"])
            .arg("--data")
            .arg(dir.path().join("data")),
    );
    assert!(token.status.success());
    (dir, signer, String::from_utf8(token.stdout).unwrap().trim().to_owned())
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn publish(server: &Server, token: &str, request: &trust_wire::api::PublicationRequest) -> u16 {
    let body = serde_json::to_vec(request).unwrap();
    server.send("POST", &format!("/v1/{NAME}/_publications"), Some(token), &body).0
}

fn reserve(server: &Server, token: &str) {
    let body = format!("{{\"name\":\"{NAME}\"}}");
    assert_eq!(server.send("POST", "/v1/_collections", Some(token), body.as_bytes()).0, 200);
}

#[test]
fn bad_command_lines_and_configurations_end_with_a_sentence_and_not_zero() {
    let (dir, _signer, _token) = world();
    let config = dir.path().join("c.toml");
    std::fs::write(&config, "listen = '127.0.0.1:0'\nspeed = 3\n").unwrap();
    let data = dir.path().join("data");
    let (open, taken) = (dir.path().join("open"), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    let (config, data, open) = (config.to_str().unwrap(), data.to_str().unwrap(), open.to_str().unwrap());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--signer-socket", "/s", "--data"];
    let token = ["token", "create", "--data", data, "--name"];
    let cases: [(Vec<&str>, &str, i32); 14] = [
        (vec!["serve"], "`data`, `listen`, `signer_socket` are missing: give --data, --listen, --signer-socket", 2),
        (vec!["serve", "--data", "/x", "--listen", "127.0.0.1:0"], "`signer_socket` is missing", 2),
        (vec!["serve", "--speed"], "--speed", 2),
        (vec!["dev", "--data", "/nonexistent/x", "--listen", "0.0.0.0:0"], "loopback", 2),
        ([&token[..], &["a b", "--scope", "*=read"]].concat(), "--name", 2),
        ([&token[..], &["b", "--scope", "*=write"]].concat(), "scope", 2),
        ([&token[..], &["b", "--scope", "*=read", "--expires", "2y"]].concat(), "--expires", 2),
        (vec!["serve", "--config", config, "--check-config"], "speed", 3),
        (vec!["serve", "--config", "/nonexistent/c", "--check-config"], "/nonexistent/c", 3),
        ([&serve[..], &["/x", "--tls-cert", "/c"]].concat(), "go together", 3),
        ([&serve[..], &["/x", "--tls-cert", "/c", "--tls-key", "/k", "--check-config"]].concat(), "/c", 3),
        ([&serve[..], &[open]].concat(), "has mode 755", 35),
        (vec!["serve", "--listen", &taken.1, "--signer-socket", "/s", "--data", data], &taken.1, 35),
        (vec!["token", "revoke", "--data", data, "--name", "none"], "no token", 1),
    ];
    for (arguments, says, code) in cases {
        let out = output(program().args(&arguments));
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(code) && text.contains(says), "{arguments:?}: {:?} {text}", out.status);
    }
    std::fs::write(config, "listen = '127.0.0.1:0'\ndata = '/d'\nsigner_socket = '/s'\n").unwrap();
    assert!(output(program().args(["serve", "--check-config", "--config"]).arg(config)).status.success());
}

#[test]
fn help_says_what_exit_codes_and_actions_mean() {
    let help = |arguments: &[&str]| String::from_utf8(output(program().args(arguments).arg("--help")).stdout).unwrap();
    for arguments in [&[][..], &["serve"], &["dev"]] {
        let text = help(arguments);
        assert!(
            ["  2   wrong usage", "  3   the configuration", "  35  this machine"].iter().all(|s| text.contains(s))
        );
    }
    let text = help(&["token", "create"]);
    for says in
        ["needs admin and publish", "sign, unsign, revoke, rotate, signer   publish", "TRUST_TOKEN_FILE", "Example"]
    {
        assert!(text.contains(says), "{says}: {text}");
    }
    // The example of the help is one that works.
    let dir = tempfile::tempdir().unwrap();
    let example = text.split_once("  trust-server token create").unwrap().1.split_once(".token\n").unwrap().0;
    let example = format!("{example}.token").replace("/var/lib/trust-server", "data").replace("\\\n", " ");
    let shell = format!("\"$0\" token create{example}");
    let out = output(
        Command::new("sh").arg("-ec").arg(&shell).arg(env!("CARGO_BIN_EXE_trust-server")).current_dir(dir.path()),
    );
    assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr));
    assert!(dir.path().join("ci-pay.token").exists());
}

#[test]
fn a_signer_that_is_not_there_at_the_start_is_named_and_the_server_serves() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for there in [false, true] {
        let signer = FakeSigner::new(Arc::new(AtomicI64::new(*START)));
        if there {
            signer.listen(&dir.path().join("s.sock"));
        }
        let server = Server::start_with(dir.path(), std::fs::File::create(&log).unwrap().into(), |_| {});
        assert_eq!(server.send("GET", "/livez", None, b"").0, 200);
        let text = std::fs::read_to_string(&log).unwrap();
        let warning = format!("signer not reachable at {}", dir.path().join("s.sock").display());
        let warned = text.lines().any(|line| line.contains("WARN") && line.contains(&warning));
        assert_eq!(warned, !there, "{text}");
    }
}

#[test]
fn a_port_in_use_ends_dev_before_a_token_is_made_or_a_signer_started() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let out = output(program().env("TRUST_LOG", "info").args(["dev", "--listen", &address, "--data"]).arg(&data));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(35) && text.contains(&address), "{text}");
    assert!(!text.contains("identity") && !text.contains("token"), "{text}");
    for name in ["admin.token", "signer", "signer.identity", "signer.sock"] {
        assert!(!data.join(name).exists(), "{name}");
    }
}

#[test]
fn a_token_file_is_private_and_never_overwritten_and_a_second_server_is_refused() {
    let (dir, _signer, token) = world();
    let out = dir.path().join("t");
    let create = |name: &str| {
        output(
            program()
                .args(["token", "create", "--scope", "*=read", "--name", name, "--out"])
                .arg(&out)
                .arg("--data")
                .arg(dir.path().join("data")),
        )
    };
    assert!(create("x").status.success());
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!create("y").status.success());
    let server = Server::start(dir.path(), |_| {});
    let second = output(
        program()
            .args(["serve", "--listen", "127.0.0.1:0", "--signer-socket", "/s", "--data"])
            .arg(dir.path().join("data")),
    );
    assert!(String::from_utf8_lossy(&second.stderr).contains("another trust-server"));
    // Revoked beside the running server: in force at once.
    assert_eq!(server.send("GET", "/v1/_collections", Some(&token), b"").0, 200);
    assert!(
        output(program().args(["token", "revoke", "--name", "a", "--data"]).arg(dir.path().join("data")))
            .status
            .success()
    );
    assert_eq!(server.send("GET", "/v1/_collections", Some(&token), b"").0, 401);
    let list = output(program().args(["token", "list", "--data"]).arg(dir.path().join("data")));
    assert!(
        String::from_utf8_lossy(&list.stdout).contains("a  revoked")
            && !String::from_utf8_lossy(&list.stdout).contains("trust_")
    );
}

#[test]
fn published_is_still_there_after_kill_9_and_sigterm_ends_within_its_time() {
    let (dir, _signer, token) = world();
    let mut server = Server::start(dir.path(), |_| {});
    reserve(&server, &token);
    assert_eq!(publish(&server, &token, &first_request()), 200);
    let path = format!("/tuf/{NAME}/_metadata/timestamp.json");
    let before = server.send("GET", &path, None, b"");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut server = Server::start(dir.path(), |_| {});
    let after = server.send("GET", &path, None, b"");
    assert_eq!((before.0, &before), (200, &after));

    // An idle connection does not hold the process back.
    let idle = TcpStream::connect(&server.address).unwrap();
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    drop(idle);
}

#[test]
fn a_client_that_sends_its_head_slowly_is_cut_off_while_others_are_served() {
    let (dir, _signer, _token) = world();
    let server = Server::start(dir.path(), |_| {});
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    assert_eq!(server.send("GET", "/livez", None, b"").0, 200);
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!((5..20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 200"));
}

#[test]
fn oversized_heads_are_refused() {
    let (dir, _signer, _token) = world();
    let server = Server::start(dir.path(), |_| {});
    let (status, _) = server.send("GET", &format!("/tuf/{}", "a".repeat(300_000)), None, b"");
    assert!(matches!(status, 0 | 414 | 431), "{status}");
    let (status, _) = server.send("GET", "/livez", Some(&"a".repeat(300_000)), b"");
    assert!(matches!(status, 0 | 431), "{status}");
    let mut many = TcpStream::connect(&server.address).unwrap();
    let headers: String = (0..10_000).map(|n| format!("x{n}: y\r\n")).collect();
    drop(many.write_all(format!("GET /livez HTTP/1.1\r\n{headers}\r\n").as_bytes()));
    let mut answer = Vec::new();
    drop(many.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"));
    assert_eq!(server.send("GET", "/livez", None, b"").0, 200);
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending_a_large_body() {
    let (dir, _signer, token) = world();
    let server = Server::start(dir.path(), |_| {});
    reserve(&server, &token);
    let (path, body) = (format!("/v1/{NAME}/_publications"), vec![b' '; 6 * 1024 * 1024]);
    for _ in 0..5 {
        assert_eq!(server.send("POST", &path, None, &body).0, 401);
        assert_eq!(server.send("POST", "/v1/_collections", Some(&token), &body).0, 413);
        assert_eq!(server.send("POST", &path, Some(&token), &body).0, 400);
    }
}

#[tokio::test]
async fn tls_serves_and_a_wrong_pair_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (dir, _signer, _token) = world();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = write("c.pem", certified.cert.pem());
    let key = write("k.pem", certified.signing_key.serialize_pem());
    let wrong = write("w.pem", other.signing_key.serialize_pem());
    assert!(trust_listen::tls(&certificate, &wrong).is_err());
    assert!(trust_listen::tls(&key, &key).is_err());
    assert!(trust_listen::tls(&certificate, &dir.path().join("none")).is_err());

    let server = Server::start(dir.path(), |command| {
        command.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key);
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Plain HTTP on the same port gets no answer in plain text.
    assert_eq!(server.send("GET", "/livez", None, b"").0, 0);
}

/// Every step at which the process can die, and whether the publication may be current afterwards without a retry.
#[cfg(feature = "fail-points")]
#[test]
fn death_at_every_step_of_a_publication_leaves_all_or_nothing_and_the_retry_publishes_once() {
    const BEFORE: [&str; 7] = ["P0", "P1", "P2", "P3", "P4", "P5", "none"];
    const AFTER: [&str; 7] = ["P6", "P7", "P10", "P12", "P13", "P14", "P15"];
    for point in BEFORE.iter().chain(&AFTER) {
        let (dir, signer, token) = world();
        let server = Server::start(dir.path(), |_| {});
        reserve(&server, &token);
        assert_eq!(publish(&server, &token, &first_request()), 200);
        // The log waits until the store has what is shown: else the next start would already do the rest of this one.
        assert_eq!(server.send("GET", &format!("/v1/{NAME}/_log"), None, b"").0, 200);
        drop(server);
        let second = request(2, 1, &[("targets", 1, next_targets(&first_targets(), "v1", b"a"))]);
        let mut server = Server::start(dir.path(), |command| {
            command.env("TRUST_FAIL_POINT", format!("server.{point}"));
        });
        let status = publish(&server, &token, &second);
        if *point == "none" {
            assert_eq!(status, 200);
        } else {
            assert_eq!(status, 0, "{point}: no answer may come");
            assert!(!server.child.wait().unwrap().success());
        }
        drop(server);

        // Without a signer: what may have been shown is not shown again in an older version.
        signer.set(Mode::Down);
        let server = Server::start(dir.path(), |_| {});
        let path = format!("/tuf/{NAME}/_metadata/2.targets.json");
        let (status, _) = server.send("GET", &path, None, b"");
        let expected: &[u16] = match *point {
            "P6" | "P7" | "P10" | "P12" => &[503],
            // Shown, and stored with the next write or in a moment: stored already, or the signer is asked once more.
            "P13" | "P14" | "P15" | "none" => &[200, 503],
            _ => &[404],
        };
        assert!(expected.contains(&status), "{point}: {status}");
        signer.set(Mode::Good);

        // The retry publishes, once; and without a retry the candidate would have gone on by itself.
        if AFTER.contains(point) {
            let start = Instant::now();
            while server.send("GET", &path, None, b"").0 != 200 {
                assert!(start.elapsed() < Duration::from_secs(5), "{point}: not recovered in time");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        assert_eq!(publish(&server, &token, &second), 200, "{point}");
        let (_, log) = server.send("GET", &format!("/v1/{NAME}/_log"), None, b"");
        let log: serde_json::Value = serde_json::from_slice(&log).unwrap();
        assert_eq!(log["entries"].as_array().unwrap().len(), 2, "{point}");
        let (_, timestamp) = server.send("GET", &format!("/tuf/{NAME}/_metadata/timestamp.json"), None, b"");
        let stage = trust_tuf::trusted::RootStage::pinned(first_root(), time(*START)).unwrap();
        let (stage, _) = stage.finish().unwrap().accept(timestamp).unwrap();
        let (_, snapshot) =
            server.send("GET", &format!("/tuf/{NAME}/_metadata/{}.snapshot.json", stage.wanted().version), None, b"");
        let stage = stage.accept(snapshot).unwrap();
        let (_, targets) = server.send("GET", &path, None, b"");
        assert_eq!(stage.accept(targets).unwrap().targets().len(), 1, "{point}");
    }
}
