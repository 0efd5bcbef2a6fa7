//! What stands between the repository and its clients: old files, mixtures, damage, refusals, and forgeries signed with
//! the keys that the attacker has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use trust_tuf::json::{self, Value};

use super::dice::Dice;
use super::plain::{Reply, hash};
use super::scene::{Files, Scene, role_of};
use crate::simulator::{Repository, TestKey, days};

// Another repository with other keys: its files are good there, and nowhere else.
static FOREIGN: LazyLock<Files> = LazyLock::new(|| {
    let mut repo = Repository::unpublished();
    for (n, role) in (240..).zip(["root", "timestamp", "snapshot", "targets"]) {
        repo.set_keys(role, &[TestKey::ed25519(n)], 1);
    }
    let own = TestKey::ed25519(240);
    repo.root().signers = vec![own];
    repo.add_target("targets", "one", b"foreign");
    repo.publish_root();
    repo.publish_same_versions();
    repo.wire.files()
});

/// Changes bytes a little: somewhere, something.
pub fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let at = dice.below(out.len().max(1));
    match dice.below(8) {
        _ if out.is_empty() => out.push(b'{'),
        0 => out[at] ^= 1 << dice.below(8),
        1 => out.truncate(at),
        2 => {
            let end = (at + 1 + dice.below(40)).min(out.len());
            out.drain(at..end);
        }
        3 => {
            let end = (at + 1 + dice.below(40)).min(out.len());
            let copy = out[at..end].to_vec();
            out.splice(at..at, copy);
        }
        4 => {
            // A digit of a number, a hash, a signature.
            if let Some(digit) = (at..out.len()).find(|i| out[*i].is_ascii_digit()) {
                out[digit] = b'0' + dice.below(10) as u8;
            }
        }
        5 => out[at] = out[at].to_ascii_uppercase(),
        6 => out.extend(*dice.pick(&[&b" "[..], b"\n", b"x", b"{}", b"\0"])),
        _ => out.insert(at, *dice.pick(b" ,:\"[]{}0-\\\n\x00\xff")),
    }
    out
}

impl Scene {
    /// Serves the honest files, or those of an earlier moment, with a few of them made wrong.
    pub fn serve_wrong(&mut self, dice: &mut Dice) {
        if dice.once_in(4) {
            let moment = dice.pick(&self.moments).clone();
            self.serve(moment);
        } else {
            self.serve_honest();
        }
        if dice.once_in(3) {
            self.forge_chain(dice);
        }
        for _ in 0..dice.below(4) {
            self.edit(dice);
        }
        let status = *dice.pick(&[0, 301, 403, 410, 429, 500, 503]);
        self.refill(status);
    }

    /// Serves a repository that goes on without its owners, as far as the attacker's keys go, and nothing else wrong.
    pub fn serve_forged(&mut self, dice: &mut Dice) {
        self.serve_honest();
        self.forge_chain(dice);
        self.refill(500);
    }

    /// Serves a next root that owners signed too hastily: by the old keys alone, by the new ones alone, by too few of
    /// either, or with a version left out. Nobody forged it, and it must not be followed.
    pub fn serve_hasty_root(&mut self, dice: &mut Dice) {
        self.serve_honest();
        let old = self.repo.roles["root"].signers.clone();
        let mut repo = Repository::unpublished();
        repo.roles = self.repo.roles.clone();
        let count = 1 + dice.below(3);
        let mut new: Vec<TestKey> = (0..count).map(|n| TestKey::ed25519(230 + n as u8)).collect();
        let how = dice.below(5);
        if how == 4 {
            // One key, listed twice to be two of two.
            new = twins(&new[0]);
        }
        repo.list_keys("root", &new, new.len() as u64);
        let root = repo.root();
        root.bump();
        let expected = root.version();
        root.signers = match how {
            0 => old,
            1 => new,
            2 => old.into_iter().chain(new.into_iter().skip(1)).collect(),
            4 => old.into_iter().chain(new).collect(),
            _ => {
                root.bump();
                old.into_iter().chain(new).collect()
            }
        };
        let document = repo.roles["root"].clone();
        self.ledger.note_document(&document);
        self.served.insert(format!("{expected}.root.json"), Reply::Bytes(document.bytes()));
        self.refill(500);
    }

    fn names(&self) -> Vec<String> {
        self.served.keys().filter(|name| role_of(name).is_some()).cloned().collect()
    }

    fn edit(&mut self, dice: &mut Dice) {
        let names = self.names();
        // What every update asks for is the best place.
        let name = match dice.below(4) {
            0 => "timestamp.json".to_owned(),
            1 => {
                let roots = names.iter().filter(|n| n.ends_with("root.json")).count();
                format!("{}.root.json", roots + 1)
            }
            _ => dice.pick(&names).clone(),
        };
        let role = role_of(&name).unwrap_or("targets").to_owned();
        let honest: Vec<Vec<u8>> = self.published.get(&role).cloned().unwrap_or_default();
        let reply = match dice.below(8) {
            0 => Reply::NotFound,
            1 => Reply::Broken,
            2 | 3 if !honest.is_empty() => Reply::Bytes(dice.pick(&honest).clone()),
            4 => {
                let files: Vec<&Vec<u8>> = self.published.values().flatten().collect();
                Reply::Bytes((*dice.pick(&files)).clone())
            }
            5 => {
                let foreign: Vec<(&String, &Vec<u8>)> = FOREIGN.iter().collect();
                let of_role = foreign.iter().find(|(name, _)| role_of(name) == Some(role.as_str()));
                Reply::Bytes(of_role.unwrap_or(dice.pick(&foreign)).1.clone())
            }
            6 => match self.served.get(&name) {
                Some(Reply::Bytes(bytes)) => Reply::Bytes(damaged(bytes, dice)),
                _ => Reply::Bytes(b"<html>".to_vec()),
            },
            _ if !honest.is_empty() => {
                let base = dice.pick(&honest).clone();
                Reply::Bytes(self.forged(&base, dice, |_, _| {}))
            }
            _ => Reply::Broken,
        };
        self.served.insert(name, reply);
    }

    /// A file like this one, changed, and signed by the attacker's keys.
    fn forged(&mut self, base: &[u8], dice: &mut Dice, change: impl FnOnce(&mut Value, &mut Dice)) -> Vec<u8> {
        let file = json::parse(base).expect("honest");
        let mut signed = file.get("signed").expect("signed").clone();
        let version = signed.get("version").and_then(Value::as_u64).unwrap_or(1);
        let version = *dice.pick(&[version, version + 1, version + 1, version + 7, i64::MAX as u64, 1]);
        let expires = self.now.plus_secs(days(40)).expect("a time").to_string();
        if let Some(members) = signed.as_object_mut() {
            members.insert("version".to_owned(), Value::from(version));
            if !dice.once_in(4) {
                members.insert("expires".to_owned(), Value::from(expires));
            }
        }
        change(&mut signed, dice);
        // Sometimes what the owners signed stays beside it.
        let kept = if dice.once_in(4) { file.get("signatures").cloned() } else { None };
        self.sealed(signed, kept, dice)
    }

    fn sealed(&mut self, signed: Value, kept: Option<Value>, dice: &mut Dice) -> Vec<u8> {
        let message = signed.canonical();
        let mut signatures = kept.and_then(|s| s.as_array().map(<[Value]>::to_vec)).unwrap_or_default();
        for key in self.held.clone() {
            let sig = hex::encode(self.attacker_signs(&key, &message));
            // The same key, under an id of its own and under another one.
            for id in [key.id().to_owned(), format!("also-{}", key.id())] {
                let is_there = |s: &Value| s.get("keyid").and_then(Value::as_str) == Some(id.as_str());
                if !signatures.iter().any(is_there) {
                    signatures.push(Value::object(
                        [("keyid", id.as_str()), ("sig", sig.as_str())].map(|(n, v)| (n, Value::from(v))),
                    ));
                }
            }
        }
        if dice.once_in(12)
            && let Some(first) = signatures.first().cloned()
        {
            signatures.push(first);
        }
        Value::object([("signatures", Value::from(signatures)), ("signed", signed)]).to_json()
    }

    fn latest(&self, role: &str) -> Option<Vec<u8>> {
        self.published.get(role)?.last().cloned()
    }

    /// Forges what the attacker would want: a root with its keys, targets that list `evil`, a snapshot and a timestamp that
    /// fit them.
    fn forge_chain(&mut self, dice: &mut Dice) {
        let attacker = self.held[0].clone();
        let prefixed = self.repo.roles["root"].signed.get("consistent_snapshot").and_then(Value::as_bool) == Some(true);
        let name = |role: &str, bytes: &[u8]| match version(bytes) {
            version if prefixed || role == "root" => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        };
        if dice.once_in(3) {
            let base = self.latest("root").expect("a root");
            let role = *dice.pick(&["root", "timestamp", "snapshot", "targets"]);
            let bytes = self.forged(&base, dice, |root, dice| {
                take_over(root, &attacker, &["roles", role], &["keys"], dice);
                let next = version(&base) + 1;
                *member(root, &["version"]) = Value::from(next);
            });
            self.served.insert(name("root", &bytes), Reply::Bytes(bytes));
        }
        let mut entries = BTreeMap::new();
        let roles = self.targets_roles();
        for role in roles.iter().filter(|_| dice.once_in(2)).cloned().collect::<Vec<_>>() {
            let Some(base) = self.latest(&role) else { continue };
            let bytes = self.forged(&base, dice, |targets, dice| {
                let content = [("length", Value::from(4_u64)), ("hashes", sha256_of(b"evil"))];
                *member(targets, &["targets", "evil"]) = Value::object(content.clone());
                if dice.once_in(2) {
                    *member(targets, &["targets", "a/1"]) = Value::object(content);
                }
                if dice.once_in(3) {
                    let delegation = targets.get("delegations").and_then(|d| d.get("roles")).and_then(Value::as_array);
                    if delegation.is_some_and(|list| !list.is_empty()) {
                        take_over(targets, &attacker, &["delegations", "roles", "0"], &["delegations", "keys"], dice);
                    }
                }
            });
            entries.insert(format!("{role}.json"), entry(&bytes, dice));
            self.served.insert(name(&role, &bytes), Reply::Bytes(bytes));
        }
        let base = self.latest("snapshot").expect("a snapshot");
        let snapshot = if dice.once_in(4) {
            dice.pick(&self.published["snapshot"]).clone()
        } else {
            self.forged(&base, dice, |snapshot, dice| {
                let meta = member(snapshot, &["meta"]).as_object_mut().expect("an object");
                meta.extend(entries);
                if dice.once_in(4) {
                    let names: Vec<String> = meta.keys().cloned().collect();
                    meta.remove(dice.pick(&names));
                }
            })
        };
        let stated = entry(&snapshot, dice);
        self.served.insert(name("snapshot", &snapshot), Reply::Bytes(snapshot));
        let base = self.latest("timestamp").expect("a timestamp");
        let timestamp = self.forged(&base, dice, |timestamp, _| {
            *member(timestamp, &["meta", "snapshot.json"]) = stated;
        });
        self.served.insert("timestamp.json".to_owned(), Reply::Bytes(timestamp));
    }
}

/// One key under two ids.
pub fn twins(key: &TestKey) -> Vec<TestKey> {
    vec![key.clone(), key.with_id(&format!("also-{}", key.id()))]
}

fn version(file: &[u8]) -> u64 {
    let file = json::parse(file).expect("made here");
    file.get("signed").and_then(|s| s.get("version")).and_then(Value::as_u64).unwrap_or(1)
}

fn sha256_of(bytes: &[u8]) -> Value {
    Value::object([("sha256", Value::from(hex::encode(hash(bytes))))])
}

fn entry(file: &[u8], dice: &mut Dice) -> Value {
    let mut members = vec![("version", Value::from(version(file)))];
    if !dice.once_in(3) {
        members.push(("length", Value::from(file.len() as u64)));
        members.push(("hashes", sha256_of(file)));
    }
    Value::object(members)
}

fn member<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |place, name| match place {
        Value::Array(items) => &mut items[name.parse::<usize>().expect("an index")],
        Value::Object(members) => members.entry((*name).to_owned()).or_insert(Value::Null),
        _ => panic!("no member {name}"),
    })
}

/// Lets the attacker's key speak for a role: alone, beside the others, or twice under two ids to reach a threshold of two.
fn take_over(signed: &mut Value, key: &TestKey, role: &[&str], keys: &[&str], dice: &mut Dice) {
    let also = format!("also-{}", key.id());
    let table = member(signed, keys).as_object_mut().expect("keys");
    table.insert(key.id().to_owned(), key.value());
    table.insert(also.clone(), key.value());
    let role = member(signed, role).as_object_mut().expect("a role");
    let (ids, threshold) = match dice.below(4) {
        0 => (vec![key.id().to_owned(), also], 2_u64),
        1 => (vec![key.id().to_owned()], 0),
        _ => (vec![key.id().to_owned()], 1),
    };
    role.insert("keyids".to_owned(), Value::from(ids.into_iter().map(Value::from).collect::<Vec<_>>()));
    role.insert("threshold".to_owned(), Value::from(threshold));
}
