//! The admission hook asked by a real `kube-apiserver`, registered by its real manifests: what is stored, what is denied,
//! what is not even asked.

use std::io;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::hook::{Hook, soon};
use super::report::{Outcome, Report, equal};
use super::world::World;
use crate::stack::images;

/// The namespace of the steps.
pub const SHOP: &str = "shop";

/// A Pod of one container.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": SHOP },
        "spec": { "containers": [{ "name": "app", "image": image }] },
    })
}

/// A Deployment of one container.
pub fn deployment(name: &str, image: &str) -> Value {
    workload("apps/v1", "Deployment", name, image)
}

/// Each kind that runs containers, with this image.
fn workload(version: &str, kind: &str, name: &str, image: &str) -> Value {
    let labels = json!({ "app": name });
    let restart = if kind == "Job" || kind == "CronJob" { "Never" } else { "Always" };
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "restartPolicy": restart, "containers": [{ "name": "app", "image": image }] },
    });
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": SHOP } });
    match kind {
        "Pod" => object["spec"] = template["spec"].clone(),
        "PodTemplate" => object["template"] = template,
        "Job" => object["spec"] = json!({ "template": template }),
        "CronJob" => {
            object["spec"] = json!({ "schedule": "0 4 * * *", "jobTemplate": { "spec": { "template": template } } })
        }
        "ReplicationController" => object["spec"] = json!({ "selector": labels, "template": template }),
        "StatefulSet" => {
            object["spec"] =
                json!({ "serviceName": name, "selector": { "matchLabels": labels }, "template": template });
        }
        _ => object["spec"] = json!({ "selector": { "matchLabels": labels }, "template": template }),
    }
    object
}

const WORKLOADS: [(&str, &str, &str); 9] = [
    ("v1", "Pod", "/spec"),
    ("v1", "ReplicationController", "/spec/template/spec"),
    ("v1", "PodTemplate", "/template/spec"),
    ("apps/v1", "Deployment", "/spec/template/spec"),
    ("apps/v1", "ReplicaSet", "/spec/template/spec"),
    ("apps/v1", "StatefulSet", "/spec/template/spec"),
    ("apps/v1", "DaemonSet", "/spec/template/spec"),
    ("batch/v1", "Job", "/spec/template/spec"),
    ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template/spec"),
];

/// Installs the gate and goes through what people do with objects; the gate stays registered, and enforces.
pub fn run(report: &mut Report, cluster: &Cluster, world: &World) -> io::Result<Hook> {
    report.part("Kubernetes: the webhooks by their real manifests");
    report.step("a namespace for the steps", cluster.namespace(SHOP).map(|_| String::new()));
    // What ran before anybody looked: it must be possible to live with it, and to get rid of it.
    let old = deployment("old", &world.name("app:unsigned"));
    report.step("an unsigned Deployment is there before the gate", cluster.create(&old).done(&["created"]));
    let mut hook = Hook::install(report, cluster, world)?;
    report.step("the webhooks are registered; only caBundle is filled in", hook.register(cluster));
    let shown = || hook.probe(cluster).done(&["Warning: would be denied"]);
    report.step("the second command of that step warns, as the page says it must", soon(shown));
    let looking = || probe(cluster, world).done(&["Warning: would be denied", "not signed"]);
    report.step("looking only (mode warn): allowed, and people are warned", soon(looking));
    hook.set_mode("warn", "enforce")?;
    report.step("failurePolicy: Fail, as README.md step 6", hook.set(cluster, "failurePolicy", "Fail"));
    let enforcing = || probe(cluster, world).refused(&["denied the request", "not signed"]);
    report.step("enforcing (mode enforce): denied with our message", soon(enforcing));

    creations(report, cluster, world, &hook)?;
    kinds(report, cluster, world);
    updates(report, cluster, world, &hook);
    ephemeral(report, cluster, world);
    dry_runs(report, cluster, world);
    deletions(report, cluster, &hook);
    alone(report, cluster, world, &mut hook);
    of_others(report, cluster, world, &hook);
    Ok(hook)
}

fn probe(cluster: &Cluster, world: &World) -> super::report::Said {
    let image = format!("--image={}", world.name("app:unsigned"));
    cluster.kubectl(&["-n", SHOP, "create", "deployment", "probe", &image, "--dry-run=server"])
}

fn creations(report: &mut Report, cluster: &Cluster, world: &World, hook: &Hook) -> io::Result<()> {
    report.part("Kubernetes: create");
    let (v1, unsigned) = (world.name("app:v1"), world.name("app:unsigned"));
    let pinned = world.pinned("app:v1", &world.v1);
    let image_of = |object: &str| cluster.stored(SHOP, object, ".spec.template.spec.containers[*].image");

    let outcome = cluster.kubectl(&["-n", SHOP, "create", "deployment", "web", &format!("--image={v1}")]).done(&[]);
    let outcome = outcome.and_then(|_| equal(&image_of("deployment/web")?, &pinned));
    report.step("a signed Deployment is stored with the verified digest", outcome);
    let outcome = cluster.create(&pod("web", &v1)).done(&[]);
    let outcome = outcome.and_then(|_| equal(&cluster.stored(SHOP, "pod/web", ".spec.containers[0].image")?, &pinned));
    report.step("a signed Pod likewise", outcome);
    report.step("the API server's audit log tells what was decided", audited(cluster, hook, world));

    let bad = cluster.kubectl(&["-n", SHOP, "create", "deployment", "bad", &format!("--image={unsigned}")]);
    report
        .step("an unsigned Deployment is denied, with our message", bad.refused(&["denied the request", "not signed"]));
    let gone = cluster.kubectl(&["-n", SHOP, "get", "deployment", "bad"]);
    report.step("and nothing of it is stored", gone.refused(&["NotFound"]).map(|_| String::new()));

    let mut two = pod("two", &v1);
    two["spec"]["containers"] = json!([{ "name": "a", "image": v1 }, { "name": "b", "image": unsigned }]);
    report.step(
        "one bad container of two denies the Pod",
        cluster.create(&two).refused(&["containers[1]", "not signed"]),
    );
    let mut init = pod("init", &v1);
    init["spec"]["initContainers"] = json!([{ "name": "a", "image": unsigned }]);
    report.step("a bad init container denies the Pod", cluster.create(&init).refused(&["initContainers[0]"]));
    let mut volume = pod("volume", &v1);
    volume["spec"]["volumes"] = json!([{ "name": "data", "image": { "reference": unsigned } }]);
    report.step("a bad image volume denies the Pod", cluster.create(&volume).refused(&["volumes[0].image.reference"]));
    volume["spec"]["volumes"][0]["image"]["reference"] = json!(v1);
    let seen = cluster.with("create", &volume, &["-o", "jsonpath={.spec.volumes[0].image.reference}"]).text();
    report.step("a signed image volume is pinned", seen.and_then(|seen| equal(&seen, &pinned)));

    let mut generated = pod("", &v1);
    generated["metadata"] = json!({ "generateName": "made-", "namespace": SHOP });
    let seen = cluster.with("create", &generated, &["-o", "jsonpath={.spec.containers[0].image}"]).text();
    report.step("a Pod without a name (generateName) is pinned", seen.and_then(|seen| equal(&seen, &pinned)));

    let mut forged = pod("forged", &unsigned);
    forged["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x", "trust.example.com/policy": "ok" });
    forged["metadata"]["labels"] = json!({ "app.kubernetes.io/name": "trust-gate", "admission": "skip" });
    forged["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true }]);
    let said = cluster.create(&forged);
    report.step("annotations, labels and an owner of its own do not help an unsigned Pod", said.refused(&["denied"]));

    // The tag moves in the registry: what was signed is what runs.
    images::push(&world.unsigned, &v1)?;
    let moved = cluster.with("create", &pod("moved", &v1), &["-o", "jsonpath={.spec.containers[0].image}"]).text();
    report.step(
        "a tag that was moved in the registry is stored with the signed digest",
        moved.and_then(|s| equal(&s, &pinned)),
    );
    let straight = format!("{}@{}", world.name("app"), world.unsigned.digest);
    report.step(
        "what it was moved to is denied by digest",
        cluster.create(&pod("straight", &straight)).refused(&["denied"]),
    );
    images::push(&world.v1, &v1)
}

/// The last creation of `pod/web`, with the annotations of the webhook that denies.
fn audited(cluster: &Cluster, hook: &Hook, world: &World) -> Outcome {
    soon(|| {
        let log = cluster.audit();
        let of_web = |event: &&Value| {
            let object = &event["objectRef"];
            event["verb"] == "create" && object["resource"] == "pods" && object["namespace"] == SHOP
        };
        let event = log.iter().rev().find(of_web).ok_or("no such event")?;
        let annotation = |name: &str| event["annotations"][format!("{}/{name}", hook.validate)].as_str();
        let (decision, digests) = (annotation("decision"), annotation("digests"));
        if decision != Some("allow") || digests.is_none_or(|d| !d.contains(&world.v1.digest)) {
            return Err(event["annotations"].to_string());
        }
        Ok(format!("{}/decision = allow, …/digests = {}", hook.validate, digests.unwrap_or_default()))
    })
}

fn kinds(report: &mut Report, cluster: &Cluster, world: &World) {
    report.part("Kubernetes: every kind that runs containers");
    let pinned = world.pinned("app:v1", &world.v1);
    for (version, kind, prefix) in WORKLOADS {
        let signed = workload(version, kind, "kind", &world.name("app:v1"));
        let said = cluster.with("create", &signed, &["--dry-run=server", "-o", "json"]);
        let object: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let image = object.pointer(&format!("{prefix}/containers/0/image")).and_then(Value::as_str);
        let outcome = said.text().and_then(|_| equal(image.unwrap_or_default(), &pinned));
        report.step(&format!("{kind}: pinned"), outcome.map(|_| String::new()));
        let bad = cluster.create(&workload(version, kind, "kind", &world.name("app:unsigned")));
        let place = format!("{}.containers[0].image", prefix.trim_start_matches('/').replace('/', "."));
        report.step(&format!("{kind}: denied"), bad.refused(&["denied the request", &place]).map(|_| String::new()));
    }
}

fn updates(report: &mut Report, cluster: &Cluster, world: &World, hook: &Hook) {
    report.part("Kubernetes: update and scale");
    let image_of = |object: &str| cluster.stored(SHOP, object, ".spec.template.spec.containers[0].image");
    let set = |object: &str, image: &str| cluster.kubectl(&["-n", SHOP, "set", "image", object, &format!("*={image}")]);
    let outcome = set("deployment/web", &world.name("app:v2")).done(&[]);
    let outcome = outcome.and_then(|_| equal(&image_of("deployment/web")?, &world.pinned("app:v2", &world.v2)));
    report.step("another signed image: pinned", outcome);
    let said = set("deployment/web", &world.name("app:unsigned"));
    report.step("an unsigned image: denied", said.refused(&["denied the request", "not signed"]));
    let kept = image_of("deployment/web").and_then(|found| equal(&found, &world.pinned("app:v2", &world.v2)));
    report.step("and the stored object is as it was", kept);
    let said = set("pod/web", &world.name("app:unsigned"));
    report.step("a running Pod's image likewise", said.refused(&["denied the request", "not signed"]));

    let label = ["-n", SHOP, "label", "deployment/old", "team=shop"];
    report.step("an update that changes no image passes, even of what is unsigned", cluster.kubectl(&label).done(&[]));
    let said = set("deployment/old", &world.name("app:other"));
    report.step("another unsigned image in it does not", said.refused(&["denied the request"]));

    let before = hook.calls(cluster);
    let said = cluster.kubectl(&["-n", SHOP, "scale", "deployment/web", "deployment/old", "--replicas=3"]);
    let replicas = cluster.stored(SHOP, "deployment/old", ".spec.replicas");
    let outcome = said.done(&[]).and_then(|_| equal(&replicas?, "3"));
    report.step("scaling passes", outcome.map(|_| String::new()));
    let after = hook.calls(cluster);
    report.step("and the webhooks were not asked (the API server's own count)", same(before, after));
}

fn same(before: (u64, u64), after: (u64, u64)) -> Outcome {
    match before == after && before.1 > 0 {
        true => Ok(format!("{} calls of mutate, {} of validate, as before", after.0, after.1)),
        false => Err(format!("calls {before:?} became {after:?}")),
    }
}

fn ephemeral(report: &mut Report, cluster: &Cluster, world: &World) {
    report.part("Kubernetes: ephemeral containers");
    let debug = |image: &str, name: &str| {
        let (image, name) = (format!("--image={image}"), format!("--container={name}"));
        cluster.kubectl(&["-n", SHOP, "debug", "pod/web", &image, &name, "--attach=false"])
    };
    let said = debug(&world.name("app:unsigned"), "bad");
    report
        .step("kubectl debug with an unsigned image: denied", said.refused(&["ephemeralContainers[0]", "not signed"]));
    let outcome = debug(&world.name("app:v2"), "good").done(&[]).and_then(|_| {
        let found = cluster.stored(SHOP, "pod/web", ".spec.ephemeralContainers[*].image")?;
        equal(&found, &world.pinned("app:v2", &world.v2))
    });
    report.step("with a signed image: stored with the verified digest", outcome);
    let path = format!("/api/v1/namespaces/{SHOP}/pods/web/ephemeralcontainers");
    let stored = cluster.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{SHOP}/pods/web")]).out;
    let mut whole: Value = serde_json::from_str(&stored).unwrap_or_default();
    if let Some(list) = whole.pointer_mut("/spec/ephemeralContainers").and_then(Value::as_array_mut) {
        list.push(json!({ "name": "raw", "image": world.name("app:unsigned") }));
    }
    let said = cluster.with("replace", &whole, &["--raw", &path]);
    report.step("a raw PUT of the subresource: denied", said.refused(&["denied", "ephemeralContainers[1]"]));
}

fn dry_runs(report: &mut Report, cluster: &Cluster, world: &World) {
    report.part("Kubernetes: dry run on the server");
    let v2 = pod("dry", &world.name("app:v2"));
    let said = cluster.with("create", &v2, &["--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}"]);
    let pinned = world.pinned("app:v2", &world.v2);
    report.step("shows what would be stored", said.text().and_then(|found| equal(&found, &pinned)));
    let said = cluster.with("create", &pod("dry", &world.name("app:unsigned")), &["--dry-run=server"]);
    report.step("denies what would be denied", said.refused(&["denied the request", "not signed"]));
    let gone = cluster.kubectl(&["-n", SHOP, "get", "pod", "dry"]).refused(&["NotFound"]);
    report.step("and stores nothing", gone.map(|_| String::new()));
}

fn deletions(report: &mut Report, cluster: &Cluster, hook: &Hook) {
    report.part("Kubernetes: delete");
    let finalizer = r#"{"metadata":{"finalizers":["interop.example.com/hold"]}}"#;
    let said = cluster.kubectl(&["-n", SHOP, "patch", "deployment/old", "-p", finalizer]);
    report.step("a finalizer is put on the unsigned Deployment", said.done(&[]));
    let before = hook.calls(cluster);
    let said = cluster.kubectl(&["-n", SHOP, "delete", "deployment/old", "pod/web", "--wait=false"]);
    report.step("deletion is never stopped", said.done(&["deleted"]));
    report.step("and the webhooks were not asked", same(before, hook.calls(cluster)));
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let said = cluster.kubectl(&["-n", SHOP, "patch", "deployment/old", "-p", free]);
    let gone = || cluster.kubectl(&["-n", SHOP, "get", "deployment/old"]).refused(&["NotFound"]);
    report.step("what is being deleted can lose its finalizer, and is gone", said.done(&[]).and_then(|_| soon(gone)));
}

/// The webhook that denies protects alone: it believes nothing that the other one did.
fn alone(report: &mut Report, cluster: &Cluster, world: &World, hook: &mut Hook) {
    report.part("Kubernetes: validate alone, as if somebody had got past mutate");
    let said = cluster.kubectl(&["delete", "mutatingwebhookconfiguration/trust-gate"]);
    report.step("the mutating configuration is gone", said.done(&[]));
    let denied = || {
        let said = cluster.create(&pod("tag-alone", &world.name("app:v1")));
        said.refused(&[&hook.validate, "denied the request", "the Pod names the tag alone"])
    };
    report.step("a signed Pod by its tag alone: denied, for nobody pinned it", soon(denied));
    let said = cluster.create(&pod("by-digest", &world.pinned("app:v1", &world.v1)));
    report.step("by its digest: stored", said.done(&["created"]));
    let said = cluster.create(&pod("by-digest-too", &world.pinned("app:v1", &world.unsigned)));
    report.step("by a digest that the tag was not signed for: denied", said.refused(&[&hook.validate]));
    let said = cluster.create(&deployment("alone", &world.name("app:unsigned")));
    report.step("an unsigned Deployment: denied", said.refused(&[&hook.validate, "not signed"]));
    report.step("both are registered again", hook.register(cluster));
    report.step("with Fail", hook.set(cluster, "failurePolicy", "Fail"));
}

/// A kind of others, whose place of images is configured.
fn of_others(report: &mut Report, cluster: &Cluster, world: &World, hook: &Hook) {
    report.part("Kubernetes: a kind of others with a Pod template");
    let group = "interop.example.com";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("rollouts.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "plural": "rollouts", "singular": "rollout", "kind": "Rollout" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    });
    report.step("its definition", cluster.create(&definition).done(&["created"]));
    report.step("a rule for it in both webhooks", hook.show(cluster, group, "v1", "rollouts"));
    let rollout = |name: &str, image: &str| {
        let mut object = deployment(name, image);
        object["apiVersion"] = json!(format!("{group}/v1"));
        object["kind"] = json!("Rollout");
        object
    };
    let bad = rollout("bad", &world.name("app:unsigned"));
    let denied = || {
        let said = cluster.with("create", &bad, &["--dry-run=server"]);
        said.refused(&["denied the request", "spec.template.spec.containers[0].image", "not signed"])
    };
    report.step("unsigned: denied", soon(denied));
    let outcome = cluster.create(&rollout("good", &world.name("app:v1"))).done(&["created"]).and_then(|_| {
        let found = cluster.stored(SHOP, "rollout/good", ".spec.template.spec.containers[0].image")?;
        equal(&found, &world.pinned("app:v1", &world.v1))
    });
    report.step("signed: stored with the verified digest", outcome);
}
