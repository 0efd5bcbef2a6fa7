//! What this crate says of a file must be so: who signed it, which keys speak for a role, what else stands beside them.

use trust_tuf::envelope::Unverified;
use trust_tuf::model::{Role, RoleKeys, Root, Targets};
use trust_tuf::trusted::RootStage;
use trust_tuf::verify::{Verified, statement_signers};
use trust_tuf::{KeyId, RoleType, limits};

use crate::simulator::{Repository, TestKey, now};

fn ids(keys: &[&TestKey]) -> Vec<KeyId> {
    let mut ids: Vec<KeyId> = keys.iter().map(|k| KeyId::new(k.id())).collect();
    ids.sort_unstable();
    ids
}

fn sorted(ids: impl IntoIterator<Item = KeyId>) -> Vec<KeyId> {
    let mut ids: Vec<KeyId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids
}

/// A root whose targets role has three keys, of which two must sign and one is listed under an id that has no key.
fn scene() -> (Repository, Verified<Root>, [TestKey; 3]) {
    let mut repo = Repository::unpublished();
    let keys = [TestKey::ed25519(101), TestKey::p256(), TestKey::ed25519(103)];
    repo.set_keys("targets", &keys, 2);
    repo.root().unset(&["keys", keys[2].id()]);
    repo.publish_root();
    let root = RootStage::pinned(repo.pinned.as_slice(), now()).unwrap().root().clone();
    (repo, root, keys)
}

#[test]
fn who_speaks_for_a_role_is_who_is_listed_with_a_key() {
    let (_, root, keys) = scene();
    let role: &RoleKeys = root.role(RoleType::Targets);
    assert_eq!(role.threshold(), 2);
    assert_eq!(sorted(role.keyids().iter().cloned()), ids(&[&keys[0], &keys[1], &keys[2]]));
    assert_eq!(sorted(role.keys().map(|(id, _)| id.clone())), ids(&[&keys[0], &keys[1]]));
    assert!(role.holds(&keys[0].public()) && role.holds(&keys[1].public()));
    assert!(!role.holds(&keys[2].public()) && !role.holds(&TestKey::ed25519(104).public()));
    assert_eq!(role.key(&KeyId::new(keys[1].id())), Some(&keys[1].public()));
    assert_eq!(role.key(&KeyId::new(keys[2].id())), None);
}

#[test]
fn the_signers_of_a_file_are_those_whose_signatures_counted() {
    let (mut repo, root, keys) = scene();
    let stranger = TestKey::ed25519(105);
    let role = repo.role("targets");
    role.signers = vec![keys[0].clone(), keys[1].clone(), keys[2].clone(), stranger.clone()];
    let bytes = role.bytes();
    let read = Unverified::<Targets>::read(bytes.as_slice(), limits::TARGETS_BYTES).unwrap();
    assert_eq!(sorted(read.signed_by().cloned()), ids(&[&keys[0], &keys[1], &keys[2], &stranger]));
    assert_eq!(read.claimed_version().get(), 1);
    let verified = read.verify(root.role(RoleType::Targets)).unwrap();
    assert_eq!(sorted(verified.signers().iter().cloned()), ids(&[&keys[0], &keys[1]]));
    assert_eq!(verified.sha256(), trust_tuf::model::sha256(&bytes));
    assert_eq!(&verified.bytes()[..], &bytes[..]);
    let entry = verified.own_entry();
    assert_eq!((entry.version, entry.length), (verified.version(), Some(bytes.len() as u64)));
}

#[test]
fn the_signers_of_a_next_root_are_those_of_both_sides_each_once() {
    let mut repo = Repository::new();
    let old = repo.roles["root"].signers[0].clone();
    let first = RootStage::pinned(repo.pinned.as_slice(), now()).unwrap();
    let next = [old.clone(), TestKey::ed25519(106)];
    repo.set_keys("root", &next, 2);
    repo.publish_next_root();
    let bytes = repo.wire.file("2.root.json").unwrap();
    let verified = Unverified::<Root>::read(bytes, limits::ROOT_BYTES).unwrap().verify_next(first.root()).unwrap();
    assert_eq!(verified.signers().to_vec(), ids(&[&next[0], &next[1]]));
}

#[test]
fn the_signers_of_a_statement_are_the_distinct_keys_that_signed_it() {
    let (_, root, keys) = scene();
    let message = b"a statement";
    let by = |keys: &[&TestKey]| keys.iter().map(|k| k.signature(message)).collect::<Vec<_>>();
    let signers =
        |signatures: &[_], text: &[u8]| sorted(statement_signers(root.role(RoleType::Targets), signatures, text));
    assert_eq!(signers(&by(&[&keys[0], &keys[1], &keys[2]]), message), ids(&[&keys[0], &keys[1]]));
    assert_eq!(signers(&by(&[&keys[0], &keys[0]]), message), ids(&[&keys[0]]));
    assert_eq!(signers(&by(&[&keys[0]]), b"another one"), ids(&[]));
}

#[test]
fn an_envelope_with_another_member_is_told_from_one_without() {
    let mut repo = Repository::new();
    let bytes = repo.write("targets");
    let only = |bytes: Vec<u8>| Unverified::<Targets>::read(bytes, limits::TARGETS_BYTES).unwrap().is_only_envelope();
    assert!(only(bytes.clone()));
    let text = String::from_utf8(bytes).unwrap();
    assert!(!only(text.replacen('{', "{\"unsigned\":1,", 1).into_bytes()));
}
