//! A repository and a server in memory: a test changes one number, publishes, refreshes, and looks at error and files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::MetaEntry;
use trust_tuf::{CollectionName, PublicKey, RoleType, Signature, TargetInfo, UtcTime, Version};

use crate::anchor::Anchor;
use crate::reader::Reader;
use crate::state::StateStore;
use crate::transport::{FetchError, Transport};
use crate::verdict::Problem;

pub(crate) const COLLECTION: &str = "registry.example.com/pay";

pub(crate) fn time(text: &str) -> UtcTime {
    UtcTime::parse(text).unwrap()
}

pub(crate) fn now() -> UtcTime {
    time("2030-01-01T00:00:00Z")
}

/// The key made from this seed.
pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::ed25519(pair(seed).public_key().as_ref()).unwrap()
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(crate) fn signed(draft: &Draft, seeds: &[u8]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(
        seeds.iter().map(|s| Signature { keyid: public(*s).id(), sig: pair(*s).sign(&payload).as_ref().to_vec() }),
    )
}

#[derive(Clone)]
pub(crate) struct RoleFile {
    pub(crate) name: String,
    pub(crate) seed: u8,
    pub(crate) signing: u8,
    pub(crate) patterns: Vec<String>,
    pub(crate) version: u64,
    pub(crate) expires: UtcTime,
    pub(crate) targets: BTreeMap<String, TargetInfo>,
}

/// A repository whose every number can be changed before it is published.
#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) server: Server,
    pub(crate) root_seed: u8,
    /// Who signs the next root; the old key as well, unless a test takes it out.
    pub(crate) root_signing: Vec<u8>,
    pub(crate) timestamp_seed: u8,
    pub(crate) snapshot_seed: u8,
    pub(crate) targets_seed: u8,
    /// Who really signs, where it differs.
    pub(crate) timestamp_signing: Option<u8>,
    pub(crate) snapshot_signing: Option<u8>,
    pub(crate) targets_signing: Option<u8>,
    pub(crate) root_version: u64,
    pub(crate) timestamp_version: u64,
    pub(crate) snapshot_version: u64,
    pub(crate) targets_version: u64,
    pub(crate) root_expires: UtcTime,
    pub(crate) timestamp_expires: UtcTime,
    pub(crate) snapshot_expires: UtcTime,
    pub(crate) targets_expires: UtcTime,
    pub(crate) targets: BTreeMap<String, TargetInfo>,
    pub(crate) roles: Vec<RoleFile>,
    pub(crate) first_root: Vec<u8>,
}

fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

impl Repo {
    /// Version 1 of everything, published.
    pub(crate) fn new() -> Self {
        let far = time("2031-01-01T00:00:00Z");
        let mut repo = Self {
            server: Server::default(),
            root_seed: 1,
            root_signing: vec![1],
            timestamp_seed: 2,
            snapshot_seed: 3,
            targets_seed: 4,
            timestamp_signing: None,
            snapshot_signing: None,
            targets_signing: None,
            root_version: 1,
            timestamp_version: 1,
            snapshot_version: 1,
            targets_version: 1,
            root_expires: far,
            timestamp_expires: time("2030-01-02T00:00:00Z"),
            snapshot_expires: time("2030-01-08T00:00:00Z"),
            targets_expires: far,
            targets: BTreeMap::new(),
            roles: Vec::new(),
            first_root: Vec::new(),
        };
        repo.publish_root();
        repo.first_root = repo.server.bytes("1.root.json");
        repo.publish();
        repo
    }

    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { collection: CollectionName::parse(COLLECTION).unwrap(), root: self.first_root.clone() }
    }

    pub(crate) fn root_draft(&self) -> Draft {
        let mut draft = Draft::root(self.root_expires);
        for (role, seed) in [
            (RoleType::Root, self.root_seed),
            (RoleType::Timestamp, self.timestamp_seed),
            (RoleType::Snapshot, self.snapshot_seed),
            (RoleType::Targets, self.targets_seed),
        ] {
            draft.set_role(role, &[public(seed)], 1);
        }
        at_version(draft, self.root_version)
    }

    pub(crate) fn publish_root(&mut self) {
        let file = signed(&self.root_draft(), &self.root_signing);
        self.server.put(&format!("{}.root.json", self.root_version), file);
    }

    /// The next root.
    pub(crate) fn rotate(&mut self, change: impl FnOnce(&mut Self)) {
        let old = self.root_seed;
        change(self);
        self.root_version += 1;
        self.root_signing = vec![old, self.root_seed];
        self.root_signing.dedup();
        self.publish_root();
    }

    /// Writes all files at their versions.
    pub(crate) fn publish(&mut self) {
        let mut meta = BTreeMap::new();
        let mut draft = Draft::targets(self.targets_expires);
        for (path, target) in &self.targets {
            draft.set_target(path, target);
        }
        for role in &self.roles {
            draft.set_delegation(&NewDelegation {
                name: role.name.clone(),
                keys: vec![public(role.seed)],
                threshold: 1,
                terminating: role.name.starts_with('_'),
                patterns: role.patterns.clone(),
            });
            let mut file = Draft::targets(role.expires);
            for (path, target) in &role.targets {
                file.set_target(path, target);
            }
            let file = signed(&at_version(file, role.version), &[role.signing]);
            meta.insert(role.name.clone(), MetaEntry::of(version(role.version), &file));
            self.server.put(&format!("{}.{}.json", role.version, role.name), file);
        }
        let seed = self.targets_signing.unwrap_or(self.targets_seed);
        let targets = signed(&at_version(draft, self.targets_version), &[seed]);
        meta.insert("targets".to_owned(), MetaEntry::of(version(self.targets_version), &targets));
        self.server.put(&format!("{}.targets.json", self.targets_version), targets);
        let entries = meta.iter().map(|(name, entry)| (name.as_str(), entry));
        let draft = Draft::snapshot(version(self.snapshot_version), self.snapshot_expires, entries);
        let snapshot = signed(&draft, &[self.snapshot_signing.unwrap_or(self.snapshot_seed)]);
        let entry = MetaEntry::of(version(self.snapshot_version), &snapshot);
        self.server.put(&format!("{}.snapshot.json", self.snapshot_version), snapshot);
        let draft = Draft::timestamp(version(self.timestamp_version), self.timestamp_expires, &entry);
        let timestamp = signed(&draft, &[self.timestamp_signing.unwrap_or(self.timestamp_seed)]);
        self.server.put("timestamp.json", timestamp);
    }

    /// One version on for targets, snapshot and timestamp, and all roles; published.
    pub(crate) fn bump(&mut self) {
        self.targets_version += 1;
        self.snapshot_version += 1;
        self.timestamp_version += 1;
        for role in &mut self.roles {
            role.version += 1;
        }
        self.publish();
    }

    pub(crate) fn role(&mut self, name: &str, seed: u8, patterns: &[&str]) -> &mut RoleFile {
        self.roles.push(RoleFile {
            name: name.to_owned(),
            seed,
            signing: seed,
            patterns: patterns.iter().map(|&p| p.to_owned()).collect(),
            version: 1,
            expires: time("2031-01-01T00:00:00Z"),
            targets: BTreeMap::new(),
        });
        self.roles.last_mut().unwrap()
    }

    pub(crate) async fn refresh(&self, dir: &Path) -> Result<Reader<Server>, Problem> {
        self.refresh_at(dir, now()).await
    }

    pub(crate) async fn refresh_at(&self, dir: &Path, now: UtcTime) -> Result<Reader<Server>, Problem> {
        Reader::refresh(self.anchor(), open(dir), self.server.clone(), now).await
    }

    pub(crate) fn offline_at(&self, dir: &Path, now: UtcTime) -> Result<Reader<Server>, Problem> {
        Reader::offline(self.anchor(), open(dir), now)
    }
}

pub(crate) fn open(dir: &Path) -> StateStore {
    StateStore::open(dir, &CollectionName::parse(COLLECTION).unwrap()).unwrap()
}

pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join(StateStore::folder_name(&CollectionName::parse(COLLECTION).unwrap()))
}

/// A draft at another version than its first: only `next` moves it.
fn at_version(draft: Draft, wanted: u64) -> Draft {
    let mut value = draft.signed().clone();
    value.as_object_mut().unwrap().insert("version".to_owned(), (wanted - 1).into());
    let expires = time(value.get("expires").unwrap().as_str().unwrap());
    if wanted == 1 {
        return draft;
    }
    let envelope = trust_tuf::json::Value::object([("signed", value)]);
    Draft::next(&envelope.to_json(), expires).unwrap()
}

/// The versions of the four files on disk; 0 where there is none.
pub(crate) fn on_disk(dir: &Path) -> [u64; 4] {
    ["root", "timestamp", "snapshot", "targets"].map(|role| {
        std::fs::read(folder(dir).join(format!("{role}.json"))).map_or(0, |bytes| {
            let value = trust_tuf::json::parse(&bytes).unwrap();
            value.get("signed").unwrap().get("version").unwrap().as_u64().unwrap()
        })
    })
}

#[derive(Clone)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Error(FetchError),
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Answer>,
    cached: BTreeMap<String, Answer>,
    log: Vec<String>,
}

/// A server in memory. Everything that it does not have is a 404.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

impl Server {
    pub(crate) fn put(&self, file: &str, bytes: Vec<u8>) {
        self.0.lock().unwrap().files.insert(file.to_owned(), Answer::Bytes(bytes));
    }

    pub(crate) fn fail(&self, file: &str, error: FetchError) {
        self.0.lock().unwrap().files.insert(file.to_owned(), Answer::Error(error));
    }

    pub(crate) fn remove(&self, file: &str) {
        self.0.lock().unwrap().files.remove(file);
    }

    /// What a cache before the server answers.
    pub(crate) fn cache(&self, file: &str, error: FetchError) {
        self.0.lock().unwrap().cached.insert(file.to_owned(), Answer::Error(error));
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        match self.0.lock().unwrap().files.get(file) {
            Some(Answer::Bytes(bytes)) => bytes.clone(),
            _ => panic!("{file}"),
        }
    }

    /// What was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    fn answer(&self, path: &str, limit: u64, caches: bool) -> Result<Bytes, FetchError> {
        let folder = format!("tuf/{COLLECTION}/");
        let file = path.strip_prefix(&folder).map_or(path, |rest| rest.strip_prefix("_metadata/").unwrap_or(rest));
        let mut state = self.0.lock().unwrap();
        state.log.push(file.to_owned());
        let cached = if caches { state.cached.get(file) } else { None };
        match cached.or(state.files.get(file)) {
            None => Err(FetchError::NotFound),
            Some(Answer::Error(error)) => Err(error.clone()),
            Some(Answer::Bytes(bytes)) if bytes.len() as u64 > limit => Err(FetchError::TooLarge { limit }),
            Some(Answer::Bytes(bytes)) => Ok(Bytes::from(bytes.clone())),
        }
    }
}

impl Transport for Server {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.answer(path, limit, true)
    }

    async fn fetch_past_caches(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.answer(path, limit, false)
    }

    fn describe(&self) -> String {
        "https://trust.example.com".to_owned()
    }
}
