//! Answers about the dictionary of labels.

use schemars::JsonSchema;
use serde::Serialize;
use trust_policy::Dictionary;

use super::policy::PolicyFile;
use crate::policy::labels::{self, LabelReport};

/// `trust labels check` of a folder
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LabelsChecked {
    /// The folder.
    pub folder: String,
    /// The files of the dictionary.
    pub files: Vec<PolicyFile>,
    /// The governed labels.
    pub labels: Vec<GovernedLabel>,
    /// What loads but is probably not meant.
    pub warnings: Vec<String>,
}

/// `trust labels check --image`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LabelsOfImages {
    /// The dictionary: collection and version, or the folder.
    pub dictionary: String,
    /// Whether somebody signed it; false for a folder.
    pub signed: bool,
    /// One entry for each image.
    pub images: Vec<ImageLabels>,
}

/// What the dictionary makes of one image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ImageLabels {
    /// The image, as it was asked for.
    pub reference: String,
    /// The digest whose labels were looked at.
    pub digest: String,
    /// Whether every gate would refuse it because of its labels.
    pub refused: bool,
    /// What a runtime can start, with its labels.
    pub platforms: Vec<PlatformLabels>,
}

/// The labels of one platform.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlatformLabels {
    /// `linux/amd64`.
    pub platform: String,
    /// Its labels, and those that are missing, by key.
    pub labels: Vec<LabelReport>,
}

/// `trust labels show`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LabelsShown {
    /// The policy collection.
    pub collection: String,
    /// The role that says so: `targets`, or `_labels` where it is delegated.
    pub role: String,
    /// The version of its file.
    pub version: u64,
    /// Ids of the keys that signed it.
    pub signed_by: Vec<String>,
    /// When it expires.
    pub expires: String,
    /// The governed labels.
    pub labels: Vec<GovernedLabel>,
    /// What loads but is probably not meant.
    pub warnings: Vec<String>,
}

/// A label that carries meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GovernedLabel {
    /// The label.
    pub key: String,
    /// What it means.
    pub description: Option<String>,
    /// Whom to ask for another value.
    pub owner: Option<String>,
    /// Names of images at or below which it must be there.
    pub required: Vec<String>,
    /// The values that it may have.
    pub values: Vec<GovernedValue>,
}

/// A value of a governed label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GovernedValue {
    /// As the dictionary spells it.
    pub value: String,
    /// The kinds of cloud that it is fit for.
    pub fit: Vec<String>,
    /// Other spellings that mean it.
    pub aliases: Vec<String>,
}

impl GovernedLabel {
    /// All of a dictionary, by key.
    pub fn all(dictionary: &Dictionary) -> Vec<Self> {
        dictionary.keys().map(|key| Self::of(dictionary, key)).collect()
    }

    fn of(dictionary: &Dictionary, key: &str) -> Self {
        let means = |spelling: &str| match dictionary.meaning(key, spelling, trust_policy::Cloud::Public) {
            trust_policy::Meaning::Value { value, .. } => Some(value.to_owned()),
            _ => None,
        };
        let aliases = |value: &str| -> Vec<String> {
            let is_alias = |spelling: &&str| *spelling != value && means(spelling).as_deref() == Some(value);
            dictionary.spellings(key).filter(is_alias).map(str::to_owned).collect()
        };
        let value = |value: &str| GovernedValue {
            value: value.to_owned(),
            fit: labels::fit(dictionary, key, value),
            aliases: aliases(value),
        };
        Self {
            key: key.to_owned(),
            description: dictionary.description(key).map(str::to_owned),
            owner: dictionary.owner(key).map(str::to_owned),
            required: dictionary.required_below(key).to_vec(),
            values: dictionary.values(key).map(value).collect(),
        }
    }
}
