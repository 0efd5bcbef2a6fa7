//! The page "when the webhook blocks the cluster" (docs/recovery.md), run as it stands: each block of commands, in its order,
//! on a cluster whose gate is gone under `Fail`, and what it must have done is looked at afterwards.
//!
//! What needs a node (logs, port-forward, a rollout that ends) is named and not run: there is none here.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::admission::{SHOP, pod};
use super::cluster::Cluster;
use super::hook::{Hook, deploy, soon};
use super::report::{Outcome, Report, Said, equal};
use super::world::World;
use crate::stack::target_dir;

/// Commands that wait for a Pod that runs, or ask one.
const OF_A_NODE: [&str; 5] = [" logs ", "port-forward", "/readyz", "rollout status", "\"mode\":\"warn\""];

struct Page<'c> {
    cluster: &'c Cluster,
    world: &'c World,
    hook: &'c Hook,
}

/// Runs the page.
pub fn run(report: &mut Report, cluster: &Cluster, world: &World, hook: &mut Hook) -> io::Result<()> {
    report.part("docs/recovery.md, with the gate gone and Fail");
    if let Some(gate) = &mut hook.gate {
        gate.process.kill();
    }
    let filled = cluster.dir.join("webhooks.yaml");
    fs::copy(&filled, hook.dir.join("50-webhooks.yaml"))?;
    // What the page changes back and forth.
    let enforcing = fs::read_to_string(deploy().join("kubernetes/20-config.yaml"))?;
    let file = cluster.dir.join("enforcing.yaml");
    fs::write(&file, enforcing.replace("mode = \"warn\"", "mode = \"enforce\""))?;
    report
        .step("a configuration that enforces", Said::by(cluster.command().arg("apply").arg("-f").arg(&file)).done(&[]));
    let denied = || {
        let said = cluster.with("create", &pod("blocked", &world.name("app:v1")), &["--dry-run=server"]);
        said.refused(&["failed calling webhook"])
    };
    report.step("everything new is denied", soon(denied).map(|_| String::new()));

    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recovery.md"))?;
    let mut ran = Vec::new();
    for block in blocks(&text) {
        let page = Page { cluster, world, hook };
        let (here, elsewhere): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| !OF_A_NODE.iter().any(|word| line.contains(word)));
        for line in elsewhere {
            report.note(&format!("needs a node, not run: {line}"));
        }
        let commands = here.join("\n");
        if commands.trim().is_empty() {
            continue;
        }
        let first = here.first().copied().unwrap_or_default();
        let more = if here.len() > 1 { format!(" (and {} more)", here.len() - 1) } else { String::new() };
        // kubectl restarts nothing twice within one second.
        std::thread::sleep(Duration::from_millis(1_100));
        // Only the look at what ran meanwhile may find something.
        let outcome = match commands.contains("trust verify") {
            true => page.looks_through(&commands),
            false => page.run(&commands).done(&[]),
        };
        report.step(&format!("{first}{more}"), outcome);
        page.did(report, &commands);
        ran.push(commands.clone());
        if commands.contains("kubectl delete") {
            report.step("registered again, for the rest of the page", hook.register(cluster).map(|_| String::new()));
        }
    }
    let all = ran.concat();
    let whole = ["failurePolicy", "kubectl delete", "certificates renew", "caBundle", "50-webhooks.yaml"];
    report.check("the page has its ways back", whole.iter().all(|word| all.contains(word)));
    hook.start()?;
    report.step("the gate is back, with Fail", hook.set(cluster, "failurePolicy", "Fail"));
    let denied = || {
        let said = cluster.with("create", &pod("after", &world.name("app:unsigned")), &["--dry-run=server"]);
        said.refused(&["denied the request", "not signed"])
    };
    report.step("and it checks, with the certificate of section 5", soon(denied).map(|_| String::new()));
    Ok(())
}

impl Page<'_> {
    /// Where the operator stands: `certificates` and `50-webhooks.yaml` lie there.
    fn run(&self, commands: &str) -> Said {
        let mut command = Command::new("bash");
        self.world.operator.environment(&mut command);
        let mut paths = vec![target_dir()];
        let mut cluster = Command::new("true");
        self.cluster.environment(&mut cluster);
        for (name, value) in cluster.get_envs() {
            match (name.to_str(), value) {
                (Some("PATH"), Some(value)) => paths.extend(std::env::split_paths(value)),
                (Some("KUBECONFIG"), Some(value)) => _ = command.env(name, value),
                _ => {}
            }
        }
        command.env("PATH", std::env::join_paths(paths).unwrap_or_default());
        Said::by(command.args(["-euo", "pipefail", "-c", commands]).current_dir(&self.hook.dir))
    }

    /// The Pods that run are read, and each image has an answer.
    fn looks_through(&self, commands: &str) -> Outcome {
        let said = self.run(commands);
        let all = format!("{}\n{}", said.out, said.err);
        match all.contains(&self.world.name("app")) && (said.passed || all.contains("registry.example.com")) {
            true => Ok(all),
            false => Err(all),
        }
    }

    /// What a block must have done.
    fn did(&self, report: &mut Report, commands: &str) {
        let cluster = self.cluster;
        let kinds = ["validatingwebhookconfiguration/trust-gate", "mutatingwebhookconfiguration/trust-gate"];
        let of_both = |path: &str| {
            let found: Result<Vec<String>, String> =
                kinds.iter().map(|kind| cluster.stored("trust-gate", kind, path)).collect();
            found.map(|both| both.join(" "))
        };
        if commands.contains("mode = \"warn\"") {
            let text = cluster.stored("trust-gate", "configmap/trust-gate", ".data.gate\\.toml");
            let warns = text.is_ok_and(|t| t.contains("mode = \"warn\"") && !t.contains("mode = \"enforce\""));
            report.check("→ the stored configuration only warns", warns);
        }
        if commands.contains("rollout restart") {
            let path = ".spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt";
            let at = cluster.stored("trust-gate", "statefulset/trust-gate", path);
            report.check("→ the StatefulSet is to be rolled out", at.is_ok_and(|at| !at.is_empty()));
        }
        if commands.contains("\"value\":\"Ignore\"") {
            let seen = of_both(".webhooks[*].failurePolicy").and_then(|p| equal(&p, "Ignore Ignore"));
            report.step("→ both are Ignore", seen.map(|_| String::new()));
            let goes_on = || {
                let said = cluster.with("create", &pod("goes-on", &self.world.name("app:v1")), &["--dry-run=server"]);
                said.done(&[])
            };
            report.step("→ the cluster goes on", soon(goes_on).map(|_| String::new()));
        }
        if commands.contains("kubectl delete") {
            let gone = kinds.iter().all(|kind| cluster.kubectl(&["get", kind]).refused(&["NotFound"]).is_ok());
            report.check("→ both are gone", gone);
            let made = || cluster.create(&pod("unchecked", &self.world.name("app:unsigned"))).done(&["created"]);
            report.step("→ the cluster goes on, unchecked", soon(made).map(|_| String::new()));
        }
        if commands.contains("create secret tls") {
            let text = "-o=go-template={{index .data \"tls.crt\" | base64decode}}";
            let stored = cluster.kubectl(&["-n", "trust-gate", "get", "secret/trust-gate-tls", text]).out;
            let made = fs::read_to_string(self.hook.certificates.folder.join("tls.crt")).unwrap_or_default();
            report.check("→ the secret holds the new certificate", !made.is_empty() && stored == made);
        }
        if commands.contains("clientConfig/caBundle") {
            let bundle = self.hook.certificates.bundle().unwrap_or_default();
            let seen = of_both(".webhooks[*].clientConfig.caBundle");
            report.check("→ both believe its authority", seen.is_ok_and(|s| s == format!("{bundle} {bundle}")));
        }
        if commands.contains("50-webhooks.yaml") {
            let there = cluster.kubectl(&["-n", SHOP, "get", kinds[0], kinds[1]]);
            report.step("→ both are registered", there.done(&[]).map(|_| String::new()));
        }
    }
}

/// The blocks of commands of a page.
fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (Some(_), "```") => found.extend(block.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}
