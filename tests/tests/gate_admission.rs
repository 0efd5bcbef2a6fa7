//! The door of Kubernetes over TLS, with a decider of its own: patches as an independent program applies them, the
//! certificate that changes and whose authority is rotated, the deadline, and the other doors on the same address.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use trust_gate::admission::Admission;
use trust_gate::certificates::{Folder, Step};
use trust_gate::config::{AdmissionConfig, GatekeeperConfig, Mode};
use trust_gate::decides::{Asked, Decides, Judges, Verdict};
use trust_image::{Digest, Reference, workload};
use trust_listen::Certificate;
use trust_tests::stack::gate::{certificate, post};
use trust_tests::stack::{Process, built, tool, wait_for_file};

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

impl Judges for Fake {
    fn decide(&self, asked: &Asked<'_>) -> Verdict {
        std::thread::sleep(self.delay);
        let digest = asked.image.starts_with("signed.example.com/").then(|| digest(asked.image));
        let line = "the image is not signed (E1001)".to_owned();
        let pinned = digest.and_then(|digest| trust_image::pin::pinned(asked.image, &digest)).map(Into::into);
        let environment = "public-eu".to_owned();
        Verdict { digest, pinned, exception: None, line, trials: Vec::new(), environment, policy: None }
    }
}

impl Decides for Fake {
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
        Self::open_with(fake, |dir| certificate(dir).unwrap(), |_| {})
    }

    fn open_with(fake: Fake, certify: impl FnOnce(&Path), change: impl FnOnce(&mut AdmissionConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        certify(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = AdmissionConfig {
            listen: address,
            certificate: dir.path().join("tls.crt"),
            key: dir.path().join("tls.key"),
            mode: Mode::Enforce,
            recheck_unchanged: Default::default(),
            pin: Default::default(),
            tags: Default::default(),
            kinds: Default::default(),
            gatekeeper: None,
            image_review: false,
            drain: Duration::ZERO,
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let certificate = Certificate::load(&config.certificate, &config.key).unwrap();
                let acceptor = certificate.acceptor().unwrap();
                let follower = tokio::spawn(certificate.follow(Duration::from_millis(200)));
                let router = Admission::configured(Arc::new(fake), &config).router();
                trust_listen::serve(listener, Some(acceptor), router, async move { drop(stopped.await) }).await;
                follower.abort();
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
    std::thread::sleep(Duration::from_secs(1));
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

/// Whether somebody who believes these authorities gets an answer.
fn reaches(door: &Door, authorities: &[u8]) -> bool {
    let asked = review("CREATE", &object("", "Pod", &json!({"containers": [{"image": "x"}]})), &Value::Null);
    let dir = tempfile::tempdir().unwrap();
    // Each authority alone: the helper believes one certificate of a file.
    let text = String::from_utf8(authorities.to_vec()).unwrap();
    text.split_inclusive("-----END CERTIFICATE-----\n").filter(|pem| !pem.trim().is_empty()).any(|pem| {
        let file = dir.path().join("ca.crt");
        fs::write(&file, pem).unwrap();
        post(&door.address.to_string(), &file, "/validate", asked.to_string().as_bytes()).is_ok()
    })
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_authority_is_rotated_while_the_door_serves_and_whoever_has_the_bundle_of_that_step_always_gets_an_answer() {
    let names = ["localhost".to_owned()];
    let make = |dir: &Path| drop(Folder::take(dir).unwrap().make(&names, 30, SystemTime::now()).unwrap());
    let door = Door::open_with(Fake::default(), make, |_| {});
    let folder = Folder::look(door.dir.path());
    let bundle = || fs::read(door.dir.path().join("bundle.crt")).unwrap();
    let (old, now) = (bundle(), SystemTime::now());
    assert!(reaches(&door, &old));
    folder.rotate(Step::Introduce, 30, now).unwrap();
    let both = bundle();
    assert!(reaches(&door, &both) && reaches(&door, &old));
    folder.rotate(Step::Switch, 30, now).unwrap();
    // Whoever has both believes what is served before, while and after the gate takes the new one.
    until("the certificate of the new authority is not served", || {
        assert!(reaches(&door, &both));
        !reaches(&door, &old)
    });
    folder.rotate(Step::Retire, 30, now).unwrap();
    assert!(reaches(&door, &bundle()));
    assert_ne!(bundle(), old);
}

#[test]
fn the_program_makes_certificates_that_openssl_believes_too_and_says_what_to_do_next() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("certificates");
    let run = |arguments: &[&str]| {
        let output = Command::new(built("trust-gate"))
            .arg("certificates")
            .args(arguments)
            .arg("--folder")
            .arg(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run(&["show"]);
    assert!(code == Some(3) && said.contains("begin with `make`"), "{said}");
    let (code, said) = run(&["make", "--dns", "trust-gate.trust-gate.svc"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("made an authority") && said.contains("caBundle"), "{said}");
    let (_, again) = run(&["make", "--dns", "trust-gate.trust-gate.svc"]);
    assert!(again.starts_with("done  nothing: it is there already"), "{again}");
    for step in ["introduce", "switch", "retire"] {
        let (code, said) = run(&["rotate", "--step", step]);
        assert_eq!(code, Some(0), "{said}");
        let (_, bundle) = run(&["bundle"]);
        let pem = Base64::decode_vec(bundle.trim()).unwrap();
        assert_eq!(pem, fs::read(folder.join("bundle.crt")).unwrap());
        let Ok(openssl) = Command::new("openssl")
            .args(["verify", "-purpose", "sslserver", "-verify_hostname", "trust-gate.trust-gate.svc", "-CAfile"])
            .arg(folder.join("bundle.crt"))
            .arg(folder.join("tls.crt"))
            .output()
        else {
            println!("SKIPPED: gate_admission: openssl is missing");
            return;
        };
        assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
    }
    let (code, said) = run(&["rotate", "--step", "switch"]);
    assert!(code == Some(3) && said.contains("introduce"), "{said}");
    let (code, _) = run(&["make", "--dns", "Not a name"]);
    assert_eq!(code, Some(3));
}

/// A gate as a process on this folder, and where it listens.
fn started(dir: &Path) -> (Process, String) {
    started_with(dir, &configuration(dir))
}

fn started_with(dir: &Path, text: &str) -> (Process, String) {
    fs::write(dir.join("gate.toml"), text).unwrap();
    let ready = dir.join("ready");
    let mut command = Command::new(built("trust-gate"));
    command.arg("admission").arg("--config").arg(dir.join("gate.toml")).arg("--ready-file").arg(&ready);
    let mut process = Process::start("trust-gate", &mut command, &dir.join("gate.log")).unwrap();
    let address = wait_for_file(&mut process, &ready).unwrap();
    (process, address.trim().to_owned())
}

#[test]
fn a_certificate_that_is_about_to_end_is_in_the_log_of_a_gate_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    Folder::take(dir.path()).unwrap().make(&names, 5, SystemTime::now()).unwrap();
    let _gate = started(dir.path());
    let said = || fs::read_to_string(dir.path().join("gate.log")).unwrap();
    until("nothing is said of the end", || said().contains("the certificate ends in 4 days and 23 hours"));
    // A new one is taken and said to be; its own end is far.
    Folder::look(dir.path()).renew(100, SystemTime::now()).unwrap();
    until("the new one is not taken", || said().contains("the certificate was changed"));
    assert_eq!(said().matches("the certificate ends in").count(), 1, "{}", said());
}

#[test]
fn a_gate_whose_certificate_has_expired_says_so_reaches_nobody_and_takes_a_new_one_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let ten_days_ago = SystemTime::now() - Duration::from_secs(10 * 86_400);
    Folder::take(dir.path()).unwrap().make(&names, 5, ten_days_ago).unwrap();
    let (_gate, address) = started(dir.path());
    let said = || fs::read_to_string(dir.path().join("gate.log")).unwrap();
    until("nothing is said of the end", || said().contains("the certificate has expired"));
    let asked =
        review("CREATE", &object("", "Pod", &json!({"containers": [{"image": "x"}]})), &Value::Null).to_string();
    let ask = || post(&address, &dir.path().join("authority.crt"), "/validate", asked.as_bytes());
    assert!(ask().is_err(), "an expired certificate is believed");
    Folder::look(dir.path()).renew(100, SystemTime::now()).unwrap();
    until("the new one is not served", || ask().is_ok_and(|answer| answer.status == 200));
}

#[test]
fn a_gate_that_only_looks_says_in_its_own_log_what_would_be_denied_and_in_which_mode() {
    for mode in ["warn", "audit"] {
        let dir = tempfile::tempdir().unwrap();
        certificate(dir.path()).unwrap();
        let text = configuration(dir.path())
            .replace("[admission]\n", &format!("[admission]\nimage_review = true\nmode = '{mode}'\n"));
        let (_gate, address) = started_with(dir.path(), &text);
        let ask = |path: &str, body: &Value| {
            let answer = post(&address, &dir.path().join("tls.crt"), path, body.to_string().as_bytes()).unwrap();
            serde_json::from_slice::<Value>(&answer.body).unwrap()
        };
        let pod = object("", "Pod", &json!({"containers": [{"image": "registry.example.com/pay/api:1"}]}));
        let answer = ask("/validate", &review("CREATE", &pod, &Value::Null));
        assert_eq!(answer["response"]["allowed"], true, "{answer}");
        let shown = json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview",
            "spec": {"namespace": "plugin", "containers": [{"image": "registry.example.com/pay/api:1"}]}});
        assert_eq!(ask("/imagereview", &shown)["status"]["allowed"], true);
        let said = || fs::read_to_string(dir.path().join("gate.log")).unwrap();
        until("the denials that were not given are not in the log", || {
            said().matches("would be denied: ").count() == 2
        });
        let said = said();
        let line = |words: &str| said.lines().find(|line| line.contains("would be denied: ") && line.contains(words));
        for words in ["kind=\"Pod\"", "namespace=\"plugin\""] {
            let line = line(words).unwrap_or_else(|| panic!("{words}: {said}"));
            assert!(line.contains(&format!("mode=\"{mode}\"")) && line.contains("INFO"), "{line}");
            assert!(line.contains("registry.example.com/pay/api:1"), "{line}");
        }
    }
}

#[test]
fn a_flood_of_connections_that_are_reset_and_of_handshakes_that_stop_keeps_nobody_out() {
    let door = Door::open(Fake::default());
    let spec = json!({"containers": [{"image": "signed.example.com/a:1"}]});
    let asked = review("CREATE", &object("apps", "Deployment", &spec), &Value::Null);
    let connect = || TcpStream::connect(door.address).unwrap();
    // Half a record of a handshake, and nothing more.
    let stopped: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut socket = connect();
            socket.write_all(&[22, 3, 1, 2]).unwrap();
            socket
        })
        .collect();
    for round in 0..20 {
        for n in 0..50 {
            let mut socket = connect();
            // Some say a little before.
            let _ = socket.write_all(&[22, 3, 1][..n % 4]);
            // Closed with what is called a linger of nothing: a reset.
            rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(door.ask("/mutate?timeout=5s", &asked)["allowed"], true, "round {round}");
    }
    drop(stopped);
}

#[test]
fn gatekeeper_is_answered_on_the_same_address_only_where_that_is_configured() {
    let asked = json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest",
        "request": {"keys": ["signed.example.com/a:1", "unsigned.example.com/a:1"]}});
    let closed = Door::open(Fake::default());
    let ask = |door: &Door, path: &str, body: &Value| {
        post(&door.address.to_string(), &door.ca(), path, body.to_string().as_bytes()).unwrap()
    };
    for path in ["/gatekeeper/validate", "/gatekeeper/mutate", "/imagereview"] {
        assert_eq!(ask(&closed, path, &asked).status, 404, "{path}");
    }
    let certify = |dir: &Path| certificate(dir).unwrap();
    let open = |fake: Fake| {
        Door::open_with(fake, certify, |config| {
            config.gatekeeper = Some(GatekeeperConfig::default());
            config.image_review = true;
        })
    };
    let door = open(Fake::default());
    for path in ["/gatekeeper/validate", "/gatekeeper/mutate"] {
        let answer = ask(&door, path, &asked);
        assert_eq!(answer.status, 200);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let items = answer["response"]["items"].as_array().unwrap();
        let pinned = format!("signed.example.com/a:1@{}", digest("signed.example.com/a:1"));
        assert_eq!(items[0], json!({"key": "signed.example.com/a:1", "value": pinned}));
        assert_eq!(items[1], json!({"key": "unsigned.example.com/a:1", "error": "the image is not signed (E1001)"}));
        assert_eq!(answer["response"]["idempotent"], true);
    }
    assert_eq!(ask(&door, "/gatekeeper/validate", &json!({"kind": "ProviderRequest"})).status, 400);
    // Nobody waits longer than Gatekeeper does, and what was not decided is an error of the whole.
    let slow = open(Fake { delay: Duration::from_secs(3) });
    let answer = ask(&slow, "/gatekeeper/mutate", &asked);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["response"]["systemError"], "no decision in time");
    assert_eq!(answer["response"]["items"], json!([]));
    let pod = |image: &str| {
        json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview",
            "spec": {"containers": [{"image": image}], "namespace": "shop"}})
    };
    for (image, allowed) in [
        (format!("signed.example.com/a@{}", digest("signed.example.com/a")), true),
        ("unsigned.example.com/a:1".to_owned(), false),
    ] {
        let answer: Value = serde_json::from_slice(&ask(&door, "/imagereview", &pod(&image)).body).unwrap();
        assert_eq!(answer["status"]["allowed"], allowed, "{answer}");
    }
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

/// A gate that decides by signatures alone, beside `tls.crt` and `tls.key`; its server is not there.
fn configuration(dir: &Path) -> String {
    let root = trust_tests::simulator::Repository::new().pinned;
    fs::write(dir.join("r.root.json"), &root).unwrap();
    format!(
        "state = 'state'\npolicy = 'signatures-alone'\n[[collections]]\nname = 'registry.example.com/pay'\nroot = 'r.root.json'\n\
         fingerprint = '{}'\nserver = 'https://127.0.0.1:1'\n[environment]\nname = 'dc'\ncloud = 'private'\n\
         [admission]\nlisten = '127.0.0.1:0'\ncertificate = 'tls.crt'\nkey = 'tls.key'\n",
        trust_reader::anchor::fingerprint(&root)
    )
}

#[test]
fn the_program_says_whether_its_configuration_is_good() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path()).unwrap();
    let good = configuration(dir.path());
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
        (
            good.replace("[environment]\nname = 'dc'\n", "[namespaces]\nshop = 'dc'\n[environments.dc]\n")
                + "[admission.gatekeeper]\nnamespace = 'shopp'\n",
            "is not in [namespaces], did you mean `shop`?",
        ),
    ] {
        let (code, said) = check(&text);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.starts_with("trust-gate: ") && said.contains(says), "{says}: {said}");
    }
}
