//! A real OPA Gatekeeper that asks the gate as its external data provider, with deploy/gatekeeper as it is shipped.
//!
//! Gatekeeper is a process here, with its own manifests: its certificate is made as ours is, its webhooks get `caBundle` and
//! `failurePolicy: Fail` as our page says. It finds `trust-gate.trust-gate.svc` by a hosts file in a mount namespace of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::admission::{SHOP, deployment, pod};
use super::cluster::Cluster;
use super::counterparts::Counterparts;
use super::hook::{Certificates, Hook, deploy, soon};
use super::recovery::blocks;
use super::report::{Outcome, Report, Said, equal};
use super::world::World;
use crate::stack::{Process, free_port};

const NAMESPACE: &str = "gatekeeper-system";
const SERVICE: &str = "gatekeeper-webhook-service";
const KINDS: [(&str, &str); 2] = [
    ("validatingwebhookconfiguration", "gatekeeper-validating-webhook-configuration"),
    ("mutatingwebhookconfiguration", "gatekeeper-mutating-webhook-configuration"),
];

/// Installs Gatekeeper and the templates, and goes through the ways to be denied.
pub fn run(
    report: &mut Report,
    built: &Counterparts,
    cluster: &Cluster,
    world: &World,
    hook: &mut Hook,
) -> io::Result<()> {
    report.part("Gatekeeper asks the gate");
    let program = match built.program("gatekeeper") {
        Ok(program) => program,
        Err(why) => {
            report.absent("Gatekeeper", &why);
            return Ok(());
        }
    };
    let manifest = program.with_file_name("gatekeeper.yaml");
    let mut apply = cluster.command();
    let said = Said::by(apply.args(["apply", "--server-side", "-f"]).arg(&manifest));
    report.step("its own manifests", said.done(&["serverside-applied", SERVICE]).map(|_| String::new()));
    let mut process = Some(start(cluster, hook, &program)?);
    report.step("its webhooks get caBundle and Fail", registered(cluster));
    for commands in page(cluster, hook)? {
        let first = commands.lines().next().unwrap_or_default().to_owned();
        let more = commands.lines().count().saturating_sub(1);
        let said = cluster.shell(&cluster.dir.join("gatekeeper/page"), &commands);
        report.step(&format!("{first} (and {more} more)"), said.done(&[]));
    }
    questions(report, cluster, world);
    if let Some(gate) = &mut hook.gate {
        gate.process.kill();
    }
    std::thread::sleep(Duration::from_secs(2));
    let said = cluster.create(&deployment("gate-gone", &world.name("app:v2")));
    report.step(
        "the gate is gone: denied, as nothing was decided",
        said.refused(&["denied the request", "trusted-images"]),
    );
    let said = cluster.create(&pod("gate-gone", &world.name("app:v2")));
    report.step("a Pod is denied by the mutation already", said.refused(&["mutation.gatekeeper.sh"]));
    hook.start()?;
    let back = || cluster.with("create", &pod("gate-back", &world.name("app:v2")), &["--dry-run=server"]).done(&[]);
    report.step("it is back: passes", soon(back));
    for (kind, name) in KINDS {
        cluster.kubectl(&["delete", kind, name]);
    }
    process.take();
    Ok(())
}

fn questions(report: &mut Report, cluster: &Cluster, world: &World) {
    let (v1, unsigned) = (world.name("app:v1"), world.name("app:unsigned"));
    let try_deployment =
        |name: &str, image: &str| cluster.with("create", &deployment(name, image), &["--dry-run=server"]);
    let warned = || try_deployment("warned", &unsigned).done(&["Warning: [trusted-images]", "not signed"]);
    report.step("the constraint begins with warn: allowed, and people are warned", soon(warned));
    let deny = r#"{"spec":{"enforcementAction":"deny"}}"#;
    let patch = ["patch", "trustedimages/trusted-images", "--type=merge", "-p", deny];
    report.step("then deny", cluster.kubectl(&patch).done(&[]));
    let denied =
        || try_deployment("denied", &unsigned).refused(&["denied the request", "[trusted-images]", "not signed"]);
    report.step("an unsigned Deployment: denied, with our reason", soon(denied));
    report.step("a signed one: passes", try_deployment("passes", &v1).done(&[]));
    let pinned = || {
        let said = cluster.with(
            "create",
            &pod("pinned", &v1),
            &["--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}"],
        );
        said.text().and_then(|found| equal(&found, &world.pinned("app:v1", &world.v1)))
    };
    report.step("a signed Pod: the mutation gives it the verified digest", soon(pinned));
    let said = cluster.create(&pod("unsigned", &unsigned));
    report.step("an unsigned Pod: denied", said.refused(&["denied the request", "not signed"]));
    let mut volume = pod("volume", &v1);
    volume["spec"]["volumes"] = json!([{ "name": "data", "image": { "reference": unsigned } }]);
    report.step(
        "an unsigned image volume: denied",
        cluster.create(&volume).refused(&["denied", "[trusted-images]", "not signed"]),
    );
    let made = cluster.create(&pod("debugged", &v1)).done(&["created"]);
    let said =
        cluster.kubectl(&["-n", SHOP, "debug", "pod/debugged", &format!("--image={unsigned}"), "--attach=false"]);
    let outcome = made.and_then(|_| said.refused(&["denied", "[trusted-images]", "not signed"]));
    report.step("kubectl debug with an unsigned image: denied", outcome);
    let said = cluster.kubectl(&["-n", SHOP, "delete", "pod/debugged"]);
    report.step("deletion passes", said.done(&["deleted"]));
}

/// The process, at the address of its Service.
fn start(cluster: &Cluster, hook: &Hook, program: &Path) -> io::Result<Process> {
    let dir = cluster.dir.join("gatekeeper");
    fs::create_dir_all(&dir)?;
    let names = [format!("{SERVICE}.{NAMESPACE}.svc")];
    Certificates::make(&folder(cluster), &names).map_err(io::Error::other)?;
    let address =
        cluster.stored(NAMESPACE, &format!("service/{SERVICE}"), ".spec.clusterIP").map_err(io::Error::other)?;
    let hosts = dir.join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost\n{} trust-gate.trust-gate.svc\n", hook.address))?;
    let mut command = Command::new("unshare");
    cluster.environment(&mut command);
    command.env("POD_NAME", "gatekeeper-0").env("POD_NAMESPACE", NAMESPACE).env("NAMESPACE", NAMESPACE);
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&hosts).arg(program);
    command.arg(format!("--host={address}")).arg("--port=443").arg(format!("--cert-dir={}", folder(cluster).display()));
    command.arg(format!("--health-addr=127.0.0.1:{}", free_port()?));
    command.arg(format!("--prometheus-port={}", free_port()?));
    for operation in ["webhook", "mutation-webhook", "status", "mutation-status", "generate"] {
        command.arg(format!("--operation={operation}"));
    }
    command.args(["--disable-cert-rotation", "--debug-use-fake-pod", "--logtostderr"]);
    command.args(["--disable-opa-builtin={http.send}", "--exempt-namespace=gatekeeper-system"]);
    // What it has heard is not kept for longer than a step takes.
    command.arg("--external-data-provider-response-cache-ttl=1s");
    Process::start("gatekeeper", &mut command, &dir.join("log"))
}

fn folder(cluster: &Cluster) -> PathBuf {
    cluster.dir.join("gatekeeper/certificates")
}

fn registered(cluster: &Cluster) -> Outcome {
    let certificates = Certificates { folder: folder(cluster) };
    let bundle = certificates.bundle()?;
    for (kind, name) in KINDS {
        let text = cluster.kubectl(&["get", kind, name, "-o", "jsonpath={.webhooks[*].name}"]).text()?;
        let steps: Vec<Value> = (0..text.split_whitespace().count())
            .flat_map(|n| {
                let set = |path: &str, value: &str| {
                    json!({ "op": "add", "path": format!("/webhooks/{n}/{path}"), "value": value })
                };
                [set("clientConfig/caBundle", &bundle), set("failurePolicy", "Fail")]
            })
            .collect();
        let patch = Value::from(steps).to_string();
        cluster.kubectl(&["patch", kind, name, "--type=json", "-p", &patch]).done(&[])?;
    }
    Ok(String::new())
}

/// The commands of deploy/gatekeeper/README.md, and a folder where they can be run as they stand.
fn page(cluster: &Cluster, hook: &Hook) -> io::Result<Vec<String>> {
    let (shipped, here) = (deploy().join("gatekeeper"), cluster.dir.join("gatekeeper/page"));
    fs::create_dir_all(&here)?;
    for entry in fs::read_dir(&shipped)? {
        let entry = entry?;
        fs::copy(entry.path(), here.join(entry.file_name()))?;
    }
    std::os::unix::fs::symlink(&hook.certificates.folder, here.join("certificates"))?;
    Ok(blocks(&fs::read_to_string(shipped.join("README.md"))?))
}
