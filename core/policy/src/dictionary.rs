//! The dictionary: which label keys carry meaning, which values they may have, and where each value is fit to run.
//!
//! Several files are one dictionary. Invariant: a key stands in it once, and a text names one value of a key at most, as
//! itself or as an alias; values are compared exactly, byte for byte, and nothing is folded, trimmed or guessed.
//! Deliberately absent: what follows from a value (that is for the rules).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use trust_image::json::{self, JsonError};
use trust_image::reference::{DOCKER_HUB, canonical_domain};

use crate::environment::Cloud;
use crate::members::{self, Members};
use crate::text;

/// Largest dictionary file, in bytes.
pub const MAX_FILE_LEN: usize = 256 * 1024;
/// Governed keys of one dictionary.
pub const MAX_KEYS: usize = 256;
/// Values of one key, and aliases of one key.
pub const MAX_VALUES: usize = 1_024;
/// Longest key, value or alias, in bytes.
pub const MAX_WORD_LEN: usize = 255;
/// Names of images below which one key is required.
pub const MAX_REQUIRED: usize = 64;
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
    #[serde(deserialize_with = "members::map")]
    pub labels: BTreeMap<String, Governed>,
}

/// The form of a dictionary file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaName {
    /// This form.
    #[serde(rename = "trust/labels/v1")]
    V1,
}

/// The word and nothing else: serde would also read an object with the word as its one key.
impl<'de> Deserialize<'de> for SchemaName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)? {
            word if word == SCHEMA => Ok(SchemaName::V1),
            other => Err(D::Error::unknown_variant(&other, &[SCHEMA])),
        }
    }
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
    /// Images at or below these names must carry the key on every platform: `registry.example.com/hr`,
    /// `registry.example.com/*/api` (`*` is a part of one component), `*` (every image).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    /// The allowed values.
    #[serde(deserialize_with = "members::map")]
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
    description: Option<String>,
    owner: Option<String>,
    required: Vec<String>,
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
    #[error("{told}")]
    Shape {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, and the word that was probably meant.
        told: String,
    },
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
    /// More than [`MAX_REQUIRED`].
    #[error("the key {key} is required below more than {MAX_REQUIRED} names")]
    TooManyRequired {
        /// The key, escaped.
        key: String,
    },
    /// A name in `required` is none.
    #[error(
        "{pattern} in required of the key {key} is no name of images: components of a-z, 0-9, \".\", \"_\", \"-\", \":\" and \
         \"*\" with \"/\" between them, without a tag, the first one the registry without its default port: registry.example.com/hr, or * for every image"
    )]
    Required {
        /// The key, escaped.
        key: String,
        /// The name, escaped.
        pattern: String,
    },
    /// A name in `required` that no image has, because images are compared by their canonical names.
    #[error("{pattern} in required of the key {key} is compared with canonical names, and is none: write {canonical}")]
    RequiredSpelling {
        /// The key, escaped.
        key: String,
        /// The name, escaped.
        pattern: String,
        /// How it is written.
        canonical: String,
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
        json::parse(bytes)?;
        // Read again from the text, which is strict JSON by now: so that what is wrong has a line.
        let Members(file): Members<DictionaryFile> = serde_json::from_slice(bytes).map_err(|error| shape(&error))?;
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

    /// The values of a governed key and their aliases, sorted: every text that it may have on an image.
    pub fn spellings(&self, key: &str) -> impl Iterator<Item = &str> {
        let words = self.keys.get(key).into_iter().flat_map(|key| key.words.keys());
        words.map(String::as_str).collect::<BTreeSet<_>>().into_iter()
    }

    /// What a governed key means, for people.
    pub fn description(&self, key: &str) -> Option<&str> {
        self.keys.get(key)?.description.as_deref()
    }

    /// Whom to ask about a governed key.
    pub fn owner(&self, key: &str) -> Option<&str> {
        self.keys.get(key)?.owner.as_deref()
    }

    /// The names at or below which a governed key is required.
    pub fn required_below(&self, key: &str) -> &[String] {
        self.keys.get(key).map(|key| key.required.as_slice()).unwrap_or_default()
    }

    /// The keys that an image of this canonical name (`registry.example.com/hr/payroll`) must carry, sorted.
    pub fn required(&self, name: &str) -> Vec<&str> {
        let is_below = |key: &&Key| key.required.iter().any(|pattern| is_below(pattern, name));
        let mut found: Vec<&str> =
            self.keys.iter().filter(|(_, key)| is_below(key)).map(|(name, _)| name.as_str()).collect();
        found.sort_unstable();
        found
    }

    /// The governed key that was probably meant by one that is not: one edit away, or different in case or outer blanks alone.
    pub fn near(&self, key: &str) -> Option<&str> {
        if self.governs(key) || key.len() > MAX_WORD_LEN {
            return None;
        }
        let folded = key.trim().to_lowercase();
        let is_near = |known: &&str| text::is_one_edit(key, known) || known.to_lowercase() == folded;
        self.keys().find(is_near)
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

    /// What loads but is probably not meant: values or aliases of one key that differ in case alone and mean different
    /// things, and characters that are not ASCII, which may look like others.
    /// Each with the key that it is about.
    pub(crate) fn warnings(&self) -> Vec<(String, String)> {
        let mut warnings = Vec::new();
        for name in self.keys() {
            let key = text::quoted(name);
            if !name.is_ascii() {
                let told = format!("the key {key} has characters that are not ASCII and may look like others");
                warnings.push((name.to_owned(), told));
            }
            let Some(words) = self.keys.get(name).map(|key| key.words.iter().collect::<BTreeMap<_, _>>()) else {
                continue;
            };
            let mut folded: BTreeMap<String, (&str, &str)> = BTreeMap::new();
            for (spelling, word) in &words {
                let first = *folded.entry(spelling.to_lowercase()).or_insert((spelling.as_str(), word.value.as_str()));
                if first.1 != word.value {
                    let told = format!(
                        "{} and {} of the key {key} differ in case alone and mean different values",
                        shown(first.0, first.1),
                        shown(spelling, &word.value)
                    );
                    warnings.push((name.to_owned(), told));
                }
            }
            let mut foreign = words.iter().filter(|(spelling, _)| !spelling.is_ascii());
            if let Some((spelling, word)) = foreign.next() {
                let more = match foreign.count() {
                    0 => String::new(),
                    n => format!(" (and {n} more)"),
                };
                let what = shown(spelling, &word.value);
                let told =
                    format!("{what} of the key {key} has characters that are not ASCII and may look like others{more}");
                warnings.push((name.to_owned(), told));
            }
        }
        warnings
    }
}

/// Whether an image's name is at or below a pattern, component by component.
fn is_below(pattern: &str, name: &str) -> bool {
    let mut components = name.split('/');
    pattern.split('/').all(|part| components.next().is_some_and(|component| matches(part, component)))
}

/// Whether a component fits, in which each `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let Some((middle, tail)) = rest.rsplit_once('*') else { return text.ends_with(rest) };
    // The first place for each part leaves the most for the rest.
    for part in middle.split('*') {
        match text.find(part).and_then(|at| text.get(at.saturating_add(part.len())..)) {
            Some(rest) => text = rest,
            None => return false,
        }
    }
    text.ends_with(tail)
}

/// Whether a text may stand in `required`.
fn is_name_pattern(pattern: &str) -> bool {
    let is_known = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b':' | b'*' | b'[' | b']')
    };
    let mut components = pattern.split('/');
    // A colon is that of a port; in a later component it would be a tag, which names have not.
    let first =
        components.next().is_some_and(|host| !host.is_empty() && host.bytes().all(is_known) && is_registry(host));
    let later = |part: &str| !part.is_empty() && part.bytes().all(|b| is_known(b) && !matches!(b, b':' | b'[' | b']'));
    first && pattern.len() <= MAX_WORD_LEN && components.all(later)
}

/// Whether names of images begin so: with a registry in the form that all its spellings are compared in. Another one would
/// never match, and require nothing.
fn is_registry(host: &str) -> bool {
    let is_told_from_a_path = host == "localhost" || host.contains(['.', ':']);
    host.contains('*') || (is_told_from_a_path && canonical_domain(host).is_ok_and(|canonical| canonical == host))
}

/// How a pattern has to be written that is shorter than the names of images: `nginx` of Docker Hub is `library/nginx`, and what
/// matches nothing would require nothing. One component may also be meant as an organisation.
fn canonical(pattern: &str) -> Option<String> {
    let (host, rest) = pattern.split_once('/')?;
    let short = Some(rest).filter(|rest| host == DOCKER_HUB && !rest.contains(['/', '*']) && *rest != "library")?;
    Some(format!("{DOCKER_HUB}/library/{short} for the image, or {DOCKER_HUB}/{short}/* for the organisation"))
}

/// A value or alias, for people.
fn shown(spelling: &str, value: &str) -> String {
    if spelling == value {
        format!("the value {}", text::quoted(value))
    } else {
        format!("the alias {} of {}", text::quoted(spelling), text::quoted(value))
    }
}

/// What is wrong with the members, with the known word that is nearest to an unknown one.
fn shape(error: &serde_json::Error) -> DictionaryError {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let said = said.strip_suffix(&place).unwrap_or(&said);
    // "unknown field `alias`, expected `fit` or `aliases`"
    let mut words = said.split('`').skip(1).step_by(2);
    let given = words.next().filter(|_| said.starts_with("unknown"));
    let meant = given.and_then(|given| text::nearest(given, words));
    let meant = meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    let told = format!("{}{meant}", text::printable(said));
    DictionaryError::Shape { line: error.line(), column: error.column(), told }
}

impl DictionaryError {
    /// The word that is wrong, escaped and in quotation marks.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::WordTwice { word, .. } | Self::Word { word } => Some(word),
            Self::Required { pattern, .. } => Some(pattern),
            Self::KeyTwice { key }
            | Self::NoValues { key }
            | Self::TooManyValues { key }
            | Self::TooManyRequired { key }
            | Self::Text { key } => Some(key),
            _ => None,
        }
    }

    /// Line and column in the file, where they are known.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Shape { line, column, .. } | Self::Json(JsonError::Syntax { line, column }) => Some((*line, *column)),
            _ => None,
        }
    }
}

fn read_key(name: &str, governed: Governed) -> Result<Key, DictionaryError> {
    check_word(name)?;
    let key = || text::quoted(name);
    if [&governed.description, &governed.owner].into_iter().flatten().any(|t| t.len() > MAX_TEXT_LEN) {
        return Err(DictionaryError::Text { key: key() });
    }
    if governed.required.len() > MAX_REQUIRED {
        return Err(DictionaryError::TooManyRequired { key: key() });
    }
    if let Some(wrong) = governed.required.iter().find(|pattern| !is_name_pattern(pattern)) {
        return Err(DictionaryError::Required { key: key(), pattern: text::quoted(wrong) });
    }
    let spelt = governed.required.iter().find_map(|pattern| Some((pattern, canonical(pattern)?)));
    if let Some((wrong, canonical)) = spelt {
        return Err(DictionaryError::RequiredSpelling { key: key(), pattern: text::quoted(wrong), canonical });
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
    Ok(Key { description: governed.description, owner: governed.owner, required: governed.required, words })
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

    fn warned(dictionary: &Dictionary) -> Vec<String> {
        dictionary.warnings().into_iter().map(|(_, told)| told).collect()
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
            assert!(matches!(read(&shape), Err(DictionaryError::Shape { .. })), "{shape}");
        }
        let text =
            "{\"schema\":\"trust/labels/v1\",\"labels\":{\"k\":{\"values\":{\n\"a\":{\"fit\":[],\n\"alias\":[]}}}}}";
        let refused = Dictionary::default().add(text.as_bytes()).unwrap_err();
        assert_eq!(refused.place().map(|(line, _)| line), Some(3));
        assert!(refused.to_string().ends_with("; did you mean `aliases`?"), "{refused}");
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
    fn a_word_is_a_text_and_members_have_their_names() {
        let governed = json!({"values": {"a": {"fit": ["public"]}}});
        for second in [
            data(json!({"a": {"fit": [{"public": null}]}})),
            data(json!({"a": {"fit": [0]}})),
            data(json!({"a": [["public"], []]})),
            data(json!({"a": [["public"]]})),
            json!({"schema": {"trust/labels/v1": null}, "labels": {"k": governed}}),
            json!({"schema": SCHEMA, "labels": {"k": [null, null, {"a": {"fit": ["public"]}}]}}),
            json!({"schema": SCHEMA, "labels": [["k", governed]]}),
            json!([SCHEMA, {"k": governed}]),
        ] {
            assert!(matches!(read(&second), Err(DictionaryError::Shape { .. })), "{second}");
        }
        assert!(read(&json!({"schema": SCHEMA, "labels": {"k": governed}})).is_ok());
    }

    #[test]
    fn an_alias_that_looks_like_another_value_is_warned_of() {
        let warnings = |values| warned(&read(&data(values)).unwrap());
        for (values, words) in [
            (json!({"PII": {"fit": []}, "public": {"fit": ["public"], "aliases": ["pii"]}}), ["\"pii\"", "\"PII\""]),
            (json!({"PII": {"fit": [], "aliases": ["Public"]}, "public": {"fit": ["public"]}}), ["\"Public\"", "case"]),
            (
                json!({"a": {"fit": [], "aliases": ["x"]}, "b": {"fit": ["public"], "aliases": ["X"]}}),
                ["\"x\"", "\"X\""],
            ),
        ] {
            let found = warnings(values);
            assert!(found.len() == 1 && words.iter().all(|word| found[0].contains(word)), "{found:?}");
        }
        assert_eq!(warnings(json!({"PII": {"fit": [], "aliases": ["pii", "Pii"]}})), Vec::<String>::new());
    }

    #[test]
    fn letters_of_another_script_are_warned_of_with_their_numbers() {
        for values in [
            json!({"PII": {"fit": []}, "РII": {"fit": ["public"]}}), // the first letter is Cyrillic
            json!({"PII": {"fit": [], "aliases": ["РII"]}}),
            json!({"РП": {"fit": [], "aliases": ["pii"]}}),
        ] {
            let found = warned(&read(&data(values)).unwrap());
            assert!(found.len() == 1 && found[0].contains("U+0420"), "{found:?}");
        }
        let many = warned(&read(&data(json!({"é": {"fit": [], "aliases": ["è", "ê"]}}))).unwrap());
        assert!(many.len() == 1 && many[0].ends_with("(and 2 more)"), "{many:?}");
        let key = json!({"schema": SCHEMA, "labels": {"dаta": {"values": {"a": {"fit": []}}}}});
        assert!(warned(&read(&key).unwrap())[0].contains("U+0430"));
    }

    fn required(patterns: &[&str]) -> Result<Dictionary, DictionaryError> {
        read(&json!({"schema": SCHEMA, "labels": {"k": {"required": patterns, "values": {"a": {"fit": []}}}}}))
    }

    #[test]
    fn a_required_key_is_required_at_and_below_whole_components_of_a_name() {
        let at = |pattern: &str, name: &str| !required(&[pattern]).unwrap().required(name).is_empty();
        for name in ["r.example/hr", "r.example/hr/payroll", "r.example/hr/a/b"] {
            assert!(at("r.example/hr", name) && at("*", name) && at("r.*/h*r", name), "{name}");
        }
        for name in ["r.example", "r.example/hrx/payroll", "r.example/pay/hr", "other.example/hr/payroll"] {
            assert!(!at("r.example/hr", name), "{name}");
        }
        for (pattern, name, is) in [
            ("r.example/*/api", "r.example/pay/api/v2", true),
            ("r.example/*/api", "r.example/pay/team/api", false),
            ("r.example/a*b*c", "r.example/abbc", true),
            ("r.example/a*b*c", "r.example/acb", false),
            ("r.example/a*a", "r.example/a", false),
            ("r.example/**", "r.example/x", true),
            ("localhost:5000/hr", "localhost:5000/hr/x", true),
        ] {
            assert_eq!(at(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn a_required_name_in_another_spelling_than_images_have_is_refused_with_the_right_one() {
        for (pattern, canonical) in
            [("docker.io/nginx", "docker.io/library/nginx"), ("docker.io/nginx", "docker.io/nginx/*")]
        {
            let refused = required(&[pattern]).unwrap_err();
            assert!(matches!(refused, DictionaryError::RequiredSpelling { .. }), "{pattern}: {refused}");
            assert!(refused.to_string().contains(canonical), "{refused}");
        }
        for pattern in ["docker.io", "docker.io/library", "docker.io/*", "docker.io/acme/*", "*/hr", "localhost:5000"] {
            assert!(required(&[pattern]).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_no_name_can_match_is_refused() {
        for pattern in [
            "",
            "/",
            "r.example/",
            "r.example//hr",
            "R.example/hr",
            "r.example/hr:v1",
            "r.example/hr@x",
            " r",
            "r/é",
            "r.example:443/hr",
            "index.docker.io/library",
            "hr/payroll",
            "hr",
        ] {
            let refused = required(&[pattern]).unwrap_err();
            assert!(matches!(refused, DictionaryError::Required { .. }), "{pattern:?}");
        }
        let many: Vec<String> = (0..=MAX_REQUIRED).map(|n| format!("r.example/{n}")).collect();
        let refused = required(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(refused, Err(DictionaryError::TooManyRequired { .. })));
    }

    #[test]
    fn a_key_within_one_edit_of_a_governed_one_is_found_and_no_other() {
        let dictionary = read(&good()).unwrap();
        for key in [
            "com.example.dat",
            "com.example.dataa",
            "com.example.date",
            "com.exmaple.data",
            "com.example.dаta", // a Cyrillic letter
            "Com.Example.Data",
            " com.example.data ",
        ] {
            assert_eq!(dictionary.near(key), Some("com.example.data"), "{key}");
        }
        for key in ["com.example.data", "com.example.dat.a.x", "com.example.team", ""] {
            assert_eq!(dictionary.near(key), None, "{key}");
        }
    }

    #[test]
    fn values_that_differ_in_case_alone_are_warned_of() {
        let dictionary = read(&data(json!({"PII": {"fit": []}, "pii": {"fit": ["public"]}}))).unwrap();
        assert_eq!(dictionary.warnings().len(), 1);
        assert_eq!(warned(&read(&good()).unwrap()), Vec::<String>::new());
    }
}
