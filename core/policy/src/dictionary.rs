//! The dictionary: which label keys carry meaning, which values they may have, and where each value is fit to run.
//!
//! Several files are one dictionary. Invariant: a key stands in it once, and a text names one value of a key at most, as
//! itself or as an alias; values are compared exactly, byte for byte, and nothing is folded, trimmed or guessed.
//! Deliberately absent: what follows from a value (that is for the rules).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trust_image::json::{self, JsonError};

use crate::environment::Cloud;
use crate::text;

/// Largest dictionary file, in bytes.
pub const MAX_FILE_LEN: usize = 256 * 1024;
/// Governed keys of one dictionary.
pub const MAX_KEYS: usize = 256;
/// Values of one key, and aliases of one key.
pub const MAX_VALUES: usize = 1_024;
/// Longest key, value or alias, in bytes.
pub const MAX_WORD_LEN: usize = 255;
/// Longest description or owner, in bytes.
pub const MAX_TEXT_LEN: usize = 1_024;
/// What the member `schema` of a file says.
pub const SCHEMA: &str = "trust/labels/v1";

/// A file of the dictionary: `labels/NAME.json`, published as `_labels/NAME.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DictionaryFile {
    /// `trust/labels/v1`.
    pub schema: SchemaName,
    /// The governed keys: `com.example.data`.
    pub labels: BTreeMap<String, Governed>,
}

/// The form of a dictionary file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaName {
    /// This form.
    #[serde(rename = "trust/labels/v1")]
    V1,
}

/// What a governed key may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Governed {
    /// What the key means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom to ask for another value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The allowed values.
    pub values: BTreeMap<String, Value>,
}

/// One allowed value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The kinds of cloud that an image with this value is fit for.
    pub fit: BTreeSet<Cloud>,
    /// Other spellings that mean this value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// All governed keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    keys: HashMap<String, Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    owner: Option<String>,
    /// Values and aliases.
    words: HashMap<String, Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    value: String,
    public: bool,
    private: bool,
}

/// What a label means by the dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The key is not governed: the value stands for itself.
    Free,
    /// The value, after aliases.
    Value {
        /// As the dictionary spells it.
        value: &'a str,
        /// Whether it is fit for the cloud that was asked for.
        fit: bool,
    },
    /// The key is governed and does not have this value.
    Outside {
        /// Whom to ask.
        owner: Option<&'a str>,
    },
}

/// Why a dictionary was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryError {
    /// More than [`MAX_FILE_LEN`] bytes.
    #[error("the file is longer than {MAX_FILE_LEN} bytes")]
    TooLong,
    /// Not acceptable as JSON: a member given twice, too deep, cut off.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member is absent, unknown or of another type; the text says which.
    #[error("{0}")]
    Shape(String),
    /// More than [`MAX_KEYS`].
    #[error("a dictionary has at most {MAX_KEYS} keys")]
    TooManyKeys,
    /// A key stands in two files.
    #[error("the key {key} stands in two files")]
    KeyTwice {
        /// The key, escaped.
        key: String,
    },
    /// A key without values would refuse every image that carries it.
    #[error("the key {key} has no values")]
    NoValues {
        /// The key, escaped.
        key: String,
    },
    /// More than [`MAX_VALUES`] values and aliases.
    #[error("the key {key} has more than {MAX_VALUES} values and aliases")]
    TooManyValues {
        /// The key, escaped.
        key: String,
    },
    /// One text is two values, or alias of two, or alias and value.
    #[error("the key {key} has {word} twice, as value or alias")]
    WordTwice {
        /// The key, escaped.
        key: String,
        /// The text, escaped.
        word: String,
    },
    /// A key, value or alias is empty, longer than [`MAX_WORD_LEN`] bytes, has blanks around it or invisible characters.
    #[error(
        "{word} is empty, longer than {MAX_WORD_LEN} bytes, or has blanks at its ends, control or invisible characters"
    )]
    Word {
        /// The text, escaped.
        word: String,
    },
    /// A description or owner is longer than [`MAX_TEXT_LEN`] bytes.
    #[error("a description or owner of the key {key} is longer than {MAX_TEXT_LEN} bytes")]
    Text {
        /// The key, escaped.
        key: String,
    },
}

impl Dictionary {
    /// Adds the content of one file.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), DictionaryError> {
        if bytes.len() > MAX_FILE_LEN {
            return Err(DictionaryError::TooLong);
        }
        let value = json::parse(bytes)?;
        let file: DictionaryFile =
            serde_json::from_value(value).map_err(|e| DictionaryError::Shape(text::printable(&e.to_string())))?;
        for (name, governed) in file.labels {
            let key = read_key(&name, governed)?;
            if self.keys.insert(name.clone(), key).is_some() {
                return Err(DictionaryError::KeyTwice { key: text::quoted(&name) });
            }
            if self.keys.len() > MAX_KEYS {
                return Err(DictionaryError::TooManyKeys);
            }
        }
        Ok(())
    }

    /// Whether this key is governed.
    pub fn governs(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The governed keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter()
    }

    /// The values of a governed key as the dictionary spells them, sorted; none if the key is not governed.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let words = self.keys.get(key).into_iter().flat_map(|key| key.words.values());
        words.map(|word| word.value.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// What a label means; what signing and deciding ask.
    pub fn meaning(&self, key: &str, value: &str, cloud: Cloud) -> Meaning<'_> {
        let Some(key) = self.keys.get(key) else {
            return Meaning::Free;
        };
        match key.words.get(value) {
            None => Meaning::Outside { owner: key.owner.as_deref() },
            Some(word) => {
                let fit = match cloud {
                    Cloud::Public => word.public,
                    Cloud::Private => word.private,
                };
                Meaning::Value { value: &word.value, fit }
            }
        }
    }

    /// What loads but is probably not meant: values of one key that differ in case alone and mean different things.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in self.keys() {
            let mut folded: BTreeMap<String, &str> = BTreeMap::new();
            for value in self.values(name) {
                if let Some(other) = folded.insert(value.to_lowercase(), value) {
                    warnings.push(format!(
                        "the values {} and {} of the key {} differ in case alone",
                        text::quoted(other),
                        text::quoted(value),
                        text::quoted(name)
                    ));
                }
            }
        }
        warnings
    }
}

fn read_key(name: &str, governed: Governed) -> Result<Key, DictionaryError> {
    check_word(name)?;
    let key = || text::quoted(name);
    if [&governed.description, &governed.owner].into_iter().flatten().any(|t| t.len() > MAX_TEXT_LEN) {
        return Err(DictionaryError::Text { key: key() });
    }
    if governed.values.is_empty() {
        return Err(DictionaryError::NoValues { key: key() });
    }
    let mut words = HashMap::new();
    for (value, Value { fit, aliases }) in governed.values {
        let word = Word { value, public: fit.contains(&Cloud::Public), private: fit.contains(&Cloud::Private) };
        for spelling in aliases.into_iter().chain([word.value.clone()]) {
            check_word(&spelling)?;
            if words.len() >= MAX_VALUES {
                return Err(DictionaryError::TooManyValues { key: key() });
            }
            let shown = text::quoted(&spelling);
            if words.insert(spelling, word.clone()).is_some() {
                return Err(DictionaryError::WordTwice { key: key(), word: shown });
            }
        }
    }
    Ok(Key { owner: governed.owner, words })
}

fn check_word(word: &str) -> Result<(), DictionaryError> {
    let fits = !word.is_empty()
        && word.len() <= MAX_WORD_LEN
        && word.trim() == word
        && !word.chars().any(text::is_unprintable);
    if fits { Ok(()) } else { Err(DictionaryError::Word { word: text::quoted(word) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(values: serde_json::Value) -> serde_json::Value {
        json!({"schema": SCHEMA, "labels": {"com.example.data": {"values": values}}})
    }

    fn read(file: &serde_json::Value) -> Result<Dictionary, DictionaryError> {
        let mut dictionary = Dictionary::default();
        dictionary.add(&serde_json::to_vec(file).unwrap())?;
        Ok(dictionary)
    }

    fn good() -> serde_json::Value {
        data(json!({"public": {"fit": ["public", "private"]}, "PII": {"fit": ["private"], "aliases": ["pii"]}}))
    }

    #[test]
    fn a_key_given_twice_is_refused_in_one_file_and_in_two() {
        let text = r#"{"schema":"trust/labels/v1","labels":{"k":{"values":{"PII":{"fit":["private"]}}},"k":{"values":{"PII":{"fit":["public"]}}}}}"#;
        let refused = Dictionary::default().add(text.as_bytes());
        assert_eq!(refused, Err(DictionaryError::Json(JsonError::DuplicateMember)));
        let mut dictionary = read(&good()).unwrap();
        let again = dictionary.add(&serde_json::to_vec(&data(json!({"PII": {"fit": ["public"]}}))).unwrap());
        assert_eq!(again, Err(DictionaryError::KeyTwice { key: "\"com.example.data\"".to_owned() }));
    }

    #[test]
    fn a_text_that_would_mean_two_values_is_refused() {
        let refused = |values| matches!(read(&data(values)), Err(DictionaryError::WordTwice { .. }));
        assert!(refused(json!({"a": {"fit": [], "aliases": ["b"]}, "b": {"fit": ["public"]}})));
        assert!(refused(json!({"a": {"fit": [], "aliases": ["c"]}, "b": {"fit": ["public"], "aliases": ["c"]}})));
        assert!(refused(json!({"a": {"fit": [], "aliases": ["a"]}})));
        assert!(refused(json!({"a": {"fit": [], "aliases": ["c", "c"]}})));
        let twice = r#"{"schema":"trust/labels/v1","labels":{"k":{"values":{"PII":{"fit":["private"]},"PII":{"fit":["public"]}}}}}"#;
        let refused = Dictionary::default().add(twice.as_bytes());
        assert_eq!(refused, Err(DictionaryError::Json(JsonError::DuplicateMember)));
    }

    #[test]
    fn words_that_nobody_could_tell_apart_are_refused() {
        for word in ["", "PII ", " PII", "P\u{200b}II", "PI\nI", "\u{202e}IIP", &"a".repeat(MAX_WORD_LEN + 1)] {
            let refused = |file| matches!(read(&file), Err(DictionaryError::Word { .. }));
            assert!(refused(data(json!({word: {"fit": []}}))), "value {word:?}");
            assert!(refused(data(json!({"a": {"fit": [], "aliases": [word]}}))), "alias {word:?}");
            assert!(
                refused(json!({"schema": SCHEMA, "labels": {word: {"values": {"a": {"fit": []}}}}})),
                "key {word:?}"
            );
        }
    }

    #[test]
    fn misspelt_members_clouds_and_schemas_are_refused() {
        let shapes = [
            data(json!({"a": {"fit": ["public"], "alias": ["b"]}})),
            data(json!({"a": {"fit": ["Public"]}})),
            data(json!({"a": {"fit": "public"}})),
            data(json!({"a": {}})),
            data(json!({"a": ["public"]})),
            json!({"schema": "trust/labels/v2", "labels": {}}),
            json!({"labels": {}}),
            json!({"schema": SCHEMA}),
            json!({"schema": SCHEMA, "labels": {}, "more": 1}),
            json!([]),
        ];
        for shape in shapes {
            assert!(matches!(read(&shape), Err(DictionaryError::Shape(_))), "{shape}");
        }
        let no_values = data(json!({}));
        assert_eq!(read(&no_values), Err(DictionaryError::NoValues { key: "\"com.example.data\"".to_owned() }));
    }

    #[test]
    fn huge_dictionaries_are_refused_with_the_limit_that_they_break() {
        let long = vec![b' '; MAX_FILE_LEN + 1];
        assert_eq!(Dictionary::default().add(&long), Err(DictionaryError::TooLong));
        let keys: serde_json::Map<_, _> =
            (0..=MAX_KEYS).map(|n| (format!("k{n}"), json!({"values": {"a": {"fit": []}}}))).collect();
        assert_eq!(read(&json!({"schema": SCHEMA, "labels": keys})), Err(DictionaryError::TooManyKeys));
        let values: serde_json::Map<_, _> = (0..=MAX_VALUES).map(|n| (format!("v{n}"), json!({"fit": []}))).collect();
        assert!(matches!(read(&data(values.into())), Err(DictionaryError::TooManyValues { .. })));
        let described = json!({"schema": SCHEMA, "labels": {"k": {"owner": "o".repeat(MAX_TEXT_LEN + 1), "values": {"a": {"fit": []}}}}});
        assert!(matches!(read(&described), Err(DictionaryError::Text { .. })));
    }

    #[test]
    fn values_are_compared_exactly_after_aliases() {
        let dictionary = read(&good()).unwrap();
        let meaning = |value| dictionary.meaning("com.example.data", value, Cloud::Public);
        assert_eq!(meaning("public"), Meaning::Value { value: "public", fit: true });
        assert_eq!(meaning("PII"), Meaning::Value { value: "PII", fit: false });
        assert_eq!(meaning("pii"), meaning("PII"));
        assert_eq!(
            dictionary.meaning("com.example.data", "pii", Cloud::Private),
            Meaning::Value { value: "PII", fit: true }
        );
        for outside in ["Pii", "PII ", "", "РII", "Public", "public\0"] {
            assert_eq!(meaning(outside), Meaning::Outside { owner: None }, "{outside:?}");
        }
        assert_eq!(dictionary.meaning("com.example.dta", "PII", Cloud::Public), Meaning::Free);
        assert_eq!(dictionary.values("com.example.data").collect::<Vec<_>>(), ["PII", "public"]);
    }

    #[test]
    fn values_that_differ_in_case_alone_are_warned_of() {
        let dictionary = read(&data(json!({"PII": {"fit": []}, "pii": {"fit": ["public"]}}))).unwrap();
        assert_eq!(dictionary.warnings().len(), 1);
        assert_eq!(read(&good()).unwrap().warnings(), Vec::<String>::new());
    }
}
