//! The door of Kubernetes with the real decider behind it: what one review costs, and what a dry run leaves behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_decide::Decider;
use trust_gate::admission::judge::{Door, Rules, answer};
use trust_gate::admission::review::{Answer, Review};

#[allow(dead_code)]
#[path = "gate_decide/scene.rs"]
mod scene;

use scene::{API, Scene};

fn pod(images: &[&str], operation: &str, dry_run: bool) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(i, image)| json!({"name": format!("c{i}"), "image": image})).collect();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "operation": operation,
        "userInfo": {"username": "alice"}, "dryRun": dry_run, "oldObject": null,
        "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}}})
}

fn judged(decider: &Arc<Decider>, review: &Value, door: Door) -> Answer {
    let review = Review::parse(&serde_json::to_vec(review).unwrap()).unwrap();
    answer(&review, door, Rules::default(), &**decider, Instant::now() + Duration::from_secs(60))
}

#[tokio::test]
async fn a_pod_with_fifty_containers_of_one_image_costs_one_verification_and_one_evaluation_of_the_policy() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let before = decider.counters();
    let answer = judged(&decider, &pod(&[API; 50], "CREATE", false), Door::Mutate);
    assert!(answer.allowed && answer.patch.is_some(), "{answer:?}");
    let after = decider.counters();
    assert_eq!(after.verifications - before.verifications, 1);
    assert_eq!(after.evaluations - before.evaluations, 1);
    assert_eq!(after.allowed - before.allowed, 1, "and one line of the log");
    assert_eq!(scene.lines().len(), 1);
    // Asked again it costs neither.
    judged(&decider, &pod(&[API; 50], "CREATE", false), Door::Mutate);
    let again = decider.counters();
    assert_eq!((again.verifications, again.evaluations), (after.verifications, after.evaluations));
}

#[tokio::test]
async fn a_warm_decision_is_given_while_nothing_can_be_reached() {
    let scene = Scene::new();
    let decider = scene.start().await;
    scene.cut();
    let answer = judged(&decider, &pod(&[API], "CREATE", false), Door::Mutate);
    assert!(answer.allowed, "{answer:?}");
}

#[tokio::test]
async fn a_dry_run_is_decided_alike_and_is_marked_as_one_in_the_log() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let real = judged(&decider, &pod(&[API], "CREATE", false), Door::Mutate);
    assert_eq!(judged(&decider, &pod(&[API], "CREATE", true), Door::Mutate), real);
    let runs: Vec<bool> = scene.lines().iter().map(|line| line["dry_run"].as_bool().unwrap()).collect();
    assert_eq!(runs, [false, true]);
}

#[tokio::test]
async fn what_gatekeeper_asks_is_in_the_log_under_its_own_door() {
    let scene = Scene::new();
    let decider = scene.start().await;
    let asked = json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": [API, API]}});
    let question = trust_gate::gatekeeper::Question::parse(asked.to_string().as_bytes()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = trust_gate::gatekeeper::answer(&question, None, &*decider, deadline).to_json(&question);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let value = answer["response"]["items"][0]["value"].as_str().unwrap();
    assert!(value.starts_with(&format!("{API}@sha256:")), "{answer}");
    let lines = scene.lines();
    assert_eq!((lines.len(), &lines[0]["door"]), (1, &json!("gatekeeper")));
}
