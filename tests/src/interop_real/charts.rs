//! The Helm chart by the real `helm`, and what it renders shown to a real API server: every object is checked by its schema,
//! unknown members are refused. Then installed, upgraded and uninstalled.
//!
//! The kinds of cert-manager are known there by a definition of ours without a schema: their members are not checked.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::counterparts::Counterparts;
use super::hook::{Hook, deploy, soon};
use super::recovery::{blocks, fenced};
use super::report::{Outcome, Report, Said, equal};
use crate::helm::yaml;

const NAMESPACE: &str = "by-helm";

struct Helm<'c> {
    program: PathBuf,
    cluster: &'c Cluster,
    chart: PathBuf,
    bundle: String,
}

/// Lints, renders, shows and installs the chart.
pub fn run(report: &mut Report, built: &Counterparts, cluster: &Cluster, hook: &Hook) -> io::Result<()> {
    report.part("The Helm chart");
    let chart = deploy().join("helm/trust-gate");
    let program = match built.program("helm") {
        Ok(program) if chart.join("Chart.yaml").is_file() => program,
        Ok(_) => {
            report.absent("the Helm chart", "deploy/helm/trust-gate is not there");
            return Ok(());
        }
        Err(why) => {
            report.absent("helm", &why);
            return Ok(());
        }
    };
    let bundle = hook.certificates.bundle().map_err(io::Error::other)?;
    let helm = Helm { program, cluster, chart, bundle };
    let free = ["validatingwebhookconfiguration/trust-gate", "mutatingwebhookconfiguration/trust-gate"];
    report.step("the webhooks of the manifests make room", cluster.kubectl(&["delete", free[0], free[1]]).done(&[]));
    report.step("a namespace for the release", cluster.kubectl(&["create", "namespace", NAMESPACE]).done(&[]));
    for (plural, kind) in [("certificates", "Certificate"), ("issuers", "Issuer")] {
        report.step(&format!("a definition of cert-manager's {kind}"), of_cert_manager(cluster, plural, kind));
    }
    for values in helm.values()? {
        let name = values.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report.step(&format!("helm lint --strict, {name}"), helm.lint(&values).map(|_| String::new()));
        report.step(&format!("helm template gives what our own renderer gave, {name}"), helm.golden(&values));
        let applied = || helm.dry_run(&values);
        report.step(&format!("helm template, and all of it valid at the API server, {name}"), soon(applied));
    }
    helm.page(report, hook)?;
    helm.release(report)
}

fn of_cert_manager(cluster: &Cluster, plural: &str, kind: &str) -> Outcome {
    let group = "cert-manager.io";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced", "names": { "plural": plural, "kind": kind },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    });
    cluster.create(&definition).done(&["created"]).map(|_| String::new())
}

impl Helm<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        self.cluster.environment(&mut command);
        command.args(arguments);
        command
    }

    /// The files of values that the chart's own tests use.
    fn values(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.chart.join("ci"))?.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
        files.sort();
        Ok(files)
    }

    fn lint(&self, values: &Path) -> Outcome {
        let mut command = self.command(&["lint", "--strict", "--kube-version", "1.36.3"]);
        Said::by(command.arg(&self.chart).arg("-f").arg(values)).done(&["0 chart(s) failed"])
    }

    /// What the real Helm renders is what the tests' own renderer does (tests/golden/helm), object by object.
    fn golden(&self, values: &Path) -> Outcome {
        let name = values.file_name().unwrap_or_default().to_string_lossy().replace("-values.yaml", ".yaml");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/helm").join(&name);
        let golden = fs::read_to_string(&golden).map_err(|e| format!("{}: {e}", golden.display()))?;
        let mut command = self.command(&["template", "trust", "--kube-version", "1.36.3", "-n", "trust-system"]);
        let rendered = Said::by(command.arg(&self.chart).arg("-f").arg(values)).text()?;
        let (ours, theirs) = (objects(&golden)?, objects(&rendered)?);
        for (one, other) in ours.iter().zip(&theirs) {
            let name = format!("{} {}", one["kind"], one["metadata"]["name"]);
            same(&name, one, other)?;
        }
        equal(&theirs.len().to_string(), &ours.len().to_string())?;
        Ok(format!("{} objects", theirs.len()))
    }

    /// A command on the chart with these values, and the authority that the operator fills in.
    fn on_chart(&self, arguments: &[&str], values: &Path) -> Command {
        let mut command = self.command(arguments);
        command.arg("trust-gate").arg(&self.chart).args(["-n", NAMESPACE]).arg("-f").arg(values);
        command.arg("--set").arg(format!("certificate.caBundle={}", self.bundle));
        command
    }

    fn dry_run(&self, values: &Path) -> Outcome {
        let rendered = Said::by(&mut self.on_chart(&["template", "--kube-version", "1.36.3"], values)).text()?;
        let file = self.cluster.dir.join("rendered.yaml");
        fs::write(&file, rendered).map_err(|e| e.to_string())?;
        let mut apply = self.cluster.command();
        apply.args(["-n", NAMESPACE, "apply", "--dry-run=server", "--validate=strict", "-f"]).arg(&file);
        let said = Said::by(&mut apply);
        match said.err.lines().find(|line| line.starts_with("Warning")) {
            Some(warning) if said.passed => Err(warning.to_owned()),
            _ => said.done(&["server dry run"]),
        }
    }

    /// The install command of the chart's own page, with the values that it shows; what the manifests made makes room.
    fn page(&self, report: &mut Report, hook: &Hook) -> io::Result<()> {
        let here = self.cluster.dir.join("helm-page");
        fs::create_dir_all(here.join("bin"))?;
        symlink(deploy(), here.join("deploy"))?;
        symlink(&self.program, here.join("bin/helm"))?;
        symlink(&hook.certificates.folder, here.join("certificates"))?;
        for root in ["pay.root.json", "policy.root.json"] {
            fs::copy(hook.dir.join(root), here.join(root))?;
        }
        let readme = fs::read_to_string(self.chart.join("README.md"))?;
        let shown = fenced(&readme, "```yaml").into_iter().next().unwrap_or_default();
        fs::write(here.join("values.yaml"), shown.replace('…', &"0".repeat(64)))?;
        let kinds = "statefulset,configmap,service,serviceaccount,poddisruptionbudget,networkpolicy";
        let room = self.cluster.kubectl(&["-n", "trust-gate", "delete", kinds, "--all"]);
        report.step("what the manifests made makes room", room.done(&["deleted"]).map(|_| String::new()));
        let install = blocks(&readme).into_iter().find(|block| block.contains("helm upgrade --install"));
        let commands = format!("PATH=$PWD/bin:$PATH\n{}", install.unwrap_or_else(|| "false".to_owned()));
        let said = self.cluster.shell(&here, &commands);
        report.step("the install command of the chart's page", said.done(&["STATUS: deployed"]));
        let path = "jsonpath={.data.pay\\.root\\.json}";
        let stored = self.cluster.kubectl(&["-n", "trust-gate", "get", "configmap/trust-gate-roots", "-o", path]).out;
        let root = fs::read_to_string(hook.dir.join("pay.root.json"))?;
        report.check("→ the stored root is the file, to the byte", !root.is_empty() && stored == root);
        let said = Said::by(&mut self.command(&["uninstall", "trust-gate", "-n", "trust-gate"]));
        report.step("helm uninstall", said.done(&["uninstalled"]));
        Ok(())
    }

    fn release(&self, report: &mut Report) -> io::Result<()> {
        let values = self.values()?;
        let named = |name: &str| values.iter().find(|f| f.ends_with(name)).cloned().unwrap_or_default();
        let said = Said::by(&mut self.on_chart(&["install"], &named("warn-values.yaml")));
        report.step("helm install", said.done(&["STATUS: deployed"]));
        let policies = |kind: &str| {
            self.cluster.kubectl(&["get", kind, "trust-gate", "-o", "jsonpath={.webhooks[*].failurePolicy}"]).text()
        };
        let seen = policies("validatingwebhookconfiguration").and_then(|p| equal(&p, "Ignore"));
        report.step("it begins with failurePolicy: Ignore", seen);
        report.step("the webhooks' selector leaves the release's own namespace out", self.leaves_out());
        let fail = ["upgrade", "--set", "webhook.failurePolicy=Fail", "--set", "gate.mode=enforce"];
        let said = Said::by(&mut self.on_chart(&fail, &named("warn-values.yaml")));
        report.step("helm upgrade to mode enforce and Fail", said.done(&["STATUS: deployed"]));
        let seen = policies("validatingwebhookconfiguration").and_then(|p| equal(&p, "Fail"));
        report.step("it is Fail", seen);
        let said = Said::by(&mut self.command(&["uninstall", "trust-gate", "-n", NAMESPACE]));
        report.step("helm uninstall, while its own webhook is Fail and nobody answers", said.done(&["uninstalled"]));
        let gone = self.cluster.kubectl(&["get", "validatingwebhookconfiguration", "trust-gate"]);
        report.step("nothing is asked any more", gone.refused(&["NotFound"]).map(|_| String::new()));
        Ok(())
    }

    fn leaves_out(&self) -> Outcome {
        let path = "jsonpath={.webhooks[0].namespaceSelector}";
        let text = self.cluster.kubectl(&["get", "validatingwebhookconfiguration", "trust-gate", "-o", path]).text()?;
        let selector: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let expression = &selector["matchExpressions"][0];
        let out = expression["values"].as_array().is_some_and(|values| values.contains(&json!(NAMESPACE)));
        match out && expression["key"] == "kubernetes.io/metadata.name" && expression["operator"] == "NotIn" {
            true => Ok(text),
            false => Err(text),
        }
    }
}

/// The objects of a rendering, in an order that both renderers have: what is configured before what holds a sum of it.
fn objects(text: &str) -> Result<Vec<Value>, String> {
    let mut found = yaml::documents(text)?;
    found.retain(|object| !object.is_null());
    found.sort_by_key(|o| format!("{} {}", o["kind"], o["metadata"]["name"]));
    Ok(found)
}

/// The first place at which two renderings differ.
fn same(place: &str, ours: &Value, theirs: &Value) -> Result<(), String> {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other))
            if one.keys().all(|k| other.contains_key(k)) && one.len() == other.len() =>
        {
            one.iter().try_for_each(|(key, value)| same(&format!("{place}.{key}"), value, &other[key]))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.try_for_each(|(n, (one, other))| same(&format!("{place}[{n}]"), one, other))
        }
        _ if ours == theirs => Ok(()),
        _ => Err(format!("{place}:\nours {ours}\nHelm {theirs}")),
    }
}
