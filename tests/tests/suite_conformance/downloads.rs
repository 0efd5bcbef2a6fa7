//! Cases of the public conformance suite: downloads of targets, told by what lies in the folder and what was asked for.
//!
//! What attacks a folder of targets is beside the code (`client/reader/src/target/tests.rs`); which function of the suite
//! is which test here: docs/conformance.md.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use trust_tests::conformance::scene::Scene;
use trust_tests::conformance::{Failed, init};
use trust_tests::simulator::{Delegate, Repository, TestKey};
use trust_tuf::json::Value;
use trust_tuf::model::sha256;

fn hash_name(bytes: &[u8], path: &str) -> String {
    let hash = hex::encode(sha256(bytes));
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("targets/{folder}/{hash}.{name}"),
        None => format!("targets/{hash}.{path}"),
    }
}

fn sha512(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA512, bytes))
}

fn with(targets: &[(&str, &[u8])]) -> Scene {
    let mut repo = Repository::new();
    for (path, bytes) in targets {
        repo.add_target("targets", path, bytes);
    }
    repo.publish();
    Scene::new(repo)
}

fn folder(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

/// The targets that were asked for.
fn artifacts(scene: &Scene) -> Vec<String> {
    scene.requests().into_iter().filter(|file| file.starts_with("targets/")).collect()
}

#[test]
fn a_refresh_downloads_no_target_and_a_download_the_one_that_is_named() {
    let scene = with(&[("a.txt", b"a"), ("b.txt", b"b")]);
    scene.refresh().unwrap();
    assert_eq!(scene.targets(), folder(&[]));
    scene.download(&["a.txt"]).unwrap();
    assert_eq!(scene.targets(), folder(&[("a.txt", b"a")]));
}

#[test]
fn a_target_in_a_folder_is_asked_for_with_the_hash_before_its_last_name() {
    let scene = with(&[("path/to/a/file.txt", b"x")]);
    scene.download(&["path/to/a/file.txt"]).unwrap();
    assert_eq!(artifacts(&scene), [hash_name(b"x", "path/to/a/file.txt")]);
    assert_eq!(scene.targets(), folder(&[("path/to/a/file.txt", b"x")]));
}

#[test]
fn a_download_updates_first_also_where_its_target_is_listed_nowhere() {
    let scene = with(&[]);
    assert!(matches!(scene.download(&["nothing"]), Err(Failed::NoSuchTarget(_))));
    assert_eq!(scene.requests(), ["2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json"]);
    assert_eq!(scene.trusted().into_values().collect::<Vec<_>>(), [1, 2, 1, 2]);
}

#[test]
fn nothing_is_asked_and_nothing_trusted_where_no_good_root_was_pinned() {
    let mut repo = Repository::unpublished();
    repo.root().signers = vec![TestKey::ed25519(250)];
    repo.publish_root();
    repo.publish_same_versions();
    let unsigned = Scene::unpinned(repo);
    let mut repo = Repository::unpublished();
    repo.root().unset(&["version"]);
    repo.publish_root();
    let without_version = Scene::unpinned(repo);
    for scene in [unsigned, without_version] {
        assert!(matches!(init(&scene.metadata_dir(), &scene.repo.pinned, scene.now), Err(Failed::Root(_))));
        assert!(matches!(scene.refresh(), Err(Failed::NotPinned)));
        assert!(matches!(scene.download(&["a"]), Err(Failed::NotPinned)));
        assert_eq!(scene.requests(), [""; 0]);
        assert!(scene.trusted().is_empty());
    }
}

#[test]
fn a_substituted_target_is_never_stored() {
    let scene = with(&[("a.txt", b"target a"), ("b.txt", b"target b")]);
    scene.download(&["a.txt"]).unwrap();
    for (path, bytes) in [("a.txt", b"target a"), ("b.txt", b"target b")] {
        scene.repo.wire.put(&hash_name(bytes, path), b"evil one".to_vec());
    }
    // What is there is the target: nobody is asked.
    scene.download(&["a.txt"]).unwrap();
    for evil in [b"evil one".to_vec(), b"evil".to_vec(), b"much more evil".to_vec()] {
        scene.repo.wire.put(&hash_name(b"target b", "b.txt"), evil);
        assert!(matches!(scene.download(&["b.txt"]), Err(Failed::Problem(_))));
        assert_eq!(scene.targets(), folder(&[("a.txt", b"target a")]));
    }
}

#[test]
fn a_target_that_changes_again_and_again_is_one_file_with_the_newest_signed_bytes() {
    let mut scene = with(&[("a.txt", b"first")]);
    scene.download(&["a.txt"]).unwrap();
    let mut expected = folder(&[("a.txt", b"first")]);
    for round in 0..11_u8 {
        let (changed, new) = (format!("changed {round}"), format!("new-{round}"));
        scene.repo.add_target("targets", "a.txt", changed.as_bytes());
        scene.repo.add_target("targets", &new, new.as_bytes());
        scene.repo.role("targets").bump();
        scene.repo.publish();
        // The client comes by now and then.
        if round % 5 != 0 {
            continue;
        }
        scene.download(&["a.txt", &new]).unwrap();
        expected.insert("a.txt".to_owned(), changed.clone().into_bytes());
        expected.insert(new.clone(), new.clone().into_bytes());
        assert_eq!(scene.targets(), expected, "round {round}");
        // Other bytes under the listed hash, in a publication that lists nothing new.
        let listed = hash_name(changed.as_bytes(), "a.txt");
        scene.repo.wire.put(&listed, format!("evil!!! {round}").into_bytes());
        scene.repo.publish();
        let _ = scene.download(&["a.txt"]);
        assert_eq!(scene.targets(), expected, "round {round}");
        std::fs::remove_file(scene.target_dir().join("a.txt")).unwrap();
        assert!(scene.download(&["a.txt"]).is_err());
        scene.repo.wire.put(&listed, changed.into_bytes());
        scene.download(&["a.txt"]).unwrap();
        assert_eq!(scene.targets(), expected, "round {round}");
    }
}

#[test]
fn either_known_hash_and_both_together_are_checked_and_asked_for_once() {
    let bytes = b"content".as_slice();
    let (short, long) = (hex::encode(sha256(bytes)), sha512(bytes));
    let wrong = sha512(b"other");
    for (hashes, good) in [
        (vec![("sha256", &short)], true),
        (vec![("sha512", &long)], true),
        (vec![("sha256", &short), ("sha512", &long)], true),
        (vec![("sha256", &short), ("sha512", &wrong)], false),
        (vec![("sha512", &wrong)], false),
        (vec![("md5", &short), ("sha256", &short)], true),
    ] {
        let scene = with_hashes(bytes, &hashes);
        assert_eq!(scene.download(&["a.txt"]).is_ok(), good, "{hashes:?}");
        let names: Vec<String> = hashes.iter().map(|(_, hash)| format!("targets/{hash}.a.txt")).collect();
        let asked = artifacts(&scene);
        assert!(asked.iter().all(|file| names.contains(file)), "{asked:?}");
        if good {
            assert_eq!(asked.len(), 1, "{hashes:?}");
            assert_eq!(scene.targets(), folder(&[("a.txt", bytes)]));
        } else {
            assert_eq!(scene.targets(), folder(&[]));
        }
    }
}

/// One target with these hashes, served under each of them.
fn with_hashes(bytes: &[u8], hashes: &[(&'static str, &String)]) -> Scene {
    let mut repo = Repository::new();
    let stated = Value::object(hashes.iter().map(|(kind, hash)| (*kind, Value::from(hash.as_str()))));
    let entry = Value::object([("length", Value::from(bytes.len() as u64)), ("hashes", stated)]);
    repo.role("targets").set(&["targets", "a.txt"], entry);
    repo.publish();
    for (_, hash) in hashes {
        repo.wire.put(&format!("targets/{hash}.a.txt"), bytes.to_vec());
    }
    Scene::new(repo)
}

#[test]
fn a_target_with_hashes_of_unknown_kinds_alone_is_refused() {
    let hash = sha512(b"content");
    let scene = with_hashes(b"content", &[("unknown", &hash)]);
    assert!(matches!(scene.download(&["a.txt"]), Err(Failed::Problem(_))));
    assert_eq!(scene.targets(), folder(&[]));
}

#[test]
fn the_second_download_asks_for_no_target() {
    let scene = with(&[("a.txt", b"a")]);
    scene.download(&["a.txt"]).unwrap();
    assert_eq!(artifacts(&scene).len(), 1);
    scene.download(&["a.txt"]).unwrap();
    assert_eq!(artifacts(&scene), [""; 0]);
    // Damage is noticed.
    std::fs::write(scene.target_dir().join("a.txt"), b"x").unwrap();
    scene.download(&["a.txt"]).unwrap();
    assert_eq!(scene.targets(), folder(&[("a.txt", b"a")]));
}

#[test]
fn several_targets_come_in_order_up_to_the_first_that_fails() {
    let scene = with(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
    scene.download(&["c", "a"]).unwrap();
    assert_eq!(artifacts(&scene), [hash_name(b"3", "c"), hash_name(b"1", "a")]);
    assert!(scene.download(&["a", "nothing", "b"]).is_err());
    assert_eq!(scene.targets(), folder(&[("a", b"1"), ("c", b"3")]));
    scene.repo.wire.put(&hash_name(b"2", "b"), b"!".to_vec());
    assert!(scene.download(&["b", "c"]).is_err());
    assert_eq!(scene.targets(), folder(&[("a", b"1"), ("c", b"3")]));
}

#[test]
fn a_repository_with_plain_names_serves_its_targets_under_them() {
    let mut repo = Repository::unpublished();
    repo.root().set(&["consistent_snapshot"], false);
    repo.add_target("targets", "dir/a b.txt", b"x");
    repo.publish_root();
    repo.publish_same_versions();
    repo.wire.put("targets/dir/a%20b.txt", b"x".to_vec());
    let scene = Scene::new(repo);
    scene.download(&["dir/a b.txt"]).unwrap();
    let expected = ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "targets/dir/a%20b.txt"];
    assert_eq!(scene.requests(), expected);
    assert_eq!(scene.targets(), folder(&[("dir/a b.txt", b"x")]));
}

/// Signs a role's file as it lies there again, with the same keys: after a change of who they are called.
fn rename_keys(repo: &mut Repository, role: &str, kind: &str) -> TestKey {
    let named = TestKey::p256().respelled(|value| {
        value.as_object_mut().expect("an object").insert("keytype".to_owned(), kind.into());
    });
    repo.set_keys(role, std::slice::from_ref(&named), 1);
    named
}

#[test]
fn a_repository_as_sigstore_writes_it_is_read() {
    // Old type names of keys, key ids of older spellings, members of its own in targets and keys, no lengths and hashes,
    // a delegation by patterns of several folders, both hashes.
    let mut repo = Repository::unpublished();
    repo.hashes = false;
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let key = rename_keys(&mut repo, role, "ecdsa-sha2-nistp256").with_id(&format!("{:0>64}", role.len()));
        let key = key.respelled(|value| {
            let members = value.as_object_mut().expect("an object");
            members.insert("x-tuf-on-ci-keyowner".to_owned(), format!("@{role}").as_str().into());
            members.insert("keyid_hash_algorithms".to_owned(), vec![Value::from("sha256"), "sha512".into()].into());
        });
        repo.list_keys(role, std::slice::from_ref(&key), 1);
        repo.role(role).signers = vec![key];
    }
    let delegated = TestKey::p256();
    repo.delegate("targets", &Delegate::new("registry.npmjs.org", &delegated, &["registry.npmjs.org/*"]).terminating());
    let bytes = b"{}".as_slice();
    repo.add_target("targets", "trusted_root.json", bytes);
    repo.role("targets").set(&["targets", "trusted_root.json", "hashes", "sha512"], sha512(bytes).as_str());
    let usage = Value::object([("sigstore", Value::object([("status", Value::from("Active")), ("uri", "".into())]))]);
    repo.role("targets").set(&["targets", "trusted_root.json", "custom"], usage);
    repo.add_target("registry.npmjs.org", "registry.npmjs.org/keys.json", b"[]");
    repo.publish_root();
    repo.publish_same_versions();
    let scene = Scene::new(repo);
    scene.refresh().unwrap();
    scene.download(&["trusted_root.json", "registry.npmjs.org/keys.json"]).unwrap();
    assert_eq!(scene.targets(), folder(&[("registry.npmjs.org/keys.json", b"[]"), ("trusted_root.json", bytes)]));
}

#[test]
fn a_repository_as_tuf_on_ci_writes_it_is_read() {
    // Periods in days beside the roles of the root, owners in keys and roles, an unsigned slot of a key that did not sign.
    let mut repo = Repository::unpublished();
    repo.hashes = false;
    let (online, first, second) = (TestKey::p256(), TestKey::p256(), TestKey::p256());
    repo.set_keys("timestamp", std::slice::from_ref(&online), 1);
    repo.set_keys("snapshot", std::slice::from_ref(&online), 1);
    for role in ["root", "targets"] {
        repo.list_keys(role, &[first.clone(), second.clone()], 1);
        repo.role(role).signers = vec![first.clone()];
        repo.role(role).junk = vec![(second.id().to_owned(), String::new())];
    }
    for role in ["timestamp", "snapshot"] {
        repo.root().set(&["roles", role, "x-tuf-on-ci-expiry-period"], 4_u64);
        repo.root().set(&["roles", role, "x-tuf-on-ci-signing-period"], 2_u64);
    }
    repo.root().set(&["x-tuf-on-ci-expiry-period"], 365_u64);
    repo.role("targets").set(&["x-tuf-on-ci-signing-period"], 60_u64);
    repo.add_target("targets", "file1.txt", b"content");
    repo.publish_root();
    repo.publish_same_versions();
    let scene = Scene::new(repo);
    scene.refresh().unwrap();
    scene.download(&["file1.txt"]).unwrap();
    assert_eq!(scene.targets(), folder(&[("file1.txt", b"content")]));
}
