//! Blobs through the gate: only what hangs below something signed, and only right bytes to their end.

use trust_image::Digest;

use super::testing::{Answer, World, ok, with};

const APP: &str = "team/app";

fn raw(length: Option<usize>, body: &[u8]) -> Answer {
    let length = length.map(|n| format!("Content-Length: {n}\r\n")).unwrap_or_default();
    Answer::Raw([format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n").as_bytes(), body].concat())
}

#[tokio::test]
async fn g17_g18_blobs_of_unsigned_images_and_of_other_repositories_are_unknown() {
    let world = World::start().await;
    let (signed, config, layer) = world.image(APP, "signed");
    let (_, _, unsigned) = world.image(APP, "unsigned");
    let (other, _, of_other) = world.image("other/app", "other");
    world.upstream.hold(APP, "blobs", &of_other);
    world.fake.sign(APP, "v1", &signed);
    world.fake.sign("other/app", "v1", &other);
    for content in [&config, &layer] {
        let got = world.blob(APP, content).await;
        assert_eq!((got.status, &got.body), (200, content));
        assert_eq!(got.header("docker-content-digest"), Digest::of(content).to_string());
        assert_eq!(got.header("content-type"), "application/octet-stream");
        assert_eq!((got.header("set-cookie"), got.header("link"), got.header("www-authenticate")), ("", "", ""));
    }
    assert_eq!(world.blob("other/app", &of_other).await.status, 200);
    for content in [&unsigned, &of_other] {
        for method in ["GET", "HEAD"] {
            for range in [None, Some(("range", "bytes=0-1"))] {
                let path = format!("/v2/{APP}/blobs/{}", Digest::of(content));
                let got = world.ask(method, &path, range.as_slice()).await;
                assert_eq!(got.status, 404, "{method}");
            }
        }
    }
    assert_eq!(world.blob(APP, &unsigned).await.code(), "BLOB_UNKNOWN");
    let asked = world.upstream.asked();
    assert!(!asked.iter().any(|line| line.contains(&Digest::of(&unsigned).to_string())), "not even asked for");
}

#[tokio::test]
async fn a_blob_with_wrong_bytes_or_a_wrong_length_is_never_complete() {
    let world = World::start().await;
    let (signed, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let digest = Digest::of(&layer);
    let path = format!("/v2/{APP}/blobs/{digest}");
    let mut changed = layer.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut early = layer.clone();
    early[0] ^= 1;
    let short = &layer[..layer.len() - 1];
    let long = [layer.as_slice(), b"x"].concat();
    let encoded = vec![("Content-Encoding", "gzip".to_owned())];
    let lies = [
        ok(changed.clone()),
        ok(early),
        ok(short.to_vec()),
        ok(long.clone()),
        ok(Vec::new()),
        raw(None, &changed),
        raw(None, short),
        raw(None, &long),
        raw(Some(layer.len()), short),
        Answer::Full(200, encoded, layer.clone()),
        Answer::Full(206, Vec::new(), layer.clone()),
        Answer::Full(204, Vec::new(), Vec::new()),
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        world.upstream.lie(&path, lie);
        let got = world.get(&path).await;
        let cut = got.status == 200 && !got.complete && got.body.len() < layer.len();
        assert!(cut || got.status == 502, "lie {n}: {} {}", got.status, got.complete);
    }
    world.upstream.lie(&path, raw(None, &layer));
    assert_eq!(world.get(&path).await.body, layer, "an honest answer without a length");
}

#[tokio::test]
async fn g27_parts_of_blobs_come_as_they_were_asked_for() {
    let world = World::start().await;
    let (signed, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    let size = layer.len();
    let ask = async |range: &str| world.ask("GET", &path, &[("range", range)]).await;
    let got = ask("bytes=10-19").await;
    assert_eq!((got.status, got.body.as_slice()), (206, &layer[10..20]));
    assert_eq!(got.header("content-range"), format!("bytes 10-19/{size}"));
    let got = ask("bytes=-5").await;
    assert_eq!((got.status, got.body.as_slice()), (206, &layer[size - 5..]));
    let got = ask(&format!("bytes={size}-")).await;
    assert_eq!((got.status, got.header("content-range")), (416, format!("bytes */{size}").as_str()));
    let got = ask("bytes=0-1,5-6").await;
    assert_eq!((got.status, got.body.len()), (200, size));
    let head = world.ask("HEAD", &path, &[("range", "bytes=10-19")]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (206, "10", 0));
    let head = world.ask("HEAD", &path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, size.to_string().as_str()));
    assert!(
        world
            .upstream
            .headers("range")
            .iter()
            .all(|range| range == "bytes=10-19" || range.ends_with(&(size - 1).to_string()))
    );

    // Another part than the one asked for, and the whole as a part with wrong bytes.
    let stated = |range: &str| vec![("Content-Range", range.to_owned())];
    world.upstream.lie(&path, Answer::Full(206, stated(&format!("bytes 0-9/{size}")), layer[..10].to_vec()));
    assert_eq!(ask("bytes=10-19").await.status, 502);
    let mut changed = layer.clone();
    changed[7] ^= 1;
    world.upstream.lie(&path, Answer::Full(206, stated(&format!("bytes 0-{}/{size}", size - 1)), changed));
    let got = ask("bytes=0-").await;
    assert!(!got.complete, "a part that is the whole is hashed");
    // An upstream without ranges: the whole, hashed.
    world.upstream.lie(&path, ok(layer.clone()));
    let got = ask("bytes=10-19").await;
    assert_eq!((got.status, got.body), (200, layer));
}

#[tokio::test]
async fn g26_blobs_are_redirected_to_the_upstreams_own_host_alone() {
    let world = World::start().await;
    let (signed, _, layer) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    world.upstream.hold("storage", "blobs", &layer);
    let digest = Digest::of(&layer);
    let path = format!("/v2/{APP}/blobs/{digest}");
    world.upstream.lie(&path, with(307, "Location", format!("/v2/storage/blobs/{digest}")));
    let got = world.get(&path).await;
    assert_eq!((got.status, got.body == layer), (200, true));

    let (elsewhere, address) = super::testing::Hostile::start().await;
    elsewhere.hold("storage", "blobs", &layer);
    for target in [
        format!("http://{address}/v2/storage/blobs/{digest}"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        path.clone(),
        String::new(),
    ] {
        world.upstream.lie(&path, with(307, "Location", target.clone()));
        let got = world.get(&path).await;
        assert_eq!((got.status, got.header("location")), (502, ""), "{target}");
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[tokio::test]
async fn a_blob_that_the_upstream_lost_is_unknown_and_what_is_denied_is_denied() {
    let world = World::start().await;
    let (signed, config, layer) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    let path = format!("/v2/{APP}/blobs/{}", Digest::of(&layer));
    world.upstream.lie(&path, Answer::Full(404, Vec::new(), Vec::new()));
    let got = world.get(&path).await;
    assert_eq!((got.status, got.code().as_str()), (404, "BLOB_UNKNOWN"));
    world.fake.deny(&digest, "no");
    let got = world.blob(APP, &config).await;
    assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("no")));
}

#[tokio::test]
async fn a_layer_that_an_allowed_image_shares_with_a_denied_one_comes() {
    let world = World::start().await;
    let (denied, config, layer) = world.image(APP, "shared");
    let other = super::testing::manifest(b"other config", &layer);
    world.upstream.hold(APP, "manifests", &other);
    world.fake.sign(APP, "v1", &denied);
    world.fake.sign(APP, "v2", &other);
    world.fake.deny(&Digest::of(&denied), "no");
    assert_eq!(world.blob(APP, &layer).await.body, layer);
    assert_eq!(world.blob(APP, &config).await.status, 404, "nothing allowed has led to it");
    assert!(!world.upstream.asked().iter().any(|line| line.contains(&Digest::of(&denied).to_string())));
}

#[tokio::test]
async fn many_signed_images_of_which_some_are_gone_are_walked_once() {
    let world = World::start().await;
    let mut last = Vec::new();
    for n in 0..60 {
        let (manifest, _, layer) = world.image(APP, &format!("image {n}"));
        let digest = world.fake.sign(APP, &format!("v{n}"), &manifest);
        if n % 3 == 0 {
            world.upstream.lie(&format!("/v2/{APP}/manifests/{digest}"), Answer::Full(404, Vec::new(), Vec::new()));
        }
        last = layer;
    }
    assert_eq!(world.blob(APP, b"nobody has this").await.status, 404);
    let asked = world.upstream.asked().len();
    assert_eq!(asked, 60);
    for n in 0..20 {
        assert_eq!(world.blob(APP, format!("nor {n}").as_bytes()).await.status, 404);
    }
    assert!(world.upstream.asked().len() <= asked + 40, "{}", world.upstream.asked().len());
    assert_eq!(world.blob(APP, &last).await.body, last);
}
