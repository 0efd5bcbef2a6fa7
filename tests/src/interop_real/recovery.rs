//! The page "when the webhook blocks the cluster" (docs/recovery.md), run as it stands: each block of commands, in its order,
//! on a cluster whose gate is gone under `Fail`, and what it must have done is looked at afterwards.
//!
//! What needs a node (logs, port-forward, a rollout that ends) is named and not run: there is none here.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::admission::{SHOP, pod};
use super::cluster::Cluster;
use super::hook::{Hook, deploy, soon};
use super::report::{Outcome, Report, Said, equal};
use super::world::World;

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
    // "The file with your caBundle in it."
    let shipped = fs::read_to_string(deploy().join("kubernetes/50-webhooks.yaml"))?;
    let bundle = hook.certificates.bundle().map_err(io::Error::other)?;
    fs::write(hook.dir.join("50-webhooks.yaml"), shipped.replace("caBundle: \"\"", &format!("caBundle: {bundle}")))?;
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
        let commands = without_nodes(report, &block);
        if commands.is_empty() {
            continue;
        }
        let first = commands.lines().next().unwrap_or_default();
        let more = commands.lines().count().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
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
            let file = hook.dir.join("50-webhooks.yaml");
            let filled = fs::read_to_string(&file)?;
            report.step("registered again, for the rest of the page", hook.register(cluster).map(|_| String::new()));
            fs::write(&file, filled)?;
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
        let mut command = self.cluster.bash(&self.hook.dir, commands);
        let home = &self.world.operator.home;
        for (name, folder) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            command.env(format!("XDG_{name}_HOME"), home.join(folder));
        }
        Said::by(&mut command)
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

/// A block without the commands that need a node, which are named.
pub fn without_nodes(report: &Report, block: &str) -> String {
    let needs = |line: &&str| OF_A_NODE.iter().any(|word| line.contains(word));
    for line in block.lines().filter(needs) {
        report.note(&format!("needs a node, not run: {line}"));
    }
    block.lines().filter(|line| !needs(line)).collect::<Vec<_>>().join("\n")
}

/// The blocks of commands of a page.
pub fn blocks(text: &str) -> Vec<String> {
    fenced(text, "```sh")
}

/// The blocks of a page that begin so; in lists they are indented.
pub fn fenced(text: &str, begins: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    let mut indent = "";
    for line in text.lines() {
        let bare = line.trim_start();
        match &mut block {
            None if bare == begins => {
                indent = line.strip_suffix(bare).unwrap_or("");
                block = Some(String::new());
            }
            Some(_) if bare == "```" => found.extend(block.take()),
            Some(block) => {
                block.push_str(line.strip_prefix(indent).unwrap_or(line));
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_page_are_its_blocks_of_shell_and_what_needs_a_node_is_left_out_by_name() {
        let page =
            "text\n```sh\nkubectl apply -f a\nkubectl -n x logs y\n```\n```toml\nmode = \"warn\"\n```\n```sh\nb\n```\n";
        let blocks = blocks(page);
        assert_eq!(blocks, ["kubectl apply -f a\nkubectl -n x logs y\n", "b\n"]);
        assert_eq!(without_nodes(&Report::default(), &blocks[0]), "kubectl apply -f a");
        assert_eq!(fenced("1. a\n\n   ```yaml\n   b:\n     c: 1\n   ```\n", "```yaml"), ["b:\n  c: 1\n"]);
    }

    #[test]
    fn the_pages_that_are_run_have_commands() {
        let docs = deploy().join("../docs/recovery.md");
        for page in [
            docs,
            deploy().join("kubernetes/README.md"),
            deploy().join("gatekeeper/README.md"),
            deploy().join("helm/trust-gate/README.md"),
        ] {
            let text = fs::read_to_string(&page).unwrap();
            assert!(!blocks(&text).is_empty(), "{}", page.display());
        }
    }
}
