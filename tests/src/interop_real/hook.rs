//! The gate behind its real manifests: what deploy/kubernetes says is applied as it is, and the gate listens where the
//! Service's address says.
//!
//! What the operator fills in is filled in, and nothing else is changed: `caBundle` as README.md step 5 does, and
//! `failurePolicy` as step 6 does. The gate itself is a process here, with the configuration of a test stack: no node runs
//! the Pods of the StatefulSet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::recovery::{blocks, without_nodes};
use super::report::{Outcome, Report, Said};
use super::world::{REFRESH, World};
use crate::stack::built;
use crate::stack::gate::{Gate, GateOptions};

/// How long a change of a webhook configuration, or of a certificate, may take until it is in force.
pub const SOON: Duration = Duration::from_secs(30);

const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// What the gate is told of the kind of others that the steps define, and that Gatekeeper asks as well.
const KIND: &str = "\n[[admission.kinds]]\ngroup = \"interop.example.com\"\nkind = \"Rollout\"\npod_specs = [\"spec.template.spec\"]\n\n[admission.gatekeeper]\n";

/// The folder with what is shipped.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Authority and certificate of the gate, in a folder of `trust-gate certificates`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The folder.
    pub folder: PathBuf,
}

impl Certificates {
    /// `trust-gate certificates make` for these names.
    pub fn make(folder: &Path, names: &[String]) -> Result<Self, String> {
        let made = Self { folder: folder.to_owned() };
        let names = names.iter().flat_map(|name| ["--dns", name.as_str()]);
        made.run(&std::iter::once("make").chain(names).collect::<Vec<_>>()).done(&[])?;
        Ok(made)
    }

    /// Runs one of its commands.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::by(
            Command::new(built("trust-gate")).arg("certificates").args(arguments).arg("--folder").arg(&self.folder),
        )
    }

    /// The value of `caBundle`, as the operator copies it.
    pub fn bundle(&self) -> Outcome {
        self.run(&["bundle"]).text()
    }

    /// The file of the authority that issues.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }
}

/// The registered gate.
pub struct Hook {
    /// Its folder.
    pub dir: PathBuf,
    /// The commands that register the webhooks.
    webhooks: String,
    /// Its certificate.
    pub certificates: Certificates,
    /// The address of its Service.
    pub address: String,
    /// Its process; `None` while it is down.
    pub gate: Option<Gate>,
    /// The name of the webhook that denies.
    pub validate: String,
    /// The name of the webhook that pins.
    pub mutate: String,
}

impl Hook {
    /// Installs the gate as deploy/kubernetes/README.md says, up to the webhooks, and starts it at the Service's address.
    pub fn install(report: &mut Report, cluster: &Cluster, world: &World) -> io::Result<Self> {
        let options = GateOptions {
            refresh: REFRESH.to_owned(),
            mode: "warn".to_owned(),
            ..GateOptions::new("kubernetes", &world.stack, &[&world.collection])
        };
        let dir = Gate::prepare(&world.stack, &world.operator, &options)?;
        let shipped = deploy().join("kubernetes");
        for entry in fs::read_dir(&shipped)? {
            let entry = entry?;
            fs::copy(entry.path(), dir.join(entry.file_name()))?;
        }
        for root in ["pay.root.json", "policy.root.json"] {
            fs::copy(dir.join("0.root.json"), dir.join(root))?;
        }
        let mut webhooks = String::new();
        for block in blocks(&fs::read_to_string(shipped.join("README.md"))?) {
            if block.contains("50-webhooks.yaml") {
                webhooks = block;
                break;
            }
            let commands = without_nodes(report, &block);
            let first = commands.lines().next().unwrap_or_default().to_owned();
            report.step(&first, cluster.shell(&dir, &commands).done(&[]));
        }
        let address =
            cluster.stored("trust-gate", "service/trust-gate", ".spec.clusterIP").map_err(io::Error::other)?;
        let config = dir.join("gate.toml");
        let text = fs::read_to_string(&config)?;
        let listens = format!("[admission]\nlisten = \"{address}:443\"\nimage_review = true");
        let text = text
            .replacen("[admission]\nlisten = \"127.0.0.1:0\"", &listens, 1)
            .replacen("\"tls.crt\"", "\"certificates/tls.crt\"", 1)
            .replacen("\"tls.key\"", "\"certificates/tls.key\"", 1);
        fs::write(&config, format!("{text}{KIND}"))?;
        let certificates = Certificates { folder: dir.join("certificates") };
        let (validate, mutate) = (String::new(), String::new());
        let mut hook = Self { dir, address, certificates, webhooks, gate: None, validate, mutate };
        hook.start()?;
        let at = format!("{}:443, the address of service/trust-gate", hook.address);
        report.note(&format!("trust-gate admission listens on {at}"));
        Ok(hook)
    }

    /// Starts the gate (again).
    pub fn start(&mut self) -> io::Result<()> {
        self.gate = None;
        self.gate = Some(Gate::start(&self.dir, "admission")?);
        Ok(())
    }

    /// Writes another mode, and has the running gate read it (SIGHUP).
    pub fn set_mode(&self, from: &str, to: &str) -> io::Result<()> {
        let config = self.dir.join("gate.toml");
        let text = fs::read_to_string(&config)?;
        fs::write(&config, text.replacen(&format!("mode = \"{from}\""), &format!("mode = \"{to}\""), 1))?;
        if let Some(gate) = &self.gate {
            gate.process.signal("HUP");
        }
        Ok(())
    }

    /// Registers the webhooks by the first command of README.md step 5.
    pub fn register(&mut self, cluster: &Cluster) -> Outcome {
        let file = "50-webhooks.yaml";
        fs::copy(deploy().join("kubernetes").join(file), self.dir.join(file)).map_err(|e| e.to_string())?;
        let command = self.webhooks.lines().next().unwrap_or("false");
        let said = cluster.shell(&self.dir, command).done(&["trust-gate"])?;
        self.mutate = names(cluster, KINDS[0])?.first().cloned().unwrap_or_default();
        self.validate = names(cluster, KINDS[1])?.first().cloned().unwrap_or_default();
        Ok(said)
    }

    /// The second command of that step, which shows that the gate is asked.
    pub fn probe(&self, cluster: &Cluster) -> Said {
        cluster.shell(&self.dir, self.webhooks.lines().nth(1).unwrap_or("false"))
    }

    /// Sets a member of every webhook of both configurations.
    pub fn set(&self, cluster: &Cluster, path: &str, value: &str) -> Outcome {
        for kind in KINDS {
            let steps: Vec<Value> = (0..names(cluster, kind)?.len())
                .map(|n| json!({ "op": "replace", "path": format!("/webhooks/{n}/{path}"), "value": value }))
                .collect();
            let patch = Value::from(steps).to_string();
            cluster.kubectl(&["patch", kind, "trust-gate", "--type=json", "-p", &patch]).done(&[])?;
        }
        Ok(String::new())
    }

    /// Sets the authorities that are believed: the value of `caBundle`.
    pub fn believe(&self, cluster: &Cluster, bundle: &str) -> Outcome {
        self.set(cluster, "clientConfig/caBundle", bundle)
    }

    /// Shows another kind to both webhooks.
    pub fn show(&self, cluster: &Cluster, group: &str, version: &str, resource: &str) -> Outcome {
        let rule = json!({
            "operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": [version],
            "resources": [resource], "scope": "Namespaced",
        });
        let patch = json!([{ "op": "add", "path": "/webhooks/0/rules/-", "value": rule }]).to_string();
        for kind in KINDS {
            cluster.kubectl(&["patch", kind, "trust-gate", "--type=json", "-p", &patch]).done(&[])?;
        }
        Ok(String::new())
    }

    /// Calls of both webhooks so far.
    pub fn calls(&self, cluster: &Cluster) -> (u64, u64) {
        (cluster.calls(&self.mutate), cluster.calls(&self.validate))
    }
}

fn names(cluster: &Cluster, kind: &str) -> Result<Vec<String>, String> {
    let found = cluster.kubectl(&["get", kind, "trust-gate", "-o", "jsonpath={.webhooks[*].name}"]).text()?;
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

/// Tries until it is so, or says what it was last.
pub fn soon(mut so: impl FnMut() -> Outcome) -> Outcome {
    let until = std::time::Instant::now() + SOON;
    loop {
        match so() {
            Err(_) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(300)),
            outcome => return outcome,
        }
    }
}
