//! Logins, pushes, referrers and ways around, with a real registry and real clients.

mod gate_registry_world;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gate_registry_world::*;
use serde_json::json;
use trust_image::Digest;
use trust_tests::stack::engine::{self, Engine};
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::scene::{ask, assert_exit};
use trust_tests::stack::{Process, run, tool, tools_dir};

/// `skopeo copy`, with a login from this file.
fn copy(from: &str, to: &str, authfile: &Path) -> Output {
    let mut command = Command::new(tool("skopeo").expect("skopeo is missing: run tests/tools/fetch.sh"));
    command.args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--retry-times", "0"]);
    command.args(["--src-tls-verify=false", "--dest-tls-verify=false", "--authfile"]).arg(authfile);
    run(command.args([from, to])).unwrap()
}

fn layout(image: &Image) -> String {
    format!("oci:{}:image", image.layout.display())
}

#[test]
fn g39_g37_logins_and_pushes_pass_to_a_real_registry_and_open_nothing() {
    let world = World::start();
    let guarded = Guarded::start(&world);
    let options = GateOptions {
        upstream: guarded.address.clone(),
        registry: "login = \"pass\"\npush = true\ncatalog = true\n".to_owned(),
        ..world.options("guarded")
    };
    let gate = world.launch(&options);
    let file = |name: &str| world.dir.path().join(name);
    let (nobody, alice) = (file("nobody.json"), file("alice.json"));
    fs::write(&nobody, "{}").unwrap();
    let signed = format!("docker://{}/demo/app:v0", gate.address);
    let out = |name: &str| format!("dir:{}", file(name).display());

    // Who is not let in there gets nothing here, also after others had it.
    let denied = copy(&signed, &out("denied"), &nobody);
    assert!(!denied.status.success() && said(&denied).contains("unauthorized"), "{}", said(&denied));
    assert!(!login(&gate, USER, "wrong", &alice).status.success());
    let entered = login(&gate, USER, PASSWORD, &alice);
    assert!(entered.status.success(), "{}", said(&entered));
    let got = copy(&signed, &out("signed"), &alice);
    assert!(got.status.success(), "{}", said(&got));
    assert_eq!(manifest_in(&file("signed")), world.scene.image.digest);
    assert!(!copy(&signed, &out("denied"), &nobody).status.success());
    for path in ["app/manifests/v0", "app/tags/list"] {
        let answer = get(&gate, path);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Basic realm=\"guarded\"")),
            "{path}"
        );
    }
    assert_eq!(ask(&gate.address, "GET", "/v2/_catalog", &[]).unwrap().status, 401);

    // What is pushed through the gate is whole at the registry, and comes only when it is signed.
    let image = images::index(&file("pushed"), "pushed", &[]).unwrap();
    let target = format!("docker://{}/demo/app:pushed", gate.address);
    assert!(!copy(&layout(&image), &target, &nobody).status.success(), "nobody pushes without a login");
    assert_eq!(world.upstream("/v2/demo/app/manifests/pushed").status, 404);
    let push = copy(&layout(&image), &target, &alice);
    assert!(push.status.success(), "{}", said(&push));
    assert_eq!(Digest::of(&world.upstream("/v2/demo/app/manifests/pushed").body).to_string(), image.digest);
    let pull = copy(&target, &out("pulled"), &alice);
    assert!(!pull.status.success() && said(&pull).contains("not signed"), "{}", said(&pull));
    world.sign(&image, "app:pushed");
    assert!(comes(|| copy(&target, &out("pulled"), &alice).status.success()));
    assert_eq!(manifest_in(&file("pulled")), image.digest);

    // A copy within one registry asks for mounts: they become uploads.
    let mounted = copy(&signed, &format!("docker://{}/demo/copy:v0", gate.address), &alice);
    assert!(mounted.status.success(), "{}", said(&mounted));
    assert_eq!(world.upstream("/v2/demo/copy/manifests/v0").status, 200);
    let blob = world.upstream("/v2/demo/copy/manifests/v0").json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let basic = "Basic YWxpY2U6VSpVKlU=";
    let through = |path: &str| ask(&gate.address, "GET", path, &[("authorization", basic)]).unwrap();
    assert_eq!(through(&format!("/v2/demo/copy/blobs/{blob}")).status, 404);
    assert_eq!(through("/v2/demo/copy/manifests/v0").status, 403);
    let all = through("/v2/_catalog");
    assert_eq!((all.status, all.json()["repositories"].clone()), (200, json!(["demo/app"])));
}

/// An artifact that refers to this, pushed past the gate.
fn attach(registry: &str, name: &str, subject: &[u8], config: &str, tag: Option<&str>) -> Vec<u8> {
    upload(registry, name, b"{}");
    let content = format!("a list of parts, {config}").into_bytes();
    upload(registry, name, &content);
    let descriptor = |kind: &str, content: &[u8]| json!({ "mediaType": kind, "digest": Digest::of(content).to_string(), "size": content.len() });
    let body = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json",
        "config": descriptor(config, b"{}"), "layers": [descriptor("application/spdx+json", &content)],
        "subject": descriptor(MANIFEST, subject) });
    let manifest = serde_json::to_vec(&body).unwrap();
    let reference = tag.map_or_else(|| Digest::of(&manifest).to_string(), str::to_owned);
    put(registry, &format!("/v2/{name}/manifests/{reference}"), MANIFEST, &manifest);
    manifest
}

#[test]
fn g31_g32_referrers_of_a_registry_that_has_no_route_for_them() {
    let world = World::start();
    let registry = world.scene.stack.registry.clone();
    let gate = world.launch(&world.options("referrers"));
    let subject = world.upstream("/v2/demo/app/manifests/v0").body;
    let (digest, empty) = (Digest::of(&subject), "application/vnd.oci.empty.v1+json");
    let route = format!("app/referrers/{digest}");
    let none = get(&gate, &route);
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));

    let sbom = attach(&registry, "demo/app", &subject, empty, None);
    let runnable = attach(&registry, "demo/app", &subject, "application/vnd.oci.image.config.v1+json", None);
    let entry = |m: &[u8]| json!({ "mediaType": MANIFEST, "digest": Digest::of(m).to_string(), "size": m.len() });
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(&sbom), entry(&runnable)] });
    let tag = format!("sha256-{}", digest.hex());
    put(&registry, &format!("/v2/demo/app/manifests/{tag}"), INDEX, &serde_json::to_vec(&list).unwrap());
    for path in [route.clone(), format!("app/manifests/{tag}"), format!("{route}?artifactType=application/spdx%2Bjson")]
    {
        let got = get(&gate, &path).json();
        let listed = got["manifests"].as_array().unwrap();
        assert_eq!((listed.len(), listed[0]["digest"].clone()), (1, json!(Digest::of(&sbom).to_string())), "{path}");
        assert_eq!(listed[0]["artifactType"], "application/spdx+json");
    }
    assert_eq!(by(&gate, &Digest::of(&sbom).to_string()).body, sbom);
    let content =
        serde_json::from_slice::<serde_json::Value>(&sbom).unwrap()["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(get(&gate, &format!("app/blobs/{content}")).status, 200);
    assert_denied(&by(&gate, &Digest::of(&runnable).to_string()), "not signed");

    // The tags of signing tools: an artifact comes, an image in its place does not.
    attach(&registry, "demo/app", &subject, empty, Some(&format!("{tag}.att")));
    assert_eq!(by(&gate, &format!("{tag}.att")).status, 200);
    let evil = world.single("evil", &[]);
    world.push(&evil, &format!("app:{tag}.sig"));
    assert_eq!(world.upstream(&format!("/v2/demo/app/manifests/{tag}.sig")).status, 200);
    assert_denied(&by(&gate, &format!("{tag}.sig")), "could be run");
    let copied = skopeo(&gate, &format!("app:{tag}.sig"), &world.dir.path().join("evil"));
    assert!(!copied.status.success() && said(&copied).contains("denied"), "{}", said(&copied));
    assert_denied(&by(&gate, &evil.digest), "not signed");
}

#[test]
fn g35_g16_the_label_of_each_images_config_decides_and_no_annotation_weakens_it() {
    let world = World::start();
    let label = [("com.example.data", "PII")];
    let index = images::index(&world.dir.path().join("index"), "payroll", &label).unwrap();
    // The index says of itself that it is public.
    let blobs = index.layout.join("blobs").join("sha256");
    let content = fs::read(blobs.join(index.digest.trim_start_matches("sha256:"))).unwrap();
    let mut body: serde_json::Value = serde_json::from_slice(&content).unwrap();
    body["annotations"] = json!({ "com.example.data": "public" });
    for entry in body["manifests"].as_array_mut().unwrap() {
        entry["annotations"] = json!({ "com.example.data": "public" });
    }
    world.push(&index, "app:plain");
    let content = serde_json::to_vec(&body).unwrap();
    let digest = Digest::of(&content).to_string();
    put(&world.scene.stack.registry, "/v2/demo/app/manifests/payroll", INDEX, &content);
    let reference = format!("{}/app:payroll@{digest}", world.scene.collection);
    assert_exit(&run(world.scene.alice.trust().args(["sign", &reference])).unwrap(), 0, "sign");

    let policy = world.policy();
    let collections = vec![world.scene.collection.clone(), policy.clone()];
    let gate = world.launch(&GateOptions { policy: Some(policy), collections, ..world.options("labels") });
    for reference in ["payroll", digest.as_str()] {
        assert!(comes(|| error(&by(&gate, reference)).1.contains("PII")), "{:?}", error(&by(&gate, reference)));
        assert_denied(&by(&gate, reference), "PII");
    }
    for entry in body["manifests"].as_array().unwrap() {
        let child = entry["digest"].as_str().unwrap();
        let manifest = world.upstream(&format!("/v2/demo/app/manifests/{child}")).json();
        assert_eq!(by(&gate, child).status, 403, "each image of it");
        for blob in [&manifest["config"]["digest"], &manifest["layers"][0]["digest"]] {
            let status = get(&gate, &format!("app/blobs/{}", blob.as_str().unwrap())).status;
            assert!(matches!(status, 403 | 404), "{status}");
        }
    }
}

#[test]
fn g38_a_rewritten_place_has_no_way_around_and_a_mirror_has_one() {
    let world = World::start();
    let unsigned = world.single("unsigned", &[]);
    world.push(&unsigned, "app:unsigned");
    let gate = world.launch(&world.options("place"));
    let (gate_at, registry) = (&gate.address, &world.scene.stack.registry);
    let pull = |name: &str, conf: &str, tag: &str| {
        let conf_file = world.dir.path().join(format!("{name}.conf"));
        fs::write(&conf_file, conf).unwrap();
        let mut command = Command::new(tool("skopeo").expect("skopeo is missing: run tests/tools/fetch.sh"));
        command.arg("--registries-conf").arg(&conf_file).args(["--insecure-policy", "copy", "--retry-times", "0"]);
        command.arg(format!("docker://registry.example.test/demo/app:{tag}"));
        run(command.arg(format!("dir:{}", world.dir.path().join(format!("{name}-{tag}")).display()))).unwrap()
    };
    // As docs/gates.md says it.
    let rewritten =
        format!("[[registry]]\nprefix = \"registry.example.test\"\nlocation = \"{gate_at}\"\ninsecure = true\n");
    let got = pull("rewritten", &rewritten, "v0");
    assert!(got.status.success(), "{}", said(&got));
    let denied = pull("rewritten", &rewritten, "unsigned");
    assert!(!denied.status.success() && said(&denied).contains("not signed"), "{}", said(&denied));
    // What it warns of: clients pass by a mirror that says no.
    let mirror = format!(
        "[[registry]]\nprefix = \"registry.example.test\"\nlocation = \"{registry}\"\ninsecure = true\n\n[[registry.mirror]]\nlocation = \"{gate_at}\"\ninsecure = true\n"
    );
    let around = pull("mirror", &mirror, "unsigned");
    assert!(around.status.success(), "if clients stay with a mirror now, docs/gates.md can say so: {}", said(&around));
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gates.md")).unwrap();
    for words in ["A mirror is not a gate", "hosts.toml", "registry-mirrors", "registries.conf"] {
        assert!(docs.contains(words), "docs/gates.md says nothing of {words}");
    }
}

#[test]
fn docker_pulls_what_is_signed_through_the_gate_and_says_why_it_may_not_have_the_rest() {
    if !engine::is_available("docker_pulls_through_the_gate") {
        return;
    }
    let world = World::start();
    let unsigned = world.single("unsigned", &[]);
    world.push(&unsigned, "app:unsigned");
    let multi = images::index(&world.dir.path().join("multi"), "multi", &[]).unwrap();
    world.publish(&multi, "app:multi");
    let gate: Gate = world.launch(&world.options("docker"));
    let engine = Engine::start(&world.dir.path().join("engine")).unwrap();
    engine.expose(&gate.address).unwrap();
    let image = |tag: &str| format!("{}/demo/app{tag}", gate.address);
    for (tag, digest) in [(":v0", &world.scene.image.digest), (":multi", &multi.digest)] {
        assert!(comes(|| by(&gate, digest).status == 200));
        let pull = run(engine.docker().args(["pull", &image(tag)])).unwrap();
        assert_exit(&pull, 0, "docker pull");
        assert!(String::from_utf8_lossy(&pull.stdout).contains(digest.as_str()), "{pull:?}");
    }
    assert_exit(&run(engine.docker().args(["create", &image(":v0"), "/x"])).unwrap(), 0, "docker create");
    for tag in [":unsigned".to_owned(), format!("@{}", unsigned.digest)] {
        let pull = run(engine.docker().args(["pull", &image(&tag)])).unwrap();
        assert!(!pull.status.success(), "{tag}");
        assert!(said(&pull).contains("denied") && said(&pull).contains("not signed"), "{tag}: {}", said(&pull));
    }
}

#[test]
fn docker_logs_in_and_pushes_through_the_gate_with_its_own_login() {
    if !engine::is_available("docker_logs_in_and_pushes_through_the_gate") {
        return;
    }
    let world = World::start();
    let guarded = Guarded::start(&world);
    let registry = "login = \"pass\"\npush = true\n".to_owned();
    let gate = world.launch(&GateOptions { upstream: guarded.address.clone(), registry, ..world.options("docker") });
    let engine = Engine::start(&world.dir.path().join("engine")).unwrap();
    engine.expose(&gate.address).unwrap();
    let image = |tag: &str| format!("{}/demo/app:{tag}", gate.address);
    let docker = |arguments: &[&str]| run(engine.docker().args(arguments)).unwrap();
    let without = docker(&["pull", &image("v0")]);
    assert!(!without.status.success() && said(&without).contains("no basic auth credentials"), "{}", said(&without));
    let wrong = docker(&["login", "--username", USER, "--password", "wrong", &gate.address]);
    assert!(!wrong.status.success(), "{}", said(&wrong));
    assert_exit(&docker(&["login", "--username", USER, "--password", PASSWORD, &gate.address]), 0, "docker login");
    assert_exit(&docker(&["pull", &image("v0")]), 0, "docker pull");
    assert_exit(&docker(&["tag", &image("v0"), &image("again")]), 0, "docker tag");
    assert_exit(&docker(&["push", &image("again")]), 0, "docker push");
    let held = ask(
        &world.scene.stack.registry,
        "GET",
        "/v2/demo/app/manifests/again",
        &[("accept", "application/vnd.docker.distribution.manifest.v2+json")],
    );
    let held = held.unwrap();
    assert_eq!(held.status, 200);
    let layer = held.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(world.upstream(&format!("/v2/demo/app/blobs/{layer}")).status, 200);
    // It has another digest than the signed one, and so it stays where it is.
    let pull = docker(&["pull", &image("again")]);
    assert!(!pull.status.success() && said(&pull).contains("not signed"), "{}", said(&pull));
}

/// A throw-away containerd with nothing of Kubernetes or of a network in it.
struct Containerd {
    _process: Process,
    socket: std::path::PathBuf,
}

impl Containerd {
    fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("sock"),
            at("ttrpc")
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let mut command = Command::new(tools_dir().join("engine/bin/containerd"));
        command.arg("--config").arg(dir.join("config.toml"));
        let process = Process::start("containerd", &mut command, &dir.join("log")).unwrap();
        let socket = dir.join("sock");
        assert!(comes(|| std::os::unix::net::UnixStream::connect(&socket).is_ok()), "containerd did not start");
        Self { _process: process, socket }
    }

    /// `ctr images pull`, with the hosts of this folder.
    fn pull(&self, hosts: &Path, image: &str) -> Output {
        let mut command = Command::new(tools_dir().join("engine/bin/ctr"));
        command.arg("--address").arg(&self.socket).args(["images", "pull", "--snapshotter", "native", "--hosts-dir"]);
        run(command.arg(hosts).arg(image)).unwrap()
    }
}

#[test]
fn g38_containerd_whose_server_is_the_gate_gets_what_is_signed_and_goes_around_where_the_registry_is_listed() {
    if !engine::is_available("containerd_pulls_through_the_gate") {
        return;
    }
    let world = World::start();
    let unsigned = world.single("unsigned", &[]);
    world.push(&unsigned, "app:unsigned");
    let gate = world.launch(&world.options("containerd"));
    let containerd = Containerd::start(&world.dir.path().join("containerd"));
    let hosts = |name: &str, text: &str| {
        let folder = world.dir.path().join(name).join("registry.example.test");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts.toml"), text).unwrap();
        folder.parent().unwrap().to_owned()
    };
    let image = |tag: &str| format!("registry.example.test/demo/app:{tag}");
    let host = format!("[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", gate.address);
    let alone = hosts("alone", &format!("server = \"http://{}\"\n\n{host}", gate.address));
    let pull = containerd.pull(&alone, &image("v0"));
    assert!(pull.status.success(), "{}", said(&pull));
    let denied = containerd.pull(&alone, &image("unsigned"));
    assert!(!denied.status.success(), "it is denied");
    assert!(said(&denied).contains("403"), "{}", said(&denied));
    // What docs/gates.md warns of: another server behind a host that says no.
    let beside = format!("server = \"http://{}\"\n\n{host}", world.scene.stack.registry);
    let around = containerd.pull(&hosts("beside", &beside), &image("unsigned"));
    assert!(
        around.status.success(),
        "if containerd stays with a host now, docs/gates.md can say so: {}",
        said(&around)
    );
}
