//! The canonical form of a document that is not canonical yet, written straight from its text.
//!
//! No tree is built: whoever sends a file chooses how often it must be made canonical before anybody looks at its signatures,
//! and the tree of a hostile one would be a hundred times its size. What is kept is the form itself, which is never longer than
//! the text, and four bytes for each member of the objects that are open.

use std::cmp::Ordering;

use super::{Cursor, JsonError, JsonErrorKind, Name, scan};

/// The canonical form of a document that was walked to its end before.
pub(crate) fn canonical(document: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut cursor = Cursor::new(document)?;
    let mut out = Vec::with_capacity(document.len());
    cursor.write_canonical(&mut out)?;
    cursor.end()?;
    Ok(out)
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

impl<'a> Cursor<'a> {
    fn write_canonical(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.write_object(out),
            Some(b'[') => {
                out.push(b'[');
                let mut is_first = true;
                self.array(|c| {
                    if !std::mem::take(&mut is_first) {
                        out.push(b',');
                    }
                    c.write_canonical(out)
                })?;
                out.push(b']');
                Ok(())
            }
            Some(b'"') => {
                write_string(out, &self.string()?);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                out.extend(self.integer()?.to_string().bytes());
                Ok(())
            }
            _ => {
                let span = self.skip()?;
                out.extend(self.text.as_bytes().get(span).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn write_object(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut places = self.member_places()?;
        let name = |place: u32| Cursor { pos: place as usize, ..*self }.name().unwrap_or_default();
        let order = |a: &u32, b: &u32| name(*a).order(&name(*b));
        if !places.is_sorted_by(|a, b| order(a, b) == Ordering::Less) {
            places.sort_unstable_by(order);
            if places.windows(2).any(|pair| matches!(pair, [a, b] if order(a, b).is_eq())) {
                return Err(self.error(JsonErrorKind::DuplicateMember));
            }
        }
        out.push(b'{');
        let mut is_first = true;
        for place in places {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            let mut at = Cursor { pos: place as usize, ..*self };
            write_string(out, &at.name()?.text());
            out.push(b':');
            at.want(b':')?;
            at.enter()?;
            at.write_canonical(out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Steps over an object. Gives where the name of each member begins.
    fn member_places(&mut self) -> Result<Vec<u32>, JsonError> {
        self.want(b'{')?;
        let mut places = Vec::new();
        if self.take(b'}') {
            return Ok(places);
        }
        loop {
            let name: Name<'a> = self.name()?;
            places.push(u32::try_from(name.position).map_err(|_| self.error(JsonErrorKind::TooMany))?);
            self.want(b':')?;
            self.space();
            self.pos = scan::value_end(self.text.as_bytes(), self.pos);
            if !self.take(b',') {
                break;
            }
        }
        self.want(b'}')?;
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn it_is_the_canonical_form_of_the_tree() {
        for text in [
            "{\"b\":[1,-2,true,null],\"a\":\"x\\\"\\\\\\n\\u00e9\",\"\\u00e9\":{},\"Z\":\"\\u0001\",\"\\uD83D\\uDE00\":1,\"\\uFB01\":2}",
            " { \"b\" : [ ] , \"a\" : { \"d\" : { } , \"c\" : [ { \"y\" : false , \"x\" : 0 } , \"\" ] } } ",
            "[]",
            "{}",
            "\"\"",
            "0",
            "-9223372036854775808",
            "18446744073709551615",
            "true",
            " null ",
            "[[[],[{}]],{\"\":{\"\":\"\"}}]",
            "{\"\u{e9}\":1,\"e\u{301}\":2}",
            "{\"a\\u0062\":1,\"aa\":2,\"ab\\/\":3}",
        ] {
            let expected = parse(text.as_bytes()).unwrap().canonical();
            assert_eq!(canonical(text.as_bytes()).unwrap(), expected, "{text}");
            assert!(expected.len() <= text.len(), "{text}: never longer than the text");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(31), "[]".to_owned() + &"}".repeat(31));
        assert_eq!(canonical(deep.as_bytes()).unwrap(), parse(deep.as_bytes()).unwrap().canonical());
    }

    #[test]
    fn two_members_of_one_name_are_refused_here_too() {
        for text in ["{\"a\":1,\"a\":2}", "{\"b\":0,\"a\":1,\"\\u0061\":2}"] {
            assert_eq!(canonical(text.as_bytes()).unwrap_err().kind, JsonErrorKind::DuplicateMember, "{text}");
        }
    }
}
