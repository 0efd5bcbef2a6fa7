//! The program as containerd runs it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test program

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const NAME: &str = "registry.example.com/team/app:v1";

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// What the gate does with one question.
#[derive(Clone, Copy)]
enum Gate {
    Allows,
    Denies,
    Hangs,
    HangsUp,
    NeverEnds,
    IsAway,
}

/// The verifier in a folder of its own, and a gate.
struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new(gate: Gate) -> Self {
        let node = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["bin", "etc", "run"] {
            let path = node.dir.path().join(folder);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::copy(env!("CARGO_BIN_EXE_trust-containerd-verifier"), node.program()).unwrap();
        let socket = node.dir.path().join("run/gate.sock");
        let config = node.dir.path().join("etc/trust-containerd-verifier.conf");
        std::fs::write(&config, format!("socket = {}\n", socket.display())).unwrap();
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
        if !matches!(gate, Gate::IsAway) {
            let listener = UnixListener::bind(&socket).unwrap();
            std::thread::spawn(move || serve(&listener, gate));
        }
        node
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("bin/trust-containerd-verifier")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.args(["-name", NAME, "-digest", &digest()]);
        command.args(["-stdin-media-type", "application/vnd.oci.descriptor.v1+json"]);
        command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Output {
        self.command().stdin(Stdio::null()).output().unwrap()
    }
}

fn serve(listener: &UnixListener, gate: Gate) {
    let mut kept = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        if !matches!(gate, Gate::HangsUp) {
            let mut asked = Vec::new();
            let end = format!("{NAME}\n{}\n", digest());
            while !asked.ends_with(end.as_bytes()) {
                let mut piece = [0; 512];
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => asked.extend_from_slice(&piece[..count]),
                }
            }
        }
        let (status, body) = match gate {
            Gate::Allows => ("200 OK", format!("allow {}\nsigned by targets\n", digest())),
            Gate::Denies => ("403 Forbidden", "deny\nnot signed (E1001)\n".to_owned()),
            Gate::NeverEnds => {
                while stream.write_all(&[b'x'; 4_096]).is_ok() {}
                continue;
            }
            Gate::Hangs => {
                kept.push(stream);
                continue;
            }
            Gate::HangsUp | Gate::IsAway => continue,
        };
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

#[test]
fn what_the_gate_says_is_the_exit_code_and_its_reason_the_output() {
    let allowed = Node::new(Gate::Allows).run();
    assert_eq!((allowed.status.code(), allowed.stdout.as_slice()), (Some(0), &b"signed by targets\n"[..]));
    let denied = Node::new(Gate::Denies).run();
    assert_eq!((denied.status.code(), denied.stdout.as_slice()), (Some(1), &b"not signed (E1001)\n"[..]));
}

#[test]
fn a_gate_that_is_away_hangs_or_talks_nonsense_blocks_the_pull_with_a_reason() {
    for gate in [Gate::IsAway, Gate::Hangs, Gate::HangsUp, Gate::NeverEnds] {
        let output = Node::new(gate).run();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("the gate of this machine (") && said.len() < 32 * 1024, "{said}");
    }
}

#[test]
fn standard_input_may_be_closed_unread_huge_or_of_another_type() {
    let node = Node::new(Gate::Allows);
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" \"$@\" <&-"]).arg(node.program());
    closed.args(["-name", NAME, "-digest", &digest(), "-stdin-media-type", "application/json"]);
    assert_eq!(closed.output().unwrap().status.code(), Some(0));

    let mut child = node.command().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while stdin.write_all(&[b'x'; 65_536]).is_ok() {});
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    writer.join().unwrap();

    // Nobody writes and nobody closes.
    let mut child = node.command().stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdin);
}

#[test]
fn nobody_who_listens_to_the_reason_changes_the_answer() {
    let node = Node::new(Gate::Denies);
    let mut child = node.command().stdin(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn wrong_arguments_block_the_pull() {
    let node = Node::new(Gate::Allows);
    let run = |arguments: &[&str]| Command::new(node.program()).args(arguments).output().unwrap().status.code();
    assert_eq!(run(&[]), Some(1));
    assert_eq!(run(&["-name", NAME]), Some(1));
    assert_eq!(run(&["-name", NAME, "-digest", "latest"]), Some(1));
    assert_eq!(run(&["-name", NAME, "-digest", &digest(), "-unknown", "x"]), Some(1));
}
