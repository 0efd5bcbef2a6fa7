//! The part of the story about policies and manifests.

use std::fs;
use std::path::Path;

use super::Book;
use trust_tests::stack::Person;

fn write(person: &Person, name: &str, text: &str) {
    let path = person.home.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}

pub fn policies(book: &mut Book) {
    folders(book);
    written(book);
    published(book);
    decided(book);
}

fn folders(book: &mut Book) {
    let alice = book.world.alice.clone();
    book.tell("policy-init-dry-run", &alice, &["policy", "init", "policy", "--dry-run"], 0);
    book.tell("policy-init", &alice, &["policy", "init", "policy"], 0);
    book.tell("policy-init-again", &alice, &["policy", "init", "policy"], 2);
    book.tell("policy-check", &alice, &["policy", "check", "policy"], 0);
    book.tell("policy-check-part", &alice, &["policy", "check", "policy/policy"], 21);
    book.tell("policy-check-no-folder", &alice, &["policy", "check", "nowhere"], 35);
    fs::create_dir(alice.home.join("empty")).unwrap();
    book.tell("policy-check-empty", &alice, &["policy", "check", "empty"], 21);
    write(
        &alice,
        "broken/policy/main.cedar",
        "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.clowd == 1 };\n",
    );
    book.tell("policy-check-member", &alice, &["policy", "check", "broken"], 21);
    write(&alice, "broken/policy/main.cedar", "@id(\"a\")\npermit (principal, action,\n  resource when {};\n");
    book.tell("policy-check-syntax", &alice, &["policy", "check", "broken"], 21);
    write(&alice, "broken/policy/main.cedar", "permit (principal, action, resource);\n");
    book.tell("policy-check-no-id", &alice, &["policy", "check", "broken"], 21);
    write(&alice, "broken/policy/deny.ceder", "forbid (principal, action, resource);\n");
    book.tell("policy-check-stray-file", &alice, &["policy", "check", "broken"], 21);
    copy(&alice.home.join("policy"), &alice.home.join("twice"));
    fs::copy(alice.home.join("twice/labels/data.json"), alice.home.join("twice/labels/more.json")).unwrap();
    book.tell("policy-check-label-twice", &alice, &["policy", "check", "twice"], 21);
}

/// Rules, dictionary and cases that somebody works on.
fn written(book: &mut Book) {
    let alice = book.world.alice.clone();
    book.tell("policy-test", &alice, &["policy", "test", "policy"], 0);
    book.tell("policy-fmt-check", &alice, &["policy", "fmt", "policy", "--check"], 0);
    write(
        &alice,
        "odd/policy/main.cedar",
        "// Work in progress.\n@id(\"everywhere\") permit(principal,action,resource)\n  when {principal.cloud==\"public\"}; // for now\n\n@id(\"not-in-public\")\n@reason(\"nothing runs there yet\")\nforbid (principal, action, resource)\nwhen { principal.cloud != \"private\" };\n\n@id(\"no-pii-in-public\")\nforbid (principal, action, resource)\nwhen { principal.cloud == \"public\" && resource.hasTag(\"com.example.data\") && resource.getTag(\"com.example.data\") == \"PII\" };\n\n@id(\"both\")\nforbid (principal, action, resource)\nwhen { resource has tag && resource.tag like \"v*\" && resource.tag == \"latest\" };\n\n@id(\"misspelt\")\nforbid (principal, action, resource)\nwhen { resource.hasTag(\"com.example.date\") };\n",
    );
    write(
        &alice,
        "odd/labels/data.json",
        "{\"schema\":\"trust/labels/v1\",\"labels\":{\n\"com.example.data\":{\"values\":{\"PII\":{\"fit\":[\"private\"]},\"public\":{\"fit\":[\"public\",\"private\"]}}},\n\"com.example.team\":{\"values\":{\"pay\":{\"fit\":[\"private\"]}}}}}\n",
    );
    book.tell("policy-check-findings", &alice, &["policy", "check", "odd"], 0);
    book.tell("policy-check-strict", &alice, &["policy", "check", "odd", "--strict"], 60);
    book.tell("policy-check-above", &alice, &["policy", "check", "."], 21);
    book.tell("policy-fmt-check-differs", &alice, &["policy", "fmt", "odd", "--check"], 60);
    book.tell("policy-fmt", &alice, &["policy", "fmt", "odd"], 0);
    let labels = fs::read_to_string(alice.home.join("odd/labels/data.json")).unwrap();
    let one_way = labels.contains("\n        \"PII\": { \"fit\": [\"private\"] },\n");
    book.world.check("the dictionary is written with an indent", one_way, &labels);
    book.tell("policy-fmt-again", &alice, &["policy", "fmt", "odd"], 0);
    book.tell("policy-test-no-cases", &alice, &["policy", "test", "odd"], 2);
    let case = "[[case]]\nname = \"the website runs in public clouds\"\nenvironment = { name = \"public\", cloud = \"public\" }\n\n[case.image]\nreference = \"registry.example.com/web/site:v1\"\n\n[case.expect]\ndecision = \"allow\"\n";
    write(&alice, "odd/tests/web.toml", case);
    book.tell("policy-test-failed", &alice, &["policy", "test", "odd"], 60);
    write(&alice, "odd/tests/web.toml", &case.replace("[[case]]", "[case]"));
    book.tell("policy-test-one-bracket", &alice, &["policy", "test", "odd"], 2);
    write(&alice, "odd/tests/web.toml", &case.replace("reference =", "reference"));
    book.tell("policy-test-no-toml", &alice, &["policy", "test", "odd"], 2);
    write(&alice, "odd/tests/web.toml", &case.replace("reference", "referense"));
    book.tell("policy-test-misspelt", &alice, &["policy", "test", "odd"], 2);
    write(&alice, "cut/policy/a.cedar", "@id(\"a\")permit(principal,action,resource);\n");
    write(
        &alice,
        "cut/policy/b.cedar",
        "@id(\"b\") forbid (principal, action, resource)\nwhen { resource.tag_moved &&\n",
    );
    book.tell("policy-fmt-refused", &alice, &["policy", "fmt", "cut"], 21);
    let cut = fs::read_to_string(alice.home.join("cut/policy/b.cedar")).unwrap();
    book.world.check("what does not parse stays", cut.ends_with("tag_moved &&\n"), &cut);
}

fn published(book: &mut Book) {
    let (alice, ops) = (book.world.alice.clone(), book.world.ops.clone());
    book.tell("policy-show-unnamed", &ops, &["policy", "show"], 21);
    book.tell("labels-check-image-unnamed", &ops, &["labels", "check", "--image", "registry.example.com/web:1"], 21);
    let name = format!("{}/policy", book.world.registry.address());
    book.tell("policy-use-not-pinned", &ops, &["policy", "use", &name], 10);
    let policy = book.world.create_policy();
    book.tell("policy-show-nothing", &alice, &["policy", "show", &policy], 21);
    book.tell("policy-publish-dry-run", &alice, &["policy", "publish", "policy", &policy, "--dry-run"], 0);
    book.tell("policy-publish-broken", &alice, &["policy", "publish", "broken", &policy], 21);
    book.tell("policy-publish", &alice, &["policy", "publish", "policy", &policy], 0);
    book.tell("policy-publish-renewed", &alice, &["policy", "publish", "policy", &policy], 0);
    write(
        &alice,
        "policy/policy/night.cedar",
        "@id(\"no-pulls-of-test\")\n@title(\"Nothing that is called test is pulled\")\nforbid (principal, action == Action::\"pull\", resource)\nwhen { resource.tags.contains(\"test\") };\n",
    );
    fs::remove_file(alice.home.join("policy/policy/tag-pii.cedar")).unwrap();
    let rules = fs::read_to_string(alice.home.join("policy/policy/pii.cedar")).unwrap();
    write(&alice, "policy/policy/pii.cedar", &rules.replace("data-protection@example.com", "privacy@example.com"));
    book.tell("policy-publish-cases-failed", &alice, &["policy", "publish", "policy", &policy], 60);
    let skipping = ["policy", "publish", "policy", &policy, "--skip-tests", "--dry-run"];
    book.tell("policy-publish-skip-tests-dry-run", &alice, &skipping, 0);
    fs::remove_file(alice.home.join("policy/tests/tag-pii.toml")).unwrap();
    book.tell("policy-publish-to-confirm", &alice, &["policy", "publish", "policy", &policy], 40);
    book.tell("policy-publish-to-confirm-dry-run", &alice, &["policy", "publish", "policy", &policy, "--dry-run"], 0);
    let confirmed = ["policy", "publish", "policy", &policy, "--confirm", &policy];
    book.tell("policy-publish-changed", &alice, &confirmed, 0);
    book.tell("policy-show-offline", &alice, &["policy", "show", &policy, "--offline"], 0);
    let demo = book.world.demo.clone();
    book.tell("policy-publish-into-images", &alice, &["policy", "publish", "policy", &demo, "--confirm", &demo], 3);
    book.tell("policy-use-of-images", &ops, &["policy", "use", &demo], 3);
    book.tell(
        "policy-publish-without-key",
        &ops,
        &["policy", "publish", &alice.home.join("policy").display().to_string(), &policy],
        42,
    );
    book.tell("policy-use", &ops, &["policy", "use", &policy], 0);
    book.tell("policy-show", &ops, &["policy", "show"], 0);
    book.tell("policy-show-raw", &ops, &["policy", "show", "--raw", "_policy/night.cedar"], 0);
    book.tell("policy-show-raw-unknown", &ops, &["policy", "show", "--raw", "main.cedar"], 2);
    copy(&alice.home.join("policy"), &ops.home.join("policy"));
}

fn decided(book: &mut Book) {
    let (ops, demo) = (book.world.ops.clone(), book.world.demo.clone());
    book.world.sign_labelled();
    book.learn();
    let image = |name: &str| format!("{demo}/data-{name}:v1");
    let (public, private) = ("policy/environments/public.toml", "policy/environments/private.toml");
    book.tell("verify-env", &ops, &["verify", &image("public"), "--env", public], 0);
    book.tell("verify-pin-without-manifests", &ops, &["verify", &image("public"), "--pin"], 2);
    book.tell("verify-env-denied", &ops, &["verify", &image("pii"), "--env", public], 20);
    book.tell("verify-env-private", &ops, &["verify", &image("pii"), "--env", private], 0);
    book.tell("verify-env-label-outside", &ops, &["verify", &image("typo"), "--env", private], 20);
    book.tell("verify-env-without-label", &ops, &["verify", &image("none"), &image("public"), "--env", public], 20);
    book.tell("verify-env-not-signed", &ops, &["verify", &format!("{demo}/api:unsigned"), "--env", public], 10);
    book.tell("verify-env-folder", &ops, &["verify", &image("public"), "--env", public, "--policy", "policy"], 0);
    write(&ops, "typo.toml", "name = \"public-eu\"\nclowd = \"public\"\n");
    book.tell("verify-env-unknown-key", &ops, &["verify", &image("public"), "--env", "typo.toml"], 3);
    book.tell("explain-denied", &ops, &["policy", "explain", "--image", &image("pii"), "--env", public], 20);
    book.tell("explain-allowed", &ops, &["policy", "explain", "--image", &image("public"), "--env", public], 0);
    book.tell("explain-label-outside", &ops, &["policy", "explain", "--image", &image("typo"), "--env", public], 20);
    let typo = format!("{}@{}", image("typo"), book.world.images["data-typo"].digest);
    book.tell("sign-label-outside", &ops, &["sign", &typo], 20);
    let unsigned = format!("{demo}/api:unsigned");
    book.tell("explain-not-signed", &ops, &["policy", "explain", "--image", &unsigned, "--env", public], 10);
    let facts = book.world.run(&ops, &["verify", &image("pii"), "-o", "json", "--out", "facts.json"]);
    book.world.expect("facts", &facts, 0, &[]);
    let tried =
        ["policy", "explain", "--facts", "facts.json", "--env", public, "--policy", "policy", "--action", "pull"];
    book.tell("explain-facts", &ops, &tried, 20);
}

/// A Deployment with two images, and a document without one.
fn deployment(demo: &str, second: &str) -> String {
    format!(
        "# The web of the demo\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      \
         initContainers:\n      - name: prepare\n        image: \"{demo}/data-public:v1\" # quoted\n      containers:\n      \
         - name: web\n        image: {demo}/{second}:v1\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n"
    )
}

/// The files of a node whose tools go around the gate, and those of one whose tools do not.
fn doctor_of_a_node(book: &mut Book) {
    let ops = book.world.ops.clone();
    let registry = book.world.registry.address().to_owned();
    let hosts = format!("etc/containerd/certs.d/{}_/hosts.toml", registry.replace(':', "_"));
    let conf = "etc/containers/registries.conf";
    let entry = format!("[[registry]]\nprefix = \"{registry}\"\n");
    let mirror = "[[registry.mirror]]\nlocation = \"gate.example.com\"\n";
    write(&ops, &format!("around/{conf}"), &format!("{entry}location = \"{registry}\"\n{mirror}"));
    write(&ops, &format!("around/{hosts}"), "[host.\"https://gate.example.com\"]\n");
    write(&ops, "around/etc/docker/daemon.json", "{\"registry-mirrors\": [\"https://gate.example.com\"]}\n");
    let registry_behind = book.world.stack.registry.clone();
    let arguments = ["doctor", "--node-root", "around", "--unreachable", &registry_behind];
    book.tell("doctor-around", &ops, &arguments, 60);
    write(&ops, &format!("fine/{conf}"), &format!("{entry}location = \"gate.example.com\"\n"));
    write(&ops, &format!("fine/{hosts}"), "server = \"https://gate.example.com\"\n");
    let gate = ["doctor", "--node-root", "fine", "--gate", "gate.example.com", "--unreachable", "127.0.0.1:1"];
    book.tell("doctor-gate", &ops, &gate, 0);
    write(&ops, &format!("fine/{conf}"), "[[registry");
    book.tell("doctor-unknown", &ops, &["doctor", "--node-root", "fine"], 60);
    book.tell("doctor-no-folder", &ops, &["doctor", "--node-root", "nowhere"], 35);
}

pub fn manifests(book: &mut Book) {
    let (ops, demo) = (book.world.ops.clone(), book.world.demo.clone());
    let public = "policy/environments/public.toml";
    fs::create_dir(ops.home.join("nothing")).unwrap();
    book.tell("manifests-nothing", &ops, &["verify", "--manifests", "nothing"], 2);
    write(&ops, "deploy/web.yaml", &deployment(&demo, "data-pii"));
    book.tell("manifests", &ops, &["verify", "--manifests", "deploy"], 0);
    book.tell("manifests-denied", &ops, &["verify", "--manifests", "deploy", "--env", public, "--pin"], 20);
    book.tell("manifests-pin-dry-run", &ops, &["verify", "--manifests", "deploy", "--pin", "--dry-run"], 0);
    book.tell("manifests-pin", &ops, &["verify", "--manifests", "deploy", "--pin"], 0);
    let pinned = fs::read_to_string(ops.home.join("deploy/web.yaml")).unwrap();
    let (one, two) = (&book.world.images["data-public"].digest, &book.world.images["data-PII"].digest);
    let expected = deployment(&demo, "data-pii")
        .replace("data-public:v1", &format!("data-public:v1@{one}"))
        .replace("data-pii:v1", &format!("data-pii:v1@{two}"));
    book.world.check("nothing but the digests was written", pinned == expected, &pinned);
    book.tell("manifests-pinned", &ops, &["verify", "--manifests", "deploy", "--pin"], 0);
    write(&ops, "bad/a.yaml", &deployment(&demo, "api-unsigned"));
    write(&ops, "bad/b.yaml", "kind: Pod\nkind: Pod\n");
    write(
        &ops,
        "bad/c.yaml",
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{image: a}]}}}\n",
    );
    book.tell("manifests-refused", &ops, &["verify", "--manifests", "bad", "--pin"], 10);
    write(&ops, "stdin.yaml", &deployment(&demo, "data-pii"));
    let run = book.world.run_fed(&ops, &["verify", "--manifests", "-", "--pin"], &ops.home.join("stdin.yaml"));
    book.compare("manifests-stdin", &ops, &run, 0);
    write(
        &ops,
        "compose.yaml",
        &format!(
            "services:\n  web:\n    image: {demo}/data-public:v1\n  shell:\n    image: {demo}/data-pii:v1\n    profiles: [debug]\n"
        ),
    );
    book.tell("manifests-compose", &ops, &["verify", "--manifests", "compose.yaml", "--pin", "--dry-run"], 0);
    write(&ops, "part/compose.yaml", "services:\n  web:\n    image: r.io/web:${TAG:-v1}\n");
    write(&ops, "part/built.yaml", "services:\n  web:\n    build: .\n");
    write(&ops, "part/chart/Chart.yaml", "name: shop\n");
    book.tell("manifests-to-render", &ops, &["verify", "--manifests", "part", "--pin"], 2);
    book.tell("status", &ops, &["status"], 0);
    book.tell("status-not-pinned", &ops, &["status", "registry.example.com/pay"], 10);
    book.tell("status-server-down", &ops, &["status", "--server", "http://127.0.0.1:1"], 30);
    book.tell("doctor", &ops, &["doctor"], 0);
    doctor_of_a_node(book);
    let run = book.world.run_with(&ops, &["doctor", "--server", "http://127.0.0.1:1"], |c| {
        c.env("DOCKER_CONTENT_TRUST", "1");
    });
    book.compare("doctor-problems", &ops, &run, 60);
}
