//! A gate as a process for the benchmarks: what is signed is served to it over TLS on loopback, each request is counted.
//!
//! Deliberately absent: a registry (a benchmark brings its own), and the trust server: what it would answer comes from memory.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use trust_reader::anchor::fingerprint;

use super::kept::{Kept, Stream};
use super::signed::{PAY, POLICY, publish, repositories};
use crate::simulator::{Repository, Wire};
use crate::stack::free_port;
use crate::stack::gate::{Gate, certificate};
use crate::stack::scene::ask;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Rounds of each side, in turn.
    pub rounds: usize,
    /// Requests of each connection in a round.
    pub operations: u32,
    /// How long a load at a fixed rate lasts, and how often it is repeated.
    pub steady: (Duration, usize),
    /// Changed images, and starts from nothing.
    pub cold: usize,
    /// Bytes of a blob.
    pub blob: usize,
    /// Blobs in a row in one round, and rounds of each side.
    pub in_a_row: (u32, usize),
    /// Blobs at one time.
    pub at_once: usize,
}

impl Sizes {
    /// Those of `make bench`.
    pub const FULL: Self = Self {
        rounds: 20,
        operations: 250,
        steady: (Duration::from_secs(2), 5),
        cold: 20,
        blob: 100_000_000,
        in_a_row: (10, 7),
        at_once: 100,
    };
    /// Those of a test that only looks whether the measurement works.
    pub const SMALL: Self = Self {
        rounds: 2,
        operations: 10,
        steady: (Duration::from_millis(100), 1),
        cold: 1,
        blob: 3_000_000,
        in_a_row: (2, 1),
        at_once: 5,
    };
}

/// What the gates of one benchmark stand on; everything ends with it.
pub(super) struct Rig {
    pub(super) dir: PathBuf,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) pay: Repository,
    pub(super) policy: Repository,
    /// Believes the certificate of the gates and of what stands beside them.
    pub(super) tls: Arc<ClientConfig>,
    server: SocketAddr,
}

impl Rig {
    /// `more` signs what the benchmark needs beside the ten images.
    pub(super) fn new(dir: &Path, more: impl FnOnce(&mut Repository) -> io::Result<()>) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        certificate(dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (mut pay, policy) = repositories()?;
        more(&mut pay)?;
        publish(&mut pay);
        let wires = [(PAY, Arc::clone(&pay.wire)), (POLICY, Arc::clone(&policy.wire))];
        let router = Router::new().fallback(move |uri: Uri| {
            let answer = file(&wires, uri.path());
            std::future::ready(answer.ok_or(StatusCode::NOT_FOUND).into_response())
        });
        let acceptor = trust_listen::tls(&dir.join("tls.crt"), &dir.join("tls.key")).map_err(io::Error::other)?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let server = listener.local_addr()?;
        runtime.spawn(trust_listen::serve(listener, Some(acceptor), router, std::future::pending()));
        Ok(Self { tls: client_config(dir)?, dir: dir.to_owned(), runtime, pay, policy, server })
    }

    /// Writes the folder of a gate. `door` are the lines of its section, below `listen`.
    pub(super) fn prepare(&self, name: &str, refresh: &str, section: &str, door: &str) -> io::Result<Prepared> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        for file in ["tls.crt", "tls.key"] {
            fs::copy(self.dir.join(file), dir.join(file))?;
        }
        let (listen, metrics) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let mut text = format!(
            "state = \"state\"\nlog = \"decisions.log\"\nrefresh = \"{refresh}\"\nmax_staleness = \"2h\"\npolicy = \"{POLICY}\"\n\n"
        );
        for (name, file, root) in [(PAY, "pay.json", &self.pay.pinned), (POLICY, "policy.json", &self.policy.pinned)] {
            fs::write(dir.join(file), root)?;
            text.push_str(&format!(
                "[[collections]]\nname = \"{name}\"\nroot = \"{file}\"\nfingerprint = \"{}\"\nserver = \"https://{}\"\nca = \"tls.crt\"\n\n",
                fingerprint(root), self.server
            ));
        }
        text.push_str("[environment]\nname = \"public-eu\"\ncloud = \"public\"\n\n");
        text.push_str(&format!("[metrics]\n{section} = \"{metrics}\"\n\n[{section}]\nlisten = \"{listen}\"\n{door}"));
        fs::write(dir.join("gate.toml"), text)?;
        let listen = listen.parse().map_err(io::Error::other)?;
        Ok(Prepared { dir, listen, metrics })
    }

    /// What was asked of the trust server since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        [&self.pay, &self.policy].iter().flat_map(|repository| repository.wire.take_requests()).collect()
    }

    /// A connection to an address, with TLS or without.
    pub(super) fn stream(&self, address: SocketAddr, is_tls: bool) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        if !is_tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, socket)))
    }

    /// So many kept connections that ask this.
    pub(super) fn connect(
        &self,
        address: SocketAddr,
        is_tls: bool,
        request: &[u8],
        count: usize,
    ) -> io::Result<Vec<Kept>> {
        (0..count).map(|_| Ok(Kept::new(self.stream(address, is_tls)?, request.to_vec()))).collect()
    }
}

/// The folder of a gate.
pub(super) struct Prepared {
    pub(super) dir: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) metrics: String,
}

impl Prepared {
    /// Starts the gate.
    pub(super) fn start(self, door: &str) -> io::Result<Running> {
        let gate = Gate::start(&self.dir, door)?;
        Ok(Running { gate, listen: self.listen, metrics: self.metrics })
    }
}

/// A running gate.
pub(super) struct Running {
    pub(super) gate: Gate,
    pub(super) listen: SocketAddr,
    metrics: String,
}

impl Running {
    /// A value of its metrics.
    pub(super) fn metric(&self, name: &str) -> io::Result<u64> {
        let answer = ask(&self.metrics, "GET", "/metrics", &[])?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| io::Error::other(format!("there is no metric {name}")))
    }
}

/// The file that a path of the trust server means.
fn file(wires: &[(&str, Arc<Wire>)], path: &str) -> Option<Vec<u8>> {
    let path = path.strip_prefix("/tuf/")?;
    let (rest, wire) = wires.iter().find_map(|(name, wire)| Some((path.strip_prefix(name)?, wire)))?;
    let name = match rest.strip_prefix("/_metadata/") {
        Some(name) => name.to_owned(),
        None => format!("targets/{}", rest.strip_prefix("/_targets/")?),
    };
    wire.fetch(&name, u64::MAX).ok()
}

fn client_config(dir: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(dir.join("tls.crt")).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
