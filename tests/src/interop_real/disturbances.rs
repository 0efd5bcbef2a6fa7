//! Bad days of the admission hook on a real `kube-apiserver`: another certificate and another authority while it serves, a
//! gate that hangs, a gate that is gone under `Fail` and under `Ignore`, and the ways back.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use super::admission::{SHOP, pod};
use super::cluster::Cluster;
use super::hook::{Hook, soon};
use super::report::{Outcome, Report, Said};
use super::world::World;
use crate::stack::gate;

/// Creates a signed Pod (dry run) again and again; each must pass.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, Vec<String>)>>,
}

impl Traffic {
    fn start(cluster: &Cluster, object: &Value) -> io::Result<Self> {
        let file = cluster.file(object)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let mut command = cluster.command();
        command.arg("create").arg("-f").arg(file).arg("--dry-run=server");
        let thread = std::thread::spawn(move || {
            let (mut passed, mut failures) = (0, Vec::new());
            while !flag.load(Ordering::SeqCst) {
                let said = Said::by(&mut command);
                if said.passed {
                    passed += 1
                } else {
                    failures.push(said.err)
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            (passed, failures)
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        let (passed, failures) = self.thread.take().and_then(|t| t.join().ok()).unwrap_or_default();
        match failures.first() {
            None if passed > 0 => Ok(format!("{passed} creations meanwhile, none failed")),
            None => Err("nothing was created meanwhile".to_owned()),
            Some(first) => Err(format!("{} of {} failed: {first}", failures.len(), passed + failures.len())),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Another certificate of another authority (`trust-gate certificates rotate`), without a restart and without one failed call.
pub fn rotation(report: &mut Report, cluster: &Cluster, world: &World, hook: &Hook) -> io::Result<()> {
    report.part("Kubernetes: certificate rotation while serving");
    let certificates = &hook.certificates;
    let rotate = |step: &str| certificates.run(&["rotate", "--step", step]);
    let address = hook.gate.as_ref().map(|g| g.address.clone()).unwrap_or_default();
    let process = hook.gate.as_ref().map(|g| g.process.id());
    let old = fs::read_to_string(certificates.authority())?;
    let traffic = Traffic::start(cluster, &pod("rotated", &world.name("app:v1")))?;
    report.step("rotate --step introduce", rotate("introduce").done(&[]));
    let both = || certificates.bundle().and_then(|bundle| hook.believe(cluster, &bundle));
    report.step("both authorities in caBundle", both());
    std::thread::sleep(Duration::from_secs(2));
    report.step("rotate --step switch", rotate("switch").done(&[]));
    let next = certificates.folder.join("next-authority.crt");
    let served =
        || gate::post_to(&address, SERVED, &next, "/validate", b"{}").map(|_| String::new()).map_err(|e| e.to_string());
    report.step("the gate serves the new certificate", soon(served));
    // Another text of the same bundle, so that the API server makes new connections: those meet the new certificate.
    let new = fs::read_to_string(&next)?;
    report
        .step("new connections believe it by the same two authorities", hook.believe(cluster, &base64(&[&new, &old])));
    std::thread::sleep(Duration::from_secs(2));
    report.step("rotate --step retire", rotate("retire").done(&[]));
    report.step("the old authority is taken out of caBundle", both());
    std::thread::sleep(Duration::from_secs(3));
    report.step("no call failed", traffic.end());
    report.check("and the gate was not restarted", hook.gate.as_ref().map(|g| g.process.id()) == process);

    // The check above can fail: without the overlap it does. A bundle that was not there before, so that the API server
    // does not go on with connections that it has.
    let stranger = rcgen::generate_simple_self_signed(["stranger".to_owned()]).map_err(io::Error::other)?;
    report.step("the old authority and a stranger", hook.believe(cluster, &base64(&[&old, &stranger.cert.pem()])));
    let denied = || create(cluster, "refused", world, "app:v1").refused(&["failed calling webhook", "x509"]);
    report.step("are a failed call, and Fail denies", soon(denied));
    report.step("the new one again", both());
    report.step("passes", soon(|| create(cluster, "again", world, "app:v1").done(&[])).map(|_| String::new()));
    Ok(())
}

/// What the API server calls the gate.
const SERVED: &str = "trust-gate.trust-gate.svc";

fn base64(authorities: &[&str]) -> String {
    Base64::encode_string(authorities.concat().as_bytes())
}

fn create(cluster: &Cluster, name: &str, world: &World, image: &str) -> Said {
    cluster.with("create", &pod(name, &world.name(image)), &["--dry-run=server"])
}

/// A gate that hangs, and one that is gone.
pub fn down(report: &mut Report, cluster: &Cluster, world: &World, hook: &mut Hook) -> io::Result<()> {
    report.part("Kubernetes: the webhook is down");
    if let Some(gate) = &hook.gate {
        gate.process.signal("STOP");
        let begun = Instant::now();
        let said = create(cluster, "hangs", world, "app:v1");
        let seconds = begun.elapsed().as_secs_f64();
        report.step(
            "a gate that hangs, Fail: denied at the webhook's deadline",
            said.refused(&["failed calling webhook"]),
        );
        report.note(&format!("after {seconds:.1} s"));
        gate.process.signal("CONT");
    }
    report.step("it goes on: passes again", soon(|| create(cluster, "goes-on", world, "app:v1").done(&[])));
    if let Some(gate) = &mut hook.gate {
        gate.process.kill();
    }
    let said = create(cluster, "gone", world, "app:v1");
    report.step("a gate that is gone, Fail: also what is signed is denied", said.refused(&["failed calling webhook"]));
    let said = cluster.kubectl(&["-n", SHOP, "scale", "deployment/web", "--replicas=1"]);
    report.step("scaling goes on", said.done(&[]));
    let said = cluster.kubectl(&["-n", SHOP, "delete", "pod/moved"]);
    report.step("deletion goes on", said.done(&[]));
    report.step("the gate's own Pods can be made: its namespace is left out", own_pod(cluster));
    report.step("failurePolicy: Ignore", hook.set(cluster, "failurePolicy", "Ignore"));
    let passes = || create(cluster, "ignored", world, "app:unsigned").done(&[]);
    report.step("a gate that is gone, Ignore: what is unsigned passes (the price of Ignore)", soon(passes));
    hook.start()?;
    let denied = || create(cluster, "back", world, "app:unsigned").refused(&["denied the request", "not signed"]);
    report.step("the gate is back, Ignore: what it denies is denied", soon(denied));
    report.step("failurePolicy: Fail again", hook.set(cluster, "failurePolicy", "Fail"));
    Ok(())
}

/// The Pod of the shipped StatefulSet, as its controller would make it.
fn own_pod(cluster: &Cluster) -> Outcome {
    let template = cluster.kubectl(&["-n", "trust-gate", "get", "statefulset/trust-gate", "-o", "json"]).text()?;
    let template: Value = serde_json::from_str(&template).map_err(|e| e.to_string())?;
    let mut spec = template["spec"]["template"]["spec"].clone();
    let state = json!({ "name": "state", "persistentVolumeClaim": { "claimName": "state-trust-gate-0" } });
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.push(state);
    }
    let labels = template["spec"]["template"]["metadata"]["labels"].clone();
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": { "name": "trust-gate-0", "namespace": "trust-gate", "labels": labels },
    });
    cluster.create(&object).done(&["created"])
}

/// The last way back: the configurations are gone, and so are the checks.
pub fn removal(report: &mut Report, cluster: &Cluster, world: &World, hook: &mut Hook) -> io::Result<()> {
    report.part("Kubernetes: the webhook configurations are deleted, with the gate gone and Fail");
    if let Some(gate) = &mut hook.gate {
        gate.process.kill();
    }
    let denied = || create(cluster, "blocked", world, "app:v1").refused(&["failed calling webhook"]);
    report.step("everything new is denied", soon(denied));
    let names = ["validatingwebhookconfiguration/trust-gate", "mutatingwebhookconfiguration/trust-gate"];
    let said = cluster.kubectl(&["delete", names[0], names[1]]);
    report.step("kubectl delete of both configurations is asked of nobody", said.done(&["deleted"]));
    let passes = || create(cluster, "free", world, "app:v1").done(&[]);
    report.step("and the cluster goes on, unchecked", soon(passes));
    hook.start()?;
    report.step("registered again", hook.register(cluster));
    report.step("with Fail", hook.set(cluster, "failurePolicy", "Fail"));
    let denied = || create(cluster, "checked", world, "app:unsigned").refused(&["denied the request", "not signed"]);
    report.step("it checks again", soon(denied));
    Ok(())
}
