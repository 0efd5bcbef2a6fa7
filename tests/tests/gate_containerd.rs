//! The image verifier of containerd as a program, run as containerd runs it, and the gate that it asks.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::scene::{Scene, assert_exit};
use trust_tests::stack::{Options, built, run};

const VERIFIER: &str = "trust-containerd-verifier";

/// A stack, a gate, and a folder of verifiers as on a node.
struct Node {
    scene: Scene,
    gate: Gate,
    dir: tempfile::TempDir,
}

impl Node {
    fn start(name: &str, section: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), name, Options::default());
        for folder in ["bin", "etc", "run"] {
            let path = dir.path().join(folder);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::copy(built(VERIFIER), dir.path().join("bin").join(VERIFIER)).unwrap();
        let socket = dir.path().join("run/containerd.sock");
        let config = dir.path().join("etc").join(format!("{VERIFIER}.conf"));
        std::fs::write(&config, format!("socket = {}\n", socket.display())).unwrap();
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
        let section = format!("\n[containerd]\nsocket = '{}'\n{section}\n", socket.display());
        let options = GateOptions { registry: section, ..GateOptions::new("node", &scene.stack, &[&scene.collection]) };
        let gate = Gate::launch(&scene.stack, &scene.alice, "containerd", &options).unwrap();
        Self { scene, gate, dir }
    }

    fn verifier(&self) -> PathBuf {
        self.dir.path().join("bin").join(VERIFIER)
    }

    /// What containerd does with a verifier.
    fn verify(&self, name: &str, digest: &str) -> Output {
        let mut command = Command::new(self.verifier());
        command.args(["-name", name, "-digest", digest]);
        command.args(["-stdin-media-type", "application/vnd.oci.descriptor.v1+json"]);
        run(&mut command).unwrap()
    }

    #[track_caller]
    fn allows(&self, name: &str, digest: &str) {
        let output = self.verify(name, digest);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }

    #[track_caller]
    fn blocks(&self, name: &str, digest: &str, words: &str) {
        let output = self.verify(name, digest);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{name}: {said}");
    }

    fn publish(&self, image: &Image, tag: &str) {
        let reference = format!("{}/app:{tag}", self.scene.collection);
        images::push(image, &reference).unwrap();
        let mut sign = self.scene.alice.trust();
        sign.args(["sign", &format!("{reference}@{}", image.digest)]);
        assert_exit(&run(&mut sign).unwrap(), 0, "sign");
    }
}

/// Asks until it is so.
#[track_caller]
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn only_the_digest_that_is_signed_for_a_name_comes_in_through_the_verifier() {
    let node = Node::start("verifier", "");
    let collection = node.scene.collection.clone();
    let image = |name: &str| images::single(&node.dir.path().join(name), name, &[]).unwrap();
    let (old, other) = (node.scene.image.clone(), image("other"));
    let index = images::index(&node.dir.path().join("index"), "index", &[]).unwrap();
    node.publish(&index, "multi");
    let (app, by_digest) = (format!("{collection}/app:v0"), format!("{collection}/app@{}", old.digest));
    soon("the gate follows", || node.verify(&format!("{collection}/app:multi"), &index.digest).status.success());

    node.allows(&app, &old.digest);
    node.allows(&by_digest, &old.digest);
    node.allows(&format!("{app}@{}", old.digest), &old.digest);
    // The registry hands out another image, or another signed one, for the tag.
    node.blocks(&app, &other.digest, "is signed for v0, and the registry gives");
    node.blocks(&app, &index.digest, "is signed for v0, and the registry gives");
    node.blocks(&by_digest, &index.digest, "was asked for, and the registry gave");
    node.blocks(&format!("{collection}/app@{}", other.digest), &other.digest, "not signed");
    node.blocks(&format!("{collection}/app:unsigned"), &other.digest, "not signed");
    node.blocks("docker.io/library/busybox:latest", &old.digest, "E1");
    node.blocks("not a name", &old.digest, "the name of the image is not one");
    node.blocks("UPPER/Case/", &old.digest, "the name of the image");

    let log = std::fs::read_to_string(node.gate.dir.join("decisions.log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let denied = lines.iter().filter(|line| line["door"] == "containerd" && line["decision"] == "deny").count();
    assert!(denied >= 5, "{log}");
}

#[test]
fn a_gate_that_is_gone_or_stopped_blocks_every_pull_with_a_reason() {
    let mut node = Node::start("gone", "");
    let (app, digest) = (format!("{}/app:v0", node.scene.collection), node.scene.image.digest.clone());
    node.allows(&app, &digest);
    node.gate.process.signal("STOP");
    node.blocks(&app, &digest, "gives no answer within");
    node.gate.process.signal("CONT");
    node.allows(&app, &digest);
    node.gate.process.kill();
    node.blocks(&app, &digest, "cannot be asked");
    let gate = Gate::start(&node.gate.dir, "containerd").unwrap();
    node.allows(&app, &digest);
    drop(gate);
}

#[test]
fn a_gate_that_only_warns_lets_pass_and_says_what_it_would_deny() {
    let node = Node::start("warns", "mode = 'warn'");
    let name = format!("{}/app:unsigned", node.scene.collection);
    let output = node.verify(&name, &node.scene.image.digest);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("would be denied: ") && said.contains("not signed"), "{said}");
}

/// `trust-gate containerd-doctor` on this configuration.
fn doctor(config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(built("trust-gate"));
    command.args(["containerd-doctor", "--containerd"]).arg(config);
    let output = run(&mut command).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_doctor_finds_a_node_on_which_nobody_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.path().join("config.toml");
    let section = "[plugins.'io.containerd.image-verifier.v1.bindir']";
    std::fs::write(&config, format!("version = 3\n{section}\nbin_dir = '{}'\n", bin.display())).unwrap();
    let (code, said) = doctor(&config);
    assert_eq!(code, Some(60), "{said}");
    assert!(said.contains("is empty: containerd allows everything"), "{said}");

    std::fs::copy(built(VERIFIER), bin.join(VERIFIER)).unwrap();
    std::fs::set_permissions(bin.join(VERIFIER), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = doctor(&config);
    if rustix::process::geteuid().is_root() {
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("is asked about each pull"), "{said}");
    } else {
        assert!(said.contains("and not to root"), "{said}");
    }
}

/// What deploy/containerd ships is what gate, verifier and containerd read.
#[test]
fn the_shipped_files_for_containerd_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/containerd");
    let config = trust_tests::stack::gate::read_shipped(&folder.join("gate.toml")).unwrap();
    let socket = config.containerd().unwrap().socket.clone();
    let verifier = std::fs::read_to_string(folder.join(format!("{VERIFIER}.conf"))).unwrap();
    assert!(verifier.ends_with(&format!("\nsocket = {}\n", socket.display())));
    let unit = std::fs::read_to_string(folder.join("trust-gate-containerd.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/trust-gate containerd --config /etc/trust-gate/gate.toml\n"));
    assert!(unit.contains("RuntimeDirectory=trust-gate\n") && socket.starts_with("/run/trust-gate"));
    // The doctor has nothing to say against the settings; the folder is not on this machine.
    let (_, said) = doctor(&folder.join("config.toml"));
    assert!(said.contains("nothing makes the pulls of Kubernetes fall back"), "{said}");
    assert!(!said.contains("per_verifier_timeout") && !said.contains("version"), "{said}");
}
