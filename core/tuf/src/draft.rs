//! New metadata files. Editing works on the tree of the file before, so that members which this version does not know
//! survive; what is written is compact JSON with sorted members.

use std::collections::BTreeMap;

use crate::error::MetadataError;
use crate::json::{self, Value};
use crate::keys::{PublicKey, Signature};
use crate::model::{Bins, MetaEntry, TargetInfo};
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

const SPEC_VERSION: &str = "1.0.31";

/// The `signed` part of a file to be.
#[derive(Debug, Clone)]
pub struct Draft {
    signed: Value,
}

impl Draft {
    /// A first version of a targets role, without targets.
    pub fn targets(expires: UtcTime) -> Self {
        Self::targets_at(Version::ONE, expires)
    }

    /// A targets role without targets that counts on: the next version of one that was removed.
    pub fn targets_at(version: Version, expires: UtcTime) -> Self {
        Self::new(RoleType::Targets, version, expires, [("targets", Value::Object(BTreeMap::new()))])
    }

    /// A first root with consistent snapshots; its roles are still to be set.
    pub fn root(expires: UtcTime) -> Self {
        let members = [
            ("consistent_snapshot", Value::from(true)),
            ("keys", Value::Object(BTreeMap::new())),
            ("roles", Value::Object(BTreeMap::new())),
        ];
        Self::new(RoleType::Root, Version::ONE, expires, members)
    }

    /// A snapshot that lists these roles.
    pub fn snapshot<'a>(
        version: Version,
        expires: UtcTime,
        meta: impl IntoIterator<Item = (&'a str, &'a MetaEntry)>,
    ) -> Self {
        let meta = Value::object(meta.into_iter().map(|(role, entry)| (format!("{role}.json"), entry.to_value())));
        Self::new(RoleType::Snapshot, version, expires, [("meta", meta)])
    }

    /// A timestamp that names this snapshot.
    pub fn timestamp(version: Version, expires: UtcTime, snapshot: &MetaEntry) -> Self {
        let meta = Value::object([("snapshot.json", snapshot.to_value())]);
        Self::new(RoleType::Timestamp, version, expires, [("meta", meta)])
    }

    fn new(
        role: RoleType,
        version: Version,
        expires: UtcTime,
        members: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let common = [
            ("_type", Value::from(role.as_str())),
            ("spec_version", Value::from(SPEC_VERSION)),
            ("version", Value::from(version.get())),
            ("expires", Value::from(expires.to_string())),
        ];
        Self { signed: Value::object(common.into_iter().chain(members)) }
    }

    /// The next version of an existing file: everything in it stays but the version and the expiry.
    pub fn next(file: &[u8], expires: UtcTime) -> Result<Self, MetadataError> {
        let envelope = json::parse(file)?;
        let mut signed = envelope.get("signed").cloned().ok_or(MetadataError::Missing("signed"))?;
        let version =
            signed.get("version").and_then(Value::as_u64).and_then(Version::new).ok_or(MetadataError::Version)?;
        let next = version.next().ok_or(MetadataError::Version)?;
        let members = signed.as_object_mut().ok_or(MetadataError::Missing("signed"))?;
        members.insert("version".to_owned(), Value::from(next.get()));
        members.insert("expires".to_owned(), Value::from(expires.to_string()));
        Ok(Self { signed })
    }

    /// The version of this draft.
    pub fn version(&self) -> Option<Version> {
        self.signed.get("version").and_then(Value::as_u64).and_then(Version::new)
    }

    /// The signed part as it stands.
    pub fn signed(&self) -> &Value {
        &self.signed
    }

    /// Sets when the file expires.
    pub fn set_expires(&mut self, expires: UtcTime) {
        edit(&mut self.signed, |signed| signed.insert("expires".to_owned(), Value::from(expires.to_string())));
    }

    /// Sets who speaks for a top-level role. Keys that no role needs any more leave the file.
    pub fn set_role(&mut self, role: RoleType, keys: &[PublicKey], threshold: u64) {
        edit(&mut self.signed, |signed| {
            edit_member(signed, "roles", |roles| {
                edit_member(roles, role.as_str(), |entry| set_keys(entry, keys, threshold));
            });
            let roles = signed.get("roles").cloned().unwrap_or(Value::Null);
            let lists = roles.as_object().into_iter().flat_map(|o| o.values());
            edit_member(signed, "keys", |table| replace_keys(table, keys, lists));
        });
    }

    /// Lists a target, in place of what was listed under the path.
    pub fn set_target(&mut self, path: &str, target: &TargetInfo) {
        edit(&mut self.signed, |signed| {
            edit_member(signed, "targets", |targets| targets.insert(path.to_owned(), target.to_value()));
        });
    }

    /// Removes a target; false if it was not listed.
    pub fn remove_target(&mut self, path: &str) -> bool {
        let mut removed = false;
        edit(&mut self.signed, |signed| {
            edit_member(signed, "targets", |targets| removed = targets.remove(path).is_some());
        });
        removed
    }

    /// Takes all targets out, each as it stands in the file.
    pub fn take_targets(&mut self) -> BTreeMap<String, Value> {
        let taken =
            edit(&mut self.signed, |signed| signed.insert("targets".to_owned(), Value::Object(BTreeMap::new())));
        match taken {
            Some(Value::Object(targets)) => targets,
            _ => BTreeMap::new(),
        }
    }

    /// Lists a target as it stood in another file.
    pub fn put_target(&mut self, path: String, target: Value) {
        edit(&mut self.signed, |signed| edit_member(signed, "targets", |targets| targets.insert(path, target)));
    }

    /// Adds a delegation at the end of the order of priority (reserved roles: at its front), or replaces the one with
    /// this name in its place.
    pub fn set_delegation(&mut self, new: &NewDelegation) {
        let at = if new.name.starts_with('_') { 0 } else { usize::MAX };
        self.set_delegation_at(new, at);
    }

    /// The same, in front of another delegation.
    pub fn set_delegation_before(&mut self, new: &NewDelegation, other: &str) {
        let roles = self.signed.get("delegations").and_then(|d| d.get("roles")).and_then(Value::as_array);
        let at = roles.unwrap_or_default().iter().position(|r| is_named(r, other));
        self.set_delegation_at(new, at.unwrap_or(usize::MAX));
    }

    fn set_delegation_at(&mut self, new: &NewDelegation, at: usize) {
        self.edit_delegations(&new.keys, |roles| match roles.iter_mut().find(|r| is_named(r, &new.name)) {
            Some(place) => *place = new.to_value(),
            None => roles.insert(at.min(roles.len()), new.to_value()),
        });
    }

    /// Removes a delegation; false if there is none with this name.
    pub fn remove_delegation(&mut self, name: &str) -> bool {
        self.edit_delegations(&[], |roles| {
            let before = roles.len();
            roles.retain(|r| !is_named(r, name));
            roles.len() < before
        })
    }

    /// Puts a delegation behind all others; false if there is none with this name.
    pub fn move_delegation_last(&mut self, name: &str) -> bool {
        self.edit_delegations(&[], |roles| match roles.iter().position(|r| is_named(r, name)) {
            Some(at) => {
                let role = roles.remove(at);
                roles.push(role);
                true
            }
            None => false,
        })
    }

    fn edit_delegations<T>(&mut self, keys: &[PublicKey], change: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        edit(&mut self.signed, |signed| {
            edit_member(signed, "delegations", |delegations| {
                let mut roles =
                    delegations.get("roles").and_then(Value::as_array).map(<[Value]>::to_vec).unwrap_or_default();
                let result = change(&mut roles);
                edit_member(delegations, "keys", |table| replace_keys(table, keys, roles.iter()));
                delegations.insert("roles".to_owned(), Value::Array(roles));
                result
            })
        })
    }

    /// Delegates every path to hash bins, in place of all delegations that there are.
    pub fn set_bins(&mut self, bins: &Bins, keys: &[PublicKey], threshold: u64) {
        let mut succinct = BTreeMap::from([
            ("bit_length".to_owned(), Value::from(u64::from(bins.bit_length()))),
            ("name_prefix".to_owned(), Value::from(bins.name_prefix())),
        ]);
        set_keys(&mut succinct, keys, threshold);
        let succinct = Value::Object(succinct);
        edit(&mut self.signed, |signed| {
            edit_member(signed, "delegations", |delegations| {
                delegations.remove("roles");
                edit_member(delegations, "keys", |table| replace_keys(table, keys, [&succinct].into_iter()));
                delegations.insert("succinct_roles".to_owned(), succinct);
            });
        });
    }

    /// Delegates to nobody.
    pub fn remove_delegations(&mut self) {
        edit(&mut self.signed, |signed| signed.remove("delegations"));
    }

    /// The bytes to sign: the canonical form.
    pub fn payload(&self) -> Vec<u8> {
        self.signed.canonical()
    }

    /// The file, with these signatures.
    pub fn assemble(&self, signatures: impl IntoIterator<Item = Signature>) -> Vec<u8> {
        let entry = |s: Signature| {
            Value::object([("keyid", Value::from(s.keyid.as_str())), ("sig", Value::from(hex::encode(s.sig)))])
        };
        let signatures = Value::Array(signatures.into_iter().map(entry).collect());
        Value::object([("signatures", signatures), ("signed", self.signed.clone())]).to_json()
    }
}

/// A delegation to be written.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    /// The role's name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Whether a search that matches ends with it.
    pub terminating: bool,
    /// Patterns of `*` and `?`, written for the exact depth.
    pub patterns: Vec<String>,
}

impl NewDelegation {
    fn to_value(&self) -> Value {
        let mut members = BTreeMap::from([
            ("name".to_owned(), Value::from(self.name.as_str())),
            ("terminating".to_owned(), Value::from(self.terminating)),
            ("paths".to_owned(), Value::Array(self.patterns.iter().map(|p| Value::from(p.as_str())).collect())),
        ]);
        set_keys(&mut members, &self.keys, self.threshold);
        Value::Object(members)
    }
}

/// Calls `change` with the members of `value`, which becomes an object if it was none.
fn edit<T>(value: &mut Value, change: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
    let mut members = match std::mem::replace(value, Value::Null) {
        Value::Object(members) => members,
        _ => BTreeMap::new(),
    };
    let result = change(&mut members);
    *value = Value::Object(members);
    result
}

fn edit_member<T>(
    parent: &mut BTreeMap<String, Value>,
    name: &str,
    change: impl FnOnce(&mut BTreeMap<String, Value>) -> T,
) -> T {
    edit(parent.entry(name.to_owned()).or_insert(Value::Null), change)
}

fn is_named(delegation: &Value, name: &str) -> bool {
    delegation.get("name").and_then(Value::as_str) == Some(name)
}

fn set_keys(entry: &mut BTreeMap<String, Value>, keys: &[PublicKey], threshold: u64) {
    let ids = keys.iter().map(|k| Value::from(k.id().as_str())).collect();
    entry.insert("keyids".to_owned(), Value::Array(ids));
    entry.insert("threshold".to_owned(), Value::from(threshold));
}

/// Adds keys to a table and drops those that none of the entries (each with `keyids`) lists.
fn replace_keys<'a>(table: &mut BTreeMap<String, Value>, add: &[PublicKey], entries: impl Iterator<Item = &'a Value>) {
    let listed: std::collections::BTreeSet<&str> =
        entries.filter_map(|e| e.get("keyids")?.as_array()).flatten().filter_map(Value::as_str).collect();
    for key in add {
        table.insert(key.id().as_str().to_owned(), key.to_value());
    }
    table.retain(|id, _| listed.contains(id.as_str()));
}
