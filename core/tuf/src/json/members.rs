//! The members of one object of a checked document, found by name without a copy of any: four bytes for each.
//!
//! INVARIANT: every position is that of a member's name in the document, which was walked to its end; positions are in the
//! order of what the names mean.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::cursor::{Cursor, Name};
use super::{JsonError, JsonErrorKind, scan};

#[derive(Clone)]
pub(crate) struct Members {
    document: Arc<[u8]>,
    positions: Vec<u32>,
    /// Behind the last member.
    end: usize,
    /// Whether they stand in the document in their order: then one ends where the next begins.
    in_order: bool,
    escaped: bool,
    // Names with escapes, as they are meant: made when somebody wants them all.
    texts: OnceLock<Vec<Box<str>>>,
}

impl Members {
    /// Walks an object of this document; `check` must walk over each value and refuse what does not belong there.
    #[inline]
    pub(crate) fn read<E: From<JsonError>>(
        cursor: &mut Cursor<'_>,
        document: &Arc<[u8]>,
        mut check: impl FnMut(&mut Cursor<'_>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut positions = Vec::new();
        let mut escaped = false;
        let in_order = cursor.members(|c, name| {
            positions.push(u32::try_from(name.position).map_err(|_| c.error(JsonErrorKind::TooMany))?);
            escaped |= name.plain().is_none();
            check(c)
        })?;
        let end = cursor.position();
        let document = Arc::clone(document);
        let mut members = Self { document, positions, end, in_order, escaped, texts: OnceLock::new() };
        members.positions.shrink_to_fit();
        if !in_order {
            let document = &*members.document;
            members.positions.sort_unstable_by(|a, b| name_at(document, *a).order(&name_at(document, *b)));
        }
        Ok(members)
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// The value of the member with this name.
    pub(crate) fn find(&self, name: &str) -> Option<Cursor<'_>> {
        let at = self.positions.binary_search_by(|position| name_at(&self.document, *position).compare(name)).ok()?;
        self.value(at)
    }

    /// The value of the member in this place.
    pub(crate) fn value(&self, at: usize) -> Option<Cursor<'_>> {
        let start = *self.positions.get(at)? as usize;
        let colon = scan::string_end(&self.document, start);
        let rest = self.document.get(colon..)?;
        let value = colon + rest.iter().position(|b| !matches!(b, b':' | b' ' | b'\n' | b'\r' | b'\t'))?;
        // Checked once with the document: it is read again, not judged again.
        Cursor::new(self.document.get(value..scan::value_end(&self.document, value))?).ok()
    }

    /// The name in this place.
    pub(crate) fn name(&self, at: usize) -> Option<Name<'_>> {
        self.positions.get(at).map(|position| name_at(&self.document, *position))
    }

    /// The name and all that follows up to the next one, as it stands there; `None` where that is not known cheaply. Equal
    /// pieces mean the same.
    #[inline]
    pub(crate) fn piece(&self, at: usize) -> Option<&[u8]> {
        if !self.in_order {
            return None;
        }
        let start = *self.positions.get(at)? as usize;
        let end = self.positions.get(at + 1).map_or(self.end, |next| *next as usize);
        self.document.get(start..end)
    }

    /// All names, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names_from(0)
    }

    /// The names that begin with this text, in their order: found by halving.
    pub(crate) fn names_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let before = |position: &u32| name_at(&self.document, *position).compare(prefix) == Ordering::Less;
        let names = self.names_from(self.positions.partition_point(before));
        names.take_while(move |name| name.starts_with(prefix))
    }

    fn names_from(&self, first: usize) -> impl Iterator<Item = &str> {
        let texts = if self.escaped { Some(self.texts.get_or_init(|| self.all_texts())) } else { None };
        (first..self.positions.len()).filter_map(move |at| match texts {
            Some(texts) => texts.get(at).map(|text| &**text),
            None => self.name(at)?.plain(),
        })
    }

    fn all_texts(&self) -> Vec<Box<str>> {
        self.positions.iter().map(|position| name_at(&self.document, *position).text().into()).collect()
    }
}

fn name_at(document: &[u8], position: u32) -> Name<'_> {
    let start = position as usize;
    let name = document.get(start..scan::string_end(document, start)).unwrap_or_default();
    Name::read(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn read(document: &str) -> Result<Members, JsonError> {
        let document: Arc<[u8]> = document.as_bytes().into();
        let mut cursor = Cursor::new(&document)?;
        let members = Members::read(&mut cursor, &document, |c| c.skip().map(drop))?;
        cursor.end()?;
        Ok(members)
    }

    fn number(members: &Members, name: &str) -> Option<u64> {
        members.find(name).map(|mut c| c.u64().unwrap())
    }

    #[test]
    fn a_name_that_is_written_in_another_way_is_a_duplicate_wherever_it_stands() {
        let kind = |document: &str| read(document).map(drop).map_err(|e| e.kind);
        for document in [
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":1,"a":2,"\u0062":3}"#,
            r#"{"\u0062":1,"a":2,"b":3}"#,
            r#"{"z":1,"\ud83d\ude00":2,"😀":3}"#,
            r#"{"z":0,"a\/b":1,"c":2,"a/b":3}"#,
            r#"{"z":0,"\"":1,"\u0022":3}"#,
            r#"{"z":0,"":1,"y":{"x":1},"":3}"#,
        ] {
            assert_eq!(kind(document), Err(JsonErrorKind::DuplicateMember), "{document}");
        }
        for document in
            [r#"{"b":1,"a":2,"\u00622":3}"#, r#"{"\\u0061":1,"a":2,"\\":3}"#, "{\"\u{e9}\":1,\"e\u{301}\":2,\"e\":3}"]
        {
            assert_eq!(kind(document), Ok(()), "{document}");
        }
    }

    #[test]
    fn members_out_of_order_are_found_and_given_in_order() {
        let members = read(r#"{ "b" : 2, "a\n" :1 , "c":[3], "\u0061":0}"#).unwrap();
        assert_eq!(members.names().collect::<Vec<_>>(), ["a", "a\n", "b", "c"]);
        assert_eq!(members.names_below("a").collect::<Vec<_>>(), ["a", "a\n"]);
        assert_eq!(["a", "a\n", "b"].map(|name| number(&members, name)), [Some(0), Some(1), Some(2)]);
        assert!(members.find("d").is_none() && members.find("").is_none());
        assert!(members.piece(0).is_none(), "where one begins says nothing of where another ends");
    }

    #[test]
    fn pieces_hold_a_member_and_nothing_of_the_next_one() {
        let members = read(r#"{"a":1,"b":{"c":"}"},"d":3}"#).unwrap();
        let pieces = (0..4).map(|at| members.piece(at).map(|p| String::from_utf8_lossy(p).into_owned()));
        assert_eq!(
            pieces.collect::<Vec<_>>(),
            [Some(r#""a":1,"#.to_owned()), Some(r#""b":{"c":"}"},"#.to_owned()), Some(r#""d":3}"#.to_owned()), None]
        );
    }

    /// A name, with some of its characters escaped.
    fn written(name: &str, escaped: &[bool]) -> String {
        let mut units = [0; 2];
        let mut out = String::from('"');
        for (at, c) in name.chars().enumerate() {
            if matches!(c, '"' | '\\') || c < ' ' || escaped.get(at).copied().unwrap_or_default() {
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            } else {
                out.push(c);
            }
        }
        out.push('"');
        out
    }

    proptest! {
        #[test]
        fn an_object_is_read_exactly_if_no_two_names_mean_the_same(
            names in prop::collection::vec(("[ab\"\\\\\u{1}é😀]{0,3}", prop::collection::vec(any::<bool>(), 3)), 0..6)
        ) {
            let members = names.iter().enumerate().map(|(n, (name, escaped))| format!("{}:{n}", written(name, escaped)));
            let document = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            let expected: BTreeMap<&str, usize> = names.iter().enumerate().map(|(n, (name, _))| (name.as_str(), n)).collect();
            match read(&document) {
                Ok(members) => {
                    prop_assert_eq!(expected.len(), names.len());
                    prop_assert_eq!(members.names().collect::<Vec<_>>(), expected.keys().copied().collect::<Vec<_>>());
                    for (name, n) in expected {
                        prop_assert_eq!(number(&members, name), Some(n as u64));
                    }
                }
                Err(error) => {
                    prop_assert_eq!(error.kind, JsonErrorKind::DuplicateMember);
                    prop_assert!(expected.len() < names.len());
                }
            }
        }
    }
}
