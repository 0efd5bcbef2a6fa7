//! `-o json` of every command, also where it fails: exactly one document on stdout, whose `exit` is the exit code of the
//! process, and which `schemas/output.json` describes. That file is generated from the types of the program.

mod cli_world;

use std::path::{Path, PathBuf};

use cli_world::{Run, World};
use serde_json::Value;
use trust_tests::stack::Person;
use trust_tests::stack::proxy::Answer;

fn stored_schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/output.json")
}

#[test]
fn the_schema_of_the_output_is_the_one_of_the_types() {
    let mut schema = serde_json::to_value(trust::output::schema()).unwrap();
    // The order of members depends on what else is built.
    schema.sort_all_objects();
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(stored_schema(), &text).unwrap();
    }
    let stored = std::fs::read_to_string(stored_schema()).unwrap_or_default();
    assert!(stored == text, "schemas/output.json differs from the types: UPDATE_SCHEMAS=1 writes it");
}

#[test]
fn the_schema_refuses_what_no_command_may_print() {
    let validator = jsonschema::validator_for(&trust::output::schema()).unwrap();
    let good = serde_json::json!({"schema": "trust/v1", "command": "config path", "ok": true, "exit": 0, "path": "/a"});
    assert!(validator.is_valid(&good), "{:?}", validator.validate(&good).err().map(|e| e.to_string()));
    let change = |member: &str, value: Value| {
        let mut document = good.clone();
        document[member] = value;
        document
    };
    for (why, document) in [
        ("success with another exit code than 0", change("exit", 10.into())),
        ("refusal with exit code 0", change("ok", false.into())),
        ("a command that does not exist", change("command", "verfy".into())),
        ("members of another command", change("command", "resolve".into())),
        ("another form", change("schema", "trust/v2".into())),
        ("a member of another type", change("path", 1.into())),
        ("nothing", serde_json::json!({})),
        (
            "a failure without remedy",
            serde_json::json!({"schema": "trust/v1", "ok": false, "exit": 3, "code": "E0003",
            "headline": "", "facts": [], "cause": ""}),
        ),
    ] {
        assert!(!validator.is_valid(&document), "{why}");
    }
}

struct Judge {
    world: World,
    validator: jsonschema::Validator,
    commands: std::collections::BTreeSet<String>,
    codes: std::collections::BTreeSet<String>,
}

impl Judge {
    fn judge(&mut self, person: &Person, arguments: &[&str], exit: i32) -> Value {
        let mut words = arguments.to_vec();
        // Before `--`, where `exec` stops reading flags.
        let end = words.iter().position(|w| *w == "--").unwrap_or(words.len());
        words.splice(end..end, ["-o", "json"]);
        let run = self.world.run(person, &words);
        self.document(&run, exit)
    }

    fn document(&mut self, run: &Run, exit: i32) -> Value {
        let seen = format!("exit {} (expected {exit})\n{}", run.exit, run.said());
        let name = run.line.clone();
        self.world.check(&format!("{name}: exit code"), run.exit == exit, &seen);
        let mut documents = serde_json::Deserializer::from_str(&run.out).into_iter::<Value>();
        let first = documents.next().and_then(Result::ok);
        let alone = first.is_some() && documents.next().is_none() && run.out.ends_with('\n');
        self.world.check(&format!("{name}: exactly one document"), alone, &seen);
        let document = first.unwrap_or_default();
        self.world.check(&format!("{name}: `exit` is the exit code"), document["exit"] == run.exit, &seen);
        let ok = document["ok"] == (run.exit == 0);
        self.world.check(&format!("{name}: `ok` only with exit code 0"), ok, &seen);
        let wrong: Vec<String> =
            self.validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        self.world.check(&format!("{name}: schema"), wrong.is_empty(), &format!("{}\n{seen}", wrong.join("\n")));
        self.world.check(&format!("{name}: no report on stderr"), run.err.is_empty(), &seen);
        if let Some(command) = document["command"].as_str() {
            self.commands.insert(command.to_owned());
        }
        if let Some(code) = document["code"].as_str() {
            self.codes.insert(code.to_owned());
        }
        document
    }
}

#[test]
fn every_command_prints_one_document_that_says_its_exit_code() {
    let validator = jsonschema::validator_for(&trust::output::schema()).unwrap();
    let world = World::start();
    let mut judge = Judge { world, validator, commands: Default::default(), codes: Default::default() };
    setup(&mut judge);
    images(&mut judge);
    policies(&mut judge);
    people(&mut judge);
    this_machine(&mut judge);
    failures(&mut judge);
    let schema = trust::output::schema();
    let all = schema["$defs"]["answer"]["properties"]["command"]["enum"].as_array().unwrap().clone();
    let missing: Vec<&str> =
        all.iter().filter_map(Value::as_str).filter(|name| !judge.commands.contains(*name)).collect();
    judge.world.check("every command of the schema was run", missing.is_empty(), &missing.join(", "));
    let codes = judge.codes.len();
    judge.world.check("many different failures", codes >= 18, &format!("{:?}", judge.codes));
    judge.world.finish(300);
}

fn setup(judge: &mut Judge) {
    let (alice, ops, demo) = (judge.world.alice.clone(), judge.world.ops.clone(), judge.world.demo.clone());
    judge.judge(&ops, &["list"], 10);
    judge.judge(&ops, &["pin", "list"], 10);
    judge.judge(&alice, &["key", "list"], 42);
    judge.judge(&ops, &["init", &demo], 31);
    judge.judge(&alice, &["init", &demo], 12);
    let dry = judge.judge(&alice, &["init", &demo, "--dry-run"], 0);
    let root = dry["fingerprint"].as_str().unwrap_or_default().to_owned();
    let mut admit = judge.world.stack.admit(&demo, &root);
    judge.world.run_command(&mut admit);
    let made = judge.judge(&alice, &["init", &demo], 0);
    judge.world.check("init: the fingerprint stays", made["fingerprint"] == root.as_str(), &made.to_string());
    judge.judge(&alice, &["init", &demo], 32);
    judge.judge(&ops, &["pin", "add", &demo, &"0".repeat(64)], 16);
    judge.judge(&ops, &["pin", "add", &demo, &root], 0);
    judge.judge(&ops, &["pin", "list"], 0);
    judge.judge(&ops, &["pin", "show", &demo], 0);
    judge.judge(&ops, &["pin", "show", &demo, "--root"], 0);
}

fn images(judge: &mut Judge) {
    let (alice, ops, demo) = (judge.world.alice.clone(), judge.world.ops.clone(), judge.world.demo.clone());
    let api = judge.world.push("api", "demo/api:v1", false);
    let web = judge.world.push("web", "demo/web:v1", true);
    let other = judge.world.push("other", "demo/api:unsigned", false);
    let (api_v1, web_v1, unsigned) =
        (format!("{demo}/api:v1"), format!("{demo}/web:v1"), format!("{demo}/api:unsigned"));
    judge.judge(&alice, &["sign", &format!("{api_v1}@{}", api.digest), "--dry-run"], 0);
    let signed = judge.judge(&alice, &["sign", &format!("{api_v1}@{}", api.digest)], 0);
    judge.world.check("sign: digest", signed["images"][0]["digest"] == api.digest.as_str(), &signed.to_string());
    judge.judge(&alice, &["sign", &web_v1, "--expect", &web.digest], 0);
    judge.judge(&alice, &["sign", &web_v1, "--expect", &api.digest], 13);
    judge.judge(&alice, &["sign", &web_v1], 40);
    let all = judge.judge(&ops, &["verify", &api_v1, &web_v1], 0);
    let listed = all["images"].as_array().map(Vec::len);
    judge.world.check("verify: one entry an image", listed == Some(2), &all.to_string());
    let mixed = judge.judge(&ops, &["verify", &api_v1, &unsigned], 10);
    let each = mixed["images"][0]["ok"] == true && mixed["images"][1]["ok"] == false;
    judge.world.check("verify: each image its own verdict", each, &mixed.to_string());
    let alone = judge.judge(&ops, &["verify", &unsigned], 10);
    judge.world.check("verify: the id of one failure stands above", alone["code"] == "E1001", &alone.to_string());
    judge.world.push_again(&other, "demo/api:v1");
    let moved = judge.judge(&ops, &["verify", &api_v1], 13);
    judge.world.check("verify: E1403", moved["code"] == "E1403", &moved.to_string());
    let subject = serde_json::json!({
        "reference": api_v1, "collection": demo, "expected_digest": api.digest, "actual_digest": other.digest,
    });
    judge.world.check("verify: its subject", moved["images"][0]["subject"] == subject, &moved.to_string());
    judge.world.push_again(&api, "demo/api:v1");
    let resolved = judge.judge(&ops, &["resolve", &api_v1], 0);
    let name = format!("{demo}/api@{}", api.digest);
    judge.world.check("resolve: NAME@DIGEST", resolved["resolved"] == name.as_str(), &resolved.to_string());
    judge.judge(&ops, &["resolve", &api_v1, "--offline"], 0);
    let refused = judge.judge(&ops, &["resolve", &unsigned], 10);
    let subject = serde_json::json!({"reference": unsigned, "collection": demo});
    judge.world.check("resolve: its subject", refused["subject"] == subject, &refused.to_string());
    judge.judge(&ops, &["exec", "--", "docker", "pull", &unsigned], 10);
    judge.judge(&ops, &["exec", "--", "docker", "compose", "up"], 2);
    judge.judge(&ops, &["list", &demo], 0);
    judge.judge(&ops, &["list", &demo, "--digests"], 0);
    judge.judge(&ops, &["list"], 0);
    judge.judge(&ops, &["inspect", &demo, &web_v1], 0);
    judge.judge(&ops, &["inspect", &demo, &unsigned], 10);
    judge.judge(&ops, &["log", &demo], 0);
    judge.judge(&ops, &["diff", &demo], 0);
    judge.judge(&ops, &["diff", &demo, "--from", "99"], 2);
    for command in ["list", "log"] {
        let lines = judge.world.run(&ops, &[command, &demo, "-o", "jsonl"]);
        let each = !lines.out.is_empty()
            && lines.out.lines().all(|l| serde_json::from_str::<Value>(l).is_ok_and(|v| v.is_object()));
        judge.world.check(&format!("{command} -o jsonl: a document a line"), lines.exit == 0 && each, &lines.said());
    }
    let refused = judge.world.run(&ops, &["verify", &api_v1, "-o", "jsonl"]);
    judge.document(&refused, 2);
    let (variable, file) = (
        judge.world.run_with(&ops, &["resolve", &api_v1], |c| {
            c.env("TRUST_OUTPUT", "json");
        }),
        ops.home.join("answer.json"),
    );
    judge.document(&variable, 0);
    let out = file.display().to_string();
    let into = judge.world.run(&ops, &["resolve", &api_v1, "-o", "json", "--out", &out]);
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap_or_default()).unwrap_or_default();
    judge.world.check("--out FILE takes the document", into.out.is_empty() && written["ok"] == true, &into.said());
}

fn policies(judge: &mut Judge) {
    let (alice, ops, demo) = (judge.world.alice.clone(), judge.world.ops.clone(), judge.world.demo.clone());
    judge.judge(&alice, &["policy", "init", "policy", "--dry-run"], 0);
    judge.judge(&alice, &["policy", "init", "policy"], 0);
    judge.judge(&alice, &["policy", "init", "policy"], 2);
    let checked = judge.judge(&alice, &["policy", "check", "policy"], 0);
    let rules = checked["rules"].as_array().is_some_and(|rules| rules.len() >= 3);
    judge.world.check("policy check: rules", rules && checked["policy"]["version"] == 0, &checked.to_string());
    judge.judge(&alice, &["policy", "check", "nowhere"], 35);
    let findings = checked["findings"].as_array().is_some_and(Vec::is_empty);
    judge.world.check("policy check: no findings in the shipped set", findings, &checked.to_string());
    let tested = judge.judge(&alice, &["policy", "test", "policy"], 0);
    let all = tested["cases"].as_array().is_some_and(|cases| !cases.is_empty() && tested["passed"] == cases.len());
    judge.world.check(
        "policy test: all cases",
        all && tested["untouched"] == serde_json::json!([]),
        &tested.to_string(),
    );
    judge.judge(&alice, &["policy", "test", "."], 21);
    judge.judge(&alice, &["policy", "fmt", "policy", "--check"], 0);
    std::fs::create_dir_all(alice.home.join("wide/policy")).unwrap();
    let rules = "@id(\"a\") permit(principal,action,resource);@id(\"b\") forbid(principal,action,resource);";
    std::fs::write(alice.home.join("wide/policy/a.cedar"), rules).unwrap();
    let found = judge.judge(&alice, &["policy", "check", "wide"], 0);
    let kind = &found["findings"][0]["kind"];
    judge.world.check("policy check: a permit under a forbid", kind == "never-permits", &found.to_string());
    judge.judge(&alice, &["policy", "test", "wide"], 2);
    judge.judge(&alice, &["policy", "fmt", "wide", "--check"], 60);
    let written = judge.judge(&alice, &["policy", "fmt", "wide"], 0);
    let changed = written["changed"].as_array().map_or(0, Vec::len);
    judge.world.check("policy fmt: what changed", changed == 1, &written.to_string());
    std::fs::create_dir_all(alice.home.join("wide/tests")).unwrap();
    let case = "[[case]]\nname = 'a'\nenvironment = { name = 'a', cloud = 'public' }\nimage = { reference = 'a.example.com/b:c' }\nexpect = { decision = 'allow' }\n";
    std::fs::write(alice.home.join("wide/tests/a.toml"), case).unwrap();
    let failed = judge.judge(&alice, &["policy", "test", "wide"], 60);
    let told = failed["cases"][0]["differences"][0]["found"] == "deny" && failed["failed"] == 1;
    judge.world.check("policy test: the difference", told, &failed.to_string());
    judge.judge(&alice, &["policy", "check", "."], 21);
    judge.judge(&ops, &["policy", "show"], 21);
    let policy = judge.world.create_policy();
    judge.judge(&alice, &["policy", "show", &policy], 21);
    let dry = judge.judge(&alice, &["policy", "publish", "policy", &policy, "--dry-run"], 0);
    judge.world.check("dry run", dry["publication"].is_null(), &dry.to_string());
    let done = judge.judge(&alice, &["policy", "publish", "policy", &policy], 0);
    judge.world.check("published", done["publication"]["roles"]["targets"] == 2, &done.to_string());
    judge.judge(&ops, &["policy", "publish", &alice.home.join("policy").display().to_string(), &policy], 42);
    judge.judge(&ops, &["policy", "use", "registry.example.com/policy"], 10);
    judge.judge(&ops, &["policy", "use", &policy], 0);
    let shown = judge.judge(&ops, &["policy", "show"], 0);
    judge.world.check("policy show: version", shown["version"] == 2 && shown["loaded"].is_object(), &shown.to_string());
    judge.judge(&ops, &["policy", "show", "--raw", "_policy/pii.cedar"], 0);
    judge.judge(&ops, &["policy", "show", "--raw", "nothing"], 2);
    judge.world.sign_labelled();
    let folder = alice.home.join("policy");
    let (public, private) = (folder.join("environments/public.toml"), folder.join("environments/private.toml"));
    let (public, private) = (public.display().to_string(), private.display().to_string());
    let image = |name: &str| format!("{demo}/data-{name}:v1");
    judge.judge(&ops, &["verify", &image("public"), "--env", &public], 0);
    let denied = judge.judge(&ops, &["verify", &image("pii"), "--env", &public], 20);
    let decision = &denied["images"][0]["decision"];
    let told = denied["code"] == "E2001" && decision["allowed"] == false && decision["policy"]["version"] == 2;
    judge.world.check("verify --env: the decision", told, &denied.to_string());
    judge.judge(&ops, &["verify", &image("pii"), "--env", &private], 0);
    let outside = judge.judge(&ops, &["verify", &image("typo"), "--env", &private], 20);
    judge.world.check("verify --env: E2002", outside["code"] == "E2002", &outside.to_string());
    judge.judge(&ops, &["verify", &image("public"), "--env", "nowhere.toml"], 35);
    let wrong = ops.home.join("wrong.toml");
    std::fs::write(&wrong, "name = 'a'\ncloud = 'publik'\n").unwrap();
    let wrong = judge.judge(&ops, &["verify", &image("public"), "--env", &wrong.display().to_string()], 3);
    judge.world.check("verify --env: E0008", wrong["code"] == "E0008", &wrong.to_string());
    let explain = ["policy", "explain", "--env", &public, "--image"];
    let explained = judge.judge(&ops, &[&explain[..], &[&image("pii")]].concat(), 20);
    judge.world.check(
        "explain: E2001",
        explained["code"] == "E2001" && explained["verified"] == true,
        &explained.to_string(),
    );
    judge.judge(&ops, &[&explain[..], &[&image("public")]].concat(), 0);
    judge.judge(&ops, &[&explain[..], &[&format!("{demo}/api:unsigned")]].concat(), 10);
    manifests(judge, &public);
    reserved(judge, &policy, &public);
}

/// The dictionary, exceptions, the history of the policy, and roles with keys of their own.
fn reserved(judge: &mut Judge, policy: &str, public: &str) {
    let (alice, ops, demo) = (judge.world.alice.clone(), judge.world.ops.clone(), judge.world.demo.clone());
    let pii = format!("{demo}/data-pii:v1");
    let pinned = format!("{demo}/data-pii@{}", judge.world.images["data-PII"].digest);
    let labels = judge.judge(&alice, &["labels", "check", "policy"], 0);
    let values = labels["labels"][0]["values"].as_array().map(Vec::len);
    judge.world.check("labels check: values", values == Some(3), &labels.to_string());
    judge.judge(&ops, &["labels", "check", "--image", &pii], 0);
    let typo = judge.judge(&ops, &["labels", "check", "--image", &format!("{demo}/data-typo:v1")], 20);
    judge.world.check("labels check: E2002", typo["code"] == "E2002", &typo.to_string());
    judge.judge(&ops, &["labels", "show"], 0);
    let published = judge.judge(&alice, &["labels", "publish", "policy", policy], 0);
    judge.world.check("labels publish", published["labels_only"] == true, &published.to_string());
    judge.judge(&ops, &["policy", "pull", "pulled"], 0);
    judge.judge(&ops, &["policy", "diff", "pulled"], 0);
    std::fs::write(ops.home.join("pulled/policy/more.cedar"), "// mine\n").unwrap();
    let differs = judge.judge(&ops, &["policy", "diff", "pulled"], 60);
    judge.world.check("policy diff: E6002", differs["code"] == "E6002", &differs.to_string());
    judge.judge(&ops, &["policy", "diff", policy, "--from", "1"], 60);
    judge.judge(&ops, &["policy", "log"], 0);
    let grant = ["exception", "grant", policy, "--image", &pinned, "--env", public, "--reason", "Incident", "--for"];
    let granted = judge.judge(&alice, &[&grant[..], &["4h", "--rule", "pii-not-in-public"]].concat(), 0);
    let id = granted["exception"]["id"].as_str().unwrap_or_default().to_owned();
    judge.judge(&alice, &[&grant[..], &["4h", "--rule", "nothing"]].concat(), 2);
    judge.judge(&alice, &[&grant[..], &["8d", "--rule", "pii-not-in-public"]].concat(), 2);
    let listed = judge.judge(&ops, &["exception", "list", "--all"], 0);
    judge.world.check("exception list", listed["exceptions"][0]["id"] == id.as_str(), &listed.to_string());
    let lifted = judge.judge(&ops, &["policy", "explain", "--image", &pii, "--env", public], 0);
    let without = &lifted["without_exception"];
    judge.world.check("explain: without the exception", without["allowed"] == false, &lifted.to_string());
    judge.judge(&alice, &["exception", "revoke", &id, policy], 0);
    judge.judge(&alice, &["exception", "prune", policy], 0);
    let added = judge.judge(&alice, &["signer", "add", "_policy", policy, "--signer-key", "rules"], 0);
    judge.world.check("signer add: moved", added["files"].as_array().is_some_and(|f| f.len() == 2), &added.to_string());
    judge.judge(&alice, &["signer", "accept", "_exceptions", policy, "--key", "rules"], 0);
    judge.judge(&alice, &["signer", "remove", "_policy", policy, "--confirm", policy], 0);
    judge.judge(&alice, &["policy", "publish", "policy", policy], 0);
}

fn manifests(judge: &mut Judge, public: &str) {
    let (ops, demo) = (judge.world.ops.clone(), judge.world.demo.clone());
    let folder = ops.home.join("deploy");
    std::fs::create_dir(&folder).unwrap();
    let deploy = folder.display().to_string();
    judge.judge(&ops, &["verify", "--manifests", &deploy], 2);
    let pod = |image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {demo}/{image}\n---\nkind: Service\napiVersion: v1\n"
        )
    };
    std::fs::write(folder.join("a.yaml"), pod("data-public:v1")).unwrap();
    std::fs::write(folder.join("b.json"), r#"{"apiVersion":"v1","kind":"ConfigMap"}"#).unwrap();
    let fine = judge.judge(&ops, &["verify", "--manifests", &deploy, "--env", public], 0);
    let place = &fine["places"][0];
    let told = place["line"] == 5 && place["path"] == "spec.containers[0].image" && fine["documents"] == 3;
    judge.world.check("manifests: place and counts", told && fine["documents_without_images"] == 2, &fine.to_string());
    let dry = judge.judge(&ops, &["verify", "--manifests", &deploy, "--pin", "--dry-run"], 0);
    judge.world.check("manifests: dry run", dry["dry_run"] == true, &dry.to_string());
    std::fs::write(folder.join("c.yaml"), pod("data-pii:v1")).unwrap();
    let denied = judge.judge(&ops, &["verify", "--manifests", &deploy, "--env", public, "--pin"], 20);
    let nothing = denied["files_changed"] == serde_json::json!([]);
    judge.world.check("manifests: one denial and nothing is written", nothing, &denied.to_string());
    std::fs::write(folder.join("d.yaml"), pod("api:unsigned") + "---\nkind: &a [*a]\n").unwrap();
    let bad = judge.judge(&ops, &["verify", "--manifests", &deploy], 2);
    judge.world.check("manifests: unreadable", bad["unreadable"][0]["code"] == "E0009", &bad.to_string());
    std::fs::write(folder.join("d.yaml"), pod("api:unsigned")).unwrap();
    judge.judge(&ops, &["verify", "--manifests", &deploy], 10);
    let status = judge.judge(&ops, &["status"], 0);
    let collections = status["collections"].as_array().map(Vec::len);
    judge.world.check("status: every pinned collection", collections == Some(2), &status.to_string());
    judge.judge(&ops, &["status", "--server", "http://127.0.0.1:1"], 30);
    judge.judge(&ops, &["doctor"], 0);
    let sick = judge.judge(&ops, &["doctor", "--server", "http://127.0.0.1:1"], 60);
    judge.world.check("doctor: problems", sick["checks"][2]["state"] == "problem", &sick.to_string());
    let node = ops.home.join("node");
    std::fs::create_dir_all(node.join("etc/containers")).unwrap();
    std::fs::write(node.join("etc/containers/registries.conf"), "[[registry").unwrap();
    let node = judge.judge(&ops, &["doctor", "--node-root", &node.display().to_string()], 60);
    let of_tools = node["checks"].as_array().into_iter().flatten().filter(|check| check["name"] == "containers");
    let unknown = of_tools.into_iter().any(|check| check["found"].as_str().unwrap_or_default().starts_with("unknown:"));
    judge.world.check("doctor: a file that is not understood", unknown && node["exit"] == 60, &node.to_string());
}

fn people(judge: &mut Judge) {
    let (alice, ops, demo) = (judge.world.alice.clone(), judge.world.ops.clone(), judge.world.demo.clone());
    let api_v1 = format!("{demo}/api:v1");
    let by_digest = format!("{api_v1}@{}", judge.world.images["api"].digest);
    judge.judge(&alice, &["key", "list"], 0);
    judge.judge(&alice, &["key", "generate", "alice", "--no-passphrase"], 0);
    judge.judge(&alice, &["key", "generate", "alice", "--no-passphrase"], 42);
    judge.judge(&alice, &["key", "show", "alice"], 0);
    judge.judge(&alice, &["key", "show", "nobody"], 42);
    judge.judge(&alice, &["key", "export", "alice"], 0);
    let backup = alice.home.join("backup.pem").display().to_string();
    let passphrase = alice.home.join("passphrase").display().to_string();
    let private = [
        "key",
        "export",
        "alice",
        "--private",
        "--no-passphrase",
        "--out",
        &backup,
        "--new-passphrase-file",
        &passphrase,
    ];
    judge.judge(&alice, &private, 0);
    judge.judge(&alice, &["key", "import", &format!("file:{backup}"), "again"], 0);
    judge.judge(&alice, &["signer", "add", "alice", &demo, "--signer-key", "alice", "--no-passphrase", "--dry-run"], 0);
    judge.judge(&alice, &["signer", "add", "alice", &demo, "--signer-key", "alice", "--no-passphrase"], 0);
    judge.judge(&ops, &["key", "generate", "qa", "--no-passphrase"], 0);
    judge.judge(&ops, &["signer", "accept", "qa", &demo, "--key", "qa", "--no-passphrase"], 0);
    judge.judge(&ops, &["signer", "list", &demo], 0);
    judge.judge(&alice, &["sign", &by_digest, "--as", "alice", "--no-passphrase"], 0);
    judge.judge(&alice, &["sign", &by_digest, "--as", "mallory"], 42);
    judge.judge(&ops, &["verify", &api_v1, "--signer", "alice"], 0);
    judge.judge(&ops, &["verify", &api_v1, "--signer", "qa"], 12);
    judge.judge(&alice, &["unsign", &api_v1, "--as", "alice", "--no-passphrase"], 40);
    judge.judge(&alice, &["unsign", &api_v1, "--as", "alice", "--no-passphrase", "--yes"], 0);
    judge.judge(&alice, &["signer", "bins", "alice", &demo, "2", "--dry-run"], 0);
    judge.judge(&alice, &["signer", "bins", "alice", &demo, "2"], 0);
    judge.judge(&alice, &["signer", "last", "alice", &demo], 0);
    judge.judge(&alice, &["signer", "remove", "alice", &demo], 40);
    judge.judge(&alice, &["signer", "remove", "alice", &demo, "--confirm", &demo], 0);
    judge.judge(&alice, &["revoke", &api_v1, "--reason", "a test"], 40);
    judge.judge(&alice, &["revoke", &api_v1, "--reason", "a test", "--confirm", &format!("{demo}/api")], 0);
    judge.judge(&ops, &["verify", &api_v1], 17);
    judge.judge(&ops, &["rotate", "targets", &demo], 42);
    judge.judge(&alice, &["rotate", "snapshot", &demo, "--emergency"], 0);
    judge.judge(&alice, &["rotate", "targets", &demo], 0);
}

fn this_machine(judge: &mut Judge) {
    let (ops, demo) = (judge.world.ops.clone(), judge.world.demo.clone());
    let server = judge.world.server.url();
    judge.judge(&ops, &["context", "add", "eu", "--server", &server], 0);
    judge.judge(&ops, &["context", "list"], 0);
    judge.judge(&ops, &["context", "use", "us"], 3);
    judge.judge(&ops, &["context", "use", "eu"], 0);
    judge.judge(&ops, &["context", "use", "default"], 0);
    judge.judge(&ops, &["context", "remove", "eu"], 0);
    judge.judge(&ops, &["config", "show", "--origin"], 0);
    judge.judge(&ops, &["config", "path"], 0);
    judge.judge(&ops, &["env"], 0);
    judge.judge(&ops, &["version"], 0);
    judge.judge(&ops, &["help", "exit-codes"], 0);
    judge.judge(&ops, &["help", "E9999"], 2);
    judge.judge(&ops, &["completion", "fish"], 0);
    let man = ops.home.join("man").display().to_string();
    judge.judge(&ops, &["man", "--dir", &man], 0);
    judge.judge(&ops, &["pin", "remove", &demo], 40);
    judge.judge(&ops, &["pin", "remove", &demo, "--confirm", &demo, "--dry-run"], 0);
}

fn failures(judge: &mut Judge) {
    let (ops, demo) = (judge.world.ops.clone(), judge.world.demo.clone());
    let web_v1 = format!("{demo}/web:v1");
    judge.judge(&ops, &[], 2);
    judge.judge(&ops, &["verfy"], 2);
    judge.judge(&ops, &["verify"], 2);
    judge.judge(&ops, &["verify", "Ubuntu:v1"], 2);
    judge.judge(&ops, &["verify", "r.example/a:v1"], 10);
    judge.judge(&ops, &["resolve", &web_v1, "--server", "http://127.0.0.1:1"], 30);
    judge.judge(&ops, &["resolve", &web_v1, "--server", "http://trust.example.com"], 3);
    judge.judge(&ops, &["resolve", &web_v1, "--server", "ftp://a b"], 3);
    judge.judge(&ops, &["resolve", &web_v1, "--context", "nowhere"], 3);
    let server = judge.world.server.url();
    for (status, exit) in [(401, 31), (403, 31), (429, 33), (500, 34), (503, 34), (418, 34), (302, 34), (404, 34)] {
        judge.world.server.answer("/_metadata/timestamp.json", Answer::status(status));
        let document = judge.judge(&ops, &["resolve", &web_v1, "--server", &server], exit);
        let several = judge.judge(&ops, &["verify", &web_v1, &web_v1, "--server", &server], exit);
        let same = several["images"][0]["code"] == document["code"] && several["images"][1]["code"] == document["code"];
        judge.world.check(&format!("status {status}: verify and resolve agree"), same, &several.to_string());
    }
    judge.world.server.honest();
    judge.judge(&ops, &["resolve", &web_v1], 0);
    judge.judge(&ops, &["pin", "remove", &demo, "--confirm", &demo], 0);
}
