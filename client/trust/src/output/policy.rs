//! Answers about policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use trust_policy::{Decision, Dictionary, Policy, PolicyIdentity, RuleInfo};

use super::images::Publication;

/// `trust policy init`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyWritten {
    /// The folder.
    pub folder: String,
    /// The files in it.
    pub files: Vec<String>,
    /// Whether nothing was written (`--dry-run`).
    pub dry_run: bool,
}

/// `trust policy check`, and what is loaded in every other answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyChecked {
    /// Which policy it is; version 0 is a folder that nobody signed.
    pub policy: PolicyIdentity,
    /// The files.
    pub files: Vec<PolicyFile>,
    /// The rules, by id.
    pub rules: Vec<RuleInfo>,
    /// The governed labels and their values.
    pub dictionary: BTreeMap<String, Vec<LabelValue>>,
    /// What loads but is probably not meant.
    pub warnings: Vec<String>,
}

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyFile {
    /// Its target path: `_policy/main.cedar`.
    pub path: String,
    /// Its length in bytes.
    pub length: usize,
    /// Its SHA-256.
    pub sha256: String,
}

/// A value that a governed label may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LabelValue {
    /// As the dictionary spells it.
    pub value: String,
    /// The kinds of cloud that it is fit for.
    pub fit: Vec<String>,
}

/// `trust policy show`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyShown {
    /// The collection.
    pub collection: String,
    /// The role that says so: `targets`, or `_policy` where it is delegated.
    pub role: String,
    /// The version of its file.
    pub version: u64,
    /// Ids of the keys that signed it.
    pub signed_by: Vec<String>,
    /// When it expires: from then on nothing is decided by it.
    pub expires: String,
    /// What it loads to; null if it does not.
    pub loaded: Option<PolicyChecked>,
    /// Why it does not load.
    pub fault: Option<String>,
}

/// `trust policy show --raw`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyRaw {
    /// The collection.
    pub collection: String,
    /// The target path.
    pub path: String,
    /// The file as it was signed.
    pub content: String,
}

/// `trust policy explain`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Explained {
    /// The image.
    pub reference: String,
    /// The verified digest.
    pub digest: String,
    /// Whether the image was verified; false if the facts came from a file (`--facts`).
    pub verified: bool,
    /// The decision.
    pub decision: Decision,
}

/// `trust policy publish`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyPublished {
    /// The collection.
    pub collection: String,
    /// The folder.
    pub folder: String,
    /// How rules and files differ from what was in force.
    pub changes: PolicyChanges,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// What was published; null with `--dry-run`.
    pub publication: Option<Publication>,
}

/// The difference between two policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyChanges {
    /// Ids of new rules.
    pub rules_added: Vec<String>,
    /// Ids of rules that leave.
    pub rules_removed: Vec<String>,
    /// Ids of rules with another text.
    pub rules_changed: Vec<String>,
    /// Ids of rules that stay as they are.
    pub rules_unchanged: Vec<String>,
    /// New files.
    pub files_added: Vec<String>,
    /// Files that leave.
    pub files_removed: Vec<String>,
    /// Files with another content.
    pub files_changed: Vec<String>,
    /// Why what was in force could not be compared rule by rule.
    pub not_compared: Option<String>,
    /// What held so far and changes or leaves: rules that forbid, governed labels, what their values are fit for. Publishing
    /// this wants a confirmation.
    pub weakened: Vec<String>,
}

/// `trust policy use`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyInUse {
    /// The policy collection.
    pub collection: String,
    /// The context that it was written into; null if it is for all of them.
    pub context: Option<String>,
}

impl PolicyChecked {
    /// What these sources were loaded to.
    pub fn of(policy: &Policy, sources: &[trust_policy::Source]) -> Self {
        let file = |source: &trust_policy::Source| PolicyFile {
            path: source.path.clone(),
            length: source.bytes.len(),
            sha256: trust_image::Digest::of(&source.bytes).to_string(),
        };
        Self {
            policy: policy.identity().clone(),
            files: sources.iter().map(file).collect(),
            rules: policy.rules().cloned().collect(),
            dictionary: dictionary(policy.dictionary()),
            warnings: policy.warnings().to_vec(),
        }
    }
}

fn dictionary(dictionary: &Dictionary) -> BTreeMap<String, Vec<LabelValue>> {
    use trust_policy::Cloud;
    use trust_policy::dictionary::Meaning;
    let value = |key: &str, value: &str| LabelValue {
        value: value.to_owned(),
        fit: Cloud::ALL
            .into_iter()
            .filter(|cloud| matches!(dictionary.meaning(key, value, *cloud), Meaning::Value { fit: true, .. }))
            .map(|cloud| cloud.to_string())
            .collect(),
    };
    let values = |key: &str| dictionary.values(key).map(|v| value(key, v)).collect();
    dictionary.keys().map(|key| (key.to_owned(), values(key))).collect()
}
