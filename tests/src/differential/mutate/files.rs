//! What is done to a file after it was signed.

use trust_tuf::json::{self, Value};

use super::super::text;
use super::File;

pub(super) const ALL: &[(&str, File)] = &[
    ("sig-none", |_, _, _, bytes| signatures(bytes, |list| list.clear())),
    ("sig-drop", |dice, _, _, bytes| {
        signatures(bytes, |list| {
            list.remove(dice.below(list.len()));
        })
    }),
    ("sig-double", |_, _, _, bytes| signatures(bytes, |list| list.push(list[0].clone()))),
    ("sig-double-other", |dice, _, _, bytes| {
        signatures(bytes, |list| {
            let mut again = list[0].clone();
            set(&mut again, "sig", Value::from(*dice.pick(&["", "00", "zz"])));
            list.insert(dice.below(2), again);
        })
    }),
    ("sig-empty", |_, _, _, bytes| signatures(bytes, |list| set(&mut list[0], "sig", Value::from("")))),
    ("sig-nonhex", |_, _, _, bytes| signatures(bytes, |list| set(&mut list[0], "sig", Value::from("no hex")))),
    ("sig-extra-empty", |_, _, _, bytes| extra(bytes, STRANGER, "")),
    ("sig-extra-junk", |_, _, _, bytes| extra(bytes, STRANGER, "0102")),
    ("sig-extra-nonhex", |_, _, _, bytes| extra(bytes, STRANGER, "no hex")),
    ("sig-extra-id", |_, _, _, bytes| extra(bytes, "some key", "0102")),
    ("sig-flip", |_, _, _, bytes| {
        signatures(bytes, |list| {
            let sig = list[0].get("sig").and_then(Value::as_str).unwrap_or("").to_owned();
            let end = sig.len().saturating_sub(1);
            let last = if sig.ends_with('0') { "1" } else { "0" };
            set(&mut list[0], "sig", Value::from(format!("{}{last}", &sig[..end])));
        })
    }),
    ("sig-upper", |_, _, _, bytes| {
        signatures(bytes, |list| {
            let sig = list[0].get("sig").and_then(Value::as_str).unwrap_or("").to_uppercase();
            set(&mut list[0], "sig", Value::from(sig));
        })
    }),
    ("sig-member", |_, _, _, bytes| signatures(bytes, |list| set(&mut list[0], "x", Value::from("y")))),
    ("sig-no-sig", |_, _, _, bytes| signatures(bytes, |list| unset(&mut list[0], "sig"))),
    ("sig-no-keyid", |_, _, _, bytes| signatures(bytes, |list| unset(&mut list[0], "keyid"))),
    ("sig-order", |_, _, _, bytes| signatures(bytes, |list| list.reverse())),
    ("sig-other-role", |dice, scene, _, bytes| {
        let roles: Vec<String> = scene.repo.roles.keys().cloned().collect();
        let key = scene.repo.roles[dice.pick(&roles)].signers[0].clone();
        signed(bytes, |file, payload| {
            let one = [("keyid", Value::from(key.id())), ("sig", Value::from(hex::encode(key.sign(payload))))];
            set(file, "signatures", Value::Array(vec![Value::object(one)]));
        })
    }),
    ("sig-stranger-beside", |_, scene, _, bytes| {
        let key = scene.repo.new_key();
        signed(bytes, |file, payload| {
            let one = [("keyid", Value::from(key.id())), ("sig", Value::from(hex::encode(key.sign(payload))))];
            let mut list = file.get("signatures").and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default();
            list.push(Value::object(one));
            set(file, "signatures", Value::Array(list));
        })
    }),
    ("envelope-member", |_, _, _, bytes| envelope(bytes, |file| set(file, "unsigned", Value::from(1_u64)))),
    ("envelope-no-signatures", |_, _, _, bytes| envelope(bytes, |file| unset(file, "signatures"))),
    ("envelope-no-signed", |_, _, _, bytes| envelope(bytes, |file| unset(file, "signed"))),
    ("envelope-array", |_, _, _, bytes| envelope(bytes, |file| *file = Value::Array(vec![file.clone()]))),
    ("signed-changed", |_, _, _, bytes| {
        envelope(bytes, |file| {
            let mut part = file.get("signed").cloned().unwrap_or(Value::Null);
            set(&mut part, "added", Value::from(1_u64));
            set(file, "signed", part);
        })
    }),
    ("respell", |dice, _, _, bytes| {
        text::respell(bytes, dice);
        true
    }),
    ("empty", |_, _, _, bytes| {
        bytes.clear();
        true
    }),
    ("bom", |_, _, _, bytes| {
        bytes.splice(0..0, "\u{feff}".bytes());
        true
    }),
    ("space-after", |_, _, _, bytes| {
        bytes.extend(b" \n\t\r");
        true
    }),
    ("junk-after", |_, _, _, bytes| {
        bytes.extend(b"{}");
        true
    }),
    ("nul-after", |_, _, _, bytes| {
        bytes.push(0);
        true
    }),
    ("no-utf8", |_, _, _, bytes| {
        text::replace(bytes, "\"spec_version\"", "\"spec_versio\u{e9}\"") && {
            let at = bytes.iter().position(|b| *b == 0xc3);
            at.is_some_and(|at| {
                bytes.remove(at);
                true
            })
        }
    }),
    ("member-twice", |_, _, _, bytes| {
        text::replace(bytes, "\"spec_version\":", "\"spec_version\":\"1.0.31\",\"spec_version\":")
    }),
    ("member-twice-first", |_, _, _, bytes| {
        text::replace(bytes, "\"spec_version\":", "\"spec_version\":\"1.0.9\",\"spec_version\":")
    }),
    ("member-twice-deep", |_, _, _, bytes| text::replace(bytes, "\"threshold\":", "\"threshold\":1,\"threshold\":")),
    ("number-float", |_, _, _, bytes| version(bytes, |n| format!("{n}.0"))),
    ("number-exponent", |_, _, _, bytes| version(bytes, |n| format!("{n}e0"))),
    ("number-zeros", |_, _, _, bytes| version(bytes, |n| format!("0{n}"))),
    ("number-plus", |_, _, _, bytes| version(bytes, |n| format!("+{n}"))),
    ("comma-after", |_, _, _, bytes| text::replace(bytes, "}}", "},}")),
];

const STRANGER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Changes the last `"version":N` of the file, which is the file's own.
fn version(bytes: &mut Vec<u8>, spell: impl Fn(u64) -> String) -> bool {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Some(at) = text.rfind("\"version\":") else { return false };
    let digits: String = text[at + 10..].chars().take_while(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<u64>() else { return false };
    *bytes = format!("{}\"version\":{}{}", &text[..at], spell(number), &text[at + 10 + digits.len()..]).into_bytes();
    true
}

fn envelope(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Value)) -> bool {
    let Ok(mut file) = json::parse(bytes) else { return false };
    change(&mut file);
    *bytes = file.to_json();
    true
}

fn signed(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Value, &[u8])) -> bool {
    envelope(bytes, |file| {
        let payload = file.get("signed").map(Value::canonical).unwrap_or_default();
        change(file, &payload);
    })
}

fn signatures(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Value>)) -> bool {
    envelope(bytes, |file| {
        let mut list = file.get("signatures").and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default();
        if !list.is_empty() {
            change(&mut list);
        }
        set(file, "signatures", Value::Array(list));
    })
}

fn extra(bytes: &mut Vec<u8>, id: &str, sig: &str) -> bool {
    signatures(bytes, |list| list.push(Value::object([("keyid", Value::from(id)), ("sig", Value::from(sig))])))
}

pub(super) fn set(value: &mut Value, name: &str, to: Value) {
    if let Some(members) = value.as_object_mut() {
        members.insert(name.to_owned(), to);
    }
}

pub(super) fn unset(value: &mut Value, name: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
}
