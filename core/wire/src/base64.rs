//! Bytes inside JSON: standard base64 with padding, one text for each sequence of bytes. What travels here is public (signed
//! files, grants), so that nothing needs to take the same time for every content.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes that stand in JSON as base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Base64 {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(text.as_bytes()).map(Self).ok_or_else(|| D::Error::custom("expected base64 with padding"))
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';
/// What no character of the alphabet stands for: above every value.
const NONE: u8 = 0xff;
/// The value of each byte as a character.
const VALUES: [u8; 256] = values();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
const fn values() -> [u8; 256] {
    // Evaluated by the compiler: an index out of range would not compile.
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
}

fn character(six: u32) -> u8 {
    let place = usize::try_from(six & 0x3f).unwrap_or(0);
    ALPHABET.get(place).copied().unwrap_or(PAD)
}

fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    let mut groups = bytes.chunks_exact(3);
    for group in &mut groups {
        let &[a, b, c] = group else { continue };
        let bits = u32::from_be_bytes([0, a, b, c]);
        text.extend_from_slice(&[bits >> 18, bits >> 12, bits >> 6, bits].map(character));
    }
    match *groups.remainder() {
        [a] => {
            let bits = u32::from_be_bytes([0, a, 0, 0]);
            text.extend_from_slice(&[character(bits >> 18), character(bits >> 12), PAD, PAD]);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            text.extend_from_slice(&[character(bits >> 18), character(bits >> 12), character(bits >> 6), PAD]);
        }
        _ => {}
    }
    // Of the alphabet, so that it is text.
    String::from_utf8(text).unwrap_or_default()
}

fn value(character: u8) -> u8 {
    VALUES.get(usize::from(character)).copied().unwrap_or(NONE)
}

/// Three bytes from four characters; `None` if one of them is none.
fn group(four: &[u8]) -> Option<[u8; 3]> {
    let &[a, b, c, d] = four else { return None };
    let [a, b, c, d] = [value(a), value(b), value(c), value(d)];
    if a | b | c | d > 0x3f {
        return None;
    }
    let [a, b, c, d] = [a, b, c, d].map(u32::from);
    let [_, x, y, z] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
    Some([x, y, z])
}

/// Padding in its place and nowhere else, and no bits beyond the last byte.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let Some((last, whole)) = text.split_last_chunk::<4>().map(|(whole, last)| (last, whole)) else {
        return text.is_empty().then(Vec::new);
    };
    if whole.len() % 4 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in whole.chunks_exact(4) {
        bytes.extend_from_slice(&group(four)?);
    }
    // A character that stands for zero in the place of the padding.
    let zero = ALPHABET.first().copied().unwrap_or(PAD);
    match *last {
        [a, b, PAD, PAD] => match group(&[a, b, zero, zero])? {
            [x, 0, 0] => bytes.push(x),
            _ => return None,
        },
        [a, b, c, PAD] => match group(&[a, b, c, zero])? {
            [x, y, 0] => bytes.extend_from_slice(&[x, y]),
            _ => return None,
        },
        four => bytes.extend_from_slice(&group(&four)?),
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64 as Codec, Encoding};

    use super::*;

    #[test]
    fn every_length_and_byte_is_written_and_read_as_by_another_codec() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for length in 0..all.len() {
            let bytes = all.get(all.len() - length..).unwrap();
            let text = encode(bytes);
            assert_eq!(text, Codec::encode_string(bytes), "{length}");
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{length}");
        }
    }

    #[test]
    fn what_another_codec_refuses_is_refused() {
        // Every text of up to four of these; then every change of one byte of longer ones.
        let some = b"AQg/+9=-_ \n\0";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..4 {
            let until = texts.len();
            for at in from..until {
                texts.extend(some.map(|c| [texts[at].as_slice(), &[c]].concat()));
            }
            from = until;
        }
        for bytes in [&b"0123456"[..], b"01234567", b"012345678"] {
            let text = encode(bytes).into_bytes();
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut changed = text.clone();
                    changed[at] = byte;
                    texts.push(changed);
                }
                texts.push([&text[..at], &text[at + 1..]].concat());
                texts.push([&text[..at], b"A", &text[at..]].concat());
            }
        }
        let mut good = 0;
        for text in texts {
            let other = std::str::from_utf8(&text).ok().and_then(|text| Codec::decode_vec(text).ok());
            good += usize::from(other.is_some());
            assert_eq!(decode(&text), other, "{:?}", String::from_utf8_lossy(&text));
        }
        assert!(good > 1_000, "{good}");
    }
}
