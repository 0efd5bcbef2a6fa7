//! A real Docker Engine, Debian's, that asks the authorization plugin: what is signed and allowed comes and runs, and nothing else
//! does, however it is named and however the request is made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_tests::stack::engine::{self, Engine, exchange};
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::images::{self, Image};
use trust_tests::stack::scene::{HttpAnswer, Scene, assert_exit};
use trust_tests::stack::{Options, run};

/// An engine reads the first and shows a plugin the last.
const FORM_AND_TEXT: [(&str, &str); 2] =
    [("content-type", "application/x-www-form-urlencoded"), ("content-type", "text/plain")];

/// A stack, an engine that had an unsigned image before the plugin came, and the plugin.
struct World {
    engine: Engine,
    gate: Gate,
    scene: Scene,
    evil: Image,
    dir: tempfile::TempDir,
}

impl World {
    /// `before` happens on the engine without the plugin; `section` is what stands in `[docker]` beside the sockets.
    fn start(name: &str, section: &str, before: impl FnOnce(&Engine, &Scene)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), name, Options::default());
        let evil = images::single(&dir.path().join("evil"), "evil", &[]).unwrap();
        images::push(&evil, &format!("{}/app:unsigned", scene.collection)).unwrap();
        let folder = dir.path().join("engine");
        let engine = Engine::start(&folder).unwrap();
        engine.expose(&scene.stack.registry).unwrap();
        before(&engine, &scene);
        drop(engine);
        let gate = start_gate(&scene, dir.path(), section);
        let engine = Engine::start_with(&folder, &[("trustgate", &plugin(dir.path()))]).unwrap();
        engine.expose(&scene.stack.registry).unwrap();
        Self { engine, gate, scene, evil, dir }
    }

    fn pinned(&self) -> String {
        format!("{}/app@{}", self.scene.collection, self.scene.image.digest)
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        run(self.engine.docker().args(arguments)).unwrap()
    }

    #[track_caller]
    fn allowed(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert_exit(&output, 0, &arguments.join(" "));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn denied(&self, arguments: &[&str], words: &str) {
        let output = self.docker(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        let words = ["authorization denied by plugin trustgate: ", words];
        assert!(words.iter().all(|words| said.contains(words)), "{arguments:?}: {said}");
    }

    /// `POST` of JSON to the engine.
    fn post(&self, path: &str, body: &str) -> HttpAnswer {
        self.post_as(path, "application/json", body)
    }

    fn post_as(&self, path: &str, kind: &str, body: &str) -> HttpAnswer {
        self.engine.ask("POST", path, &[("content-type", kind)], body.as_bytes()).unwrap()
    }

    fn containers(&self) -> usize {
        self.allowed(&["ps", "--all", "--quiet"]).lines().count()
    }
}

fn plugin(dir: &Path) -> PathBuf {
    dir.join("plugin/trustgate.sock")
}

fn start_gate(scene: &Scene, dir: &Path, section: &str) -> Gate {
    let (socket, engine) = (plugin(dir), dir.join("engine/engine.sock"));
    let section = format!("\n[docker]\nsocket = '{}'\nengine = '{}'\n{section}\n", socket.display(), engine.display());
    let options = GateOptions { registry: section, ..GateOptions::new("docker", &scene.stack, &[&scene.collection]) };
    Gate::launch(&scene.stack, &scene.alice, "docker", &options).unwrap()
}

/// The message of a denial by the engine, which is a 403.
#[track_caller]
fn message(answer: &HttpAnswer) -> String {
    let text = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer.status, 403, "{text}");
    assert!(text.starts_with("authorization denied by plugin trustgate: "), "{text}");
    text
}

#[test]
fn what_is_signed_comes_and_runs_on_an_engine_and_nothing_else_does_however_it_is_named_or_sent() {
    if !engine::is_available("gate_docker") {
        return;
    }
    let world = World::start("docker", "", |engine, scene| {
        let evil = format!("{}/app:unsigned", scene.collection);
        let docker = |arguments: &[&str]| {
            let output = run(engine.docker().args(arguments)).unwrap();
            assert_exit(&output, 0, &arguments.join(" "));
        };
        // A form in the body wins over the address: this is no theory. It is tried again with the plugin, below.
        let (name, digest) = (format!("{}/app", scene.collection), &scene.image.digest);
        let (address, form) =
            (format!("/images/create?fromImage={name}&tag={digest}"), format!("fromImage={name}&tag=unsigned"));
        let answer = engine.ask("POST", &address, &FORM_AND_TEXT, form.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        docker(&["tag", &evil, "harmless:latest"]);
        docker(&["create", "--name", "old", &evil, "true"]);
    });
    let (pinned, collection) = (world.pinned(), world.scene.collection.clone());

    // Pulls: by signed digest, and by nothing else. Who runs what is not here yet pulls, and is told what to pull.
    world.denied(&["run", &format!("{collection}/app:v0"), "true"], &format!("pull {pinned}"));
    world.allowed(&["pull", "--quiet", &pinned]);
    world.denied(&["pull", &format!("{collection}/app:v0")], &format!("pull {pinned}"));
    world.denied(&["pull", &format!("{collection}/app:unsigned")], "not signed");
    world.denied(&["pull", &format!("{collection}/app@{}", world.evil.digest)], "not signed");
    world.denied(&["pull", "--all-tags", &format!("{collection}/app")], "all tags of");

    // Containers of the signed image, by every name that it has here.
    let id = world.allowed(&["image", "inspect", "--format", "{{.Id}}", &pinned]);
    world.allowed(&["tag", &pinned, "mine:latest"]);
    for name in [pinned.as_str(), "mine", &id, &id["sha256:".len()..], &id["sha256:".len()..][..12]] {
        world.allowed(&["create", name, "true"]);
    }
    // Of the other one, by every name that it has here.
    let evil = world.allowed(&["image", "inspect", "--format", "{{.Id}}", "harmless"]);
    let before = world.containers();
    let by_digest = format!("{collection}/app@{}", world.evil.digest);
    world.allowed(&["tag", "harmless", &format!("{collection}/app:v0")]);
    let stolen = format!("{collection}/app:v0");
    for name in ["harmless", &by_digest, &stolen, &evil, &evil["sha256:".len()..], &evil["sha256:".len()..][..12]] {
        world.denied(&["create", name, "true"], &by_digest);
    }
    // What was made before the plugin came is there, and does not start.
    world.denied(&["start", "old"], &by_digest);
    world.denied(&["restart", "old"], &by_digest);
    // What was made here has no digest that somebody signed.
    world.allowed(&["commit", "old", "made:latest"]);
    world.denied(&["create", "made", "true"], "has no digest of a registry");

    an_image_for_several_platforms_is_known_by_its_index(&world);

    // Archives, builds and plugins.
    let archive = world.dir.path().join("archive.tar");
    world.allowed(&["save", "--output", archive.to_str().unwrap(), "harmless"]);
    world.denied(&["load", "--input", archive.to_str().unwrap()], "images from archives");
    world.denied(&["import", archive.to_str().unwrap(), "imported:latest"], "images from archives");
    assert!(message(&world.post_as("/v1.41/build?t=built", "application/x-tar", "")).contains("builds are off"));
    for path in ["/v1.41/session", "/grpc"] {
        assert!(message(&world.post_as(path, "text/plain", "")).contains("builds are off"), "{path}");
    }
    assert!(message(&world.post("/v1.41/plugins/pull?remote=x", "[]")).contains("plugins are not installed"));
    assert!(message(&world.post("/v1.41/swarm/init", "{}")).contains("no swarm"));

    attacks(&world, &pinned);
    assert_eq!(world.containers(), before, "nothing was made of an image that is not signed");

    many_ask_at_once(&world, &pinned);
    // Everything else goes on, and each decision is in the log.
    world.allowed(&["images"]);
    world.allowed(&["rm", "old"]);
    let log = std::fs::read_to_string(world.gate.dir.join("decisions.log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_door = lines.iter().filter(|line| line["door"] == "docker").count();
    assert!(of_door >= 15, "{of_door} of {}", lines.len());

    a_dead_plugin_stops_everything(world);
}

fn an_image_for_several_platforms_is_known_by_its_index(world: &World) {
    let index = images::index(&world.dir.path().join("index"), "index", &[]).unwrap();
    let name = format!("{}/app", world.scene.collection);
    images::push(&index, &format!("{name}:multi")).unwrap();
    let pinned = format!("{name}@{}", index.digest);
    world.denied(&["pull", &pinned], "not signed");
    assert_exit(
        &run(world.scene.alice.trust().args(["sign", &format!("{name}:multi@{}", index.digest)])).unwrap(),
        0,
        "sign",
    );
    soon("the gate follows", || world.docker(&["pull", "--quiet", &pinned]).status.success());
    world.allowed(&["tag", &pinned, "several:latest"]);
    let container = world.allowed(&["create", "several", "true"]);
    world.allowed(&["rm", &container]);
}

/// Each question makes the plugin ask the engine, which asks the plugin about that: nobody waits for himself.
fn many_ask_at_once(world: &World, good: &str) {
    let body = |image: &str| json!({"Image": image, "Cmd": ["true"]}).to_string();
    std::thread::scope(|scope| {
        for n in 0..40 {
            let (image, wanted) = if n % 2 == 0 { (good, 201) } else { ("harmless", 403) };
            scope.spawn(move || {
                let answer = world.post("/v1.41/containers/create", &body(image));
                assert_eq!(answer.status, wanted, "{n}: {}", String::from_utf8_lossy(&answer.body));
            });
        }
    });
}

/// What the engine would read otherwise than somebody who only looks.
fn attacks(world: &World, good: &str) {
    let create = "/v1.41/containers/create";
    let body = |image: &str| json!({"Image": image, "Cmd": ["true"]}).to_string();
    for text in [
        r#"{"image":"harmless","Cmd":["true"]}"#.to_owned(),
        format!(r#"{{"Image":"{good}","image":"harmless","Cmd":["true"]}}"#),
        format!(r#"{{"Image":"{good}","Image":"harmless","Cmd":["true"]}}"#),
        format!(r#"{{"Image":"{good}","\u0049MAGE":"harmless","Cmd":["true"]}}"#),
        format!("{}{}", body("harmless"), body(good)),
        r#"{"Cmd":["true"]}"#.to_owned(),
    ] {
        message(&world.post(create, &text));
    }
    // Larger than what this engine passes on: it would act without showing it.
    let large = json!({"Image": "harmless", "Cmd": ["true"], "Labels": {"x": "x".repeat(1_100_000)}}).to_string();
    assert!(message(&world.post(create, &large)).contains("shows no body"));
    // Some engines show the body of this one, and some do not.
    message(&world.post_as(create, "application/json; charset=utf-8", &body("harmless")));
    for path in
        ["/containers/create", "/v1.24/containers/create", "/v1.41/containers%2Fcreate", "/v1.41/containers/cr%65ate"]
    {
        message(&world.post(path, &body("harmless")));
    }
    let absolute = world.engine.ask(
        "POST",
        "http://engine/v1.41/containers/create",
        &[("content-type", "application/json")],
        body("harmless").as_bytes(),
    );
    message(&absolute.unwrap());
    // Values from a form win over those of the address, and the engine shows no forms.
    let (name, digest) = good.split_once('@').unwrap();
    let pull = format!("/v1.41/images/create?fromImage={name}&tag={digest}");
    let form = format!("fromImage={name}&tag={}", world.evil.digest);
    let kind = "application/x-www-form-urlencoded";
    assert!(message(&world.post_as(&pull, kind, &form)).contains("a pull has no body"));
    let answer = world.engine.ask("POST", &pull, &FORM_AND_TEXT, form.as_bytes()).unwrap();
    assert!(message(&answer).contains("a pull has no body"));
    let chunked = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    let headers = [("content-type", kind), ("transfer-encoding", "chunked")];
    message(&world.engine.ask("POST", &pull, &headers, chunked.as_bytes()).unwrap());
    // A length of nothing beside the pieces.
    let headers = [headers[0], headers[1], ("content-length", "0")];
    message(&world.engine.ask("POST", &pull, &headers, chunked.as_bytes()).unwrap());
    for query in [
        format!("fromImage={name}&fromImage=evil&tag={digest}"),
        format!("fromImage={name}&tag={digest}&tag={}", world.evil.digest),
        format!("fromImage={name}:v0&tag={digest}"),
    ] {
        message(&world.post_as(&format!("/v1.41/images/create?{query}"), "text/plain", ""));
    }
}

fn a_dead_plugin_stops_everything(mut world: World) {
    world.gate.process.kill();
    let body = json!({"Image": world.pinned(), "Cmd": ["true"]}).to_string();
    let answer = world.post("/v1.41/containers/create", &body);
    assert_eq!(answer.status, 500, "{}", String::from_utf8_lossy(&answer.body));
    assert!(String::from_utf8_lossy(&answer.body).contains("plugin trustgate failed with error"));
    // It comes back on the same socket, and all goes on.
    let _gate = Gate::start(&world.gate.dir, "docker").unwrap();
    assert_eq!(world.post("/v1.41/containers/create", &body).status, 201);
}

#[test]
fn services_carry_a_signed_digest_and_tags_are_pulled_where_that_is_wanted() {
    if !engine::is_available("gate_docker") {
        return;
    }
    let world = World::start("swarm", "swarm = true\npull_by_tag = 'verified'\n", |_, _| ());
    let app = |tag: &str| format!("{}/app:{tag}", world.scene.collection);
    world.allowed(&["pull", "--quiet", &app("v0")]);
    world.denied(&["pull", &app("unsigned")], "not signed");
    world.allowed(&["create", "--name", "web", &app("v0"), "true"]);

    world.allowed(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    let create = ["service", "create", "--detach", "--replicas", "0"];
    world.allowed(&[&create[..], &["--name", "good", &app("v0")]].concat());
    world.denied(&[&create[..], &[&app("unsigned")]].concat(), "not signed");
    world.denied(&[&create[..], &["--no-resolve-image", &app("v0")]].concat(), "name ");
    world.denied(&["service", "update", "--detach", "--image", &app("unsigned"), "good"], "not signed");
    world.denied(&["service", "rollback", "--detach", "good"], "earlier state is not shown");
    world.allowed(&["service", "update", "--detach", "--label-add", "x=y", "good"]);
    let plugin = json!({"Name": "p", "TaskTemplate": {"Runtime": "plugin", "PluginSpec": {"Remote": app("unsigned"), "Name": "p"}}});
    assert!(message(&world.post("/v1.41/services/create", &plugin.to_string())).contains("no plugins"));
    what_is_revoked_does_not_start_any_more(&world);
}

fn what_is_revoked_does_not_start_any_more(world: &World) {
    let start = || String::from_utf8_lossy(&world.docker(&["start", "web"]).stderr).into_owned();
    // The engine tries; there is no such program in the image.
    assert!(!start().contains("authorization denied"), "{}", start());
    let (name, mut revoke) = (format!("{}/app", world.scene.collection), world.scene.alice.trust());
    revoke.args(["revoke", &world.pinned(), "--reason", "a test", "--confirm", &name]);
    assert_exit(&run(&mut revoke).unwrap(), 0, "revoke");
    soon("the gate follows", || start().contains("authorization denied"));
    assert!(start().contains("revoked"), "{}", start());
    world.denied(&["create", &world.pinned(), "true"], "revoked");
    world.denied(&["pull", &world.pinned()], "revoked");
}

#[test]
fn the_plugin_answers_an_engine_that_sends_an_empty_host_and_nobody_else_finds_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "raw", Options::default());
    let gate = start_gate(&scene, dir.path(), "");
    let socket = plugin(dir.path());
    assert_eq!(Path::new(&gate.address), socket);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&socket).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let accept = "Accept: application/vnd.docker.plugins.v1.2+json";
    for host in ["Host: \r\n", "Host:\r\n", "", "Host: plugin.moby.localhost\r\n"] {
        let request = format!(
            "POST /Plugin.Activate HTTP/1.1\r\n{host}User-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n{accept}\r\n\r\n"
        );
        let answer = exchange(&socket, request.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({"Implements": ["authz"]})), "{host:?}");
        assert_eq!(answer.header("content-type"), Some("application/vnd.docker.plugins.v1.1+json"));
    }
    // A second one on the same socket, and an end that leaves nothing behind.
    let mut second = Command::new(trust_tests::stack::built("trust-gate"));
    second.args(["docker", "--config"]).arg(gate.dir.join("gate.toml")).stdin(Stdio::null());
    assert_exit(&run(&mut second).unwrap(), 35, "a second door");
    let mut gate = gate;
    gate.process.signal("TERM");
    assert!(gate.process.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
    assert!(!socket.exists());
}

/// What deploy/docker ships is what gate and engine read.
#[test]
fn the_shipped_files_for_an_engine_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker");
    let config = trust_tests::stack::gate::read_shipped(&folder.join("gate.toml")).unwrap();
    let section = config.docker().unwrap();
    assert_eq!(section.socket, Path::new("/run/docker/plugins/trustgate.sock"));
    let daemon: Value = serde_json::from_slice(&std::fs::read(folder.join("daemon.json")).unwrap()).unwrap();
    let name = section.socket.file_stem().unwrap().to_str().unwrap();
    assert_eq!(daemon["authorization-plugins"], json!([name]));
    let unit = std::fs::read_to_string(folder.join("trust-gate-docker.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/trust-gate docker --config /etc/trust-gate/gate.toml\n"));
    assert!(unit.contains("until test -S /run/docker/plugins/trustgate.sock;"));
    assert!(unit.contains("RuntimeDirectory=docker/plugins\n") && config.state == Path::new("/var/lib/trust-gate"));
}

/// A call as an engine sends it, and what the plugin says.
fn say(gate: &Gate, method: &str, uri: &str) -> Value {
    let headers = json!({"Content-Length": "0", "Content-Type": "text/plain"});
    let call = json!({"RequestMethod": method, "RequestUri": uri, "RequestHeaders": headers}).to_string();
    let length = call.len();
    let head = format!("POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: \r\nContent-Length: {length}\r\n\r\n{call}");
    let answer = exchange(Path::new(&gate.address), head.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    answer.json()
}

/// Two doors of one node, with one configuration and one state folder.
#[test]
fn a_policy_decides_at_both_doors_of_a_machine_and_its_rule_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "rules", Options::default());
    let (collection, policy) = (scene.collection.clone(), format!("{}/policy", scene.stack.registry));
    scene.stack.create(&scene.alice, &policy).unwrap();
    let rules = dir.path().join("policy");
    let rules = rules.to_str().unwrap();
    assert_exit(&run(scene.alice.trust().args(["policy", "init", rules])).unwrap(), 0, "policy init");
    let publish = ["policy", "publish", rules, &policy, "--yes"];
    assert_exit(&run(scene.alice.trust().args(publish)).unwrap(), 0, "policy publish");
    let publish = |name: &str, label: &str| {
        let image = images::single(&dir.path().join(name), name, &[("com.example.data", label)]).unwrap();
        let reference = format!("{collection}/app:{name}");
        images::push(&image, &reference).unwrap();
        let sign = run(scene.alice.trust().args(["sign", &format!("{reference}@{}", image.digest)])).unwrap();
        assert_exit(&sign, 0, "sign");
        image
    };
    let (open, payroll) = (publish("open", "public"), publish("payroll", "PII"));

    let sockets = [dir.path().join("docker/trustgate.sock"), dir.path().join("containerd/gate.sock")];
    let [docker, containerd] = sockets.each_ref().map(|socket| socket.display());
    let section = format!("\n[docker]\nsocket = '{docker}'\n[containerd]\nsocket = '{containerd}'\n");
    let options = GateOptions::new("node", &scene.stack, &[&collection, &policy]);
    let options = GateOptions { registry: section, policy: Some(policy), ..options };
    let docker = Gate::launch(&scene.stack, &scene.alice, "docker", &options).unwrap();
    let containerd = Gate::start(&docker.dir, "containerd").unwrap();
    let pull = |image: &Image| {
        let name = collection.replace('/', "%2F");
        say(&docker, "POST", &format!("/v1.41/images/create?fromImage={name}%2Fapp&tag={}", image.digest))
    };
    let verify = |name: &str, image: &Image| {
        let question = format!("{collection}/app:{name}\n{}\n", image.digest);
        let head = format!("POST /containerd/verify HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", question.len());
        exchange(Path::new(&containerd.address), (head + &question).as_bytes()).unwrap()
    };
    assert_eq!(pull(&open), json!({"Allow": true, "Msg": "", "Err": ""}));
    assert_eq!(verify("open", &open).status, 200);
    let said = pull(&payroll);
    let message = said["Msg"].as_str().unwrap();
    assert!(said["Allow"] == false && message.contains("PII") && message.contains("com.example.data"), "{said}");
    let answer = verify("payroll", &payroll);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 403 && text.contains("PII") && text.contains("com.example.data"), "{text}");

    // The same socket, another configuration: first a bad one, which changes nothing, then one that only warns.
    let file = docker.dir.join("gate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[docker]", "[docker]\nmodus = 'warn'")).unwrap();
    docker.process.signal("HUP");
    soon("the bad one is told", || std::fs::read_to_string(docker.dir.join("docker.log")).unwrap().contains("modus"));
    assert_eq!(pull(&payroll)["Allow"], false);
    std::fs::write(&file, text.replace("[docker]", "[docker]\nmode = 'warn'")).unwrap();
    docker.process.signal("HUP");
    soon("the good one is in force", || pull(&payroll)["Allow"] == true);
    assert_eq!(verify("payroll", &payroll).status, 403, "the other door has not read it");
}

/// Asks until it is so.
#[track_caller]
fn soon(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
