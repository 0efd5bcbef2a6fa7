//! Large layers from a registry with TLS: its certificate is looked at as in every other connection.

use std::collections::BTreeSet;
use std::fs;

use axum::Router;
use trust_image::Digest;
use trust_reader::registry::{Reason, Upstream, UpstreamOptions};
use trust_reader::tls::TlsOptions;
use trust_tests::stack::gate::certificate;

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
        let tls = TlsOptions { ca_files: BTreeSet::from([ca.join("tls.crt")]).into_iter().collect() };
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
