//! One story: an honest repository, an attacker between it and its clients, two clients and their two oracles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trust_tuf::UtcTime;
use trust_tuf::json::{self, Value};

use super::attacker::twins;
use super::dice::Dice;
use super::plain::{self, Ledger, Plain, Reply};
use crate::simulator::reader::ReaderClient;
use crate::simulator::{Client, Delegate, Fault, Repository, RoleDocument, Stages, TestKey, Wire, days, now};

/// The target paths of a story. Nobody honest ever lists `evil`.
pub const PATHS: [&str; 7] = ["one", "a/1", "a/2", "b/1", "d/e/1", "d/e/22", "evil"];
const PATTERNS: [&str; 8] = ["*", "a/*", "?/1", "b/?", "d/e/*", "*/*", "d/*/1", "o*e"];
const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// The files that a client asks for, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A client and what it must be like.
pub struct Pair {
    /// The client.
    pub client: Box<dyn Client>,
    /// Its oracle.
    pub plain: Plain,
}

/// The story so far.
pub struct Scene {
    /// The honest repository.
    pub repo: Repository,
    /// Every file that it ever published, by role, the oldest first.
    pub published: BTreeMap<String, Vec<Vec<u8>>>,
    /// What it served after each of its steps.
    pub moments: Vec<Files>,
    /// What clients are served now.
    pub served: BTreeMap<String, Reply>,
    /// The keys that the attacker has.
    pub held: Vec<TestKey>,
    /// The time of the next update.
    pub now: UtcTime,
    /// All signatures.
    pub ledger: Ledger,
    /// The core alone.
    pub stages: Pair,
    /// The shipped reader on its folder; kept apart, because it can crash.
    pub reader: ReaderClient,
    /// The reader's oracle.
    pub reader_plain: Plain,
    /// When the reader last succeeded.
    pub last_success: Option<UtcTime>,
    wire: Arc<Wire>,
    honest: BTreeSet<[u8; 32]>,
    publics: BTreeMap<String, String>,
    // Who ever spoke for a role by an honest file: the role, the ids, the threshold.
    powers: BTreeSet<(String, Vec<String>, u64)>,
    next_name: usize,
}

/// The role of a file name: `3.targets.json`, `timestamp.json`.
pub fn role_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".json").filter(|stem| !stem.contains('/'))?;
    match stem.split_once('.') {
        Some((version, role)) if version.bytes().all(|b| b.is_ascii_digit()) => Some(role),
        _ => Some(stem),
    }
}

impl Scene {
    /// A story that has just begun: four keys, nothing signed, a client that has never updated.
    pub fn new(dice: &mut Dice) -> Self {
        let mut repo = Repository::unpublished();
        repo.hashes = !dice.once_in(3);
        if dice.once_in(6) {
            repo.root().set(&["consistent_snapshot"], false);
        }
        repo.publish_root();
        repo.publish_same_versions();
        let wire = Arc::new(Wire::default());
        let client = Box::new(Stages::new(repo.pinned.clone(), Arc::clone(&wire)));
        let reader = ReaderClient::new(repo.pinned.clone(), Arc::clone(&wire));
        // One that starts anew for every update, or one that stays up and knows what it verified before.
        let reader = if dice.once_in(2) { reader.staying_up() } else { reader };
        let mut scene = Self {
            stages: Pair { client, plain: Plain::new(&repo.pinned) },
            reader,
            reader_plain: Plain::new(&repo.pinned),
            published: BTreeMap::new(),
            moments: Vec::new(),
            served: BTreeMap::new(),
            held: (0..3).map(|n| TestKey::ed25519(250 + n)).collect(),
            now: now(),
            ledger: Ledger::default(),
            last_success: None,
            honest: BTreeSet::new(),
            publics: BTreeMap::new(),
            powers: BTreeSet::new(),
            next_name: 0,
            wire,
            repo,
        };
        scene.published();
        scene.serve_honest();
        scene
    }

    /// The wire that clients read.
    pub fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    fn new_keys(&mut self, count: usize) -> Vec<TestKey> {
        (0..count).map(|_| self.repo.new_key()).collect()
    }

    /// Notes what the repository just published: its files, its signatures, and whom it made powerful.
    pub fn published(&mut self) {
        for document in self.repo.roles.values() {
            for key in &document.signers {
                self.publics.insert(key.id().to_owned(), plain::public_half(key));
            }
        }
        let files = self.repo.wire.files();
        for (name, bytes) in &files {
            let Some(role) = role_of(name) else { continue };
            let known = self.published.entry(role.to_owned()).or_default();
            if known.contains(bytes) {
                continue;
            }
            known.push(bytes.clone());
            let file = json::parse(bytes).expect("published by the simulator");
            let message = file.get("signed").expect("signed").canonical();
            self.honest.insert(plain::hash(&message));
            for signature in file.get("signatures").and_then(Value::as_array).unwrap_or_default() {
                let text = |name| signature.get(name).and_then(Value::as_str).unwrap_or("");
                let sig = hex::decode(text("sig")).expect("hex");
                self.ledger.note(&message, &self.publics[text("keyid")], &sig);
            }
            self.powers.extend(powers_in(file.get("signed").expect("signed")));
        }
        self.moments.push(files);
    }

    /// Serves what the repository has now, unchanged.
    pub fn serve_honest(&mut self) {
        self.serve(self.repo.wire.files());
    }

    /// Serves these files.
    pub fn serve(&mut self, files: Files) {
        self.served = files.into_iter().map(|(name, bytes)| (name, Reply::Bytes(bytes))).collect();
        self.refill(500);
    }

    /// Puts what is served on the wire; what is broken answers with this status, or ends (0).
    pub fn refill(&mut self, status: u16) {
        self.wire.heal();
        for name in self.wire.files().into_keys() {
            self.wire.remove(&name);
        }
        for (name, reply) in &self.served {
            match reply {
                Reply::Bytes(bytes) => self.wire.put(name, bytes.clone()),
                Reply::NotFound => {}
                Reply::Broken if status == 0 => self.wire.fault(name, Fault::Reset),
                Reply::Broken => self.wire.fault(name, Fault::Status(status)),
            }
        }
    }

    // --- the honest repository ---

    fn expire_in(&mut self, role: &str, life: i64) {
        let expires = self.now.plus_secs(life).expect("a time");
        self.repo.role(role).set_expires(expires);
    }

    fn life(dice: &mut Dice) -> i64 {
        *dice.pick(&[days(1), days(5), days(20), days(60)])
    }

    /// The targets roles, `targets` among them.
    pub fn targets_roles(&self) -> Vec<String> {
        self.repo.roles.keys().filter(|r| !matches!(r.as_str(), "root" | "timestamp" | "snapshot")).cloned().collect()
    }

    fn publish(&mut self, changed: &[&str], dice: &mut Dice) {
        for role in changed {
            self.repo.role(role).bump();
            let life = Self::life(dice);
            self.expire_in(role, life);
        }
        for role in ["snapshot", "timestamp"] {
            let life = Self::life(dice);
            self.expire_in(role, life);
        }
        self.repo.publish();
        self.published();
    }

    /// A target is listed, or taken away.
    pub fn publish_target(&mut self, dice: &mut Dice) {
        let role = dice.pick(&self.targets_roles()).clone();
        let path = PATHS[dice.below(PATHS.len() - 1)];
        if dice.once_in(4) {
            self.repo.role(&role).unset(&["targets", path]);
        } else {
            let content = format!("{role} says {}", dice.below(4));
            self.repo.add_target(&role, path, content.as_bytes());
        }
        self.publish(&[&role], dice);
    }

    fn has_bins(&self, role: &str) -> bool {
        self.repo.roles[role].signed.get("delegations").is_some_and(|d| d.get("succinct_roles").is_some())
    }

    /// A role delegates to a new one, or to one that somebody else delegates to already.
    pub fn delegate(&mut self, dice: &mut Dice) {
        let from = dice.pick(&self.targets_roles()).clone();
        if self.has_bins(&from) {
            return;
        }
        let others: Vec<String> = self.targets_roles().into_iter().filter(|r| *r != "targets").collect();
        let listed = |repo: &mut Repository, name: &str| {
            repo.delegations(&from).iter().any(|d| d.get("name").and_then(Value::as_str) == Some(name))
        };
        let again = dice.once_in(4) && !others.is_empty();
        let name = if again { dice.pick(&others).clone() } else { format!("r{}", self.next_name) };
        self.next_name += 1;
        if listed(&mut self.repo, &name) {
            return;
        }
        let count = 1 + dice.below(2);
        let mut keys = self.new_keys(count);
        if again && dice.once_in(2) {
            keys = self.repo.roles[&name].signers.clone();
        }
        let mut threshold = 1 + dice.below(keys.len()) as u64;
        if dice.once_in(8) {
            // A mistake: one key is to be two. Nothing that it signs is enough.
            keys = twins(&keys[0]);
            threshold = 2;
        }
        let by = if dice.once_in(4) { "path_hash_prefixes" } else { "paths" };
        let paths = (0..1 + dice.below(2))
            .map(|_| match by {
                "paths" => (*dice.pick(&PATTERNS)).to_owned(),
                _ => format!("{:x}", dice.below(16)),
            })
            .collect();
        let terminating = dice.once_in(3);
        self.repo
            .delegate(&from, &Delegate { name: name.clone(), keys: keys.clone(), threshold, terminating, by, paths });
        let signers = &mut self.repo.role(&name).signers;
        if again && dice.once_in(2) {
            signers.extend(keys.into_iter().filter(|k| !signers.iter().any(|s| s.id() == k.id())).collect::<Vec<_>>());
        }
        let both: Vec<&str> = if from == name { vec![&from] } else { vec![&from, &name] };
        self.publish(&both, dice);
    }

    /// A role that delegates to nobody delegates to bins.
    pub fn bins(&mut self, dice: &mut Dice) {
        let free: Vec<String> = self
            .targets_roles()
            .into_iter()
            .filter(|r| self.repo.roles[r].signed.get("delegations").is_none() && r.len() < 4)
            .collect();
        let Some(from) = (!free.is_empty()).then(|| dice.pick(&free).clone()) else { return };
        let bits = 1 + dice.below(3) as u32;
        let prefix = format!("bin{}", self.next_name);
        self.next_name += 1;
        let keys = self.new_keys(1);
        let mut bin: RoleDocument = self.repo.roles["targets"].clone();
        bin.unset(&["delegations"]);
        bin.set(&["targets"], Value::Object(BTreeMap::new()));
        bin.set_version(1);
        bin.signers = keys.clone();
        for number in 0..1_u32 << bits {
            self.repo.roles.insert(format!("{prefix}-{number:x}"), bin.clone());
        }
        let role = self.repo.role(&from);
        role.set(&["delegations", "keys", keys[0].id()], keys[0].value());
        let succinct = Value::object([
            ("bit_length", Value::from(u64::from(bits))),
            ("keyids", Value::from(vec![Value::from(keys[0].id())])),
            ("name_prefix", Value::from(prefix)),
            ("threshold", Value::from(1_u64)),
        ]);
        role.set(&["delegations", "succinct_roles"], succinct);
        self.publish(&[&from], dice);
    }

    fn delegators(&self) -> Vec<String> {
        let has = |role: &String| {
            let roles = self.repo.roles[role].signed.get("delegations").and_then(|d| d.get("roles"));
            roles.and_then(Value::as_array).is_some_and(|list| !list.is_empty())
        };
        self.targets_roles().into_iter().filter(has).collect()
    }

    /// A delegation ends.
    pub fn undelegate(&mut self, dice: &mut Dice) {
        let from = self.delegators();
        let Some(from) = (!from.is_empty()).then(|| dice.pick(&from).clone()) else { return };
        let list = self.repo.delegations(&from);
        list.remove(dice.below(list.len()));
        self.publish(&[&from], dice);
    }

    fn next_root(&mut self, dice: &mut Dice) {
        let life = Self::life(dice) + days(5);
        self.expire_in("root", life);
        self.repo.publish_next_root();
        self.published();
    }

    /// A top-level role gets other keys; some of the old ones may stay.
    pub fn rotate(&mut self, role: &str, overlap: bool, dice: &mut Dice) {
        let old = match role {
            "root" => self.signers_of_root(),
            _ => self.repo.roles[role].signers.clone(),
        };
        let count = 1 + dice.below(3);
        let mut keys = self.new_keys(count);
        if overlap {
            keys.extend(dice.some_of(&old));
        }
        let threshold = 1 + dice.below(keys.len()) as u64;
        self.repo.set_keys(role, &keys, threshold);
        if role == "root" {
            self.next_root(dice);
            self.repo.role("root").signers = keys;
            return;
        }
        self.next_root(dice);
        let changed: &[&str] = if role == "targets" { &["targets"] } else { &[] };
        self.publish(changed, dice);
    }

    /// A top-level role gets one key that is to be two: nothing that it signs is enough, until it is mended.
    pub fn rotate_to_twins(&mut self, role: &str, dice: &mut Dice) {
        let keys = twins(&self.repo.new_key());
        self.repo.set_keys(role, &keys, 2);
        self.next_root(dice);
        let changed: &[&str] = if role == "targets" { &["targets"] } else { &[] };
        self.publish(changed, dice);
    }

    fn signers_of_root(&self) -> Vec<TestKey> {
        let root = &self.repo.roles["root"];
        let ids = root.signed.get("roles").and_then(|r| r.get("root")).and_then(|r| r.get("keyids"));
        let is_listed = |key: &&TestKey| {
            ids.and_then(Value::as_array).is_some_and(|ids| ids.iter().any(|id| id.as_str() == Some(key.id())))
        };
        root.signers.iter().filter(is_listed).cloned().collect()
    }

    /// One of the four top-level roles gets other keys.
    pub fn rotate_some(&mut self, dice: &mut Dice) {
        let role = *dice.pick(&TOP);
        let overlap = dice.once_in(2);
        self.rotate(role, overlap, dice);
    }

    /// A delegated role gets other keys.
    pub fn rotate_delegated(&mut self, dice: &mut Dice) {
        let from = self.delegators();
        let Some(from) = (!from.is_empty()).then(|| dice.pick(&from).clone()) else { return };
        let count = 1 + dice.below(2);
        let mut keys = self.new_keys(count);
        let list = self.repo.delegations(&from);
        let at = dice.below(list.len());
        let name = list[at].get("name").and_then(Value::as_str).expect("a name").to_owned();
        if dice.once_in(2) {
            keys.push(self.repo.roles[&name].signers[0].clone());
        }
        let ids: Vec<Value> = keys.iter().map(|k| Value::from(k.id())).collect();
        let threshold = 1 + dice.below(keys.len()) as u64;
        let delegation = self.repo.delegations(&from)[at].as_object_mut().expect("an object");
        delegation.insert("keyids".to_owned(), Value::from(ids));
        delegation.insert("threshold".to_owned(), Value::from(threshold));
        for key in &keys {
            self.repo.role(&from).set(&["delegations", "keys", key.id()], key.value());
        }
        self.repo.role(&name).signers = keys;
        let both: Vec<&str> = if from == name { vec![&from] } else { vec![&from, &name] };
        self.publish(&both, dice);
    }

    /// Only the timestamp is signed again.
    pub fn resign_timestamp(&mut self, dice: &mut Dice) {
        let life = Self::life(dice);
        self.expire_in("timestamp", life);
        self.repo.publish_timestamp();
        self.published();
    }

    /// Everything is signed again and lives for a month.
    pub fn resign_all(&mut self) {
        for role in self.repo.roles.keys().cloned().collect::<Vec<_>>() {
            self.expire_in(&role, days(30));
        }
        self.repo.publish_next_root();
        for role in self.targets_roles() {
            self.repo.role(&role).bump();
        }
        self.repo.publish();
        self.published();
    }

    // --- what the attacker could do ---

    /// The attacker gets keys of a role, perhaps enough to speak for it; perhaps they were revoked long ago.
    pub fn leak(&mut self, dice: &mut Dice) {
        let powers: Vec<_> = self.powers.iter().cloned().collect();
        let (_, ids, threshold) = dice.pick(&powers).clone();
        // The root falls seldom: after that nothing can be said.
        let is_root = powers.iter().any(|(role, of, _)| role == "root" && ids.iter().any(|id| of.contains(id)));
        let count = if is_root && !dice.once_in(8) { threshold.saturating_sub(1) } else { threshold } as usize;
        let all = (1..250).map(TestKey::ed25519);
        for key in all.filter(|k| ids.iter().any(|id| id == k.id())).take(count) {
            if !self.held.iter().any(|k| k.id() == key.id()) {
                self.held.push(key);
            }
        }
    }

    /// Notes a key that only the attacker lists.
    pub fn attacker_signs(&mut self, key: &TestKey, message: &[u8]) -> Vec<u8> {
        let signature = key.sign(message);
        self.ledger.note_key(key, message, &signature);
        signature
    }

    /// Whether the attacker's keys were ever enough to speak for this role.
    pub fn has_power(&self, role: &str) -> bool {
        self.powers.iter().any(|(of, ids, threshold)| {
            (of == role || of.strip_suffix('*').is_some_and(|prefix| role.starts_with(prefix)))
                && self.held.iter().filter(|k| ids.iter().any(|id| id == k.id())).count() as u64 >= *threshold
        })
    }

    /// Whether the attacker can speak for any targets role: what that one delegates is then anybody's.
    pub fn has_any_targets_power(&self) -> bool {
        self.powers.iter().any(|(of, ..)| !TOP[..3].contains(&of.as_str()) && self.has_power(of))
    }

    /// Whether these bytes say something that the repository never said. What is cut off says nothing.
    pub fn is_forged(&self, bytes: &[u8]) -> bool {
        plain::message(bytes).is_some_and(|message| !self.honest.contains(&message))
    }

    /// Whether a targets role of the repository ever listed a content with this hash.
    pub fn ever_listed(&self, sha256: &str) -> bool {
        let roles = self.published.iter().filter(|(role, _)| !TOP[..3].contains(&role.as_str()));
        roles.flat_map(|(_, files)| files).any(|file| file.windows(sha256.len()).any(|w| w == sha256.as_bytes()))
    }
}

/// Whom a file lets speak for which role. A family of bins stands as `PREFIX-*`.
fn powers_in(signed: &Value) -> Vec<(String, Vec<String>, u64)> {
    let one = |name: String, who: &Value| {
        let ids = who.get("keyids").and_then(Value::as_array).unwrap_or_default();
        let ids = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        (name, ids, who.get("threshold").and_then(Value::as_u64).unwrap_or(1))
    };
    let top = signed.get("roles").and_then(Value::as_object).into_iter().flatten();
    let delegations = signed.get("delegations");
    let named = delegations.and_then(|d| d.get("roles")).and_then(Value::as_array).unwrap_or_default();
    let name = |d: &Value| d.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
    let bins = delegations.and_then(|d| d.get("succinct_roles"));
    let prefix = |d: &Value| format!("{}-*", d.get("name_prefix").and_then(Value::as_str).unwrap_or(""));
    top.map(|(role, who)| one(role.clone(), who))
        .chain(named.iter().map(|d| one(name(d), d)))
        .chain(bins.map(|d| one(prefix(d), d)))
        .collect()
}
