//! Pushes through the gate: they reach the registry behind as they were meant, and open nothing for those who pull.

use trust_image::Digest;

use super::testing::{Answer, Switches, World, ok, with};
use crate::config::Login;

const APP: &str = "team/app";

async fn world() -> World {
    World::with(Switches { push: true, ..Switches::default() }).await
}

fn says(status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Answer::Full(status, headers, Vec::new())
}

#[tokio::test]
async fn g20_a_mount_of_an_unsigned_layer_becomes_an_upload_and_opens_nothing() {
    let world = world().await;
    let (signed, ..) = world.image(APP, "signed");
    let (_, _, layer) = world.image("other/app", "unsigned");
    world.upstream.hold(APP, "blobs", &layer);
    world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.blob(APP, &layer).await.status, 404);
    world.upstream.lie("/v2/team/app/blobs/uploads/", with(202, "Location", "/v2/team/app/blobs/uploads/1?_state=x"));
    let path = format!("/v2/{APP}/blobs/uploads/?mount={}&from=other/app", Digest::of(&layer));
    let got = world.send("POST", &path, &[], b"").await;
    assert_eq!((got.status, got.header("location")), (202, "/v2/team/app/blobs/uploads/1?_state=x"));
    let asked = world.upstream.asked();
    assert_eq!(asked.last().unwrap(), "POST /v2/team/app/blobs/uploads/", "nobody is asked to mount");
    assert_eq!(world.blob(APP, &layer).await.status, 404);
}

#[tokio::test]
async fn g37_what_was_pushed_through_the_gate_is_denied_until_it_is_signed() {
    let world = world().await;
    let (image, config, _) = world.image(APP, "pushed");
    let digest = Digest::of(&image);
    world.upstream.lie("/v2/team/app/manifests/v1", says(201, &[("Docker-Content-Digest", &digest.to_string())]));
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let got = world.send("PUT", "/v2/team/app/manifests/v1", &kind, &image).await;
    assert_eq!((got.status, got.header("location")), (201, "/v2/team/app/manifests/v1"));
    assert_eq!(got.header("docker-content-digest"), digest.to_string());
    assert_eq!(world.upstream.body("PUT /v2/team/app/manifests/v1").unwrap(), image);
    for reference in ["v1".to_owned(), digest.to_string()] {
        for method in ["GET", "HEAD"] {
            let got = world.ask(method, &format!("/v2/{APP}/manifests/{reference}"), &[]).await;
            assert_eq!(got.status, 403, "{method} {reference}");
        }
    }
    assert_eq!(world.blob(APP, &config).await.status, 404);
    assert_eq!(world.get("/v2/team/app/tags/list").await.status, 404);
    world.fake.sign(APP, "v1", &image);
    // The tag that was pushed is still not what is asked for.
    assert_eq!(world.manifest(APP, "v1").await.body, image);
}

#[tokio::test]
async fn an_upload_goes_its_way_in_parts_with_addresses_of_the_gate() {
    let world = world().await;
    let layer = vec![7_u8; 300_000];
    let digest = Digest::of(&layer);
    let base = "/v2/team/app/blobs/uploads/";
    let own = format!("http://{}{base}", world.upstream_address);
    world.upstream.lie(
        base,
        says(202, &[("Location", &format!("{own}abc?_state=one")), ("Range", "0-0"), ("Set-Cookie", "a=b")]),
    );
    let got = world.send("POST", base, &[], b"").await;
    let at = got.header("location").to_owned();
    assert_eq!((got.status, at.as_str()), (202, "/v2/team/app/blobs/uploads/abc?_state=one"));
    assert_eq!((got.header("docker-upload-uuid"), got.header("range"), got.header("set-cookie")), ("abc", "0-0", ""));

    world.upstream.lie(&at, says(202, &[("Location", &format!("{own}abc?_state=two")), ("Range", "0-299999")]));
    let range = [("content-range", "0-299999"), ("content-type", "application/octet-stream")];
    let got = world.send("PATCH", &at, &range, &layer).await;
    assert_eq!((got.status, got.header("range")), (202, "0-299999"), "{got:?}");
    assert!(world.upstream.body(&format!("PATCH {at}")).unwrap() == layer);
    assert_eq!(world.upstream.headers("content-range"), ["0-299999"]);
    let status = world.ask("GET", &at, &[]).await;
    assert_eq!(status.status, 202);

    let end = format!("{base}abc?_state=two&digest={digest}");
    world.upstream.lie(
        &end,
        says(201, &[("Location", "https://elsewhere.example.com/x"), ("Docker-Content-Digest", &digest.to_string())]),
    );
    let got = world
        .send("PUT", &format!("{base}abc?_state=two&digest={}", digest.to_string().replace(':', "%3A")), &[], b"")
        .await;
    assert_eq!((got.status, got.header("location")), (201, format!("/v2/{APP}/blobs/{digest}").as_str()));
    assert_eq!(got.header("docker-content-digest"), digest.to_string());
}

#[tokio::test]
async fn a_body_of_unstated_length_passes_and_one_that_breaks_off_does_not_become_whole() {
    let world = world().await;
    let at = "/v2/team/app/blobs/uploads/abc";
    world.upstream.lie(at, says(202, &[("Location", at)]));
    let head = format!("PATCH {at} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(world.raw(chunked.as_bytes(), false).await.unwrap().status, 202);
    let body = String::from_utf8(world.upstream.body(&format!("PATCH {at}")).unwrap()).unwrap();
    assert!(body.contains("hello") && body.ends_with("0\r\n\r\n"), "{body:?}");

    let (text, _) = {
        let mut stream = tokio::net::TcpStream::connect(world.gate).await.unwrap();
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(format!("{head}content-length: 100\r\n\r\nhalf").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        (text, ())
    };
    assert!(!text.starts_with("HTTP/1.1 2"), "{text}");
}

#[tokio::test]
async fn an_upload_that_would_go_on_past_the_gate_is_refused() {
    let world = world().await;
    let base = "/v2/team/app/blobs/uploads/";
    for location in
        ["https://storage.example.com/upload/1", "/v2/other/app/blobs/uploads/1", "/v2/team/app/blobs/uploads/../x"]
    {
        world.upstream.lie(base, with(202, "Location", location));
        let got = world.send("POST", base, &[], b"").await;
        assert_eq!((got.status, got.header("location")), (502, ""), "{location}");
    }
    world.upstream.lie(base, with(307, "Location", "https://storage.example.com/upload/1"));
    assert_eq!(world.send("POST", base, &[], b"").await.status, 502);
}

#[tokio::test]
async fn errors_of_the_registry_are_told_in_its_words_without_its_headers() {
    let world = world().await;
    let body =
        r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown\nto registry","detail":{"secret":1}}]}"#;
    let path = "/v2/team/app/manifests/v1";
    let headers = vec![("Set-Cookie", "a=b".to_owned()), ("Link", "x".to_owned())];
    world.upstream.lie(path, Answer::Full(400, headers, body.as_bytes().to_vec()));
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let got = world.send("PUT", path, &kind, b"{}").await;
    assert_eq!((got.status, got.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    let message = got.error()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("blob unknown") && !message.contains('\n'), "{message}");
    assert_eq!((got.header("set-cookie"), got.header("link"), got.error()["detail"].is_null()), ("", "", true));
    for (status, body, expected) in [(500, "<html>", 502), (429, "", 429), (405, "", 405)] {
        world.upstream.lie(path, Answer::Full(status, vec![("Retry-After", "7".to_owned())], body.as_bytes().to_vec()));
        let got = world.send("PUT", path, &kind, b"{}").await;
        assert_eq!((got.status, got.header("retry-after")), (expected, "7"));
    }
    world.upstream.lie(path, ok(""));
    assert_eq!(world.send("PUT", path, &[], b"{}").await.status, 400, "a manifest without a media type");
    assert_eq!(world.send("PUT", path, &kind, &vec![b' '; 4 * 1024 * 1024 + 1]).await.status, 413);
}

#[tokio::test]
async fn deletions_and_tags_pass_and_what_is_no_push_is_405() {
    let world = world().await;
    let digest = Digest::of(b"x");
    let manifest = format!("/v2/{APP}/manifests/{digest}");
    let blob = format!("/v2/{APP}/blobs/{digest}");
    for path in [&manifest, &blob] {
        world.upstream.lie(path, says(202, &[]));
        assert_eq!(world.ask("DELETE", path, &[]).await.status, 202, "{path}");
    }
    world.upstream.lie(
        &format!("{manifest}?tag=a&tag=b"),
        says(201, &[("OCI-Tag", "a, b"), ("OCI-Subject", &digest.to_string())]),
    );
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let got = world.send("PUT", &format!("{manifest}?tag=a&x=y&tag=b"), &kind, b"{}").await;
    assert_eq!((got.status, got.header("oci-subject")), (201, digest.to_string().as_str()));
    for (method, path) in [("POST", "/v2/"), ("PUT", "/v2/team/app/tags/list"), ("PATCH", manifest.as_str())] {
        assert_eq!(world.ask(method, path, &[]).await.status, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn a_layer_that_may_not_be_pulled_can_still_be_pushed_again() {
    let world = world().await;
    let (denied, _, layer) = world.image(APP, "denied");
    let digest = world.fake.sign(APP, "v1", &denied);
    assert_eq!(world.blob(APP, &layer).await.status, 200);
    world.fake.deny(&digest, "no");
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    assert_eq!(world.ask("HEAD", &path, &[]).await.status, 404, "a push goes on with an upload");
    assert_eq!(world.get(&path).await.status, 403, "people see why");
}

#[tokio::test]
async fn a_push_carries_the_login_of_the_client_or_none() {
    let login = "Basic YWxpY2U6c2VjcmV0";
    let base = "/v2/team/app/blobs/uploads/";
    let with_pass = World::with(Switches { push: true, login: Login::Pass, ..Switches::default() }).await;
    with_pass.upstream.let_in(&[login], &[]);
    with_pass.upstream.lie(base, with(202, "Location", "/v2/team/app/blobs/uploads/1"));
    let got = with_pass.send("POST", base, &[], b"").await;
    assert_eq!((got.status, got.header("www-authenticate")), (401, super::testing::CHALLENGE));
    assert_eq!(with_pass.send("POST", base, &[("authorization", login)], b"").await.status, 202);

    let plain = world().await;
    plain.upstream.lie(base, with(202, "Location", "/v2/team/app/blobs/uploads/1"));
    assert_eq!(plain.send("POST", base, &[("authorization", login)], b"").await.status, 202);
    assert_eq!(plain.upstream.headers("authorization"), [""; 0]);
}

#[tokio::test]
async fn pushes_that_never_end_leave_room_for_those_who_pull_and_are_told_to_wait() {
    use tokio::io::AsyncWriteExt;
    let world = world().await;
    let (image, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &image);
    let mut slow = Vec::new();
    for _ in 0..super::door::PUSHES {
        let mut stream = tokio::net::TcpStream::connect(world.gate).await.unwrap();
        let head = "PUT /v2/team/app/manifests/zz HTTP/1.1\r\nhost: gate\r\ncontent-type: application/vnd.oci.image.manifest.v1+json\r\ncontent-length: 1000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let kind = ("content-type", "application/vnd.oci.image.manifest.v1+json");
    let mut got = world.send("PUT", "/v2/team/app/manifests/next", &[kind], b"{}").await;
    for _ in 0..100 {
        if got.status == 429 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        got = world.send("PUT", "/v2/team/app/manifests/next", &[kind], b"{}").await;
    }
    assert_eq!((got.status, got.code().as_str(), got.header("retry-after")), (429, "TOOMANYREQUESTS", "5"));
    assert_eq!(world.manifest(APP, "v1").await.body, image);
    drop(slow);
}
