//! Where something is to run, as the operator of a gate says it.
//!
//! Invariant: a value that was read here has a name of `[a-z0-9][a-z0-9-]{0,62}` and bounded labels. Unknown members are
//! errors: a misspelt `clowd` must not leave an environment without its cloud. Deliberately absent: anything that comes
//! from a workload or its namespace.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use trust_image::Digest;

use crate::members::Members;
use crate::text;

/// Longest environment file, in bytes.
pub const MAX_FILE_LEN: usize = 64 * 1024;
/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 63;
/// Labels of one environment.
pub const MAX_LABELS: usize = 64;
/// Longest region, label key or label value, in bytes.
pub const MAX_VALUE_LEN: usize = 256;

/// Origin of the strictest environment.
pub(crate) const NOBODY: &str = "nobody described this place";

const MEMBERS: [&str; 4] = ["name", "cloud", "region", "labels"];

/// Whose machines the environment runs on. What is not known to be private is public, the stricter one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// Machines of somebody else.
    Public,
    /// Machines of one's own.
    Private,
}

impl Cloud {
    /// Both kinds.
    pub const ALL: [Cloud; 2] = [Cloud::Public, Cloud::Private];

    /// `public` or `private`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Public => "public",
            Cloud::Private => "private",
        }
    }
}

/// The word and nothing else: serde would also read a table with the word as its one key.
impl<'de> Deserialize<'de> for Cloud {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let found = Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == word);
        found.ok_or_else(|| D::Error::unknown_variant(&word, &["public", "private"]))
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An environment. Serde reads and writes the members of the file; `origin` is not one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Members<File>")]
#[schemars(!try_from)]
pub struct Environment {
    /// `[a-z0-9][a-z0-9-]{0,62}`, as `public-eu`.
    pub name: String,
    /// Whose machines.
    pub cloud: Cloud,
    /// Where, in the operator's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// More facts that rules may read: entity tags of `Environment`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub labels: BTreeMap<String, String>,
    /// Where this was read: a file's name, for explanations only; not part of [`Environment::hash`].
    #[serde(skip)]
    pub origin: String,
}

/// The members as they stand in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    cloud: Cloud,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Why the description of an environment was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// More than [`MAX_FILE_LEN`] bytes.
    #[error("the environment file is longer than {MAX_FILE_LEN} bytes")]
    TooLong,
    /// Not TOML, a member absent, of another type or given twice; the text says which and where.
    #[error("{0}")]
    Syntax(String),
    /// A member that an environment does not have.
    #[error("unknown member \"{found}\"{}", nearest.map(|n| format!(", did you mean \"{n}\"?")).unwrap_or_default())]
    UnknownMember {
        /// As it stands there.
        found: String,
        /// The member that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The name is not `[a-z0-9][a-z0-9-]{0,62}`.
    #[error("the name of an environment is 1 to 63 of a-z, 0-9 and \"-\", the first not \"-\"")]
    Name,
    /// `cloud` is another word.
    #[error("cloud is {found}, but must be \"public\" or \"private\"")]
    Cloud {
        /// As it stands there, escaped and in quotation marks.
        found: String,
    },
    /// A region, label key or label value is empty, longer than [`MAX_VALUE_LEN`] bytes or has invisible characters.
    #[error("{member} is empty, longer than {MAX_VALUE_LEN} bytes or has control or invisible characters")]
    Value {
        /// `region`, or the label.
        member: String,
    },
    /// More than [`MAX_LABELS`].
    #[error("an environment has at most {MAX_LABELS} labels")]
    TooManyLabels,
}

impl Environment {
    /// An environment with a name and a cloud, and nothing else.
    pub fn new(name: &str, cloud: Cloud) -> Result<Self, EnvironmentError> {
        File { name: name.to_owned(), cloud, region: None, labels: BTreeMap::new() }.try_into()
    }

    /// Reads an environment file (TOML). `origin` is its name, for explanations.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, EnvironmentError> {
        if text.len() > MAX_FILE_LEN {
            return Err(EnvironmentError::TooLong);
        }
        let table: toml::Table = toml::from_str(text).map_err(|e| EnvironmentError::Syntax(told(&e)))?;
        if let Some(found) = table.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
            let nearest = text::nearest(found, MEMBERS);
            return Err(EnvironmentError::UnknownMember { found: text::printable(found), nearest });
        }
        if let Some(toml::Value::String(cloud)) = table.get("cloud")
            && Cloud::ALL.iter().all(|known| known.as_str() != cloud)
        {
            return Err(EnvironmentError::Cloud { found: text::quoted(cloud) });
        }
        let file: File = table.try_into().map_err(|e| EnvironmentError::Syntax(told(&e)))?;
        Ok(Environment { origin: origin.to_owned(), ..file.try_into()? })
    }

    /// What counts for a place that nobody described: name `unknown`, cloud public, no labels.
    pub fn strictest() -> Self {
        Environment {
            name: "unknown".to_owned(),
            cloud: Cloud::Public,
            region: None,
            labels: BTreeMap::new(),
            origin: NOBODY.to_owned(),
        }
    }

    /// SHA-256 over all that rules can read; a part of the key of a cached decision.
    pub fn hash(&self) -> [u8; 32] {
        // The JSON of a struct with sorted labels is one text for one value.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Digest::of(&bytes).sha256().unwrap_or_default()
    }
}

/// The parser's own words, on one line and without the text of the file.
fn told(error: &toml::de::Error) -> String {
    text::printable(error.message())
}

/// Whether a text is `[a-z0-9][a-z0-9-]{0,62}`.
pub(crate) fn is_name(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= MAX_NAME_LEN
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'-')
}

impl TryFrom<Members<File>> for Environment {
    type Error = EnvironmentError;

    fn try_from(Members(file): Members<File>) -> Result<Self, EnvironmentError> {
        file.try_into()
    }
}

impl TryFrom<File> for Environment {
    type Error = EnvironmentError;

    fn try_from(file: File) -> Result<Self, EnvironmentError> {
        if !is_name(&file.name) {
            return Err(EnvironmentError::Name);
        }
        if file.labels.len() > MAX_LABELS {
            return Err(EnvironmentError::TooManyLabels);
        }
        let fits = |v: &str| !v.is_empty() && v.len() <= MAX_VALUE_LEN && !v.chars().any(text::is_unprintable);
        if file.region.as_ref().is_some_and(|region| !fits(region)) {
            return Err(EnvironmentError::Value { member: "region".to_owned() });
        }
        if let Some((key, _)) = file.labels.iter().find(|(key, value)| !fits(key) || !fits(value)) {
            return Err(EnvironmentError::Value { member: format!("the label {}", text::quoted(key)) });
        }
        Ok(Environment {
            name: file.name,
            cloud: file.cloud,
            region: file.region,
            labels: file.labels,
            origin: "the configuration".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Environment, EnvironmentError> {
        Environment::from_toml(text, "x.toml")
    }

    #[test]
    fn a_misspelt_member_is_refused_with_the_one_that_was_meant() {
        let refused = read("name = \"eu\"\ncloud = \"public\"\nregoin = \"x\"").unwrap_err();
        assert_eq!(refused, EnvironmentError::UnknownMember { found: "regoin".to_owned(), nearest: Some("region") });
        assert_eq!(refused.to_string(), "unknown member \"regoin\", did you mean \"region\"?");
        // Also where an environment is a table of another file.
        let table: toml::Table = toml::from_str("[e]\nname = \"eu\"\ncloud = \"public\"\nregoin = \"x\"").unwrap();
        assert!(table["e"].clone().try_into::<Environment>().unwrap_err().to_string().contains("regoin"));
    }

    #[test]
    fn a_cloud_that_is_neither_kind_is_refused() {
        let refused = |text| matches!(read(text), Err(EnvironmentError::Cloud { .. }));
        assert!(refused("name = \"eu\"\ncloud = \"Public\"") && refused("name = \"eu\"\ncloud = \"\""));
        for text in [
            "name = \"eu\"",
            "name = \"eu\"\ncloud = 1",
            "name = \"eu\"\ncloud = [\"public\"]",
            "name = \"eu\"\ncloud = { private = {} }",
            "name = \"eu\"\n[cloud.private]",
            "cloud = \"public\"",
            "",
            "{",
        ] {
            assert!(matches!(read(text), Err(EnvironmentError::Syntax(_))), "{text}");
        }
        let twice = "name = \"eu\"\ncloud = \"public\"\ncloud = \"private\"";
        assert!(matches!(read(twice), Err(EnvironmentError::Syntax(_))));
    }

    #[test]
    fn members_without_their_names_and_a_cloud_that_is_a_table_are_refused_in_other_files_too() {
        let other = |text: &str| {
            let table: toml::Table = toml::from_str(text).unwrap();
            table["e"].clone().try_into::<Environment>()
        };
        assert!(other("e = [\"eu\", \"private\"]").is_err());
        assert!(other("e = [\"eu\", \"private\", \"west\", {}]").is_err());
        assert!(other("[e]\nname = \"eu\"\ncloud = { private = {} }").is_err());
        assert!(other("[e]\nname = \"eu\"\ncloud = \"Private\"").is_err());
        assert_eq!(other("[e]\nname = \"eu\"\ncloud = \"private\"").unwrap().cloud, Cloud::Private);
        for text in [r#"{"private":null}"#, "0", "null", r#"["private"]"#, r#""PRIVATE""#] {
            assert!(serde_json::from_str::<Cloud>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_labels_and_regions_are_bounded() {
        for name in ["", "-a", "A", "a b", "a.b", "é", &"a".repeat(64)] {
            assert_eq!(read(&format!("name = \"{name}\"\ncloud = \"public\"")), Err(EnvironmentError::Name), "{name}");
        }
        let with = |more: &str| read(&format!("name = \"eu\"\ncloud = \"public\"\n{more}"));
        for value in ["", "\\u001b", "\\u202e", &"v".repeat(257)] {
            assert!(matches!(with(&format!("region = \"{value}\"")), Err(EnvironmentError::Value { .. })), "{value}");
            assert!(matches!(with(&format!("labels.a = \"{value}\"")), Err(EnvironmentError::Value { .. })), "{value}");
        }
        let many: String = (0..65).map(|n| format!("labels.l{n} = \"x\"\n")).collect();
        assert_eq!(with(&many), Err(EnvironmentError::TooManyLabels));
        assert_eq!(with(&format!("# {}", "x".repeat(MAX_FILE_LEN))), Err(EnvironmentError::TooLong));
        assert!(with("region = \"eu west\"\nlabels.stage = \"prod\"").is_ok());
    }

    #[test]
    fn a_place_that_nobody_described_is_public() {
        assert_eq!(Environment::strictest().cloud, Cloud::Public);
        assert_eq!(Environment::strictest().name, "unknown");
    }
}
