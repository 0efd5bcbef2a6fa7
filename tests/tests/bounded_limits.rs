//! Limits on what files say: each is reached by a file that is signed by the right keys, and the error names it. Limits on bytes
//! and time of a fetch are in `bounded_transport`, memory is in `bounded_memory`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trust_reader::anchor::Anchor;
use trust_reader::layout::Layout;
use trust_reader::reader::{Options, Reader};
use trust_reader::state::StateStore;
use trust_tests::simulator::reader::WireTransport;
use trust_tests::simulator::{Delegate, Repository, TestKey, World, now};
use trust_tuf::json::Value;
use trust_tuf::lookup::LookupError;
use trust_tuf::model::Role;
use trust_tuf::{CollectionName, limits};

/// What a refusal of this role says.
fn says(w: &mut World, role: &str) -> String {
    let (of, reason) = w.refused();
    assert_eq!(of, role);
    reason.to_string()
}

#[test]
fn more_signatures_than_the_limit_are_refused_and_named() {
    let mut w = World::reader();
    // One is the role's own.
    let junk = |n: usize| (0..n).map(|i| (format!("{i:04}"), String::new())).collect();
    w.repo.role("targets").junk = junk(limits::SIGNATURES_PER_FILE - 1);
    w.repo.role("targets").bump();
    w.repo.publish();
    w.refreshed();
    w.repo.role("targets").junk = junk(limits::SIGNATURES_PER_FILE);
    w.repo.role("targets").bump();
    w.repo.publish();
    assert_eq!(says(&mut w, "targets"), format!("more than {} signatures", limits::SIGNATURES_PER_FILE));
}

#[test]
fn more_keys_than_the_limit_are_refused_and_named() {
    let mut w = World::reader();
    let unknown = Value::object([
        ("keytype", Value::from("x")),
        ("scheme", Value::from("x")),
        ("keyval", Value::Object(BTreeMap::new())),
    ]);
    for (count, fits) in [(limits::KEYS_PER_FILE, true), (limits::KEYS_PER_FILE + 1, false)] {
        let keys = Value::Object((0..count).map(|n| (n.to_string(), unknown.clone())).collect());
        w.repo.role("targets").set(&["delegations"], Value::object([("keys", keys), ("roles", Value::Array(vec![]))]));
        w.repo.role("targets").bump();
        w.repo.publish();
        if fits {
            w.refreshed();
        } else {
            let text = says(&mut w, "targets");
            assert!(text.contains(&format!("more than {} keys", limits::KEYS_PER_FILE)), "{text}");
        }
    }
}

#[test]
fn more_key_ids_in_a_role_than_the_limit_are_refused_and_named() {
    let mut w = World::reader();
    let ids = |count: usize| Value::Array((0..count).map(|n| Value::from(n.to_string())).collect());
    let role = |count: usize| {
        Value::object([
            ("name", Value::from("alice")),
            ("keyids", ids(count)),
            ("threshold", Value::from(1_u64)),
            ("terminating", Value::from(false)),
            ("paths", Value::Array(vec![])),
        ])
    };
    for (count, fits) in [(limits::KEYS_PER_FILE, true), (limits::KEYS_PER_FILE + 1, false)] {
        let delegations = [("keys", Value::Object(BTreeMap::new())), ("roles", Value::Array(vec![role(count)]))];
        w.repo.role("targets").set(&["delegations"], Value::object(delegations));
        w.repo.role("targets").bump();
        w.repo.publish();
        if fits {
            w.refreshed();
        } else {
            let text = says(&mut w, "targets");
            assert!(text.contains(&format!("more than {} key ids", limits::KEYS_PER_FILE)), "{text}");
        }
    }
}

#[test]
fn nesting_beyond_the_limit_is_refused_and_named() {
    let mut w = World::reader();
    // The envelope, the signed part and the member itself.
    for (depth, fits) in [(limits::JSON_DEPTH - 2, true), (limits::JSON_DEPTH - 1, false)] {
        let nested = (0..depth).fold(Value::from(1_u64), |inner, _| Value::Array(vec![inner]));
        w.repo.role("targets").set(&["x"], nested);
        w.repo.role("targets").bump();
        w.repo.publish();
        if fits {
            w.refreshed();
        } else {
            let text = says(&mut w, "targets");
            assert!(text.contains(&format!("nesting deeper than {}", limits::JSON_DEPTH)), "{text}");
        }
    }
}

#[test]
fn more_roles_in_one_search_than_the_limit_end_it_and_are_named() {
    let mut repo = Repository::new();
    for n in 0..=limits::ROLES_PER_LOOKUP {
        repo.delegate("targets", &Delegate::new(&format!("r{n}"), &TestKey::ed25519(200), &["*"]));
    }
    repo.publish();
    let mut w = World::reader();
    w.restart(repo);
    let failure = w.lookup("x").unwrap_err();
    let expected = LookupError::Limit { limit: limits::ROLES_PER_LOOKUP };
    assert_eq!(failure, trust_tests::simulator::Failure::Undecided(expected.clone()));
    assert!(expected.to_string().contains(&limits::ROLES_PER_LOOKUP.to_string()));
}

#[test]
fn a_version_beyond_the_limit_is_refused_and_named() {
    let mut w = World::reader();
    w.repo.role("timestamp").set(&["version"], limits::VERSION + 1);
    w.repo.write("timestamp");
    assert!(says(&mut w, "timestamp").contains("2^63-1"));
}

fn reader(repo: &Repository, folder: &std::path::Path) -> Reader<WireTransport> {
    let anchor = Anchor { collection: CollectionName::parse("r.example/pay").unwrap(), root: repo.pinned.clone() };
    let store = StateStore::open(folder, &anchor.collection).unwrap();
    let options = Options {
        layout: Some(Layout::foreign("", "targets/")),
        patience: Duration::from_secs(300),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let transport = WireTransport(Arc::clone(&repo.wire));
    runtime.block_on(Reader::refresh_with(anchor, store, transport, now(), options)).unwrap()
}

fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[test]
fn a_client_several_hundred_roots_behind_is_current_after_one_update() {
    let mut repo = Repository::new();
    for n in 0..400_u64 {
        if n % 100 == 50 {
            let key = repo.new_key();
            repo.set_keys("root", &[key], 1);
        }
        repo.publish_next_root();
    }
    let dir = folder();
    let found = reader(&repo, dir.path());
    assert_eq!(found.trusted().root().version().get(), 401);
    assert!(found.warnings().is_empty(), "{:?}", found.warnings());
}

#[test]
fn beyond_the_limit_of_roots_an_update_goes_on_and_says_so_and_the_next_one_has_the_rest() {
    let mut repo = Repository::new();
    let limit = limits::ROOTS_PER_UPDATE as u64;
    for _ in 0..limit + 5 {
        repo.publish_next_root();
    }
    let (dir, began) = (folder(), Instant::now());
    let found = reader(&repo, dir.path());
    assert_eq!(found.trusted().root().version().get(), limit + 1);
    let text = found.warnings().join("\n");
    assert!(text.contains(&format!("more than {limit} new roots")), "{text}");
    drop(found);
    let found = reader(&repo, dir.path());
    assert_eq!(found.trusted().root().version().get(), limit + 6);
    assert!(found.warnings().is_empty());
    assert!(began.elapsed() < Duration::from_secs(120));
}
