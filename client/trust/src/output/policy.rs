//! Answers about policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use trust_policy::cases::CaseReport;
use trust_policy::{Decision, Dictionary, Finding, Policy, PolicyIdentity, RuleInfo};

use super::images::Publication;
use crate::policy::labels;

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
    /// Rules that never match or that another one covers, and labels that nothing reads; null where nobody looked for them
    /// (`policy check` does).
    pub findings: Option<Vec<Finding>>,
}

/// `trust policy fmt`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyFormatted {
    /// The folder.
    pub folder: String,
    /// Whether nothing was written (`--check`).
    pub check: bool,
    /// The files that were written anew, or would be.
    pub changed: Vec<String>,
    /// The files that were written so already.
    pub unchanged: Vec<String>,
    /// Why other files stay as they are.
    pub refused: Vec<String>,
}

/// `trust policy test`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyTested {
    /// The folder.
    pub folder: String,
    /// How the cases came out.
    #[serde(flatten)]
    pub report: CaseReport,
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
    /// The role that says which labels are governed; the same as `role` if neither is delegated.
    pub labels_role: String,
    /// The version of its file.
    pub labels_version: u64,
    /// Ids of the keys that signed it.
    pub labels_signed_by: Vec<String>,
    /// How many exceptions are in force now; null if that cannot be told.
    pub exceptions: Option<u64>,
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
    /// What would have been decided without the exception that lifted it; null if none did.
    pub without_exception: Option<Decision>,
    /// Exceptions for this image that do not lift the denial.
    pub exceptions_not_lifting: Vec<NotLifting>,
    /// Exceptions that cannot be read, and so lift nothing.
    pub exceptions_unread: Vec<String>,
}

/// An exception for an image that does not lift its denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotLifting {
    /// Its id.
    pub id: String,
    /// Why not.
    pub why: String,
}

impl NotLifting {
    /// For people.
    pub fn words(&self) -> String {
        format!("{} does not lift this: {}", self.id, self.why)
    }
}

/// `trust policy publish`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyPublished {
    /// The collection.
    pub collection: String,
    /// The folder.
    pub folder: String,
    /// Whether only the dictionary was published (`trust labels publish`); the rules in force stay.
    pub labels_only: bool,
    /// How rules and files differ from what was in force.
    pub changes: PolicyChanges,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// How many cases of the folder were decided as they say; null if there are none, or if they were not run.
    pub cases_passed: Option<usize>,
    /// Whether cases were not run (`--skip-tests`).
    pub tests_skipped: bool,
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
    /// What changes what is allowed or denied: rules that forbid and change or leave, rules that permit and come, change or
    /// leave, governed labels, what their values are fit for. Publishing this wants a confirmation.
    pub to_confirm: Vec<String>,
}

/// `trust policy use`
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyInUse {
    /// The policy collection.
    pub collection: String,
    /// The context that it was written into; null if it is for all of them.
    pub context: Option<String>,
}

impl PolicyFile {
    /// A file of a folder or collection.
    pub fn of(source: &trust_policy::Source) -> Self {
        PolicyFile {
            path: source.path.clone(),
            length: source.bytes.len(),
            sha256: trust_image::Digest::of(&source.bytes).to_string(),
        }
    }
}

impl PolicyChecked {
    /// What these sources were loaded to.
    pub fn of(policy: &Policy, sources: &[trust_policy::Source]) -> Self {
        Self {
            policy: policy.identity().clone(),
            files: sources.iter().map(PolicyFile::of).collect(),
            rules: policy.rules().cloned().collect(),
            dictionary: dictionary(policy.dictionary()),
            warnings: policy.warnings().to_vec(),
            findings: None,
        }
    }
}

fn dictionary(dictionary: &Dictionary) -> BTreeMap<String, Vec<LabelValue>> {
    let value =
        |key: &str, value: &str| LabelValue { value: value.to_owned(), fit: labels::fit(dictionary, key, value) };
    let values = |key: &str| dictionary.values(key).map(|v| value(key, v)).collect();
    dictionary.keys().map(|key| (key.to_owned(), values(key))).collect()
}
