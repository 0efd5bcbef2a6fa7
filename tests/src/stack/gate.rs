//! `trust-gate` on a stack: a configuration from what the stack runs, the process, and requests to its doors.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use super::scene::HttpAnswer;
use super::{Person, Process, Stack, built, run, wait_for_file, write_private};

/// What a gate is started with.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// A name for its folder.
    pub name: String,
    /// Collections with the fingerprints of their pinned roots.
    pub collections: Vec<String>,
    /// The policy collection; `None`: decide by signatures alone.
    pub policy: Option<String>,
    /// `public` or `private`.
    pub cloud: String,
    /// How often it refreshes, e.g. `1s`.
    pub refresh: String,
    /// How long it goes on without a refresh, e.g. `1h`.
    pub max_staleness: String,
    /// Another server (a middle man) than the stack's.
    pub server: Option<String>,
    /// What images are called by, and the registry behind the gate.
    pub host: String,
    /// `127.0.0.1:PORT` of the registry behind the gate.
    pub upstream: String,
    /// `enforce` or `warn`.
    pub mode: String,
    /// Further lines of `[registry]`.
    pub registry: String,
}

impl GateOptions {
    /// A gate in front of the stack's registry, in a public cloud, that decides by signatures alone.
    pub fn new(name: &str, stack: &Stack, collections: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            collections: collections.iter().map(|c| (*c).to_owned()).collect(),
            policy: None,
            cloud: "public".to_owned(),
            refresh: "1s".to_owned(),
            max_staleness: "1h".to_owned(),
            server: None,
            host: stack.registry.clone(),
            upstream: stack.registry.clone(),
            mode: "enforce".to_owned(),
            registry: String::new(),
        }
    }
}

/// A running gate.
pub struct Gate {
    /// Its process.
    pub process: Process,
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// Its folder.
    pub dir: PathBuf,
    ca: PathBuf,
}

impl Gate {
    /// Writes the folder of a gate: roots as this person has pinned them, a certificate, the configuration.
    pub fn prepare(stack: &Stack, person: &Person, options: &GateOptions) -> io::Result<PathBuf> {
        let dir = stack.dir.join("gates").join(&options.name);
        fs::create_dir_all(&dir)?;
        let server = options.server.clone().unwrap_or_else(|| stack.server_url.clone());
        let policy = options.policy.clone().unwrap_or_else(|| "signatures-alone".to_owned());
        let mut text = format!(
            "state = \"state\"\nlog = \"decisions.log\"\nrefresh = \"{}\"\nmax_staleness = \"{}\"\npolicy = \"{policy}\"\n\n",
            options.refresh, options.max_staleness
        );
        for (n, collection) in options.collections.iter().enumerate() {
            let root = dir.join(format!("{n}.root.json"));
            let shown = run(person.trust().args(["pin", "show", collection, "-o", "json"]))?;
            let value: serde_json::Value = serde_json::from_slice(&shown.stdout).map_err(io::Error::other)?;
            let fingerprint = value["fingerprint"].as_str().unwrap_or_default();
            let _ = fs::remove_file(&root);
            let mut export = person.trust();
            export.args(["pin", "show", collection, "--root", "--out"]).arg(&root);
            let export = run(&mut export)?;
            if !export.status.success() {
                return Err(io::Error::other(String::from_utf8_lossy(&export.stderr).into_owned()));
            }
            text.push_str(&format!(
                "[[collections]]\nname = \"{collection}\"\nroot = \"{n}.root.json\"\nfingerprint = \"{fingerprint}\"\nserver = \"{server}\"\n"
            ));
            if server.starts_with("https") {
                text.push_str(&format!("ca = \"{}\"\n", stack.ca().display()));
            }
            text.push('\n');
        }
        text.push_str(&format!("[environment]\nname = \"{0}-test\"\ncloud = \"{0}\"\n\n", options.cloud));
        text.push_str(&format!(
            "[admission]\nlisten = \"127.0.0.1:0\"\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\nmode = \"{}\"\n\n",
            options.mode
        ));
        text.push_str(&format!(
            "[registry]\nlisten = \"127.0.0.1:0\"\nupstream = \"http://{}\"\nhost = \"{}\"\n{}\n",
            options.upstream, options.host, options.registry
        ));
        fs::write(dir.join("gate.toml"), text)?;
        if !dir.join("tls.crt").exists() {
            certificate(&dir)?;
        }
        Ok(dir)
    }

    /// The command of a door of a prepared gate; it says in `DOOR.ready` where it listens.
    pub fn command(dir: &Path, door: &str) -> Command {
        let mut command = Command::new(built("trust-gate"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(dir);
        command.arg(door).arg("--config").arg(dir.join("gate.toml"));
        command.arg("--ready-file").arg(dir.join(format!("{door}.ready")));
        command
    }

    /// Starts a door (`admission` or `registry`) of a prepared gate; on the address it had, if `listen` says so.
    pub fn start(dir: &Path, door: &str) -> io::Result<Self> {
        let ready = dir.join(format!("{door}.ready"));
        let _ = fs::remove_file(&ready);
        let mut command = Self::command(dir, door);
        let log = dir.join(format!("{door}.log"));
        let mut process = Process::start("trust-gate", &mut command, &log)?;
        let address = wait_for_file(&mut process, &ready)
            .map_err(|e| io::Error::other(format!("{e}: {}", fs::read_to_string(&log).unwrap_or_default())))?;
        let address = address.trim().trim_start_matches("https://").trim_start_matches("http://").to_owned();
        Ok(Self { process, address, dir: dir.to_owned(), ca: dir.join("tls.crt") })
    }

    /// Prepares and starts.
    pub fn launch(stack: &Stack, person: &Person, door: &str, options: &GateOptions) -> io::Result<Self> {
        Self::start(&Self::prepare(stack, person, options)?, door)
    }

    /// Sends a body over TLS to the admission door, believing the gate's own certificate alone.
    pub fn post(&self, path: &str, body: &[u8]) -> io::Result<HttpAnswer> {
        post(&self.address, &self.ca, path, body)
    }
}

/// A certificate for 127.0.0.1 as `tls.crt` and `tls.key` in a folder.
pub fn certificate(dir: &Path) -> io::Result<()> {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned(), "trust-gate.trust-system.svc".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::write(dir.join("tls.crt"), made.cert.pem())?;
    write_private(&dir.join("tls.key"), made.signing_key.serialize_pem().as_bytes())
}

/// One POST of JSON over TLS to `localhost`, on a connection of its own.
pub fn post(address: &str, ca: &Path, path: &str, body: &[u8]) -> io::Result<HttpAnswer> {
    post_to(address, "localhost", ca, path, body)
}

/// The same, for a gate that is called by another name.
pub fn post_to(address: &str, name: &str, ca: &Path, path: &str, body: &[u8]) -> io::Result<HttpAnswer> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    let mut answer = Vec::new();
    // A peer that closes without a TLS goodbye: what came is complete if its length says so.
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    HttpAnswer::parse(&answer, false)
}

/// Reads a configuration that is shipped, with roots in place of those that everybody has of their own.
pub fn read_shipped(file: &Path) -> io::Result<trust_gate::config::Config> {
    let folder = tempfile::tempdir()?;
    for root in ["pay.root.json", "policy.root.json"] {
        fs::write(folder.path().join(root), "{}")?;
    }
    let text = fs::read_to_string(file)?.replace(&"0".repeat(64), &trust_reader::anchor::fingerprint(b"{}"));
    let copy = folder.path().join("gate.toml");
    fs::write(&copy, text)?;
    trust_gate::config::Config::read(&copy).map_err(io::Error::other)
}
