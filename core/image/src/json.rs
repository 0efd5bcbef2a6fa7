//! Strict reading of JSON that a registry serves: bounded depth, bounded size, no member twice.
//!
//! Two readers of one document must not see two documents. Go's decoder (Docker, containerd) takes the last of two equal
//! members and matches names without regard to case; so a duplicate member is refused here, and [`member`] refuses an
//! object that holds a second spelling of the name that is asked for. Deliberately absent: canonical JSON and
//! anything that is signed by TUF (crate trust-tuf).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 32;
/// Values (of any kind) in one document; a small file must not become a huge tree.
pub const MAX_VALUES: usize = 200_000;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or bytes follow the first value.
    #[error("not valid JSON (line {line}, column {column})")]
    Syntax {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1 (0 before the first character).
        column: usize,
    },
    /// The document ends in the middle.
    #[error("the JSON document is cut off")]
    Truncated,
    /// A member is named twice in one object.
    #[error("a member appears twice in one JSON object")]
    DuplicateMember,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("the JSON document is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More values than [`MAX_VALUES`].
    #[error("the JSON document holds more than {MAX_VALUES} values")]
    TooManyValues,
    /// An object holds a name that other readers take for `name` (other case, or a letter that folds to it).
    #[error("the JSON object holds a second spelling of \"{name}\"")]
    SecondSpelling {
        /// The exact name that we read.
        name: &'static str,
    },
}

/// Reads one JSON document. The caller has limited its length.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    parse_without(bytes, &[])
}

/// The same, for a reader of a few members of large documents: the values of members with these names, wherever they stand,
/// are held to the same rules, and then null takes their place.
pub fn parse_without(bytes: &[u8], unread: &'static [&'static str]) -> Result<Value, JsonError> {
    let mut budget = Budget { left: MAX_VALUES, broken: None, unread };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let result = Node { depth: 0, budget: &mut budget }.deserialize(&mut reader);
    let value = match result {
        Ok(value) => value,
        Err(error) => return Err(budget.broken.take().unwrap_or_else(|| named(&error))),
    };
    reader.end().map_err(|error| named(&error))?;
    Ok(value)
}

/// The member `name` of an object, if it is there under exactly this name. An object that also, or only, holds another
/// spelling that Go's decoder would take for it is refused.
pub fn member<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a Value>, JsonError> {
    if object.keys().any(|key| key != name && folds_to(key, name)) {
        return Err(JsonError::SecondSpelling { name });
    }
    Ok(object.get(name))
}

/// Whether Go's `encoding/json` matches `key` to the field `name`: simple folding, in which U+017F is an `s` and U+212A a `k`.
fn folds_to(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

fn named(error: &serde_json::Error) -> JsonError {
    if error.is_eof() { JsonError::Truncated } else { JsonError::Syntax { line: error.line(), column: error.column() } }
}

struct Budget {
    left: usize,
    broken: Option<JsonError>,
    unread: &'static [&'static str],
}

impl Budget {
    fn take<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(self.refuse(JsonError::TooManyValues)),
        }
        Ok(())
    }

    fn refuse<E: serde::de::Error>(&mut self, reason: JsonError) -> E {
        let error = E::custom(&reason);
        self.broken = Some(reason);
        error
    }
}

struct Node<'b> {
    depth: usize,
    budget: &'b mut Budget,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // Only members that we never read hold fractions; a value out of range cannot come out of the parser.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.budget.refuse(JsonError::TooDeep));
        }
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Node { depth: self.depth + 1, budget: self.budget })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.budget.refuse(JsonError::TooDeep));
        }
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let depth = self.depth + 1;
            let value = match self.budget.unread.contains(&name.as_str()) {
                false => map.next_value_seed(Node { depth, budget: self.budget })?,
                true => {
                    map.next_value_seed(Unread { depth, budget: self.budget })?;
                    Value::Null
                }
            };
            if members.insert(name, value).is_some() {
                return Err(self.budget.refuse(JsonError::DuplicateMember));
            }
        }
        Ok(Value::Object(members))
    }
}

/// A value that is checked as [`Node`] does and not kept.
struct Unread<'b> {
    depth: usize,
    budget: &'b mut Budget,
}

impl<'de> DeserializeSeed<'de> for Unread<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.budget.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unread<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.budget.refuse(JsonError::TooDeep));
        }
        while seq.next_element_seed(Unread { depth: self.depth + 1, budget: self.budget })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.budget.refuse(JsonError::TooDeep));
        }
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            map.next_value_seed(Unread { depth: self.depth + 1, budget: self.budget })?;
            names.push(name);
        }
        names.sort_unstable();
        match names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            true => Err(self.budget.refuse(JsonError::DuplicateMember)),
            false => Ok(()),
        }
    }
}

/// A member's name, copied only if it holds an escape.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn duplicate_members_are_refused_at_any_depth_and_by_escape() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::DuplicateMember), "{text}");
        }
    }

    #[test]
    fn depth_is_limited_exactly() {
        let nest = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nest(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nest(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        let objects = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        assert_eq!(parse(objects.as_bytes()), Err(JsonError::TooDeep));
        // far deeper than the stack of a naive reader
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn a_bomb_of_small_values_is_refused() {
        let bomb = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(bomb.as_bytes()), Err(JsonError::TooManyValues));
    }

    #[test]
    fn trailing_bytes_byte_order_mark_and_bad_utf8_are_refused() {
        for bytes in [
            &b"{} {}"[..],
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"NaN",
            b"1e999",
        ] {
            assert!(matches!(parse(bytes), Err(JsonError::Syntax { .. })), "{bytes:?} {:?}", parse(bytes));
        }
        for bytes in [&b""[..], b"{", b"{\"a\":", b"\"abc"] {
            assert_eq!(parse(bytes), Err(JsonError::Truncated), "{bytes:?}");
        }
    }

    #[test]
    fn a_second_spelling_that_go_would_take_is_refused() {
        for key in ["labels", "LABELS", "Label\u{17f}"] {
            let object: Map<String, Value> =
                [("Labels", 1), (key, 2)].into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
            assert_eq!(member(&object, "Labels"), Err(JsonError::SecondSpelling { name: "Labels" }), "{key}");
            let alone: Map<String, Value> = [(key.to_owned(), Value::Null)].into_iter().collect();
            assert_eq!(member(&alone, "Labels"), Err(JsonError::SecondSpelling { name: "Labels" }), "{key}");
        }
        let plain: Map<String, Value> =
            [("Labels".to_owned(), Value::Null), ("Label".to_owned(), Value::Null)].into_iter().collect();
        assert_eq!(member(&plain, "Labels"), Ok(Some(&Value::Null)));
        assert_eq!(member(&plain, "other"), Ok(None));
    }

    #[test]
    fn what_is_not_read_is_held_to_the_same_rules() {
        let nest = |n: usize| format!("{{\"x\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        let bomb = format!("{{\"x\":[{}0]}}", "0,".repeat(MAX_VALUES));
        for text in [
            r#"{"x":{"a":1,"a":1}}"#,
            r#"{"x":[{"b":{"a":1,"c":2,"\u0061":3}}]}"#,
            r#"{"x":1,"x":2}"#,
            r#"{"x":{"a":1,}}"#,
            r#"{"x":"\ud800"}"#,
            r#"{"x":1e999}"#,
            r#"{"x":{"a""#,
            &nest(MAX_DEPTH),
            &bomb,
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(parse_without(text.as_bytes(), &["x"]).unwrap_err(), error, "{:.80}", text);
        }
        let read = parse_without(nest(MAX_DEPTH - 1).as_bytes(), &["x"]).unwrap();
        assert_eq!(read, serde_json::json!({"x": null}));
        let text = r#"[{"y":{"x":{"z":1},"a":[1.5,"b",true,null,-1]}}]"#;
        assert_eq!(
            parse_without(text.as_bytes(), &["x"]).unwrap(),
            serde_json::json!([{"y": {"x": null, "a": [1.5, "b", true, null, -1]}}])
        );
    }

    proptest! {
        #[test]
        fn a_document_is_refused_alike_whether_a_member_is_read_or_not(text in "[\\[\\]{}:,\"xy1]{0,60}") {
            let (whole, part) = (parse(text.as_bytes()), parse_without(text.as_bytes(), &["x"]));
            prop_assert_eq!(whole.is_ok(), part.is_ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_read_equals_what_serde_json_reads(keys in proptest::collection::btree_map("[a-z]{1,4}", any::<i64>(), 0..6)) {
            let text = serde_json::to_vec(&keys).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), serde_json::from_slice::<Value>(&text).unwrap());
        }
    }
}
