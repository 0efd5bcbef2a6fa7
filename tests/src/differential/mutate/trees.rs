//! What is wrong before a role signs: members that all roles have, what a timestamp or snapshot lists, targets. Keys and
//! delegations are in [`super::grants`].

use std::collections::BTreeMap;

use trust_tuf::json::Value;

use super::files::{set, unset};
use super::{Dice, Scene, Tree, grants, junk, nominal, tree};
use crate::simulator::NOW;

/// The tables for a role.
pub(super) fn of(role: &str) -> &'static [&'static [(&'static str, Tree)]] {
    match role {
        "root" => &[COMMON, grants::KEYS, grants::KEYS, grants::ROOT],
        "timestamp" | "snapshot" => &[COMMON, LISTED, LISTED],
        _ => &[COMMON, grants::KEYS, grants::DELEGATIONS, grants::DELEGATIONS, TARGETS],
    }
}

fn put(scene: &mut Scene, role: &str, name: &str, value: impl Into<Value>) -> bool {
    tree(scene, role).set(&[name], value);
    true
}

fn drop_member(scene: &mut Scene, role: &str, name: &str) -> bool {
    tree(scene, role).unset(&[name]);
    true
}

const COMMON: &[(&str, Tree)] = &[
    ("version-zero", |_, scene, role| put(scene, role, "version", 0_u64)),
    ("version-negative", |_, scene, role| put(scene, role, "version", Value::Int(-1))),
    ("version-over", |dice, scene, role| put(scene, role, "version", *dice.pick(&[1_u64 << 63, u64::MAX]))),
    ("version-huge", |dice, scene, role| {
        let version = *dice.pick(&[1_u64 << 31, 1 << 32, (1 << 53) + 1, (1 << 63) - 1]);
        if role != "root" {
            scene.nominal.insert(role.to_owned(), version);
        }
        put(scene, role, "version", version)
    }),
    ("version-lower", |dice, scene, role| {
        let version = nominal(scene, role).saturating_sub(1);
        if version > 0 && dice.once_in(2) {
            scene.nominal.insert(role.to_owned(), version);
        }
        version > 0 && put(scene, role, "version", version)
    }),
    ("version-ahead", |_, scene, role| {
        let version = nominal(scene, role) + 1;
        put(scene, role, "version", version)
    }),
    ("version-junk", |dice, scene, role| put(scene, role, "version", junk(dice))),
    ("version-missing", |_, scene, role| drop_member(scene, role, "version")),
    ("expired", |_, scene, role| put(scene, role, "expires", "2020-01-01T00:00:00Z")),
    ("expires-now", |_, scene, role| put(scene, role, "expires", NOW)),
    ("expires-form", |dice, scene, role| {
        let forms = [
            "2099-01-01T00:00:00.000Z",
            "2099-01-01T00:00:00+00:00",
            "2099-01-01t00:00:00z",
            "2099-01-01 00:00:00Z",
            "2099-01-01T00:00:00-01:00",
            "2099-01-01T00:00Z",
        ];
        put(scene, role, "expires", *dice.pick(&forms))
    }),
    ("expires-invalid", |dice, scene, role| {
        let forms = ["2099-13-01T00:00:00Z", "2099-02-30T00:00:00Z", "2099-01-01", "never", "", "2098-12-31T23:59:60Z"];
        put(scene, role, "expires", *dice.pick(&forms))
    }),
    ("expires-junk", |dice, scene, role| put(scene, role, "expires", junk(dice))),
    ("expires-missing", |_, scene, role| drop_member(scene, role, "expires")),
    ("type-other", |dice, scene, role| {
        let kind = *dice.pick(&["root", "timestamp", "snapshot", "targets", "Targets", "mirrors", ""]);
        let own = tree(scene, role).signed.get("_type").and_then(Value::as_str) == Some(kind);
        !own && put(scene, role, "_type", kind)
    }),
    ("type-junk", |dice, scene, role| put(scene, role, "_type", junk(dice))),
    ("type-missing", |_, scene, role| drop_member(scene, role, "_type")),
    ("spec-major", |dice, scene, role| put(scene, role, "spec_version", *dice.pick(&["2.0.0", "0.9.9", "11.0.0"]))),
    ("spec-short", |_, scene, role| put(scene, role, "spec_version", "1.0")),
    ("spec-odd", |dice, scene, role| {
        put(scene, role, "spec_version", *dice.pick(&["1", "1.", "1.x.0", "1.0.0-rc", "1.0.0.0", "", "x"]))
    }),
    ("spec-junk", |dice, scene, role| put(scene, role, "spec_version", junk(dice))),
    ("spec-missing", |_, scene, role| drop_member(scene, role, "spec_version")),
    ("member-unknown", |dice, scene, role| {
        let value = junk(dice);
        put(scene, role, dice.pick::<&str>(&["x-new", "a", "mirrors"]), value)
    }),
    ("member-odd-text", |dice, scene, role| {
        let odd = ["e\u{301}", "\u{0}\u{1f}\"\\/", "\u{fb01}", "\u{1f600}", "\u{2028}"];
        let value = *dice.pick(&odd);
        put(scene, role, "x-text", value)
    }),
    ("member-odd-name", |dice, scene, role| {
        let odd = ["e\u{301}", "\u{fb01}", "\u{1f600}", "", "a\"b"];
        let inner = odd.iter().filter(|_| !dice.once_in(3)).map(|n| (*n, Value::from(1_u64))).collect::<Vec<_>>();
        put(scene, role, "x-names", Value::object(inner))
    }),
    ("member-big-number", |dice, scene, role| {
        put(scene, role, "x-number", Value::Int(*dice.pick(&[i128::from(u64::MAX), i128::from(i64::MIN)])))
    }),
    ("member-over-number", |dice, scene, role| {
        let over = [i128::from(u64::MAX) + 1, i128::from(i64::MIN) - 1, 1 << 70];
        put(scene, role, "x-number", Value::Int(*dice.pick(&over)))
    }),
    ("member-deep", |dice, scene, role| {
        let mut value = Value::from(1_u64);
        for _ in 0..*dice.pick(&[20, 29, 40, 200]) {
            value = Value::Array(vec![value]);
        }
        put(scene, role, "x-deep", value)
    }),
    ("member-junk", |dice, scene, role| {
        let known = ["meta", "targets", "delegations", "keys", "roles", "consistent_snapshot"];
        let has: Vec<&str> = known.into_iter().filter(|n| tree(scene, role).signed.get(n).is_some()).collect();
        !has.is_empty() && {
            let name = *dice.pick(&has);
            let value = junk(dice);
            put(scene, role, name, value)
        }
    }),
    ("member-missing", |dice, scene, role| {
        let known = ["meta", "targets", "keys", "roles"];
        let has: Vec<&str> = known.into_iter().filter(|n| tree(scene, role).signed.get(n).is_some()).collect();
        !has.is_empty() && drop_member(scene, role, dice.pick::<&str>(&has))
    }),
];

/// One entry of `meta`, by its file name.
fn entry(dice: &mut Dice, scene: &mut Scene, role: &str, change: impl FnOnce(&mut Dice, &mut Value)) -> bool {
    let meta = tree(scene, role).at(&["meta"]);
    let Some(members) = meta.as_object_mut().filter(|m| !m.is_empty()) else { return false };
    let names: Vec<String> = members.keys().cloned().collect();
    let entry = members.get_mut(dice.pick(&names)).expect("just listed");
    change(dice, entry);
    true
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn hash(value: &mut Value, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
    let mut hashes = value.get("hashes").and_then(Value::as_object).cloned().unwrap_or_default();
    change(&mut hashes);
    set(value, "hashes", Value::Object(hashes));
}

fn sha256_of(hashes: &BTreeMap<String, Value>) -> String {
    hashes.get("sha256").and_then(Value::as_str).unwrap_or("00").to_owned()
}

/// What can be wrong with the hashes of a file or a target.
fn odd_hash(dice: &mut Dice, hashes: &mut BTreeMap<String, Value>) {
    let real = sha256_of(hashes);
    let odd =
        [real[..real.len() - 1].to_owned(), format!("{real}00"), "x".repeat(64), String::new(), format!(" {real}")];
    hashes.insert("sha256".to_owned(), Value::from(dice.pick(&odd).as_str()));
}

const LISTED: &[(&str, Tree)] = &[
    ("entry-version-zero", |d, s, r| entry(d, s, r, |_, e| set(e, "version", Value::from(0_u64)))),
    ("entry-version-lower", |d, s, r| {
        entry(d, s, r, |_, e| set(e, "version", Value::from(number(e, "version").saturating_sub(1).max(1))))
    }),
    ("entry-version-higher", |d, s, r| entry(d, s, r, |_, e| set(e, "version", Value::from(number(e, "version") + 1)))),
    ("entry-version-junk", |d, s, r| entry(d, s, r, |d, e| set(e, "version", junk(d)))),
    ("entry-version-missing", |d, s, r| entry(d, s, r, |_, e| unset(e, "version"))),
    ("entry-length-more", |d, s, r| {
        entry(d, s, r, |_, e| set(e, "length", Value::from(number(e, "length").max(100) + 1)))
    }),
    ("entry-length-less", |d, s, r| {
        entry(d, s, r, |_, e| set(e, "length", Value::from(number(e, "length").max(100) - 1)))
    }),
    ("entry-length-zero", |d, s, r| entry(d, s, r, |_, e| set(e, "length", Value::from(0_u64)))),
    ("entry-length-huge", |d, s, r| entry(d, s, r, |_, e| set(e, "length", Value::from(u64::MAX)))),
    ("entry-length-junk", |d, s, r| entry(d, s, r, |d, e| set(e, "length", junk(d)))),
    ("entry-hash-wrong", |d, s, r| {
        entry(d, s, r, |_, e| hash(e, |h| drop(h.insert("sha256".to_owned(), Value::from("00".repeat(32))))))
    }),
    ("entry-hash-none", |d, s, r| entry(d, s, r, |_, e| hash(e, BTreeMap::clear))),
    ("entry-hash-unknown", |d, s, r| {
        entry(d, s, r, |_, e| {
            hash(e, |h| {
                h.clear();
                h.insert("blake9".to_owned(), Value::from("00"));
            });
        })
    }),
    ("entry-hash-beside", |d, s, r| {
        entry(d, s, r, |_, e| {
            if e.get("hashes").is_some() {
                hash(e, |h| drop(h.insert("blake9".to_owned(), Value::from("00"))));
            }
        })
    }),
    ("entry-hash-upper", |d, s, r| {
        entry(d, s, r, |_, e| {
            if e.get("hashes").is_some() {
                hash(e, |h| drop(h.insert("sha256".to_owned(), Value::from(sha256_of(h).to_uppercase()))));
            }
        })
    }),
    ("entry-hash-odd", |d, s, r| entry(d, s, r, |d, e| hash(e, |h| odd_hash(d, h)))),
    ("entry-hash-sha512-wrong", |d, s, r| {
        entry(d, s, r, |_, e| hash(e, |h| drop(h.insert("sha512".to_owned(), Value::from("00".repeat(64))))))
    }),
    ("entry-hash-junk", |d, s, r| entry(d, s, r, |d, e| set(e, "hashes", junk(d)))),
    ("entry-member", |d, s, r| entry(d, s, r, |d, e| set(e, "x", junk(d)))),
    ("entry-junk", |d, s, r| entry(d, s, r, |d, e| *e = junk(d))),
    ("entry-lost", |dice, scene, role| {
        let names: Vec<String> =
            tree(scene, role).at(&["meta"]).as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default();
        !names.is_empty() && {
            let name = dice.pick(&names).clone();
            tree(scene, role).unset(&["meta", &name]);
            true
        }
    }),
    ("entry-more", |dice, scene, role| {
        let name = *dice.pick(&["ghost.json", "ghost", "root.json", "a.rotate.1.json", "../x.json"]);
        tree(scene, role).set(&["meta", name], Value::object([("version", Value::from(1_u64))]));
        true
    }),
];

/// One listed target.
fn target(dice: &mut Dice, scene: &mut Scene, role: &str, change: impl FnOnce(&mut Dice, &mut Value)) -> bool {
    let targets = tree(scene, role).at(&["targets"]);
    let Some(members) = targets.as_object_mut().filter(|m| !m.is_empty()) else { return false };
    let names: Vec<String> = members.keys().cloned().collect();
    let name = dice.pick(&names).clone();
    change(dice, members.get_mut(&name).expect("just listed"));
    true
}

const TARGETS: &[(&str, Tree)] = &[
    ("target-length-zero", |d, s, r| target(d, s, r, |_, t| set(t, "length", Value::from(0_u64)))),
    ("target-length-huge", |d, s, r| target(d, s, r, |_, t| set(t, "length", Value::from(u64::MAX)))),
    ("target-length-junk", |d, s, r| target(d, s, r, |d, t| set(t, "length", junk(d)))),
    ("target-length-missing", |d, s, r| target(d, s, r, |_, t| unset(t, "length"))),
    ("target-hash-none", |d, s, r| target(d, s, r, |_, t| hash(t, BTreeMap::clear))),
    ("target-hash-missing", |d, s, r| target(d, s, r, |_, t| unset(t, "hashes"))),
    ("target-hash-unknown", |d, s, r| {
        target(d, s, r, |_, t| {
            hash(t, |h| {
                h.clear();
                h.insert("blake9".to_owned(), Value::from("00"));
            });
        })
    }),
    ("target-hash-beside", |d, s, r| {
        target(d, s, r, |_, t| hash(t, |h| drop(h.insert("blake9".to_owned(), Value::from("00")))))
    }),
    ("target-hash-upper", |d, s, r| {
        target(d, s, r, |_, t| {
            hash(t, |h| {
                if h.contains_key("sha256") {
                    h.insert("sha256".to_owned(), Value::from(sha256_of(h).to_uppercase()));
                }
            });
        })
    }),
    ("target-hash-odd", |d, s, r| target(d, s, r, |d, t| hash(t, |h| odd_hash(d, h)))),
    ("target-hash-junk", |d, s, r| target(d, s, r, |d, t| set(t, "hashes", junk(d)))),
    ("target-custom-junk", |d, s, r| target(d, s, r, |d, t| set(t, "custom", junk(d)))),
    ("target-member", |d, s, r| target(d, s, r, |d, t| set(t, "x", junk(d)))),
    ("target-junk", |d, s, r| target(d, s, r, |d, t| *t = junk(d))),
    ("target-path", |dice, scene, role| {
        let odd = [
            "../v1",
            "/v1",
            "x//v1",
            "./v1",
            "x/../v1",
            "x\\v1",
            "",
            "v1/",
            "x/.",
            "caf\u{e9}",
            "cafe\u{301}",
            "V1",
            "v%31",
            "a\u{0}b",
            "v1\n",
        ];
        let path = *dice.pick(&odd);
        scene.add_target(dice, role, path);
        true
    }),
];
