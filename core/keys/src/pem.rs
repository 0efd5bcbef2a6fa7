//! PEM text (RFC 7468, with the headers of RFC 1421 tolerated): finding blocks and writing one.
//!
//! Base64 goes through a constant-time decoder and every buffer that can hold a private key is overwritten when dropped.
//! Text outside the blocks is ignored, as everywhere; an unfinished block is an error, because it is a truncated key.
//! Deliberately absent: the meaning of what is inside.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// Most blocks in one file: `EC PARAMETERS` and a key, with room to spare.
const MAX_BLOCKS: usize = 4;
const LINE: usize = 64;

/// One block between its BEGIN and END lines.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    /// Whether a header says `Proc-Type: 4,ENCRYPTED`.
    pub(crate) legacy_encrypted: bool,
    body: Zeroizing<String>,
}

impl Block<'_> {
    /// The decoded content.
    pub(crate) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        Base64::decode_vec(&self.body).map(Zeroizing::new).map_err(|_| PemError)
    }
}

/// Not well-formed PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PemError;

/// The blocks of a text, in order. The caller has limited the length of the text.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block<'_>>, PemError> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        if found.len() == MAX_BLOCKS {
            return Err(PemError);
        }
        found.push(block(label, &mut lines, text.len())?);
    }
    Ok(found)
}

fn block<'a>(label: &'a str, lines: &mut impl Iterator<Item = &'a str>, longest: usize) -> Result<Block<'a>, PemError> {
    // Full capacity at once: growing would leave copies behind.
    let mut body = Zeroizing::new(String::with_capacity(longest));
    let mut legacy_encrypted = false;
    let mut in_headers = false;
    for line in lines {
        if let Some(end) = line.strip_prefix("-----END ") {
            let closes = end.strip_suffix("-----") == Some(label) && !in_headers;
            return if closes { Ok(Block { label, legacy_encrypted, body }) } else { Err(PemError) };
        }
        if in_headers && line.is_empty() {
            in_headers = false;
        } else if let Some((name, value)) = line.split_once(':') {
            if !body.is_empty() {
                return Err(PemError);
            }
            in_headers = true;
            legacy_encrypted |= name.eq_ignore_ascii_case("Proc-Type") && value.contains("ENCRYPTED");
        } else if !in_headers {
            body.push_str(line);
        }
    }
    Err(PemError)
}

/// Writes one block with lines of 64 characters and a newline at the end.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(Base64::encode_string(der));
    let mut text = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / LINE + 2 * label.len() + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every index is a boundary.
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_a_misnamed_and_a_nested_block_are_refused() {
        for text in [
            "-----BEGIN A-----\nAAAA\n",
            "-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "-----BEGIN A-----\nAAAA\n-----END A\n",
            "-----BEGIN A-----\nrole: x\nAAAA\n-----END A-----\n",
            "-----BEGIN A-----\nAAAA\nrole: x\n\n-----END A-----\n",
            "-----BEGIN A-----",
        ] {
            assert!(blocks(text).is_err(), "{text}");
        }
        let many = "-----BEGIN A-----\nAAAA\n-----END A-----\n".repeat(MAX_BLOCKS + 1);
        assert!(blocks(&many).is_err());
        let nested = "-----BEGIN A-----\n-----BEGIN B-----\nAAAA\n-----END B-----\n-----END A-----\n";
        assert!(blocks(nested).is_err());
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for body in ["AAA", "AA==AA==", "A*AA", "AAAA AAAA", "-----BEGIN B-----"] {
            let text = format!("-----BEGIN A-----\n{body}\n-----END A-----\n");
            assert!(blocks(&text).unwrap().first().unwrap().decode().is_err(), "{body}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_at_every_length() {
        for length in 0..200u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let text = encode("THING", &bytes);
            assert!(text.lines().all(|line| line.len() <= LINE));
            let blocks = blocks(&text).unwrap();
            let [block] = blocks.as_slice() else { panic!("one block") };
            assert_eq!(block.label, "THING");
            assert_eq!(*block.decode().unwrap(), bytes);
        }
    }

    #[test]
    fn headers_and_text_around_and_windows_line_ends_are_ignored() {
        let text = "bag attributes\r\n-----BEGIN A-----\r\nrole: alice\r\n\r\nAAAA\r\n-----END A-----\r\ntrailing";
        let blocks = blocks(text).unwrap();
        assert_eq!(*blocks.first().unwrap().decode().unwrap(), [0, 0, 0]);
        assert!(!blocks.first().unwrap().legacy_encrypted);
    }
}
