//! The people of a collection, their keys, and the state that the server holds.

use trust_tests::simulator::{RoleDocument, TestKey, days, now};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::json;
use trust_tuf::model::TargetInfo;
use trust_tuf::repository::{Checked, Publication, Refusal, RepositoryState, Rule, Rules};
use trust_tuf::{CollectionName, RoleName, RoleType, UtcTime, Version};

pub(crate) fn collection() -> CollectionName {
    CollectionName::parse("registry.example.com/pay").unwrap()
}

pub(crate) fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

pub(crate) fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

pub(crate) fn later() -> UtcTime {
    now().plus_secs(days(180)).unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules { now: now(), allow_example_keys: false }
}

pub(crate) fn sign(draft: &Draft, keys: &[&TestKey]) -> Vec<u8> {
    let payload = draft.payload();
    draft.assemble(keys.iter().map(|k| k.signature(&payload)))
}

/// Changes the signed part of a file and signs it again.
pub(crate) fn resigned(file: &[u8], keys: &[&TestKey], change: impl FnOnce(&mut RoleDocument)) -> Vec<u8> {
    let signed = json::parse(file).unwrap().get("signed").unwrap().clone();
    let mut document = RoleDocument { signed, signers: keys.iter().map(|k| (*k).clone()).collect(), junk: vec![] };
    change(&mut document);
    document.bytes()
}

/// The people, their keys, and the state that the server holds.
pub(crate) struct House {
    pub(crate) root: TestKey,
    pub(crate) targets: TestKey,
    pub(crate) snapshot: TestKey,
    pub(crate) timestamp: TestKey,
    pub(crate) alice: TestKey,
}

impl House {
    pub(crate) fn new() -> Self {
        let [root, targets, snapshot, timestamp, alice] = [1, 2, 3, 4, 5].map(TestKey::ed25519);
        Self { root, targets, snapshot, timestamp, alice }
    }

    pub(crate) fn root_draft(&self) -> Draft {
        let mut draft = Draft::root(later());
        draft.set_role(RoleType::Root, &[self.root.public()], 1);
        draft.set_role(RoleType::Targets, &[self.targets.public()], 1);
        draft.set_role(RoleType::Snapshot, &[self.snapshot.public()], 1);
        draft.set_role(RoleType::Timestamp, &[self.timestamp.public()], 1);
        draft
    }

    pub(crate) fn root_file(&self) -> Vec<u8> {
        sign(&self.root_draft(), &[&self.root])
    }

    pub(crate) fn targets_file(&self) -> Vec<u8> {
        sign(&Draft::targets(later()), &[&self.targets])
    }

    pub(crate) fn first(&self) -> Publication {
        publication(&[self.root_file()], &[("targets", self.targets_file())])
    }

    pub(crate) fn start(&self) -> RepositoryState {
        RepositoryState::first(collection(), &self.first(), &rules()).unwrap().state
    }

    /// A state in which `targets` delegates `api/*` to alice, who lists `api/v1`.
    pub(crate) fn with_alice(&self) -> RepositoryState {
        let state = self.start();
        let targets = self.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&self.alice], &["api/*"])));
        let mut draft = Draft::targets(later());
        draft.set_target("api/v1", &TargetInfo::of(b"x"));
        let alice = sign(&draft, &[&self.alice]);
        check(&state, &[], &[("targets", targets), ("alice", alice)]).unwrap().state
    }

    pub(crate) fn next_targets(&self, state: &RepositoryState, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
        next(state, "targets", &[&self.targets], change)
    }

    pub(crate) fn next_root(
        &self,
        state: &RepositoryState,
        keys: &[&TestKey],
        change: impl FnOnce(&mut Draft),
    ) -> Vec<u8> {
        let mut draft = Draft::next(state.root().bytes(), later()).unwrap();
        change(&mut draft);
        sign(&draft, keys)
    }
}

pub(crate) fn next(state: &RepositoryState, name: &str, keys: &[&TestKey], change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = Draft::next(state.roles()[&role(name)].bytes(), later()).unwrap();
    change(&mut draft);
    sign(&draft, keys)
}

pub(crate) fn delegation(name: &str, keys: &[&TestKey], patterns: &[&str]) -> NewDelegation {
    NewDelegation {
        name: name.to_owned(),
        keys: keys.iter().map(|k| k.public()).collect(),
        threshold: 1,
        terminating: false,
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
    }
}

pub(crate) fn publication(roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) -> Publication {
    Publication { roots: roots.to_vec(), roles: roles.iter().map(|(n, b)| (role(n), b.clone())).collect() }
}

pub(crate) fn check(state: &RepositoryState, roots: &[Vec<u8>], roles: &[(&str, Vec<u8>)]) -> Result<Checked, Refusal> {
    state.check(&publication(roots, roles), &rules())
}

#[track_caller]
pub(crate) fn refused(result: Result<Checked, Refusal>, file: &str, rule: Rule) {
    match result {
        Ok(_) => panic!("accepted, although: {rule}"),
        Err(refusal) => assert_eq!(refusal, Refusal { file: file.to_owned(), rule }),
    }
}

#[track_caller]
pub(crate) fn first_refused(result: Publication, file: &str, rule: Rule) {
    refused(RepositoryState::first(collection(), &result, &rules()), file, rule);
}
