//! A real `kube-apiserver` on a real `etcd`, on loopback: no node, no scheduler, no controller. What is stored stays as it
//! was admitted, and that is what the steps look at.
//!
//! Addresses of Services are taken from 127.96.0.0/16, so that the API server reaches a Service of the real manifests at an
//! address where the gate can listen: no webhook has to be changed to a URL.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::{Outcome, Said};
use crate::stack::{Process, free_port, target_dir, write_private};

/// How long the API server may take until it is ready.
const READY: Duration = Duration::from_secs(180);

/// The running pair.
pub struct Cluster {
    /// Where everything lies.
    pub dir: PathBuf,
    kubectl: PathBuf,
    store: String,
    files: std::cell::Cell<usize>,
    // In this order they end.
    _api: Process,
    _etcd: Option<Process>,
}

impl Cluster {
    /// Starts both and waits until the API server is ready.
    pub fn start(dir: &Path, etcd: &Path, apiserver: &Path, kubectl: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (etcd, store) = start_etcd(dir, etcd)?;
        Self::serve(dir, apiserver, kubectl, store, Some(etcd), &[])
    }

    /// One more API server on the same store, with other flags; `dir` is its own.
    pub fn beside(&self, dir: &Path, apiserver: &Path, flags: &[(&str, String)]) -> io::Result<Self> {
        Self::serve(dir, apiserver, &self.kubectl, self.store.clone(), None, flags)
    }

    fn serve(
        dir: &Path,
        apiserver: &Path,
        kubectl: &Path,
        store: String,
        etcd: Option<Process>,
        more: &[(&str, String)],
    ) -> io::Result<Self> {
        fs::create_dir_all(dir.join("objects"))?;
        let port = free_port()?;
        let token = hex::encode(fs::read("/proc/sys/kernel/random/uuid")?);
        credentials(dir, &token, port)?;
        let rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
        fs::write(dir.join("audit.yaml"), format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}"))?;
        let place = |name: &str| dir.join(name).display().to_string();
        let flags = [
            ("etcd-servers", store.clone()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("advertise-address", "127.0.0.1".to_owned()),
            // The addresses of itself that it would publish must not be loopback; nobody here looks for them.
            ("endpoint-reconciler-type", "none".to_owned()),
            ("secure-port", port.to_string()),
            ("service-cluster-ip-range", "127.96.0.0/16".to_owned()),
            ("tls-cert-file", place("api.crt")),
            ("tls-private-key-file", place("api.key")),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-key-file", place("accounts.pub")),
            ("service-account-signing-key-file", place("accounts.key")),
            ("token-auth-file", place("tokens.csv")),
            ("authorization-mode", "RBAC".to_owned()),
            ("audit-policy-file", place("audit.yaml")),
            ("audit-log-path", place("audit.log")),
        ];
        let mut command = Command::new(apiserver);
        command.args(flags.iter().chain(more).map(|(flag, value)| format!("--{flag}={value}")));
        command.env_clear().env("HOME", dir).current_dir(dir);
        let api = Process::start("kube-apiserver", &mut command, &dir.join("apiserver.log"))?;
        let files = std::cell::Cell::new(0);
        let cluster = Self { dir: dir.to_owned(), kubectl: kubectl.to_owned(), store, files, _api: api, _etcd: etcd };
        cluster.until(READY, || cluster.kubectl(&["get", "--raw", "/readyz"]).passed).map_err(|error| {
            let log = fs::read_to_string(dir.join("apiserver.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            io::Error::other(format!("kube-apiserver: {error}: {}", tail.join("\n")))
        })?;
        Ok(cluster)
    }

    /// A kubectl of this cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        self.environment(&mut command);
        command
    }

    /// Where a command finds this cluster, and `kubectl` on its PATH.
    pub fn environment(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.kubectl.parent().map(Path::to_path_buf).unwrap_or_default(), target_dir()];
        paths.extend(std::env::split_paths(&path));
        command.env_clear().env("PATH", std::env::join_paths(paths).unwrap_or(path)).env("HOME", &self.dir);
        command.env("KUBECONFIG", self.dir.join("kubeconfig"));
    }

    /// Runs what a page says, in this folder, with our programs and `kubectl` on PATH.
    pub fn shell(&self, folder: &Path, commands: &str) -> Said {
        Said::by(&mut self.bash(folder, commands))
    }

    /// The command of [`Self::shell`].
    pub fn bash(&self, folder: &Path, commands: &str) -> Command {
        let mut command = Command::new("bash");
        self.environment(&mut command);
        command.args(["-euo", "pipefail", "-c", commands]).current_dir(folder);
        command
    }

    /// Runs kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        Said::by(self.command().args(arguments))
    }

    /// `kubectl VERB -f OBJECT ARGUMENTS…`.
    pub fn with(&self, verb: &str, object: &Value, arguments: &[&str]) -> Said {
        match self.file(object) {
            Ok(file) => Said::by(self.command().arg(verb).arg("-f").arg(file).args(arguments)),
            Err(error) => Said { passed: false, out: String::new(), err: error.to_string() },
        }
    }

    /// `kubectl create -f OBJECT`.
    pub fn create(&self, object: &Value) -> Said {
        self.with("create", object, &[])
    }

    /// What is stored: a path of it.
    pub fn stored(&self, namespace: &str, object: &str, path: &str) -> Outcome {
        self.kubectl(&["-n", namespace, "get", object, "-o", &format!("jsonpath={{{path}}}")]).text()
    }

    /// An object in a file.
    pub fn file(&self, object: &Value) -> io::Result<PathBuf> {
        let n = self.files.get();
        self.files.set(n + 1);
        let path = self.dir.join("objects").join(format!("{n}.json"));
        fs::write(&path, serde_json::to_vec_pretty(object)?)?;
        Ok(path)
    }

    /// How often the API server has called a webhook, by its own count.
    pub fn calls(&self, webhook: &str) -> u64 {
        let name = format!("name=\"{webhook}\"");
        let metrics = self.kubectl(&["get", "--raw", "/metrics"]).out;
        let lines = metrics.lines().filter(|l| l.starts_with("apiserver_admission_webhook_request_total{"));
        let values = lines.filter(|l| l.contains(&name)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }

    /// The events of the audit log, oldest first.
    pub fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.dir.join("audit.log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// A namespace with the account that a Pod needs: no controller makes it here.
    pub fn namespace(&self, name: &str) -> Outcome {
        self.kubectl(&["create", "namespace", name]).done(&[])?;
        self.kubectl(&["-n", name, "create", "serviceaccount", "default"]).done(&[])
    }

    /// Waits until something is so.
    pub fn until(&self, limit: Duration, mut so: impl FnMut() -> bool) -> io::Result<()> {
        let until = Instant::now() + limit;
        while !so() {
            if Instant::now() > until {
                return Err(io::Error::other(format!("not in {} s", limit.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }
}

fn start_etcd(dir: &Path, program: &Path) -> io::Result<(Process, String)> {
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()?), format!("http://127.0.0.1:{}", free_port()?));
    let mut command = Command::new(program);
    command.env_clear().current_dir(dir).arg("--data-dir").arg(dir.join("etcd"));
    for (flag, value) in [
        ("--name", "one"),
        ("--listen-client-urls", client.as_str()),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", &format!("one={peer}")),
        // Nothing of this outlives the run.
        ("--unsafe-no-fsync", "true"),
    ] {
        command.arg(format!("{flag}={value}"));
    }
    Ok((Process::start("etcd", &mut command, &dir.join("etcd.log"))?, client))
}

/// The API server's certificate, the keys of service accounts, and one administrator.
fn credentials(dir: &Path, token: &str, port: u16) -> io::Result<()> {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned(), "kubernetes.default.svc".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::write(dir.join("api.crt"), made.cert.pem())?;
    write_private(&dir.join("api.key"), made.signing_key.serialize_pem().as_bytes())?;
    let accounts = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    fs::write(dir.join("accounts.pub"), accounts.public_key_pem())?;
    write_private(&dir.join("accounts.key"), accounts.serialize_pem().as_bytes())?;
    write_private(&dir.join("tokens.csv"), format!("{token},admin,1,\"system:masters\"\n").as_bytes())?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "interop",
        "clusters": [{ "name": "interop", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": dir.join("api.crt"),
        } }],
        "users": [{ "name": "admin", "user": { "token": token } }],
        "contexts": [{ "name": "interop", "context": { "cluster": "interop", "user": "admin" } }],
    });
    write_private(&dir.join("kubeconfig"), &serde_json::to_vec(&config)?)
}
