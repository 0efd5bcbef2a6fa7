//! Exceptions, dictionaries, folders and roles that cannot be used: each is refused, and nothing is published.

use std::fs;
use std::os::unix::fs::symlink;

use super::cli_world::World;

/// Bad words for exceptions, bad folders for `pull` and `diff`, bad names for roles.
pub fn reserved(world: &mut World) {
    let (alice, ops) = (world.alice.clone(), world.ops.clone());
    let policy = world.create_policy();
    world.refused("a policy", &alice, &["policy", "init", "mine"], 0, &[]);
    world.refused("a policy in force", &alice, &["policy", "publish", "mine", &policy], 0, &[]);
    let image = format!("registry.example.com/hr/payroll@sha256:{}", "a".repeat(64));
    let rule = "pii-not-in-public";
    let long = "x".repeat(1_025);
    fs::write(alice.home.join("wrong.toml"), "name = 'Public'\ncloud = 'public'\n").unwrap();
    let other = format!("registry.example.com/hr/payroll@sha512:{}", "a".repeat(128));
    for (what, image, env, rules, reason, life, exit, says) in [
        ("no reason", image.as_str(), "public", vec![rule], " ", "4h", 2, "the reason is empty"),
        ("a long reason", &image, "public", vec![rule], &long, "4h", 2, "longer than 1024"),
        ("a name of no environment", &image, "Public EU", vec![rule], "x", "4h", 2, "environment"),
        ("a file of no environment", &image, "wrong.toml", vec![rule], "x", "4h", 3, "wrong.toml"),
        ("no such file", &image, "./nowhere.toml", vec![rule], "x", "4h", 35, "nowhere.toml"),
        ("every rule", &image, "public", vec!["*"], "x", "4h", 2, "no rule `*`"),
        ("a name that steers the terminal", &image, "public", vec!["a\u{1b}[2J"], "x", "4h", 2, "\\u{1b}"),
        ("another digest", &other, "public", vec![rule], "x", "4h", 2, "sha256"),
        ("no time", &image, "public", vec![rule], "x", "0h", 2, "at most 7d"),
        ("seconds", &image, "public", vec![rule], "x", "90s", 2, "at most 7d"),
        ("a second too much", &image, "public", vec![rule], "x", "10081m", 2, "at most 7d"),
    ] {
        let mut words = vec!["exception", "grant", &policy, "--image", image, "--env", env, "--reason", reason];
        words.extend(["--for", life]);
        words.extend(rules.iter().flat_map(|rule| ["--rule", rule]));
        let run = world.refused(&format!("an exception with {what}"), &alice, &words, exit, &[says]);
        world.check("nothing steers the terminal", !run.said().contains('\u{1b}'), &run.said());
    }
    let listed = world.refused("no exception came of it", &ops, &["exception", "list", &policy], 0, &["no exception"]);
    world.check("nothing is listed", listed.out.is_empty(), &listed.out);
    for id in ["", "../x", "_policy/pii.cedar", "a\u{1b}[2J"] {
        let run =
            world.refused("an exception of no name", &alice, &["exception", "revoke", id, &policy], 2, &["E0002"]);
        world.check("nothing steers the terminal", !run.said().contains('\u{1b}'), &run.said());
    }
    let still = world.refused("the rules stay", &ops, &["policy", "show", &policy], 0, &["pii-not-in-public"]);
    world.check("version 2", still.out.contains("policy v2"), &still.out);

    world.refused("a file as folder", &alice, &["policy", "pull", "wrong.toml", &policy], 35, &["wrong.toml"]);
    fs::create_dir_all(ops.home.join("linked/policy")).unwrap();
    fs::write(ops.home.join("precious"), "mine").unwrap();
    symlink("../../precious", ops.home.join("linked/policy/pii.cedar")).unwrap();
    world.refused("a link in the way", &ops, &["policy", "pull", "linked", &policy], 2, &["pii.cedar"]);
    world.refused("a link is replaced", &ops, &["policy", "pull", "linked", &policy, "--force"], 0, &[]);
    let precious = fs::read_to_string(ops.home.join("precious")).unwrap();
    world.check("what a link led to stays", precious == "mine", &precious);
    world.refused("a folder without rules", &ops, &["policy", "diff", ".", &policy], 21, &["E2102"]);
    world.refused("three names", &ops, &["policy", "diff", "a", "b", "c"], 2, &[]);
    world.refused("a name of no collection", &ops, &["policy", "diff", "linked", "No Name"], 2, &["No Name"]);
    world.refused("labels of no folder", &ops, &["labels", "check", "nowhere"], 35, &["nowhere"]);
    world.refused("labels that are not in use", &ops, &["labels", "show"], 21, &["trust policy use"]);

    let elsewhere = "registry.example.com/policy";
    let accept = ["signer", "accept", "_policy", elsewhere, "--key", "k", "--no-passphrase"];
    world.refused("what is in force is not known", &ops, &accept, 10, &["not pinned"]);
    for name in ["_other", "_Policy", "_policy/x", "targets"] {
        let add = ["signer", "add", name, &policy, "--signer-key", "k"];
        world.refused("no reserved role", &alice, &add, 2, &["invalid value"]);
    }
    for command in ["bins", "last"] {
        let words = ["signer", command, "_policy", &policy, "16"];
        let count = if command == "bins" { 5 } else { 4 };
        world.refused("bins of a reserved role", &alice, words.get(..count).unwrap(), 2, &["invalid value"]);
    }
}
