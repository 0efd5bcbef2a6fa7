//! A cached manifest through the registry gate, beside a handler that answers the same bytes behind the same loop.
//!
//! Both serve in this process and in one runtime; the clients are threads with kept connections, one request after the
//! other. The decider is the real one, and each decision is in its log. After the first request neither the collection's
//! server nor the registry behind may be asked for anything.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, Response};
use serde_json::json;
use trust_gate::config::RegistryConfig;
use trust_image::{Digest, ImageFacts, PlatformFacts};

use super::admission::{decider, repositories};
use super::kept::{Kept, round};
use super::report::Row;
use super::{median, ratio};
use crate::simulator::Repository;

const HOST: &str = "registry.example.com";
const NAME: &str = "pay/api";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ROUNDS: usize = 20;
const PER_ROUND: u32 = 500;
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

/// Signs the manifest as `api:bench`, fit for the public environment.
fn sign(pay: &mut Repository, manifest: &[u8]) -> io::Result<()> {
    let digest = Digest::of(manifest);
    let facts = ImageFacts {
        media_type: MANIFEST.to_owned(),
        signed: "2031-05-01T00:00:00Z".to_owned(),
        tags: vec!["bench".to_owned()],
        platforms: vec![PlatformFacts {
            platform: "linux/amd64".to_owned(),
            digest,
            labels: [("com.example.data".to_owned(), "public".to_owned())].into(),
        }],
        annotations: Default::default(),
        stated: Default::default(),
    };
    let facts = trust_tuf::json::parse(&facts.to_custom().map_err(io::Error::other)?).map_err(io::Error::other)?;
    for path in ["api/bench".to_owned(), format!("api/@sha256-{}", digest.hex())] {
        pay.add_target("alice", &path, manifest);
        pay.role("alice").set(&["targets", &path, "custom"], facts.clone());
    }
    pay.role("alice").bump();
    pay.publish();
    Ok(())
}

/// One kept connection.
type Client = Kept<TcpStream>;

fn connect_client(address: SocketAddr) -> io::Result<Client> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = format!("GET /v2/{NAME}/manifests/bench HTTP/1.1\r\nhost: {HOST}\r\naccept: {MANIFEST}\r\n\r\n");
    Ok(Kept::new(socket, request.into_bytes()))
}

/// The same bytes with the same headers, for whatever is asked; counts.
fn memory(manifest: &[u8], asked: &Arc<AtomicUsize>) -> Router {
    let (body, digest) = (axum::body::Bytes::copy_from_slice(manifest), Digest::of(manifest));
    let asked = Arc::clone(asked);
    Router::new().fallback(move || {
        let (body, asked) = (body.clone(), Arc::clone(&asked));
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            let mut response = Response::new(axum::body::Body::from(body));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(MANIFEST));
            if let (Ok(plain), Ok(quoted)) =
                (HeaderValue::try_from(digest.to_string()), HeaderValue::try_from(format!("\"{digest}\"")))
            {
                headers.insert("docker-content-digest", plain);
                headers.insert(ETAG, quoted);
            }
            response
        }
    })
}

struct Sides {
    runtime: tokio::runtime::Runtime,
    gate: SocketAddr,
    floor: SocketAddr,
    upstream_asked: Arc<AtomicUsize>,
    repositories: [Repository; 2],
    manifest: Vec<u8>,
}

fn sides(dir: &Path) -> io::Result<Sides> {
    fs::create_dir_all(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut pay, policy) = repositories()?;
    let manifest = manifest();
    sign(&mut pay, &manifest)?;
    let decider = runtime.block_on(decider(dir, &pay, &policy))?;
    let bind = || -> io::Result<_> {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let upstream_asked = Arc::new(AtomicUsize::new(0));
    let (listener, upstream) = bind()?;
    runtime.spawn(trust_listen::serve(listener, None, memory(&manifest, &upstream_asked), std::future::pending()));
    let (listener, floor) = bind()?;
    let floor_asked = Arc::new(AtomicUsize::new(0));
    runtime.spawn(trust_listen::serve(listener, None, memory(&manifest, &floor_asked), std::future::pending()));
    let (listener, gate) = bind()?;
    let config = RegistryConfig::new(gate, &format!("http://{upstream}"), HOST);
    let router = trust_gate::registry::router(&config, decider).map_err(io::Error::other)?;
    runtime.spawn(trust_listen::serve(listener, None, router, std::future::pending()));
    Ok(Sides { runtime, gate, floor, upstream_asked, repositories: [pay, policy], manifest })
}

/// The rows: one connection, and four at once.
pub fn rows(dir: &Path) -> io::Result<Vec<Row>> {
    let sides = sides(dir)?;
    for address in [sides.gate, sides.floor] {
        if connect_client(address)?.ask()? != sides.manifest {
            return Err(io::Error::other("not the answer that is measured"));
        }
    }
    for repository in &sides.repositories {
        repository.wire.take_requests();
    }
    let mut rows = Vec::new();
    for connections in [1, 4] {
        let connect =
            |address| -> io::Result<Vec<Client>> { (0..connections).map(|_| connect_client(address)).collect() };
        let (mut a, mut b) = (connect(sides.gate)?, connect(sides.floor)?);
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        for warm in [true, false] {
            for _ in 0..if warm { 2 } else { ROUNDS } {
                let (one, other) = (round(&mut a, PER_ROUND)?, round(&mut b, PER_ROUND)?);
                if !warm {
                    times.push(one);
                    floors.push(other);
                }
            }
        }
        let (wall, beside) = (median(&times), median(&floors));
        let reached = ratio(beside, wall);
        let per_second = 1.0 / wall.as_secs_f64();
        let plural = if connections == 1 { "" } else { "s" };
        rows.push(Row {
            what: format!(
                "registry gate: cached manifest by tag, {connections} connection{plural}, log on ({per_second:.0}/s)"
            ),
            wall,
            worst: times.iter().max().copied().unwrap_or_default(),
            cpu: None,
            peak: None,
            beside: format!("the same bytes from memory behind the same loop: {}", super::report::time(beside)),
            ratio: Some(reached),
            goal: Some((format!("≥ {GOAL}"), reached >= GOAL)),
        });
    }
    let fetched: usize = sides.repositories.iter().map(|repository| repository.wire.take_requests().len()).sum();
    if fetched != 0 || sides.upstream_asked.load(Ordering::Relaxed) != 1 {
        return Err(io::Error::other("a cached manifest was fetched again"));
    }
    sides.runtime.shutdown_background();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_manifest_asks_nobody_and_each_decision_is_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let sides = sides(dir.path()).unwrap();
        for address in [sides.gate, sides.floor] {
            let mut client = connect_client(address).unwrap();
            for _ in 0..20 {
                assert_eq!(client.ask().unwrap(), sides.manifest);
            }
        }
        assert_eq!(sides.upstream_asked.load(Ordering::Relaxed), 1);
        let log = fs::read_to_string(dir.path().join("decisions.log")).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains("\"allow\"")).count(), 20);
        sides.runtime.shutdown_background();
    }
}
