//! The commands on the pages for whoever runs the door of Kubernetes: each block is run by a shell, in front of it a `kubectl` that
//! asks no cluster.
//!
//! Patches are applied to the manifests by the real kubectl, what it makes itself is made, and of everything else the words and flags
//! are judged by it. `trust-gate` is the real one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64ct::{Base64, Encoding};
use serde_json::Value;
use trust_tests::helm::yaml;
use trust_tests::stack::{built, tool};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder with the manifests, certificates, and the commands that a page may use.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(kubectl: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["deploy/kubernetes", "deploy/gatekeeper"] {
            for entry in fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        for name in ["pay.root.json", "policy.root.json", "values.yaml"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let (real, gate, trust) = (kubectl.display(), built("trust-gate"), built("trust"));
        // What is patched, by its kind; results go to NAME.patched.
        let shim = format!(
            r#"#!/bin/sh
set -eu
echo "$*" >> "$DESK/asked"
previous=
for word in "$@"; do
    if [ "$previous" = -f ] && [ "$word" != - ]; then test -e "$word" || {{ echo "no $word" >&2; exit 1; }}; fi
    previous=$word
done
case "$1" in
patch)
    kind=$2; name=$3; shift 3
    exec {real} patch --local -f "$DESK/$kind.json" "$@" -o json > "$DESK/$kind.$name.patched" ;;
create)
    case "$*" in
    *--dry-run=client*) exec {real} "$@" ;;
    *--dry-run=server*) exec {real} "$@" --help > /dev/null ;;
    *) exec {real} "$@" --dry-run=client -o yaml > /dev/null ;;
    esac ;;
apply) cat > /dev/null; exec {real} "$@" --help > /dev/null ;;
*)
    # What runs in a container is behind `--`, and judged if it is the gate's.
    behind() {{
        while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
        if [ $# -gt 1 ] && [ "$2" = trust-gate ]; then shift; "$@" --help > /dev/null; fi
    }}
    behind "$@"
    seen=
    for word in "$@"; do
        shift
        if [ "$word" = -- ]; then seen=1; fi
        if [ -z "$seen" ]; then set -- "$@" "$word"; fi
    done
    exec {real} "$@" --help > /dev/null ;;
esac
"#
        );
        let help = |program: &Path| {
            format!("#!/bin/sh\ncat > /dev/null\nexec {} \"$@\" --help > /dev/null\n", program.display())
        };
        let scripts = [
            ("kubectl", shim),
            ("trust", help(&trust)),
            ("trust-gate", format!("#!/bin/sh\nexec {} \"$@\"\n", gate.display())),
            ("curl", "#!/bin/sh\n".to_owned()),
            ("helm", "#!/bin/sh\n".to_owned()),
        ];
        for (name, text) in scripts {
            let path = bin.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for object in
            yaml::documents(&fs::read_to_string(root().join("deploy/kubernetes/50-webhooks.yaml")).unwrap()).unwrap()
        {
            let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
            fs::write(dir.path().join(format!("{kind}.json")), object.to_string()).unwrap();
        }
        let desk = Self { dir };
        desk.run("trust-gate certificates make --folder certificates --dns trust-gate.trust-gate.svc").unwrap();
        desk
    }

    fn run(&self, block: &str) -> Result<(), String> {
        let dir = self.dir.path();
        let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-euc", block])
            .env_clear()
            .envs([("PATH", path.as_str()), ("DESK", dir.to_str().unwrap()), ("KUBECONFIG", "/dev/null")])
            .env("HOME", dir)
            .current_dir(dir)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        }
    }

    fn patched(&self, kind: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.dir.path().join(format!("{kind}.trust-gate.patched"))).unwrap())
            .unwrap()
    }
}

/// The shell blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim()) {
            (None, "```sh") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

fn kubectl() -> Option<PathBuf> {
    let found = tool("kubectl");
    if found.is_none() {
        println!("SKIPPED: gate_pages: kubectl is missing: run tests/tools/fetch.sh");
    }
    found
}

#[test]
fn every_command_of_the_pages_on_the_door_of_kubernetes_runs() {
    let Some(kubectl) = kubectl() else { return };
    for (page, at_least) in [
        ("docs/recovery.md", 9),
        ("deploy/kubernetes/README.md", 6),
        ("deploy/helm/trust-gate/README.md", 2),
        ("deploy/gatekeeper/README.md", 1),
    ] {
        let desk = Desk::new(&kubectl);
        let blocks = blocks(page);
        assert!(blocks.len() >= at_least, "{page}: {} blocks", blocks.len());
        for block in &blocks {
            desk.run(block).unwrap_or_else(|error| panic!("{page}:\n{block}\n{error}"));
        }
    }
}

#[test]
fn the_commands_of_the_recovery_page_change_what_they_say() {
    let Some(kubectl) = kubectl() else { return };
    let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
    let desk = Desk::new(&kubectl);
    let all = blocks("docs/recovery.md");
    let with = |words: &str| {
        let found: Vec<&String> = all.iter().filter(|block| block.contains(words)).collect();
        assert_eq!(found.len(), 1, "{words}");
        found[0]
    };
    desk.run(&with("failurePolicy").replace("\"Ignore\"", "\"Fail\"")).unwrap();
    assert!(
        kinds.iter().all(|kind| desk.patched(kind)["webhooks"][0]["failurePolicy"] == "Fail"),
        "the patch is what is applied"
    );
    desk.run(with("failurePolicy")).unwrap();
    assert!(kinds.iter().all(|kind| desk.patched(kind)["webhooks"][0]["failurePolicy"] == "Ignore"));
    desk.run(with("clientConfig/caBundle")).unwrap();
    let bundle = Base64::encode_string(&fs::read(desk.dir.path().join("certificates/bundle.crt")).unwrap());
    for kind in kinds {
        assert_eq!(desk.patched(kind)["webhooks"][0]["clientConfig"]["caBundle"], bundle);
    }
    let before = fs::read(desk.dir.path().join("certificates/tls.crt")).unwrap();
    desk.run(with("certificates renew")).unwrap();
    assert_ne!(fs::read(desk.dir.path().join("certificates/tls.crt")).unwrap(), before);
    // What turns `enforce` into `warn` meets the text that the manifests have.
    let config = fs::read_to_string(root().join("deploy/kubernetes/20-config.yaml")).unwrap();
    assert!(
        config.contains("mode = \"warn\"")
            && with("mode = \"enforce\"").contains("s/mode = \"enforce\"/mode = \"warn\"/")
    );
}

#[test]
fn a_command_that_is_not_one_is_seen() {
    let Some(kubectl) = kubectl() else { return };
    let desk = Desk::new(&kubectl);
    for wrong in [
        "kubectl -n trust-gate rollut restart statefulset/trust-gate --wrong",
        "kubectl get pods --al-namespaces",
        "kubectl apply -f 99-none.yaml",
        "trust-gate certificates renw --folder certificates",
        "kubectl patch validatingwebhookconfiguration trust-gate --type=json -p '[{\"op\":\"replace\",\"path\":\"/webhooks/7/x\",\"value\":1}]'",
        "trust verify --manifest -",
        "kubectl -n trust-gate exec trust-gate-0 --contaner=x -- trust-gate audit verify --config x",
        "kubectl -n trust-gate exec trust-gate-0 -- trust-gate audit verfy --config x",
        "kubectl -n trust-gate debug trust-gate-0 --targt=trust-gate --image=x -- tail x",
        "if true",
    ] {
        assert!(desk.run(wrong).is_err(), "{wrong}");
    }
}

/// What a page names between backquotes that begins like a metric.
fn metrics_of(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.starts_with("trust_gate_")).map(str::to_owned).collect()
}

#[test]
fn the_alarms_of_the_pages_are_on_metrics_that_a_gate_tells() {
    let source = fs::read_to_string(root().join("gate/trust-gate/src/metrics.rs")).unwrap();
    let source = ["refreshed", "expires"].map(|what| source.replace("{what}", what)).concat();
    for page in ["docs/recovery.md", "deploy/kubernetes/README.md"] {
        let named = metrics_of(page);
        for needed in ["trust_gate_collection_usable", "trust_gate_collection_refreshed_timestamp_seconds"] {
            assert!(named.contains(needed), "{page} says no alarm on {needed}");
        }
        for name in named {
            assert!(source.contains(&format!("\"{name}\"")), "{page}: no gate tells {name}");
        }
    }
}

#[test]
fn what_a_shell_would_take_for_a_pattern_is_quoted_on_the_pages() {
    for page in ["docs/recovery.md", "deploy/kubernetes/README.md", "deploy/helm/trust-gate/README.md"] {
        for line in blocks(page).iter().flat_map(|block| block.lines()) {
            let outside: String = line.split('\'').step_by(2).collect();
            assert!(!outside.contains('?'), "{page}: {line}");
        }
    }
}

#[test]
fn the_recovery_page_is_found_from_where_people_look() {
    for page in ["deploy/kubernetes/README.md", "docs/gates.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(text.contains("recovery.md"), "{page}");
    }
}

// --- Gatekeeper ---

fn gatekeeper(file: &str) -> Vec<Value> {
    yaml::documents(&fs::read_to_string(root().join("deploy/gatekeeper").join(file)).unwrap()).unwrap()
}

#[test]
fn the_manifests_for_gatekeeper_ask_in_time_over_tls_and_deny_what_was_not_answered() {
    let providers = gatekeeper("10-providers.yaml");
    let urls: Vec<&str> = providers.iter().map(|provider| provider["spec"]["url"].as_str().unwrap()).collect();
    let at = "https://trust-gate.trust-gate.svc:443/gatekeeper";
    assert_eq!(urls, [format!("{at}/validate"), format!("{at}/mutate")]);
    for provider in &providers {
        assert_eq!(provider["apiVersion"], "externaldata.gatekeeper.sh/v1beta1");
        assert_eq!(provider["spec"]["timeout"], 1, "its mutating webhook has one second");
        assert!(provider["spec"]["caBundle"].is_string());
    }
    let template = gatekeeper("20-template.yaml").remove(0);
    let kind = &template["spec"]["crd"]["spec"]["names"]["kind"];
    assert_eq!(template["metadata"]["name"], kind.as_str().unwrap().to_ascii_lowercase());
    let rego = template["spec"]["targets"][0]["rego"].as_str().unwrap();
    // Errors of images, of the whole, and silence: a template that leaves one of them out admits.
    for needed in ["answer.errors[_]", "answer.system_error != \"\"", "not answered[image]", "not pod_spec"] {
        assert!(rego.contains(needed), "{needed}");
    }
    assert_eq!((rego.matches("reasons[reason] {").count(), rego.matches("violation[").count()), (5, 1));
    for name in ["containers", "initContainers", "ephemeralContainers", "volumes", "reference"] {
        assert!(rego.contains(name), "{name}");
    }
    let constraint = gatekeeper("30-constraint.yaml").remove(0);
    assert_eq!(constraint["kind"], *kind);
    let kinds = constraint["spec"]["match"]["kinds"].as_array().unwrap();
    let mut covered: Vec<String> = kinds
        .iter()
        .flat_map(|entry| {
            let group = entry["apiGroups"][0].as_str().unwrap();
            entry["kinds"].as_array().unwrap().iter().map(move |kind| format!("{group}/{}", kind.as_str().unwrap()))
        })
        .collect();
    let known = trust_image::workload::kinds().filter(|(group, _)| *group != "extensions");
    let mut known: Vec<String> = known.map(|(group, kind)| format!("{group}/{kind}")).collect();
    covered.sort();
    known.sort();
    assert_eq!(covered, known);
    for kind in known.iter().filter_map(|known| known.split('/').nth(1)) {
        assert!(rego.contains(&format!("\"{kind}\"")), "the template does not know {kind}");
    }
    for assign in gatekeeper("40-assign.yaml") {
        let data = &assign["spec"]["parameters"]["assign"]["externalData"];
        assert_eq!((&data["provider"], &data["failurePolicy"]), (&providers[1]["metadata"]["name"], &"Fail".into()));
        assert_eq!(data["dataSource"], "ValueAtLocation");
        assert!(assign["spec"]["location"].as_str().unwrap().ends_with(".image"));
    }
}
