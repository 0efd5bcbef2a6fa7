//! Changes of a file's text that leave what it means alone, or that only a strict parser notices.

use crate::property::dice::Dice;

/// Replaces the first place where `from` stands; false if it stands nowhere.
pub fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) -> bool {
    let Some(at) = bytes.windows(from.len()).position(|w| w == from.as_bytes()) else { return false };
    bytes.splice(at..at + from.len(), to.bytes());
    true
}

/// The same document with other white space and other escapes.
pub fn respell(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut out = String::new();
    let mut inside = false;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside = !inside,
            ',' | ':' | '{' | '}' if !inside => {
                out.push(c);
                out.push_str(dice.pick::<&str>(&["", " ", "\n", "\t", "\r\n"]));
                continue;
            }
            'a'..='z' if inside && dice.once_in(40) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    *bytes = out.into_bytes();
}
