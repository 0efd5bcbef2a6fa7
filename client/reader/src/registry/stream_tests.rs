//! What a hostile upstream gets out of a gate's client: no login, no request elsewhere, no endless wait, no other bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::json;
use trust_image::Digest;

use super::fake_registry::{Answer, FakeRegistry, Request, ok, status, with};
use super::{AuthSources, Blob, Reason, RegistryError, Span, Upstream, UpstreamOptions};

const PASSWORD: &str = "hunter2";

fn options(registry: &FakeRegistry) -> UpstreamOptions {
    UpstreamOptions {
        answer: Duration::from_millis(400),
        idle: Duration::from_millis(400),
        ..UpstreamOptions::at(&format!("http://{}", registry.host()))
    }
}

fn upstream(registry: &FakeRegistry) -> Upstream {
    Upstream::new(options(registry)).unwrap()
}

fn reason<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> Reason {
    result.unwrap_err().reason
}

async fn read(mut blob: Blob) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        bytes.extend_from_slice(&chunk);
        assert!(bytes.len() < 50_000_000, "nobody ends this");
    }
    Ok(bytes)
}

#[test]
fn an_address_with_anything_but_a_host_is_refused() {
    for address in [
        "",
        "registry.example.com",
        "ftp://registry.example.com",
        "https://",
        "https://registry.example.com/v2",
        "https://user:secret@registry.example.com",
        "https://registry.example.com?x",
        "https://registry.example.com//",
        "HTTP://registry.example.com",
    ] {
        let result = Upstream::new(UpstreamOptions::at(address));
        assert!(matches!(reason(result), Reason::InvalidHost(_)), "{address}");
    }
    let address = |text: &str| Upstream::new(UpstreamOptions::at(text)).unwrap().address().to_owned();
    assert_eq!(address("https://Registry.example.com:443/"), "https://registry.example.com");
    assert_eq!(address("http://registry.example.com:80"), "http://registry.example.com");
    assert_eq!(address("https://127.0.0.1:5000"), "https://127.0.0.1:5000");
}

#[tokio::test]
async fn a_path_that_is_none_never_becomes_a_url() {
    let registry = FakeRegistry::start(|_| ok("x")).await;
    let upstream = upstream(&registry);
    let digest = Digest::of(b"x");
    for path in ["", "../admin", "a/../b", "a?b", "a#b", "A", "a//b", "a%2fb", "@evil.example/x"] {
        assert!(matches!(reason(upstream.manifest(path, &digest).await), Reason::Malformed(_)), "{path}");
        assert!(matches!(reason(upstream.blob(path, &digest, None).await), Reason::Malformed(_)), "{path}");
        assert!(matches!(reason(upstream.head_blob(path, &digest).await), Reason::Malformed(_)), "{path}");
    }
    assert!(registry.asked().is_empty());
}

#[tokio::test]
async fn manifests_are_hashed_counted_timed_and_never_redirected() {
    let digest = Digest::of(b"manifest");
    let asked = async |answer: fn(&Request) -> Answer| {
        let registry = FakeRegistry::start(answer).await;
        upstream(&registry).manifest("team/app", &digest).await
    };
    assert_eq!(asked(|_| ok("manifest")).await.unwrap(), "manifest");
    assert!(matches!(reason(asked(|_| ok("other")).await), Reason::DigestMismatch { .. }));
    assert!(matches!(reason(asked(|_| Answer::Endless).await), Reason::TooLarge { .. }));
    assert_eq!(reason(asked(|_| Answer::Drip).await), Reason::Timeout);
    assert_eq!(reason(asked(|_| Answer::Silence).await), Reason::Timeout);
    assert_eq!(reason(asked(|_| status(404)).await), Reason::NotFound);
    assert_eq!(reason(asked(|_| with(307, "Location", "/v2/other")).await), Reason::RedirectRefused);
    let encoded = |_: &Request| {
        let headers = vec![("Content-Encoding", "gzip".to_owned())];
        Answer::Full(200, headers, b"manifest".to_vec())
    };
    assert!(matches!(reason(asked(encoded).await), Reason::Malformed(_)));
}

#[tokio::test]
async fn requests_are_made_of_parsed_parts_and_ask_for_no_encoding() {
    let registry = FakeRegistry::start(|request| match request.header("range") {
        Some(_) => Answer::Full(206, vec![("Content-Range", "bytes 2-4/6".to_owned())], b"cde".to_vec()),
        None => ok("abcdef"),
    })
    .await;
    let upstream = upstream(&registry);
    let digest = Digest::of(b"abcdef");
    assert_eq!(upstream.head_blob("team/app", &digest).await.unwrap(), Some(6));
    let whole = upstream.blob("team/app", &digest, None).await.unwrap();
    assert_eq!((whole.length(), whole.span()), (Some(6), None));
    assert_eq!(read(whole).await.unwrap(), b"abcdef");
    let span = Span { first: 2, last: 4 };
    let part = upstream.blob("team/app", &digest, Some(span)).await.unwrap();
    assert_eq!((part.length(), part.span()), (Some(3), Some(span)));
    assert_eq!(read(part).await.unwrap(), b"cde");
    let other = Span { first: 0, last: 4 };
    assert!(matches!(reason(upstream.blob("team/app", &digest, Some(other)).await), Reason::Malformed(_)));
    let seen = registry.seen();
    assert!(seen.iter().all(|request| request.path == format!("/v2/team/app/blobs/{digest}")));
    assert!(seen.iter().all(|request| request.header("accept-encoding") == Some("identity")));
    assert_eq!(seen[2].header("range"), Some("bytes=2-4"));
}

#[tokio::test]
async fn a_blob_that_stops_ends_in_an_error_and_not_in_an_end() {
    let digest = Digest::of(b"x");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec();
    let registry = FakeRegistry::start(move |_| Answer::Raw(cut.clone())).await;
    let blob = upstream(&registry).blob("a", &digest, None).await.unwrap();
    assert!(matches!(reason(read(blob).await), Reason::Unreachable(_)));
    let registry = FakeRegistry::start(|_| {
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n".to_vec())
    })
    .await;
    let blob = upstream(&registry).blob("a", &digest, None).await.unwrap();
    assert!(matches!(reason(read(blob).await), Reason::Unreachable(_)));
    // The head comes, and then nothing.
    let registry = FakeRegistry::start(|_| Answer::Silence).await;
    assert_eq!(reason(upstream(&registry).blob("a", &digest, None).await), Reason::Timeout);
}

#[tokio::test]
async fn a_redirect_goes_to_named_hosts_alone_and_never_with_the_login() {
    let digest = Digest::of(b"content");
    let storage = FakeRegistry::start(|_| ok("content")).await;
    let target = format!("http://{}/bucket/object?signed=1", storage.host());
    let basic = format!("Basic {}", Base64::encode_string(format!("gate:{PASSWORD}").as_bytes()));
    let expected = basic.clone();
    let registry = FakeRegistry::start(move |request| match request.header("authorization") {
        Some(login) if login == expected => with(307, "Location", target.clone()),
        _ => with(401, "WWW-Authenticate", "Basic realm=\"r\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    let login = Base64::encode_string(format!("gate:{PASSWORD}").as_bytes());
    let auths = json!({ "auths": { (registry.host()): { "auth": login } } });
    std::fs::write(&file, auths.to_string()).unwrap();
    let with_login = || UpstreamOptions { auth: AuthSources::named(vec![file.clone()]), ..options(&registry) };

    let upstream = Upstream::new(with_login()).unwrap();
    assert_eq!(reason(upstream.blob("team/app", &digest, None).await), Reason::RedirectRefused);
    assert!(storage.asked().is_empty());

    let redirect_hosts = BTreeSet::from([storage.host()]);
    let upstream = Upstream::new(UpstreamOptions { redirect_hosts, ..with_login() }).unwrap();
    let blob = upstream.blob("team/app", &digest, None).await.unwrap();
    assert_eq!(read(blob).await.unwrap(), b"content");
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None, "the login stays at home");
    assert!(!format!("{upstream:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_redirect_without_end_or_target_is_refused() {
    let digest = Digest::of(b"x");
    let own = FakeRegistry::start(|request| with(307, "Location", request.path.clone())).await;
    assert_eq!(reason(upstream(&own).blob("a", &digest, None).await), Reason::RedirectRefused);
    assert_eq!(own.asked().len(), 4);
    for target in ["", "file:///etc/passwd", "http://169.254.169.254/latest", "//evil.example/x", "http://127.0.0.1:1/"]
    {
        let registry = FakeRegistry::start(move |_| with(302, "Location", target)).await;
        let result = upstream(&registry).blob("a", &digest, None).await;
        assert_eq!(reason(result), Reason::RedirectRefused, "{target}");
    }
    let registry = FakeRegistry::start(|_| status(302)).await;
    assert_eq!(reason(upstream(&registry).blob("a", &digest, None).await), Reason::RedirectRefused);
}
