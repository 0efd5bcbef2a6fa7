//! The whole update: a repository whose files were edited and signed again, stories, and what a publisher sends.

use std::collections::BTreeMap;

use trust_tuf::json::{self, Value};
use trust_tuf::model::Role;
use trust_tuf::repository::{Publication, RepositoryState, Rules};
use trust_tuf::{CollectionName, RoleName};

use crate::property::plain::{self, Ledger, Plain, Reply};
use crate::property::steps::judged;
use crate::property::tell_bytes;
use crate::simulator::{Delegate, Repository, Stages, TestKey, now};

/// A story of publications, attacks and crashes; each byte is a choice.
pub fn story(data: &[u8]) {
    tell_bytes(data);
}

/// Lines of an input that count.
const LINES: usize = 24;
const PATHS: [&str; 5] = ["one", "a/1", "b/1", "c/1", "evil"];

/// One target in `targets`, a role for `a/*` that has a role for everything below it, a role for `b/*` that ends a search.
fn repository() -> Repository {
    let mut repo = Repository::new();
    repo.add_target("targets", "one", b"one");
    let keys: Vec<TestKey> = (0..4).map(|_| repo.new_key()).collect();
    repo.delegate("targets", &Delegate::new("alice", &keys[0], &["a/*"]));
    repo.delegate("alice", &Delegate::new("deep", &keys[1], &["a/*", "*/*"]));
    repo.delegate("targets", &Delegate::new("bob", &keys[2], &["b/*"]).terminating());
    repo.delegate("targets", &Delegate::new("carol", &keys[3], &["*/*"]));
    repo.add_target("deep", "a/1", b"a");
    repo.add_target("bob", "b/1", b"b");
    repo.add_target("carol", "c/1", b"c");
    repo.role("targets").bump();
    repo.publish();
    repo
}

/// Edits of a good repository, one a line, that its owners sign:
///
/// - `ROLE POINTER JSON` sets a member of a role's signed part, by JSON pointer; without JSON it is removed;
/// - `ROLE signers NUMBER…` lets the keys with these numbers sign it;
/// - `serve NAME TEXT` serves this text in place of a file; without text the file is gone.
///
/// A client that has updated before, and one that has not, accept at most what the plain client accepts.
pub fn edited_repository(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut repo = repository();
    let mut warm = Stages::new(repo.pinned.clone(), repo.wire.clone());
    let mut warm_plain = Plain::new(&repo.pinned);
    let mut ledger = Ledger::default();
    note(&mut ledger, &repo);
    judged(&mut warm, &mut warm_plain, (&ledger, &served(&repo)), now(), &PATHS).expect("a good repository");
    assert!(warm_plain.files().contains_key("targets.json"), "the first update was refused");

    let edits: Vec<(&str, &str, &str)> = text.lines().take(LINES).filter_map(edit).collect();
    let of = |role: &str| edits.iter().filter(|e| e.0 == role).copied().collect::<Vec<_>>();
    if !of("root").is_empty() {
        repo.root().bump();
        apply(&mut repo, "root", &of("root"));
        if let Some(expires) = now().plus_secs(86_400 * 90)
            && !edits.iter().any(|e| e.1 == "/expires")
        {
            repo.root().set_expires(expires);
        }
        note(&mut ledger, &repo);
        write(&mut repo, "root");
    }
    for role in ["targets", "alice", "deep", "bob", "carol"] {
        repo.role(role).bump();
        apply(&mut repo, role, &of(role));
        let bytes = write(&mut repo, role);
        let entry = repo.entry(repo.roles[role].version(), &bytes);
        repo.role("snapshot").set(&["meta", &format!("{role}.json")], entry);
    }
    repo.role("snapshot").bump();
    apply(&mut repo, "snapshot", &of("snapshot"));
    let bytes = write(&mut repo, "snapshot");
    let entry = repo.entry(repo.roles["snapshot"].version(), &bytes);
    repo.role("timestamp").bump();
    repo.role("timestamp").set(&["meta", "snapshot.json"], entry);
    apply(&mut repo, "timestamp", &of("timestamp"));
    write(&mut repo, "timestamp");
    note(&mut ledger, &repo);
    for (_, name, content) in of("serve") {
        match content {
            "" => repo.wire.remove(name),
            _ => repo.wire.put(name, content.as_bytes().to_vec()),
        }
    }

    let world = served(&repo);
    let mut cold = Stages::new(repo.pinned.clone(), repo.wire.clone());
    let mut cold_plain = Plain::new(&repo.pinned);
    judged(&mut cold, &mut cold_plain, (&ledger, &world), now(), &PATHS)
        .unwrap_or_else(|e| panic!("a new client: {e}"));
    judged(&mut warm, &mut warm_plain, (&ledger, &world), now(), &PATHS).unwrap_or_else(|e| panic!("a client: {e}"));
}

fn edit(line: &str) -> Option<(&str, &str, &str)> {
    let (role, rest) = line.split_once(' ')?;
    let (place, value) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((role, place, value))
}

fn note(ledger: &mut Ledger, repo: &Repository) {
    repo.roles.values().for_each(|document| ledger.note_document(document));
}

fn served(repo: &Repository) -> BTreeMap<String, Reply> {
    repo.wire.files().into_iter().map(|(name, bytes)| (name, Reply::Bytes(bytes))).collect()
}

fn write(repo: &mut Repository, role: &str) -> Vec<u8> {
    repo.write(role)
}

fn apply(repo: &mut Repository, role: &str, edits: &[(&str, &str, &str)]) {
    for (_, place, text) in edits {
        if *place == "signers" {
            let numbers = text.split(' ').filter_map(|n| n.parse::<u8>().ok());
            repo.role(role).signers = numbers.filter(|n| *n > 0).map(TestKey::ed25519).take(8).collect();
            continue;
        }
        let value = json::parse(text.as_bytes()).ok();
        if value.is_none() && !text.is_empty() {
            continue;
        }
        let path: Vec<String> =
            place.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        set(&mut repo.role(role).signed, &path, value);
    }
}

/// Sets or removes what the path leads to, if it leads anywhere.
fn set(root: &mut Value, path: &[String], value: Option<Value>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = root;
    for name in parents {
        place = match place {
            Value::Object(members) => members.entry(name.clone()).or_insert_with(|| Value::Object(BTreeMap::new())),
            Value::Array(items) => match name.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                Some(item) => item,
                None => return,
            },
            _ => return,
        };
    }
    match (place, value) {
        (Value::Object(members), Some(value)) => {
            members.insert(last.clone(), value);
        }
        (Value::Object(members), None) => {
            members.remove(last);
        }
        (Value::Array(items), value) => match (last.parse::<usize>(), value) {
            (Ok(at), Some(value)) if at < items.len() => items[at] = value,
            (Ok(at), None) if at < items.len() => drop(items.remove(at)),
            (_, Some(value)) if last == "-" => items.push(value),
            _ => {}
        },
        _ => {}
    }
}

/// What a publisher sends: files in place of good ones, each after a line `== ROLE`. What the repository's rules accept,
/// they load again, and a client accepts.
pub fn publication(data: &[u8]) {
    let mut repo = Repository::new();
    let key = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &key, &["a/*"]));
    let collection = CollectionName::parse("registry.example.com/pay").expect("a name");
    let rules = Rules { now: now(), allow_example_keys: true };
    let role = |name: &str| RoleName::parse(name).expect("a name");
    let names = ["targets", "alice"];
    let mut sent = Publication {
        roots: vec![repo.pinned.clone()],
        roles: names.iter().map(|name| (role(name), repo.roles[*name].bytes())).collect(),
    };
    let good = RepositoryState::first(collection.clone(), &sent, &rules).expect("a good publication");
    let text = String::from_utf8_lossy(data);
    let mut next = Publication { roots: Vec::new(), roles: BTreeMap::new() };
    for part in text.split("== ").skip(1).take(8) {
        let Some((name, content)) = part.split_once('\n') else { continue };
        let bytes = signed_again(&repo, name, content);
        if name == "root" {
            sent.roots = vec![bytes.clone()];
            next.roots.push(bytes);
        } else if let Ok(name) = RoleName::parse(name) {
            sent.roles.insert(name.clone(), bytes.clone());
            next.roles.insert(name, bytes);
        }
    }
    let first = RepositoryState::first(collection, &sent, &rules);
    let after = good.state.check(&next, &rules);
    for (checked, sent) in [(first, &sent), (after, &next)] {
        let Ok(checked) = checked else { continue };
        for (name, file) in checked.state.roles() {
            assert!(file.expires() > rules.now, "{name} is accepted and expired");
            let (version, _) =
                plain::summary("targets", file.bytes()).expect("the plain reader reads what is accepted");
            assert_eq!(file.version().get(), version);
            if let Some(bytes) = sent.roles.get(name).filter(|_| checked.changed.contains(name)) {
                assert_eq!(&**file.bytes(), bytes.as_slice(), "{name} is stored as other bytes than were sent");
            }
        }
        let root = checked.state.root();
        assert!(root.expires() > rules.now, "an expired root is accepted");
    }
}

/// The content as it is if it is a file, else signed by whoever speaks for the role.
fn signed_again(repo: &Repository, role: &str, content: &str) -> Vec<u8> {
    let value = json::parse(content.trim().as_bytes());
    match (value, repo.roles.get(role)) {
        (Ok(signed), Some(document)) if signed.get("signed").is_none() => {
            let mut document = document.clone();
            document.signed = signed;
            document.bytes()
        }
        _ => content.as_bytes().to_vec(),
    }
}
