//! What a lying, slow, flooding or misdirecting registry gets out of the client: a named reason, and never its content.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use trust_image::{Digest, MediaType, Reference};

use super::fake_registry::{Answer, FakeRegistry, OCI_CONFIG, OCI_MANIFEST, client, hold, ok, status, with};
use super::{Reason, RegistryClient, RegistryError, RegistryOptions};
use crate::tls::TlsOptions;

fn manifest(n: u8) -> Vec<u8> {
    let digest = Digest::of(&[n]);
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{digest}","size":1}},"layers":[]}}"#).into_bytes()
}

fn reason<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> Reason {
    result.unwrap_err().reason
}

fn mismatch(expected: Digest, got: Digest) -> Reason {
    Reason::DigestMismatch { expected: Box::new(expected), got: Box::new(got) }
}

fn impatient() -> RegistryClient {
    RegistryClient::new(RegistryOptions { timeout: Duration::from_millis(400), ..RegistryOptions::default() }).unwrap()
}

#[tokio::test]
async fn another_manifest_than_the_asked_one_is_refused_whatever_the_header_says() {
    let (asked, served) = (manifest(1), manifest(2));
    let expected = Digest::of(&asked);
    let lie = expected.to_string();
    let body = served.clone();
    let registry = FakeRegistry::start(move |_| {
        Answer::Full(
            200,
            vec![("Docker-Content-Digest", lie.clone()), ("Content-Type", OCI_MANIFEST.to_owned())],
            body.clone(),
        )
    })
    .await;
    let result = client().manifest_by_digest(&registry.image(":v1"), &expected).await;
    assert_eq!(reason(result), mismatch(expected, Digest::of(&served)));
    // by tag the digest is that of the bytes
    assert_eq!(client().manifest_by_tag(&registry.image(":v1")).await.unwrap().digest, Digest::of(&served));
}

#[tokio::test]
async fn another_blob_than_the_asked_one_is_refused() {
    let registry = FakeRegistry::start(|_| ok("other")).await;
    let expected = Digest::of(b"asked");
    let result = client().config_blob(&registry.image(":v1"), &expected).await;
    assert_eq!(reason(result), mismatch(expected, Digest::of(b"other")));
}

#[tokio::test]
async fn the_content_type_header_is_not_believed() {
    let body = manifest(1);
    let registry = FakeRegistry::start(move |_| {
        Answer::Full(200, vec![("Content-Type", "application/vnd.oci.image.index.v1+json".to_owned())], body.clone())
    })
    .await;
    let fetched = client().manifest_by_tag(&registry.image(":v1")).await.unwrap();
    assert_eq!(fetched.manifest.media_type(), MediaType::OciManifest);
}

#[tokio::test]
async fn a_head_that_names_a_broken_digest_is_replaced_by_our_own_hash() {
    for lie in ["sha256:00", "md5:abc", "", "sha256:ABCDEF"] {
        let body = manifest(1);
        let registry = FakeRegistry::start(move |_| {
            Answer::Full(200, vec![("Docker-Content-Digest", lie.to_owned())], body.clone())
        })
        .await;
        assert_eq!(client().head_manifest(&registry.image(":v1")).await, Ok(Digest::of(&manifest(1))));
        assert_eq!(registry.asked(), ["HEAD /v2/team/app/manifests/v1", "GET /v2/team/app/manifests/v1"]);
    }
}

#[tokio::test]
async fn a_head_without_digest_or_support_is_replaced_by_our_own_hash() {
    for code in [200, 405] {
        let body = manifest(1);
        let registry = FakeRegistry::start(move |request| match request.method.as_str() {
            "HEAD" => status(code),
            _ => ok(body.clone()),
        })
        .await;
        assert_eq!(client().head_manifest(&registry.image(":v1")).await, Ok(Digest::of(&manifest(1))));
    }
}

#[tokio::test]
async fn head_takes_the_hint_and_asks_with_the_whole_accept_list() {
    let named = Digest::of(&manifest(1));
    let registry = FakeRegistry::start(move |_| with(200, "Docker-Content-Digest", named.to_string())).await;
    assert_eq!(client().head_manifest(&registry.image(":v1")).await, Ok(named));
    let seen = registry.seen();
    assert_eq!(seen.len(), 1);
    for kind in MediaType::ALL {
        assert!(seen[0].header("accept").unwrap().split(", ").any(|part| part == kind.as_str()), "{kind}");
    }
    assert_eq!(seen[0].header("accept-encoding"), None);
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn an_oversized_manifest_is_refused_by_its_stated_length() {
    let registry =
        FakeRegistry::start(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n".to_vec())).await;
    assert_eq!(
        reason(client().manifest_by_tag(&registry.image(":v1")).await),
        Reason::TooLarge { limit: 4 * 1024 * 1024 }
    );
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let registry = FakeRegistry::start(|_| Answer::Endless).await;
    let image = registry.image(":v1");
    assert_eq!(reason(client().manifest_by_tag(&image).await), Reason::TooLarge { limit: 4 * 1024 * 1024 });
    assert_eq!(
        reason(client().config_blob(&image, &Digest::of(b"")).await),
        Reason::TooLarge { limit: 8 * 1024 * 1024 }
    );
}

#[tokio::test]
async fn a_slow_registry_ends_at_the_deadline_before_and_within_the_body() {
    for dripping in [false, true] {
        let registry = FakeRegistry::start(move |_| if dripping { Answer::Drip } else { Answer::Silence }).await;
        let start = Instant::now();
        assert_eq!(reason(impatient().manifest_by_tag(&registry.image(":v1")).await), Reason::Timeout);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_never_content() {
    let cut = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice(), &manifest(1)].concat();
    for raw in [cut, b"".to_vec(), b"HTTP/1.1 200 OK\r\nContent".to_vec(), b"SSH-2.0-x\r\n".to_vec()] {
        let registry = FakeRegistry::start(move |_| Answer::Raw(raw.clone())).await;
        let result = reason(client().manifest_by_tag(&registry.image(":v1")).await);
        assert!(matches!(result, Reason::Unreachable(_)), "{result:?}");
    }
}

#[tokio::test]
async fn each_status_has_its_own_reason() {
    let table = [
        (401, Reason::Unauthorized { credentials_sent: false }),
        (403, Reason::Forbidden),
        (404, Reason::NotFound),
        (429, Reason::RateLimited { retry_after: None }),
        (301, Reason::RedirectRefused),
        (304, Reason::RedirectRefused),
        (204, Reason::Upstream(204)),
        (206, Reason::Upstream(206)),
        (418, Reason::Upstream(418)),
        (500, Reason::Upstream(500)),
        (503, Reason::Upstream(503)),
    ];
    for (code, expected) in table {
        let registry = FakeRegistry::start(move |_| status(code)).await;
        let image = registry.image(":v1");
        assert_eq!(reason(client().manifest_by_tag(&image).await), expected, "{code}");
        assert_eq!(reason(client().head_manifest(&image).await), expected, "HEAD {code}");
        assert_eq!(reason(client().config_blob(&image, &Digest::of(b"")).await), expected, "blob {code}");
    }
    for (value, seconds) in
        [("7", Some(7)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("99999999999", None)]
    {
        let registry = FakeRegistry::start(move |_| with(429, "Retry-After", value)).await;
        let expected = Reason::RateLimited { retry_after: seconds.map(Duration::from_secs) };
        assert_eq!(reason(client().head_manifest(&registry.image(":v1")).await), expected);
    }
}

#[tokio::test]
async fn a_refused_connection_says_so_with_host_and_subject() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let image = Reference::parse(&format!("{host}/team/app:v1")).unwrap();
    let error = client().head_manifest(&image).await.unwrap_err();
    assert_eq!(
        error,
        RegistryError {
            host: host.clone(),
            subject: "team/app:v1".to_owned(),
            reason: Reason::Unreachable("connection refused")
        }
    );
    assert_eq!(
        error.to_string(),
        format!("team/app:v1 from registry {host}: the registry cannot be reached: connection refused")
    );
}

#[tokio::test]
async fn a_manifest_is_never_followed_to_another_place() {
    let elsewhere = FakeRegistry::holding(vec![manifest(1)]).await;
    let location = format!("http://{}/v2/team/app/manifests/v1", elsewhere.host());
    let registry = FakeRegistry::start(move |_| with(307, "Location", location.clone())).await;
    let image = registry.image(":v1");
    assert_eq!(reason(client().manifest_by_tag(&image).await), Reason::RedirectRefused);
    assert_eq!(reason(client().manifest_by_digest(&image, &Digest::of(&manifest(1))).await), Reason::RedirectRefused);
    assert_eq!(reason(client().head_manifest(&image).await), Reason::RedirectRefused);
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[tokio::test]
async fn a_blob_is_followed_three_times_and_no_more() {
    for (hops, followed) in [(3, true), (4, false)] {
        let registry = FakeRegistry::start(move |request| {
            let at: usize = request.path.strip_prefix("/hop/").map_or(0, |n| n.parse().unwrap());
            if at == hops { ok("blob") } else { with(307, "Location", format!("/hop/{}", at + 1)) }
        })
        .await;
        let result = client().config_blob(&registry.image(":v1"), &Digest::of(b"blob")).await;
        match followed {
            true => assert_eq!(result.unwrap(), b"blob"),
            false => assert_eq!(reason(result), Reason::RedirectRefused),
        }
    }
}

#[tokio::test]
async fn a_blob_is_not_followed_to_plain_http_elsewhere_or_to_another_scheme() {
    for location in [
        "http://storage.example.com/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://[",
        "//storage.example.com/x",
    ] {
        let registry = FakeRegistry::start(move |_| with(302, "Location", location)).await;
        let result = client().config_blob(&registry.image(":v1"), &Digest::of(b"")).await;
        assert_eq!(reason(result), Reason::RedirectRefused, "{location}");
    }
    let registry = FakeRegistry::start(|_| status(307)).await;
    assert_eq!(reason(client().config_blob(&registry.image(":v1"), &Digest::of(b"")).await), Reason::RedirectRefused);
}

#[tokio::test]
async fn a_body_that_is_no_manifest_is_malformed() {
    for body in ["", "{}", "<html>", r#"{"schemaVersion":1,"fsLayers":[]}"#] {
        let registry = FakeRegistry::start(move |_| ok(body)).await;
        let result = reason(client().manifest_by_tag(&registry.image(":v1")).await);
        assert!(matches!(result, Reason::Malformed(_)), "{result:?}");
    }
}

#[tokio::test]
async fn what_is_asked_without_tag_or_digest_is_incomplete() {
    let registry = FakeRegistry::holding(vec![manifest(1)]).await;
    let by_digest = registry.by_digest(&manifest(1));
    assert_eq!(reason(client().manifest_by_tag(&by_digest).await), Reason::Incomplete("tag"));
    assert_eq!(reason(client().inspect(&registry.image(":v1")).await), Reason::Incomplete("digest"));
    assert_eq!(client().head_manifest(&by_digest).await, Ok(Digest::of(&manifest(1))));
    let bad = RegistryOptions { plain_http_hosts: ["http://r.io".to_owned()].into(), ..RegistryOptions::default() };
    assert_eq!(RegistryClient::new(bad).unwrap_err().reason, Reason::InvalidHost("http://r.io".to_owned()));
}

#[tokio::test]
async fn sha512_digests_are_hashed_as_such() {
    let body = manifest(1);
    let wide = Digest::Sha512([0; 64]).of_same_algorithm(&body);
    let registry = FakeRegistry::start(move |_| ok(body.clone())).await;
    let image = registry.image(":v1");
    assert_eq!(client().manifest_by_digest(&image, &wide).await.unwrap().digest, wide);
    let other = Digest::Sha512([7; 64]);
    assert_eq!(reason(client().manifest_by_digest(&image, &other).await), mismatch(other, wide));
}

/// A TLS server with the test certificate that answers every request with `body`.
fn tls_server(body: Vec<u8>) -> u16 {
    tls_server_with("200 OK", "", body)
}

/// The same with another status and one more header line (with its line end).
fn tls_server_with(status: &'static str, header: &str, body: Vec<u8>) -> u16 {
    let header = header.to_owned();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/INSECURE-server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0u8; 4096];
            if stream.read(&mut request).is_ok() {
                let head =
                    format!("HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body))
                    .and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

fn with_ca(pem: &[u8]) -> (tempfile::TempDir, RegistryClient) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    let options = RegistryOptions { tls: TlsOptions { ca_files: vec![path] }, ..RegistryOptions::default() };
    (dir, RegistryClient::new(options).unwrap())
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused_and_never_answered_by_plain_http() {
    let port = tls_server(manifest(1));
    let image = Reference::parse(&format!("localhost:{port}/team/app:v1")).unwrap();
    // the server's own certificate is no authority for itself here: another authority is trusted
    let (_dir, client) = with_ca(include_bytes!("testdata/server.pem"));
    let result = reason(client.manifest_by_tag(&image).await);
    assert!(matches!(result, Reason::Certificate(_)), "{result:?}");
}

#[tokio::test]
async fn a_blob_over_tls_is_not_followed_to_plain_http_even_on_this_machine() {
    let plain = FakeRegistry::start(|_| ok("blob")).await;
    let port = tls_server_with("307 X", &format!("Location: http://{}/x\r\n", plain.host()), Vec::new());
    let (_dir, client) = with_ca(include_bytes!("testdata/ca.pem"));
    let image = Reference::parse(&format!("localhost:{port}/team/app:v1")).unwrap();
    let result = client.config_blob(&image, &Digest::of(b"blob")).await;
    assert_eq!(reason(result), Reason::RedirectRefused);
    assert_eq!(plain.asked(), [""; 0]);
}

#[tokio::test]
async fn a_tls_registry_cannot_send_a_login_to_a_plain_realm_even_on_this_machine() {
    let plain = FakeRegistry::start(|_| ok(r#"{"token":"x"}"#)).await;
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", plain.host());
    let port = tls_server_with("401 X", &challenge, Vec::new());
    let (_dir, client) = with_ca(include_bytes!("testdata/ca.pem"));
    let image = Reference::parse(&format!("localhost:{port}/team/app:v1")).unwrap();
    assert_eq!(reason(client.head_manifest(&image).await), Reason::InsecureRefused(plain.host()));
    assert_eq!(plain.asked(), [""; 0]);
}

#[tokio::test]
async fn a_registry_on_this_machine_is_asked_by_tls_if_an_authority_is_given() {
    let port = tls_server(manifest(1));
    let (_dir, client) = with_ca(include_bytes!("testdata/ca.pem"));
    for host in ["localhost", "127.0.0.1"] {
        let image = Reference::parse(&format!("{host}:{port}/team/app:v1")).unwrap();
        assert_eq!(client.manifest_by_tag(&image).await.unwrap().digest, Digest::of(&manifest(1)), "{host}");
    }
}

#[tokio::test]
async fn with_an_authority_a_plain_registry_on_this_machine_still_works() {
    let registry = FakeRegistry::start(|request| match request.path.as_str() {
        "/v2/" => Answer::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        path => hold(&[manifest(1)], path),
    })
    .await;
    // what a plain HTTP server says to a TLS greeting
    let (_dir, client) = with_ca(include_bytes!("testdata/ca.pem"));
    let front = plain_answer_to_tls(registry.port).await;
    let image = Reference::parse(&format!("127.0.0.1:{front}/team/app:v1")).unwrap();
    assert_eq!(client.manifest_by_tag(&image).await.unwrap().digest, Digest::of(&manifest(1)));
}

/// Passes plain HTTP on to the port and answers a TLS greeting as Go's and nginx's plain servers do.
async fn plain_answer_to_tls(port: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let front = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = [0u8; 1];
                stream.peek(&mut first).await.unwrap();
                if first == [0x16] {
                    use tokio::io::AsyncWriteExt;
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
                    return;
                }
                let mut back = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut back).await;
            });
        }
    });
    front
}

#[tokio::test]
async fn a_broken_ca_file_is_its_own_reason_and_opens_nothing() {
    let registry = FakeRegistry::holding(vec![manifest(1)]).await;
    let (_dir, client) = with_ca(b"nothing");
    assert!(matches!(reason(client.manifest_by_tag(&registry.image(":v1")).await), Reason::Tls(_)));
    assert_eq!(registry.asked(), [""; 0]);
}
