//! A cached manifest through the registry gate, beside a handler that answers the same bytes behind the same listener.
//!
//! Each is a process of its own; the clients are threads of this one with kept connections, one request after the other. The
//! gate is the real one, and each decision is in its audit log. After the first request neither the collection's server nor
//! the registry behind may be asked for anything.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use serde_json::json;
use trust_image::Digest;

use super::kept::round;
use super::nothing::Nothing;
use super::process::used_by;
use super::report::{Row, time};
use super::rig::{Rig, Sizes};
use super::signed::{MANIFEST, sign};
use super::{median, ratio};

const HOST: &str = "registry.example.com";
const NAME: &str = "pay/api";
const GOAL: f64 = 0.5;

/// A manifest of the usual size: ten layers.
fn manifest() -> Vec<u8> {
    let blob = |kind: &str, n: u8| {
        let digest = Digest::of(&[n]).to_string();
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": 1 })
    };
    let layers: Vec<_> = (1..=10).map(|n| blob("layer.v1.tar+gzip", n)).collect();
    let body =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": blob("config.v1+json", 0), "layers": layers });
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The lines of `[registry]`, below `listen`.
pub(super) fn door(upstream: SocketAddr, is_tls: bool) -> String {
    let tls = if is_tls { "certificate = \"tls.crt\"\nkey = \"tls.key\"\n" } else { "" };
    format!("upstream = \"http://{upstream}\"\nhost = \"{HOST}\"\n{tls}")
}

/// The registry behind: the manifest for whatever is asked; counts.
fn registry(rig: &Rig, manifest: &[u8]) -> io::Result<(SocketAddr, Arc<AtomicUsize>)> {
    let asked = Arc::new(AtomicUsize::new(0));
    let (body, count) = (Bytes::copy_from_slice(manifest), Arc::clone(&asked));
    let router = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(([(CONTENT_TYPE, MANIFEST)], body.clone()))
    });
    let listener = rig.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    rig.runtime.spawn(trust_listen::serve(listener, None, router, std::future::pending()));
    Ok((address, asked))
}

/// The rows: with TLS and without, one connection and four at once.
pub fn rows(dir: &Path, sizes: Sizes) -> io::Result<Vec<Row>> {
    let manifest = manifest();
    let rig = Rig::new(dir, |pay| sign(pay, "bench", &manifest))?;
    let (upstream, asked) = registry(&rig, &manifest)?;
    let digest = Digest::of(&manifest).to_string();
    let headers = [("content-type", MANIFEST), ("docker-content-digest", &digest), ("etag", &format!("\"{digest}\""))];
    let request = format!("GET /v2/{NAME}/manifests/bench HTTP/1.1\r\nhost: {HOST}\r\naccept: {MANIFEST}\r\n\r\n");
    let mut rows = Vec::new();
    for is_tls in [true, false] {
        let name = if is_tls { "tls" } else { "plain" };
        let gate = rig.prepare(name, "1h", "registry", &door(upstream, is_tls))?.start("registry")?;
        let certificate = is_tls.then_some(rig.dir.as_path());
        let nothing = Nothing::handler(&rig.dir.join(format!("nothing-{name}")), &manifest, &headers, certificate)?;
        for address in [gate.listen, nothing.address] {
            let mut clients = rig.connect(address, is_tls, request.as_bytes(), 1)?;
            if clients.first_mut().ok_or(io::ErrorKind::NotConnected)?.ask()? != manifest {
                return Err(io::Error::other("not the answer that is measured"));
            }
        }
        rig.take_requests();
        let before = asked.load(Ordering::Relaxed);
        for connections in [1, 4] {
            let connect = |address| rig.connect(address, is_tls, request.as_bytes(), connections);
            let (mut a, mut b) = (connect(gate.listen)?, connect(nothing.address)?);
            for clients in [&mut a, &mut b] {
                round(clients, sizes.operations)?;
            }
            let ids = [gate.gate.process.id(), nothing.process.id()];
            let (mut times, mut floors, used) = (Vec::new(), Vec::new(), ids.map(used_by));
            for _ in 0..sizes.rounds {
                times.push(round(&mut a, 2 * sizes.operations)?);
                floors.push(round(&mut b, 2 * sizes.operations)?);
            }
            let all = sizes.rounds as f64 * f64::from(2 * sizes.operations) * connections as f64;
            let now = ids.map(used_by);
            let cpu = |n: usize| now[n].saturating_sub(used[n]).div_f64(all);
            let (wall, beside) = (median(&times), median(&floors));
            let reached = ratio(beside, wall);
            let plural = if connections == 1 { "" } else { "s" };
            let protocol = if is_tls { "TLS" } else { "plain HTTP" };
            rows.push(Row {
                what: format!(
                    "registry gate: cached manifest by tag, {protocol}, {connections} connection{plural}, log on ({:.0}/s), no network call",
                    1.0 / wall.as_secs_f64()
                ),
                wall,
                worst: times.iter().max().copied().unwrap_or_default(),
                cpu: Some(cpu(0)),
                peak: None,
                beside: format!(
                    "the same bytes from memory behind the same listener: {}, CPU {}", time(beside), time(cpu(1))
                ),
                ratio: Some(reached),
                goal: Some((format!("≥ {GOAL}"), reached >= GOAL)),
            });
        }
        if !rig.take_requests().is_empty() || asked.load(Ordering::Relaxed) != before {
            return Err(io::Error::other("a cached manifest was fetched again"));
        }
    }
    Ok(rows)
}
