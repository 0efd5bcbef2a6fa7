//! Large blobs through the registry gate: CPU time of the gate alone for each GB, and its memory with many at once. Beside a
//! proxy that copies and hashes and does nothing else, and nginx.
//!
//! The registry behind makes its blobs as they are asked for, so that no disk is measured. The clients are threads of this
//! process and keep nothing; the gate cuts what has another hash, so that a whole answer was checked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context as Hash, SHA256};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use trust_image::Digest;

use super::kept::Kept;
use super::nothing::Nothing;
use super::process::{peak_of, resident_of, used_by};
use super::registry_gate::door;
use super::report::{Row, megabytes, time};
use super::rig::{Rig, Running, Sizes};
use super::signed::{MANIFEST, sign};
use super::{median, ratio};
use crate::stack::{Process, free_port, run, tools_dir, wait_for_port};

const CPU_GOAL: f64 = 1.1;
const MEMORY_GOAL: u64 = 64_000_000;
/// What is made at a time.
const PIECE: usize = 64 * 1024;

/// A registry with one image, whose blobs are made as they are read: the same bytes, and a last piece of their own.
struct Registry {
    manifest: Vec<u8>,
    /// Digest → the last piece.
    last: HashMap<String, Bytes>,
    digests: Vec<Digest>,
    piece: Bytes,
    size: usize,
}

impl Registry {
    fn new(size: usize, count: usize) -> Self {
        let piece: Vec<u8> = (0..PIECE).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let whole = size.saturating_sub(1) / PIECE;
        let mut hash = Hash::new(&SHA256);
        (0..whole).for_each(|_| hash.update(&piece));
        let (mut last, mut digests) = (HashMap::new(), Vec::new());
        for n in 0..count {
            let mut end = piece.get(..size - whole * PIECE).unwrap_or_default().to_vec();
            end.iter_mut().zip(n.to_le_bytes()).for_each(|(byte, own)| *byte = own);
            let mut hash = hash.clone();
            hash.update(&end);
            let Ok(digest) = Digest::parse(&format!("sha256:{}", hex::encode(hash.finish()))) else { continue };
            last.insert(digest.to_string(), Bytes::from(end));
            digests.push(digest);
        }
        let blob = |kind: &str, digest: &Digest, size: usize| {
            let kind = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": kind, "digest": digest.to_string(), "size": size })
        };
        let layers: Vec<_> = digests.iter().map(|digest| blob("layer.v1.tar", digest, size)).collect();
        let config = blob("config.v1+json", &Digest::of(b"{}"), 2);
        let body = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        Self { manifest: serde_json::to_vec(&body).unwrap_or_default(), last, digests, piece: piece.into(), size }
    }

    fn answer(&self, uri: &Uri) -> Response {
        let place = uri.path().rsplit_once('/');
        match place.and_then(|(before, digest)| Some((before.rsplit_once('/')?.1, digest))) {
            Some(("manifests", name)) if name == Digest::of(&self.manifest).to_string() => {
                ([(CONTENT_TYPE, MANIFEST)], self.manifest.clone()).into_response()
            }
            Some(("blobs", digest)) if self.last.contains_key(digest) => {
                let last = self.last.get(digest).cloned();
                let made = Made { left: (self.size - 1) / PIECE, piece: self.piece.clone(), last };
                let headers = [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_LENGTH, &self.size.to_string())];
                (headers, Body::from_stream(made)).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn path(&self, n: usize) -> String {
        let digest = self.digests.get(n % self.digests.len()).map(Digest::to_string).unwrap_or_default();
        format!("/v2/pay/api/blobs/{digest}")
    }

    fn request(&self, n: usize) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\nhost: registry.example.com\r\n\r\n", self.path(n)).into_bytes()
    }
}

/// A blob as it is made.
struct Made {
    left: usize,
    piece: Bytes,
    last: Option<Bytes>,
}

impl futures_core::Stream for Made {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(self.piece.clone())));
        }
        Poll::Ready(self.last.take().map(Ok))
    }
}

/// nginx in front of the registry, with TLS and without.
struct Nginx {
    process: Process,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Nginx {
    fn start(rig: &Rig, upstream: SocketAddr) -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/nginx.sh");
        let fetched = run(Command::new(&script).env("TRUST_TOOLS", tools_dir()))?;
        if !fetched.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&fetched.stderr).trim().to_owned()));
        }
        let dir = rig.dir.join("nginx");
        fs::create_dir_all(&dir)?;
        let here = |port: u16| format!("127.0.0.1:{port}");
        let (plain, tls) = (here(free_port()?), here(free_port()?));
        let temporary: Vec<String> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("    {name}_temp_path {}/{name};\n", dir.display()))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{ worker_connections 1024; }}\n\
             http {{\n{1}    access_log off;\n    proxy_max_temp_file_size 0;\n    server {{\n        listen {2};\n        listen {3} ssl;\n\
             \x20       ssl_certificate {4}/tls.crt;\n        ssl_certificate_key {4}/tls.key;\n\
             \x20       location / {{ proxy_pass http://{5}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n    }}\n}}\n",
            dir.display(),
            temporary.concat(),
            plain,
            tls,
            rig.dir.display(),
            upstream
        );
        fs::write(dir.join("nginx.conf"), text)?;
        let mut command = Command::new(tools_dir().join("bin/nginx"));
        command.arg("-p").arg(&dir).arg("-e").arg(dir.join("error.log")).arg("-c").arg(dir.join("nginx.conf"));
        let log = dir.join("log");
        let mut process = Process::start("nginx", &mut command, &log)?;
        if !wait_for_port(&mut process, &plain) {
            return Err(io::Error::other(format!("nginx: {}", fs::read_to_string(log).unwrap_or_default())));
        }
        let address = |text: String| text.parse().map_err(io::Error::other);
        Ok(Self { process, plain: address(plain)?, tls: address(tls)? })
    }
}

/// Somebody who passes blobs on.
struct Side {
    name: &'static str,
    process: u32,
    address: SocketAddr,
    is_tls: bool,
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

impl Side {
    fn new(name: &'static str, process: u32, address: SocketAddr, is_tls: bool) -> Self {
        Self { name, process, address, is_tls, cpu: Vec::new(), wall: Vec::new() }
    }

    /// So many blobs on one connection, one after the other; what a GB of them took.
    fn round(&mut self, rig: &Rig, registry: &Registry, count: u32) -> io::Result<()> {
        let mut client = Kept::new(rig.stream(self.address, self.is_tls)?, Vec::new());
        let (before, begun) = (used_by(self.process), Instant::now());
        let mut bytes = 0;
        for n in 0..count as usize {
            client.set_request(registry.request(n));
            bytes += client.pass()?;
        }
        let each = 1e9 / bytes.max(1) as f64;
        self.wall.push(begun.elapsed().mul_f64(each));
        self.cpu.push(used_by(self.process).saturating_sub(before).mul_f64(each));
        Ok(())
    }

    fn cpu(&self) -> Duration {
        median(&self.cpu)
    }
}

/// The gate, and the plain proxy, in front of the same registry.
struct Pair {
    gate: Running,
    proxy: Nothing,
    is_tls: bool,
}

impl Pair {
    fn start(rig: &Rig, upstream: SocketAddr, is_tls: bool) -> io::Result<Self> {
        let name = if is_tls { "tls" } else { "plain" };
        let gate = rig.prepare(name, "1h", "registry", &door(upstream, is_tls))?.start("registry")?;
        // As every client does first.
        let manifest = b"GET /v2/pay/api/manifests/large HTTP/1.1\r\nhost: registry.example.com\r\n\r\n".to_vec();
        Kept::new(rig.stream(gate.listen, is_tls)?, manifest).pass()?;
        let certificate = is_tls.then_some(rig.dir.as_path());
        let proxy = Nothing::proxy(&rig.dir.join(format!("proxy-{name}")), upstream, certificate)?;
        Ok(Self { gate, proxy, is_tls })
    }

    fn protocol(&self) -> &'static str {
        if self.is_tls { "TLS to the client" } else { "plain HTTP" }
    }
}

/// The rows: CPU time for each GB, then memory; each by TLS and by plain HTTP. The registry behind is on plain HTTP.
pub fn rows(dir: &Path, sizes: Sizes) -> io::Result<Vec<Row>> {
    let registry = Arc::new(Registry::new(sizes.blob, sizes.at_once));
    let rig = Rig::new(dir, |pay| sign(pay, "large", &registry.manifest))?;
    let listener = rig.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let upstream = listener.local_addr()?;
    let behind = Arc::clone(&registry);
    let router = Router::new().fallback(move |uri: Uri| std::future::ready(behind.answer(&uri)));
    rig.runtime.spawn(trust_listen::serve(listener, None, router, std::future::pending()));
    let nginx = Nginx::start(&rig, upstream);
    if let Err(error) = &nginx {
        println!("(left out: nginx: {error})");
    }
    let pairs = [Pair::start(&rig, upstream, true)?, Pair::start(&rig, upstream, false)?];
    let mut rows = Vec::new();
    for pair in &pairs {
        rows.push(streamed(&rig, &registry, pair, nginx.as_ref().ok(), sizes)?);
    }
    drop(nginx);
    for pair in &pairs {
        rows.push(crowd(&rig, &registry, pair, sizes)?);
    }
    Ok(rows)
}

fn streamed(rig: &Rig, registry: &Registry, pair: &Pair, nginx: Option<&Nginx>, sizes: Sizes) -> io::Result<Row> {
    let is_tls = pair.is_tls;
    let mut sides = vec![
        Side::new("gate", pair.gate.gate.process.id(), pair.gate.listen, is_tls),
        Side::new("a proxy that copies and hashes", pair.proxy.process.id(), pair.proxy.address, is_tls),
    ];
    if let Some(nginx) = nginx {
        let address = if is_tls { nginx.tls } else { nginx.plain };
        sides.push(Side::new("nginx, which does not hash", nginx.process.id(), address, is_tls));
    }
    let (count, rounds) = sizes.in_a_row;
    for side in &mut sides {
        side.round(rig, registry, 1)?;
        (side.cpu, side.wall) = (Vec::new(), Vec::new());
    }
    for _ in 0..rounds {
        for side in &mut sides {
            side.round(rig, registry, count)?;
        }
    }
    let Some((ours, others)) = sides.split_first() else { return Err(io::Error::other("nobody")) };
    let told: Vec<String> = others
        .iter()
        .map(|side| {
            let (cpu, wall) = (time(side.cpu()), time(median(&side.wall)));
            format!("{}: CPU {cpu}, wall {wall} ({:.2})", side.name, ratio(ours.cpu(), side.cpu()))
        })
        .collect();
    let reached = others.first().map(|floor| ratio(ours.cpu(), floor.cpu())).unwrap_or_default();
    Ok(Row {
        what: format!(
            "registry gate: a GB of blobs, {}, one after the other on one connection (CPU of the gate alone)",
            pair.protocol()
        ),
        wall: median(&ours.wall),
        worst: ours.wall.iter().max().copied().unwrap_or_default(),
        cpu: Some(ours.cpu()),
        peak: None,
        beside: told.join("; "),
        ratio: Some(reached),
        goal: Some((format!("CPU ≤ {CPU_GOAL}"), reached <= CPU_GOAL)),
    })
}

/// Many blobs at one time: wall time of all, memory before and the most of it meanwhile.
fn together(rig: &Rig, registry: &Registry, side: &Side, count: usize) -> io::Result<(Duration, u64, u64)> {
    // From now on the peak is counted anew.
    fs::write(format!("/proc/{}/clear_refs", side.process), "5")?;
    let before = resident_of(side.process);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count)
            .map(|n| {
                scope.spawn(move || {
                    let got = Kept::new(rig.stream(side.address, side.is_tls)?, registry.request(n)).pass()?;
                    if got == registry.size { Ok(()) } else { Err(io::Error::other(format!("{got} bytes"))) }
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())))
    })?;
    Ok((begun.elapsed(), before, peak_of(side.process)))
}

fn crowd(rig: &Rig, registry: &Registry, pair: &Pair, sizes: Sizes) -> io::Result<Row> {
    let gate = Side::new("gate", pair.gate.gate.process.id(), pair.gate.listen, pair.is_tls);
    let proxy = Side::new("proxy", pair.proxy.process.id(), pair.proxy.address, pair.is_tls);
    let count = sizes.at_once;
    let (wall, before, peak) = together(rig, registry, &gate, count)?;
    let (beside, floor_before, floor_peak) = together(rig, registry, &proxy, count)?;
    let grown = peak.saturating_sub(before);
    Ok(Row {
        what: format!(
            "registry gate: {count} blobs of {} at once, {}; its memory grew from {} by {}",
            megabytes(registry.size as u64),
            pair.protocol(),
            megabytes(before),
            megabytes(grown)
        ),
        wall,
        worst: wall,
        cpu: None,
        peak: Some(peak),
        beside: format!(
            "the proxy that copies and hashes: {}, peak {} from {}",
            time(beside),
            megabytes(floor_peak),
            megabytes(floor_before)
        ),
        ratio: Some(peak as f64 / floor_peak.max(1) as f64),
        goal: Some((format!("peak ≤ {}", megabytes(MEMORY_GOAL)), peak <= MEMORY_GOAL)),
    })
}
