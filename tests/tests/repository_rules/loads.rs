//! Whatever keeps the rules loads: random stories of a collection, seen by a client that was there and by one that comes
//! now.

use std::collections::BTreeMap;

use proptest::prelude::*;
use trust_tests::simulator::{Client, Stages, TestKey, Wire, days, now};
use trust_tuf::draft::Draft;
use trust_tuf::model::{MetaEntry, Role, TargetInfo};
use trust_tuf::repository::{Checked, Publication, RepositoryState};
use trust_tuf::{RoleName, RoleType};

use super::house::{House, collection, delegation, later, next, resigned, role, rules, sign, version};

/// The online half, as the signer does it: snapshot and timestamp for a state, put on a wire.
struct Online {
    wire: std::sync::Arc<Wire>,
    version: u64,
}

impl Online {
    fn publish(&mut self, checked: &Checked, snapshot: &TestKey, timestamp: &TestKey) {
        let state = &checked.state;
        for root in &checked.roots {
            self.wire.put(&format!("{}.root.json", root.version()), root.bytes().to_vec());
        }
        for name in &checked.changed {
            let file = &state.roles()[name];
            self.wire.put(&format!("{}.{name}.json", file.version()), file.bytes().to_vec());
        }
        self.version += 1;
        let meta = state.meta();
        let meta = meta.iter().map(|(n, e)| (n.as_str(), e));
        let draft = Draft::snapshot(version(self.version), now().plus_secs(days(7)).unwrap(), meta);
        let bytes = sign(&draft, &[snapshot]);
        let entry = MetaEntry::of(version(self.version), &bytes);
        self.wire.put(&format!("{}.snapshot.json", self.version), bytes);
        let draft = Draft::timestamp(version(self.version), now().plus_secs(days(1)).unwrap(), &entry);
        self.wire.put("timestamp.json", sign(&draft, &[timestamp]));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Sign { role: usize, path: usize, what: u8 },
    Unsign { role: usize, path: usize },
    Delegate { role: usize, key: u8, narrow: bool },
    Undelegate { role: usize },
    RotateTargets,
    RotateSnapshot { overlap: bool },
    RotateTimestamp,
    RotateRoot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_usize, 0..4_usize, any::<u8>()).prop_map(|(role, path, what)| Step::Sign { role, path, what }),
        1 => (0..4_usize, 0..4_usize).prop_map(|(role, path)| Step::Unsign { role, path }),
        4 => (0..3_usize, 0..3_u8, any::<bool>()).prop_map(|(role, key, narrow)| Step::Delegate { role, key, narrow }),
        2 => (0..3_usize).prop_map(|role| Step::Undelegate { role }),
        1 => Just(Step::RotateTargets),
        1 => any::<bool>().prop_map(|overlap| Step::RotateSnapshot { overlap }),
        1 => Just(Step::RotateTimestamp),
        1 => Just(Step::RotateRoot),
    ];
    prop::collection::vec(step, 1..24)
}

const NAMES: [&str; 4] = ["alice", "bob", "carol", "targets"];
const PATHS: [&str; 4] = ["api/v1", "api/v2", "web/v1", "v1"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_keeps_the_rules_loads_in_a_warm_and_in_a_cold_client(steps in steps()) {
        let mut house = House::new();
        let mut fresh = 100_u8;
        let mut signers: BTreeMap<&str, TestKey> = BTreeMap::from([("targets", house.targets.clone())]);
        let mut online = Online { wire: Default::default(), version: 0 };
        let first = RepositoryState::first(collection(), &house.first(), &rules()).unwrap();
        online.publish(&first, &house.snapshot, &house.timestamp);
        let mut state = first.state;
        let mut warm = Stages::new(state.root().bytes().to_vec(), online.wire.clone());
        warm.refresh(now()).unwrap();
        for step in steps {
            let mut new_key = || { fresh += 1; TestKey::ed25519(fresh) };
            let (mut snapshot, mut timestamp) = (house.snapshot.clone(), house.timestamp.clone());
            let (mut root, mut next_signers) = (house.root.clone(), signers.clone());
            let edit = |name: &str, change: &mut dyn FnMut(&mut Draft)| {
                let file = state.roles().get(&role(name))?;
                let mut draft = Draft::next(file.bytes(), later()).unwrap();
                change(&mut draft);
                Some(vec![(role(name), sign(&draft, &[&signers[name]]))])
            };
            let (roots, roles) = match step {
                Step::Sign { role, path, what } => (vec![], edit(NAMES[role], &mut |d| d.set_target(PATHS[path], &TargetInfo::of(&[what])))),
                Step::Unsign { role, path } => (vec![], edit(NAMES[role], &mut |d| { d.remove_target(PATHS[path]); })),
                Step::Delegate { role: n, key, narrow } => {
                    let (name, key) = (NAMES[n], TestKey::ed25519(80 + key));
                    let pattern = if narrow { "api/*" } else { "*/*" };
                    let mut files = edit("targets", &mut |d| d.set_delegation(&delegation(name, &[&key], &[pattern]))).unwrap();
                    let last = state.meta().get(name).map(|e| e.version.get());
                    let file = match state.roles().get(&role(name)) {
                        Some(file) => Draft::next(file.bytes(), later()).unwrap(),
                        None => Draft::targets(later()),
                    };
                    let bytes = resigned(&sign(&file, &[&key]), &[&key], |d| d.set_version(last.unwrap_or(0) + 1));
                    files.push((role(name), bytes));
                    next_signers.insert(name, key);
                    (vec![], Some(files))
                }
                Step::Undelegate { role: n } => {
                    let name = NAMES[n];
                    if !state.roles().contains_key(&role(name)) { continue }
                    next_signers.remove(name);
                    (vec![], edit("targets", &mut |d| assert!(d.remove_delegation(name))))
                }
                Step::RotateTargets => {
                    let key = new_key();
                    let bytes = house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Targets, &[key.public()], 1));
                    let file = next(&state, "targets", &[&key], |_| {});
                    next_signers.insert("targets", key);
                    (vec![bytes], Some(vec![(RoleName::targets(), file)]))
                }
                Step::RotateSnapshot { overlap } => {
                    let key = new_key();
                    let mut keys = vec![key.public()];
                    if overlap { keys.push(snapshot.public()) } else { snapshot = key }
                    (vec![house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Snapshot, &keys, 1))], Some(vec![]))
                }
                Step::RotateTimestamp => {
                    timestamp = new_key();
                    (vec![house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Timestamp, &[timestamp.public()], 1))], Some(vec![]))
                }
                Step::RotateRoot => {
                    let key = new_key();
                    let bytes = house.next_root(&state, &[&house.root, &key], |d| d.set_role(RoleType::Root, &[key.public()], 1));
                    root = key;
                    (vec![bytes], Some(vec![]))
                }
            };
            let Some(roles) = roles else { continue };
            let publication = Publication { roots, roles: roles.into_iter().collect() };
            // Refused (a target outside its paths, say): then nothing changes.
            let Ok(checked) = state.check(&publication, &rules()) else { continue };
            (house.snapshot, house.timestamp, house.root, signers) = (snapshot, timestamp, root, next_signers);
            online.publish(&checked, &house.snapshot, &house.timestamp);
            state = checked.state;
            warm.refresh(now()).map_err(|e| TestCaseError::fail(format!("warm: {e:?}")))?;
            let mut cold = Stages::new(first.roots[0].bytes().to_vec(), online.wire.clone());
            for path in PATHS {
                let seen = cold.lookup(now(), path).map_err(|e| TestCaseError::fail(format!("cold: {e:?}")))?;
                let warm = warm.lookup(now(), path).map_err(|e| TestCaseError::fail(format!("warm: {e:?}")))?;
                // The first role that lists it, in order of priority.
                let order = std::iter::once("targets").chain(
                    state.roles()[&RoleName::targets()].delegations().into_iter().flat_map(|d| d.roles()).map(|d| d.name()),
                );
                let expected = order.filter(|n| state.roles()[&role(n)].target(path).is_some()).map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(seen.signers(), expected.clone());
                prop_assert_eq!(warm.signers(), expected);
                prop_assert!(seen.outcome.unusable.is_empty());
            }
        }
    }
}

#[test]
fn a_look_up_in_the_first_publication_of_a_collection_finds_nothing_and_fails_nothing() {
    let house = House::new();
    let mut online = Online { wire: Default::default(), version: 0 };
    let first = RepositoryState::first(collection(), &house.first(), &rules()).unwrap();
    online.publish(&first, &house.snapshot, &house.timestamp);
    let mut client = Stages::new(house.root_file(), online.wire.clone());
    assert!(client.lookup(now(), "api/v1").unwrap().outcome.hit().is_none());
}
