//! The repository before anything is wrong with it: two publications of random shape that every reader should load.

use std::collections::BTreeMap;

use trust_tuf::UtcTime;
use trust_tuf::json::Value;
use trust_tuf::model::sha256;

use crate::property::dice::Dice;
use crate::simulator::{Delegate, Repository, TestKey};

/// What is special about a repository that is nevertheless right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Bins (TAP 15).
    Succinct,
    /// A key that tough does not know: P-384.
    P384,
    /// A role lists a target that was not delegated to it.
    Outside,
    /// A target or a file with sha512 alone.
    Sha512Alone,
    /// Two roles delegate to one, with different keys.
    Diamond,
    /// A role delegates to one above it.
    Cycle,
    /// A delegation for any path in the first segment: `*`.
    Star,
    /// A terminating delegation.
    Terminating,
    /// Delegations inside a delegated role.
    Nested,
    /// Keys of the timestamp or snapshot role were changed.
    Rotated,
    /// The second publication lists fewer delegations.
    Undelegated,
}

/// A repository that is being written.
pub struct Scene {
    /// The trees and the wire.
    pub repo: Repository,
    /// What is special about it.
    pub features: Vec<Feature>,
    /// Delegated roles with what was delegated to them: who delegates, the role.
    pub edges: Vec<(String, String)>,
    /// Paths that are listed or nearly.
    pub paths: Vec<String>,
    /// Under which version each file is served and listed, if that is not what it says itself.
    pub nominal: BTreeMap<String, u64>,
}

/// Far enough for any clock.
pub const LATER: &str = "2099-01-01T00:00:00Z";

/// Patterns with paths that fit them, and one more level.
const AREAS: [(&str, &[&str]); 7] = [
    ("*", &["v1", "v2", "one"]),
    ("v?", &["v1", "v2"]),
    ("x/*", &["x/v1", "x/v2"]),
    ("x/v*", &["x/v1", "x/v2"]),
    ("x/y/*", &["x/y/v1", "x/y/v2"]),
    ("*/*", &["x/v1", "z/v1"]),
    ("one", &["one"]),
];

/// What is always looked up as well.
const ELSEWHERE: [&str; 3] = ["x/y/none", "x/v1", "none"];

fn later() -> UtcTime {
    UtcTime::parse(LATER).expect("a time")
}

/// A key of a random kind; mostly Ed25519.
fn key(dice: &mut Dice, repo: &mut Repository, features: &mut Vec<Feature>) -> TestKey {
    match dice.below(40) {
        0..=2 => TestKey::p256(),
        3 => TestKey::rsa(),
        4 if dice.once_in(8) => {
            features.push(Feature::P384);
            TestKey::p384()
        }
        _ => repo.new_key(),
    }
}

/// One to three distinct keys, and how many must sign.
fn keys(dice: &mut Dice, repo: &mut Repository, features: &mut Vec<Feature>) -> (Vec<TestKey>, u64) {
    let mut keys: Vec<TestKey> = Vec::new();
    for _ in 0..=*dice.pick(&[0, 0, 0, 1, 1, 2]) {
        let key = key(dice, repo, features);
        if !keys.iter().any(|k| k.id() == key.id()) {
            keys.push(key);
        }
    }
    let threshold = 1 + dice.below(keys.len());
    (keys, threshold as u64)
}

impl Scene {
    /// The trees of a first publication. Nothing is on the wire yet.
    pub fn new(dice: &mut Dice) -> Self {
        let mut repo = Repository::unpublished();
        repo.hashes = !dice.once_in(3);
        if dice.once_in(4) {
            repo.root().set(&["consistent_snapshot"], false);
        }
        let mut features = Vec::new();
        for role in ["root", "timestamp", "snapshot", "targets"] {
            if dice.once_in(2) {
                let (keys, threshold) = keys(dice, &mut repo, &mut features);
                repo.set_keys(role, &keys, threshold);
                repo.role(role).signers = keys;
            }
        }
        let mut scene = Self { repo, features, edges: Vec::new(), paths: Vec::new(), nominal: BTreeMap::new() };
        for path in ["v1", "top"] {
            if dice.once_in(3) {
                scene.add_target(dice, "targets", path);
            }
        }
        if dice.once_in(14) {
            scene.add_bins(dice)
        } else {
            scene.add_delegations(dice)
        }
        scene.paths.extend(ELSEWHERE.map(str::to_owned));
        scene.paths.sort_unstable();
        scene.paths.dedup();
        for role in scene.repo.roles.values_mut() {
            role.set_expires(later());
        }
        scene
    }

    /// Notes a feature.
    pub fn has(&mut self, feature: Feature) {
        self.features.push(feature);
    }

    fn add_delegations(&mut self, dice: &mut Dice) {
        let mut above: Vec<(String, usize)> = vec![("targets".to_owned(), usize::MAX)];
        let names = ["a", "b", "c", "d", "e", "Team 1"];
        for name in names.iter().take(dice.below(names.len() + 1)) {
            let (from, area) = above[dice.below(above.len())].clone();
            let area = if area == usize::MAX { dice.below(AREAS.len()) } else { area };
            let (pattern, paths) = AREAS[area];
            let (keys, threshold) = keys(dice, &mut self.repo, &mut self.features);
            let mut delegate = Delegate::new(name, &keys[0], &[pattern]);
            delegate.keys = keys;
            delegate.threshold = threshold;
            delegate.terminating = dice.once_in(4);
            if dice.once_in(5) {
                delegate.by = "path_hash_prefixes";
                let digits = 1 + dice.below(4);
                delegate.paths = paths.iter().map(|p| hex::encode(sha256(p.as_bytes()))[..digits].to_owned()).collect();
            } else if pattern == "*" {
                self.has(Feature::Star);
            }
            if delegate.terminating {
                self.has(Feature::Terminating);
            }
            if from != "targets" {
                self.has(Feature::Nested);
            }
            self.repo.delegate(&from, &delegate);
            self.edges.push((from.clone(), (*name).to_owned()));
            for path in paths {
                if dice.once_in(2) {
                    self.add_target(dice, name, path);
                }
                self.paths.push((*path).to_owned());
            }
            if dice.once_in(60) {
                self.add_target(dice, name, "elsewhere/v1");
                self.has(Feature::Outside);
            }
            above.push(((*name).to_owned(), area));
        }
        if above.len() > 2 && dice.once_in(10) {
            // Another role delegates to the last one as well; sometimes that is a circle.
            let (last, area) = above[above.len() - 1].clone();
            let (other, _) = above[1 + dice.below(above.len() - 1)].clone();
            if self.edges.contains(&(other.clone(), last.clone())) {
                return;
            }
            self.has(if other == last { Feature::Cycle } else { Feature::Diamond });
            let signers = self.repo.role(&last).signers.clone();
            let mut delegate = Delegate::new(&last, &signers[0], &[AREAS[area].0]);
            if dice.once_in(3) {
                delegate.keys = vec![self.repo.new_key()];
            }
            self.repo.delegate(&other, &delegate);
            self.edges.push((other, last));
        }
    }

    fn add_bins(&mut self, dice: &mut Dice) {
        let bits = 1 + dice.below(3);
        let key = self.repo.new_key();
        let bins = Value::object([
            ("keyids", Value::from(vec![Value::from(key.id())])),
            ("threshold", Value::from(1_u64)),
            ("bit_length", Value::from(bits as u64)),
            ("name_prefix", Value::from("bin")),
        ]);
        self.repo.role("targets").set(&["delegations", "keys", key.id()], key.value());
        self.repo.role("targets").set(&["delegations", "succinct_roles"], bins);
        for number in 0..1 << bits {
            let name = format!("bin-{number:x}");
            let mut role = self.repo.roles["targets"].clone();
            role.signed.as_object_mut().expect("an object").remove("delegations");
            role.set(&["targets"], Value::Object(BTreeMap::new()));
            role.signers = vec![key.clone()];
            self.repo.roles.insert(name.clone(), role);
            self.edges.push(("targets".to_owned(), name.clone()));
            for path in ["v1", "x/v1", "one"] {
                if u64::from(sha256(path.as_bytes())[0]) >> (8 - bits) == number as u64 && dice.once_in(2) {
                    self.add_target(dice, &name, path);
                }
            }
        }
        self.paths.extend(["v1", "one"].map(str::to_owned));
        self.has(Feature::Succinct);
    }

    /// Lists a target of random length with sha256, with both hashes, or rarely with sha512 alone.
    pub fn add_target(&mut self, dice: &mut Dice, role: &str, path: &str) {
        let bytes = format!("{role} {path} {}", dice.below(1_000_000));
        let sha512 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes.as_bytes()));
        let mut hashes = vec![("sha256", Value::from(hex::encode(sha256(bytes.as_bytes()))))];
        match dice.below(120) {
            0..=20 => hashes.push(("sha512", Value::from(sha512))),
            21 => {
                hashes = vec![("sha512", Value::from(sha512))];
                self.has(Feature::Sha512Alone);
            }
            _ => {}
        }
        let mut entry = vec![("length", Value::from(bytes.len() as u64)), ("hashes", Value::object(hashes))];
        if dice.once_in(6) {
            entry.push(("custom", Value::object([("note", Value::from("a \"b\" \\ \u{e9}\n"))])));
        }
        self.repo.role(role).set(&["targets", path], Value::object(entry));
        self.paths.push(path.to_owned());
    }

    /// What changes before the second publication: targets, delegations, keys. Nothing here is wrong.
    pub fn go_on(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.targets_roles();
        for name in &names {
            if dice.once_in(3) {
                self.repo.role(name).bump();
                let listed = self.repo.role(name).at(&["targets"]).as_object().map(|t| t.keys().cloned().collect());
                let listed: Vec<String> = listed.unwrap_or_default();
                if !listed.is_empty() {
                    let path = dice.pick(&listed).clone();
                    self.add_target(dice, name, &path);
                }
            }
        }
        if dice.once_in(8) && self.edges.iter().any(|(from, _)| from == "targets") && !self.is(Feature::Succinct) {
            self.repo.role("targets").bump();
            self.repo.delegations("targets").pop();
            self.has(Feature::Undelegated);
        }
        for _ in 0..*dice.pick(&[0, 0, 0, 0, 1, 1, 2]) {
            self.rotate(dice);
        }
        self.repo.role("snapshot").bump();
        self.repo.role("timestamp").bump();
    }

    /// Whether the repository has this feature.
    pub fn is(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Every targets role, top-level and delegated.
    pub fn targets_roles(&self) -> Vec<String> {
        let other = |name: &&String| !matches!(name.as_str(), "root" | "timestamp" | "snapshot");
        self.repo.roles.keys().filter(other).cloned().collect()
    }

    /// A next root, right or as a mutation left it: some role has other keys.
    fn rotate(&mut self, dice: &mut Dice) {
        let role = *dice.pick(&["root", "timestamp", "snapshot", "targets"]);
        let (keys, threshold) = keys(dice, &mut self.repo, &mut self.features);
        self.repo.set_keys(role, &keys, threshold);
        if matches!(role, "timestamp" | "snapshot") {
            self.has(Feature::Rotated);
        }
        if role == "targets" {
            // The file changes with its signatures, so its version does.
            self.repo.role(role).bump();
        }
        self.repo.publish_next_root();
    }
}
