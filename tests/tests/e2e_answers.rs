//! What people are told on a running stack about revoked images, about images that were not compared with a registry, and
//! on the way through a rotation in two steps.

use trust_tests::stack::scene::{Scene, assert_exit};
use trust_tests::stack::{Options, Person, run};

/// Runs a command; gives what it wrote on stdout and stderr.
fn told(person: &Person, arguments: &[&str], exit: i32) -> (String, String) {
    let output = run(person.trust().args(arguments)).unwrap();
    assert_exit(&output, exit, &format!("trust {}", arguments.join(" ")));
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn document(person: &Person, arguments: &[&str]) -> serde_json::Value {
    let (text, _) = told(person, &[arguments, &["-o", "json"]].concat(), 0);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_revoked_image_is_shown_as_revoked_everywhere_and_not_signed_again() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "answers", Options::default());
    let (alice, collection) = (&scene.alice, scene.collection.as_str());
    assert_exit(&scene.sign("v1"), 0, "sign");
    let image = format!("{collection}/app");
    let (tag, pinned) = (format!("{image}:v1"), format!("{image}@{}", scene.image.digest));
    assert_eq!(document(alice, &["inspect", &tag])["subjects"][0]["revoked"], serde_json::Value::Null);

    let verified = document(alice, &["verify", &tag, "--no-registry"]);
    assert_eq!(verified["images"][0]["registry_compared"], false);
    assert_eq!(verified["images"][0]["tag_moved"], serde_json::Value::Null);
    let (text, _) = told(alice, &["verify", &tag, "--no-registry"], 0);
    assert!(text.contains("not compared (--no-registry)"), "{text}");
    let (text, _) = told(alice, &["verify", &tag, "--offline"], 0);
    assert!(text.contains("not asked now") && text.contains("not compared (--offline)"), "{text}");
    let (_, text) = told(alice, &["verify", &tag, "--signer", "bob"], 12);
    assert!(text.contains("there is no signer bob; signers: targets"), "{text}");

    told(alice, &["revoke", &pinned, "--reason", "leaks a password", "--confirm", &image], 0);
    let (text, _) = told(alice, &["inspect", &tag], 0);
    assert!(text.starts_with("REVOKED by targets: \"leaks a password\"\n"), "{text}");
    let revoked = document(alice, &["inspect", &tag])["subjects"][0]["revoked"].clone();
    assert_eq!((&revoked["scope"], &revoked["by"]), (&"digest".into(), &"targets".into()));
    let (text, _) = told(alice, &["list", collection], 0);
    assert!(text.lines().nth(1).unwrap().ends_with("revoked"), "{text}");
    let by_other_tag = format!("{image}:v2@{}", scene.image.digest);
    let (_, text) = told(alice, &["sign", &by_other_tag], 17);
    assert!(text.contains("E1021") && text.contains("digest"), "{text}");
}

#[test]
fn the_old_online_key_leaves_only_when_that_is_asked_for_and_the_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "answers", Options::default());
    let (alice, collection) = (&scene.alice, scene.collection.as_str());
    let rotate = |more: &[&str], exit| told(alice, &[&["rotate", "timestamp", collection], more].concat(), exit).1;
    let keys =
        || document(alice, &["inspect", collection])["subjects"][0]["roles"][1]["keys"].as_array().unwrap().len();

    let text = rotate(&[], 0);
    assert!(text.contains("rotation of timestamp begun (1 of 2)"), "{text}");
    assert!(text.contains(&format!("trust rotate timestamp {collection} --finish")), "{text}");
    assert_eq!(keys(), 2);
    let text = rotate(&[], 2);
    assert!(text.contains("both valid") && text.contains("--emergency"), "{text}");
    let text = rotate(&["--finish"], 2);
    assert!(text.contains("stays until") && text.contains("--emergency"), "{text}");
    assert_eq!(keys(), 2, "nothing was removed");
    rotate(&["--emergency"], 0);
    assert_eq!(keys(), 1);

    rotate(&["--overlap", "0s"], 0);
    rotate(&["--finish"], 0);
    assert_eq!(keys(), 1);

    let before = document(alice, &["key", "list"])["keys"].as_array().unwrap().len();
    let (_, text) = told(alice, &["rotate", "targets", collection, "--dry-run"], 0);
    assert!(text.contains("would make"), "{text}");
    assert_eq!(document(alice, &["key", "list"])["keys"].as_array().unwrap().len(), before);
}

#[test]
fn a_signer_is_chosen_by_the_key_that_was_given_and_before_targets() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "answers", Options::default());
    let (alice, collection) = (&scene.alice, scene.collection.as_str());
    let signer = |arguments: &[&str]| document(alice, arguments)["images"][0]["signer"].as_str().unwrap().to_owned();
    let image = |tag: &str| format!("{collection}/app:{tag}@{}", scene.image.digest);
    told(alice, &["key", "generate", "dev"], 0);
    told(alice, &["signer", "add", "dev", collection, "--signer-key", "dev"], 0);
    assert_eq!(signer(&["sign", &image("v1")]), "dev", "a named signer stands before targets");

    told(alice, &["key", "generate", "qa"], 0);
    told(alice, &["signer", "add", "qa", collection, "--signer-key", "qa"], 0);
    let (_, text) = told(alice, &["sign", &image("v2")], 2);
    assert!(text.contains("--as NAME"), "{text}");
    // A private key alone does not say whose it is before it is opened.
    let (list, _) = told(alice, &["key", "list", "-o", "json"], 0);
    assert!(list.contains("qa"), "{list}");
    let copy = dir.path().join("copy.pem");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a passphrase").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (copy, secret) = (copy.to_str().unwrap(), secret.to_str().unwrap());
    told(alice, &["key", "export", "qa", "--private", "--out", copy, "--new-passphrase-file", secret], 0);
    let key = format!("file:{copy}");
    assert_eq!(signer(&["sign", &image("v2"), "--key", &key, "--passphrase-file", secret]), "qa");
}
