//! Strict reading of JSON that a registry serves: bounded depth, bounded size, no member twice.
//!
//! Two readers of one document must not see two documents. Go's decoder (Docker, containerd) takes the last of two equal
//! members and matches names without regard to case; so a duplicate member is refused here, and [`member`] refuses an
//! object that holds a second spelling of the name that is asked for. What a reader does not ask for costs no memory
//! ([`parse_only`]). Deliberately absent: canonical JSON and anything that is signed by TUF (crate trust-tuf).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
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
    /// More values than are read: [`MAX_VALUES`], if the reader does not say another number.
    #[error("the JSON document holds more than {max} values")]
    TooManyValues {
        /// The limit.
        max: usize,
    },
    /// An object holds a name that other readers take for `name` (other case, or a letter that folds to it).
    #[error("the JSON object holds a second spelling of \"{name}\"")]
    SecondSpelling {
        /// The exact name that we read.
        name: &'static str,
    },
}

/// Reads one JSON document. The caller has limited its length.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    read(&mut serde_json::Deserializer::from_slice(bytes), MAX_VALUES, None)
}

/// The same, for a reader of a few members of large documents: only members with these names, wherever they stand, are
/// kept, also under other spellings that [`member`] then sees. What is dropped is JSON and no more: it is not counted,
/// may be deep, and may name a member twice. At most `max_values` values are kept.
pub fn parse_only(bytes: &[u8], names: &[&str], max_values: usize) -> Result<Value, JsonError> {
    // What is passed over is not looked at for this.
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Syntax { line: 0, column: 0 })?;
    read(&mut serde_json::Deserializer::from_str(text), max_values, Some(Only::new(names)))
}

fn read<'de, R: serde_json::de::Read<'de>>(
    reader: &mut serde_json::Deserializer<R>,
    max_values: usize,
    only: Option<Only<'_>>,
) -> Result<Value, JsonError> {
    let mut budget = Budget { max: max_values, left: max_values, broken: None, only };
    let result = Node { depth: 0, budget: &mut budget }.deserialize(&mut *reader);
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
    let mut found = None;
    for (key, value) in object {
        if key == name {
            found = Some(value);
        } else if folds_to(key, name) {
            return Err(JsonError::SecondSpelling { name });
        }
    }
    Ok(found)
}

/// Whether Go's `encoding/json` matches `key` to the field `name`: simple folding, in which U+017F is an `s` and U+212A a `k`.
pub fn folds_to(key: &str, name: &str) -> bool {
    if key.len() == name.len() && key.eq_ignore_ascii_case(name) {
        return true;
    }
    if key.is_ascii() {
        return false;
    }
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

struct Budget<'n> {
    max: usize,
    left: usize,
    broken: Option<JsonError>,
    only: Option<Only<'n>>,
}

/// Names of members, sorted so that most others are told from them by their length and first letter alone.
struct Only<'n> {
    names: &'n [&'n str],
    /// By length: a bit for each first letter, whatever its case.
    first: [u32; LENGTHS],
}

/// Lengths of names that are told apart; longer ones are one.
const LENGTHS: usize = 32;

impl<'n> Only<'n> {
    fn new(names: &'n [&'n str]) -> Self {
        let mut first = [0; LENGTHS];
        for name in names {
            let (length, letter) = Self::place(name);
            first.iter_mut().skip(length).take(1).for_each(|letters| *letters |= letter);
        }
        Self { names, first }
    }

    /// Where a name stands. Letters that differ in case alone stand at one place; so do others, which is no harm.
    fn place(name: &str) -> (usize, u32) {
        let letter = name.bytes().next().unwrap_or_default() & 0x1f;
        (name.len().min(LENGTHS - 1), 1 << letter)
    }

    fn holds(&self, name: &str) -> bool {
        // As `folds_to`, for many names: almost every name is ASCII, and begins otherwise than those of its length.
        if !name.is_ascii() {
            return self.names.iter().any(|kept| folds_to(name, kept));
        }
        let (length, letter) = Self::place(name);
        self.first.get(length).is_some_and(|letters| letters & letter != 0)
            && self.names.iter().any(|kept| kept.eq_ignore_ascii_case(name))
    }
}

impl Budget<'_> {
    fn take<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(self.refuse(JsonError::TooManyValues { max: self.max })),
        }
        Ok(())
    }

    fn keeps(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.holds(name))
    }

    fn refuse<E: serde::de::Error>(&mut self, reason: JsonError) -> E {
        let error = E::custom(&reason);
        self.broken = Some(reason);
        error
    }
}

struct Node<'b, 'n> {
    depth: usize,
    budget: &'b mut Budget<'n>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
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
        while let Some(name) = map.next_key_seed(Name)? {
            if !self.budget.keeps(&name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(Node { depth: self.depth + 1, budget: self.budget })?;
            if members.insert(name.into_owned(), value).is_some() {
                return Err(self.budget.refuse(JsonError::DuplicateMember));
            }
        }
        Ok(Value::Object(members))
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
        assert_eq!(parse(bomb.as_bytes()), Err(JsonError::TooManyValues { max: MAX_VALUES }));
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
    fn what_is_kept_is_held_to_the_rules_and_what_is_dropped_does_not_count() {
        let only = |text: &str| parse_only(text.as_bytes(), &["x", "k"], 10);
        for text in [r#"{"x":1,"x":2}"#, r#"{"a":{},"x":{"k":1,"\u006b":2}}"#, r#"{"x":[{"k":1,"a":2,"k":3}]}"#] {
            assert_eq!(only(text), Err(JsonError::DuplicateMember), "{text}");
        }
        for text in [r#"{"a":{"b":1,}}"#, r#"{"a":[1}"#, r#"{"a":1}}"#, "{\"a\":\"\n\"}", r#"{"a":"\u00"}"#] {
            assert!(matches!(only(text), Err(JsonError::Syntax { .. })), "{text}");
        }
        assert!(matches!(parse_only(b"{\"a\":\"\xff\"}", &["x"], 10), Err(JsonError::Syntax { .. })));
        let nest = |name: &str, n: usize| format!("{{\"{name}\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(parse_only(nest("x", MAX_DEPTH).as_bytes(), &["x"], 99), Err(JsonError::TooDeep));
        assert_eq!(only(&nest("a", 100_000)), Ok(serde_json::json!({})));
        assert_eq!(only(&format!("{{\"x\":[{}0]}}", "0,".repeat(8))), Err(JsonError::TooManyValues { max: 10 }));
        assert_eq!(only(&format!("{{\"a\":[{}0],\"x\":2}}", "0,".repeat(300_000))), Ok(serde_json::json!({"x": 2})));
        assert_eq!(only(r#"{"x":{"a":1,"b":2,"a":3}}"#), Ok(serde_json::json!({"x": {}})));
    }

    proptest! {
        #[test]
        fn names_are_kept_as_folding_says(kept in "[a-zA-Zſ@K/.]{0,40}", name in "[a-zA-Zſ@K`/.]{0,40}", same in any::<bool>()) {
            let name = if same { kept.to_ascii_uppercase() } else { name };
            prop_assert_eq!(Only::new(&["other", &kept]).holds(&name), folds_to(&name, "other") || folds_to(&name, &kept));
        }
    }

    #[test]
    fn another_spelling_of_a_kept_name_is_kept_for_whoever_asks() {
        for key in ["X-Kinds", "x-\u{212a}ind\u{17f}", "X-KINDS", "\\u0058-kinds"] {
            let read = parse_only(format!("{{\"{key}\":1}}").as_bytes(), &["x-kinds"], 10).unwrap();
            assert_eq!(
                member(read.as_object().unwrap(), "x-kinds"),
                Err(JsonError::SecondSpelling { name: "x-kinds" }),
                "{key}"
            );
        }
    }

    fn pruned(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                Value::Object(members.into_iter().filter(|(k, _)| k == "x").map(|(k, v)| (k, pruned(v))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
            other => other,
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_of_a_good_document_is_what_it_holds(text in "[\\[\\]{}:,\"xy1]{0,60}|(\\{\"[xy]\":){0,4}[1\\[\\]]{1,3}\\}{0,4}") {
            if let Ok(whole) = parse(text.as_bytes()) {
                prop_assert_eq!(parse_only(text.as_bytes(), &["x"], MAX_VALUES), Ok(pruned(whole)));
            }
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
