//! Attacks on keys, thresholds and signatures (tuf.md 5): one key may count once, whatever it is called.

use std::time::{Duration, Instant};

use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Repository, TestKey, World, refused};
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::Value;
use trust_tuf::{KeyId, limits};

fn short(valid: u64, needed: u64) -> Reason {
    Reason::Signatures { valid, needed }
}

/// Several spellings of one key.
fn spellings(key: &TestKey) -> Vec<TestKey> {
    vec![
        key.clone(),
        key.with_id("another id"),
        key.respelled(|v| {
            v.as_object_mut().unwrap().insert("x-owner".into(), Value::from("somebody else"));
        }),
    ]
}

fn p256_spellings() -> Vec<TestKey> {
    let key = TestKey::p256();
    let public = |f: fn(String) -> String| {
        key.respelled(|v| {
            let keyval = v.as_object_mut().unwrap().get_mut("keyval").unwrap().as_object_mut().unwrap();
            let pem = keyval["public"].as_str().unwrap().to_owned();
            keyval.insert("public".into(), Value::from(f(pem)));
        })
    };
    let old_type = key.respelled(|v| {
        v.as_object_mut().unwrap().insert("keytype".into(), Value::from("ecdsa-sha2-nistp256"));
    });
    vec![
        key.clone(),
        key.with_id("another id"),
        public(|pem| pem.replace('\n', "\r\n")),
        public(|pem| pem + "\n\n"),
        public(|pem| pem.trim_end().to_owned()),
        public(|pem| format!("a comment\n{pem}")),
        old_type,
    ]
}

/// Two of two signatures by spellings of one key, at a top-level role.
fn one_key_counts_once(w: &mut World, role: &str, keys: &[TestKey]) {
    w.refreshed();
    w.repo.set_keys(role, keys, keys.len() as u64);
    w.repo.publish_next_root();
    w.repo.role("targets").bump();
    w.repo.publish();
    let needed = keys.len() as u64;
    assert_eq!(w.refused(), (role.into(), short(1, needed)), "{role}");
    // With a second key the threshold of two is met: the refusal above was about the count and nothing else.
    let mut enough = keys.to_vec();
    enough.push(w.repo.new_key());
    w.repo.set_keys(role, &enough, 2);
    w.repo.publish_next_root();
    w.repo.role("targets").bump();
    w.repo.publish();
    w.refreshed();
}

attacks! {
    fn one_key_under_several_ids_counts_once_at_timestamp(w) {
        let keys = spellings(&TestKey::ed25519(100));
        one_key_counts_once(w, "timestamp", &keys);
    }

    fn one_key_under_several_ids_counts_once_at_snapshot(w) {
        let keys = spellings(&TestKey::ed25519(100));
        one_key_counts_once(w, "snapshot", &keys);
    }

    fn one_key_under_several_ids_counts_once_at_targets(w) {
        let keys = spellings(&TestKey::ed25519(100));
        one_key_counts_once(w, "targets", &keys);
    }

    fn one_p256_key_with_other_white_space_or_the_old_type_name_counts_once(w) {
        one_key_counts_once(w, "targets", &p256_spellings());
    }

    fn one_rsa_key_under_several_ids_counts_once(w) {
        one_key_counts_once(w, "targets", &spellings(&TestKey::rsa()));
    }

    fn one_ed25519_key_in_upper_case_counts_once(w) {
        let key = TestKey::ed25519(100);
        let upper = key.respelled(|v| {
            let keyval = v.as_object_mut().unwrap().get_mut("keyval").unwrap().as_object_mut().unwrap();
            let point = keyval["public"].as_str().unwrap().to_uppercase();
            keyval.insert("public".into(), Value::from(point));
        });
        one_key_counts_once(w, "targets", &[key, upper]);
    }

    fn one_key_under_two_ids_counts_once_at_the_pinned_root(w) {
        let key = TestKey::ed25519(100);
        let mut repo = Repository::unpublished();
        repo.list_keys("root", &spellings(&key), 2);
        repo.root().signers = spellings(&key);
        repo.publish_root();
        repo.publish_same_versions();
        w.restart(repo);
        assert_eq!(w.refused(), ("root".into(), short(1, 2)));
        assert!(w.repo.wire.take_requests().is_empty());
    }

    fn gms_2022_4197_one_key_under_two_ids_counts_once_for_a_new_root(w) {
        // GMS-2022-4197: threshold 2 of the new root, one key.
        w.refreshed();
        let key = TestKey::ed25519(100);
        w.repo.set_keys("root", &spellings(&key), 2);
        w.repo.publish_next_root();
        let reason = Reason::RootSignatures { side: trust_tuf::error::RootSide::New, valid: 1, needed: 2 };
        assert_eq!(w.refused(), ("root".into(), reason));
    }

    fn one_key_under_two_ids_counts_once_at_a_delegated_role(w) {
        for keys in [spellings(&TestKey::ed25519(100)), p256_spellings()] {
            let mut repo = Repository::new();
            let delegate = Delegate { threshold: 2, keys, ..Delegate::new("a", &TestKey::ed25519(100), &["*"]) };
            repo.delegate("targets", &delegate);
            repo.add_target("a", "x", b"x");
            repo.publish();
            w.restart(repo);
            assert_eq!(refused(w.lookup("x")), ("a".into(), short(1, 2)));
        }
    }

    fn cve_2020_15093_a_doubled_signature_is_refused_also_where_the_threshold_is_met(w) {
        // CVE-2020-15093, CVE-2020-6174, CVE-2026-6966.
        w.refreshed();
        for role in ["timestamp", "snapshot", "targets", "root"] {
            let key = w.repo.role(role).signers[0].clone();
            w.repo.role(role).signers = vec![key.clone(), key.clone()];
            if role == "root" {
                w.repo.publish_next_root();
            }
            w.repo.role("targets").bump();
            w.repo.publish();
            assert_eq!(w.malformed(role), MetadataError::DuplicateSignature(KeyId::new(key.id())));
            w.repo.role(role).signers = vec![key];
        }
    }

    fn cve_2026_6966_a_doubled_signature_of_a_delegated_role_is_refused(w) {
        let keys = [w.repo.new_key(), w.repo.new_key()];
        let delegate = Delegate { threshold: 2, keys: keys.to_vec(), ..Delegate::new("a", &keys[0], &["*"]) };
        w.repo.delegate("targets", &delegate);
        w.repo.role("a").signers = vec![keys[0].clone(), keys[0].clone()];
        w.repo.publish();
        let doubled = MetadataError::DuplicateSignature(KeyId::new(keys[0].id()));
        assert_eq!(refused(w.lookup("x")), ("a".into(), Reason::Metadata(doubled)));
        w.repo.role("a").signers = vec![keys[0].clone()];
        w.repo.role("a").bump();
        w.repo.publish();
        assert_eq!(refused(w.lookup("x")), ("a".into(), short(1, 2)));
        w.repo.role("a").signers = keys.to_vec();
        w.repo.role("a").bump();
        w.repo.publish();
        assert!(w.lookup("x").unwrap().role().is_none());
    }

    fn a_doubled_signature_under_an_unknown_id_is_refused_too(w) {
        w.repo.role("timestamp").junk = vec![("nobody".into(), "00".into()), ("nobody".into(), "01".into())];
        w.repo.publish_timestamp();
        assert_eq!(w.malformed("timestamp"), MetadataError::DuplicateSignature(KeyId::new("nobody")));
    }

    fn a_key_id_twice_in_a_role_is_refused(w) {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let good = w.repo.root().signed.clone();
            let key = w.repo.role(role).signers[0].clone();
            w.repo.list_keys(role, &[key.clone(), key], 1);
            w.repo.root().set_version(2);
            w.repo.publish_root();
            assert_eq!(w.malformed("root"), MetadataError::DuplicateKeyId(role.into()));
            w.repo.root().signed = good;
        }
        w.repo.wire.remove("2.root.json");
        let key = w.repo.new_key();
        let delegate = Delegate { keys: vec![key.clone(), key.clone()], ..Delegate::new("a", &key, &["*"]) };
        w.repo.delegate("targets", &delegate);
        w.repo.publish();
        assert_eq!(w.malformed("targets"), MetadataError::DuplicateKeyId("a".into()));
    }

    fn cve_2026_23992_a_delegation_with_a_threshold_below_one_spoils_the_delegating_file(w) {
        let key = w.repo.new_key();
        w.repo.delegate("targets", &Delegate::new("a", &key, &["*"]));
        w.repo.role("a").signers.clear();
        for threshold in [Value::from(0_u64), Value::Int(-1)] {
            w.repo.delegations("targets")[0].as_object_mut().unwrap().insert("threshold".into(), threshold);
            w.repo.role("targets").bump();
            w.repo.publish();
            assert!(matches!(w.malformed("targets"), MetadataError::Threshold(_)));
        }
        for threshold in [Value::from("0"), Value::Null, Value::from(true)] {
            w.repo.delegations("targets")[0].as_object_mut().unwrap().insert("threshold".into(), threshold);
            w.repo.role("targets").bump();
            w.repo.publish();
            assert!(matches!(w.malformed("targets"), MetadataError::Json(_)));
        }
    }

    fn signatures_that_are_empty_wrong_or_not_hex_neither_count_nor_spoil(w) {
        let key = w.repo.role("timestamp").signers[0].clone();
        let stranger = TestKey::ed25519(200);
        for junk in ["", "0", "zz", "00", "not hex at all", &"ab".repeat(64), &"00".repeat(1_000)] {
            w.repo.role("timestamp").junk = vec![(stranger.id().into(), junk.into()), ("x".into(), junk.into())];
            w.repo.publish_timestamp();
            w.refreshed();
            // In place of the only good one.
            w.repo.role("timestamp").signers.clear();
            w.repo.role("timestamp").junk = vec![(key.id().into(), junk.into())];
            w.repo.publish_timestamp();
            assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)), "{junk:.20}");
            w.repo.role("timestamp").signers = vec![key.clone()];
        }
    }

    fn a_wrong_signature_beside_enough_good_ones_does_no_harm(w) {
        let keys = [w.repo.new_key(), w.repo.new_key(), w.repo.new_key()];
        w.repo.set_keys("timestamp", &keys, 2);
        w.repo.publish_next_root();
        w.repo.role("timestamp").signers = keys[..2].to_vec();
        w.repo.role("timestamp").junk = vec![(keys[2].id().into(), "00".repeat(64))];
        w.repo.publish_timestamp();
        w.refreshed();
        w.repo.role("timestamp").signers = keys[..1].to_vec();
        w.repo.publish_timestamp();
        assert_eq!(w.refused(), ("timestamp".into(), short(1, 2)));
    }

    fn a_signature_of_another_file_signs_nothing(w) {
        w.refreshed();
        let good = w.repo.role("timestamp").clone();
        w.repo.role("timestamp").bump();
        let payload = good.signed.canonical();
        let key = good.signers[0].clone();
        w.repo.role("timestamp").signers.clear();
        w.repo.role("timestamp").junk = vec![(key.id().into(), hex::encode(key.sign(&payload)))];
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)));
    }

    fn keys_of_unknown_kind_or_broken_material_neither_count_nor_spoil_the_root(w) {
        let own = w.repo.role("timestamp").signers[0].clone();
        let broken = |change: fn(&mut std::collections::BTreeMap<String, Value>)| {
            TestKey::ed25519(150).respelled(|v| change(v.as_object_mut().unwrap()))
        };
        let odd = [
            broken(|k| { k.insert("keytype".into(), Value::from("sphincs")); }),
            broken(|k| { k.insert("scheme".into(), Value::from("ecdsa-sha2-nistp256")); }),
            broken(|k| { k.insert("scheme".into(), Value::from("ed25519ph")); }),
            broken(|k| { k.insert("keyval".into(), Value::object([("public", Value::from("00"))])); }),
            broken(|k| { k.insert("keyval".into(), Value::object([("public", Value::from("00".repeat(32)))])); }),
            broken(|k| { k.insert("keyval".into(), Value::object([("public", Value::Null)])); }),
            broken(|k| { k.insert("keyval".into(), Value::Null); }),
            broken(|k| { k.clear(); }),
        ];
        for key in odd {
            w.repo.set_keys("timestamp", &[own.clone(), key.clone()], 1);
            w.repo.publish_next_root();
            w.repo.publish_timestamp();
            w.refreshed();
            w.repo.role("timestamp").signers = vec![key.clone()];
            w.repo.publish_timestamp();
            assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)), "{:?}", key.value());
        }
    }

    fn cve_2015_9258_the_algorithm_is_the_one_of_the_trusted_key(w) {
        // CVE-2015-9258: a key listed with another scheme than its own, with signatures that would be good for its own.
        let (ed, p256, p384, rsa) = (TestKey::ed25519(100), TestKey::p256(), TestKey::p384(), TestKey::rsa());
        let kinds = [
            ("ed25519", "ed25519"),
            ("ecdsa", "ecdsa-sha2-nistp256"),
            ("ecdsa", "ecdsa-sha2-nistp384"),
            ("rsa", "rsassa-pss-sha256"),
            ("rsa", "rsa-pkcs1v15-sha256"),
            ("rsa", "rsassa-pss-sha512"),
        ];
        for (own, key) in [ed, p256, p384, rsa].iter().enumerate() {
            for (n, (keytype, scheme)) in kinds.iter().enumerate() {
                let listed = key.respelled(|v| {
                    let v = v.as_object_mut().unwrap();
                    v.insert("keytype".into(), Value::from(*keytype));
                    v.insert("scheme".into(), Value::from(*scheme));
                });
                w.repo.set_keys("timestamp", &[listed], 1);
                w.repo.publish_next_root();
                w.repo.publish_timestamp();
                if n == own {
                    w.refreshed();
                } else {
                    assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)), "key {own} as {keytype}/{scheme}");
                }
            }
        }
    }

    fn sigstore_root_v11_a_key_id_that_is_not_the_hash_of_its_key_is_only_a_name(w) {
        // Live repositories have such ids (Sigstore root v11, GitHub).
        for role in ["timestamp", "snapshot", "targets", "root"] {
            let key = w.repo.new_key().with_id(&format!("the {role} key"));
            w.repo.set_keys(role, &[key], 1);
            w.repo.publish_next_root();
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
        }
        let key = w.repo.new_key().with_id("a");
        w.repo.delegate("targets", &Delegate::new("a", &key, &["*"]));
        w.repo.role("targets").bump();
        w.repo.publish();
        assert!(w.lookup("x").unwrap().role().is_none());
    }

    fn a_key_id_is_looked_up_only_in_the_delegating_file(w) {
        // Listed in the root's table, but not for the role; and listed for the role, but not in the table.
        let key = w.repo.new_key();
        let (id, value) = (key.id().to_owned(), key.value());
        w.repo.root().set(&["keys", &id], value);
        w.repo.publish_next_root();
        let own = std::mem::replace(&mut w.repo.role("timestamp").signers, vec![key.clone()]);
        w.repo.publish_timestamp();
        assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)));
        let ids = vec![Value::from(own[0].id()), Value::from(id.as_str())];
        w.repo.root().set(&["roles", "timestamp", "keyids"], ids);
        w.repo.root().unset(&["keys", &id]);
        w.repo.publish_next_root();
        assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)));
        w.repo.role("timestamp").signers = own;
        w.repo.publish_timestamp();
        w.refreshed();
    }

    fn all_key_kinds_that_are_read_verify(w) {
        let keys = [TestKey::p256(), TestKey::p384(), TestKey::rsa(), w.repo.new_key(), p256_spellings().pop().unwrap()];
        for role in ["root", "timestamp", "snapshot", "targets"] {
            w.repo.set_keys(role, &keys, keys.len() as u64);
        }
        w.repo.publish_next_root();
        w.repo.role("targets").bump();
        w.repo.publish();
        w.refreshed();
        w.assert_kept(2, 2, 2, 2);
    }

    fn cve_2020_6173_junk_signatures_cost_parsing_only(w) {
        // CVE-2020-6173: many bad signatures meant minutes.
        let junk = |n: usize| (0..n).map(|i| (format!("{i:064x}"), "ab".repeat(64))).collect::<Vec<_>>();
        w.repo.role("targets").junk = junk(limits::SIGNATURES_PER_FILE - 1);
        w.repo.role("targets").bump();
        w.repo.publish();
        let begun = Instant::now();
        w.refreshed();
        assert!(begun.elapsed() < Duration::from_secs(5));
        for many in [1_500, 100_000] {
            // The signature of the role's key stands first: even so the file is refused.
            w.repo.role("targets").junk = junk(many);
            w.repo.role("targets").bump();
            w.repo.publish();
            let begun = Instant::now();
            let limit = limits::SIGNATURES_PER_FILE;
            match w.refused() {
                (_, Reason::Metadata(MetadataError::TooMany { limit: l, .. })) => assert_eq!(l, limit),
                other => panic!("{other:?}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{many} junk signatures");
        }
    }

    fn one_key_under_a_thousand_ids_is_checked_in_time(w) {
        let key = TestKey::ed25519(100);
        let many: Vec<TestKey> = (0..900).map(|i| key.with_id(&format!("{i}"))).collect();
        w.repo.list_keys("timestamp", &many, 2);
        w.repo.publish_next_root();
        w.repo.role("timestamp").signers = vec![];
        w.repo.role("timestamp").junk = many.iter().map(|k| (k.id().to_owned(), "ab".repeat(64))).collect();
        // A timestamp of 900 signatures is beyond its byte limit; the snapshot is not.
        w.repo.publish_timestamp();
        assert!(matches!(w.refresh(), Err(trust_tests::simulator::Failure::Fetch { .. })));
        let begun = Instant::now();
        let own = TestKey::ed25519(101);
        w.repo.set_keys("timestamp", &[own], 1);
        w.repo.list_keys("snapshot", &many, 2);
        w.repo.publish_next_root();
        w.repo.role("timestamp").junk = vec![];
        w.repo.role("snapshot").signers = vec![];
        w.repo.role("snapshot").junk = many.iter().map(|k| (k.id().to_owned(), "ab".repeat(64))).collect();
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".into(), short(0, 2)));
        w.repo.role("snapshot").junk = vec![];
        w.repo.role("snapshot").signers = many;
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".into(), short(1, 2)));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
