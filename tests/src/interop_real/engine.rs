//! A real `containerd` that asks our image verifier before it takes an image: through its transfer service (`ctr`), and
//! through the interface that Kubernetes uses (CRI, `crictl`). Nothing is run from the images.
//!
//! It needs root, as `containerd` does; its folders are those of the run. The traps of the contract are steps as well: a
//! folder without a verifier allows everything, and a client that fetches by itself is not asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::counterparts::Counterparts;
use super::hook::soon;
use super::report::{Outcome, Report, Said, equal};
use super::world::World;
use crate::stack::{Process, images};

/// A running containerd and its two clients.
struct Engine {
    socket: PathBuf,
    verifiers: PathBuf,
    ctr: PathBuf,
    crictl: Option<PathBuf>,
    _process: Process,
}

impl Engine {
    fn start(dir: &Path, built: &Counterparts, world: &World) -> io::Result<Self> {
        let [containerd, ctr] = built.programs(["containerd", "ctr"]).map_err(io::Error::other)?;
        let (verifiers, hosts) = (dir.join("verifiers"), dir.join("hosts"));
        let host = hosts.join(&world.stack.registry);
        for folder in [&verifiers, &host, &dir.join("cni")] {
            fs::create_dir_all(folder)?;
        }
        fs::write(host.join("hosts.toml"), format!("server = \"http://{}\"\n", world.stack.registry))?;
        let config = dir.join("config.toml");
        fs::write(&config, configuration(dir))?;
        let mut command = Command::new(containerd);
        command.arg("--config").arg(&config).current_dir(dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let process = Process::start("containerd", &mut command, &dir.join("containerd.log"))?;
        let crictl = built.program("crictl").ok();
        let engine = Self { socket: dir.join("c.sock"), verifiers, ctr, crictl, _process: process };
        soon(|| engine.ctr(&["version"]).done(&[])).map_err(io::Error::other)?;
        Ok(engine)
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

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"version = 3
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "{dir}/c.sock"

[ttrpc]
address = "{dir}/c.ttrpc"

[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "{dir}/verifiers"
max_verifiers = 10
per_verifier_timeout = "10s"

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
    )
}
