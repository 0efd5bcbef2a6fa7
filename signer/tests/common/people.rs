//! The people of one collection: they hold root, targets and delegated keys, and write files honestly, or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use trust_keys::{LocalKey, SigningKey};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::TargetInfo;
use trust_tuf::{PublicKey, RoleType, UtcTime};
use trust_wire::proof::key_from_json;
use trust_wire::signer::{Reply, Request};

use super::{DAY, World};

const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

pub type Key = Arc<LocalKey>;

/// A key of people, the same for the same words.
pub fn key(words: &str) -> Key {
    let seed = trust_tuf::model::sha256(words.as_bytes());
    Arc::new(LocalKey::from_pkcs8_der(&[&PKCS8[..], &seed].concat()).unwrap())
}

pub fn sign(draft: &Draft, keys: &[&Key]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(keys.iter().map(|key| key.sign(&payload).unwrap()))
}

pub fn at(seconds: i64) -> UtcTime {
    UtcTime::from_unix(seconds).unwrap()
}

/// The files of a publication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub roots: Vec<Vec<u8>>,
    pub roles: BTreeMap<String, Vec<u8>>,
}

impl Files {
    pub fn request(&self, name: &str) -> Request {
        Request::Publish {
            collection: name.to_owned(),
            roots: self.roots.iter().map(|b| b.as_slice().into()).collect(),
            roles: self.roles.iter().map(|(n, b)| (n.clone(), b.as_slice().into())).collect(),
            grant: None,
        }
    }

    pub fn role(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.roles.insert(name.to_owned(), bytes);
        self
    }

    pub fn root(mut self, bytes: Vec<u8>) -> Self {
        self.roots.push(bytes);
        self
    }
}

/// The people of a collection and what was accepted from them.
#[derive(Debug, Clone)]
pub struct Team {
    pub name: String,
    pub root_key: Key,
    pub targets_key: Key,
    pub delegated: BTreeMap<String, Key>,
    pub online: BTreeMap<String, Vec<PublicKey>>,
    pub root: Vec<u8>,
    pub roles: BTreeMap<String, Vec<u8>>,
    pub generation: u64,
}

impl Team {
    pub fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            root_key: key(&format!("{name} root {seed}")),
            targets_key: key(&format!("{name} targets {seed}")),
            delegated: BTreeMap::new(),
            online: BTreeMap::new(),
            root: Vec::new(),
            roles: BTreeMap::new(),
            generation: 0,
        }
    }

    /// Asks the signer for a new key; the proof must hold.
    pub fn new_online_key(&self, world: &mut World, role: &str) -> PublicKey {
        let nonce = "nonce-nonce-nonce".to_owned();
        let request = Request::NewOnlineKeys {
            collection: self.name.clone(),
            roles: vec![role.to_owned()],
            nonce: nonce.clone(),
        };
        let Reply::NewOnlineKeys { proofs } = world.ask(request) else { panic!("no key") };
        let identity = key_from_json(&proofs[0].identity).unwrap().id();
        proofs[0].check(&self.name, RoleType::from_name(role).unwrap(), &nonce, &identity).unwrap()
    }

    pub fn fetch_online_keys(&mut self, world: &mut World) {
        for role in ["timestamp", "snapshot"] {
            let key = self.new_online_key(world, role);
            self.online.insert(role.to_owned(), vec![key]);
        }
    }

    pub fn root_draft(&self, mut draft: Draft) -> Draft {
        draft.set_role(RoleType::Root, &[self.root_key.public().clone()], 1);
        draft.set_role(RoleType::Targets, &[self.targets_key.public().clone()], 1);
        draft.set_role(RoleType::Timestamp, &self.online["timestamp"], 1);
        draft.set_role(RoleType::Snapshot, &self.online["snapshot"], 1);
        draft
    }

    pub fn first(&self, now: i64) -> Files {
        let root = self.root_draft(Draft::root(at(now + 365 * DAY)));
        let targets = Draft::targets(at(now + 180 * DAY));
        Files::default().root(sign(&root, &[&self.root_key])).role("targets", sign(&targets, &[&self.targets_key]))
    }

    /// What was sent is what is current now.
    pub fn accepted(&mut self, files: &Files) {
        if let Some(root) = files.roots.last() {
            self.root.clone_from(root);
        }
        for (name, file) in &files.roles {
            self.roles.insert(name.clone(), file.clone());
        }
        self.generation += 1;
    }

    pub fn targets_draft(&self, now: i64) -> Draft {
        Draft::next(&self.roles["targets"], at(now + 180 * DAY)).unwrap()
    }

    /// The next targets, with one more target.
    pub fn next_targets(&self, now: i64, words: &str) -> Files {
        let mut draft = self.targets_draft(now);
        draft.set_target(&format!("image/{words}"), &TargetInfo::of(words.as_bytes()));
        Files::default().role("targets", sign(&draft, &[&self.targets_key]))
    }

    /// A delegated role with its first file (or the next, where it had one before).
    pub fn delegate(&mut self, now: i64, role: &str) -> Files {
        let key = key(&format!("{} {role} {}", self.name, self.generation));
        let mut draft = self.targets_draft(now);
        draft.set_delegation(&NewDelegation {
            name: role.to_owned(),
            keys: vec![key.public().clone()],
            threshold: 1,
            terminating: true,
            patterns: vec![format!("{role}/*")],
        });
        let file = match self.roles.get(role) {
            Some(last) => Draft::next(last, at(now + 100 * DAY)).unwrap(),
            None => Draft::targets(at(now + 100 * DAY)),
        };
        let files =
            Files::default().role("targets", sign(&draft, &[&self.targets_key])).role(role, sign(&file, &[&key]));
        self.delegated.insert(role.to_owned(), key);
        files
    }

    /// The delegation goes; the file stays with the people, so that the role can come back with its next version.
    pub fn undelegate(&mut self, now: i64, role: &str) -> Files {
        let mut draft = self.targets_draft(now);
        assert!(draft.remove_delegation(role));
        self.delegated.remove(role);
        Files::default().role("targets", sign(&draft, &[&self.targets_key]))
    }

    /// The next file of a delegated role.
    pub fn next_delegated(&self, now: i64, role: &str, words: &str) -> Files {
        let mut draft = Draft::next(&self.roles[role], at(now + 100 * DAY)).unwrap();
        draft.set_target(&format!("{role}/{words}"), &TargetInfo::of(words.as_bytes()));
        Files::default().role(role, sign(&draft, &[&self.delegated[role]]))
    }

    /// The next root as the team stands, signed by the old root key too.
    pub fn next_root(&self, now: i64, old: &Key) -> Files {
        let draft = self.root_draft(Draft::next(&self.root, at(now + 365 * DAY)).unwrap());
        let keys: Vec<&Key> =
            if old.public() == self.root_key.public() { vec![old] } else { vec![old, &self.root_key] };
        Files::default().root(sign(&draft, &keys))
    }
}
