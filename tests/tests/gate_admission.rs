//! The door of Kubernetes over TLS, with a decider of its own: patches as an independent program applies them, the
//! certificate that changes, the deadline, and the manifests that put it into a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use trust_gate::config::{AdmissionConfig, Config, Mode};
use trust_gate::decides::{Asked, Decides, Verdict};
use trust_image::{Digest, Reference, workload};
use trust_tests::stack::gate::{certificate, post};
use trust_tests::stack::{built, tool};

/// Allows what is called `signed.example.com/…`, after a while.
#[derive(Default)]
struct Fake {
    delay: Duration,
}

/// The digest that a tag is signed for.
fn digest(image: &str) -> Digest {
    let bare = image.split('@').next().unwrap();
    Digest::of(Reference::parse(bare).unwrap().to_string().as_bytes())
}

impl Decides for Fake {
    fn decide(&self, asked: &Asked<'_>) -> Verdict {
        std::thread::sleep(self.delay);
        let digest = asked.image.starts_with("signed.example.com/").then(|| digest(asked.image));
        let line = "the image is not signed (E1001)".to_owned();
        Verdict { digest, exception: None, line, environment: "public-eu".to_owned(), policy: None }
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

/// A door that serves until it is dropped.
struct Door {
    dir: tempfile::TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Door {
    fn open(fake: Fake) -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificate(dir.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let config = AdmissionConfig {
            listen: address,
            certificate: dir.path().join("tls.crt"),
            key: dir.path().join("tls.key"),
            mode: Mode::Enforce,
            recheck_unchanged: Default::default(),
            pin: Default::default(),
            drain: Duration::ZERO,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stop = async move { drop(stopped.await) };
                trust_gate::admission::run(&config, listener, Arc::new(fake), stop).await.unwrap();
            });
            runtime.shutdown_background();
        });
        Self { dir, address, stop: Some(stop), thread: Some(thread) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    fn ask(&self, path: &str, review: &Value) -> Value {
        let answer = post(&self.address.to_string(), &self.ca(), path, review.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["response"]["uid"], review["request"]["uid"]);
        body["response"].clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn kubectl() -> Option<PathBuf> {
    let found = tool("kubectl");
    if found.is_none() {
        println!("SKIPPED: gate_admission: kubectl is missing: run tests/tools/fetch.sh");
    }
    found
}

/// `kubectl patch --local`: no cluster, no configuration of the user.
fn patched(kubectl: &Path, folder: &Path, file: &Path, kind: &str, patch: &str) -> Result<Vec<Value>, String> {
    let output = Command::new(kubectl)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("KUBECONFIG", "/dev/null")
        .args(["patch", "--local", "-o", "json", "--type", kind, "-p", patch, "-f"])
        .arg(file)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(|v| v.map_err(|e| e.to_string())).collect()
}

fn object(group: &str, kind: &str, spec: &Value) -> Value {
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let mut object = match kind {
        "Pod" => json!({"spec": spec}),
        "PodTemplate" => json!({"template": template}),
        "ReplicationController" => json!({"spec": {"selector": labels, "template": template}}),
        "Job" => json!({"spec": {"template": template}}),
        "CronJob" => json!({"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}}),
        _ => json!({"spec": {"selector": {"matchLabels": labels}, "template": template}}),
    };
    object["apiVersion"] = if group.is_empty() { json!("v1") } else { json!(format!("{group}/v1")) };
    object["kind"] = json!(kind);
    object["metadata"] = json!({"name": "web", "annotations": {"a/b~c": "d"}});
    object
}

fn review(operation: &str, object: &Value, old: &Value) -> Value {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": object["kind"]},
            "resource": {"group": group, "version": version, "resource": "things"},
            "name": "web", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false,
        }
    })
}

/// Kinds that a cluster of today has; the others reach the gate converted.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    workload::kinds().filter(|(group, _)| *group != "extensions")
}

#[test]
fn kubectl_applies_the_patch_of_each_kind_and_changes_nothing_but_the_images() {
    let Some(kubectl) = kubectl() else { return };
    let door = Door::open(Fake::default());
    let image = |n: u8| format!("signed.example.com/{n}:v{n}");
    let spec = |image: &dyn Fn(u8) -> String| {
        json!({
            "containers": [{"name": "a", "image": image(1), "args": ["--image", "x"]}, {"name": "b", "image": image(2)}],
            "initContainers": [{"name": "c", "image": image(3)}],
            "ephemeralContainers": [{"name": "d", "image": image(4)}],
            "restartPolicy": "Never",
        })
    };
    let pinned = |n: u8| format!("{}@{}", image(n), digest(&image(n)));
    for (group, kind) in kinds() {
        let before = object(group, kind, &spec(&image));
        let response = door.ask("/mutate?timeout=5s", &review("CREATE", &before, &Value::Null));
        assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")), "{response}");
        let patch = Base64::decode_vec(response["patch"].as_str().unwrap()).unwrap();
        let patch = String::from_utf8(patch).unwrap();
        let file = door.dir.path().join("object.json");
        fs::write(&file, before.to_string()).unwrap();
        let after = patched(&kubectl, door.dir.path(), &file, "json", &patch).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(after, [object(group, kind, &spec(&pinned))], "{kind}");
        // What was changed meanwhile is not patched.
        fs::write(&file, before.to_string().replace("signed.example.com/2:v2", "unsigned.example.com/2:v2")).unwrap();
        let refused = patched(&kubectl, door.dir.path(), &file, "json", &patch).unwrap_err();
        assert!(refused.contains("test"), "{kind}: {refused}");
        // And the object as it then is passes the door that enforces.
        let validated = door.ask("/validate?timeout=5s", &review("CREATE", &after[0], &Value::Null));
        assert_eq!(validated["allowed"], true, "{validated}");
        assert!(validated.get("patch").is_none());
    }
}

#[test]
fn kubectl_applies_the_patch_of_an_image_volume_and_of_an_ephemeral_container_that_is_added() {
    let Some(kubectl) = kubectl() else { return };
    let door = Door::open(Fake::default());
    let (volume, debug) = ("signed.example.com/data:1", "signed.example.com/debug:1");
    let old = object("", "Pod", &json!({"containers": [{"name": "a", "image": "unsigned.example.com/old:1"}]}));
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": debug, "targetContainerName": "a"}]);
    let mut asked = review("UPDATE", &new, &old);
    asked["request"]["subResource"] = json!("ephemeralcontainers");
    let with_volume = object(
        "apps",
        "StatefulSet",
        &json!({"containers": [], "volumes": [{"name": "v", "image": {"reference": volume, "pullPolicy": "Always"}}]}),
    );
    for (asked, before, pointer, image) in [
        (asked, new, "/spec/ephemeralContainers/0/image", debug),
        (
            review("CREATE", &with_volume, &Value::Null),
            with_volume,
            "/spec/template/spec/volumes/0/image/reference",
            volume,
        ),
    ] {
        let response = door.ask("/mutate", &asked);
        let patch = Base64::decode_vec(response["patch"].as_str().unwrap_or_else(|| panic!("{response}"))).unwrap();
        let file = door.dir.path().join("object.json");
        fs::write(&file, before.to_string()).unwrap();
        let patch = String::from_utf8(patch).unwrap();
        let after = patched(&kubectl, door.dir.path(), &file, "json", &patch).unwrap();
        let mut wanted = before;
        *wanted.pointer_mut(pointer).unwrap() = json!(format!("{image}@{}", digest(image)));
        assert_eq!(after, [wanted]);
    }
}

#[test]
fn a_certificate_that_is_swapped_while_serving_is_served_without_a_restart() {
    let door = Door::open(Fake::default());
    let asked = review("CREATE", &object("", "Pod", &json!({"containers": [{"image": "x"}]})), &Value::Null);
    let body = asked.to_string();
    let old = door.dir.path().join("old.crt");
    fs::copy(door.ca(), &old).unwrap();
    assert_eq!(door.ask("/validate", &asked)["allowed"], false);
    // Half of a change: the certificate of one pair, the key of the other. The old pair stays.
    let other = tempfile::tempdir().unwrap();
    certificate(other.path()).unwrap();
    fs::copy(other.path().join("tls.crt"), door.ca()).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(post(&door.address.to_string(), &old, "/validate", body.as_bytes()).is_ok());
    fs::copy(other.path().join("tls.key"), door.dir.path().join("tls.key")).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while post(&door.address.to_string(), &door.ca(), "/validate", body.as_bytes()).is_err() {
        assert!(Instant::now() < until, "the new certificate is not served");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        post(&door.address.to_string(), &old, "/validate", body.as_bytes()).is_err(),
        "the old one is still believed"
    );
}

#[test]
fn a_decider_that_is_slower_than_the_api_server_waits_is_a_clear_denial_before_that() {
    let door = Door::open(Fake { delay: Duration::from_secs(3) });
    let spec = json!({"containers": [{"image": "signed.example.com/a:1"}]});
    let begun = Instant::now();
    let response =
        door.ask("/validate?timeout=1s", &review("CREATE", &object("apps", "Deployment", &spec), &Value::Null));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("no decision within 0.8 s"), "{message}");
}

// --- what puts it into a cluster ---

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

/// All objects of deploy/kubernetes, as kubectl reads them.
fn deployed(kubectl: &Path) -> Vec<Value> {
    let home = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(manifests()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let read = |file: &PathBuf| patched(kubectl, home.path(), file, "merge", "{}").unwrap();
    files.iter().flat_map(read).collect()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn the_manifests_ask_the_gate_about_every_kind_that_it_knows_and_warn_first() {
    let Some(kubectl) = kubectl() else { return };
    let objects = deployed(&kubectl);
    for (kind, path) in [("MutatingWebhookConfiguration", "/mutate"), ("ValidatingWebhookConfiguration", "/validate")] {
        let found = of_kind(&objects, kind);
        let [webhook] = found[0]["webhooks"].as_array().unwrap().as_slice() else { panic!("one webhook") };
        let mut covered = BTreeSet::new();
        for rule in webhook["rules"].as_array().unwrap() {
            assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]));
            assert_eq!((&rule["apiVersions"], &rule["scope"]), (&json!(["v1"]), &json!("Namespaced")));
            for group in rule["apiGroups"].as_array().unwrap() {
                for resource in rule["resources"].as_array().unwrap() {
                    covered.insert(format!("{}/{}", group.as_str().unwrap(), resource.as_str().unwrap()));
                }
            }
        }
        let known = kinds().map(|(group, kind)| format!("{group}/{}s", kind.to_ascii_lowercase()));
        let wanted: BTreeSet<String> = known.chain(["/pods/ephemeralcontainers".to_owned()]).collect();
        assert_eq!(covered, wanted, "{kind}");
        assert_eq!(webhook["clientConfig"]["service"]["path"], path);
        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
        assert_eq!((&webhook["sideEffects"], &webhook["failurePolicy"]), (&json!("None"), &json!("Ignore")));
        assert_eq!((&webhook["matchPolicy"], &webhook["timeoutSeconds"]), (&json!("Equivalent"), &json!(5)));
        let own = json!([{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["trust-gate"]}]);
        assert_eq!(webhook["namespaceSelector"]["matchExpressions"], own);
        assert!(webhook.get("objectSelector").is_none_or(|s| *s == json!({})), "the submitter controls labels");
        // The service that is called is there, and leads to the port that the gate listens on.
        let service = &webhook["clientConfig"]["service"];
        let services = of_kind(&objects, "Service");
        let called = services.iter().find(|s| s["metadata"]["name"] == service["name"]).unwrap();
        assert_eq!(called["metadata"]["namespace"], service["namespace"]);
        assert_eq!(called["spec"]["ports"][0]["port"], service["port"]);
    }
}

#[test]
fn the_manifests_start_the_gate_without_rights_and_with_a_state_that_stays() {
    let Some(kubectl) = kubectl() else { return };
    let objects = deployed(&kubectl);
    let gate = of_kind(&objects, "StatefulSet")[0];
    let pod = &gate["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    for probe in ["readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS");
    }
    assert!(container["image"].as_str().unwrap().contains("@sha256:"));
    assert_eq!(gate["spec"]["volumeClaimTemplates"].as_array().unwrap().len(), 1);
    assert_eq!(of_kind(&objects, "PodDisruptionBudget").len(), 1);
    for object in &objects {
        let namespace = &object["metadata"]["namespace"];
        assert!(namespace.is_null() || namespace == "trust-gate", "{object}");
    }
    // The configuration is one that the gate takes, once its roots are there.
    let dir = tempfile::tempdir().unwrap();
    let text = of_kind(&objects, "ConfigMap")[0]["data"]["gate.toml"].as_str().unwrap();
    let root = b"{}";
    fs::write(dir.path().join("any.root.json"), root).unwrap();
    let text = text
        .replace("/etc/trust-gate/roots/pay.root.json", "any.root.json")
        .replace("/etc/trust-gate/roots/policy.root.json", "any.root.json")
        .replace(&"0".repeat(64), &trust_reader::anchor::fingerprint(root));
    fs::write(dir.path().join("gate.toml"), text).unwrap();
    let config = Config::read(&dir.path().join("gate.toml")).unwrap();
    let admission = config.admission().unwrap();
    assert_eq!(admission.mode, Mode::Warn);
    let grace = gate["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(admission.drain + Duration::from_secs(30) < Duration::from_secs(grace));
    let mounts: Vec<&str> =
        container["volumeMounts"].as_array().unwrap().iter().filter_map(|m| m["mountPath"].as_str()).collect();
    for path in [&admission.certificate, &admission.key, &config.state, config.log.as_ref().unwrap()] {
        assert!(mounts.iter().any(|mount| path.starts_with(mount)), "{} is on no volume", path.display());
    }
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], admission.listen.port());
}

#[test]
fn the_program_says_whether_its_configuration_is_good() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path()).unwrap();
    let root = trust_tests::simulator::Repository::new().pinned;
    fs::write(dir.path().join("r.root.json"), &root).unwrap();
    let good = format!(
        "state = 'state'\npolicy = 'signatures-alone'\n[[collections]]\nname = 'registry.example.com/pay'\nroot = 'r.root.json'\n\
         fingerprint = '{}'\nserver = 'https://trust.example.com'\n[environment]\nname = 'dc'\ncloud = 'private'\n\
         [admission]\nlisten = '127.0.0.1:0'\ncertificate = 'tls.crt'\nkey = 'tls.key'\n",
        trust_reader::anchor::fingerprint(&root)
    );
    let check = |text: &str| {
        fs::write(dir.path().join("gate.toml"), text).unwrap();
        let mut command = Command::new(built("trust-gate"));
        command.args(["admission", "--check-config", "--config"]).arg(dir.path().join("gate.toml"));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    assert_eq!(check(&good), (Some(0), "the configuration is good\n".to_owned()));
    assert!(!dir.path().join("state").exists(), "only looking leaves nothing behind");
    for (text, says) in [
        (good.replace("[admission]\n", "[admission]\nmoed = 'warn'\n"), "did you mean `mode`?"),
        (good.replace("tls.key", "tls.crt"), "holds no private key"),
        (good.replace("tls.crt", "no.crt"), "no.crt"),
        (good.replace("[admission]", "[registry]"), "missing field `upstream`"),
        (good.split_once("[admission]").unwrap().0.to_owned(), "no section [admission]"),
        (good.replace("cloud = 'private'\n", ""), "missing field"),
    ] {
        let (code, said) = check(&text);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.starts_with("trust-gate: ") && said.contains(says), "{says}: {said}");
    }
}
