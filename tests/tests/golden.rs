//! Files of every released format verify for ever, and what wrote them then writes the same bytes today (tough 950, 952).
//!
//! `tests/golden/RELEASE/` holds a small repository and the state of a reader that had it. Nothing in there is ever
//! changed; a format that changes gets a folder of its own beside it. `GOLDEN_WRITE=FOLDER` writes one.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trust_reader::anchor::Anchor;
use trust_reader::layout::Layout;
use trust_reader::reader::{Options, Reader};
use trust_reader::state::StateStore;
use trust_tests::simulator::reader::{ReaderClient, WireTransport};
use trust_tests::simulator::{Client, Stages, TestKey, Wire};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::json::Value;
use trust_tuf::model::{MetaEntry, TargetInfo};
use trust_tuf::{CollectionName, RoleType, UtcTime, Version};

const RELEASES: [&str; 1] = ["0.1.0"];

fn folder(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(release)
}

fn at(text: &str) -> UtcTime {
    UtcTime::parse(text).unwrap()
}

/// When the golden files were fresh.
fn then() -> UtcTime {
    at("2026-11-21T12:00:00Z")
}

fn expires() -> UtcTime {
    at("2027-11-21T12:00:00Z")
}

fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

fn sign(draft: &Draft, keys: &[&TestKey]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(keys.iter().map(|k| k.signature(&payload)))
}

/// The files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|e| e.unwrap()).filter(|e| e.file_type().unwrap().is_file());
    files.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// Throw-away keys.
fn key(n: u8) -> TestKey {
    TestKey::ed25519(n)
}

/// The role whose signatures are random: P-256 and RSA, both needed. Its public keys stand in the targets file.
struct Bob {
    keys: Vec<trust_tuf::PublicKey>,
    file: Vec<u8>,
}

impl Bob {
    fn new() -> Self {
        let pairs = [TestKey::p256(), TestKey::rsa()];
        let mut draft = Draft::targets(expires());
        draft.set_target("web/v1", &TargetInfo::of(b"web"));
        Self { keys: pairs.iter().map(TestKey::public).collect(), file: sign(&draft, &[&pairs[0], &pairs[1]]) }
    }

    /// As he stands in written files.
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let targets = trust_tuf::json::parse(&files["2.targets.json"]).unwrap();
        let table = targets.get("signed").unwrap().get("delegations").unwrap().get("keys").unwrap();
        let mut keys: Vec<_> = table
            .as_object()
            .unwrap()
            .values()
            .map(|v| trust_tuf::PublicKey::from_value(v).unwrap())
            .filter(|k| k.key_type() != "ed25519")
            .collect();
        keys.sort_by_key(|k| k.key_type());
        Self { keys, file: files["1.bob.json"].clone() }
    }
}

/// The repository of 0.1.0, written with the code of today.
fn written(bob: &Bob) -> BTreeMap<String, Vec<u8>> {
    let [root, targets, snapshot, old_timestamp, timestamp, alice] = [1, 2, 3, 4, 5, 6].map(key);
    let mut out = BTreeMap::new();
    let mut draft = Draft::root(expires());
    draft.set_role(RoleType::Root, &[root.public()], 1);
    draft.set_role(RoleType::Targets, &[targets.public()], 1);
    draft.set_role(RoleType::Snapshot, &[snapshot.public()], 1);
    draft.set_role(RoleType::Timestamp, &[old_timestamp.public()], 1);
    let first = sign(&draft, &[&root]);
    let mut draft = Draft::next(&first, expires()).unwrap();
    draft.set_role(RoleType::Timestamp, &[timestamp.public()], 1);
    out.insert("1.root.json".to_owned(), first);
    out.insert("2.root.json".to_owned(), sign(&draft, &[&root]));

    let first = sign(&Draft::targets(expires()), &[&targets]);
    let mut draft = Draft::next(&first, expires()).unwrap();
    let facts = Value::object([
        (
            "image",
            Value::object([("tags", Value::Array(vec![Value::from("v1")])), ("signed", Value::from("é \"\\\n"))]),
        ),
        ("number", Value::from(u64::MAX)),
    ]);
    draft.set_target("v1", &TargetInfo { custom: Some(facts), ..TargetInfo::of(b"one") });
    let delegation = |name: &str, keys: Vec<_>, threshold, terminating, pattern: &str| NewDelegation {
        name: name.to_owned(),
        keys,
        threshold,
        terminating,
        patterns: vec![pattern.to_owned()],
    };
    draft.set_delegation(&delegation("alice", vec![alice.public()], 1, false, "api/*"));
    draft.set_delegation(&delegation("bob", bob.keys.clone(), 2, true, "web/*"));
    out.insert("1.targets.json".to_owned(), first);
    out.insert("2.targets.json".to_owned(), sign(&draft, &[&targets]));
    let mut draft = Draft::targets(expires());
    draft.set_target("api/v1", &TargetInfo::of(b"api"));
    out.insert("1.alice.json".to_owned(), sign(&draft, &[&alice]));
    out.insert("1.bob.json".to_owned(), bob.file.clone());

    let listed = [("alice", 1, "1.alice.json"), ("bob", 1, "1.bob.json"), ("targets", 2, "2.targets.json")];
    let mut entries: Vec<_> =
        listed.iter().map(|(role, n, file)| (*role, MetaEntry::of(version(*n), &out[*file]))).collect();
    // One that left: it stays listed until the snapshot key is replaced.
    entries.push(("carol", MetaEntry::of(version(7), b"gone")));
    let draft = Draft::snapshot(version(3), expires(), entries.iter().map(|(role, entry)| (*role, entry)));
    let bytes = sign(&draft, &[&snapshot]);
    let draft = Draft::timestamp(version(9), expires(), &MetaEntry::of(version(3), &bytes));
    out.insert("3.snapshot.json".to_owned(), bytes);
    out.insert("timestamp.json".to_owned(), sign(&draft, &[&timestamp]));
    out
}

/// The golden repository as a server would have it.
fn wire(release: &str) -> Arc<Wire> {
    let wire = Arc::new(Wire::default());
    for (name, bytes) in files(&folder(release).join("repository")) {
        wire.put(&name, bytes);
    }
    wire
}

fn asks(client: &mut dyn Client) {
    let found = |path: &str, client: &mut dyn Client| {
        let answer = client.lookup(then(), path).unwrap();
        let hit = answer.outcome.hit().map(|s| (s.role.clone(), s.target.length, s.target.hashes.sha256));
        hit.map(|(role, length, sha256)| (role, length, sha256.unwrap()))
    };
    for (path, role, content) in
        [("v1", "targets", &b"one"[..]), ("api/v1", "alice", &b"api"[..]), ("web/v1", "bob", &b"web"[..])]
    {
        let expected = Some((role.to_owned(), content.len() as u64, trust_tuf::model::sha256(content)));
        assert_eq!(found(path, client), expected, "{path}");
    }
    assert_eq!(found("web/v2", client), None);
}

#[test]
fn golden_files_of_every_release_verify_for_ever() {
    for release in RELEASES {
        let wire = wire(release);
        let pinned = wire.file("1.root.json").unwrap();
        asks(&mut Stages::new(pinned.clone(), wire.clone()));
        let mut reader = ReaderClient::new(pinned, wire.clone());
        asks(&mut reader);
        // What is kept are the golden bytes.
        let kept = reader.files();
        for (kept_as, file) in [
            ("root", "2.root"),
            ("timestamp", "timestamp"),
            ("snapshot", "3.snapshot"),
            ("targets", "2.targets"),
            ("bob", "1.bob"),
        ] {
            assert_eq!(
                kept[&format!("{kept_as}.json")],
                wire.file(&format!("{file}.json")).unwrap(),
                "{release} {file}"
            );
        }
    }
}

#[test]
fn golden_files_are_written_byte_for_byte_the_same_today() {
    let golden = files(&folder("0.1.0").join("repository"));
    let today = written(&Bob::of(&golden));
    assert_eq!(today.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    for (name, bytes) in &golden {
        assert!(today[name] == *bytes, "{name} is written differently today");
    }
}

#[test]
fn golden_files_that_are_read_and_edited_keep_every_byte_of_what_is_signed() {
    // The next version of each file differs from it in version and expiry alone.
    for release in RELEASES {
        for (name, bytes) in files(&folder(release).join("repository")) {
            let before = trust_tuf::json::parse(&bytes).unwrap().get("signed").unwrap().clone();
            let mut after = Draft::next(&bytes, expires()).unwrap().signed().clone();
            after.as_object_mut().unwrap().insert("version".to_owned(), before.get("version").unwrap().clone());
            assert_eq!(after.canonical(), before.canonical(), "{release} {name}");
        }
    }
}

fn copied_state(release: &str, to: &Path) {
    for part in ["", "root_history"] {
        let from = folder(release).join("state").join(part);
        std::fs::DirBuilder::new().mode(0o700).create(to.join(part)).unwrap();
        for (name, bytes) in files(&from) {
            let path = to.join(part).join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn the_stored_state_of_every_release_is_read_and_keeps_its_floor() {
    for release in RELEASES {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        copied_state(release, &state);
        let open = || StateStore::open_at(&state, "attacked", Duration::from_secs(5)).unwrap();
        let wire = wire(release);
        let collection = CollectionName::parse("registry.example.com/pay").unwrap();
        let anchor = Anchor { collection, root: wire.file("1.root.json").unwrap() };
        let options = Options { layout: Some(Layout::foreign("", "targets/")), ..Options::default() };
        // Offline: the files alone.
        let mut reader =
            Reader::<WireTransport>::offline_with(anchor.clone(), open(), then(), options.clone()).unwrap();
        assert!(runtime.block_on(reader.lookup("web/v1")).unwrap().hit().is_some());
        drop(reader);
        // An older timestamp is a rollback for it.
        let entry = MetaEntry::of(version(3), &wire.file("3.snapshot.json").unwrap());
        wire.put("timestamp.json", sign(&Draft::timestamp(version(8), expires(), &entry), &[&key(5)]));
        let refresh = Reader::refresh_with(anchor, open(), WireTransport(wire), then(), options);
        let problem = runtime.block_on(refresh).map(|_| ()).unwrap_err();
        assert_eq!(problem.id(), "E1301", "{release}");
    }
}

/// Not a test of anything: writes the files of this release, where `GOLDEN_WRITE` names an empty folder.
#[test]
fn golden_files_are_written_where_the_variable_says() {
    let Some(to) = std::env::var_os("GOLDEN_WRITE").map(PathBuf::from) else { return };
    let repository = to.join("repository");
    std::fs::create_dir_all(&repository).unwrap();
    let wire = Arc::new(Wire::default());
    for (name, bytes) in written(&Bob::new()) {
        std::fs::write(repository.join(&name), &bytes).unwrap();
        wire.put(&name, bytes);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let collection = CollectionName::parse("registry.example.com/pay").unwrap();
    let anchor = Anchor { collection, root: wire.file("1.root.json").unwrap() };
    let store = StateStore::open_at(&to.join("state"), "attacked", Duration::from_secs(5)).unwrap();
    let options = Options { layout: Some(Layout::foreign("", "targets/")), ..Options::default() };
    let refresh = Reader::refresh_with(anchor, store, WireTransport(wire), then(), options);
    let mut reader = runtime.block_on(refresh).unwrap();
    for path in ["api/v1", "web/v1"] {
        assert!(runtime.block_on(reader.lookup(path)).unwrap().hit().is_some());
    }
    std::fs::remove_file(to.join("state/lock")).unwrap();
}
