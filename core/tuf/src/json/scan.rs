//! Steps over bytes of JSON, several at a time. Positions come in and go out; nothing is built, and nothing is judged but
//! where something ends.

/// One in each byte of a word, and the highest bit of each.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the run of plain string characters that begins at `at` ends: at the first quotation mark, backslash or control
/// character, or at the end of the bytes.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
        // In a byte that is below n, subtracting n sets the highest bit; borrows only reach bytes above a true one.
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let found = found & HIGH;
        if found != 0 {
            // The number of a byte of the word: below 8.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let rest = bytes.get(at..).unwrap_or(&[]);
    rest.iter().position(ends).map_or(bytes.len(), |steps| at + steps)
}

/// Where a string ends whose opening mark stands at `at`: behind its closing one. For text that was checked before.
#[inline]
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            // Whatever is escaped begins with one ASCII character.
            Some(b'\\') => at += 2,
            _ => return at + 1,
        }
    }
}

/// Where the value ends that begins at `at`. For text that was checked before: it holds nothing but what JSON allows.
pub(super) fn value_end(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    loop {
        match bytes.get(at) {
            Some(b'"') => at = string_end(bytes, at),
            Some(b'{' | b'[') => {
                open += 1;
                at += 1;
                continue;
            }
            Some(b'}' | b']') => {
                open = open.saturating_sub(1);
                at += 1;
            }
            Some(b' ' | b'\n' | b'\r' | b'\t') => {
                at += 1;
                continue;
            }
            Some(b',' | b':') if open > 0 => {
                at += 1;
                continue;
            }
            Some(_) => {
                let word = |byte: &&u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
                let rest = bytes.get(at..).unwrap_or(&[]);
                // At least one step, so that this ends whatever the bytes are.
                at += rest.iter().take_while(word).count().max(1);
            }
            None => return bytes.len(),
        }
        if open == 0 {
            return at;
        }
    }
}

/// Of text inside a string, as it stands in a checked document: the characters that it means.
pub(super) struct Characters<'a> {
    rest: std::str::Chars<'a>,
}

impl<'a> Characters<'a> {
    pub(super) fn new(raw: &'a str) -> Self {
        Self { rest: raw.chars() }
    }

    fn hex4(&mut self) -> u32 {
        (0..4).fold(0, |code, _| code * 16 + self.rest.next().and_then(|c| c.to_digit(16)).unwrap_or(0))
    }
}

impl Iterator for Characters<'_> {
    type Item = char;

    #[inline]
    fn next(&mut self) -> Option<char> {
        match self.rest.next()? {
            '\\' => Some(match self.rest.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let first = self.hex4();
                    let code = if matches!(first, 0xd800..=0xdbff) {
                        // The second half stands behind it: the document was checked.
                        let _ = (self.rest.next(), self.rest.next());
                        0x1_0000 + ((first - 0xd800) << 10) + (self.hex4() & 0x3ff)
                    } else {
                        first
                    };
                    char::from_u32(code)?
                }
                other => other,
            }),
            plain => Some(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_special_byte_wherever_it_stands_in_a_word() {
        for length in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f] {
                for after in [b'"', b'x', 0x01, 0xff] {
                    let mut bytes = vec![b'a'; length];
                    bytes.push(special);
                    bytes.extend([after; 20]);
                    assert_eq!(plain_end(&bytes, 0), length, "{special} {after}");
                    assert_eq!(plain_end(&bytes, length / 2), length);
                }
            }
            assert_eq!(plain_end(&vec![b'a'; length], 0), length);
        }
    }

    #[test]
    fn every_other_byte_belongs_to_a_run() {
        for plain in (0x20..=0xff_u8).filter(|b| !matches!(b, b'"' | b'\\')) {
            for length in [1, 7, 8, 9, 31] {
                let mut bytes = vec![plain; length];
                bytes.push(b'"');
                assert_eq!(plain_end(&bytes, 0), length, "{plain}");
            }
        }
    }

    #[test]
    fn the_end_of_a_value_is_found_behind_everything_that_it_holds() {
        for value in [
            r#""a\"\\b""#,
            r#"{"a":[1,{"b\"}":"]"},-2],"c":true}"#,
            "[]",
            "{}",
            "17",
            "null",
            "[ 1 , [ ] ]",
            "\"\\\\\"",
        ] {
            for after in ["", ",1", "}", " ]"] {
                let text = format!("{value}{after}");
                assert_eq!(value_end(text.as_bytes(), 0), value.len(), "{text}");
            }
        }
        // What is no JSON ends all the same.
        for text in ["", "\u{1}\u{1}", "\"a", "[[", "é"] {
            assert!(value_end(text.as_bytes(), 0) <= text.len() + 1);
        }
    }

    #[test]
    fn characters_are_what_the_escapes_mean() {
        let text = r#"a\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00é"#;
        assert_eq!(Characters::new(text).collect::<String>(), "a\"\\/\u{8}\u{c}\n\r\té😀é");
    }
}
