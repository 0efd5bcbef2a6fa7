//! The quickest simple way to look for one entry in a JSON document that is checked to be whole: no tree, no copies, no
//! strings decoded; strings are passed over eight bytes at a time.
//!
//! It says nothing about members that stand twice. It exists to be a floor: what a reader that checks more is held against.

/// Nesting that is followed.
const DEPTH: usize = 32;

/// A place in a document.
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    /// Begins at the start of a document in UTF-8.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?;
        Some(Self { bytes, at: 0, depth: 0 })
    }

    /// Nothing but blanks may follow.
    pub fn end(mut self) -> Option<()> {
        self.blanks();
        (self.at == self.bytes.len()).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn token(&mut self, token: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == token).then(|| self.at += 1)
    }

    /// A string, as it stands between its quotes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.token(b'"')?;
        let start = self.at;
        loop {
            // Eight bytes that hold no quote, no backslash and no control character are passed over at once.
            while let Some(word) = self.bytes.get(self.at..self.at + 8) {
                let word = u64::from_le_bytes(word.try_into().ok()?);
                let has_less = |x: u64, n: u64| x.wrapping_sub(ONES * n) & !x & HIGH;
                let found =
                    has_less(word, 0x20) | has_less(word ^ (ONES * 0x22), 1) | has_less(word ^ (ONES * 0x5c), 1);
                self.at += if found == 0 { 8 } else { found.trailing_zeros() as usize / 8 };
                if found != 0 {
                    break;
                }
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return self.bytes.get(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let length = match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
            }
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    /// An integer that is not negative.
    pub fn integer(&mut self) -> Option<u64> {
        self.blanks();
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(self.bytes.get(start..self.at)?).ok()?.parse().ok()
    }

    /// An object: each member's name as it stands, and the scan before its value, which the callback passes over.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.token(b'{')?;
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        if self.token(b'}').is_none() {
            loop {
                let name = self.string()?;
                self.token(b':')?;
                member(self, name)?;
                if self.token(b',').is_none() {
                    break;
                }
            }
            self.token(b'}')?;
        }
        self.depth -= 1;
        Some(())
    }

    /// Passes over any value.
    pub fn skip(&mut self) -> Option<()> {
        self.blanks();
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(|scan, _| scan.skip()),
            b'[' => self.array(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' => {
                self.at += 1;
                self.integer().map(drop)
            }
            _ => self.integer().map(drop),
        }
    }

    fn array(&mut self) -> Option<()> {
        self.token(b'[')?;
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        if self.token(b']').is_none() {
            loop {
                self.skip()?;
                if self.token(b',').is_none() {
                    break;
                }
            }
            self.token(b']')?;
        }
        self.depth -= 1;
        Some(())
    }

    fn literal(&mut self, text: &[u8]) -> Option<()> {
        (self.bytes.get(self.at..self.at + text.len())? == text).then(|| self.at += text.len())
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(text: &str) -> bool {
        Scan::new(text.as_bytes()).and_then(|mut scan| scan.skip().and_then(|()| scan.end())).is_some()
    }

    #[test]
    fn a_document_that_is_not_whole_is_refused_as_serde_json_does() {
        let long = format!("{{\"{}\":[1,{{}},[],\"\u{e9}\\u00e9\\n\"]}}", "name of many bytes ".repeat(9));
        for text in ["{}", " [ 1 , -2,true,false,null ] ", "\"a\\\"b\"", "{\"a\":{\"b\":[\"12345678\"]}}", &long] {
            assert!(is_whole(text) && serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
        let bad = [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "[1 2]",
            "\"a",
            "\"a\\x\"",
            "\"a\\u12g4\"",
            "\"\u{1}2345678\"",
            "\"1234567\u{1f}\"",
            "{}{}",
            "tru",
            "-",
            "{a:1}",
            "[1}",
            "\"12345678\\\"",
        ];
        for text in bad {
            assert!(!is_whole(text) && serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
        assert!(!is_whole(&"[".repeat(DEPTH + 1)) && !is_whole(&format!("{}{}", "[".repeat(40), "]".repeat(40))));
        for end in 1..long.len() - 1 {
            assert!(long.get(..end).is_none_or(|part| !is_whole(part)), "{end}");
        }
    }
}
