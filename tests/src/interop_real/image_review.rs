//! The API server's own plugin ImagePolicyWebhook, which asks about Pods alone and can change nothing: an API server of its
//! own on the same store, that is started with the plugin and without webhooks.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use super::admission::{SHOP, pod};
use super::cluster::Cluster;
use super::hook::Hook;
use super::report::Report;
use super::world::World;

/// Starts the second API server and asks it.
pub fn run(report: &mut Report, first: &Cluster, apiserver: &Path, world: &World, hook: &Hook) -> io::Result<()> {
    report.part("Kubernetes: the plugin ImagePolicyWebhook (ImageReview)");
    let dir = first.dir.join("image-review");
    fs::create_dir_all(&dir)?;
    let to_gate = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gate",
        "clusters": [{ "name": "gate", "cluster": {
            "server": format!("https://{}:443/imagereview", hook.address),
            "tls-server-name": "trust-gate.trust-gate.svc",
            "certificate-authority": hook.certificates.authority(),
        } }],
        "users": [{ "name": "api", "user": {} }],
        "contexts": [{ "name": "gate", "context": { "cluster": "gate", "user": "api" } }],
    });
    fs::write(dir.join("gate.kubeconfig"), serde_json::to_vec(&to_gate)?)?;
    let plugin = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{ "name": "ImagePolicyWebhook", "configuration": { "imagePolicy": {
            "kubeConfigFile": dir.join("gate.kubeconfig"),
            "allowTTL": 1, "denyTTL": 1, "retryBackoff": 500, "defaultAllow": false,
        } } }],
    });
    fs::write(dir.join("admission.yaml"), serde_json::to_vec(&plugin)?)?;
    let flags = [
        ("enable-admission-plugins", "ImagePolicyWebhook".to_owned()),
        ("disable-admission-plugins", "MutatingAdmissionWebhook,ValidatingAdmissionWebhook".to_owned()),
        ("admission-control-config-file", dir.join("admission.yaml").display().to_string()),
    ];
    let cluster = first.beside(&dir, apiserver, &flags)?;
    let create = |name: &str, image: &str| cluster.create(&pod(name, image));
    let said = create("review-signed", &world.pinned("app:v1", &world.v1));
    report.step("a signed Pod by digest: stored", said.done(&["created"]));
    let said = create("review-unsigned", &world.name("app:unsigned"));
    report.step("an unsigned Pod: denied", said.refused(&["image policy webhook", "not signed"]));
    let said = create("review-tag", &world.name("app:v1"));
    report.step("a signed Pod by its tag: denied, for this plugin cannot pin it", said.refused(&["the tag alone"]));
    let mut ticket = pod("review-ticket", &world.name("app:unsigned"));
    ticket["metadata"]["annotations"] = json!({ "trust.image-policy.k8s.io/break-glass": "please" });
    report.step("an annotation opens nothing", cluster.create(&ticket).refused(&["not signed"]));
    let said = cluster.kubectl(&["-n", SHOP, "get", "pod/review-signed"]);
    report.step("both API servers serve one store", said.done(&[]).map(|_| String::new()));
    Ok(())
}
