//! Cases of the public conformance suite: rotations of keys and thresholds, for the root and for the roles below it.
//!
//! Keys are numbers. What attacks rotations is in `attacks_root.rs` and `attacks_keys.rs`; which function of the suite is
//! which test here: docs/conformance.md.

use trust_tests::attacks;
use trust_tests::simulator::{Repository, TestKey, World};
use trust_tuf::error::{Reason, RootSide};

/// A key that no repository of the simulator takes by itself.
fn key(number: u8) -> TestKey {
    TestKey::ed25519(100 + number)
}

fn keys(numbers: &[u8]) -> Vec<TestKey> {
    numbers.iter().map(|number| key(*number)).collect()
}

/// One version of a role: who may sign it, how many must, and who did.
struct Keys {
    listed: &'static [u8],
    threshold: u64,
    signed: &'static [u8],
}

const fn keys_of(listed: &'static [u8], threshold: u64, signed: &'static [u8]) -> Keys {
    Keys { listed, threshold, signed }
}

/// Roots in order; the last one is good, or lacks signatures on one side: which, how many count, how many must.
type Chain = (&'static str, &'static [Keys], Option<(RootSide, u64, u64)>);

const ALL: &[u8] = &[0, 1, 2, 3, 4];
const ONE_NEW: &[u8] = &[0, 1, 3, 4, 5];

const CHAINS: &[Chain] = &[
    ("one key becomes another", &[keys_of(&[1], 1, &[1]), keys_of(&[2], 1, &[2, 1]), keys_of(&[2], 1, &[2])], None),
    (
        "signatures of keys that nobody lists do no harm",
        &[keys_of(&[1], 1, &[3, 1, 4]), keys_of(&[2], 1, &[3, 2, 1, 4]), keys_of(&[2], 1, &[3, 2, 4])],
        None,
    ),
    (
        "any three of five",
        &[
            keys_of(ALL, 3, &[0, 2, 4]),
            keys_of(ALL, 3, &[0, 4, 1]),
            keys_of(ALL, 3, &[0, 1, 3]),
            keys_of(ALL, 3, &[0, 1, 3]),
        ],
        None,
    ),
    ("one of five is replaced", &[keys_of(ALL, 3, &[0, 2, 4]), keys_of(ONE_NEW, 3, &[0, 4, 1])], None),
    (
        "one of five is replaced, signed by the one that leaves and the one that comes",
        &[keys_of(ALL, 3, &[0, 2, 4]), keys_of(ONE_NEW, 3, &[0, 2, 4, 5]), keys_of(ONE_NEW, 3, &[0, 4, 5])],
        None,
    ),
    (
        "all five are replaced",
        &[
            keys_of(ALL, 3, &[0, 2, 4]),
            keys_of(&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7]),
            keys_of(&[5, 6, 7, 8, 9], 3, &[5, 6, 7]),
        ],
        None,
    ),
    ("one of three becomes two of three", &[keys_of(&[1, 2, 3], 1, &[1]), keys_of(&[1, 2, 3], 2, &[1, 2])], None),
    (
        "two of three becomes one of three",
        &[keys_of(&[1, 2, 3], 2, &[1, 2]), keys_of(&[1, 2, 3], 1, &[1, 2]), keys_of(&[1, 2, 3], 1, &[1])],
        None,
    ),
    ("one of one becomes two of two", &[keys_of(&[1], 1, &[1]), keys_of(&[1, 2], 2, &[1, 2])], None),
    (
        "a new key without the old one",
        &[keys_of(&[1], 1, &[1]), keys_of(&[2], 1, &[2, 3, 4])],
        Some((RootSide::Old, 0, 1)),
    ),
    (
        "a new key that did not sign",
        &[keys_of(&[1], 1, &[1]), keys_of(&[2], 1, &[1, 3, 4])],
        Some((RootSide::New, 0, 1)),
    ),
    (
        "three old keys, two of the new ones",
        &[keys_of(ALL, 3, &[0, 2, 4]), keys_of(ONE_NEW, 3, &[0, 2, 4])],
        Some((RootSide::New, 2, 3)),
    ),
    (
        "three new keys, two of the old ones",
        &[keys_of(ALL, 3, &[0, 2, 4]), keys_of(ONE_NEW, 3, &[0, 4, 5])],
        Some((RootSide::Old, 2, 3)),
    ),
    (
        "a raised threshold that is not met",
        &[keys_of(&[1, 2, 3], 1, &[1]), keys_of(&[1, 2, 3], 2, &[2])],
        Some((RootSide::New, 1, 2)),
    ),
    (
        "a lowered threshold that met only itself",
        &[keys_of(&[1, 2, 3], 2, &[1, 2]), keys_of(&[1, 2, 3], 1, &[1])],
        Some((RootSide::Old, 1, 2)),
    ),
];

/// Below the root: the keys as a new root lists them, and how many count if they are too few.
const ROLES: &[(&str, Keys, Option<u64>)] = &[
    ("one key becomes another", keys_of(&[2], 1, &[2]), None),
    ("signatures of keys that nobody lists do no harm", keys_of(&[1], 1, &[3, 1, 4]), None),
    ("the new key did not sign", keys_of(&[2], 1, &[1, 3, 4]), Some(0)),
    ("three signatures, one of a key that left", keys_of(ONE_NEW, 3, &[0, 2, 4]), Some(2)),
    ("two signatures of three", keys_of(ONE_NEW, 3, &[0, 4]), Some(2)),
    ("three of five: 0 2 4", keys_of(ALL, 3, &[0, 2, 4]), None),
    ("three of five: 0 4 1", keys_of(ALL, 3, &[0, 4, 1]), None),
    ("three of five: 0 1 3", keys_of(ALL, 3, &[0, 1, 3]), None),
    ("three of five: 1 2 3", keys_of(ALL, 3, &[1, 2, 3]), None),
    ("three of five: 2 3 4", keys_of(ALL, 3, &[2, 3, 4]), None),
];

fn root_file(w: &World, version: usize) -> Vec<u8> {
    w.repo.wire.file(&format!("{version}.root.json")).expect("published")
}

attacks! {
    fn a_chain_of_roots_is_followed_exactly_as_far_as_each_link_meets_both_thresholds(w) {
        for (name, chain, refusal) in CHAINS {
            let mut repo = Repository::unpublished();
            repo.root().set_version(0);
            for link in *chain {
                repo.list_keys("root", &keys(link.listed), link.threshold);
                repo.root().signers = keys(link.signed);
                repo.publish_next_root();
            }
            repo.publish_same_versions();
            w.restart(repo);
            let kept = match refusal {
                None => {
                    assert_eq!(w.refresh(), Ok(()), "{name}");
                    chain.len()
                }
                Some((side, valid, needed)) => {
                    let reason = Reason::RootSignatures { side: *side, valid: *valid, needed: *needed };
                    assert_eq!(w.refused(), ("root".to_owned(), reason), "{name}");
                    chain.len() - 1
                }
            };
            assert_eq!(w.client.files()["root.json"], root_file(w, kept), "{name}");
            assert_eq!(w.kept().len(), if refusal.is_none() { 4 } else { 1 }, "{name}: nothing below a refused root");
        }
    }

    fn a_role_below_the_root_is_taken_exactly_if_enough_of_its_new_keys_signed_it(w) {
        for (name, rotated, refusal) in ROLES {
            for role in ["timestamp", "snapshot", "targets"] {
                w.restart(Repository::new());
                w.refreshed();
                w.repo.list_keys(role, &keys(rotated.listed), rotated.threshold);
                w.repo.publish_next_root();
                w.repo.role(role).signers = keys(rotated.signed);
                w.repo.role("targets").bump();
                w.repo.publish();
                match refusal {
                    None => {
                        assert_eq!(w.refresh(), Ok(()), "{role}: {name}");
                        w.assert_kept(2, 2, 2, 2);
                    }
                    Some(valid) => {
                        let reason = Reason::Signatures { valid: *valid, needed: rotated.threshold };
                        assert_eq!(w.refused(), (role.to_owned(), reason), "{role}: {name}");
                        assert_eq!(w.kept()[role], 1, "{role}: {name}");
                        assert_eq!(w.kept()["root"], 2, "{role}: {name}");
                    }
                }
            }
        }
    }

    fn a_snapshot_that_lost_one_of_three_signatures_is_refused_and_the_kept_one_stays(w) {
        w.repo.set_keys("snapshot", &keys(&[0, 1, 2]), 3);
        w.repo.publish_next_root();
        w.repo.publish();
        w.refreshed();
        w.assert_kept(2, 2, 2, 1);
        w.repo.role("snapshot").signers.pop();
        w.repo.role("targets").bump();
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".to_owned(), Reason::Signatures { valid: 2, needed: 3 }));
        w.assert_kept(2, 3, 2, 1);
    }

    fn five_keys_never_meet_a_threshold_of_six(w) {
        w.repo.set_keys("snapshot", &keys(ALL), 6);
        w.repo.publish_next_root();
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".to_owned(), Reason::Signatures { valid: 5, needed: 6 }));
        w.assert_kept(2, 2, 0, 0);
    }

    fn one_key_that_is_listed_and_signs_nine_times_is_one_key(w) {
        // Nine times under one id the root itself is refused (`attacks_keys.rs`); under nine ids it is a root, and one key.
        let one = key(0);
        let nine: Vec<TestKey> = (0..9).map(|n| one.with_id(&format!("id-{n}"))).collect();
        w.repo.set_keys("snapshot", &nine, 6);
        w.repo.publish_next_root();
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".to_owned(), Reason::Signatures { valid: 1, needed: 6 }));
        w.assert_kept(2, 2, 0, 0);
    }

    fn a_root_key_of_each_kind_counts_and_a_signature_by_it_over_something_else_does_not(w) {
        for (kind, added) in [("rsa", TestKey::rsa()), ("ecdsa", TestKey::p256()), ("ed25519", key(7))] {
            w.restart(Repository::new());
            w.refreshed();
            let first = w.repo.root().signers[0].clone();
            w.repo.set_keys("root", &[first, added.clone()], 2);
            w.repo.publish_next_root();
            w.refreshed();
            assert_eq!(w.kept()["root"], 2, "{kind}");
            w.repo.root().signers.retain(|key| key.id() != added.id());
            w.repo.root().junk = vec![(added.id().to_owned(), hex::encode(added.sign(b"another message")))];
            w.repo.publish_next_root();
            let reason = Reason::RootSignatures { side: RootSide::Old, valid: 1, needed: 2 };
            assert_eq!(w.refused(), ("root".to_owned(), reason), "{kind}");
            assert_eq!(w.kept()["root"], 2, "{kind}");
        }
    }

    fn a_key_with_a_member_about_hash_algorithms_is_that_key(w) {
        w.refreshed();
        let odd = key(3).respelled(|value| {
            let members = value.as_object_mut().expect("an object");
            members.insert("keyid_hash_algorithms".to_owned(), "md5".into());
        });
        w.repo.set_keys("snapshot", &[odd], 1);
        w.repo.publish_next_root();
        w.repo.publish();
        w.refreshed();
        w.assert_kept(2, 2, 2, 1);
    }
}
