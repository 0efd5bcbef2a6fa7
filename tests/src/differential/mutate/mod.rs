//! What is done to a repository: a catalogue of named changes, and publishing with some of them.
//!
//! - A change of a *tree* is made before the role signs: the repository itself is wrong.
//! - A change of a *file* is made after that, and before its length and hash are stated: somebody without keys is at work,
//!   or a signer that does more than its canonical form says.
//! - A change on the *wire* comes last: a mirror is at work.

mod files;
mod grants;
mod trees;
mod wires;

use trust_tuf::json::Value;
use trust_tuf::names::percent_encode;

use super::scene::Scene;
use crate::property::dice::Dice;
use crate::simulator::RoleDocument;

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied {
    /// Its name in the catalogue.
    pub what: &'static str,
    /// The role it was made to.
    pub role: String,
}

/// Changes the tree of a role; false if there is nothing there that it could change.
type Tree = fn(&mut Dice, &mut Scene, &str) -> bool;
/// The same for the bytes of its file.
type File = fn(&mut Dice, &mut Scene, &str, &mut Vec<u8>) -> bool;
/// The same for what is served.
type Served = fn(&mut Dice, &mut Scene, &str) -> bool;

#[derive(Clone, Copy)]
enum Change {
    Tree(Tree),
    File(File),
    Served(Served),
}

/// Changes that wait for their moment.
#[derive(Default)]
pub struct Plan {
    waiting: Vec<(&'static str, String, Change)>,
    /// Those that were made.
    pub applied: Vec<Applied>,
}

impl Plan {
    /// Some changes, chosen at random.
    pub fn random(dice: &mut Dice, scene: &Scene, count: usize) -> Self {
        let mut plan = Self::default();
        let roles: Vec<String> = scene.repo.roles.keys().cloned().collect();
        for _ in 0..count {
            let role = dice.pick(&roles).clone();
            let (what, change) = match dice.below(10) {
                0..=4 => {
                    let table = trees::of(&role);
                    let table = table[dice.below(table.len())];
                    let (what, change) = *dice.pick(table);
                    (what, Change::Tree(change))
                }
                5..=7 => {
                    let (what, change) = *dice.pick(files::ALL);
                    (what, Change::File(change))
                }
                _ => {
                    let (what, change) = *dice.pick(wires::ALL);
                    (what, Change::Served(change))
                }
            };
            plan.waiting.push((what, role, change));
        }
        plan
    }

    /// The roles whose files will be changed.
    pub fn roles(&self) -> Vec<String> {
        self.waiting.iter().map(|(_, role, _)| role.clone()).collect()
    }

    fn note(&mut self, what: &'static str, role: &str) {
        self.applied.push(Applied { what, role: role.to_owned() });
    }

    fn grow(&mut self, dice: &mut Dice, scene: &mut Scene, role: &str) {
        for (what, of, change) in self.waiting.clone() {
            if let Change::Tree(change) = change
                && of == role
                && change(dice, scene, role)
            {
                self.note(what, role);
            }
        }
    }

    fn write(&mut self, dice: &mut Dice, scene: &mut Scene, role: &str) -> Vec<u8> {
        let mut bytes = scene.repo.roles[role].bytes();
        for (what, of, change) in self.waiting.clone() {
            if let Change::File(change) = change
                && of == role
                && change(dice, scene, role, &mut bytes)
            {
                self.note(what, role);
            }
        }
        scene.repo.wire.put(&file_name(scene, role), bytes.clone());
        bytes
    }
}

/// Whether a change of this name is one of delegations, in the file that delegates.
pub fn concerns_delegations(what: &str) -> bool {
    [grants::KEYS, grants::DELEGATIONS].iter().any(|table| table.iter().any(|(name, _)| *name == what))
}

/// The version under which a role is served and listed.
pub fn nominal(scene: &Scene, role: &str) -> u64 {
    scene.nominal.get(role).copied().unwrap_or_else(|| scene.repo.roles[role].version())
}

/// The name under which a role is served.
pub fn file_name(scene: &Scene, role: &str) -> String {
    let consistent = scene.repo.roles["root"].signed.get("consistent_snapshot").and_then(Value::as_bool) == Some(true);
    let encoded = percent_encode(role);
    match role {
        "timestamp" => "timestamp.json".to_owned(),
        "root" => format!("{}.root.json", nominal(scene, role)),
        _ if consistent => format!("{}.{encoded}.json", nominal(scene, role)),
        _ => format!("{encoded}.json"),
    }
}

/// Publishes with these changes: the root if it is new or changed, all targets files, snapshot, timestamp.
pub fn publish(dice: &mut Dice, scene: &mut Scene, plan: &mut Plan, root: bool) {
    scene.nominal.clear();
    for (name, role) in &scene.repo.roles {
        scene.nominal.insert(name.clone(), role.version());
    }
    let targets = scene.targets_roles();
    // Keys first: who signs what may change with them.
    for role in std::iter::once("root".to_owned()).chain(targets.iter().cloned()) {
        plan.grow(dice, scene, &role);
    }
    // A change may have brought a role.
    let targets = scene.targets_roles();
    for role in &targets {
        scene.nominal.entry(role.clone()).or_insert(1);
    }
    if root {
        let bytes = plan.write(dice, scene, "root");
        if scene.repo.pinned.is_empty() {
            scene.repo.pinned = bytes;
        }
    }
    for role in &targets {
        let bytes = plan.write(dice, scene, role);
        let entry = scene.repo.entry(nominal(scene, role), &bytes);
        scene.repo.role("snapshot").set(&["meta", &format!("{role}.json")], entry);
    }
    plan.grow(dice, scene, "snapshot");
    let bytes = plan.write(dice, scene, "snapshot");
    let entry = scene.repo.entry(nominal(scene, "snapshot"), &bytes);
    scene.repo.role("timestamp").set(&["meta", "snapshot.json"], entry);
    plan.grow(dice, scene, "timestamp");
    plan.write(dice, scene, "timestamp");
    for (what, role, change) in plan.waiting.clone() {
        if let Change::Served(change) = change
            && change(dice, scene, &role)
        {
            plan.note(what, &role);
        }
    }
}

/// A role's tree.
fn tree<'a>(scene: &'a mut Scene, role: &str) -> &'a mut RoleDocument {
    scene.repo.role(role)
}

/// One of the values that stand where others belong.
fn junk(dice: &mut Dice) -> Value {
    match dice.below(9) {
        0 => Value::Null,
        1 => Value::from(true),
        2 => Value::Int(-1),
        3 => Value::from(0_u64),
        4 => Value::from(""),
        5 => Value::from("1"),
        6 => Value::Array(Vec::new()),
        7 => Value::Array(vec![Value::Null]),
        _ => Value::object([("x", Value::from(1_u64))]),
    }
}
