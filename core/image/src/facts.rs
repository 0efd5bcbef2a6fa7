//! The signed facts of an image: the `custom.image` object of a target.
//!
//! Facts are copied at signing from content that the digest covers; `signed`, `tags` and `stated` are the signer's claim. Invariant:
//! a value that was read or written here has valid tags, digests and platforms and fits into [`MAX_FACTS_LEN`] bytes; unknown
//! members are tolerated when reading, so that a later version can add some. Text is written only in Unicode's composed
//! form (NFC): some TUF clients compose strings before they check a signature, and would refuse the whole role file.
//! Deliberately absent: who signed, and any meaning of a label, annotation or statement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::manifest::{MediaType, Platform};
use crate::reference::check_tag;

/// Largest `custom` object that is read or written, in bytes of compact JSON.
pub const MAX_FACTS_LEN: usize = 16 * 1024;
/// Tags that one digest is signed under.
pub const MAX_TAGS: usize = 128;
/// Platforms (with attestations) of one image.
pub const MAX_PLATFORMS: usize = 64;
/// How something is listed that no runtime starts: an attestation or an artifact.
pub const NOT_RUNNABLE: &str = "unknown/unknown";

/// Facts of one image or index (design, section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Media type of the signed manifest or index.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// When the signer says that it signed: `YYYY-MM-DDTHH:MM:SSZ`.
    pub signed: String,
    /// Tags that the digest was signed under, sorted, each once; at most [`MAX_TAGS`].
    pub tags: Vec<String>,
    /// One entry for a single image, one for each child of an index; at most [`MAX_PLATFORMS`].
    pub platforms: Vec<PlatformFacts>,
    /// Annotations of the signed manifest or index itself.
    pub annotations: BTreeMap<String, String>,
    /// What the signer stated when signing; the digest does not cover it. Left out where there is nothing: so were all facts
    /// written before there were statements.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stated: BTreeMap<String, String>,
}

/// Facts of one platform of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlatformFacts {
    /// `os/architecture[/variant]`, or `unknown/unknown` for an attestation or artifact.
    pub platform: String,
    /// Digest of this platform's manifest.
    pub digest: Digest,
    /// Labels of this platform's image config.
    pub labels: BTreeMap<String, String>,
}

/// Why facts were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// More bytes than [`MAX_FACTS_LEN`].
    #[error("the facts of the image take {len} bytes, more than {MAX_FACTS_LEN}")]
    TooLarge {
        /// Bytes of the encoded object.
        len: usize,
    },
    /// Not acceptable as JSON.
    #[error("the facts are refused: {0}")]
    Json(#[from] JsonError),
    /// A member is absent or of another type.
    #[error("the facts do not have the form of image facts")]
    Shape,
    /// A tag is not valid, not sorted or given twice, or there are too many.
    #[error("the tags in the facts are not valid")]
    Tags,
    /// A platform is not `os/architecture[/variant]`, or there are too many.
    #[error("the platforms in the facts are not valid")]
    Platforms,
    /// `signed` is not a time of the form `YYYY-MM-DDTHH:MM:SSZ`.
    #[error("the time in the facts is not valid")]
    Signed,
    /// `mediaType` is not one of the four of images and indexes.
    #[error("the media type in the facts is not that of an image or index")]
    MediaType,
    /// A label, annotation or statement is not in NFC. Only refused when writing.
    #[error("the {what} {key} is not in Unicode's composed form (NFC)")]
    NotComposed {
        /// `label`, `annotation` or `statement`.
        what: &'static str,
        /// Its key, escaped and cut for printing.
        key: String,
    },
}

/// A text in Unicode's composed form (NFC): what may stand in a role file.
pub fn composed(text: &str) -> String {
    text.nfc().collect()
}

#[derive(Serialize)]
struct Custom<'a> {
    image: &'a ImageFacts,
}

impl PlatformFacts {
    /// Whether a runtime can start this; a policy decides on each of these, and on none of the others.
    pub fn is_runnable(&self) -> bool {
        self.platform != NOT_RUNNABLE
    }
}

impl ImageFacts {
    /// The `custom` object `{"image": …}` as compact JSON of at most [`MAX_FACTS_LEN`] bytes.
    pub fn to_custom(&self) -> Result<Vec<u8>, FactsError> {
        self.check()?;
        self.check_composed()?;
        let bytes = serde_json::to_vec(&Custom { image: self }).map_err(|_| FactsError::Shape)?;
        match bytes.len() {
            len if len > MAX_FACTS_LEN => Err(FactsError::TooLarge { len }),
            _ => Ok(bytes),
        }
    }

    /// The facts in a target's `custom` object, given as JSON text; `None` if it says nothing about an image.
    pub fn from_custom(bytes: &[u8]) -> Result<Option<ImageFacts>, FactsError> {
        if bytes.len() > MAX_FACTS_LEN {
            return Err(FactsError::TooLarge { len: bytes.len() });
        }
        let Value::Object(mut custom) = json::parse(bytes)? else {
            return Err(FactsError::Shape);
        };
        let Some(image) = custom.remove("image") else {
            return Ok(None);
        };
        let facts: ImageFacts = serde_json::from_value(image).map_err(|_| FactsError::Shape)?;
        facts.check()?;
        Ok(Some(facts))
    }

    /// Adds a tag that the digest is signed under.
    pub fn add_tag(&mut self, tag: &str) -> Result<(), FactsError> {
        let tag = check_tag(tag).map_err(|_| FactsError::Tags)?;
        if let Err(at) = self.tags.binary_search_by(|known| known.as_str().cmp(tag)) {
            self.tags.insert(at, tag.to_owned());
        }
        match self.tags.len() <= MAX_TAGS {
            true => Ok(()),
            false => Err(FactsError::Tags),
        }
    }

    /// Whether the facts are those of an index.
    pub fn is_index(&self) -> bool {
        MediaType::parse(&self.media_type).is_some_and(MediaType::is_index)
    }

    fn check_composed(&self) -> Result<(), FactsError> {
        let labels = self.platforms.iter().flat_map(|entry| &entry.labels).map(|pair| ("label", pair));
        let annotations = self.annotations.iter().map(|pair| ("annotation", pair));
        let all = labels.chain(annotations).chain(self.stated.iter().map(|pair| ("statement", pair)));
        for (what, (key, value)) in all {
            if !is_nfc(key) || !is_nfc(value) {
                let key = key.chars().take(128).flat_map(char::escape_default).collect();
                return Err(FactsError::NotComposed { what, key });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), FactsError> {
        if MediaType::parse(&self.media_type).is_none() {
            return Err(FactsError::MediaType);
        }
        if !is_time(&self.signed) {
            return Err(FactsError::Signed);
        }
        let in_order = self.tags.is_sorted_by(|a, b| a < b);
        if self.tags.len() > MAX_TAGS || !in_order || self.tags.iter().any(|tag| check_tag(tag).is_err()) {
            return Err(FactsError::Tags);
        }
        if self.platforms.len() > MAX_PLATFORMS || !self.platforms.iter().all(|entry| is_platform(&entry.platform)) {
            return Err(FactsError::Platforms);
        }
        Ok(())
    }
}

/// The shape of TUF's times; that the calendar has such a day is no concern of a claim.
fn is_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(byte, shape): (u8, &u8)| {
        if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape }
    };
    text.len() == SHAPE.len() && text.bytes().zip(SHAPE).all(fits)
}

fn is_platform(text: &str) -> bool {
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant) => {
            variant != Some("") && Platform::new(os, architecture, variant).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn facts() -> ImageFacts {
        let platform = |name: &str, n: u8| PlatformFacts {
            platform: name.to_owned(),
            digest: Digest::of(&[n]),
            labels: [("com.example.data".to_owned(), "public".to_owned())].into(),
        };
        ImageFacts {
            media_type: MediaType::OciIndex.as_str().to_owned(),
            signed: "2030-01-01T00:00:00Z".to_owned(),
            tags: vec!["_x".to_owned(), "v1".to_owned()],
            platforms: vec![platform("linux/amd64", 1), platform("linux/arm64/v8", 2), platform(NOT_RUNNABLE, 3)],
            annotations: BTreeMap::new(),
            stated: BTreeMap::new(),
        }
    }

    fn read(image: Value) -> Result<Option<ImageFacts>, FactsError> {
        ImageFacts::from_custom(&serde_json::to_vec(&json!({"image": image})).unwrap())
    }

    fn changed(name: &str, value: Value) -> Value {
        let mut image = serde_json::to_value(facts()).unwrap();
        image[name] = value;
        image
    }

    #[test]
    fn facts_given_twice_in_one_object_are_refused() {
        let image = serde_json::to_string(&facts()).unwrap();
        let text = format!(r#"{{"image":{image},"image":{image}}}"#);
        assert_eq!(ImageFacts::from_custom(text.as_bytes()), Err(FactsError::Json(JsonError::DuplicateMember)));
    }

    #[test]
    fn each_damage_has_its_own_name() {
        let table = [
            (json!(null), FactsError::Shape),
            (json!({}), FactsError::Shape),
            (changed("tags", json!("v1")), FactsError::Shape),
            (changed("annotations", json!({"a": 1})), FactsError::Shape),
            (changed("stated", json!({"a": 1})), FactsError::Shape),
            (changed("stated", json!(null)), FactsError::Shape),
            (
                changed("platforms", json!([{"platform": "linux/amd64", "digest": "sha256:00", "labels": {}}])),
                FactsError::Shape,
            ),
            (
                changed("platforms", json!([{"platform": "linux", "digest": Digest::of(b""), "labels": {}}])),
                FactsError::Platforms,
            ),
            (
                changed("platforms", json!([{"platform": "linux/amd64/", "digest": Digest::of(b""), "labels": {}}])),
                FactsError::Platforms,
            ),
            (
                changed(
                    "platforms",
                    json!([{"platform": "linux/amd64/v8/x", "digest": Digest::of(b""), "labels": {}}]),
                ),
                FactsError::Platforms,
            ),
            (
                changed(
                    "platforms",
                    vec![json!({"platform": "a/b", "digest": Digest::of(b""), "labels": {}}); MAX_PLATFORMS + 1].into(),
                ),
                FactsError::Platforms,
            ),
            (changed("tags", json!(["v1", "v1"])), FactsError::Tags),
            (changed("tags", json!(["v2", "v1"])), FactsError::Tags),
            (changed("tags", json!(["a/b"])), FactsError::Tags),
            (changed("tags", json!(["@sha256-00"])), FactsError::Tags),
            (changed("signed", json!("2030-01-01T00:00:00+00:00")), FactsError::Signed),
            (changed("signed", json!("2030-01-01 00:00:00Z")), FactsError::Signed),
            (changed("mediaType", json!("text/html")), FactsError::MediaType),
        ];
        for (image, reason) in table {
            assert_eq!(read(image.clone()), Err(reason), "{image}");
        }
        assert_eq!(ImageFacts::from_custom(b"[]"), Err(FactsError::Shape));
    }

    #[test]
    fn facts_larger_than_the_limit_are_neither_written_nor_read() {
        let mut large = facts();
        large.annotations.insert("a".to_owned(), String::new());
        let room = MAX_FACTS_LEN - large.to_custom().unwrap().len();
        large.annotations.insert("a".to_owned(), "v".repeat(room));
        let bytes = large.to_custom().unwrap();
        assert_eq!(bytes.len(), MAX_FACTS_LEN);
        assert!(ImageFacts::from_custom(&bytes).is_ok());
        large.annotations.insert("a".to_owned(), "v".repeat(room + 1));
        assert_eq!(large.to_custom(), Err(FactsError::TooLarge { len: MAX_FACTS_LEN + 1 }));
        // Statements take of the same room.
        large.annotations.insert("a".to_owned(), "v".repeat(room));
        large.stated.insert("s".to_owned(), String::new());
        assert!(matches!(large.to_custom(), Err(FactsError::TooLarge { .. })));
        let spaced = [b" ".as_slice(), &bytes].concat();
        assert_eq!(ImageFacts::from_custom(&spaced), Err(FactsError::TooLarge { len: MAX_FACTS_LEN + 1 }));
    }

    #[test]
    fn invalid_facts_are_not_written() {
        let mut bad = facts();
        bad.tags.push("a b".to_owned());
        assert_eq!(bad.to_custom(), Err(FactsError::Tags));
    }

    #[test]
    fn text_that_other_clients_would_compose_before_they_check_a_signature_is_not_written() {
        // "é" as one character, and as "e" with an accent: equal for a reader, other bytes under the signature.
        let (composed_form, loose) = ("caf\u{e9}", "cafe\u{301}");
        let with = |what: &str, key: &str, value: &str| {
            let mut one = facts();
            let at = match what {
                "label" => &mut one.platforms[2].labels,
                "annotation" => &mut one.annotations,
                _ => &mut one.stated,
            };
            at.insert(key.to_owned(), value.to_owned());
            one
        };
        for what in ["label", "annotation", "statement"] {
            assert!(with(what, composed_form, composed_form).to_custom().is_ok());
            for (key, value) in [(loose, "x"), ("x", loose)] {
                let one = with(what, key, value);
                let error = one.to_custom().unwrap_err();
                assert!(matches!(error, FactsError::NotComposed { .. }), "{error}");
                assert!(error.to_string().is_ascii() && error.to_string().contains(what), "{error}");
                // What somebody signed so is read as it stands: the digest of another program's image stays usable.
                let read = ImageFacts::from_custom(&serde_json::to_vec(&Custom { image: &one }).unwrap());
                assert_eq!(read.unwrap().unwrap(), one);
            }
        }
        assert_eq!(composed(loose), composed_form);
    }

    #[test]
    fn unknown_members_are_tolerated_and_other_custom_objects_are_no_facts() {
        assert_eq!(read(changed("later", json!({"x": [1]}))).unwrap().unwrap(), facts());
        assert_eq!(ImageFacts::from_custom(b"{\"other\":1}"), Ok(None));
    }

    #[test]
    fn statements_stand_apart_from_annotations_and_facts_without_some_are_written_as_before() {
        let mut one = facts();
        assert!(!String::from_utf8(one.to_custom().unwrap()).unwrap().contains("stated"));
        one.annotations.insert("k".to_owned(), "covered".to_owned());
        one.stated.insert("k".to_owned(), "claimed".to_owned());
        let text = String::from_utf8(one.to_custom().unwrap()).unwrap();
        assert!(text.ends_with(r#""annotations":{"k":"covered"},"stated":{"k":"claimed"}}}"#), "{text}");
        assert_eq!(ImageFacts::from_custom(text.as_bytes()).unwrap().unwrap(), one);
    }

    #[test]
    fn the_written_form_is_the_promised_one() {
        let mut one = facts();
        one.platforms.truncate(1);
        let expected = format!(
            r#"{{"image":{{"mediaType":"application/vnd.oci.image.index.v1+json","signed":"2030-01-01T00:00:00Z","tags":["_x","v1"],"platforms":[{{"platform":"linux/amd64","digest":"{}","labels":{{"com.example.data":"public"}}}}],"annotations":{{}}}}}}"#,
            Digest::of(&[1])
        );
        assert_eq!(String::from_utf8(one.to_custom().unwrap()).unwrap(), expected);
    }

    #[test]
    fn signers_agree_on_content_and_not_on_time_tags_or_order() {
        let mut other = facts();
        other.signed = "2031-01-01T00:00:00Z".to_owned();
        other.tags.clear();
        other.platforms.reverse();
        assert!(facts().agrees_with(&other));
        other.platforms[0].labels.insert("com.example.data".to_owned(), "pii".to_owned());
        assert!(!facts().agrees_with(&other));
    }

    #[test]
    fn tags_stay_sorted_and_single_and_attestations_are_not_runnable() {
        let mut one = facts();
        for tag in ["v1", "v0", "latest", "v0"] {
            one.add_tag(tag).unwrap();
        }
        assert_eq!(one.tags, ["_x", "latest", "v0", "v1"]);
        assert_eq!(one.add_tag("a:b"), Err(FactsError::Tags));
        assert_eq!(one.platforms.iter().map(PlatformFacts::is_runnable).collect::<Vec<_>>(), [true, true, false]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tags in proptest::collection::btree_set("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", 0..5), labels in proptest::collection::btree_map(".{0,10}", ".{0,10}", 0..5)) {
            let labels: BTreeMap<String, String> = labels.into_iter().map(|(k, v)| (composed(&k), composed(&v))).collect();
            let mut one = facts();
            one.tags = tags.into_iter().collect();
            one.platforms[0].labels = labels.clone();
            one.annotations = labels.clone();
            one.stated = labels;
            let bytes = one.to_custom().unwrap();
            prop_assert_eq!(ImageFacts::from_custom(&bytes).unwrap().unwrap(), one);
        }
    }
}
