//! What published advisories and audits of other TUF clients describe, tried on ours (tuf.md 5, 9 and 10). What is no case
//! of another file of attacks stands here; `docs/attacks.md` lists all of them.

use std::time::{Duration, Instant};

use trust_reader::state::StateStore;
use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Failure, Fault, Repository, TestKey, WireError, World, refused};
use trust_tuf::error::{MetadataError, Reason, RootSide};
use trust_tuf::json::{JsonErrorKind, Value};
use trust_tuf::lookup::LookupError;
use trust_tuf::{CollectionName, KeyId, limits};

fn one(n: u64) -> trust_tuf::Version {
    World::version(n)
}

fn short(valid: u64, needed: u64) -> Reason {
    Reason::Signatures { valid, needed }
}

/// Encodings of Ed25519 points with which one signature fits many messages.
fn small_order_points() -> Vec<String> {
    let (zeros, ones) = ("00".repeat(30), "ff".repeat(30));
    let mut points: Vec<String> =
        ["00", "01"].iter().flat_map(|first| ["00", "80"].map(|last| format!("{first}{zeros}{last}"))).collect();
    points.extend(["ec", "ed", "ee"].iter().flat_map(|first| ["7f", "ff"].map(|last| format!("{first}{ones}{last}"))));
    for (stem, ends) in [
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", ["7a", "fa"]),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", ["05", "85"]),
    ] {
        points.extend(ends.map(|end| format!("{stem}{end}")));
    }
    assert_eq!(points.len(), 14);
    points
}

/// A key whose point is of small order, as a file would list it.
fn weak_key(point: &str) -> TestKey {
    TestKey::ed25519(250).respelled(|v| {
        v.as_object_mut().unwrap().insert("keyval".into(), Value::object([("public", Value::from(point))]));
    })
}

/// Signatures that check against such points without any private key: R a point of small order, S zero.
fn keyless_signatures() -> Vec<String> {
    let zeros = "00".repeat(32);
    small_order_points().iter().map(|r| format!("{r}{zeros}")).collect()
}

attacks! {
    fn ghsa_j8x2_777p_23fc_cycles_of_delegations_end(w) {
        let cycles: &[&[(&str, &str)]] = &[
            &[("targets", "A"), ("A", "A")],
            &[("targets", "A"), ("A", "B"), ("B", "A")],
            &[("targets", "A"), ("targets", "B"), ("A", "B"), ("B", "C"), ("C", "A"), ("C", "B")],
        ];
        for cycle in cycles {
            let mut repo = Repository::new();
            let key = TestKey::ed25519(200);
            for (from, to) in *cycle {
                repo.delegate(from, &Delegate::new(to, &key, &["*"]));
            }
            repo.publish();
            w.restart(repo);
            for _ in 0..2 {
                let answer = w.lookup("x").unwrap();
                assert_eq!(answer.role(), None);
                assert!(answer.visited().len() <= 4, "{:?}", answer.visited());
            }
        }
        // Everybody delegates to everybody: 30 roles are visited once each, 40 are too many.
        for (roles, ends) in [(30, true), (40, false)] {
            let mut repo = Repository::new();
            let key = TestKey::ed25519(200);
            let names: Vec<String> = (0..roles).map(|n| format!("r{n}")).collect();
            for from in std::iter::once("targets").chain(names.iter().map(String::as_str)) {
                for to in &names {
                    // The role has to be there before it delegates.
                    if !repo.roles.contains_key(from) {
                        repo.delegate("targets", &Delegate::new(from, &key, &["*"]));
                    }
                    repo.delegate(from, &Delegate::new(to, &key, &["*"]));
                }
            }
            // A name stands once in each file.
            let list = repo.delegations("targets");
            let mut seen = std::collections::BTreeSet::new();
            list.retain(|d| seen.insert(d.get("name").and_then(Value::as_str).unwrap().to_owned()));
            repo.publish();
            w.restart(repo);
            let begun = Instant::now();
            match w.lookup("x") {
                Ok(answer) => assert!(ends && answer.visited().len() == 31),
                Err(failure) => {
                    assert!(!ends && matches!(failure, Failure::Undecided(LookupError::Limit { .. })), "{failure:?}");
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
    }

    fn gms_2022_4197_several_signatures_of_one_new_root_key_count_once(w) {
        w.refreshed();
        let [a, b] = [w.repo.new_key(), w.repo.new_key()];
        let old = w.repo.root().signers.clone();
        w.repo.list_keys("root", &[a.clone(), b.clone()], 2);
        w.repo.root().set_version(2);
        let payload = w.repo.root().signed.canonical();
        let by_a = hex::encode(a.sign(&payload));
        // Twice under its own id.
        w.repo.root().signers = old.iter().cloned().chain([a.clone()]).collect();
        w.repo.root().junk = vec![(a.id().into(), by_a.clone())];
        w.repo.publish_root();
        assert_eq!(w.malformed("root"), MetadataError::DuplicateSignature(KeyId::new(a.id())));
        // Once under the id of the other key.
        w.repo.root().junk = vec![(b.id().into(), by_a)];
        w.repo.publish_root();
        let reason = Reason::RootSignatures { side: RootSide::New, valid: 1, needed: 2 };
        assert_eq!(w.refused(), ("root".into(), reason));
        w.assert_kept(1, 1, 1, 1);
        w.repo.root().junk.clear();
        w.repo.root().signers.push(b);
        w.repo.publish_root();
        w.refreshed();
    }

    fn cve_2020_6174_one_signature_under_the_ids_of_several_keys_counts_once(w) {
        w.refreshed();
        let keys = [w.repo.new_key(), w.repo.new_key(), w.repo.new_key()];
        for role in ["timestamp", "snapshot", "targets"] {
            w.repo.list_keys(role, &keys, 2);
            w.repo.publish_next_root();
            let own = std::mem::take(&mut w.repo.role(role).signers);
            // Files are written with lengths and hashes that fit: only the signatures are wrong.
            w.repo.role("targets").bump();
            w.repo.role("snapshot").bump();
            w.repo.role("timestamp").bump();
            if role != "targets" {
                w.repo.write_targets();
            }
            if role == "timestamp" {
                w.repo.write_snapshot();
            }
            let payload = w.repo.role(role).signed.canonical();
            let sig = hex::encode(keys[0].sign(&payload));
            w.repo.role(role).junk = keys.iter().map(|k| (k.id().to_owned(), sig.clone())).collect();
            w.repo.publish_same_versions();
            assert_eq!(w.refused(), (role.into(), short(1, 2)));
            w.repo.role(role).junk.clear();
            w.repo.set_keys(role, &own, 1);
            w.repo.publish_next_root();
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
        }
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate { threshold: 2, keys: keys.to_vec(), ..Delegate::new("a", &keys[0], &["*"]) });
        let payload = repo.role("a").signed.canonical();
        let sig = hex::encode(keys[0].sign(&payload));
        repo.role("a").signers.clear();
        repo.role("a").junk = keys.iter().map(|k| (k.id().to_owned(), sig.clone())).collect();
        repo.publish();
        w.restart(repo);
        assert_eq!(refused(w.lookup("x")), ("a".into(), short(1, 2)));
    }

    fn cve_2022_29173_rollback_is_seen_by_the_next_process_also_after_refused_updates(w) {
        // Every update opens the stored files anew. Refused ones in between must neither raise nor lower what counts.
        w.repo.role("targets").set_version(5);
        w.repo.role("timestamp").set_version(5);
        w.repo.publish();
        w.refreshed();
        let good_timestamp = w.repo.role("timestamp").version();
        let mut good_targets = w.repo.role("targets").version();
        let stranger = TestKey::ed25519(200);
        for _ in 0..2 {
            // Refused: by a stranger, far ahead. (What the snapshot lists of targets is the word of the snapshot's key.)
            for role in ["timestamp", "snapshot", "targets"] {
                let good = w.repo.roles.clone();
                w.repo.role(role).signers = vec![stranger.clone()];
                if role == "targets" {
                    w.repo.role(role).bump();
                    w.repo.role("snapshot").bump();
                } else {
                    let ahead = w.repo.role(role).version() + 1_000_000;
                    w.repo.role(role).set_version(ahead);
                }
                if role != "timestamp" {
                    w.repo.role("timestamp").bump();
                }
                w.repo.publish_same_versions();
                let (of, reason) = w.refused();
                assert_eq!((of.as_str(), reason), (role, short(0, 1)));
                let (timestamp, snapshot) = (w.repo.role("timestamp").version(), w.repo.role("snapshot").version());
                w.repo.roles = good;
                // What was taken on the way counts: the timestamp, and the snapshot version in it, go on from there.
                if role != "timestamp" {
                    w.repo.role("timestamp").set_version(timestamp);
                    w.repo.role("snapshot").set_version(snapshot);
                    if role == "targets" {
                        w.repo.role("targets").bump();
                        good_targets += 1;
                    }
                    w.repo.publish();
                    w.refreshed();
                }
            }
            // Rollback of each.
            let good = w.repo.roles.clone();
            w.repo.role("timestamp").set_version(good_timestamp - 1);
            w.repo.write("timestamp");
            assert!(matches!(w.refused(), (role, Reason::Rollback { .. }) if role == "timestamp"));
            w.repo.roles = good.clone();
            w.repo.role("snapshot").set_version(1);
            w.repo.role("timestamp").bump();
            w.repo.publish_same_versions();
            assert!(matches!(w.refused(), (role, Reason::SnapshotRollback { .. }) if role == "timestamp"));
            w.repo.roles = good.clone();
            w.repo.role("targets").set_version(good_targets - 1);
            w.repo.publish();
            assert!(matches!(w.refused(), (role, Reason::RoleLowered { .. }) if role == "snapshot"));
            let (snapshot, timestamp) = (w.repo.role("snapshot").version(), w.repo.role("timestamp").version());
            w.repo.roles = good;
            w.repo.role("snapshot").set_version(snapshot);
            w.repo.role("timestamp").set_version(timestamp);
            w.repo.publish();
            w.refreshed();
        }
    }

    fn sigstore_java_pr_1061_and_ruby_pr_89_the_snapshot_version_in_a_timestamp_never_falls(w) {
        w.repo.publish();
        w.refreshed();
        // Also where only the timestamp was taken, and the snapshot that it names never came.
        w.repo.publish();
        w.repo.wire.fault("3.snapshot.json", Fault::Status(503));
        assert!(matches!(w.refresh(), Err(Failure::Fetch { error: WireError::Status(503), .. })));
        w.assert_kept(1, 3, 2, 1);
        w.repo.wire.heal();
        w.repo.role("snapshot").set_version(2);
        w.repo.role("timestamp").bump();
        w.repo.publish_same_versions();
        assert_eq!(w.refused(), ("timestamp".into(), Reason::SnapshotRollback { trusted: one(3), got: one(2) }));
        w.assert_kept(1, 3, 2, 1);
        w.repo.publish();
        w.refreshed();
        w.assert_kept(1, 5, 3, 1);
    }

    fn uptane_36_a_delegated_role_is_checked_in_full_on_every_run(w) {
        // Good yesterday, kept on disk; then each thing that it rests on changes, and nothing of it is asked for by name.
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        repo.add_target("A", "x", b"x");
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
        let kept = w.client.files()["A.json"].clone();
        // Damaged on disk and gone on the server: an answer from it would be an answer from nowhere.
        let mut flipped = kept.clone();
        let at = flipped.len() / 2;
        flipped[at] ^= 1;
        w.client.plant("A.json", &flipped);
        w.repo.wire.fault("1.A.json", Fault::Status(404));
        assert!(matches!(w.lookup("x"), Err(Failure::Fetch { error: WireError::NotFound, .. })));
        w.repo.wire.heal();
        assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
        // A file of a stranger in its place.
        w.repo.role("A").signers = vec![TestKey::ed25519(201)];
        w.repo.add_target("A", "evil", b"evil");
        let forged = w.repo.role("A").bytes();
        w.client.plant("A.json", &forged);
        assert_eq!(w.lookup("evil").unwrap().role(), None);
        assert_eq!(w.client.files()["A.json"], kept);
    }

    fn uptane_268_other_bytes_under_an_equal_version_are_not_the_file(w) {
        let key = TestKey::ed25519(200);
        for role in ["snapshot", "targets", "A"] {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
            repo.publish();
            w.restart(repo);
            w.refreshed();
            w.repo.publish();
            // The role's own keys sign other content under the number that is current.
            let name = w.repo.file_name(role);
            w.repo.role(role).set(&["x-other"], "content");
            let other = w.repo.role(role).bytes();
            w.repo.wire.fault(&name, Fault::Bytes(other));
            w.new_client(w.repo.pinned.clone());
            match w.lookup("x") {
                // Longer than stated: not even read.
                Err(Failure::Fetch { file, error: WireError::TooLarge }) => assert_eq!(file, name),
                other => panic!("{other:?}"),
            }
            // Of the stated length.
            let mut same_length = w.repo.wire.file(&name).unwrap();
            let at = same_length.len() - 2;
            same_length[at] = b' ';
            w.repo.wire.fault(&name, Fault::Bytes(same_length));
            assert_eq!(refused(w.lookup("x")), (role.into(), Reason::Hash));
            w.repo.wire.heal();
            assert_eq!(w.lookup("x").unwrap().role(), None);
        }
    }

    fn extraneous_dependencies_a_tag_that_moves_without_a_new_role_version_changes_nothing(w) {
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.hashes = false;
        repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        repo.add_target("A", "v1", b"signed");
        repo.publish();
        w.restart(repo);
        let digest = |w: &mut World| w.lookup("v1").unwrap().outcome.hit().unwrap().target.hashes.sha256;
        let signed = digest(w);
        // The holder of A moves the tag and adds another, and the server shows it, under the old number.
        w.repo.add_target("A", "v1", b"moved");
        w.repo.add_target("A", "extra", b"extra");
        w.repo.publish_same_versions();
        assert_eq!(digest(w), signed);
        assert_eq!(w.lookup("extra").unwrap().role(), None);
        w.repo.role("A").bump();
        w.repo.publish();
        assert_ne!(digest(w), signed);
    }

    fn indefinite_freeze_a_root_that_is_withheld_is_noticed_when_something_expires(w) {
        // Root 2 takes the timestamp key away. A mirror withholds it, and the thief of the old key signs on.
        w.refreshed();
        let soon = w.now.plus_secs(trust_tests::simulator::days(30)).unwrap();
        w.repo.role("snapshot").set_expires(soon);
        w.repo.publish();
        w.refreshed();
        let new = w.repo.new_key();
        let stolen = w.repo.role("timestamp").clone();
        w.repo.set_keys("timestamp", &[new], 1);
        w.repo.publish_next_root();
        w.repo.wire.fault("2.root.json", Fault::Status(404));
        let mut thief = stolen;
        thief.bump();
        thief.set(&["expires"], "2099-01-01T00:00:00Z");
        w.repo.wire.fault("timestamp.json", Fault::Bytes(thief.bytes()));
        w.refreshed();
        w.now = soon;
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Expired { expires: soon, now: soon }));
        // The mirror is left: the new root counts at once, and the thief's timestamp is no floor any more.
        w.repo.wire.heal();
        w.repo.role("snapshot").set(&["expires"], "2099-01-01T00:00:00Z");
        w.repo.role("timestamp").set_version(0);
        w.repo.publish();
        w.refreshed();
        assert_eq!(w.kept()["timestamp"], 1);
    }

    fn rollback_after_the_cache_was_deleted_stops_at_the_pinned_root(w) {
        // A client without memory knows only what was pinned: an old state that the old keys signed is no longer good.
        let old = w.repo.wire.files();
        for role in ["timestamp", "snapshot", "targets"] {
            let key = w.repo.new_key();
            w.repo.set_keys(role, &[key], 1);
        }
        w.repo.publish_next_root();
        let pinned = w.repo.wire.file("2.root.json").unwrap();
        w.repo.role("targets").bump();
        w.repo.publish();
        w.new_client(pinned);
        w.refreshed();
        for (name, bytes) in old {
            w.repo.wire.put(&name, bytes);
        }
        w.new_client(w.repo.wire.file("2.root.json").unwrap());
        assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)));
        w.assert_kept(2, 0, 0, 0);
    }

    fn key_compromise_of_one_role_alone_gives_nothing_that_is_believed(w) {
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["a/*"]));
        repo.add_target("targets", "x", b"good");
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("x").unwrap().role(), Some("targets"));
        let evil = |w: &mut World, role: &str, path: &str| {
            w.repo.add_target(role, path, b"evil");
            w.repo.role(role).bump();
            let (name, bytes) = (w.repo.file_name(role), w.repo.role(role).bytes());
            w.repo.wire.put(&name, bytes);
        };
        // targets, and a delegated role: nobody lists the new file.
        evil(w, "targets", "x");
        evil(w, "A", "a/x");
        let answers = w.client.lookups(w.now, &["x", "a/x"]).unwrap();
        assert_eq!(answers[0].as_ref().unwrap().outcome.hit().unwrap().target.hashes.sha256, Some(trust_tuf::model::sha256(b"good")));
        assert_eq!(answers[1].as_ref().unwrap().role(), None);
        // In place of the listed files: they are not those.
        for role in ["targets", "A"] {
            let forged = w.repo.role(role).bytes();
            let listed = format!("1.{role}.json");
            w.repo.wire.fault(&listed, Fault::Bytes(forged));
        }
        w.new_client(w.repo.pinned.clone());
        assert!(w.lookup("x").is_err());
        w.repo.wire.heal();
        // snapshot: nobody names the new one.
        w.repo.role("snapshot").bump();
        w.repo.write_targets();
        let forged = w.repo.role("snapshot").bytes();
        w.repo.wire.fault("2.snapshot.json", Fault::Bytes(forged));
        w.new_client(w.repo.pinned.clone());
        assert!(w.refresh().is_err());
        w.assert_kept(1, 2, 0, 0);
        w.repo.wire.heal();
        // timestamp: it can name only what the snapshot key signed.
        w.repo.role("snapshot").signers = w.repo.roles["timestamp"].signers.clone();
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".into(), short(0, 1)));
    }

    fn key_compromise_of_both_online_keys_and_a_delegated_one_stays_within_its_paths(w) {
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["a/*"]).terminating());
        repo.delegate("targets", &Delegate::new("B", &TestKey::ed25519(201), &["*", "*/*"]));
        repo.add_target("B", "x", b"good");
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("x").unwrap().role(), Some("B"));
        for path in ["x", "a/x", "b/x"] {
            w.repo.add_target("A", path, b"evil");
        }
        w.repo.role("A").bump();
        w.repo.publish();
        assert_eq!(w.lookup("a/x").unwrap().role(), Some("A"), "its own paths are lost until its key is replaced");
        assert_eq!(w.lookup("x").unwrap().role(), Some("B"));
        assert_eq!(w.lookup("b/x").unwrap().role(), None);
        // Nor by lending its paths to another role, or taking over the file of one.
        w.repo.delegate("A", &Delegate::new("C", &key, &["*", "*/*"]));
        for path in ["x", "b/x"] {
            w.repo.add_target("C", path, b"evil");
        }
        w.repo.role("A").bump();
        w.repo.role("B").signers = vec![key];
        w.repo.add_target("B", "x", b"evil");
        w.repo.role("B").bump();
        w.repo.publish();
        assert_eq!(w.lookup("b/x").map_err(|f| f.refusal().map(|(r, _)| r.to_owned())).unwrap_err(), Some("B".to_owned()));
        assert_eq!(refused(w.lookup("x")), ("B".into(), short(0, 1)));
    }

    fn keys_of_small_order_verify_nothing_at_any_level(w) {
        // With such a key one signature, made by nobody, fits every message.
        let signatures = keyless_signatures();
        for point in small_order_points() {
            let weak = weak_key(&point);
            w.restart(Repository::new());
            w.refreshed();
            w.repo.set_keys("timestamp", std::slice::from_ref(&weak), 1);
            w.repo.publish_next_root();
            w.repo.role("timestamp").signers.clear();
            for sig in [&signatures[0], &signatures[4], &format!("{point}{}", "00".repeat(32))] {
                w.repo.role("timestamp").junk = vec![(weak.id().into(), sig.clone())];
                w.repo.publish_timestamp();
                assert_eq!(w.refused(), ("timestamp".into(), short(0, 1)), "{point} {sig}");
            }
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new("a", &weak, &["*"]));
            repo.role("a").signers.clear();
            repo.role("a").junk = vec![(weak.id().into(), signatures[2].clone())];
            repo.publish();
            w.restart(repo);
            assert_eq!(refused(w.lookup("x")), ("a".into(), short(0, 1)), "{point}");
        }
        // As a second root key of two: it adds nothing to the one good one.
        let weak = weak_key(&small_order_points()[2]);
        w.restart(Repository::new());
        let own = w.repo.root().signers[0].clone();
        w.repo.list_keys("root", &[own, weak.clone()], 2);
        w.repo.root().junk = vec![(weak.id().into(), signatures[2].clone())];
        w.repo.publish_next_root();
        let reason = Reason::RootSignatures { side: RootSide::New, valid: 1, needed: 2 };
        assert_eq!(w.refused(), ("root".into(), reason));
    }

    fn cve_2026_23992_thresholds_that_are_no_whole_number_spoil_the_file(w) {
        let key = TestKey::ed25519(200);
        w.refreshed();
        for text in ["1.0", "0.5", "1e0", "-0", "+1", "0x1", "\"1\"", "[1]", "null", ""] {
            w.repo.root().set_version(2);
            let file = String::from_utf8(w.repo.root().bytes()).unwrap();
            let changed = file.replacen("\"threshold\":1", &format!("\"threshold\":{text}"), 1);
            assert_ne!(changed, file);
            w.repo.wire.put("2.root.json", changed.into_bytes());
            assert!(matches!(w.malformed("root"), MetadataError::Json(_)), "{text}");
            w.repo.wire.remove("2.root.json");
        }
        for by in ["roles", "succinct_roles"] {
            for text in ["1.0", "\"1\"", "0", "-1"] {
                let mut repo = Repository::new();
                repo.hashes = false;
                if by == "roles" {
                    repo.delegate("targets", &Delegate::new("a", &key, &["*"]));
                } else {
                    repo.role("targets").set(&["delegations", "keys", key.id()], key.value());
                    repo.role("targets").set(&["delegations", "succinct_roles"], Value::object([
                        ("keyids", Value::Array(vec![Value::from(key.id())])), ("threshold", Value::from(1_u64)),
                        ("bit_length", Value::from(4_u64)), ("name_prefix", Value::from("bin")),
                    ]));
                }
                repo.publish();
                let file = String::from_utf8(repo.role("targets").bytes()).unwrap();
                let changed = file.replacen("\"threshold\":1", &format!("\"threshold\":{text}"), 1);
                assert_ne!(changed, file);
                repo.wire.put("1.targets.json", changed.into_bytes());
                w.restart(repo);
                assert!(matches!(w.malformed("targets"), MetadataError::Json(_) | MetadataError::Threshold(_)), "{by} {text}");
            }
        }
    }

    fn values_that_other_readers_spell_in_two_ways_are_refused_also_where_nobody_looks(w) {
        // Floats, integers beyond 64 bit and lone surrogates have no canonical form: also inside `custom`.
        for (text, kind) in [
            ("1.5", JsonErrorKind::NotAnInteger), ("1e2", JsonErrorKind::NotAnInteger), ("-0", JsonErrorKind::NotAnInteger),
            ("18446744073709551616", JsonErrorKind::NotAnInteger), ("-9223372036854775809", JsonErrorKind::NotAnInteger),
        ] {
            let mut repo = Repository::new();
            repo.hashes = false;
            repo.add_target("targets", "x", b"x");
            repo.role("targets").set(&["targets", "x", "custom"], Value::object([("n", Value::from(1_u64))]));
            repo.publish();
            let file = String::from_utf8(repo.role("targets").bytes()).unwrap();
            repo.wire.put("1.targets.json", file.replacen("\"n\":1", &format!("\"n\":{text}"), 1).into_bytes());
            w.restart(repo);
            let MetadataError::Json(error) = w.malformed("targets") else { panic!("{text}") };
            assert_eq!(error.kind, kind, "{text}");
        }
        for text in ["\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\ud800x\"", "\"\\x41\"", "nul", "NaN", "\"\n\""] {
            let mut repo = Repository::new();
            repo.hashes = false;
            repo.role("targets").set(&["custom"], 1_u64);
            repo.publish();
            let file = String::from_utf8(repo.role("targets").bytes()).unwrap();
            let changed = file.replacen("\"custom\":1", &format!("\"custom\":{text}"), 1);
            assert_ne!(changed, file);
            repo.wire.put("1.targets.json", changed.into_bytes());
            w.restart(repo);
            assert!(matches!(w.malformed("targets"), MetadataError::Json(_)), "{text}");
        }
    }

    fn a_bad_new_file_of_a_delegated_role_leaves_the_stored_one_and_moves_the_four_above_it(w) {
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("x").unwrap().role(), None);
        let stored = w.client.files()["A.json"].clone();
        w.repo.publish_next_root();
        w.repo.role("targets").bump();
        w.repo.role("A").bump();
        w.repo.role("A").signers = vec![TestKey::ed25519(201)];
        w.repo.publish();
        assert_eq!(refused(w.lookup("x")), ("A".into(), short(0, 1)));
        w.assert_kept(2, 3, 3, 2);
        assert_eq!(w.client.files()["A.json"], stored);
        w.repo.role("A").signers = vec![key];
        w.repo.role("A").bump();
        w.repo.publish();
        assert_eq!(w.lookup("x").unwrap().role(), None);
        assert_eq!(w.kept()["A"], 3);
    }

    fn cve_2021_41150_role_names_of_any_length_and_form_are_no_path_on_disk(w) {
        let names = ["r".repeat(300), "é".repeat(150), "../".repeat(60), "../../root".into(), "..\\root".into(),
            "root_history/2.root".into(), "a\u{0}b".into(), "CON".into(), "..%2froot".into(), "format".into(), "lock".into(),
            ".".into(), "-rf".into(), "1.roots".into(), "x1.root".into()];
        for name in names {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new(&name, &TestKey::ed25519(200), &["*"]));
            repo.add_target(&name, "x", b"x");
            repo.publish();
            w.restart(repo);
            for _ in 0..2 {
                assert_eq!(w.lookup("x").unwrap().role(), Some(name.as_str()));
            }
            w.assert_kept(1, 2, 2, 1);
            assert_eq!(w.client.files().len(), 5, "{name:?}");
            assert!(w.client.strays().is_empty(), "{:?}", w.client.strays());
        }
    }

    fn cve_2021_41131_a_role_with_the_name_of_a_versioned_root_spoils_the_delegator(w) {
        // Without consistent names it would be asked for, and kept, where that root lies.
        for name in ["1.root", "7.root", "007.root", "18446744073709551616.root"] {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new(name, &TestKey::ed25519(200), &["*"]));
            repo.publish();
            w.restart(repo);
            assert_eq!(w.malformed("targets"), MetadataError::RoleName(name.into()));
        }
    }

    fn bins_of_a_succinct_delegation_end_no_search_of_what_waits_behind_them(w) {
        // Not terminating (TAP 15): what an ancestor delegates after them is looked at too, and in that order.
        let key = TestKey::ed25519(200);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        repo.delegate("targets", &Delegate::new("B", &key, &["*"]));
        for bin in ["bin-0", "bin-1"] {
            repo.delegate("A", &Delegate::new(bin, &key, &["*"]));
        }
        repo.role("A").unset(&["delegations", "roles"]);
        repo.role("A").set(&["delegations", "succinct_roles"], Value::object([
            ("keyids", Value::Array(vec![Value::from(key.id())])), ("threshold", Value::from(1_u64)),
            ("bit_length", Value::from(1_u64)), ("name_prefix", Value::from("bin")),
        ]));
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("v1.json").unwrap().visited(), ["targets", "A", "bin-1", "B"]);
        w.repo.add_target("B", "v1.json", b"B");
        w.repo.role("B").bump();
        w.repo.publish();
        assert_eq!(w.lookup("v1.json").unwrap().role(), Some("B"));
        w.repo.add_target("bin-1", "v1.json", b"bin");
        w.repo.add_target("bin-0", "v1.json", b"never");
        w.repo.role("bin-1").bump();
        w.repo.role("bin-0").bump();
        w.repo.publish();
        assert_eq!(w.lookup("v1.json").unwrap().role(), Some("bin-1"));
    }
}

#[test]
fn a_file_of_more_delegations_than_the_limit_is_refused_in_time() {
    let mut w = World::stages();
    let key = TestKey::ed25519(200);
    w.repo.role("targets").set(&["delegations", "keys", key.id()], key.value());
    let list = (0..=limits::DELEGATIONS_PER_ROLE).map(|n| {
        Value::object([
            ("name", Value::from(format!("r{n}"))),
            ("keyids", Value::Array(vec![])),
            ("threshold", Value::from(1_u64)),
            ("terminating", Value::from(false)),
            ("paths", Value::Array(vec![])),
        ])
    });
    let list = Value::Array(list.collect());
    w.repo.role("targets").set(&["delegations", "roles"], list);
    w.repo.publish();
    let begun = Instant::now();
    assert!(
        matches!(w.malformed("targets"), MetadataError::TooMany { limit, .. } if limit == limits::DELEGATIONS_PER_ROLE)
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn cve_2026_24686_no_name_of_a_collection_is_a_path() {
    for name in [
        "",
        ".",
        "..",
        "/",
        "/etc",
        "../x",
        "r.example/..",
        "r.example/../x",
        "r.example//x",
        "r.example/./x",
        "r.example/",
        "r.example/x/",
        "r.example\\x",
        "r.example/x\\y",
        "r.example/X",
        "R.EXAMPLE/x",
        "r.example/x\0",
        "r.example/%2e%2e",
        "r.example/..%2fx",
        "r.example/_x",
        "r.example/é",
        "r.example/x y",
        "~/x",
        "file:///x",
        "r.example/x?y",
        "r.example/x#y",
    ] {
        assert!(CollectionName::parse(name).is_err(), "{name:?}");
    }
    // What is a name has a folder of its own, never one within another's.
    let home = tempfile::tempdir().unwrap();
    let names = [
        "r.example/con",
        "r.example/con/nul",
        "r.example/a",
        "r.example/a.b",
        "r.example/a_b",
        "r.example/a-b",
        "r.example:443/a",
    ];
    let mut folders = std::collections::BTreeSet::new();
    for name in names {
        let name = CollectionName::parse(name).unwrap();
        let store = StateStore::open(home.path(), &name).unwrap();
        assert_eq!(store.path().parent(), Some(home.path()), "{name}");
        assert!(folders.insert(store.path().to_owned()), "{name}");
    }
    let long = CollectionName::parse(&format!("r.example/{}", "a".repeat(200))).unwrap();
    assert!(StateStore::open(home.path(), &long).is_ok());
}
