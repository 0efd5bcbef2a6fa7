//! The ways around a gate, by their numbers, each against a hostile upstream.

use trust_image::Digest;
use trust_reader::catalogue::exit;

use super::ruling::Denial;
use super::testing::{Answer, OCI_INDEX, OCI_MANIFEST, World, index, ok, with};

const APP: &str = "team/app";

#[tokio::test]
async fn g01_an_unsigned_tag_is_denied_with_its_reason() {
    let world = World::start().await;
    let (unsigned, ..) = world.image(APP, "unsigned");
    world.upstream.lie("/v2/team/app/manifests/u", ok(unsigned));
    let got = world.manifest(APP, "u").await;
    assert_eq!((got.status, got.code().as_str()), (403, "DENIED"));
    assert_eq!(got.error()["message"], "registry.example.com/team/app:u is not signed");
    assert_eq!(got.error()["detail"]["repository"], "registry.example.com/team/app");
    assert_eq!(got.error()["detail"]["reference"], "u");
    let head = world.ask("HEAD", "/v2/team/app/manifests/u", &[]).await;
    assert_eq!((head.status, head.body.len()), (403, 0));
    assert_eq!(head.header("content-length"), got.header("content-length"));
    assert_eq!(world.upstream.asked(), [""; 0], "the upstream is not asked for what is denied");
}

#[tokio::test]
async fn g02_an_unsigned_digest_in_a_signed_repository_is_denied() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let (unsigned, ..) = world.image(APP, "unsigned");
    world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, "v1").await.body, signed);
    for method in ["GET", "HEAD"] {
        let got = world.ask(method, &format!("/v2/{APP}/manifests/{}", Digest::of(&unsigned)), &[]).await;
        assert_eq!(got.status, 403, "{method}");
    }
    assert!(world.fake.log.lock().unwrap().iter().any(|line| line.contains('@')), "the denial is logged");
}

#[tokio::test]
async fn g03_a_child_of_a_signed_index_comes_before_and_after_the_index_and_after_a_restart() {
    let mut world = World::start().await;
    let (one, _, layer) = world.image(APP, "one");
    let (two, ..) = world.image(APP, "two");
    let inner = world.index(APP, OCI_MANIFEST, &[&two]);
    let outer = world.index(APP, OCI_INDEX, &[&inner]);
    let flat = world.index(APP, OCI_MANIFEST, &[&one]);
    world.fake.sign(APP, "flat", &flat);
    world.fake.sign(APP, "nested", &outer);
    for round in 0..2 {
        for child in [&one, &two, &inner] {
            let got = world.manifest(APP, Digest::of(child)).await;
            assert_eq!((got.status, &got.body), (200, child), "round {round}");
        }
        assert_eq!(world.manifest(APP, "flat").await.body, flat);
        assert_eq!(world.manifest(APP, "nested").await.body, outer);
        world.restart().await;
        let got = world.blob(APP, &layer).await;
        assert_eq!((got.status, &got.body), (200, &layer), "a layer first, after a restart");
        world.restart().await;
    }
}

#[tokio::test]
async fn g04_a_child_of_an_unsigned_index_is_denied() {
    let world = World::start().await;
    let (child, _, layer) = world.image(APP, "child");
    let (signed, ..) = world.image(APP, "signed");
    let unsigned = world.index(APP, OCI_MANIFEST, &[&child]);
    world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, Digest::of(&unsigned)).await.status, 403);
    assert_eq!(world.manifest(APP, Digest::of(&child)).await.status, 403);
    assert_eq!(world.blob(APP, &layer).await.status, 404);
}

#[tokio::test]
async fn g05_deep_nesting_and_huge_indexes_end_bounded() {
    let world = World::start().await;
    let (leaf, ..) = world.image(APP, "leaf");
    let mut top = leaf.clone();
    let mut kind = OCI_MANIFEST;
    for _ in 0..5 {
        top = world.index(APP, kind, &[&top]);
        kind = OCI_INDEX;
    }
    world.fake.sign(APP, "deep", &top);
    assert_eq!(world.manifest(APP, "deep").await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&leaf)).await.status, 403, "five levels below");

    let many: Vec<Vec<u8>> = (0..40_000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).take(20_000).collect();
    let huge = index(OCI_MANIFEST, &many);
    assert!(huge.len() < 4 * 1024 * 1024);
    world.upstream.hold(APP, "manifests", &huge);
    world.fake.sign(APP, "huge", &huge);
    let got = world.manifest(APP, "huge").await;
    assert_eq!((got.status, got.code().as_str()), (403, "MANIFEST_INVALID"));
    let over = vec![b' '; 4 * 1024 * 1024 + 1];
    world.upstream.hold(APP, "manifests", &over);
    world.fake.sign(APP, "over", &over);
    assert_eq!(world.manifest(APP, "over").await.status, 502);
}

#[tokio::test]
async fn g06_a_digest_that_is_signed_in_another_repository_is_denied_here() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    world.image("other/app", "signed");
    world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.manifest("other/app", Digest::of(&signed)).await.status, 403);
    assert_eq!(world.manifest("other/app", "v1").await.status, 403);
    assert_eq!(world.blob("other/app", &config).await.status, 404);
    assert_eq!(world.blob(APP, &config).await.status, 200);
}

#[tokio::test]
async fn g07_a_tag_that_was_moved_upstream_still_means_what_was_signed() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "first");
    let (moved, ..) = world.image(APP, "second");
    world.upstream.lie("/v2/team/app/manifests/v1", ok(moved));
    let digest = world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, "v1").await.body, signed);
    assert!(world.upstream.asked().iter().all(|line| line.ends_with(&digest.to_string())), "a tag is never asked for");

    let gone = index(OCI_MANIFEST, &[&signed]);
    world.fake.sign(APP, "v2", &gone);
    let got = world.manifest(APP, "v2").await;
    assert_eq!((got.status, got.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    assert!(!String::from_utf8_lossy(&got.body).contains("UPSTREAM_SAYS"));
}

#[tokio::test]
async fn g08_g09_other_bytes_under_a_signed_digest_never_come_out() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let (other, ..) = world.image(APP, "other");
    let digest = world.fake.sign(APP, "v1", &signed);
    let path = format!("/v2/{APP}/manifests/{digest}");
    world.upstream.lie(&path, Answer::Full(200, vec![("Docker-Content-Digest", digest.to_string())], other));
    for reference in ["v1".to_owned(), digest.to_string()] {
        let got = world.manifest(APP, &reference).await;
        assert_eq!(got.status, 502, "{reference}");
        assert!(got.code() == "UNKNOWN" && got.complete);
        let head = world.ask("HEAD", &format!("/v2/{APP}/manifests/{reference}"), &[]).await;
        assert_eq!(head.status, 502);
    }
}

#[tokio::test]
async fn g10_a_cut_a_long_and_an_encoded_answer_are_errors() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    let path = format!("/v2/{APP}/manifests/{digest}");
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{rest}\r\n\r\n").into_bytes();
    let lies = [
        [head(&format!("Content-Length: {}", signed.len())), signed[..signed.len() - 1].to_vec()].concat(),
        [head(&format!("Content-Length: {}", signed.len() + 1)), signed.clone()].concat(),
        [head(&format!("Content-Length: {}\r\nContent-Encoding: gzip", signed.len())), signed.clone()].concat(),
        [head(""), signed[..signed.len() - 1].to_vec()].concat(),
        [head(""), signed.clone(), b" ".to_vec()].concat(),
        b"220 mail.example.com\r\n\r\n".to_vec(),
        Vec::new(),
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        // What is about the content is remembered for some seconds: a new gate for each.
        let mut world = World { upstream: world.upstream.clone(), fake: world.fake.clone(), ..world };
        world.restart().await;
        world.upstream.lie(&path, Answer::Raw(lie));
        let got = world.manifest(APP, "v1").await;
        assert!(matches!(got.status, 502 | 503), "lie {n}: {got:?}");
        assert!(!got.body.starts_with(b"{\"config\""), "lie {n}");
    }
    assert!(world.upstream.headers("accept-encoding").iter().all(|value| value == "identity"));
    assert_eq!(world.upstream.headers("accept-encoding").len(), world.upstream.asked().len());
}

#[tokio::test]
async fn g11_g12_g13_every_way_to_ask_gets_the_same_bytes_and_headers() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let index = world.index(APP, OCI_MANIFEST, &[&signed]);
    let digest = world.fake.sign(APP, "v1", &index);
    let first = world.manifest(APP, "v1").await;
    assert_eq!(first.header("content-type"), OCI_INDEX);
    assert_eq!(first.header("docker-content-digest"), digest.to_string());
    assert_eq!(first.header("etag"), format!("\"{digest}\""));
    assert_eq!(first.header("content-length"), index.len().to_string());
    for name in ["set-cookie", "link", "www-authenticate", "location"] {
        assert_eq!(first.header(name), "", "{name} of the upstream");
    }
    let old = "application/vnd.docker.distribution.manifest.v1+json;q=1.0, */*;q=0";
    for accept in [None, Some("*/*"), Some("text/html"), Some(old), Some(OCI_MANIFEST)] {
        let headers: Vec<(&str, &str)> = accept.iter().map(|accept| ("accept", *accept)).collect();
        for reference in ["v1".to_owned(), digest.to_string()] {
            let path = format!("/v2/{APP}/manifests/{reference}");
            let (get, head) = (world.ask("GET", &path, &headers).await, world.ask("HEAD", &path, &headers).await);
            assert_eq!(get.body, index);
            let steady = |got: &super::testing::Got| {
                let mut headers = got.headers.clone();
                headers.remove("date");
                (got.status, headers)
            };
            assert_eq!(steady(&get), steady(&first), "{accept:?}");
            assert_eq!(steady(&head), steady(&first), "{accept:?}");
        }
    }
    let known = format!("\"{digest}\"");
    let got = world.ask("GET", "/v2/team/app/manifests/v1", &[("if-none-match", &known)]).await;
    assert_eq!((got.status, got.body.len()), (304, 0));
    let got = world.ask("GET", "/v2/team/app/manifests/u", &[("if-none-match", &known)]).await;
    assert_eq!(got.status, 403);
}

#[tokio::test]
async fn g14_g15_documents_with_two_meanings_are_refused_also_signed() {
    let world = World::start().await;
    let (plain, ..) = world.image(APP, "plain");
    let plain = String::from_utf8(plain).unwrap();
    let both = plain.replacen('{', "{\"manifests\":[],", 1);
    let twice = plain.replacen('{', "{\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:00\",\"size\":1},", 1);
    let relabelled = plain.replace(OCI_MANIFEST, OCI_INDEX);
    let old = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#.to_owned();
    let spelt = plain.replacen("\"config\"", "\"Config\"", 1).replacen('{', "{\"config\":null,", 1);
    let away = plain.replace("\"size\":", "\"urls\":[\"https://evil.example/\"],\"size\":");
    for (n, document) in [both, twice, relabelled, old, spelt, away, "[]".to_owned()].iter().enumerate() {
        world.upstream.hold(APP, "manifests", document.as_bytes());
        let digest = world.fake.sign(APP, &format!("v{n}"), document.as_bytes());
        for reference in [format!("v{n}"), digest.to_string()] {
            let got = world.manifest(APP, reference).await;
            assert_eq!((got.status, got.code().as_str()), (403, "MANIFEST_INVALID"), "{document}");
        }
    }
}

#[tokio::test]
async fn g19_manifests_and_blobs_are_not_to_be_had_by_each_others_route() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    world.upstream.hold(APP, "blobs", &signed);
    world.upstream.hold(APP, "manifests", &config);
    world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.blob(APP, &signed).await.status, 404);
    assert_eq!(world.manifest(APP, Digest::of(&config)).await.status, 403);
    // An upstream may fail at such a question: that opens nothing, and is no reason to try again.
    let path = format!("/v2/{APP}/manifests/{}", Digest::of(b"a config"));
    for status in [500, 401, 403, 418] {
        world.upstream.lie(&path, Answer::Full(status, Vec::new(), Vec::new()));
        let got = world.get(&path).await;
        assert_eq!((got.status, got.code().as_str()), (403, "DENIED"), "{status}");
    }
}

#[tokio::test]
async fn g26_a_redirect_of_a_manifest_is_not_followed() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    world.upstream.hold("elsewhere", "manifests", &signed);
    let to = format!("http://{}/v2/elsewhere/manifests/{digest}", world.upstream_address);
    world.upstream.lie(&format!("/v2/{APP}/manifests/{digest}"), with(307, "Location", to));
    let got = world.manifest(APP, "v1").await;
    assert_eq!((got.status, got.header("location")), (502, ""));
    assert!(!world.upstream.asked().iter().any(|line| line.contains("elsewhere")));
}

#[tokio::test]
async fn g28_expired_trust_data_denies_everything_and_says_when_it_expired() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    assert_eq!(world.blob(APP, &config).await.status, 200);
    let line = "the trust data expired at 2030-01-01T00:00:00Z";
    let expired = Denial { exit: exit::EXPIRED, line: line.to_owned(), ..Denial::default() };
    *world.fake.trouble.lock().unwrap() = Some(expired);
    let blob = format!("/v2/{APP}/blobs/{}", Digest::of(&config));
    let unknown = format!("/v2/{APP}/blobs/{}", Digest::of(b"unknown"));
    let by_digest = format!("/v2/{APP}/manifests/{digest}");
    for path in ["/v2/team/app/manifests/v1", &by_digest, &blob, &unknown, "/v2/team/app/tags/list"] {
        let got = world.get(path).await;
        assert_eq!((got.status, got.error()["message"].as_str()), (403, Some(line)), "{path}");
    }
}

#[tokio::test]
async fn g29_what_is_revoked_or_denied_after_it_was_served_is_denied_with_all_below_it() {
    let world = World::start().await;
    let (one, _, layer) = world.image(APP, "one");
    let (two, _, other) = world.image(APP, "two");
    let signed = world.index(APP, OCI_MANIFEST, &[&one, &two]);
    let digest = world.fake.sign(APP, "v1", &signed);
    let child = Digest::of(&one);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.manifest(APP, child).await.status, 200);
    assert_eq!(world.blob(APP, &layer).await.status, 200);

    world.fake.revoke(&child);
    let got = world.manifest(APP, child).await;
    assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("revoked: leaked key")));
    assert_eq!(world.blob(APP, &layer).await.status, 403, "a layer of a revoked image");
    assert_eq!(world.blob(APP, &other).await.status, 200);

    world.fake.deny(&digest, "rule pii-stays-at-home: com.example.data is \"PII\"");
    for (path, content) in [("manifests", &signed), ("manifests", &two), ("blobs", &other)] {
        let got = world.get(&format!("/v2/{APP}/{path}/{}", Digest::of(content))).await;
        assert_eq!(got.status, 403, "{path}");
        assert_eq!(got.error()["detail"]["rule"], "pii-stays-at-home");
        assert_eq!(got.error()["detail"]["policy"], "registry.example.com/policy@3");
        assert_eq!(got.error()["detail"]["hint"], "ask data-protection@example.com");
    }
}

#[tokio::test]
async fn g30_many_clients_make_one_fetch() {
    let world = std::sync::Arc::new(World::start().await);
    let (signed, ..) = world.image(APP, "signed");
    world.fake.sign(APP, "v1", &signed);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { world.manifest(APP, "v1").await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().body, signed);
    }
    assert_eq!(world.upstream.asked().len(), 1);
}

#[tokio::test]
async fn g31_the_lists_show_signed_tags_alone() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    for tag in ["v10", "v9", "V1", "a", "_b"] {
        world.fake.sign(APP, tag, &signed);
    }
    world.upstream.lie("/v2/team/app/tags/list", ok(r#"{"name":"team/app","tags":["unsigned"]}"#));
    let got = world.get("/v2/team/app/tags/list").await;
    let list: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(list, serde_json::json!({"name": APP, "tags": ["V1", "_b", "a", "v10", "v9"]}));
    assert_eq!(got.header("link"), "");
    let mut seen = Vec::new();
    let mut path = "/v2/team/app/tags/list?n=2".to_owned();
    while !path.is_empty() {
        let got = world.get(&path).await;
        let page: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        seen.extend(page["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        let link = got.header("link").strip_prefix('<').and_then(|link| link.split_once('>'));
        path = link.map(|(path, _)| path.to_owned()).unwrap_or_default();
        assert!(seen.len() < 10);
    }
    assert_eq!(seen, ["V1", "_b", "a", "v10", "v9"]);
    assert_eq!(world.get("/v2/team/app/tags/list?n=0").await.status, 200);
    assert_eq!(world.get("/v2/team/other/tags/list").await.status, 404);
    assert_eq!(world.get("/v2/_catalog").await.status, 403);
    assert_eq!(world.upstream.asked(), [""; 0]);
}

#[tokio::test]
async fn g37_nothing_can_be_pushed() {
    let world = World::start().await;
    for (method, path) in [
        ("PUT", "/v2/team/app/manifests/v1"),
        ("DELETE", "/v2/team/app/manifests/v1"),
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("POST", "/v2/team/app/blobs/uploads/?mount=sha256:00&from=other/app"),
        ("PATCH", "/v2/team/app/blobs/uploads/1"),
    ] {
        let got = world.ask(method, path, &[("x-http-method-override", "GET")]).await;
        assert_eq!((got.status, got.code().as_str()), (405, "UNSUPPORTED"), "{method} {path}");
        assert_eq!(got.header("allow"), "GET, HEAD");
        assert!(got.error()["detail"]["hint"].as_str().unwrap().contains("sign"));
    }
    assert_eq!(world.upstream.asked(), [""; 0]);
}

#[tokio::test]
async fn what_is_signed_by_tag_alone_can_be_pulled_whole_and_nothing_more() {
    let world = World::start().await;
    let (signed, config, _) = world.image(APP, "signed");
    let (child, _, layer) = world.image(APP, "child");
    let index = world.index(APP, OCI_MANIFEST, &[&child]);
    let digest = world.fake.sign_tag_alone(APP, "v1", &signed);
    world.fake.sign_tag_alone(APP, "v2", &index);
    assert_eq!(world.manifest(APP, digest).await.body, signed);
    assert_eq!(world.blob(APP, &config).await.body, config);
    assert_eq!(world.manifest(APP, Digest::of(&child)).await.body, child);
    assert_eq!(world.blob(APP, &layer).await.body, layer);
    world.fake.deny(&digest, "no");
    assert_eq!(world.manifest(APP, digest).await.status, 403);
    assert_eq!(world.blob(APP, &config).await.status, 403);
}

#[tokio::test]
async fn what_was_signed_a_moment_ago_can_be_pulled_whole() {
    let world = World::start().await;
    let (first, ..) = world.image(APP, "first");
    world.fake.sign(APP, "v1", &first);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    let (child, _, layer) = world.image(APP, "child");
    let index = world.index(APP, OCI_MANIFEST, &[&child]);
    world.fake.sign(APP, "v2", &index);
    assert_eq!(world.manifest(APP, "v2").await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&child)).await.status, 200);
    assert_eq!(world.blob(APP, &layer).await.status, 200);
}

#[tokio::test]
async fn an_image_that_an_index_calls_an_index_is_refused() {
    let world = World::start().await;
    let (child, ..) = world.image(APP, "child");
    let signed = world.index(APP, OCI_INDEX, &[&child]);
    world.fake.sign(APP, "v1", &signed);
    let got = world.manifest(APP, Digest::of(&child)).await;
    assert_eq!((got.status, got.code().as_str()), (403, "MANIFEST_INVALID"));
}

#[tokio::test]
async fn an_upstream_that_is_down_is_said_to_be_down() {
    let world = World::start().await;
    let (signed, ..) = world.image(APP, "signed");
    let digest = world.fake.sign(APP, "v1", &signed);
    for (status, expected) in [(500, 503), (503, 503), (401, 502), (403, 502), (429, 429)] {
        world.upstream.lie(&format!("/v2/{APP}/manifests/{digest}"), Answer::Full(status, Vec::new(), Vec::new()));
        let got = world.manifest(APP, "v1").await;
        assert_eq!(got.status, expected, "{status}");
        assert_eq!(got.header("retry-after").is_empty(), expected == 502);
        assert!(!got.error()["message"].as_str().unwrap().contains("127.0.0.1"), "the upstream's name is not told");
    }
    // It is not remembered.
    world.upstream.lie(&format!("/v2/{APP}/manifests/{digest}"), ok(signed.clone()));
    assert_eq!(world.manifest(APP, "v1").await.body, signed);
}

#[tokio::test]
async fn an_image_beyond_the_end_of_the_list_can_be_pulled_in_the_usual_order() {
    let world = World::start().await;
    let (child, _, layer) = world.image(APP, "child");
    let index = world.index(APP, OCI_MANIFEST, &[&child]);
    let digest = world.fake.sign(APP, "v1", &index);
    world.fake.unlist();
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.manifest(APP, digest).await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&child)).await.status, 200);
    assert_eq!(world.blob(APP, &layer).await.status, 200);
}

#[tokio::test]
async fn an_image_that_the_signed_facts_do_not_call_runnable_does_not_pass_with_its_index() {
    let mut world = World::start().await;
    let (public, _, public_layer) = world.image(APP, "public");
    let (hidden, config, layer) = world.image(APP, "hidden");
    let flat = world.index(APP, OCI_MANIFEST, &[&public, &hidden]);
    let nested = world.index(APP, OCI_INDEX, &[&flat]);
    for top in [&flat, &nested] {
        let digest = world.fake.sign(APP, "v1", top);
        world.fake.judge(&flat, &[&public]);
        world.fake.judge(&nested, &[&public]);
        world.fake.judge(&public, &[&public]);
        for round in 0..2 {
            for reference in ["v1".to_owned(), digest.to_string(), Digest::of(&flat).to_string()] {
                assert_eq!(world.manifest(APP, reference).await.status, 200);
            }
            assert_eq!(world.manifest(APP, Digest::of(&public)).await.body, public, "round {round}");
            assert_eq!(world.blob(APP, &public_layer).await.body, public_layer);
            let got = world.manifest(APP, Digest::of(&hidden)).await;
            assert_eq!((got.status, got.code().as_str()), (403, "DENIED"));
            let message = got.error()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("do not list"), "{message}");
            for blob in [&config, &layer] {
                assert_eq!(world.blob(APP, blob).await.status, 403, "round {round}");
            }
            world.restart().await;
            assert_eq!(world.blob(APP, &layer).await.status, 403, "a layer first, after a restart");
        }
    }
    // Signed and allowed for itself it passes.
    world.fake.sign(APP, "hidden", &hidden);
    assert_eq!(world.manifest(APP, Digest::of(&hidden)).await.body, hidden);
    assert_eq!(world.blob(APP, &layer).await.body, layer);
}

#[tokio::test]
async fn an_image_that_was_hidden_behind_a_tag_alone_does_not_pass_with_its_index() {
    let world = World::start().await;
    let (hidden, _, layer) = world.image(APP, "hidden");
    let index = world.index(APP, OCI_MANIFEST, &[&hidden]);
    world.fake.sign_tag_alone(APP, "v1", &index);
    world.fake.judge(&index, &[]);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&hidden)).await.status, 403);
    assert_eq!(world.blob(APP, &layer).await.status, 403);
    world.fake.judge(&index, &[&hidden]);
    assert_eq!(world.manifest(APP, Digest::of(&hidden)).await.body, hidden);
}

#[tokio::test]
async fn an_image_that_an_index_calls_both_an_image_and_an_index_passes_only_if_it_was_judged() {
    let world = World::start().await;
    let (hidden, _, layer) = world.image(APP, "hidden");
    let as_index = world.index(APP, OCI_INDEX, &[&hidden]);
    let as_image = world.index(APP, OCI_MANIFEST, &[&hidden]);
    world.fake.sign(APP, "v1", &as_index);
    world.fake.sign(APP, "v2", &as_image);
    world.fake.judge(&as_index, &[&hidden]);
    for tag in ["v1", "v2"] {
        assert_eq!(world.manifest(APP, tag).await.status, 200);
    }
    assert_eq!(world.manifest(APP, Digest::of(&hidden)).await.status, 403);
    assert_eq!(world.blob(APP, &layer).await.status, 403);
}

#[tokio::test]
async fn nothing_passes_through_a_nested_index_that_is_revoked() {
    let world = World::start().await;
    let (image, _, layer) = world.image(APP, "image");
    let inner = world.index(APP, OCI_MANIFEST, &[&image]);
    let top = world.index(APP, OCI_INDEX, &[&inner]);
    world.fake.sign(APP, "v1", &top);
    world.fake.judge(&top, &[&image]);
    assert_eq!(world.manifest(APP, "v1").await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&image)).await.status, 200);
    assert_eq!(world.blob(APP, &layer).await.status, 200);
    world.fake.revoke(&Digest::of(&inner));
    for got in [
        world.manifest(APP, Digest::of(&inner)).await,
        world.manifest(APP, Digest::of(&image)).await,
        world.blob(APP, &layer).await,
    ] {
        assert_eq!((got.status, got.error()["message"].as_str()), (403, Some("revoked: leaked key")));
    }
    // By a way that is not revoked it passes, also one that is not read yet.
    let other = world.index(APP, OCI_MANIFEST, &[&image]);
    let other = String::from_utf8(other).unwrap().replacen('{', "{\"annotations\":{\"a\":\"b\"},", 1).into_bytes();
    world.upstream.hold(APP, "manifests", &other);
    world.fake.sign(APP, "v2", &other);
    world.fake.judge(&other, &[&image]);
    assert_eq!(world.manifest(APP, "v2").await.status, 200);
    assert_eq!(world.manifest(APP, Digest::of(&image)).await.body, image);
}
