//! The repository side of the simulator: role files as JSON trees, who signs them, and publishing.
//!
//! Nothing here checks anything. What a test does not change is right; what it changes is published as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use trust_tuf::UtcTime;
use trust_tuf::json::Value;
use trust_tuf::model::sha256;
use trust_tuf::names::percent_encode;

use super::world::{days, now};
use super::{TestKey, Wire};

/// A role file to be: its signed part, and who signs it.
#[derive(Clone)]
pub struct RoleDocument {
    /// The signed part.
    pub signed: Value,
    /// The keys that sign it, each once and under its own id.
    pub signers: Vec<TestKey>,
    /// Signatures that stand in the file beside those, as (key id, text).
    pub junk: Vec<(String, String)>,
}

impl RoleDocument {
    fn new(kind: &str, expires: UtcTime, members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let common = [
            ("_type", Value::from(kind)),
            ("spec_version", Value::from("1.0.31")),
            ("version", Value::from(1_u64)),
            ("expires", Value::from(expires.to_string())),
        ];
        Self { signed: Value::object(common.into_iter().chain(members)), signers: Vec::new(), junk: Vec::new() }
    }

    /// The file's bytes: every signer signs the canonical form.
    pub fn bytes(&self) -> Vec<u8> {
        let payload = self.signed.canonical();
        let signature = |id: &str, sig: &str| Value::object([("keyid", Value::from(id)), ("sig", Value::from(sig))]);
        let own = self.signers.iter().map(|key| signature(key.id(), &hex::encode(key.sign(&payload))));
        let junk = self.junk.iter().map(|(id, sig)| signature(id, sig));
        let signatures = Value::Array(own.chain(junk).collect());
        Value::object([("signatures", signatures), ("signed", self.signed.clone())]).to_json()
    }

    /// The version that the file states.
    pub fn version(&self) -> u64 {
        self.signed.get("version").and_then(Value::as_u64).unwrap_or(0)
    }

    /// The member at this path; what is missing on the way becomes an object.
    pub fn at(&mut self, path: &[&str]) -> &mut Value {
        let mut place = &mut self.signed;
        for name in path {
            if place.as_object().is_none() {
                *place = Value::Object(BTreeMap::new());
            }
            let Value::Object(members) = place else { unreachable!("made one just now") };
            place = members.entry((*name).to_owned()).or_insert(Value::Null);
        }
        place
    }

    /// Sets the member at this path.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        *self.at(path) = value.into();
    }

    /// Removes the member at this path.
    pub fn unset(&mut self, path: &[&str]) {
        if let Some((last, parents)) = path.split_last()
            && let Some(members) = self.at(parents).as_object_mut()
        {
            members.remove(*last);
        }
    }

    /// Sets the version.
    pub fn set_version(&mut self, version: u64) {
        self.set(&["version"], version);
    }

    /// Adds one to the version.
    pub fn bump(&mut self) {
        self.set_version(self.version() + 1);
    }

    /// Sets the expiry.
    pub fn set_expires(&mut self, expires: UtcTime) {
        self.set(&["expires"], expires.to_string());
    }
}

/// A delegation to be written. [`Repository::delegate`] makes the role as well.
#[derive(Clone)]
pub struct Delegate {
    /// The role's name.
    pub name: String,
    /// Its keys, which also sign it.
    pub keys: Vec<TestKey>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Whether a search that matches ends with it.
    pub terminating: bool,
    /// The member that says what it is for: `paths` or `path_hash_prefixes`.
    pub by: &'static str,
    /// Its contents.
    pub paths: Vec<String>,
}

impl Delegate {
    /// A delegation by patterns to one key, not terminating.
    pub fn new(name: &str, key: &TestKey, patterns: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            keys: vec![key.clone()],
            threshold: 1,
            terminating: false,
            by: "paths",
            paths: patterns.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    /// The same, terminating.
    pub fn terminating(self) -> Self {
        Self { terminating: true, ..self }
    }

    fn to_value(&self) -> Value {
        let ids = self.keys.iter().map(|k| Value::from(k.id())).collect::<Vec<_>>();
        let paths = self.paths.iter().map(|p| Value::from(p.as_str())).collect::<Vec<_>>();
        Value::object([
            ("name", Value::from(self.name.as_str())),
            ("keyids", Value::from(ids)),
            ("threshold", Value::from(self.threshold)),
            ("terminating", Value::from(self.terminating)),
            (self.by, Value::from(paths)),
        ])
    }
}

/// The repository.
pub struct Repository {
    /// The role files as they would be published next, by role name.
    pub roles: BTreeMap<String, RoleDocument>,
    /// What clients see.
    pub wire: Arc<Wire>,
    /// Whether timestamp and snapshot state lengths and hashes.
    pub hashes: bool,
    /// The first published root: what clients pin.
    pub pinned: Vec<u8>,
    next_key: u8,
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

impl Repository {
    /// A repository with one Ed25519 key for each top-level role, all at version 1, published.
    pub fn new() -> Self {
        let mut repository = Self::unpublished();
        repository.publish_root();
        repository.publish_same_versions();
        repository
    }

    /// The same, with nothing published yet.
    pub fn unpublished() -> Self {
        let expires = now().plus_secs(days(60)).expect("a time");
        let empty = || Value::Object(BTreeMap::new());
        let root = [("consistent_snapshot", Value::from(true)), ("keys", empty()), ("roles", empty())];
        let roles = [
            ("root", RoleDocument::new("root", expires, root)),
            ("timestamp", RoleDocument::new("timestamp", expires, [("meta", empty())])),
            ("snapshot", RoleDocument::new("snapshot", expires, [("meta", empty())])),
            ("targets", RoleDocument::new("targets", expires, [("targets", empty())])),
        ];
        let mut repository = Self {
            roles: roles.into_iter().map(|(name, role)| (name.to_owned(), role)).collect(),
            wire: Arc::new(Wire::default()),
            hashes: true,
            pinned: Vec::new(),
            next_key: 0,
        };
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let key = repository.new_key();
            repository.set_keys(role, &[key], 1);
        }
        repository
    }

    /// A key that this repository has not used before.
    pub fn new_key(&mut self) -> TestKey {
        self.next_key += 1;
        TestKey::ed25519(self.next_key)
    }

    /// A role file to be changed.
    pub fn role(&mut self, name: &str) -> &mut RoleDocument {
        self.roles.get_mut(name).unwrap_or_else(|| panic!("no role {name}"))
    }

    /// The root to be changed.
    pub fn root(&mut self) -> &mut RoleDocument {
        self.role("root")
    }

    /// Writes into the root who speaks for a top-level role, and lets those keys sign it from now on. New root keys sign
    /// beside the old ones; call it twice to have only the new ones.
    pub fn set_keys(&mut self, role: &str, keys: &[TestKey], threshold: u64) {
        self.list_keys(role, keys, threshold);
        let signers = &mut self.role(role).signers;
        let old = if role == "root" { std::mem::take(signers) } else { Vec::new() };
        *signers = keys.to_vec();
        for key in old {
            if !signers.iter().any(|k| k.id() == key.id()) {
                signers.push(key);
            }
        }
    }

    /// Writes into the root who speaks for a top-level role; who signs stays.
    pub fn list_keys(&mut self, role: &str, keys: &[TestKey], threshold: u64) {
        let ids = keys.iter().map(|k| Value::from(k.id())).collect::<Vec<_>>();
        let root = self.root();
        for key in keys {
            root.set(&["keys", key.id()], key.value());
        }
        root.set(&["roles", role, "keyids"], ids);
        root.set(&["roles", role, "threshold"], threshold);
    }

    /// Adds a delegation at the end, and an empty role at version 1 signed by its keys if there is none of the name.
    pub fn delegate(&mut self, from: &str, delegate: &Delegate) {
        let expires = now().plus_secs(days(60)).expect("a time");
        self.roles.entry(delegate.name.clone()).or_insert_with(|| {
            let empty = [("targets", Value::Object(BTreeMap::new()))];
            let mut role = RoleDocument::new("targets", expires, empty);
            role.signers = delegate.keys.clone();
            role
        });
        let delegator = self.role(from);
        for key in &delegate.keys {
            delegator.set(&["delegations", "keys", key.id()], key.value());
        }
        let roles = delegator.at(&["delegations", "roles"]);
        let mut list = roles.as_array().map(<[Value]>::to_vec).unwrap_or_default();
        list.push(delegate.to_value());
        *roles = Value::Array(list);
    }

    /// The delegations of a role, to be changed.
    pub fn delegations(&mut self, from: &str) -> &mut Vec<Value> {
        let roles = self.role(from).at(&["delegations", "roles"]);
        if roles.as_array().is_none() {
            *roles = Value::Array(Vec::new());
        }
        let Value::Array(list) = roles else { unreachable!("made one just now") };
        list
    }

    /// Lists a target with its SHA-256 and serves its bytes.
    pub fn add_target(&mut self, role: &str, path: &str, bytes: &[u8]) {
        let hash = hex::encode(sha256(bytes));
        let entry = Value::object([
            ("length", Value::from(bytes.len() as u64)),
            ("hashes", Value::object([("sha256", Value::from(hash.as_str()))])),
        ]);
        self.role(role).set(&["targets", path], entry);
        let name = match path.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/{hash}.{name}"),
            None => format!("{hash}.{path}"),
        };
        self.wire.put(&format!("targets/{name}"), bytes.to_vec());
    }

    /// The name under which a role file is served at its present version.
    pub fn file_name(&self, role: &str) -> String {
        let consistent = self.roles["root"].signed.get("consistent_snapshot").and_then(Value::as_bool) == Some(true);
        let encoded = percent_encode(role);
        match role {
            "timestamp" => "timestamp.json".to_owned(),
            "root" => format!("{}.root.json", self.roles[role].version()),
            _ if consistent => format!("{}.{encoded}.json", self.roles[role].version()),
            _ => format!("{encoded}.json"),
        }
    }

    /// Puts one role file on the wire as it is, and changes nothing else. Gives its bytes.
    pub fn write(&mut self, role: &str) -> Vec<u8> {
        let bytes = self.roles[role].bytes();
        self.wire.put(&self.file_name(role), bytes.clone());
        bytes
    }

    /// What a timestamp or snapshot states of a file with these bytes.
    pub fn entry(&self, version: u64, bytes: &[u8]) -> Value {
        let mut members = vec![("version", Value::from(version))];
        if self.hashes {
            members.push(("length", Value::from(bytes.len() as u64)));
            members.push(("hashes", Value::object([("sha256", Value::from(hex::encode(sha256(bytes))))])));
        }
        Value::object(members)
    }

    /// Publishes the root as it is. The first one is what clients pin.
    pub fn publish_root(&mut self) {
        let bytes = self.write("root");
        if self.pinned.is_empty() {
            self.pinned = bytes;
        }
    }

    /// Publishes the next version of the root.
    pub fn publish_next_root(&mut self) {
        self.root().bump();
        self.publish_root();
    }

    /// Writes every targets file and lists them in the snapshot tree.
    pub fn write_targets(&mut self) {
        let names: Vec<String> =
            self.roles.keys().filter(|n| !matches!(n.as_str(), "root" | "timestamp" | "snapshot")).cloned().collect();
        for name in names {
            let bytes = self.write(&name);
            let entry = self.entry(self.roles[&name].version(), &bytes);
            self.role("snapshot").set(&["meta", &format!("{name}.json")], entry);
        }
    }

    /// Writes the snapshot and names it in the timestamp tree.
    pub fn write_snapshot(&mut self) {
        let bytes = self.write("snapshot");
        let entry = self.entry(self.roles["snapshot"].version(), &bytes);
        self.role("timestamp").set(&["meta", "snapshot.json"], entry);
    }

    /// Writes everything below the root at the versions that the trees state.
    pub fn publish_same_versions(&mut self) {
        self.write_targets();
        self.write_snapshot();
        self.write("timestamp");
    }

    /// A publication: all targets files as they are, the next snapshot, the next timestamp.
    pub fn publish(&mut self) {
        self.role("snapshot").bump();
        self.role("timestamp").bump();
        self.publish_same_versions();
    }

    /// The next timestamp for the snapshot as it was written.
    pub fn publish_timestamp(&mut self) {
        self.role("timestamp").bump();
        self.write("timestamp");
    }
}
