//! What the tests of the registry gate share: a real stack, a gate in front of its registry, and the clients that people use.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use trust_image::Digest;
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::scene::{HttpAnswer, Scene, ask, assert_exit};
use trust_tests::stack::{Options, Process, free_port, run, tool, wait_for_port, write_private};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A scene with its folder, in which images are made.
pub struct World {
    pub scene: Scene,
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), "demo", Options::default());
        Self { scene, dir }
    }

    pub fn single(&self, name: &str, labels: &[(&str, &str)]) -> Image {
        images::single(&self.dir.path().join(format!("image-{name}")), name, labels).unwrap()
    }

    /// Pushes to `demo/PATH:TAG`, past the gate.
    pub fn push(&self, image: &Image, path: &str) {
        images::push(image, &format!("{}/{path}", self.scene.collection)).unwrap();
    }

    pub fn sign(&self, image: &Image, path: &str) {
        let reference = format!("{}/{path}@{}", self.scene.collection, image.digest);
        assert_exit(&run(self.scene.alice.trust().args(["sign", &reference])).unwrap(), 0, "sign");
    }

    pub fn publish(&self, image: &Image, path: &str) {
        self.push(image, path);
        self.sign(image, path);
    }

    /// A policy collection with what `trust policy init` writes.
    pub fn policy(&self) -> String {
        let collection = format!("{}/policy", self.scene.stack.registry);
        self.scene.stack.create(&self.scene.alice, &collection).unwrap();
        let folder = self.dir.path().join("policy");
        let folder = folder.to_str().unwrap();
        let alice = &self.scene.alice;
        assert_exit(&run(alice.trust().args(["policy", "init", folder])).unwrap(), 0, "policy init");
        let publish = run(alice.trust().args(["policy", "publish", folder, &collection, "--yes"])).unwrap();
        assert_exit(&publish, 0, "policy publish");
        collection
    }

    pub fn options(&self, name: &str) -> GateOptions {
        GateOptions::new(name, &self.scene.stack, &[&self.scene.collection])
    }

    pub fn launch(&self, options: &GateOptions) -> Gate {
        Gate::launch(&self.scene.stack, &self.scene.alice, "registry", options).unwrap()
    }

    /// What the registry holds under a path of the protocol.
    pub fn upstream(&self, path: &str) -> HttpAnswer {
        ask(&self.scene.stack.registry, "GET", path, &[("accept", &format!("{MANIFEST}, {INDEX}"))]).unwrap()
    }
}

pub fn get(gate: &Gate, path: &str) -> HttpAnswer {
    ask(&gate.address, "GET", &format!("/v2/demo/{path}"), &[]).unwrap()
}

pub fn by(gate: &Gate, reference: &str) -> HttpAnswer {
    get(gate, &format!("app/manifests/{reference}"))
}

/// The error of an answer: code and message.
pub fn error(answer: &HttpAnswer) -> (String, String) {
    let error = answer.json()["errors"][0].clone();
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}

#[track_caller]
pub fn assert_denied(answer: &HttpAnswer, words: &str) {
    let (code, message) = error(answer);
    assert_eq!((answer.status, code.as_str()), (403, "DENIED"), "{message}");
    assert!(message.contains(words), "{message}");
    assert!(!message.contains('\n'));
}

/// `skopeo copy` from the gate into a folder.
pub fn skopeo(gate: &Gate, image: &str, to: &Path) -> Output {
    let mut command = Command::new(tool("skopeo").expect("skopeo is missing: run tests/tools/fetch.sh"));
    command.args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--retry-times", "0"]);
    command.arg(format!("docker://{}/demo/{image}", gate.address)).arg(format!("dir:{}", to.display()));
    run(&mut command).unwrap()
}

/// `podman pull` from the gate, with a store of its own in this folder.
pub fn podman(gate: &Gate, image: &str, folder: &Path) -> Output {
    let mut command = podman_command(folder);
    command.args(["pull", "--tls-verify=false", "--signature-policy"]).arg(folder.join("policy.json"));
    command.arg(format!("{}/demo/{image}", gate.address));
    run(&mut command).unwrap()
}

pub fn podman_command(folder: &Path) -> Command {
    let (home, run) = (folder.join("home"), folder.join("run"));
    fs::create_dir_all(&home).unwrap();
    fs::create_dir_all(&run).unwrap();
    write_private(&folder.join("policy.json"), br#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let mut command = Command::new(tool("podman").expect("podman is missing: run tests/tools/fetch.sh"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", &home).env("XDG_RUNTIME_DIR", &run).env("TMPDIR", &run);
    command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(folder.join("runroot"));
    command.arg("--tmpdir").arg(folder.join("tmp")).arg("--network-config-dir").arg(folder.join("networks"));
    command.args(["--storage-driver", "vfs", "--events-backend", "none", "--cgroup-manager", "cgroupfs"]);
    command
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The digest of what `skopeo` wrote.
pub fn manifest_in(folder: &Path) -> String {
    Digest::of(&fs::read(folder.join("manifest.json")).unwrap()).to_string()
}

/// Waits until it holds: a gate hears of what was signed with its next refresh.
pub fn comes(mut holds: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| {
        let holds = holds();
        if !holds {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        holds
    })
}

/// A second registry on the storage of the stack's: it wants a login.
pub struct Guarded {
    _process: Process,
    /// `127.0.0.1:PORT`
    pub address: String,
}

/// Who may log in there, with the password. (The hashes are test vectors of bcrypt.)
pub const USER: &str = "alice";
pub const PASSWORD: &str = "U*U*U";
const USERS: &str = "alice:$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a\n";

impl Guarded {
    pub fn start(world: &World) -> Self {
        let dir = world.dir.path().join("guarded");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("users"), USERS).unwrap();
        let storage = world.scene.stack.dir.join("registry");
        let program = tool("docker-registry").expect("docker-registry is missing: run tests/tools/fetch.sh");
        for _ in 0..5 {
            let address = format!("127.0.0.1:{}", free_port().unwrap());
            let text = format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"{address}\"}}\nauth: {{htpasswd: {{realm: guarded, path: {}}}}}\n",
                storage.display(),
                dir.join("users").display()
            );
            fs::write(dir.join("registry.yml"), text).unwrap();
            let mut command = Command::new(&program);
            command.arg("serve").arg(dir.join("registry.yml")).env("OTEL_TRACES_EXPORTER", "none");
            let mut process = Process::start("docker-registry", &mut command, &dir.join("log")).unwrap();
            if wait_for_port(&mut process, &address) {
                return Self { _process: process, address };
            }
        }
        panic!("the registry did not start");
    }
}

/// `skopeo login` at the gate, into this file.
pub fn login(gate: &Gate, user: &str, password: &str, file: &Path) -> Output {
    let mut command = Command::new(tool("skopeo").expect("skopeo is missing: run tests/tools/fetch.sh"));
    command.args(["login", "--tls-verify=false", "--username", user, "--password", password, "--authfile"]);
    run(command.arg(file).arg(&gate.address)).unwrap()
}

/// A PUT of a manifest to a registry (or a gate).
pub fn put(registry: &str, path: &str, kind: &str, content: &[u8]) {
    let answer = send(registry, "PUT", path, &[("content-type", kind)], content);
    assert_eq!(answer.status, 201, "{path}: {}", String::from_utf8_lossy(&answer.body));
}

/// A request with a body.
pub fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    use std::io::{Read, Write};
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    HttpAnswer::parse(&answer, false).unwrap()
}

/// Uploads a blob in one request.
pub fn upload(address: &str, name: &str, content: &[u8]) -> String {
    let digest = Digest::of(content).to_string();
    let start = send(address, "POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
    assert_eq!(start.status, 202, "{}", String::from_utf8_lossy(&start.body));
    let at = start.header("location").unwrap().to_owned();
    let at = at.strip_prefix(&format!("http://{address}")).map(str::to_owned).unwrap_or(at);
    let joint = if at.contains('?') { '&' } else { '?' };
    let kind = [("content-type", "application/octet-stream")];
    let end = send(address, "PUT", &format!("{at}{joint}digest={digest}"), &kind, content);
    assert_eq!(end.status, 201, "{}", String::from_utf8_lossy(&end.body));
    digest
}
