//! The ways around a gate, by their numbers, with Debian's `docker-registry` behind it: what the registry itself would hand out is in
//! each case looked at too, so that a denial is the gate's.

mod gate_registry_world;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gate_registry_world::*;
use serde_json::{Value, json};
use trust_image::Digest;
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images;
use trust_tests::stack::proxy::Proxy;
use trust_tests::stack::run;
use trust_tests::stack::scene::{HttpAnswer, ask, assert_exit};

fn layers(manifest: &Value) -> Vec<String> {
    let parts = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    parts.map(|part| part["digest"].as_str().unwrap().to_owned()).collect()
}

fn with(gate: &Gate, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    ask(&gate.address, method, &format!("/v2/demo/{path}"), headers).unwrap()
}

/// Bytes as they are; all that came until the gate closed.
fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn g11_g12_g13_every_way_to_ask(world: &World, gate: &Gate) {
    let index = images::index(&world.dir.path().join("kinds"), "kinds", &[]).unwrap();
    world.publish(&index, "app:kinds");
    assert!(comes(|| by(gate, "kinds").status == 200));
    let first = by(gate, "kinds");
    assert_eq!(first.header("content-type"), Some(INDEX));
    // What the registry does with less than the whole list of kinds: something else than what was signed.
    let old = [("accept", "application/vnd.docker.distribution.manifest.v1+json")];
    assert_ne!(ask(&world.scene.stack.registry, "GET", "/v2/demo/app/manifests/kinds", &old).unwrap().body, first.body);
    for accept in ["*/*", "text/html", old[0].1, "application/vnd.oci.image.index.v1+json;q=0"] {
        for method in ["GET", "HEAD"] {
            let got = with(gate, method, "app/manifests/kinds", &[("accept", accept)]);
            assert_eq!(
                (got.status, got.header("docker-content-digest")),
                (200, Some(index.digest.as_str())),
                "{accept}"
            );
            assert_eq!(got.header("content-length"), first.header("content-length"));
            assert!(method == "HEAD" || got.body == first.body);
        }
    }
}

fn g17_g18_g19_blobs_and_manifests_of_others(world: &World, gate: &Gate) {
    let unsigned = world.single("unsigned", &[]);
    world.push(&unsigned, "app:unsigned");
    let other = world.single("other", &[]);
    world.publish(&other, "second:v1");
    // What the registry itself holds under `demo/app`, of an image that is signed elsewhere.
    world.push(&other, "app:other");
    assert!(comes(|| get(gate, "second/manifests/v1").status == 200));
    for image in [&unsigned, &other] {
        let manifest = world.upstream(&format!("/v2/demo/app/manifests/{}", image.digest)).json();
        for blob in layers(&manifest) {
            assert_eq!(world.upstream(&format!("/v2/demo/app/blobs/{blob}")).status, 200);
            for method in ["GET", "HEAD"] {
                assert_eq!(with(gate, method, &format!("app/blobs/{blob}"), &[]).status, 404, "{blob}");
            }
        }
        assert_denied(&by(gate, &image.digest), "not signed");
    }
    let signed = world.scene.image.digest.clone();
    let config = world.upstream("/v2/demo/app/manifests/v0").json()["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(get(gate, &format!("app/blobs/{signed}")).status, 404);
    assert_eq!(by(gate, &config).status, 403);
    assert_eq!(get(gate, &format!("app/blobs/{config}")).status, 200);
}

fn g21_g22_g23_g24_tricks_with_requests(world: &World, gate: &Gate) {
    let registry = &world.scene.stack.registry;
    let signed = world.scene.image.digest.clone();
    let plain = by(gate, "v0").body;
    // The registry takes the encoded slash; so does the gate, once, and for what is signed alone.
    assert_eq!(ask(registry, "GET", "/v2/demo%2Fapp/manifests/unsigned", &[("accept", MANIFEST)]).unwrap().status, 200);
    assert_eq!(ask(&gate.address, "GET", "/v2/demo%2Fapp/manifests/unsigned", &[]).unwrap().status, 403);
    assert_eq!(ask(&gate.address, "GET", "/v2/demo%2Fapp/manifests/v0", &[]).unwrap().body, plain);
    for path in [
        "demo//app",
        "demo/./app",
        "demo/x/../app",
        "Demo/app",
        "demo/app;x",
        "demo%252Fapp",
        "demo/app%00",
        "demo/app\\x",
    ] {
        for reference in ["unsigned", "v0", signed.as_str()] {
            let text = raw(
                &gate.address,
                &format!("GET /v2/{path}/manifests/{reference} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n"),
            );
            let status = text.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "403", "404"].contains(&status), "{path}/{reference}: {text}");
        }
    }
    let hex = signed.trim_start_matches("sha256:");
    assert_eq!(by(gate, &format!("sha256%3A{hex}")).body, plain);
    for digest in [hex.to_uppercase(), format!("{hex}0"), hex.get(1..).unwrap().to_owned()] {
        assert_eq!(by(gate, &format!("sha256:{digest}")).status, 400, "{digest}");
    }
    for query in ["ns=evil.example.com", "digest=x", "ns=a&ns=b"] {
        assert_eq!(by(gate, &format!("v0?{query}")).body, plain, "{query}");
        assert_eq!(by(gate, &format!("unsigned?{query}")).status, 403, "{query}");
    }
    for head in [
        "GET http://evil.example.com/v2/demo/app/manifests/REF HTTP/1.1\r\nhost: evil.example.com",
        "GET /v2/demo/app/manifests/REF HTTP/1.1\r\nhost: evil.example.com\r\nx-forwarded-host: evil.example.com",
        "GET /v2/demo/app/manifests/REF HTTP/1.1\r\nhost: gate\r\nx-http-method-override: PUT",
    ] {
        for (reference, status) in [("v0", "200"), ("unsigned", "403")] {
            let text = raw(&gate.address, &format!("{}\r\nconnection: close\r\n\r\n", head.replace("REF", reference)));
            assert_eq!(text.split(' ').nth(1), Some(status), "{head}: {text}");
        }
    }
}

fn g25_two_lengths(gate: &Gate) {
    let second = "GET /v2/demo/app/manifests/v0 HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n";
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "content-length: 1\r\ncontent-length: 2",
    ] {
        let text =
            raw(&gate.address, &format!("GET /v2/ HTTP/1.1\r\nhost: gate\r\n{lengths}\r\n\r\n0\r\n\r\n{second}"));
        assert!(text.starts_with("HTTP/1.1 400") && text.matches("HTTP/1.1 ").count() == 1, "{lengths}: {text}");
    }
}

fn g27_g34_ranges_and_sizes(world: &World, gate: &Gate) {
    let manifest = by(gate, "v0");
    assert_eq!(with(gate, "GET", "app/manifests/v0", &[("range", "bytes=0-1")]).body, manifest.body);
    let layer = layers(&manifest.json()).remove(0);
    let whole = world.upstream(&format!("/v2/demo/app/blobs/{layer}")).body;
    let part = with(gate, "GET", &format!("app/blobs/{layer}"), &[("range", "bytes=5-9")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole[5..10]));
    assert_eq!(with(gate, "GET", &format!("app/blobs/{layer}"), &[("range", "bytes=0-1,3-4")]).body, whole);
    assert_eq!(
        with(gate, "GET", &format!("app/blobs/{layer}"), &[("range", &format!("bytes={}-", whole.len()))]).status,
        416
    );
    // A config that says of itself that it is two gigabytes: the registry takes it, signing does not, and so nobody gets it.
    let text = String::from_utf8(manifest.body.clone()).unwrap();
    let size = manifest.json()["config"]["size"].to_string();
    let huge = text.replacen(&format!("\"size\":{size}"), "\"size\":2147483648", 1);
    assert_ne!(huge, text);
    put(&world.scene.stack.registry, "/v2/demo/app/manifests/huge", MANIFEST, huge.as_bytes());
    let reference = format!("{}/app:huge@{}", world.scene.collection, Digest::of(huge.as_bytes()));
    assert!(!run(world.scene.alice.trust().args(["sign", &reference])).unwrap().status.success());
    assert_eq!(by(gate, "huge").status, 403);
}

fn g14_g15_documents_with_two_meanings(world: &World, gate: &Gate) {
    let plain = String::from_utf8(by(gate, "v0").body).unwrap();
    let twice = plain.replacen('{', "{\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:00\",\"size\":1},", 1);
    let path = "/v2/demo/app/manifests/twice";
    let stored = send(&world.scene.stack.registry, "PUT", path, &[("content-type", MANIFEST)], twice.as_bytes());
    assert_eq!(stored.status, 201, "the registry takes a document with a member twice");
    let reference = format!("{}/app:twice@{}", world.scene.collection, Digest::of(twice.as_bytes()));
    assert!(
        !run(world.scene.alice.trust().args(["sign", &reference])).unwrap().status.success(),
        "it is not even signed"
    );
    for reference in ["twice".to_owned(), Digest::of(twice.as_bytes()).to_string()] {
        assert_eq!(by(gate, &reference).status, 403);
    }
}

fn g31_g40_names_and_lists(world: &World, gate: &Gate) {
    let held: BTreeSet<String> = world.upstream("/v2/demo/app/tags/list").json()["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect();
    assert!(held.contains("unsigned") && held.contains("twice"));
    assert_eq!(get(gate, "app/tags/list").json()["tags"], json!(["kinds", "v0"]));
    assert_eq!(ask(&gate.address, "GET", "/v2/_catalog", &[]).unwrap().status, 403);
    assert_eq!(world.upstream("/v2/_catalog").status, 200);
    for name in ["Demo/app", "demo/App"] {
        assert_eq!(ask(&gate.address, "GET", &format!("/v2/{name}/manifests/v0"), &[]).unwrap().status, 400);
    }
}

fn g29_what_is_revoked_after_it_was_served(world: &World, gate: &Gate) {
    let image = world.single("revoked", &[]);
    world.publish(&image, "app:revoked");
    assert!(comes(|| by(gate, "revoked").status == 200));
    let blobs = layers(&by(gate, &image.digest).json());
    assert_eq!(get(gate, &format!("app/blobs/{}", blobs[0])).status, 200);
    let name = format!("{}/app", world.scene.collection);
    let reference = format!("{name}@{}", image.digest);
    let revoke =
        run(world.scene.alice.trust().args(["revoke", &reference, "--reason", "leaked", "--confirm", &name])).unwrap();
    assert_exit(&revoke, 0, "revoke");
    assert!(comes(|| by(gate, "revoked").status == 403), "within a refresh");
    assert_denied(&by(gate, &image.digest), "revoked");
    for blob in &blobs {
        assert!(matches!(get(gate, &format!("app/blobs/{blob}")).status, 403 | 404));
    }
}

#[test]
fn g11_to_g40_with_a_real_registry() {
    let world = World::start();
    let gate = world.launch(&world.options("real"));
    g11_g12_g13_every_way_to_ask(&world, &gate);
    g17_g18_g19_blobs_and_manifests_of_others(&world, &gate);
    g21_g22_g23_g24_tricks_with_requests(&world, &gate);
    g25_two_lengths(&gate);
    g27_g34_ranges_and_sizes(&world, &gate);
    g14_g15_documents_with_two_meanings(&world, &gate);
    g31_g40_names_and_lists(&world, &gate);
    g29_what_is_revoked_after_it_was_served(&world, &gate);
}

#[test]
fn g30_two_hundred_first_requests_at_one_time_are_one_fetch() {
    let world = World::start();
    let proxy = Proxy::start(&world.scene.stack.registry).unwrap();
    let gate = world.launch(&GateOptions { upstream: proxy.address().to_owned(), ..world.options("flight") });
    proxy.take_requests();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200).map(|_| scope.spawn(|| by(&gate, "v0"))).collect();
        for client in clients {
            let answer = client.join().unwrap();
            assert_eq!(Digest::of(&answer.body).to_string(), world.scene.image.digest);
        }
    });
    assert_eq!(proxy.take_requests().len(), 1);
}

#[test]
fn g36_g28_without_the_registry_what_is_in_memory_comes_until_the_trust_data_is_too_old() {
    let mut world = World::start();
    let options = GateOptions { max_staleness: "4s".to_owned(), ..world.options("away") };
    let gate = world.launch(&options);
    assert_eq!(by(&gate, "v0").status, 200);
    let layer = layers(&by(&gate, "v0").json()).remove(0);
    world.scene.stack.registry_process.take().unwrap().kill();
    for reference in ["v0", world.scene.image.digest.as_str()] {
        assert_eq!(by(&gate, reference).status, 200);
    }
    let answer = get(&gate, &format!("app/blobs/{layer}"));
    assert_eq!((answer.status, error(&answer).0.as_str()), (503, "UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some());
    world.scene.stack.server.take().unwrap().kill();
    assert!(comes(|| by(&gate, "v0").status == 403), "the trust data is too old");
    for path in [
        format!("app/manifests/{}", world.scene.image.digest),
        format!("app/blobs/{layer}"),
        "app/tags/list".to_owned(),
    ] {
        let (code, message) = error(&get(&gate, &path));
        assert!(code == "DENIED" && !message.contains("not signed"), "{path}: {message}");
    }
}
