//! The registry gate as a program, between Debian's `docker-registry` and the clients that people use: what is signed and
//! allowed comes, and nothing else does, whatever the registry or the way of asking is.

mod gate_registry_world;

use std::fs;
use std::path::PathBuf;

use gate_registry_world::*;
use serde_json::{Value, json};
use trust_image::Digest;
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::proxy::{Answer, Proxy};
use trust_tests::stack::scene::ask;
use trust_tests::stack::{run, tool};

#[test]
fn what_is_signed_and_allowed_comes_with_skopeo_and_podman_and_all_else_is_denied_with_its_reason() {
    let world = World::start();
    let good = world.single("good", &[("com.example.data", "public")]);
    world.publish(&good, "app:good");
    let payroll = world.single("payroll", &[("com.example.data", "PII")]);
    world.publish(&payroll, "app:payroll");
    let unsigned = world.single("unsigned", &[("com.example.data", "public")]);
    world.push(&unsigned, "app:unsigned");
    let moved = world.single("moved", &[("com.example.data", "public")]);
    world.publish(&good, "app:moved");
    world.push(&moved, "app:moved");

    let policy = world.policy();
    let options = GateOptions { policy: Some(policy.clone()), ..world.options("pii") };
    let options = GateOptions { collections: vec![world.scene.collection.clone(), policy], ..options };
    let gate = world.launch(&options);
    let out = |name: &str| world.dir.path().join(name);

    let with_podman = tool("podman").is_some();
    if !with_podman {
        println!("SKIPPED: what_is_signed_and_allowed_comes_with_podman: podman is missing");
    }

    // The signed one comes, whole, and is the signed one.
    let copy = skopeo(&gate, "app:good", &out("good"));
    assert!(copy.status.success(), "{}", said(&copy));
    assert_eq!(manifest_in(&out("good")), good.digest);
    let pods = out("podman");
    if with_podman {
        let pull = podman(&gate, "app:good", &pods);
        assert!(pull.status.success(), "{}", said(&pull));
        let image = format!("{}/demo/app:good", gate.address);
        let inspect = run(podman_command(&pods).args(["image", "inspect", "--format", "{{.Digest}}", &image])).unwrap();
        assert_eq!(String::from_utf8_lossy(&inspect.stdout).trim(), good.digest, "{}", said(&inspect));
    }

    // A tag that was moved in the registry still means what was signed.
    let copy = skopeo(&gate, "app:moved", &out("moved"));
    assert!(copy.status.success(), "{}", said(&copy));
    assert_eq!(manifest_in(&out("moved")), good.digest);
    assert_ne!(moved.digest, good.digest);

    // Everything else is denied, and people see why.
    let moved = format!("app@{}", moved.digest);
    for (image, words) in [
        ("app:payroll", "com.example.data"),
        ("app:unsigned", "not signed"),
        ("app:nothing", "not signed"),
        (moved.as_str(), "not signed"),
    ] {
        let copy = skopeo(&gate, image, &out("denied"));
        assert!(!copy.status.success() && said(&copy).contains("denied:"), "{image}: {}", said(&copy));
        assert!(said(&copy).contains(words), "{image}: {}", said(&copy));
        if with_podman {
            let pull = podman(&gate, image, &pods);
            assert!(!pull.status.success() && said(&pull).contains(words), "{image}: {}", said(&pull));
        }
    }
    let answer = by(&gate, "payroll");
    assert_denied(&answer, "PII");
    let detail = answer.json()["errors"][0]["detail"].clone();
    assert_eq!(detail["reference"], "payroll");
    assert_eq!(detail["digest"], payroll.digest);
    assert!(detail["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{detail}");
    assert!(detail["policy"].as_str().is_some_and(|policy| policy.contains("/policy v")), "{detail}");
    assert_denied(&by(&gate, &payroll.digest), "PII");

    // The layers of a denied image are denied, and what passed is in the log.
    let manifest = world.upstream(&format!("/v2/demo/app/manifests/{}", payroll.digest)).json();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert!(matches!(get(&gate, &format!("app/blobs/{layer}")).status, 403 | 404));
    let log = fs::read_to_string(gate.dir.join("decisions.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |decision: &str, digest: &str| lines.iter().any(|l| l["decision"] == decision && l["digest"] == digest);
    assert!(has("allow", &good.digest) && has("deny", &payroll.digest) && !has("allow", &payroll.digest));
    assert!(lines.iter().all(|line| line["door"] == "registry"));

    let tags = get(&gate, "app/tags/list").json();
    assert_eq!(tags["tags"], json!(["good", "moved", "payroll", "v0"]));
}

fn g01_unsigned_tag(world: &World, gate: &Gate) {
    world.push(&world.single("g01", &[]), "app:u");
    for method in ["GET", "HEAD"] {
        let answer = ask(&gate.address, method, "/v2/demo/app/manifests/u", &[]).unwrap();
        assert_eq!(answer.status, 403, "{method}");
    }
    assert_denied(&by(gate, "u"), "not signed");
}

fn g02_unsigned_digest_in_a_signed_repository(world: &World, gate: &Gate) {
    let image = world.single("g02", &[]);
    world.push(&image, "app:g02");
    assert_eq!(world.upstream(&format!("/v2/demo/app/manifests/{}", image.digest)).status, 200);
    assert_denied(&by(gate, &image.digest), "not signed");
}

/// The signed index, and its children's digests.
fn g03_child_of_a_signed_index(world: &World, gate: &Gate) -> (Image, Vec<String>) {
    let index = images::index(&world.dir.path().join("g03"), "g03", &[]).unwrap();
    world.publish(&index, "app:multi");
    let listed = world.upstream("/v2/demo/app/manifests/multi").json();
    let entries = listed["manifests"].as_array().unwrap().iter();
    let children: Vec<String> = entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!(children.len(), 2);
    // The gate hears of it with its next refresh.
    assert!(comes(|| by(gate, &children[0]).status == 200), "{:?}", error(&by(gate, &children[0])));
    for child in &children {
        assert_eq!(Digest::of(&by(gate, child).body).to_string(), *child, "before the index was asked for");
    }
    assert_eq!(Digest::of(&by(gate, "multi").body).to_string(), index.digest);
    (index, children)
}

fn g04_child_of_an_unsigned_index(world: &World, gate: &Gate) {
    let index = images::index(&world.dir.path().join("g04"), "g04", &[]).unwrap();
    world.push(&index, "app:unsigned-multi");
    let listed = world.upstream("/v2/demo/app/manifests/unsigned-multi").json();
    for entry in listed["manifests"].as_array().unwrap() {
        assert_denied(&by(gate, entry["digest"].as_str().unwrap()), "not signed");
    }
    assert_denied(&by(gate, &index.digest), "not signed");
}

fn g06_digest_signed_in_another_repository(world: &World, gate: &Gate) {
    let signed = &world.scene.image;
    world.push(signed, "other:v0");
    assert_eq!(world.upstream(&format!("/v2/demo/other/manifests/{}", signed.digest)).status, 200);
    assert_denied(&get(gate, &format!("other/manifests/{}", signed.digest)), "not signed");
    assert_denied(&get(gate, "other/manifests/v0"), "not signed");
    let manifest = world.upstream("/v2/demo/app/manifests/v0").json();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(get(gate, &format!("app/blobs/{layer}")).status, 200);
    assert_eq!(get(gate, &format!("other/blobs/{layer}")).status, 404);
}

fn g07_tag_moved_in_the_registry(world: &World, gate: &Gate) {
    let other = world.single("g07", &[]);
    world.push(&other, "app:v0");
    let held = world.upstream("/v2/demo/app/manifests/v0");
    assert_eq!(Digest::of(&held.body).to_string(), other.digest);
    assert_eq!(Digest::of(&by(gate, "v0").body).to_string(), world.scene.image.digest);
}

#[test]
fn g01_to_g07_with_a_real_registry_and_a_gate_that_is_started_again() {
    let world = World::start();
    let gate = world.launch(&world.options("real"));
    g01_unsigned_tag(&world, &gate);
    g02_unsigned_digest_in_a_signed_repository(&world, &gate);
    let (index, children) = g03_child_of_a_signed_index(&world, &gate);
    g04_child_of_an_unsigned_index(&world, &gate);
    g06_digest_signed_in_another_repository(&world, &gate);
    g07_tag_moved_in_the_registry(&world, &gate);
    for text in ["team%2Fapp", "app%252F", "App", "app/../app", "app;x"] {
        assert!(matches!(get(&gate, &format!("{text}/manifests/v0")).status, 400 | 403 | 404), "{text}");
    }
    assert_eq!(by(&gate, &world.scene.image.digest.replace(':', "%3A")).status, 200);

    // G03 goes on after a restart: the first thing asked for is a layer, then a child.
    let folder: PathBuf = gate.dir.clone();
    drop(gate);
    let child = world.upstream(&format!("/v2/demo/app/manifests/{}", children[1])).json();
    let layer = child["layers"][0]["digest"].as_str().unwrap().to_owned();
    let gate = Gate::start(&folder, "registry").unwrap();
    let answer = get(&gate, &format!("app/blobs/{layer}"));
    assert_eq!((answer.status, Digest::of(&answer.body).to_string()), (200, layer.clone()));
    drop(gate);
    let gate = Gate::start(&folder, "registry").unwrap();
    assert_eq!(by(&gate, &children[0]).status, 200);
    let part = ask(&gate.address, "GET", &format!("/v2/demo/app/blobs/{layer}"), &[("range", "bytes=1-3")]).unwrap();
    assert_eq!((part.status, part.body.len()), (206, 3));
    let copy = skopeo(&gate, "app:multi", &world.dir.path().join("multi"));
    assert!(copy.status.success(), "{}", said(&copy));
    assert_eq!(manifest_in(&world.dir.path().join("multi")), index.digest);
    let push =
        run(images::push_command(&index, &format!("{}/demo/app:pushed", gate.address)).as_mut().unwrap()).unwrap();
    assert!(!push.status.success(), "nothing is pushed through the gate");
    assert_eq!(world.upstream("/v2/demo/app/manifests/pushed").status, 404);
}

/// An index that nests `levels` deep above this manifest.
fn nested(manifest: &[u8], levels: usize) -> Vec<Vec<u8>> {
    let mut all = vec![manifest.to_vec()];
    for level in 0..levels {
        let below = all.last().unwrap();
        let kind = if level == 0 { MANIFEST } else { INDEX };
        let entry = json!({ "mediaType": kind, "digest": Digest::of(below).to_string(), "size": below.len() });
        let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        all.push(serde_json::to_vec(&body).unwrap());
    }
    all
}

#[test]
fn g05_and_g08_to_g10_with_a_registry_behind_a_lying_middle_man() {
    let world = World::start();
    let signed = world.scene.image.digest.clone();
    let proxy = Proxy::start(&world.scene.stack.registry).unwrap();
    let options = GateOptions { upstream: proxy.address().to_owned(), ..world.options("lied-to") };
    let folder = Gate::prepare(&world.scene.stack, &world.scene.alice, &options).unwrap();
    let honest = world.upstream("/v2/demo/app/manifests/v0");
    let path = format!("/v2/demo/app/manifests/{signed}");

    let mut other = honest.body.clone();
    *other.last_mut().unwrap() = b' ';
    let cut = honest.body[..honest.body.len() - 1].to_vec();
    let long = [honest.body.clone(), b"\n".to_vec()].concat();
    let named = |answer: Answer| answer.header("docker-content-digest", &signed).header("content-type", MANIFEST);
    let lies = [
        ("g08", named(Answer::ok(other.clone()))),
        ("g09", named(Answer::ok(other.clone())).header("etag", &format!("\"{signed}\""))),
        ("g10 cut", named(Answer::ok(cut))),
        ("g10 long", named(Answer::ok(long))),
        ("g10 encoded", named(Answer::ok(honest.body.clone())).header("content-encoding", "gzip")),
        ("redirected", Answer::status(307).header("location", "/v2/demo/app/manifests/u")),
        ("down", Answer::status(500)),
    ];
    for (name, lie) in lies {
        // What is wrong is remembered for some seconds: a new gate for each.
        let gate = Gate::start(&folder, "registry").unwrap();
        proxy.answer(&path, lie.clone());
        // A middle man that knows what is asked by tag: it never is.
        proxy.answer("/v2/demo/app/manifests/v0", Answer::ok(other.clone()));
        for reference in ["v0", &signed] {
            let answer = by(&gate, reference);
            assert!(matches!(answer.status, 502 | 503), "{name}: {} {:?}", answer.status, error(&answer));
            let head = ask(&gate.address, "HEAD", &format!("/v2/demo/app/manifests/{reference}"), &[]).unwrap();
            assert_eq!(head.status, answer.status, "{name}");
        }
        let copy = skopeo(&gate, "app:v0", &world.dir.path().join("lie"));
        assert!(!copy.status.success(), "{name}");
        proxy.honest();
    }
    let tags =
        proxy.take_requests().into_iter().filter(|line| line.contains("/manifests/") && !line.contains("sha256:"));
    assert_eq!(tags.count(), 0, "a tag is never asked of the registry");

    // A blob with other bytes never ends well.
    let gate = Gate::start(&folder, "registry").unwrap();
    assert_eq!(by(&gate, "v0").body, honest.body);
    let layer = honest.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let content = world.upstream(&format!("/v2/demo/app/blobs/{layer}")).body;
    let mut changed = content.clone();
    changed[0] ^= 1;
    proxy.answer(&format!("/v2/demo/app/blobs/{layer}"), Answer::ok(changed));
    assert!(ask(&gate.address, "GET", &format!("/v2/demo/app/blobs/{layer}"), &[]).is_err(), "the answer is cut");
    let copy = skopeo(&gate, "app:v0", &world.dir.path().join("changed"));
    assert!(!copy.status.success());
    proxy.honest();
    assert_eq!(get(&gate, &format!("app/blobs/{layer}")).body, content);

    // G05: an index of indexes, five deep, in the real registry. It is signed by hand of a client that looks less closely.
    let deep = nested(&honest.body, 5);
    for content in deep.iter().skip(1) {
        put(&world.scene.stack.registry, &format!("/v2/demo/app/manifests/{}", Digest::of(content)), INDEX, content);
    }
    let top = Digest::of(deep.last().unwrap()).to_string();
    let sign =
        run(world.scene.alice.trust().args(["sign", &format!("{}/app:deep@{top}", world.scene.collection)])).unwrap();
    assert!(!sign.status.success(), "what nests too deep is not even signed");
    assert_eq!(by(&gate, &top).status, 403);
    assert_eq!(by(&gate, "deep").status, 403);
}
