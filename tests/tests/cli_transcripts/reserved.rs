//! The part of the story about the dictionary, exceptions, and roles with keys of their own.

use std::fs;

use super::Book;

pub fn reserved(book: &mut Book) {
    labels(book);
    history(book);
    exceptions(book);
    roles(book);
}

fn labels(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    let policy = format!("{}/policy", book.world.registry.address());
    book.tell("labels-check", &alice, &["labels", "check", "policy"], 0);
    book.tell("labels-check-no-dictionary", &alice, &["labels", "check", "empty"], 21);
    book.tell("labels-check-image", &ops, &["labels", "check", "--image", &format!("{demo}/data-pii:v1")], 0);
    let typo = format!("{demo}/data-typo:v1");
    book.tell("labels-check-image-outside", &ops, &["labels", "check", "--image", &typo], 20);
    book.tell("labels-check-image-folder", &ops, &["labels", "check", "policy", "--image", &typo], 20);
    book.tell("labels-show", &ops, &["labels", "show"], 0);
    let file = alice.home.join("policy/labels/data.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"values\"", &format!("\"required\": [\"{demo}/hr\"],\n      \"values\""))).unwrap();
    book.tell("labels-publish-dry-run", &alice, &["labels", "publish", "policy", &policy, "--dry-run"], 0);
    book.tell("labels-publish", &alice, &["labels", "publish", "policy", &policy], 0);
    fs::write(&file, text).unwrap();
    book.tell("labels-publish-to-confirm", &alice, &["labels", "publish", "policy", &policy], 40);
    let confirmed = ["labels", "publish", "policy", &policy, "--confirm", &policy];
    book.tell("labels-publish-confirmed", &alice, &confirmed, 0);
}

fn history(book: &mut Book) {
    let ops = book.world.ops.clone();
    let policy = format!("{}/policy", book.world.registry.address());
    book.tell("policy-pull-dry-run", &ops, &["policy", "pull", "pulled", "--dry-run"], 0);
    book.tell("policy-pull", &ops, &["policy", "pull", "pulled"], 0);
    book.tell("policy-pull-again", &ops, &["policy", "pull", "pulled"], 0);
    book.tell("policy-diff-same", &ops, &["policy", "diff", "pulled"], 0);
    let rules = ops.home.join("pulled/policy/pii.cedar");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, text.replace("privacy@example.com", "privacy-2@example.com")).unwrap();
    book.tell("policy-diff-changed", &ops, &["policy", "diff", "pulled"], 60);
    book.tell("policy-pull-in-the-way", &ops, &["policy", "pull", "pulled"], 2);
    book.tell("policy-pull-overwritten", &ops, &["policy", "pull", "pulled", "--force"], 0);
    fs::write(ops.home.join("pulled/policy/more.cedar"), "// mine\n").unwrap();
    book.tell("policy-pull-beside", &ops, &["policy", "pull", "pulled", "--force"], 2);
    book.tell("policy-diff-versions", &ops, &["policy", "diff", &policy, "--from", "3", "--to", "4"], 60);
    book.tell("policy-diff-unnamed", &ops, &["policy", "diff"], 2);
    book.tell("policy-log", &ops, &["policy", "log"], 0);
}

fn exceptions(book: &mut Book) {
    let (alice, ops, demo) = (book.world.alice.clone(), book.world.ops.clone(), book.world.demo.clone());
    let policy = format!("{}/policy", book.world.registry.address());
    let image = format!("{demo}/data-pii:v1");
    let pinned = format!("{demo}/data-pii@{}", book.world.images["data-PII"].digest);
    let public = "policy/environments/public.toml";
    fn grant<'a>(image: &'a str, rule: &'a str, life: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["--env", "public", "--rule", rule, "--reason", "Incident 4711", "--for", life];
        [&["exception", "grant", "--image", image][..], &words, more].concat()
    }
    let rule = "pii-not-in-public";
    book.tell("exception-list-none", &ops, &["exception", "list"], 0);
    book.tell("exception-grant-tag", &alice, &grant(&image, rule, "4h", &[&policy]), 2);
    book.tell("exception-grant-unknown-rule", &alice, &grant(&pinned, "pii-not-in-publik", "4h", &[&policy]), 2);
    book.tell("exception-grant-eight-days", &alice, &grant(&pinned, rule, "8d", &[&policy]), 2);
    book.tell("exception-grant-without-key", &ops, &grant(&pinned, rule, "4h", &[]), 42);
    book.tell("exception-grant-dry-run", &alice, &grant(&pinned, rule, "4h", &[&policy, "--dry-run"]), 0);
    let granted = book.tell("exception-grant", &alice, &grant(&pinned, rule, "4h", &[&policy]), 0);
    book.tell("exception-list", &ops, &["exception", "list"], 0);
    book.tell("policy-show-exception", &ops, &["policy", "show"], 0);
    book.tell("verify-env-exception", &ops, &["verify", &image, "--env", public], 0);
    let missing = ["exception", "grant", &policy, "--image", &pinned, "--env", public, "--rule", "pii-fit-for-public"];
    let more = ["--reason", "Incident 4711", "--for", "4h", "--dry-run"];
    book.tell("exception-grant-lifts-nothing", &alice, &[&missing[..], &more].concat(), 0);
    fs::write(ops.home.join("us.toml"), "name = \"public-us\"\ncloud = \"public\"\n").unwrap();
    book.tell("verify-env-not-lifted", &ops, &["verify", &image, "--env", "us.toml"], 20);
    book.tell("explain-not-lifted", &ops, &["policy", "explain", "--image", &image, "--env", "us.toml"], 20);
    book.tell("explain-exception", &ops, &["policy", "explain", "--image", &image, "--env", public], 0);
    book.tell("exception-revoke-unknown", &alice, &["exception", "revoke", "20260101-00000000", &policy], 2);
    book.tell("exception-revoke", &alice, &["exception", "revoke", granted.out.trim(), &policy], 0);
    book.tell("exception-prune-dry-run", &alice, &["exception", "prune", &policy, "--dry-run"], 0);
    book.tell("exception-prune", &alice, &["exception", "prune", &policy], 0);
}

fn roles(book: &mut Book) {
    let (alice, ops) = (book.world.alice.clone(), book.world.ops.clone());
    let policy = format!("{}/policy", book.world.registry.address());
    book.tell("signer-add-policy-paths", &alice, &["signer", "add", "_policy", &policy, "--paths", "a/*"], 2);
    let named = ["signer", "add", "_polcy", &policy, "--signer-key", "rules"];
    book.tell("signer-add-no-such-role", &alice, &named, 2);
    let add = ["signer", "add", "_policy", &policy, "--signer-key", "rules"];
    book.tell("signer-add-policy-dry-run", &alice, &[&add[..], &["--dry-run"]].concat(), 0);
    book.tell("signer-add-policy", &alice, &add, 0);
    book.tell("signer-add-policy-again", &alice, &add, 2);
    let misspelt = ["signer", "add", "_labels", &policy, "--signer-key", "rulse"];
    book.tell("signer-add-misspelt-key", &alice, &misspelt, 42);
    let into = book.world.demo.clone();
    book.tell(
        "signer-add-policy-into-images",
        &alice,
        &["signer", "add", "_policy", &into, "--signer-key", "rules"],
        3,
    );
    let revoked = ["signer", "add", "_revoked", &policy, "--signer-key", "rules"];
    book.tell("signer-add-revoked-into-policy", &alice, &revoked, 2);
    book.tell("signer-list-policy", &ops, &["signer", "list", &policy], 0);
    let run = book.world.run(&alice, &["key", "generate", "lead"]);
    book.world.expect("a key", &run, 0, &[]);
    let accept = ["signer", "accept", "_exceptions", &policy, "--key", "lead", "--out", "lead.json"];
    book.tell("signer-accept-exceptions", &alice, &accept, 0);
    book.tell("policy-show-delegated", &ops, &["policy", "show"], 0);
    book.tell("signer-remove-policy-unconfirmed", &alice, &["signer", "remove", "_policy", &policy], 40);
    book.tell("signer-remove-policy-not-there", &alice, &["signer", "remove", "_labels", &policy], 42);
    book.tell("signer-remove-policy", &alice, &["signer", "remove", "_policy", &policy, "--confirm", &policy], 0);
    // What comes behind this needs the policy again.
    let again = book.world.run(&alice, &["policy", "publish", "policy", &policy]);
    book.world.expect("published again", &again, 0, &[]);
}
