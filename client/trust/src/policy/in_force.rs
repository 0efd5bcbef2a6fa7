//! The policy that a collection has in force.
//!
//! Invariant: rules and dictionary are from one update of one pinned collection, whole and checked by length and hash.

use trust_policy::{Dictionary, LoadError, Policy, PolicyIdentity, Source};
use trust_reader::reserved::ReservedSet;
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, UtcTime};

use super::fault;
use crate::app::App;
use crate::session::Session;
use crate::settings::Pin;
use crate::style;

/// The files that are in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Where they come from. Its digest is filled in by loading.
    pub identity: PolicyIdentity,
    /// Who says which rules are in force.
    pub rules: SignedRole,
    /// Who says which labels are.
    pub labels: SignedRole,
    /// The first expiry of the roles that say so.
    pub expires: UtcTime,
    /// Rules and dictionary, by their target path.
    pub sources: Vec<Source>,
}

/// The role that says what is in force of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRole {
    /// Its name: `targets`, or that of the kind where it is delegated.
    pub name: String,
    /// The version of its file.
    pub version: u64,
    /// Ids of the keys that signed it.
    pub keys: Vec<String>,
    /// When it expires.
    pub expires: UtcTime,
}

impl SignedRole {
    /// Who says so in this set.
    pub fn of(set: &ReservedSet) -> Self {
        Self { name: set.role.clone(), version: set.version, keys: set.signed_by.clone(), expires: set.expires }
    }

    /// Who signed it, for decisions and people.
    pub fn signed_by(&self) -> Vec<String> {
        self.keys.iter().map(|id| format!("key {}", style::short(id))).collect()
    }
}

/// The files of a set.
pub fn sources_of(set: &ReservedSet) -> Vec<Source> {
    let entries = set.entries.iter();
    entries.map(|(path, bytes)| Source { path: path.clone(), bytes: bytes.to_vec() }).collect()
}

impl InForce {
    /// What is in force in this collection; there may be nothing.
    pub fn read(app: &App, session: &mut Session) -> Result<InForce, Problem> {
        let rules = app.wait(session.reader.reserved("_policy"))?;
        let labels = app.wait(session.reader.reserved("_labels"))?;
        let mut sources = sources_of(&rules);
        sources.extend(sources_of(&labels));
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        let (rules, labels) = (SignedRole::of(&rules), SignedRole::of(&labels));
        Ok(InForce {
            identity: PolicyIdentity {
                collection: session.collection.to_string(),
                version: rules.version,
                digest: String::new(),
                signed_by: rules.signed_by(),
            },
            expires: rules.expires.min(labels.expires),
            rules,
            labels,
            sources,
        })
    }

    /// Whether any rule is in force.
    pub fn has_rules(&self) -> bool {
        self.sources.iter().any(|source| source.path.starts_with("_policy/"))
    }

    /// Whether it loads: rules and dictionary together, or the dictionary alone where there are no rules.
    pub fn check(&self) -> Result<(), LoadError> {
        match self.has_rules() {
            true => Policy::load(&self.sources, self.identity.clone()).map(drop),
            false => Dictionary::load(&self.sources).map(drop),
        }
    }

    /// Loads them. Nothing in force is an error: no rule permits anything.
    pub fn load(&self) -> Result<Policy, Problem> {
        if !self.has_rules() {
            return Err(fault::nothing_in_force(&self.identity.collection));
        }
        let loaded = Policy::load(&self.sources, self.identity.clone());
        loaded.map_err(|error| fault::refused_collection(&self.identity.collection, self.identity.version, &error))
    }
}

/// The collection that was named, else the one of the settings. It must be pinned: there is no other way to trust it.
pub fn pin_of_policy<'a>(app: &'a App, named: Option<&CollectionName>) -> Result<&'a Pin, Problem> {
    let name = match (named, &app.settings.policy) {
        (Some(name), _) => name.as_str(),
        (None, Some(setting)) => setting.value.as_str(),
        (None, None) => return Err(fault::no_policy_collection()),
    };
    app.settings.pin(name).ok_or_else(|| crate::fault::not_pinned(name))
}
