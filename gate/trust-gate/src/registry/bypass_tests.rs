//! The ways around a gate that are tricks with requests, sizes and times, by their numbers.

use std::time::Duration;

use trust_image::Digest;
use trust_reader::catalogue::exit;

use super::ruling::Denial;
use super::testing::{Answer, OCI_MANIFEST, Switches, World, descriptor, ok, with};
use crate::config::RegistryConfig;

const APP: &str = "team/app";
const IDLE: Duration = Duration::from_millis(400);

fn chunked(pieces: impl Iterator<Item = Vec<u8>>) -> Answer {
    let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece).chain(*b"\r\n"));
    }
    bytes.extend(b"0\r\n\r\n");
    Answer::Raw(bytes)
}

#[tokio::test]
async fn g16_another_config_than_the_signed_one_never_arrives_and_decides_nothing() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    let other = br#"{"config":{"Labels":{"com.example.data":"public"}}}"#;
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&config));
    world.upstream.lie(&path, ok(other.to_vec()));
    let got = world.get(&path).await;
    assert!(got.status == 502 || !got.complete, "{got:?}");
    let same_length = vec![b'x'; config.len()];
    world.upstream.lie(&path, ok(same_length));
    let got = world.get(&path).await;
    assert!(!got.complete && got.body.len() < config.len(), "{got:?}");
    // What the labels are was signed: nothing is read for the decision.
    world.fake.deny(&digest, "com.example.data is \"PII\"");
    let before = world.upstream.asked().len();
    assert_eq!(world.manifest(APP, "v1").await.status, 403);
    assert_eq!(world.upstream.asked().len(), before);
}

#[tokio::test]
async fn g21_tricks_with_the_path_get_the_plain_name_or_nothing() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let (unsigned, ..) = world.image(APP, "unsigned");
    let digest = world.fake.sign(APP, "v1", &signed);
    let hidden = Digest::of(&unsigned);
    for path in [
        "/v2/team//app/manifests/REF",
        "/v2/team/./app/manifests/REF",
        "/v2/x/../team/app/manifests/REF",
        "/v2/team/app/manifests/REF/",
        "/v2/team%2f%2e%2e%2fteam%2fapp/manifests/REF",
        "/v2/team%252Fapp/manifests/REF",
        "/v2/team/app%00/manifests/REF",
        "/v2/team/app%0a/manifests/REF",
        "/v2/team/app;x/manifests/REF",
        "/v2/team\\app/manifests/REF",
        "/v2/Team/app/manifests/REF",
        "/v2/te%C3%A4m/app/manifests/REF",
        "/v2/team/app/manifests/REF%20",
        "/v2/team/app/blobs/../manifests/REF",
    ] {
        for reference in ["v1".to_owned(), digest.to_string(), hidden.to_string()] {
            let path = path.replace("REF", &reference);
            let request = format!("GET {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n");
            let got = world.raw(request.as_bytes(), false);
            let status = got.await.map_or(400, |got| got.status);
            assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
        }
    }
    assert_eq!(world.upstream.asked(), [""; 0]);
    let got = world.get("/v2/team%2Fapp%2Fmanifests%2Fv1").await;
    assert_eq!((got.status, got.body), (200, signed), "decoded once, it is the plain name");
    assert_eq!(world.get(&format!("/v2/team%2Fapp/manifests/{hidden}")).await.status, 403);
    assert!(world.upstream.asked().iter().all(|line| !line.contains('%')), "raw paths never travel");
}

#[tokio::test]
async fn g22_a_digest_in_another_spelling_is_refused() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    for (kind, digest) in [("manifests", digest), ("blobs", Digest::of(&config))] {
        let hex = digest.hex();
        let got = world.get(&format!("/v2/{APP}/{kind}/sha256%3A{hex}")).await;
        assert_eq!(got.status, 200, "{kind}");
        for text in [
            format!("sha256:{}", hex.to_uppercase()),
            format!("SHA256:{hex}"),
            format!("sha512:{hex}"),
            format!("sha256:{}", hex.get(..63).unwrap()),
            format!("sha256:{hex}0"),
            format!("sha256:{hex}@sha256:{hex}"),
            format!("v1@sha256:{hex}"),
            format!("sha256%253A{hex}"),
        ] {
            let got = world.get(&format!("/v2/{APP}/{kind}/{text}")).await;
            assert_eq!(got.status, 400, "{kind} {text}");
        }
    }
}

#[tokio::test]
async fn g23_a_query_changes_nothing_and_does_not_travel() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let (unsigned, ..) = world.image("other/app", "unsigned");
    world.fake.sign(APP, "v1", &signed);
    let evil = Digest::of(&unsigned);
    for query in [
        "ns=evil.example.com".to_owned(),
        format!("digest={evil}"),
        "ns=registry.example.com&ns=evil.example.com".to_owned(),
        format!("name=other/app&reference={evil}&platform=x"),
        "%00=%00".to_owned(),
    ] {
        let got = world.get(&format!("/v2/{APP}/manifests/v1?{query}")).await;
        assert_eq!((got.status, &got.body), (200, &signed), "{query}");
        assert_eq!(world.get(&format!("/v2/{APP}/manifests/u?{query}")).await.status, 403, "{query}");
    }
    assert!(world.upstream.asked().iter().all(|line| !line.contains('?')), "{:?}", world.upstream.asked());
}

#[tokio::test]
async fn g24_host_forwarding_headers_and_method_overrides_are_not_looked_at() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let path = "/v2/team/app/manifests/v1";
    for head in [
        format!("GET http://evil.example.com{path} HTTP/1.1\r\nhost: evil.example.com\r\n"),
        format!(
            "GET {path} HTTP/1.1\r\nhost: evil.example.com\r\nx-forwarded-host: evil.example.com\r\nx-forwarded-proto: https\r\n"
        ),
        format!(
            "GET {path} HTTP/1.1\r\nhost: gate\r\nx-http-method-override: DELETE\r\nx-original-url: /v2/team/app/manifests/u\r\n"
        ),
        format!(
            "GET {path} HTTP/1.1\r\nhost: gate\r\nforwarded: host=evil.example.com\r\nauthorization: Bearer secret\r\n"
        ),
    ] {
        let got = world.raw(format!("{head}connection: close\r\n\r\n").as_bytes(), false).await.unwrap();
        assert_eq!((got.status, &got.body), (200, &signed), "{head}");
        assert!(got.headers.values().all(|value| !value.contains("evil")), "{got:?}");
    }
    let got = world.ask("PUT", path, &[("x-http-method-override", "GET")]).await;
    assert_eq!(got.status, 405);
    assert_eq!(world.upstream.headers("host"), [world.upstream_address.to_string()]);
    for header in ["authorization", "forwarded", "x-forwarded-host", "x-original-url", "user-agent"] {
        let seen = world.upstream.headers(header);
        assert!(seen.iter().all(|value| value.starts_with("trust/")), "{header}: {seen:?}");
    }
    assert!(world.fake.log.lock().unwrap().iter().all(|image| image.starts_with("registry.example.com/team/app")));
}

#[tokio::test]
async fn g25_what_two_readers_could_end_in_two_places_is_refused_and_ends_the_connection() {
    let second = "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nhost: gate\r\n\r\n";
    for push in [false, true] {
        let world = World::with(Switches { push, ..Switches::default() }).await;
        let (signed, ..) = world.image(APP, "signed");
        world.fake.sign(APP, "v1", &signed);
        for head in [
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
            "HEAD /v2/team/app/manifests/v1 HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "DELETE /v2/team/app/manifests/v1 HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ncontent-length: 0\r\ncontent-length: 50\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ncontent-length: +5\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: gzip\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: gate\r\n x: folded\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost : gate\r\n\r\n",
            "GET /v2/ HTTP/1.0\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let (text, closed) = world.raw_to_end(format!("{head}{second}").as_bytes(), 5 * IDLE).await;
            assert!(text.starts_with("HTTP/1.1 400") || text.starts_with("HTTP/1.0 400"), "{head:?}: {text}");
            assert!(closed && text.matches("HTTP/1.").count() == 1, "{head:?}: closed: {closed}, {text}");
        }
    }
    // A line that ends without CR is a line to the library (RFC 9112, 2.2, lets it): it means the same, and no framing of a client
    // ever travels on.
    let world = World::start().await;
    let (text, _) =
        world.raw_to_end(b"GET /v2/team/app/manifests/u HTTP/1.1\nhost: gate\nconnection: close\n\n", IDLE).await;
    assert!(text.starts_with("HTTP/1.1 403") && world.upstream.asked().is_empty(), "{text}");
    // Where a body may come in pieces, both lengths are one too many: the pieces count, and nothing rides behind them.
    let world = World::with(Switches { push: true, ..Switches::default() }).await;
    let path = "/v2/team/app/blobs/uploads/";
    world.upstream.lie(path, with(202, "Location", "/v2/team/app/blobs/uploads/1"));
    for lengths in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let head = format!("POST {path} HTTP/1.1\r\nhost: gate\r\n{lengths}\r\n\r\n0\r\n\r\n");
        let (text, closed) = world.raw_to_end(format!("{head}{second}").as_bytes(), 5 * IDLE).await;
        assert!(closed && text.matches("HTTP/1.").count() == 1, "closed: {closed}, {text}");
    }
}

#[tokio::test]
async fn g27_a_range_on_a_manifest_is_ignored() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let many = format!("bytes={}0-1", "0-1,".repeat(4_000));
    for range in ["bytes=0-1", "bytes=-0", "bytes=5-,7-", &many] {
        let got = world.ask("GET", "/v2/team/app/manifests/v1", &[("range", range)]).await;
        assert_eq!((got.status, &got.body), (200, &signed));
    }
}

#[tokio::test]
async fn g34_a_config_of_two_gigabytes_is_neither_read_for_the_decision_nor_believed() {
    let world = World::start().await;
    let (_, _, layer) = world.image(APP, "signed");
    let config = b"small config".to_vec();
    let mut huge = descriptor("application/vnd.oci.image.config.v1+json", &config);
    huge["size"] = (2_u64 << 30).into();
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)];
    let body = serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": huge, "layers": layers });
    let manifest = serde_json::to_vec(&body).unwrap();
    world.upstream.hold(APP, "manifests", &manifest);
    world.upstream.hold(APP, "blobs", &config);
    let digest = world.fake.sign(APP, "v1", &manifest);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.upstream.asked(), [format!("GET /v2/{APP}/manifests/{digest}")], "no config is read");
    assert_eq!(world.blob(APP, &config).await.status, 502, "another length than the manifest says");
    // A bomb without a stated length is cut at the length that was signed.
    let (signed, small, _) = world.image("bomb/app", "bomb");
    world.fake.sign("bomb/app", "v1", &signed);
    let path = format!("/v2/bomb/app/blobs/{}", Digest::of(&small));
    world.upstream.lie(&path, chunked((0..64).map(|_| vec![b'x'; 64 * 1024])));
    let got = world.get(&path).await;
    assert!(!got.complete && got.body.len() < small.len(), "{}", got.body.len());
}

#[tokio::test]
async fn g36_what_is_in_memory_comes_without_the_upstream_and_only_while_the_trust_data_is_fresh() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    for path in [format!("/v2/{APP}/manifests/{digest}"), format!("/v2/{APP}/blobs/{}", Digest::of(&config))] {
        world.upstream.lie(&path, Answer::Raw(Vec::new()));
    }
    for reference in ["v1".to_owned(), digest.to_string()] {
        assert_eq!(world.manifest(APP, reference).await.body, signed);
    }
    let got = world.blob(APP, &config).await;
    assert_eq!((got.status, got.code().as_str()), (503, "UNAVAILABLE"), "blobs are not kept");
    let expired = Denial { exit: exit::EXPIRED, line: "the trust data expired".to_owned(), ..Denial::default() };
    *world.fake.trouble.lock().unwrap() = Some(expired);
    for reference in ["v1".to_owned(), digest.to_string()] {
        let got = world.manifest(APP, reference).await;
        assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("the trust data expired")));
    }
}

#[tokio::test]
async fn g40_aliases_and_other_cases_of_a_host_are_one_logical_name() {
    let listen = "127.0.0.1:0".parse().unwrap();
    for (written, meant) in [
        ("index.docker.io", "docker.io"),
        ("Index.Docker.IO", "docker.io"),
        ("docker.io", "docker.io"),
        ("Registry.Example.com", "registry.example.com"),
        ("registry.example.com:443", "registry.example.com"),
    ] {
        let config = RegistryConfig::new(listen, "https://registry.internal:5000", written);
        assert_eq!(super::upstream(&config).unwrap().0, meant, "{written}");
    }
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    for name in ["Team/app", "team/App", "TEAM/APP"] {
        assert_eq!(world.manifest(name, "v1").await.status, 400, "a name has one case");
    }
    assert_eq!(world.get("/v2/team/app/manifests/V1").await.status, 403, "a tag has two");
    assert_eq!(world.get("/v2/registry.example.com/team/app/manifests/v1").await.status, 403);
}
