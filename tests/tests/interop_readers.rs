//! What is published here is loaded by readers that are not ours; what python-tuf publishes is loaded by ours.

use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use trust_tests::interop::{Loaded, Readers, Source, load_everywhere, python, read_folder, script, write_folder};
use trust_tests::simulator::{Client, Delegate, Repository, Stages, TestKey, Wire, days, now, over_http};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::{MetaEntry, TargetInfo};
use trust_tuf::{RoleType, UtcTime, Version};

fn folder(repo: &Repository) -> (TempDir, Source) {
    let folder = TempDir::new().unwrap();
    write_folder(&repo.wire, folder.path()).unwrap();
    let source = Source::Folder(folder.path().to_owned());
    (folder, source)
}

fn loaded(versions: [u64; 4], target: Option<&[u8]>) -> Result<Loaded, String> {
    Ok(Loaded { versions, target: target.map(<[u8]>::to_vec) })
}

#[test]
fn a_repository_loads_in_every_reader_and_in_ours() {
    let mut repo = Repository::new();
    repo.add_target("targets", "v1", b"one");
    let alice = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &alice, &["api/*"]).terminating());
    repo.add_target("alice", "api/v1", b"two");
    repo.role("targets").bump();
    repo.publish();
    let (_folder, source) = folder(&repo);
    for (path, bytes) in [("v1", Some(b"one".as_slice())), ("api/v1", Some(b"two")), ("api/v2", None)] {
        assert_eq!(load_everywhere(&source, &repo.pinned, path), loaded([1, 2, 2, 2], bytes));
        let mut ours = Stages::new(repo.pinned.clone(), repo.wire.clone());
        assert_eq!(ours.lookup(now(), path).unwrap().outcome.hit().is_some(), bytes.is_some());
    }
}

#[test]
fn every_key_kind_that_we_write_is_read_by_every_reader() {
    let mut repo = Repository::unpublished();
    let keys = [TestKey::ed25519(100), TestKey::p256(), TestKey::rsa()];
    for (n, role) in ["root", "timestamp", "snapshot", "targets"].into_iter().enumerate() {
        repo.set_keys(role, &keys, (n as u64 % 3) + 1);
        repo.role(role).signers = keys.to_vec();
    }
    let delegate = Delegate { keys: keys.to_vec(), threshold: 3, ..Delegate::new("alice", &keys[0], &["api/*"]) };
    repo.delegate("targets", &delegate);
    repo.add_target("alice", "api/v1", b"two");
    repo.publish_root();
    repo.publish_same_versions();
    let (_folder, source) = folder(&repo);
    assert_eq!(load_everywhere(&source, &repo.pinned, "api/v1"), loaded([1; 4], Some(b"two")));
}

#[test]
fn clients_that_were_there_all_the_time_follow_publications_and_rotations() {
    let mut repo = Repository::new();
    let pinned = repo.pinned.clone();
    let (folder, source) = folder(&repo);
    let mut readers = Readers::new();
    assert_eq!(readers.load(&source, &pinned, "v1"), loaded([1; 4], None));
    let mut root = 1;
    for (n, role) in ["timestamp", "snapshot", "targets", "root"].into_iter().enumerate() {
        let n = n as u64 + 2;
        let key = repo.new_key();
        repo.set_keys(role, std::slice::from_ref(&key), 1);
        repo.publish_next_root();
        repo.role(role).signers = vec![key];
        root += 1;
        let content = format!("version {n}");
        repo.add_target("targets", "v1", content.as_bytes());
        repo.role("targets").bump();
        repo.publish();
        write_folder(&repo.wire, folder.path()).unwrap();
        let expected = loaded([root, n, n, n], Some(content.as_bytes()));
        assert_eq!(readers.load(&source, &pinned, "v1"), expected, "{role}");
        assert_eq!(load_everywhere(&source, &pinned, "v1"), expected, "{role}, a new client");
    }
}

/// A `trust-server` of one collection, as far as readers see.
fn serve(wire: Arc<Wire>) -> Source {
    let address = over_http(&wire, |path| {
        let name = path.strip_prefix("/tuf/r.example/a/").unwrap_or("");
        name.strip_prefix("_metadata/").map(str::to_owned).or_else(|| {
            let target = name.strip_prefix("_targets/")?;
            // `HASH.dir/name`, as tough asks.
            let (hash, rest) = target.split_once('.')?;
            Some(match rest.rsplit_once('/') {
                Some((dir, name)) if !hash.contains('/') => format!("targets/{dir}/{hash}.{name}"),
                _ => format!("targets/{target}"),
            })
        })
    });
    Source::Http(format!("http://{address}/tuf/r.example/a"))
}

#[test]
fn every_reader_reads_by_http_from_the_paths_of_a_collection() {
    let mut repo = Repository::new();
    let alice = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &alice, &["api/*"]));
    repo.add_target("targets", "v1", b"one");
    repo.add_target("alice", "api/v1", b"two");
    repo.publish();
    let source = serve(repo.wire.clone());
    for (path, bytes) in [("v1", Some(b"one".as_slice())), ("api/v1", Some(b"two")), ("api/v2", None)] {
        assert_eq!(load_everywhere(&source, &repo.pinned, path), loaded([1, 2, 2, 1], bytes));
    }
    repo.publish_next_root();
    assert_eq!(load_everywhere(&source, &repo.pinned, "v1"), loaded([2, 2, 2, 1], Some(b"one")));
    let refused = load_everywhere(&source, &Repository::unpublished().pinned, "v1");
    assert!(refused.is_err());
}

#[test]
fn a_forged_file_is_refused_by_every_reader_so_a_load_says_something() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut repo = Repository::new();
        repo.add_target("targets", "v1", b"one");
        let stranger = TestKey::ed25519(99);
        repo.role(role).signers = vec![stranger];
        if role == "root" {
            repo.publish_next_root();
        }
        repo.role("targets").bump();
        repo.publish();
        let (_folder, source) = folder(&repo);
        let error = load_everywhere(&source, &repo.pinned, "v1").unwrap_err();
        assert!(!error.is_empty(), "{role}");
    }
}

#[test]
fn drafts_of_ours_load_in_every_reader() {
    let [root, targets, online, alice] = [1, 2, 3, 4].map(TestKey::ed25519);
    let wire = Arc::new(Wire::default());
    let later = now().plus_secs(days(60)).unwrap();
    let publish = |draft: &Draft, name: &str, keys: &[&TestKey]| {
        let payload = draft.payload();
        let bytes = draft.assemble(keys.iter().map(|k| k.signature(&payload)));
        let version = draft.version().unwrap();
        let file = if name == "timestamp" { "timestamp.json".to_owned() } else { format!("{version}.{name}.json") };
        wire.put(&file, bytes.clone());
        (MetaEntry::of(version, &bytes), bytes)
    };
    let online_files = |n: u64, meta: &[(&str, &MetaEntry)]| {
        let version = Version::new(n).unwrap();
        let (entry, _) = publish(&Draft::snapshot(version, later, meta.iter().copied()), "snapshot", &[&online]);
        publish(&Draft::timestamp(version, later, &entry), "timestamp", &[&online]);
    };
    let mut draft = Draft::root(later);
    for role in RoleType::ALL {
        let key = if role == RoleType::Root {
            &root
        } else if role == RoleType::Targets {
            &targets
        } else {
            &online
        };
        draft.set_role(role, &[key.public()], 1);
    }
    let (_, pinned) = publish(&draft, "root", &[&root]);
    let (entry, first) = publish(&Draft::targets(later), "targets", &[&targets]);
    online_files(1, &[("targets", &entry)]);
    let folder = TempDir::new().unwrap();
    let source = Source::Folder(folder.path().to_owned());
    let mut readers = Readers::new();
    write_folder(&wire, folder.path()).unwrap();
    std::fs::create_dir_all(folder.path().join("targets")).unwrap();
    assert_eq!(readers.load(&source, &pinned, "api/v1"), loaded([1; 4], None));

    // A signer, an image with facts under a tag and under its digest.
    let mut draft = Draft::next(&first, later).unwrap();
    draft.set_delegation(&NewDelegation {
        name: "alice".into(),
        keys: vec![alice.public()],
        threshold: 1,
        terminating: false,
        patterns: vec!["api/*".into()],
    });
    let (entry, second) = publish(&draft, "targets", &[&targets]);
    let manifest = b"{\"schemaVersion\":2}";
    let hash = hex::encode(trust_tuf::model::sha256(manifest));
    let mut draft = Draft::targets(later);
    let facts = trust_tuf::json::parse(
        "{\"image\":{\"tags\":[\"v1\"],\"n\":1,\"text\":\"a \\\"b\\\" \\\\ \u{e9}\\n\"}}".as_bytes(),
    )
    .unwrap();
    let info = TargetInfo { custom: Some(facts), ..TargetInfo::of(manifest) };
    let digest = format!("@sha256-{hash}");
    for tag in ["v1", digest.as_str()] {
        draft.set_target(&format!("api/{tag}"), &info);
        wire.put(&format!("targets/api/{hash}.{tag}"), manifest.to_vec());
    }
    let (alice_entry, _) = publish(&draft, "alice", &[&alice]);
    online_files(2, &[("targets", &entry), ("alice", &alice_entry)]);
    write_folder(&wire, folder.path()).unwrap();
    for path in ["api/v1".to_owned(), format!("api/{digest}")] {
        assert_eq!(readers.load(&source, &pinned, &path), loaded([1, 2, 2, 2], Some(manifest)), "{path}");
    }

    // Undelegated: the role stays listed as a tombstone.
    let mut draft = Draft::next(&second, later).unwrap();
    assert!(draft.remove_delegation("alice"));
    let (entry, _) = publish(&draft, "targets", &[&targets]);
    online_files(3, &[("targets", &entry), ("alice", &alice_entry)]);
    write_folder(&wire, folder.path()).unwrap();
    assert_eq!(readers.load(&source, &pinned, "api/v1"), loaded([1, 3, 3, 3], None));
}

#[test]
fn a_repository_of_python_tuf_with_all_key_kinds_is_verified_by_ours() {
    let Some(python) = python() else {
        println!("SKIPPED: python-tuf: target/tools/venv is missing (make tools)");
        return;
    };
    let folder = TempDir::new().unwrap();
    let output = Command::new(python).arg(script("make_repository.py")).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wire = Arc::new(Wire::default());
    for (name, bytes) in read_folder(folder.path()).unwrap() {
        wire.put(&name, bytes);
    }
    let mut ours = Stages::new(wire.file("1.root.json").unwrap(), wire.clone());
    let at = UtcTime::parse("2035-12-31T23:59:59Z").unwrap();
    ours.refresh(at).unwrap();
    for (path, role, bytes) in
        [("v1", "targets", "top"), ("api/v1", "api", "api, in UTF-8: é"), ("other", "hashed", "by hash")]
    {
        let answer = ours.lookup(at, path).unwrap();
        assert_eq!(answer.role(), Some(role), "{path}");
        let target = &answer.outcome.hit().unwrap().target;
        assert_eq!(target.length, bytes.len() as u64);
        assert!(target.hashes.sha256.is_some() && target.hashes.sha512.is_some());
        assert!(target.hashes.match_bytes(bytes.as_bytes()));
    }
    let binned = ours.lookup(at, "binned").unwrap();
    assert!(binned.role().is_some_and(|r| r.starts_with("bin-")), "{:?}", binned.role());
    let facts = ours.lookup(at, "api/v1").unwrap().outcome.hit().unwrap().target.custom.clone().unwrap();
    assert_eq!(facts.get("note").unwrap().as_str(), Some("ünï\ncode\u{1}"));
    assert!(ours.lookup(at, "none").unwrap().role().is_none());
    for (name, bytes) in ours.files() {
        let role = name.strip_suffix(".json").unwrap();
        let version = if role == "root" { "2." } else { "1." };
        let served = if role == "timestamp" { name.clone() } else { format!("{version}{name}") };
        assert!(wire.file(&served).unwrap() == bytes, "{name} is kept as received");
    }
    // Expired at exactly its expiry.
    assert!(ours.refresh(UtcTime::parse("2036-01-01T00:00:00Z").unwrap()).is_err());
}
