//! Small changes of inputs, repeatable: bytes turned, cut, doubled and mixed, numbers at their edges, members of JSON
//! doubled, removed and replaced.

use serde_json::Value as Json;

use crate::property::dice::Dice;

/// What readers stumble over.
const TOKENS: [&str; 44] = [
    "0",
    "-1",
    "-0",
    "1",
    "2147483648",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1.0",
    "1e3",
    "01",
    "NaN",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\\",
    "/",
    "//",
    "../",
    "..",
    "%2F",
    "*",
    "**",
    "?",
    "[a]",
    "\u{feff}",
    "e\u{301}",
    "\u{202e}",
    "\u{ff0f}",
    "\r\n",
    "\t",
    "&a",
    "*a",
    "<<: ",
    "--- ",
    "!!binary ",
    "-----BEGIN PUBLIC KEY-----\n",
    "@sha256:",
];

/// An input like one of these.
pub fn mutated(from: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(from).clone();
    for _ in 0..1 + dice.below(3) {
        bytes = match serde_json::from_slice::<Json>(&bytes) {
            Ok(value) if dice.once_in(2) => json(&value, dice),
            _ => plain(bytes, from, dice),
        };
        // Longer ones find nothing that these do not.
        bytes.truncate(64 * 1024);
    }
    bytes
}

fn plain(mut bytes: Vec<u8>, from: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let at = dice.below(bytes.len() + 1);
    let end = (at + dice.below(24)).min(bytes.len());
    match dice.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => bytes.truncate(at),
        5 => {
            let other = dice.pick(from);
            let start = dice.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend(&other[start..]);
        }
        6 => {
            // A number becomes another one.
            let start = (at..bytes.len()).find(|i| bytes[*i].is_ascii_digit()).unwrap_or(at);
            let stop = (start..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
            bytes.splice(start..stop, dice.pick(&TOKENS[..14]).bytes());
        }
        7 => {
            // Lines change places.
            let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
            lines.swap(a, b);
            bytes = lines.join(&b'\n');
        }
        _ => drop(bytes.splice(at..at, dice.pick(&TOKENS).bytes())),
    }
    bytes
}

/// The document with one place in it changed; as text, because some changes are no JSON tree any more.
fn json(value: &Json, dice: &mut Dice) -> Vec<u8> {
    let target = dice.below(count(value));
    let mut out = String::new();
    let mut seen = 0;
    write(value, target, &mut seen, dice, &mut out);
    out.into_bytes()
}

fn count(value: &Json) -> usize {
    1 + match value {
        Json::Array(items) => items.iter().map(count).sum(),
        Json::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

fn write(value: &Json, target: usize, seen: &mut usize, dice: &mut Dice, out: &mut String) {
    let here = *seen == target;
    *seen += 1;
    if here && dice.once_in(2) {
        match dice.below(4) {
            0 => out.push_str(&format!("[{value}]")),
            1 => out.push_str(&format!("{{\"a\":{value}}}")),
            2 => out.push_str(&value.to_string().to_uppercase()),
            _ => out.push_str(dice.pick::<&str>(&TOKENS)),
        }
        *seen += count(value) - 1;
        return;
    }
    // Where a container is the place, one of its children is left out, doubled, or called otherwise.
    let children = match value {
        Json::Array(items) => items.len(),
        Json::Object(members) => members.len(),
        _ => 0,
    };
    let (which, how) = if here { (dice.below(children), dice.below(4)) } else { (usize::MAX, 0) };
    let mut parts: Vec<String> = Vec::new();
    let mut child = |n: usize, name: Option<&str>, item: &Json, seen: &mut usize, dice: &mut Dice| {
        let mut text = String::new();
        write(item, target, seen, dice, &mut text);
        let name = match name {
            Some(_) if n == which && how == 2 => Some("x"),
            other => other,
        };
        let part = match name {
            Some(name) => format!("{}:{text}", Json::from(name)),
            None => text,
        };
        if n == which && how == 0 {
            return;
        }
        if n == which && how == 1 {
            parts.push(part.clone());
        }
        parts.push(part);
    };
    match value {
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| child(n, None, item, seen, dice));
            out.push_str(&format!("[{}]", parts.join(",")));
        }
        Json::Object(members) => {
            members.iter().enumerate().for_each(|(n, (name, item))| child(n, Some(name), item, seen, dice));
            out.push_str(&format!("{{{}}}", parts.join(",")));
        }
        other => out.push_str(&other.to_string()),
    }
}
