//! A real `containerd` that asks our image verifier before it takes an image: through its transfer service (`ctr`), and
//! through the interface that Kubernetes uses (CRI, `crictl`). Nothing is run from the images.
//!
//! It needs root, as `containerd` does; its folders are those of the run. The traps of the contract are steps as well: a
//! folder without a verifier allows everything, and a client that fetches by itself is not asked.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::counterparts::Counterparts;
use super::hook::{deploy, soon};
use super::report::{Outcome, Report, Said, equal};
use super::world::{REFRESH, World};
use crate::stack::gate::{Gate, GateOptions};
use crate::stack::{Process, images};

/// The name of the verifier's program.
const VERIFIER: &str = "trust-containerd-verifier";

/// Runs the steps, if it is there.
pub fn run(report: &mut Report, dir: &Path, built: &Counterparts, world: &World) {
    report.part("containerd with our image verifier");
    if let Err(why) = built.programs(["containerd", "ctr"]) {
        return report.absent("containerd", &why);
    }
    if !crate::stack::built(VERIFIER).is_file() {
        return report.absent("the image verifier", &format!("{VERIFIER} was not built"));
    }
    let outcome = steps(report, &dir.join("containerd"), built, world);
    report.end_of_part(outcome);
}

fn steps(report: &mut Report, dir: &Path, built: &Counterparts, world: &World) -> io::Result<()> {
    let engine = Engine::start(dir, built, world, ("", ""))?;
    let plugins = engine.ctr(&["plugins", "ls"]).out;
    let loaded = plugins.lines().find(|l| l.contains("image-verifier") && l.contains("bindir"));
    report.check("its plugin of image verifiers is loaded", loaded.is_some_and(|l| l.contains("ok")));
    let (v1, unsigned) = (world.name("app:v1"), world.name("app:unsigned"));

    let open = engine.pull(&unsigned).done(&[]).and_then(|_| engine.holds("default", &unsigned));
    report.step("THE TRAP: a folder without a verifier lets an unsigned image in", open);
    engine.forget("default", &unsigned);
    report.step("trust-gate containerd-doctor finds it", engine.doctor().refused(&["problem"]).map(problems));

    let mut gate = launch(world)?;
    engine.install(&gate.dir.join("agent.sock"))?;
    report.step("with the verifier installed the doctor finds nothing", engine.doctor().done(&["good"]));
    report.note(&format!("the verifier is in bin_dir; trust-gate containerd answers on {}", gate.address));
    let seen = engine.pull(&v1).done(&[]).and_then(|_| equal(&engine.holds("default", &v1)?, &world.v1.digest));
    report.step("ctr pulls a signed image", seen);
    let denied = |said: Said, says: &str| said.refused(&["blocked pull", says]).map(|text| error_line(&text));
    report.step("an unsigned image is blocked, with our reason", denied(engine.pull(&unsigned), "not signed"));
    report.step("and the engine does not have it", engine.lacks("default", &unsigned));
    let by_digest = world.pinned("app", &world.v2);
    report.step("a signed image by digest is pulled", engine.pull(&by_digest).done(&[]).map(|_| String::new()));
    let stray = format!("{}@{}", world.name("app"), world.unsigned.digest);
    report.step("an unsigned one by digest is blocked", denied(engine.pull(&stray), "not signed"));

    engine.forget("default", &v1);
    images::push(&world.unsigned, &v1)?;
    report.step("the tag was moved to an unsigned image: blocked", denied(engine.pull(&v1), "is signed for v1"));
    images::push(&world.v2, &v1)?;
    report.step("the tag was moved to another signed image: blocked", denied(engine.pull(&v1), "is signed for v1"));
    images::push(&world.v1, &v1)?;
    let local = engine.ctr(&["image", "pull", "--local", "--snapshotter", "native", "--plain-http", &unsigned]);
    report.step(
        "THE TRAP: a client that fetches by itself (ctr --local) is not asked",
        local.done(&[]).map(|_| String::new()),
    );
    engine.forget("default", &unsigned);
    cri(report, &engine, world, built);
    down(report, &engine, world, &mut gate)?;
    drop(engine);
    traps(report, dir, built, world, &gate.dir)
}

/// Settings by which containerd does not ask, with the verifier installed and the gate there.
fn traps(report: &mut Report, dir: &Path, built: &Counterparts, world: &World, gate: &Path) -> io::Result<()> {
    let _gate = Gate::start(gate, "containerd")?;
    let unsigned = world.name("app:unsigned");
    let images = "[plugins.\"io.containerd.cri.v1.images\"]\n";
    let fall_back = format!("{images}max_concurrent_downloads = 5\n");
    let engine = Engine::start(&dir.join("fall-back"), built, world, (images, &fall_back))?;
    engine.install(&gate.join("agent.sock"))?;
    let blocked = engine.pull(&unsigned).refused(&["blocked pull"]).map(|_| String::new());
    report.step("max_concurrent_downloads = 5: pulls of ctr are still asked about", blocked);
    if let Some(said) = engine.cri(&["pull", &unsigned]) {
        let open = said.done(&[]).map(|_| String::new());
        report.step("THE TRAP: those of Kubernetes are not, they fall back to the old way", open);
    }
    report.step("the doctor finds it", engine.doctor().refused(&["problem"]).map(problems));
    drop(engine);
    let one = ("max_verifiers = 10", "max_verifiers = 1");
    let engine = Engine::start(&dir.join("one-verifier"), built, world, one)?;
    engine.install(&gate.join("agent.sock"))?;
    let first = engine.verifiers.join("another-verifier");
    fs::write(&first, "#!/bin/sh\nexit 0\n")?;
    fs::set_permissions(&first, fs::Permissions::from_mode(0o755))?;
    let open = engine.pull(&unsigned).done(&[]).map(|_| String::new());
    report.step("THE TRAP: max_verifiers = 1, and another verifier comes first by its name", open);
    report.step("the doctor finds it", engine.doctor().refused(&["problem"]).map(problems));
    Ok(())
}

/// The way of the kubelet.
fn cri(report: &mut Report, engine: &Engine, world: &World, built: &Counterparts) {
    let (v1, unsigned) = (world.name("app:v1"), world.name("app:unsigned"));
    let Some(said) = engine.cri(&["pull", &v1]) else {
        return report.absent("pulls of Kubernetes", &built.program("crictl").err().unwrap_or_default());
    };
    let seen = said.done(&[]).and_then(|_| equal(&engine.holds("k8s.io", &v1)?, &world.v1.digest));
    report.step("crictl (the way of Kubernetes) pulls a signed image", seen);
    let said = engine.cri(&["pull", &unsigned]).map(|said| said.refused(&["blocked pull", "not signed"]));
    report.step("an unsigned image is blocked", said.unwrap_or(Err(String::new())).map(|text| error_line(&text)));
    report.step("and the engine does not have it", engine.lacks("k8s.io", &unsigned));
    engine.forget("k8s.io", &v1);
}

/// The gate of this machine hangs, is gone, comes back.
fn down(report: &mut Report, engine: &Engine, world: &World, gate: &mut Gate) -> io::Result<()> {
    let v1 = world.name("app:v1");
    gate.process.signal("STOP");
    let begun = Instant::now();
    let outcome = engine.pull(&v1).refused(&["blocked pull"]).map(|text| error_line(&text));
    let seconds = begun.elapsed();
    report.step("the gate hangs: blocked", outcome);
    report.check("before containerd's own deadline of 10 s", seconds < Duration::from_secs(9));
    report.note(&format!("after {:.1} s", seconds.as_secs_f64()));
    gate.process.signal("CONT");
    report.step("it goes on: pulled", soon(|| engine.pull(&v1).done(&[])).map(|_| String::new()));
    engine.forget("default", &v1);
    gate.process.kill();
    report.step("the gate is gone: blocked", engine.pull(&v1).refused(&["blocked pull"]).map(|text| error_line(&text)));
    report.step("and the engine does not have it", engine.lacks("default", &v1));
    let mut again = Gate::start(&gate.dir, "containerd")?;
    report.step("it is back: pulled", soon(|| engine.pull(&v1).done(&[])).map(|_| String::new()));
    again.process.kill();
    Ok(())
}

fn launch(world: &World) -> io::Result<Gate> {
    let options = GateOptions {
        refresh: REFRESH.to_owned(),
        ..GateOptions::new("containerd", &world.stack, &[&world.collection])
    };
    let dir = Gate::prepare(&world.stack, &world.operator, &options)?;
    let config = dir.join("gate.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, format!("{text}\n[containerd]\nsocket = \"agent.sock\"\n"))?;
    Gate::start(&dir, "containerd")
}

fn problems(text: String) -> String {
    text.lines().filter(|l| l.starts_with("problem")).collect::<Vec<_>>().join("\n")
}

/// What `ctr` says beside its warnings about the machine.
fn error_line(text: &str) -> String {
    let lines = text.lines().filter(|l| !l.contains("level=warning") && !l.contains("elapsed"));
    lines.filter(|l| l.contains("blocked pull")).collect::<Vec<_>>().join("\n")
}

/// A running containerd and its two clients.
struct Engine {
    socket: PathBuf,
    verifiers: PathBuf,
    ctr: PathBuf,
    crictl: Option<PathBuf>,
    _process: Process,
}

impl Engine {
    fn start(dir: &Path, built: &Counterparts, world: &World, change: (&str, &str)) -> io::Result<Self> {
        let [containerd, ctr] = built.programs(["containerd", "ctr"]).map_err(io::Error::other)?;
        let (verifiers, hosts) = (dir.join("image-verifier/bin"), dir.join("hosts"));
        let host = hosts.join(&world.stack.registry);
        for folder in [&verifiers, &host, &dir.join("cni")] {
            fs::create_dir_all(folder)?;
        }
        fs::write(host.join("hosts.toml"), format!("server = \"http://{}\"\n", world.stack.registry))?;
        let config = dir.join("config.toml");
        fs::write(&config, configuration(dir)?.replacen(change.0, change.1, 1))?;
        let mut command = Command::new(containerd);
        command.arg("--config").arg(&config).current_dir(dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let process = Process::start("containerd", &mut command, &dir.join("containerd.log"))?;
        let crictl = built.program("crictl").ok();
        let engine = Self { socket: dir.join("c.sock"), verifiers, ctr, crictl, _process: process };
        soon(|| engine.ctr(&["version"]).done(&[])).map_err(io::Error::other)?;
        Ok(engine)
    }

    /// Whether it really asks, by our own look at its configuration.
    fn doctor(&self) -> Said {
        let config = self.socket.with_file_name("config.toml");
        Said::by(
            Command::new(crate::stack::built("trust-gate")).args(["containerd-doctor", "--containerd"]).arg(config),
        )
    }

    fn ctr(&self, arguments: &[&str]) -> Said {
        Said::by(Command::new(&self.ctr).arg("-a").arg(&self.socket).args(arguments))
    }

    /// By the transfer service, which is where verifiers are asked.
    fn pull(&self, image: &str) -> Said {
        self.ctr(&["image", "pull", "--local=false", "--snapshotter", "native", "--plain-http", image])
    }

    /// As the kubelet asks for it.
    fn cri(&self, arguments: &[&str]) -> Option<Said> {
        let endpoint = format!("unix://{}", self.socket.display());
        let mut command = Command::new(self.crictl.as_ref()?);
        command.args(["--runtime-endpoint", &endpoint, "--image-endpoint", &endpoint]).args(arguments);
        Some(Said::by(&mut command))
    }

    /// `Ok` with the digest of an image that the engine has.
    fn holds(&self, namespace: &str, image: &str) -> Outcome {
        let list = self.ctr(&["-n", namespace, "image", "ls", &format!("name=={image}")]).text()?;
        let row = list.lines().find(|l| l.starts_with(image)).ok_or("the engine does not have it")?;
        Ok(row.split_whitespace().find(|w| w.starts_with("sha256:")).unwrap_or_default().to_owned())
    }

    /// The verifier in its folder, and where it finds the gate.
    fn install(&self, socket: &Path) -> io::Result<()> {
        let etc = self.verifiers.parent().unwrap_or(Path::new("/")).join("etc");
        fs::create_dir_all(&etc)?;
        for folder in [&etc, &self.verifiers] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        let config = etc.join("trust-containerd-verifier.conf");
        fs::write(&config, format!("socket = {}\n", socket.display()))?;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o644))?;
        let program = self.verifiers.join(VERIFIER);
        fs::copy(crate::stack::built(VERIFIER), &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    }

    fn lacks(&self, namespace: &str, image: &str) -> Outcome {
        match self.holds(namespace, image) {
            Ok(digest) => Err(format!("the engine has it: {digest}")),
            Err(_) => Ok(String::new()),
        }
    }

    fn forget(&self, namespace: &str, image: &str) {
        self.ctr(&["-n", namespace, "image", "rm", "--sync", image]);
    }
}

/// What deploy/containerd/config.toml says, with another `bin_dir`, and what a run of its own needs beside.
fn configuration(dir: &Path) -> io::Result<String> {
    let shipped = fs::read_to_string(deploy().join("containerd/config.toml"))?;
    let dir = dir.display();
    let own = format!(
        r#"version = 3
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
"#
    );
    let verifiers = format!("\"{dir}/image-verifier/bin\"");
    let shipped = shipped.replacen("version = 3\n", &own, 1);
    let shipped = shipped.replacen("\"/opt/containerd/image-verifier/bin\"", &verifiers, 1);
    Ok(format!(
        r#"{shipped}
[grpc]
address = "{dir}/c.sock"

[ttrpc]
address = "{dir}/c.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{dir}/hosts"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{dir}/cni"]
conf_dir = "{dir}/cni"

[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "native"
differ = "walking"
"#
    ))
}
