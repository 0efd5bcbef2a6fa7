//! Gates as processes of their own, while server, signer and registry go and come back: they work on from the verified
//! state until something is too old, then deny and say what.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::scene::{HttpAnswer, Scene, ask};
use trust_tests::stack::{Options, built};

/// The image's manifest through a gate, by tag.
fn pull(gate: &Gate) -> HttpAnswer {
    ask(&gate.address, "GET", "/v2/demo/app/manifests/v0", &[]).unwrap()
}

/// The answer to a Pod with this image.
fn review(gate: &Gate, image: &str) -> Value {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop", "operation": "CREATE", "userInfo": { "username": "someone" },
            "object": { "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [{ "name": "c", "image": image }] } },
        },
    });
    gate.post("/mutate?timeout=5s", review.to_string().as_bytes()).unwrap().json()["response"].take()
}

/// Waits for something to become true.
fn comes(limit: u64, mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(limit);
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    holds()
}

fn options(scene: &Scene, name: &str, max_staleness: &str) -> GateOptions {
    GateOptions {
        max_staleness: max_staleness.to_owned(),
        ..GateOptions::new(name, &scene.stack, &[&scene.collection])
    }
}

fn text(answer: &HttpAnswer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn both_gates_work_on_without_the_server_until_their_state_is_too_old_and_come_back_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(dir.path(), "demo", Options::default());
    let image = format!("{}/app:v0", scene.collection);
    let registry = Gate::launch(&scene.stack, &scene.reader, "registry", &options(&scene, "registry", "8s")).unwrap();
    let admission =
        Gate::launch(&scene.stack, &scene.reader, "admission", &options(&scene, "admission", "8s")).unwrap();
    assert_eq!(pull(&registry).status, 200);
    assert_eq!(review(&admission, &image)["allowed"], true);

    let address = scene.stack.server_address();
    scene.stack.server = None;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pull(&registry).status, 200, "within the time that was given");
    assert_eq!(review(&admission, &image)["allowed"], true, "within the time that was given");

    assert!(comes(20, || pull(&registry).status == 403), "state that is too old lets nothing through");
    let said = text(&pull(&registry));
    assert!(said.contains("DENIED") && said.contains("refresh"), "{said}");
    assert!(comes(5, || review(&admission, &image)["allowed"] == false));
    let said = review(&admission, &image)["status"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("refresh") && said.contains("containers[0]"), "{said}");

    scene.stack.start_server(Some(address)).unwrap();
    assert!(comes(30, || pull(&registry).status == 200), "the gate comes back by itself: {}", text(&pull(&registry)));
    assert!(comes(30, || review(&admission, &image)["allowed"] == true));
}

#[test]
fn a_gate_that_starts_while_the_server_is_away_works_from_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(dir.path(), "demo", Options::default());
    let options = options(&scene, "registry", "1h");
    let mut gate = Gate::launch(&scene.stack, &scene.reader, "registry", &options).unwrap();
    assert_eq!(pull(&gate).status, 200);
    gate.process.kill();
    scene.stack.server = None;
    let folder = gate.dir.clone();
    drop(gate);
    let gate = Gate::start(&folder, "registry").unwrap();
    assert_eq!(pull(&gate).status, 200, "{}", text(&pull(&gate)));
    let unsigned = ask(&gate.address, "GET", "/v2/demo/app/manifests/v1", &[]).unwrap();
    assert_eq!(unsigned.status, 403, "{}", text(&unsigned));
}

#[test]
fn without_a_state_and_without_a_server_nothing_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(dir.path(), "demo", Options::default());
    let folder = Gate::prepare(&scene.stack, &scene.reader, &options(&scene, "registry", "1h")).unwrap();
    scene.stack.server = None;
    match Gate::start(&folder, "registry") {
        Ok(gate) => assert_eq!(pull(&gate).status, 403, "{}", text(&pull(&gate))),
        Err(error) => assert!(error.to_string().contains("ended before it was ready"), "{error}"),
    }
}

#[test]
fn the_registry_may_go_and_come_back_and_the_admission_hook_does_not_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(dir.path(), "demo", Options::default());
    let image = format!("{}/app:v0", scene.collection);
    let registry = Gate::launch(&scene.stack, &scene.reader, "registry", &options(&scene, "registry", "1h")).unwrap();
    let admission =
        Gate::launch(&scene.stack, &scene.reader, "admission", &options(&scene, "admission", "1h")).unwrap();
    scene.stack.registry_process.as_ref().unwrap().signal("STOP");
    scene.stack.registry_process.as_mut().unwrap().kill();
    let answer = pull(&registry);
    assert!(answer.status >= 500, "an outage is not a denial: {} {}", answer.status, text(&answer));
    assert_eq!(review(&admission, &image)["allowed"], true);
}

#[test]
fn an_expired_timestamp_denies_and_the_message_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let lifetimes = vec![("REGISTRY/demo".to_owned(), "6s".to_owned())];
    let scene = Scene::start(dir.path(), "demo", Options { lifetimes, ..Options::default() });
    let image = format!("{}/app:v0", scene.collection);
    let gate = Gate::launch(&scene.stack, &scene.reader, "admission", &options(&scene, "admission", "1h")).unwrap();
    assert_eq!(review(&gate, &image)["allowed"], true);
    let signer = scene.stack.signer.as_ref().unwrap();
    signer.signal("STOP");
    assert!(comes(12, || review(&gate, &image)["allowed"] == false), "a frozen server lets nothing through for long");
    let said = review(&gate, &image)["status"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("expired"), "{said}");
    signer.signal("CONT");
    assert!(comes(20, || review(&gate, &image)["allowed"] == true));
}

#[test]
fn a_gate_does_not_start_with_another_root_than_its_fingerprint_says() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "demo", Options::default());
    let folder = Gate::prepare(&scene.stack, &scene.reader, &options(&scene, "registry", "1h")).unwrap();
    let config = std::fs::read_to_string(folder.join("gate.toml")).unwrap();
    let wrong = config.replace(&scene.fingerprint, &"0".repeat(64));
    assert_ne!(config, wrong);
    std::fs::write(folder.join("gate.toml"), wrong).unwrap();
    let mut check = std::process::Command::new(built("trust-gate"));
    check.arg("registry").arg("--config").arg(folder.join("gate.toml")).arg("--check-config");
    let output = trust_tests::stack::run(&mut check).unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("fingerprint"), "{said}");
}
