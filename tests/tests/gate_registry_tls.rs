//! TLS on both sides of the registry gate: its own certificate, also while it changes, and that of a registry that gives large layers.

mod gate_registry_world;

use std::fs;

use axum::Router;
use gate_registry_world::{World, comes};
use trust_image::Digest;
use trust_reader::registry::{Reason, Upstream, UpstreamOptions};
use trust_reader::tls::TlsOptions;
use trust_tests::stack::gate::{GateOptions, certificate};

#[tokio::test]
async fn a_large_blob_comes_over_tls_from_the_registry_that_was_meant_alone() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(dir.path()).unwrap();
    certificate(other.path()).unwrap();
    let content = fs::read(std::env::current_exe().unwrap()).unwrap();
    let digest = Digest::of(&content);
    let held = axum::body::Bytes::from(content.clone());
    let router = Router::new().fallback(move || async move { held });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = trust_listen::tls(&dir.path().join("tls.crt"), &dir.path().join("tls.key")).unwrap();
    let served = tokio::spawn(trust_listen::serve(listener, Some(tls), router, std::future::pending()));
    let upstream = |address: &str, ca: &std::path::Path| {
        let tls = TlsOptions { ca_files: vec![ca.join("tls.crt")] };
        Upstream::new(UpstreamOptions { tls, ..UpstreamOptions::at(address) }).unwrap()
    };
    for host in ["127.0.0.1", "localhost"] {
        let mut blob =
            upstream(&format!("https://{host}:{port}"), dir.path()).large_blob("a/b", &digest, None).await.unwrap();
        assert_eq!(blob.length(), Some(content.len() as u64));
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        assert!(bytes == content, "{host}");
    }
    let refused = upstream(&format!("https://127.0.0.1:{port}"), other.path()).large_blob("a/b", &digest, None).await;
    assert!(matches!(refused.unwrap_err().reason, Reason::Certificate(_)), "another authority");
    let plain = upstream(&format!("http://127.0.0.1:{port}"), dir.path()).large_blob("a/b", &digest, None).await;
    assert!(plain.is_err(), "no plain HTTP to a port that speaks TLS");
    served.abort();
}

#[test]
fn f13_half_a_new_certificate_leaves_the_old_pair_in_force_and_the_whole_one_is_taken() {
    let world = World::start();
    let registry = "certificate = \"tls.crt\"\nkey = \"tls.key\"\n".to_owned();
    let gate = world.launch(&GateOptions { registry, ..world.options("tls") });
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(gate.dir.join("tls.crt"), old.path().join("tls.crt")).unwrap();
    certificate(new.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let digest = Digest::parse(&world.scene.image.digest).unwrap();
    // A client of its own each time, that believes this certificate alone.
    let pulls = |folder: &std::path::Path| {
        let tls = TlsOptions { ca_files: vec![folder.join("tls.crt")] };
        let options = UpstreamOptions { tls, ..UpstreamOptions::at(&format!("https://{}", gate.address)) };
        runtime.block_on(async { Upstream::new(options).unwrap().manifest("demo/app", &digest).await.is_ok() })
    };
    assert!(pulls(old.path()) && !pulls(new.path()));
    // The new chain without its key: the files are looked at each two seconds.
    fs::copy(new.path().join("tls.crt"), gate.dir.join("tls.crt")).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(pulls(old.path()) && !pulls(new.path()), "the old pair is in force");
    fs::copy(new.path().join("tls.key"), gate.dir.join("tls.key")).unwrap();
    assert!(comes(|| pulls(new.path())), "the whole pair is taken");
    assert!(!pulls(old.path()));
}
