//! An environment is what the operator says: whatever a workload or its namespace says of itself, the door and the decider
//! behind it answer as they answer without it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trust_gate::admission::judge::{Door, Rules, answer};
use trust_gate::admission::review::Review;

use super::scene::*;
use super::*;

const PII: &str = "registry.example.com/pay/api:v2";

/// A cluster with one private place, `hr`; everything else is the strictest environment. `api:v2` is marked as PII.
async fn cluster() -> (Scene, Arc<Decider>) {
    let mut scene = Scene::new();
    scene.environments = Environments::Namespaces([("hr".to_owned(), environment("inside", "private"))].into());
    sign(&mut scene.pay, "v2", 2, "PII");
    publish_role(&mut scene.pay, "alice");
    let decider = scene.start().await;
    (scene, decider)
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn deployment(image: &str) -> Value {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}})
}

fn asked(operation: &str, namespace: &str, object: &Value, old: &Value) -> Value {
    let api = object["apiVersion"].as_str().expect("a version");
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": {"group": group, "version": version, "kind": object["kind"]},
        "resource": {"group": group, "version": version, "resource": "things"}, "name": "x", "namespace": namespace,
        "operation": operation, "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false}})
}

fn allowed(decider: &Decider, review: &Value) -> bool {
    let review = Review::parse(&serde_json::to_vec(review).expect("JSON")).expect("a review");
    let answer = answer(&review, Door::Mutate, Rules::default(), decider, Instant::now() + Duration::from_secs(60));
    assert!(answer.allowed || answer.message.contains("registry.example.com/pay/api"), "{}", answer.message);
    answer.allowed
}

fn created(decider: &Decider, namespace: &str, object: &Value) -> bool {
    allowed(decider, &asked("CREATE", namespace, object, &Value::Null))
}

#[tokio::test]
async fn a_workload_that_says_that_its_cloud_is_private_is_judged_by_the_place_that_the_operator_described() {
    let (_scene, decider) = cluster().await;
    assert!(created(&decider, "hr", &pod(PII)), "the place itself");
    assert!(!created(&decider, "shop", &pod(PII)));
    let words = json!({"cloud": "private", "principal.cloud": "private", "environment": "inside", "namespace": "hr",
        "trust.example.com/environment": "inside", "kubernetes.io/metadata.name": "hr", "com.example.data": "public"});
    for (pointer, value) in [
        ("/metadata/labels", words.clone()),
        ("/metadata/annotations", words.clone()),
        ("/metadata/namespace", json!("hr")),
        ("/metadata/generateName", json!("hr-")),
        ("/spec/nodeSelector", words.clone()),
        ("/spec/nodeName", json!("inside")),
        ("/spec/serviceAccountName", json!("hr")),
        ("/spec/env", words.clone()),
        ("/cloud", json!("private")),
        ("/environment", json!({"name": "inside", "cloud": "private"})),
    ] {
        for base in [pod(PII), deployment(PII)] {
            let mut object = base;
            put(&mut object, pointer, value.clone());
            assert!(!created(&decider, "shop", &object), "{pointer} {object}");
        }
    }
    let mut template = deployment(PII);
    for part in ["labels", "annotations"] {
        template["spec"]["template"]["metadata"][part] = words.clone();
    }
    assert!(!created(&decider, "shop", &template));
}

/// Sets a member at the end of a path.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect("its parent")[name] = value;
}

#[tokio::test]
async fn a_request_that_says_more_of_its_namespace_than_its_name_is_judged_by_the_name() {
    let (_scene, decider) = cluster().await;
    for namespace in ["shop", "HR", "hr ", " hr", "hr/", "hr.", "", "inside", "h\u{200b}r"] {
        assert!(!created(&decider, namespace, &pod(PII)), "{namespace:?}");
    }
    for (member, value) in [
        ("namespaceLabels", json!({"cloud": "private", "environment": "inside"})),
        ("namespaceObject", json!({"metadata": {"name": "hr", "labels": {"cloud": "private"}}})),
        ("options", json!({"environment": "inside", "cloud": "private"})),
        ("environment", json!({"name": "inside", "cloud": "private"})),
        ("requestSubResource", json!("hr")),
    ] {
        let mut review = asked("CREATE", "shop", &pod(PII), &Value::Null);
        review["request"][member] = value;
        assert!(!allowed(&decider, &review), "{member}");
    }
    // The labels of a namespace are in no request, and the gate asks the cluster for nothing: relabelled, it is the same place.
    assert!(created(&decider, "hr", &pod(PII)));
}

#[tokio::test]
async fn what_is_not_fit_is_denied_in_every_place_of_a_pod_that_runs_an_image() {
    let (_scene, decider) = cluster().await;
    let good = json!([{"name": "c", "image": API}]);
    let bad = json!([{"name": "x", "image": PII}]);
    let volume = json!([{"name": "v", "image": {"reference": PII}}]);
    for (field, value) in
        [("containers", &bad), ("initContainers", &bad), ("ephemeralContainers", &bad), ("volumes", &volume)]
    {
        let mut object = pod(API);
        object["spec"]["containers"] = good.clone();
        object["spec"][field] = value.clone();
        assert!(!created(&decider, "shop", &object), "{field}");
        assert!(created(&decider, "hr", &object), "{field}");
    }
    // A static pod arrives as its mirror, with an annotation of the node; it is a pod.
    let mut mirror = pod(PII);
    mirror["metadata"]["annotations"] =
        json!({"kubernetes.io/config.mirror": "0", "kubernetes.io/config.source": "file"});
    mirror["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}]);
    assert!(!created(&decider, "shop", &mirror));
    // A kind of somebody else that holds a pod is not known, and what is not known is denied, wherever it is to run.
    let custom = json!({"apiVersion": "example.com/v1", "kind": "Rollout", "metadata": {"name": "r"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": PII}]}}}});
    for namespace in ["shop", "hr"] {
        let review = asked("CREATE", namespace, &custom, &Value::Null);
        let review = Review::parse(&serde_json::to_vec(&review).expect("JSON")).expect("a review");
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(!answer(&review, Door::Validate, Rules::default(), &*decider, deadline).allowed, "{namespace}");
    }
}

#[tokio::test]
async fn an_update_of_one_container_and_a_debug_container_are_judged_by_the_same_place() {
    let (_scene, decider) = cluster().await;
    let mut two = pod(API);
    two["spec"]["containers"] = json!([{"name": "a", "image": API}, {"name": "b", "image": API}]);
    let mut changed = two.clone();
    changed["spec"]["containers"][1]["image"] = json!(PII);
    changed["metadata"]["labels"] = json!({"cloud": "private"});
    assert!(!allowed(&decider, &asked("UPDATE", "shop", &changed, &two)));
    assert!(allowed(&decider, &asked("UPDATE", "hr", &changed, &two)));
    let mut debug = two.clone();
    debug["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": PII, "targetContainerName": "a"}]);
    let mut review = asked("UPDATE", "shop", &debug, &two);
    review["request"]["subResource"] = json!("ephemeralcontainers");
    assert!(!allowed(&decider, &review));
}
