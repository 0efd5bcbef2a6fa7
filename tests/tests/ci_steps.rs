//! The steps for pipelines below `deploy/ci`: their shell is taken out of the YAML and run with bash, as a runner does it,
//! against a real stack.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trust::manifests::yaml::Tree;
use trust_tests::stack::images;
use trust_tests::stack::scene::Scene;
use trust_tests::stack::{Options, built, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/ci")
}

fn yaml(name: &str) -> Value {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let mut documents = Tree::read(&text).unwrap().values().unwrap();
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

/// Every text with the members that lead to it.
fn texts(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((at.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, at, found)),
        Value::Object(members) => {
            for (name, inner) in members {
                texts(inner, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

fn texts_of(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    texts(&yaml(name), "", &mut found);
    found
}

/// The shell of both steps, each as the runner gives it to bash.
fn scripts() -> Vec<(String, String)> {
    let github = yaml("github/action.yml");
    let mut scripts: Vec<(String, String)> = github["runs"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (format!("github {}", step["id"].as_str().unwrap()), step["run"].as_str().unwrap().to_owned()))
        .collect();
    scripts.push(("gitlab".to_owned(), gitlab_script()));
    scripts
}

fn gitlab_script() -> String {
    let parts = yaml("gitlab/verify-images.yml")[".verify-images"]["script"].take();
    let parts: Vec<String> = parts.as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned()).collect();
    parts.join("\n")
}

#[test]
fn no_value_of_a_pipeline_is_written_into_the_text_of_a_script() {
    for (name, script) in scripts() {
        assert!(script.starts_with("set -euo pipefail\n"), "{name}");
        for bad in ["${{", "$[[", "eval ", "| bash", "| sh", "--insecure", "curl -k", "http://", "set +e", "|| true"] {
            assert!(!script.contains(bad), "{name}: {bad}");
        }
        let lower = script.to_lowercase();
        for secret in ["secret", "token", "password", "passphrase", "private"] {
            assert!(!lower.contains(secret), "{name}: {secret}");
        }
        assert!(script.contains("sha256sum --check --strict"), "{name}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &script).unwrap();
        assert!(Command::new("bash").arg("-n").arg(file.path()).status().unwrap().success(), "{name}");
    }
    // What a workflow gives is read from variables alone.
    let mut seen = 0;
    for (at, text) in texts_of("github/action.yml") {
        if text.contains("${{") {
            assert!(at.contains("/env/") || at == "/outputs/exit-code/value", "{at}: {text}");
            seen += 1;
        }
    }
    assert!(seen > 8);
    for name in ["github/example.yml", "gitlab/example.yml"] {
        for (at, text) in texts_of(name) {
            assert!(!(at.ends_with("/run") || at.ends_with("/script")) || !text.contains("${{"), "{name}: {at}");
        }
    }
}

#[test]
fn the_examples_give_what_the_steps_take() {
    let (action, example) = (yaml("github/action.yml"), yaml("github/example.yml"));
    let steps = example["jobs"]["verify"]["steps"].as_array().unwrap();
    let given = steps.iter().find_map(|step| step["with"].get("server").map(|_| step["with"].clone())).unwrap();
    let inputs = action["inputs"].as_object().unwrap();
    for name in given.as_object().unwrap().keys() {
        assert!(inputs.contains_key(name), "{name}");
    }
    for (name, input) in inputs {
        assert!(input.get("default").is_some() || given.get(name).is_some(), "{name} is required");
        let used = texts_of("github/action.yml").iter().any(|(_, text)| *text == format!("${{{{ inputs.{name} }}}}"));
        assert!(used, "{name} is used");
    }
    assert_eq!(example["permissions"], serde_json::json!({ "contents": "read" }));

    let (template, example) = (yaml("gitlab/verify-images.yml"), yaml("gitlab/example.yml"));
    let known = template[".verify-images"]["variables"].as_object().unwrap();
    for name in example["images"]["variables"].as_object().unwrap().keys() {
        assert!(known.contains_key(name), "{name}");
    }
    for name in known.keys().filter(|name| *name != "TRUST_SERVER") {
        assert!(gitlab_script().contains(name.as_str()), "{name} is used");
    }
}

/// How a pipeline ended.
#[derive(Debug)]
struct Ended {
    exit: i32,
    log: String,
    summary: String,
    outputs: String,
}

/// What a workflow says, by the names of GitHub's inputs.
type Given = BTreeMap<&'static str, String>;

/// A checkout on a runner.
struct Checkout {
    scene: Scene,
    dir: PathBuf,
    digest: String,
    other: String,
}

impl Checkout {
    fn new(parent: &Path) -> Self {
        let scene = Scene::start(parent, "demo", Options::default());
        let dir = parent.join("checkout");
        fs::create_dir_all(dir.join("deploy")).unwrap();
        let root = dir.join("pay.root.json");
        let shown = run(scene.reader.trust().args(["pin", "show", &scene.collection, "--root", "--out"]).arg(&root));
        assert!(shown.unwrap().status.success());
        // Nobody signed this one.
        let other = images::single(&parent.join("other"), "other", &[]).unwrap();
        images::push(&other, &format!("{}/app:unsigned", scene.collection)).unwrap();
        // Stands for curl: what is downloaded, and how it was asked for.
        let bin = parent.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let curl = "#!/usr/bin/env bash\nset -euo pipefail\nprintf '%s\\n' \"$@\" > \"$SAID\"\nwhile (($#)); do\n  if [[ $1 == --output ]]; then out=$2; fi\n  shift\ndone\ncp -- \"$PROGRAM\" \"$out\"\n";
        fs::write(bin.join("curl"), curl).unwrap();
        fs::set_permissions(bin.join("curl"), fs::Permissions::from_mode(0o755)).unwrap();
        // A copy, so that it stays the program whose checksum was taken.
        fs::copy(built("trust"), parent.join("program")).unwrap();
        let digest = scene.image.digest.to_string();
        Self { scene, dir, digest, other: other.digest.to_string() }
    }

    fn above(&self) -> &Path {
        self.dir.parent().unwrap()
    }

    fn given(&self) -> Given {
        let program = run(Command::new("sha256sum").arg(self.above().join("program"))).unwrap().stdout;
        let checksum = String::from_utf8(program).unwrap().chars().take(64).collect();
        BTreeMap::from([
            ("trust-url", "https://releases.example.com/trust".to_owned()),
            ("trust-sha256", checksum),
            ("server", self.scene.stack.server_url.clone()),
            ("collections", format!("{} pay.root.json {}\n", self.scene.collection, self.scene.fingerprint)),
            ("manifests", "deploy".to_owned()),
            ("pin", "true".to_owned()),
        ])
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap()
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.scene.collection)
    }

    fn bash(&self, script: &str, variables: &[(String, String)]) -> (i32, String) {
        let file = self.above().join("script.sh");
        fs::write(&file, script).unwrap();
        let path = std::env::join_paths(
            [self.above().join("bin")].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&file).current_dir(&self.dir).env_clear();
        command.env("PATH", path.unwrap()).env("HOME", self.above().join("home")).env("CI", "true");
        command.env("PROGRAM", self.above().join("program")).env("SAID", self.above().join("said"));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let output = run(&mut command).unwrap();
        let log = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&log).into_owned())
    }

    /// The steps of the composite action, one after the other, as a runner takes them.
    fn github(&self, given: &Given) -> Ended {
        let action = yaml("github/action.yml");
        let temp = self.above().join("runner");
        let _ = fs::remove_dir_all(&temp);
        fs::create_dir_all(&temp).unwrap();
        let mut outputs: BTreeMap<String, String> = BTreeMap::new();
        let mut ended = Ended { exit: 0, log: String::new(), summary: String::new(), outputs: String::new() };
        for step in action["runs"]["steps"].as_array().unwrap() {
            let id = step["id"].as_str().unwrap();
            let value = |expression: &str| -> String {
                let name = expression.trim_start_matches("${{").trim_end_matches("}}").trim();
                match name.strip_prefix("inputs.") {
                    Some(name) => {
                        given.get(name).cloned().unwrap_or_else(|| match &action["inputs"][name]["default"] {
                            Value::String(text) => text.clone(),
                            other => panic!("{name}: {other}"),
                        })
                    }
                    None => outputs.get(name).cloned().unwrap_or_default(),
                }
            };
            let mut variables: Vec<(String, String)> = step["env"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, text)| (name.clone(), value(text.as_str().unwrap())))
                .collect();
            let (output, summary) = (temp.join(format!("{id}.output")), temp.join("summary"));
            for (name, path) in [("RUNNER_TEMP", &temp), ("GITHUB_OUTPUT", &output), ("GITHUB_STEP_SUMMARY", &summary)]
            {
                variables.push((name.to_owned(), path.display().to_string()));
            }
            assert_eq!(step["shell"], "bash");
            let (exit, log) = self.bash(step["run"].as_str().unwrap(), &variables);
            ended.log.push_str(&log);
            ended.summary = fs::read_to_string(&summary).unwrap_or_default();
            let written = fs::read_to_string(&output).unwrap_or_default();
            for (name, value) in written.lines().filter_map(|line| line.split_once('=')) {
                outputs.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
            ended.outputs.push_str(&written);
            ended.exit = exit;
            if exit != 0 {
                break;
            }
        }
        ended
    }

    /// The job of GitLab: its parts are one script.
    fn gitlab(&self, given: &Given) -> Ended {
        let template = yaml("gitlab/verify-images.yml")[".verify-images"].take();
        let mut variables: BTreeMap<String, String> = template["variables"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        for (name, value) in given {
            let name = match *name {
                "server" => "TRUST_SERVER".to_owned(),
                other => format!("VERIFY_{}", other.to_uppercase().replace('-', "_")),
            };
            assert!(variables.insert(name.clone(), value.clone()).is_some(), "{name}");
        }
        let _ = fs::remove_file(self.dir.join("verify-images.txt"));
        let (exit, log) = self.bash(&gitlab_script(), &variables.into_iter().collect::<Vec<_>>());
        let summary = fs::read_to_string(self.dir.join("verify-images.txt")).unwrap_or_default();
        Ended { exit, log, summary, outputs: String::new() }
    }

    fn both(&self, given: &Given) -> [(&'static str, Ended); 2] {
        [("github", self.github(given)), ("gitlab", self.gitlab(given))]
    }
}

fn deployment(image: &str) -> String {
    format!(
        "# The shop\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  template:\n    spec:\n      containers:\n      - name: c\n        image: {image} # ours\n"
    )
}

#[test]
fn a_step_pins_what_is_signed_and_ends_a_pipeline_with_what_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    let (given, signed) = (checkout.given(), checkout.image("v0"));
    let compose = |image: &str| format!("services:\n  web:\n    image: \"{image}\" # ours\n");
    for (name, step) in [("github", Checkout::github as fn(&Checkout, &Given) -> Ended), ("gitlab", Checkout::gitlab)] {
        checkout.write("deploy/web.yaml", &deployment(&signed));
        checkout.write("deploy/compose.yaml", &compose(&signed));
        let ended = step(&checkout, &given);
        assert_eq!(ended.exit, 0, "{name}: {}", ended.log);
        let pinned = format!("{signed}@{}", checkout.digest);
        assert_eq!(checkout.text("deploy/web.yaml"), deployment(&pinned), "{name}");
        assert_eq!(checkout.text("deploy/compose.yaml"), compose(&pinned), "{name}");
        for text in [&ended.log, &ended.summary] {
            assert!(
                text.contains("deploy/web.yaml:10") && text.contains("images verified: 1, refused: 0"),
                "{name}: {text}"
            );
        }
        if name == "github" {
            assert!(ended.outputs.contains("exit-code=0\n"), "{}", ended.outputs);
            assert!(ended.summary.starts_with("### Images: all verified\n\n    "), "{}", ended.summary);
        }

        // One image that nobody signed, and nothing is written.
        let unsigned = checkout.image("unsigned");
        checkout.write("deploy/web.yaml", &deployment(&signed));
        checkout.write("deploy/compose.yaml", &compose(&unsigned));
        let ended = step(&checkout, &given);
        assert_eq!(ended.exit, 10, "{name}: {}", ended.log);
        for text in [&ended.log, &ended.summary] {
            assert!(text.contains("E1001") && text.contains("deploy/compose.yaml:3"), "{name}: {text}");
            assert!(text.contains("nothing was written"), "{name}: {text}");
        }
        assert_eq!(checkout.text("deploy/web.yaml"), deployment(&signed), "{name}");
        assert_eq!(checkout.text("deploy/compose.yaml"), compose(&unsigned), "{name}");
        if name == "github" {
            assert!(ended.outputs.contains("exit-code=10\n"), "{}", ended.outputs);
            assert!(ended.summary.starts_with("### Images: refused (exit code 10)"), "{}", ended.summary);
            // What the runner would take for commands is between the words that turn that off and on.
            let stop = ended.log.split_once("::stop-commands::").unwrap().1.split_once('\n').unwrap();
            assert!(stop.0.len() == 64 && stop.1.trim_end().contains(&format!("::{}::", stop.0)), "{}", ended.log);
        }
        // The signed image's tag with the digest of the other one.
        checkout.write("deploy/compose.yaml", &compose(&format!("{signed}@{}", checkout.other)));
        assert_eq!(step(&checkout, &given).exit, 13, "{name}");
        checkout.write("deploy/compose.yaml", "services: {web: {image: \"${IMAGE}\"}}\n");
        let ended = step(&checkout, &given);
        assert!(ended.exit == 2 && ended.log.contains("docker compose"), "{name}: {}", ended.log);
        fs::remove_file(checkout.dir.join("deploy/compose.yaml")).unwrap();
    }
    let said = fs::read_to_string(checkout.above().join("said")).unwrap();
    for argument in
        ["--proto\n=https\n", "--proto-redir\n=https\n", "--fail\n", "--url\nhttps://releases.example.com/trust\n"]
    {
        assert!(said.contains(argument), "{said}");
    }
}

#[test]
fn a_step_decides_by_the_policy_that_the_pipeline_names() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    let (alice, stack) = (&checkout.scene.alice, &checkout.scene.stack);
    let policy = format!("{}/policy", stack.registry);
    let print = stack.create(alice, &policy).unwrap();
    let root = checkout.dir.join("policy.root.json").display().to_string();
    for arguments in [
        &["policy", "init", "policy"][..],
        &["policy", "publish", "policy", &policy],
        &["pin", "show", &policy, "--root", "--out", &root],
    ] {
        let output = run(alice.trust().args(arguments).current_dir(&alice.home)).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for name in ["public.toml", "private.toml"] {
        fs::copy(alice.home.join("policy/environments").join(name), checkout.dir.join(name)).unwrap();
    }
    checkout.write("deploy/web.yaml", &deployment(&checkout.image("v0")));
    let mut given = checkout.given();
    let collections = format!("\n  {}\n{policy} policy.root.json {print}", given["collections"].trim());
    given.extend([("collections", collections), ("policy", policy), ("pin", "false".to_owned())]);
    // The image has no label that lets it run in a public cloud.
    for (file, exit) in [("public.toml", 20), ("private.toml", 0), ("nowhere.toml", 35)] {
        given.insert("environment", file.to_owned());
        for (name, ended) in checkout.both(&given) {
            assert_eq!(ended.exit, exit, "{name}: {file}: {}", ended.log);
            assert!(
                exit != 20 || ended.summary.contains("E2001") || ended.summary.contains("E2004"),
                "{name}: {}",
                ended.summary
            );
        }
    }
    // A policy that would not be asked, and an environment that nothing is decided about.
    let mut half = given.clone();
    half.remove("environment");
    for (name, ended) in checkout.both(&half) {
        assert_eq!(ended.exit, 2, "{name}: {}", ended.log);
        let needed = if name == "github" { "give environment" } else { "give VERIFY_ENVIRONMENT" };
        assert!(ended.log.contains(needed), "{name}: {}", ended.log);
        assert!(!ended.log.contains("images verified"), "{name}: {}", ended.log);
    }
    let mut half = given.clone();
    half.insert("environment", "private.toml".to_owned());
    half.remove("policy");
    for (name, ended) in checkout.both(&half) {
        assert_ne!(ended.exit, 0, "{name}: {}", ended.log);
        assert!(!ended.log.contains("images verified"), "{name}: {}", ended.log);
    }
    given.insert("environment", "private.toml".to_owned());
    given.insert("policy", "registry.example.com/other".to_owned());
    for (name, ended) in checkout.both(&given) {
        assert_eq!(ended.exit, 10, "{name}: a policy that nobody pinned: {}", ended.log);
    }
}

#[test]
fn a_step_runs_no_other_program_and_trusts_no_other_root_than_the_pipeline_says() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    checkout.write("deploy/web.yaml", &deployment(&checkout.image("v0")));
    let (good, zeros) = (checkout.given(), "0".repeat(64));
    let (name, print) = (&checkout.scene.collection, &checkout.scene.fingerprint);
    fs::copy(checkout.dir.join("pay.root.json"), checkout.dir.join("changed.json")).unwrap();
    checkout.write("changed.json", &(checkout.text("changed.json") + "\n"));
    for (what, value, exit) in [
        ("trust-sha256", zeros.clone(), 16),
        ("trust-sha256", good["trust-sha256"].to_uppercase(), 2),
        ("trust-sha256", String::new(), 2),
        ("collections", format!("{name} pay.root.json {zeros}"), 16),
        ("collections", format!("{name} changed.json {print}"), 16),
        ("collections", format!("{name} none.json {print}"), 16),
        ("collections", format!("{name} pay.root.json"), 2),
        ("collections", format!("{name} pay.root.json {print} more"), 2),
        ("collections", "\n\n".to_owned(), 2),
        ("pin", "yes".to_owned(), 2),
        ("manifests", "nowhere".to_owned(), 35),
        ("signers", "mallory".to_owned(), 12),
        ("server", "http://127.0.0.1:1".to_owned(), 30),
    ] {
        let given = Given::from_iter(good.clone().into_iter().chain([(what, value.clone())]));
        for (name, ended) in checkout.both(&given) {
            assert_eq!(ended.exit, exit, "{name}: {what} = {value:?}: {}", ended.log);
        }
        assert_eq!(checkout.text("deploy/web.yaml"), deployment(&checkout.image("v0")), "{what} = {value:?}");
    }
}

#[test]
fn what_a_pipeline_gives_is_never_run() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    checkout.write("deploy/web.yaml", &deployment(&checkout.image("unsigned")));
    let good = checkout.given();
    for evil in [
        "$(touch pwned)`touch pwned`\"; touch pwned; \"'; touch pwned; '\ntouch pwned\n",
        "a[$(touch pwned)]",
        "--help",
    ] {
        for what in ["trust-url", "trust-sha256", "server", "collections", "manifests", "pin", "signers"] {
            // The address alone is no reason to refuse: what comes from there is compared with its checksum.
            let given = Given::from_iter(good.clone().into_iter().chain([(what, evil.to_owned())]));
            for (name, ended) in checkout.both(&given) {
                assert_ne!(ended.exit, 0, "{name}: {what} = {evil:?}: {}", ended.log);
            }
            assert!(!checkout.dir.join("pwned").exists(), "{what} = {evil:?}");
        }
    }
    // Names of files are the repository's.
    checkout.write("deploy/$(touch pwned)\n::error::x.yaml", &deployment(&checkout.image("unsigned")));
    for (name, ended) in checkout.both(&good) {
        assert_eq!(ended.exit, 10, "{name}: {}", ended.log);
        assert!(!ended.log.contains("\n::error::"), "{name}: {}", ended.log);
    }
    assert!(!checkout.dir.join("pwned").exists());
}

#[test]
fn the_commands_of_the_page_on_pipelines_work() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    let home = &checkout.scene.reader.home;
    fs::write(home.join("rendered.yaml"), deployment(&checkout.image("v0"))).unwrap();
    let page = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut ran = 0;
    for line in page.lines().map(str::trim).filter(|line| line.starts_with("trust ")) {
        let line = line.replace("registry.example.com/pay", &checkout.scene.collection);
        let output = run(checkout.scene.reader.trust().args(line.split(' ').skip(1)).current_dir(home)).unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert_eq!(ran, 3);
    assert!(fs::read_to_string(home.join("rendered.yaml")).unwrap().contains(&checkout.digest));
    assert_eq!(fs::read(home.join("pay.root.json")).unwrap(), fs::read(checkout.dir.join("pay.root.json")).unwrap());
}

#[test]
fn the_commands_of_the_gates_page_about_pipelines_and_nodes_are_understood() {
    let parent = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(parent.path());
    let page = fs::read_to_string(folder().join("../../docs/gates.md")).unwrap();
    let part = page.split("\n## Pipelines\n").nth(1).and_then(|rest| rest.split("\n## When something").next()).unwrap();
    let shell = part.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let mut seen = 0;
    for line in shell.flat_map(str::lines) {
        // What comes before a pipe is no program of ours: our part gets an empty stdin.
        let words: Vec<&str> = line.split(" | ").last().unwrap().split(' ').collect();
        assert_eq!(words[0], "trust", "{line}");
        let output = run(checkout.scene.reader.trust().args(&words[1..])).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected: &[i32] = match (words[1], words.contains(&"/mnt/node")) {
            ("verify", _) => &[2],
            (_, true) => &[35],
            _ => &[0, 60],
        };
        assert!(expected.contains(&output.status.code().unwrap()) && !said.contains("E0002"), "{line}: {said}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}
