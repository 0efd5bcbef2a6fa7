//! Strict JSON and the canonical form that is signed (OLPC dialect as in securesystemslib).
//!
//! One reader serves two purposes: [`parse`] builds a tree, and the crate's own `Cursor` walks a document without
//! building anything, while it checks everything and notices whether the bytes are canonical already.
//! Refused at any depth: duplicate members, floats, exponents, `-0`, integers outside i64/u64, invalid UTF-8, lone
//! surrogates, a byte order mark, trailing bytes, control characters in strings, nesting over 32.

mod cursor;
mod members;
mod scan;
mod value;

pub(crate) use cursor::{Cursor, canonical};
pub(crate) use members::Members;
pub use value::Value;

/// Why a document is not read, and where (byte offset).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// The reason.
    pub kind: JsonErrorKind,
    /// Offset of the byte at which it was noticed.
    pub offset: usize,
}

/// The reasons for which a document is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// Two members of one object have the same name.
    #[error("duplicate member")]
    DuplicateMember,
    /// More values than the caller allows.
    #[error("too many values")]
    TooMany,
    /// Arrays and objects are nested deeper than the limit.
    #[error("nesting deeper than {}", crate::limits::JSON_DEPTH)]
    TooDeep,
    /// A number that is not a plain decimal integer within i64 or u64.
    #[error("number that is not a plain 64-bit integer")]
    NotAnInteger,
    /// The document is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A string holds a lone surrogate, an unknown escape or a raw control character.
    #[error("malformed string")]
    BadString,
    /// Bytes after the document.
    #[error("trailing bytes")]
    Trailing,
    /// Anything else that is not JSON, or that ends too early.
    #[error("malformed JSON")]
    Syntax,
    /// A value of another type than the format wants here.
    #[error("expected {0}")]
    Expected(&'static str),
}

/// Reads one document strictly.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut cursor = Cursor::new(bytes)?;
    let value = cursor.value()?;
    cursor.end()?;
    Ok(value)
}

/// Whether [`parse`] would read the document, and it holds at most `most` values. Builds nothing: the tree of a hostile
/// document, or the maps that another reader makes of it, would be many times its size.
pub fn check(bytes: &[u8], most: usize) -> Result<(), JsonError> {
    let mut cursor = Cursor::new(bytes)?.at_most(most);
    cursor.skip()?;
    cursor.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_of_the_reference_vector() {
        let text = "{\"b\":[1,-2,true,null],\"a\":\"x\\\"\\\\\\n\\u00e9\",\"\\u00e9\":{},\"Z\":\"\\u0001\",\"\\uD83D\\uDE00\":1,\"\\uFB01\":2}";
        let canonical = parse(text.as_bytes()).unwrap().canonical();
        assert_eq!(
            String::from_utf8(canonical.clone()).unwrap(),
            "{\"Z\":\"\u{1}\",\"a\":\"x\\\"\\\\\né\",\"b\":[1,-2,true,null],\"é\":{},\"ﬁ\":2,\"😀\":1}"
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &canonical);
        assert_eq!(hex::encode(digest.as_ref()), "5c51fc612f217cfa7d423d36b04dfb12309e14ff549e0614e880ba79edeb8f69");
    }

    #[test]
    fn composed_and_decomposed_keys_stay_two_members() {
        let value = parse("{\"\u{e9}\":1,\"e\u{301}\":2}".as_bytes()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 2);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        use JsonErrorKind::*;
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(32).as_bytes()).is_ok());
        let cases: Vec<(Vec<u8>, JsonErrorKind)> = vec![
            (br#"{"a":1,"a":1}"#.to_vec(), DuplicateMember),
            (br#"{"b":1,"a":{},"b":2}"#.to_vec(), DuplicateMember),
            (br#"{"a":1,"\u0061":1}"#.to_vec(), DuplicateMember),
            (br#"[{"x":{"z":1,"y":2,"z":3}}]"#.to_vec(), DuplicateMember),
            (deep(33).into_bytes(), TooDeep),
            (deep(1_000_000).into_bytes(), TooDeep),
            (b"[1.0]".to_vec(), NotAnInteger),
            (b"1e3".to_vec(), NotAnInteger),
            (b"1e400".to_vec(), NotAnInteger),
            (b"-0".to_vec(), NotAnInteger),
            (b"01".to_vec(), NotAnInteger),
            (b"18446744073709551616".to_vec(), NotAnInteger),
            (b"-9223372036854775809".to_vec(), NotAnInteger),
            (b"-".to_vec(), NotAnInteger),
            (b"NaN".to_vec(), Syntax),
            (b"\xef\xbb\xbf{}".to_vec(), Syntax),
            (b"\"\xff\"".to_vec(), Utf8),
            (b"{\x00}".to_vec(), Syntax),
            (br#""\ud800""#.to_vec(), BadString),
            (br#""\ud800\u0041""#.to_vec(), BadString),
            (br#""\udc00""#.to_vec(), BadString),
            (br#""\x""#.to_vec(), BadString),
            (b"\"a\nb\"".to_vec(), BadString),
            (b"{} x".to_vec(), Trailing),
            (b"{}{}".to_vec(), Trailing),
            (b"".to_vec(), Syntax),
            (b"{\"a\"".to_vec(), Syntax),
            (b"[1,]".to_vec(), Syntax),
            (b"{\"a\":1,}".to_vec(), Syntax),
            (b"{a:1}".to_vec(), Syntax),
            (b"tru".to_vec(), Syntax),
        ];
        for (text, kind) in cases {
            let shown = String::from_utf8_lossy(text.get(..text.len().min(40)).unwrap()).into_owned();
            assert_eq!(parse(&text).map_err(|e| e.kind), Err(kind), "{shown}");
        }
    }

    #[test]
    fn a_document_of_too_many_values_is_refused_before_it_is_built() {
        let document = format!("[{}1]", "1,".repeat(99));
        assert_eq!(check(document.as_bytes(), 101), Ok(()));
        assert_eq!(check(document.as_bytes(), 100).map_err(|e| e.kind), Err(JsonErrorKind::TooMany));
    }

    #[test]
    fn integers_at_the_border_keep_their_value() {
        for text in [
            "0",
            "-1",
            "2147483648",
            "9007199254740993",
            "9223372036854775808",
            "18446744073709551615",
            "-9223372036854775808",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().canonical(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_written_as_json_is_read_back() {
        let value = Value::object([("pem", Value::from("-----BEGIN\nx\t\u{1}\"\\é")), ("n", Value::from(7_u64))]);
        assert_eq!(parse(&value.to_json()).unwrap(), value);
    }

    #[test]
    fn the_cursor_knows_canonical_bytes() {
        let canonical = |text: &str| {
            let mut c = Cursor::new(text.as_bytes()).unwrap();
            c.watch_canonical();
            c.skip().unwrap();
            c.end().unwrap();
            c.is_canonical()
        };
        assert!(canonical(r#"{"a":[1,2,{}],"b":"x\"\\é"}"#));
        for text in [
            r#"{"a": 1}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":"\u0061"}"#,
            r#"{"a":"\/"}"#,
            "[1, 2]",
            r#"{"\u0061":1}"#,
        ] {
            assert!(!canonical(text), "{text}");
        }
    }
}
