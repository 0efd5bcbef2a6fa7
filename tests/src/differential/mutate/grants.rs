//! What is wrong with who may sign what: keys, thresholds, delegations.

use std::collections::BTreeMap;

use trust_tuf::json::Value;
use trust_tuf::model::sha256;

use super::files::{set, unset};
use super::{Dice, Scene, Tree, junk, tree};
use crate::simulator::{Delegate, TestKey};

/// One place where a role says who speaks for another: the name of that role, and its entry with `keyids` and `threshold`.
fn grant(
    dice: &mut Dice,
    scene: &mut Scene,
    role: &str,
    change: impl FnOnce(&mut Dice, &mut Scene, &str, &mut Value, &mut Value),
) -> bool {
    let path: &[&str] = if role == "root" { &[] } else { &["delegations"] };
    let mut holder = tree(scene, role).at(path).clone();
    if role != "root" && holder.get("roles").is_none() && holder.get("succinct_roles").is_none() {
        if holder == Value::Null {
            tree(scene, role).unset(path);
        }
        return false;
    }
    let mut keys = holder.get("keys").cloned().unwrap_or(Value::Null);
    let done = if let Some(list) = holder.get("roles").and_then(Value::as_array) {
        let mut list = list.to_vec();
        !list.is_empty() && {
            let at = dice.below(list.len());
            let name = list[at].get("name").and_then(Value::as_str).unwrap_or("").to_owned();
            change(dice, scene, &name, &mut list[at], &mut keys);
            set(&mut holder, "roles", Value::Array(list));
            true
        }
    } else if let Some(roles) = holder.get("roles").and_then(Value::as_object) {
        let mut roles = roles.clone();
        let names: Vec<String> = roles.keys().cloned().collect();
        !names.is_empty() && {
            let name = dice.pick(&names).clone();
            let mut entry = roles.remove(&name).unwrap_or(Value::Null);
            // The change may list keys with the role that signs: it is written back below.
            change(dice, scene, &name, &mut entry, &mut keys);
            roles.insert(name, entry);
            set(&mut holder, "roles", Value::Object(roles));
            true
        }
    } else if let Some(bins) = holder.get("succinct_roles").cloned() {
        let mut bins = bins;
        change(dice, scene, "bin-0", &mut bins, &mut keys);
        set(&mut holder, "succinct_roles", bins);
        true
    } else {
        false
    };
    set(&mut holder, "keys", keys);
    *tree(scene, role).at(path) = holder;
    done
}

fn ids(entry: &Value) -> Vec<Value> {
    entry.get("keyids").and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default()
}

/// The key that a role lists first, as one that signs for it.
fn first_key(scene: &Scene, name: &str, entry: &Value) -> Option<TestKey> {
    let id = ids(entry).first().and_then(Value::as_str).map(str::to_owned)?;
    scene.repo.roles.get(name)?.signers.iter().find(|k| k.id() == id).cloned()
}

/// Puts another spelling or another id of a role's first key in its place. The role signs under the new id.
fn replace_key(
    scene: &mut Scene,
    name: &str,
    entry: &mut Value,
    keys: &mut Value,
    make: impl FnOnce(&TestKey) -> TestKey,
) {
    let Some(old) = first_key(scene, name, entry) else { return };
    let new = make(&old);
    let list = ids(entry).into_iter().map(|id| if id.as_str() == Some(old.id()) { Value::from(new.id()) } else { id });
    set(entry, "keyids", Value::Array(list.collect()));
    set(keys, new.id(), new.value());
    for signer in &mut scene.repo.role(name).signers {
        if signer.id() == old.id() {
            *signer = new.clone();
        }
    }
}

/// Changes the object of a role's first key, under the same id.
fn change_key(entry: &Value, keys: &mut Value, change: impl FnOnce(&mut Value)) {
    let Some(id) = ids(entry).first().and_then(Value::as_str).map(str::to_owned) else { return };
    if let Some(key) = keys.as_object_mut().and_then(|k| k.get_mut(&id)) {
        change(key);
    }
}

fn other_key(keytype: &str, scheme: &str, public: &str) -> Value {
    Value::object([
        ("keytype", Value::from(keytype)),
        ("scheme", Value::from(scheme)),
        ("keyval", Value::object([("public", Value::from(public))])),
    ])
}

fn content_id(key: &Value) -> String {
    hex::encode(sha256(&key.canonical()))
}

pub(super) const KEYS: &[(&str, Tree)] = &[
    ("threshold-zero", |d, s, r| grant(d, s, r, |_, _, _, e, _| set(e, "threshold", Value::from(0_u64)))),
    ("threshold-negative", |d, s, r| grant(d, s, r, |_, _, _, e, _| set(e, "threshold", Value::Int(-1)))),
    ("threshold-high", |d, s, r| grant(d, s, r, |_, _, _, e, _| set(e, "threshold", Value::from(9_u64)))),
    ("threshold-junk", |d, s, r| grant(d, s, r, |d, _, _, e, _| set(e, "threshold", junk(d)))),
    ("threshold-missing", |d, s, r| grant(d, s, r, |_, _, _, e, _| unset(e, "threshold"))),
    ("keyids-double", |d, s, r| {
        grant(d, s, r, |_, _, _, e, _| {
            let mut list = ids(e);
            list.extend(list.first().cloned());
            set(e, "keyids", Value::Array(list));
        })
    }),
    ("keyids-unknown", |d, s, r| {
        grant(d, s, r, |d, _, _, e, _| {
            let mut list = ids(e);
            list.push(Value::from(*d.pick(&["ff", "no key"])));
            set(e, "keyids", Value::Array(list));
        })
    }),
    ("keyids-none", |d, s, r| grant(d, s, r, |_, _, _, e, _| set(e, "keyids", Value::Array(Vec::new())))),
    ("keyids-junk", |d, s, r| grant(d, s, r, |d, _, _, e, _| set(e, "keyids", junk(d)))),
    ("keyids-missing", |d, s, r| grant(d, s, r, |_, _, _, e, _| unset(e, "keyids"))),
    ("grant-member", |d, s, r| grant(d, s, r, |d, _, _, e, _| set(e, "x-owner", junk(d)))),
    ("key-lost", |d, s, r| {
        grant(d, s, r, |_, _, _, e, k| {
            let id = ids(e).first().and_then(Value::as_str).unwrap_or("").to_owned();
            unset(k, &id);
        })
    }),
    ("key-kind-unknown", |d, s, r| {
        grant(d, s, r, |d, _, _, _, k| {
            let kinds = [("mldsa", "ml-dsa-44/1"), ("ecdsa", "ecdsa-sha2-nistp521"), ("sigstore-oidc", "Fulcio")];
            let (kind, scheme) = *d.pick(&kinds);
            let key = other_key(kind, scheme, "00");
            set(k, &content_id(&key), key);
        })
    }),
    ("key-kind-changed", |d, s, r| {
        grant(d, s, r, |d, _, _, e, k| {
            let kind = *d.pick(&["mldsa", "rsa", "ecdsa"]);
            change_key(e, k, |key| set(key, "keytype", Value::from(kind)));
        })
    }),
    ("key-scheme-changed", |d, s, r| {
        grant(d, s, r, |d, _, _, e, k| {
            let scheme = *d.pick(&["ecdsa-sha2-nistp384", "rsassa-pss-sha512", "rsa-pkcs1v15-sha256", "none"]);
            change_key(e, k, |key| set(key, "scheme", Value::from(scheme)));
        })
    }),
    ("key-member", |d, s, r| {
        grant(d, s, r, |_, _, _, e, k| {
            change_key(e, k, |key| set(key, "x-owner", Value::from("@somebody")));
        })
    }),
    ("key-member-rehashed", |d, s, r| {
        grant(d, s, r, |_, s, n, e, k| {
            replace_key(s, n, e, k, |key| key.respelled(|v| set(v, "x-owner", Value::from("@somebody"))));
        })
    }),
    ("key-junk", |d, s, r| {
        grant(d, s, r, |d, _, _, e, k| {
            let value = junk(d);
            change_key(e, k, |key| *key = value);
        })
    }),
    ("key-public-junk", |d, s, r| {
        grant(d, s, r, |d, _, _, e, k| {
            let public = *d.pick(&["", "00", "zz", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"]);
            change_key(e, k, |key| set(key, "keyval", Value::object([("public", Value::from(public))])));
        })
    }),
    ("key-weak", |d, s, r| {
        grant(d, s, r, |d, _, _, _, k| {
            let public = *d.pick(&[
                "0100000000000000000000000000000000000000000000000000000000000000",
                "0000000000000000000000000000000000000000000000000000000000000000",
                "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            ]);
            let key = other_key("ed25519", "ed25519", public);
            set(k, &content_id(&key), key);
        })
    }),
    ("key-other-id", |d, s, r| {
        grant(d, s, r, |d, s, n, e, k| {
            let id = *d.pick(&["00ff", "some key", "ABCDEF", ""]);
            replace_key(s, n, e, k, |key| key.with_id(id));
        })
    }),
    ("key-two-ids", |d, s, r| {
        grant(d, s, r, |_, s, n, e, k| {
            // One key, listed twice and signing twice, where two must sign.
            let Some(key) = first_key(s, n, e) else { return };
            let again = key.with_id("00112233");
            set(k, again.id(), again.value());
            set(e, "keyids", Value::Array(vec![Value::from(key.id()), Value::from(again.id())]));
            set(e, "threshold", Value::from(2_u64));
            s.repo.role(n).signers = vec![key, again];
        })
    }),
    ("key-two-spellings", |d, s, r| {
        grant(d, s, r, |_, s, n, e, k| {
            let Some(key) = first_key(s, n, e) else { return };
            let again = key.respelled(respell_public);
            set(k, again.id(), again.value());
            set(e, "keyids", Value::Array(vec![Value::from(key.id()), Value::from(again.id())]));
            set(e, "threshold", Value::from(2_u64));
            s.repo.role(n).signers = vec![key, again];
        })
    }),
    ("key-respelled", |d, s, r| {
        grant(d, s, r, |_, s, n, e, k| replace_key(s, n, e, k, |key| key.respelled(respell_public)))
    }),
    ("key-same-id-elsewhere", |d, s, r| {
        grant(d, s, r, |_, s, n, e, k| {
            // Another key under the id of the first one: who signs with the old one is nobody.
            let id = ids(e).first().and_then(Value::as_str).unwrap_or("").to_owned();
            let other = s.repo.new_key();
            let _ = n;
            set(k, &id, other.value());
        })
    }),
];

/// Another text of the same public key: other white space in PEM, upper-case hex.
fn respell_public(key: &mut Value) {
    let public = key.get("keyval").and_then(|v| v.get("public")).and_then(Value::as_str).unwrap_or("").to_owned();
    let other = if public.starts_with("---") { public.replace('\n', "\r\n") } else { public.to_uppercase() };
    set(key, "keyval", Value::object([("public", Value::from(other))]));
}

pub(super) const ROOT: &[(&str, Tree)] = &[
    ("roles-lost", |dice, scene, _| {
        let name = *dice.pick(&["root", "timestamp", "snapshot", "targets"]);
        tree(scene, "root").unset(&["roles", name]);
        true
    }),
    ("roles-more", |dice, scene, _| {
        let name = *dice.pick(&["mirrors", "delegated-targets", "somebody"]);
        let entry = Value::object([("keyids", Value::Array(Vec::new())), ("threshold", Value::from(1_u64))]);
        tree(scene, "root").set(&["roles", name], entry);
        true
    }),
    ("consistent-missing", |_, scene, _| {
        tree(scene, "root").unset(&["consistent_snapshot"]);
        true
    }),
    ("consistent-junk", |dice, scene, _| {
        tree(scene, "root").set(&["consistent_snapshot"], junk(dice));
        true
    }),
    ("consistent-flip", |_, scene, _| {
        let now = tree(scene, "root").signed.get("consistent_snapshot").and_then(Value::as_bool) == Some(true);
        tree(scene, "root").set(&["consistent_snapshot"], !now);
        true
    }),
    ("root-not-by-old", |_, scene, _| {
        let root = tree(scene, "root");
        let own = root.signed.get("roles").and_then(|r| r.get("root")).map(ids).unwrap_or_default();
        root.signers.retain(|k| own.iter().any(|id| id.as_str() == Some(k.id())));
        true
    }),
];

/// One named delegation of a role.
fn delegation(dice: &mut Dice, scene: &mut Scene, role: &str, change: impl FnOnce(&mut Dice, &mut Value)) -> bool {
    let Some(list) = list_of(scene, role) else { return false };
    let mut list = list;
    let at = dice.below(list.len());
    change(dice, &mut list[at]);
    tree(scene, role).set(&["delegations", "roles"], Value::Array(list));
    true
}

fn list_of(scene: &Scene, role: &str) -> Option<Vec<Value>> {
    let list = scene.repo.roles[role].signed.get("delegations")?.get("roles")?.as_array()?;
    (!list.is_empty()).then(|| list.to_vec())
}

fn paths(dice: &mut Dice, scene: &mut Scene, role: &str, patterns: &[&str]) -> bool {
    let list = Value::Array(patterns.iter().map(|p| Value::from(*p)).collect());
    delegation(dice, scene, role, |_, e| {
        unset(e, "path_hash_prefixes");
        set(e, "paths", list);
    })
}

fn prefixes(dice: &mut Dice, scene: &mut Scene, role: &str, prefix: &str) -> bool {
    delegation(dice, scene, role, |_, e| {
        unset(e, "paths");
        set(e, "path_hash_prefixes", Value::Array(vec![Value::from(prefix)]));
    })
}

pub(super) const DELEGATIONS: &[(&str, Tree)] = &[
    ("delegation-twice", |dice, scene, role| {
        list_of(scene, role).is_some_and(|mut list| {
            list.push(dice.pick(&list.clone()).clone());
            tree(scene, role).set(&["delegations", "roles"], Value::Array(list));
            true
        })
    }),
    ("delegation-order", |_, scene, role| {
        list_of(scene, role).is_some_and(|mut list| {
            list.reverse();
            tree(scene, role).set(&["delegations", "roles"], Value::Array(list));
            true
        })
    }),
    ("delegation-name", |dice, scene, role| {
        let name = *dice.pick(&["targets", "root", "timestamp", "snapshot", ""]);
        delegation(dice, scene, role, |_, e| set(e, "name", Value::from(name)))
    }),
    ("delegation-odd-name", |dice, scene, role| {
        let name = *dice.pick(&["../x", "a/b", "1.root", "?", "#"]);
        let Some(list) = list_of(scene, role) else { return false };
        let old = list[0].get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        let Some(moved) = scene.repo.roles.get(&old).cloned() else { return false };
        scene.repo.roles.insert(name.to_owned(), moved);
        scene.edges.push((role.to_owned(), name.to_owned()));
        let mut list = list;
        set(&mut list[0], "name", Value::from(name));
        tree(scene, role).set(&["delegations", "roles"], Value::Array(list));
        true
    }),
    ("delegation-ghost", |_, scene, role| {
        let key = scene.repo.new_key();
        let delegate = Delegate::new("ghost", &key, &["*"]);
        if scene.is(super::super::scene::Feature::Succinct) {
            return false;
        }
        scene.repo.delegate(role, &delegate);
        scene.repo.roles.remove("ghost");
        true
    }),
    ("delegation-both", |dice, scene, role| {
        delegation(dice, scene, role, |_, e| {
            set(e, "paths", Value::Array(vec![Value::from("*")]));
            set(e, "path_hash_prefixes", Value::Array(vec![Value::from("0")]));
        })
    }),
    ("delegation-neither", |dice, scene, role| {
        delegation(dice, scene, role, |_, e| {
            unset(e, "paths");
            unset(e, "path_hash_prefixes");
        })
    }),
    ("delegation-paths-junk", |dice, scene, role| delegation(dice, scene, role, |d, e| set(e, "paths", junk(d)))),
    ("delegation-junk", |dice, scene, role| delegation(dice, scene, role, |d, e| *e = junk(d))),
    ("paths-none", |d, s, r| paths(d, s, r, &[])),
    ("pattern-class", |d, s, r| paths(d, s, r, &["[vx]1", "*"])),
    ("pattern-class-late", |d, s, r| paths(d, s, r, &["*", "[vx]1"])),
    ("pattern-open", |d, s, r| paths(d, s, r, &["[v"])),
    ("pattern-stars", |d, s, r| paths(d, s, r, &["**"])),
    ("pattern-stars-deep", |d, s, r| paths(d, s, r, &["**/v1", "x/**"])),
    ("pattern-three-stars", |d, s, r| paths(d, s, r, &["***"])),
    ("pattern-braces", |d, s, r| paths(d, s, r, &["{v1,v2,one}", "x/{v1,v2}"])),
    ("pattern-backslash", |d, s, r| paths(d, s, r, &["\\v1", "x/\\*"])),
    ("pattern-bang", |d, s, r| paths(d, s, r, &["!v1", "x/!*"])),
    ("pattern-slash", |d, s, r| paths(d, s, r, &["/*", "x//*", "*/"])),
    ("pattern-case", |d, s, r| paths(d, s, r, &["V1", "X/*"])),
    ("pattern-question", |d, s, r| paths(d, s, r, &["??", "x?v1", "one?"])),
    ("prefix-upper", |d, s, r| prefixes(d, s, r, "A")),
    ("prefix-none", |d, s, r| prefixes(d, s, r, "")),
    ("prefix-junk", |d, s, r| prefixes(d, s, r, "xyz")),
    ("prefix-long", |d, s, r| prefixes(d, s, r, &"0".repeat(65))),
    ("prefix-wide", |dice, scene, role| {
        delegation(dice, scene, role, |_, e| {
            unset(e, "paths");
            let all = "0123456789abcdef".chars().map(|c| Value::from(c.to_string())).collect();
            set(e, "path_hash_prefixes", Value::Array(all));
        })
    }),
    ("terminating-missing", |dice, scene, role| delegation(dice, scene, role, |_, e| unset(e, "terminating"))),
    ("terminating-junk", |dice, scene, role| delegation(dice, scene, role, |d, e| set(e, "terminating", junk(d)))),
    ("terminating-flip", |dice, scene, role| {
        delegation(dice, scene, role, |_, e| {
            let now = e.get("terminating").and_then(Value::as_bool) == Some(true);
            set(e, "terminating", Value::from(!now));
        })
    }),
    ("delegations-member", |dice, scene, role| {
        let value = junk(dice);
        list_of(scene, role).is_some_and(|_| {
            tree(scene, role).set(&["delegations", "x-new"], value);
            true
        })
    }),
    ("delegations-null", |_, scene, role| {
        tree(scene, role).set(&["delegations"], Value::Null);
        true
    }),
    ("delegations-empty", |_, scene, role| {
        tree(scene, role).set(&["delegations"], Value::Object(BTreeMap::new()));
        true
    }),
    ("delegations-no-keys", |_, scene, role| {
        list_of(scene, role).is_some_and(|_| {
            tree(scene, role).unset(&["delegations", "keys"]);
            true
        })
    }),
    ("delegations-no-roles", |_, scene, role| {
        list_of(scene, role).is_some_and(|_| {
            tree(scene, role).unset(&["delegations", "roles"]);
            true
        })
    }),
    ("delegations-both", |_, scene, role| {
        let key = scene.repo.new_key();
        list_of(scene, role).is_some_and(|_| {
            let bins = Value::object([
                ("keyids", Value::from(vec![Value::from(key.id())])),
                ("threshold", Value::from(1_u64)),
                ("bit_length", Value::from(1_u64)),
                ("name_prefix", Value::from("bin")),
            ]);
            tree(scene, role).set(&["delegations", "succinct_roles"], bins);
            true
        })
    }),
    ("bins-bits", |dice, scene, role| {
        let bits = junk(dice);
        let has = scene.repo.roles[role].signed.get("delegations").is_some_and(|d| d.get("succinct_roles").is_some());
        has && {
            tree(scene, role).set(&["delegations", "succinct_roles", "bit_length"], bits);
            true
        }
    }),
];
