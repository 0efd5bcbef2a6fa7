//! Attacks on an update below the root: freeze, rollback, mix and match, endless data; and which files are kept after
//! each failure (tuf.md 1.2 to 1.5).

use trust_tests::attacks;
use trust_tests::simulator::{Failure, Fault, TestKey, WireError, World, days};
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::Value;
use trust_tuf::limits;

/// The client has version 1 of everything; the repository publishes version 2 of everything.
fn second(w: &mut World) {
    w.refreshed();
    w.assert_kept(1, 1, 1, 1);
    w.repo.publish_next_root();
    w.repo.role("targets").bump();
    w.repo.publish();
}

fn fetch_failed(w: &mut World, file: &str, error: WireError) {
    assert_eq!(w.refresh(), Err(Failure::Fetch { file: file.to_owned(), error }));
}

fn one(n: u64) -> trust_tuf::Version {
    World::version(n)
}

attacks! {
    fn a_good_repository_loads_and_asks_in_the_order_of_the_workflow(w) {
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
        w.assert_kept(1, 1, 1, 1);
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
        second(w);
        w.refreshed();
        w.assert_kept(2, 2, 2, 2);
    }

    fn files_are_kept_byte_for_byte_as_received(w) {
        // Served with other white space than any writer of ours uses.
        for file in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
            assert!(w.repo.wire.file(file).is_some());
        }
        w.repo.hashes = false;
        w.repo.publish();
        let spaced = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen(':', " : ", 1).into_bytes();
        for file in ["timestamp.json", "2.snapshot.json", "1.targets.json"] {
            let bytes = spaced(w.repo.wire.file(file).unwrap());
            w.repo.wire.put(file, bytes);
        }
        w.refreshed();
        let kept = w.client.files();
        assert_eq!(kept["root.json"], w.repo.pinned);
        assert_eq!(kept["timestamp.json"], w.repo.wire.file("timestamp.json").unwrap());
        assert_eq!(kept["snapshot.json"], w.repo.wire.file("2.snapshot.json").unwrap());
        assert_eq!(kept["targets.json"], w.repo.wire.file("1.targets.json").unwrap());
    }

    fn a_timestamp_of_another_key_changes_nothing_below_the_root(w) {
        second(w);
        w.repo.role("timestamp").signers = vec![TestKey::ed25519(200)];
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Signatures { valid: 0, needed: 1 }));
        w.assert_kept(2, 1, 1, 1);
    }

    fn the_key_of_another_role_signs_nothing(w) {
        second(w);
        for (role, thief) in [("timestamp", "snapshot"), ("timestamp", "root"), ("snapshot", "timestamp"), ("targets", "snapshot"), ("snapshot", "root"), ("targets", "root")] {
            let own = w.repo.role(role).signers.clone();
            w.repo.role(role).signers = w.repo.roles[thief].signers.clone();
            w.repo.publish();
            assert_eq!(w.refused(), (role.into(), Reason::Signatures { valid: 0, needed: 1 }), "{thief} for {role}");
            w.repo.role(role).signers = own;
        }
        w.repo.publish();
        w.refreshed();
    }

    fn an_unsigned_file_of_each_role_is_refused(w) {
        for role in ["timestamp", "snapshot", "targets"] {
            let own = std::mem::take(&mut w.repo.role(role).signers);
            w.repo.role("targets").bump();
            w.repo.publish();
            assert_eq!(w.refused(), (role.into(), Reason::Signatures { valid: 0, needed: 1 }));
            w.repo.role(role).signers = own;
        }
    }

    fn an_older_timestamp_is_a_rollback(w) {
        w.repo.publish();
        let old = w.repo.wire.file("timestamp.json").unwrap();
        w.repo.publish();
        w.refreshed();
        w.repo.publish_next_root();
        w.repo.wire.put("timestamp.json", old);
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Rollback { trusted: one(3), got: one(2) }));
        w.assert_kept(2, 3, 3, 1);
    }

    fn an_expired_timestamp_is_a_freeze(w) {
        second(w);
        let expires = w.now.plus_secs(-1).unwrap();
        w.repo.role("timestamp").set_expires(expires);
        w.repo.publish_timestamp();
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Expired { expires, now: w.now }));
        w.assert_kept(2, 1, 1, 1);
    }

    fn a_missing_timestamp_is_an_error(w) {
        second(w);
        w.repo.wire.fault("timestamp.json", Fault::Status(404));
        fetch_failed(w, "timestamp.json", WireError::NotFound);
        w.assert_kept(2, 1, 1, 1);
        w.repo.wire.heal();
        w.refreshed();
        w.assert_kept(2, 2, 2, 2);
    }

    fn cve_2025_2888_a_timestamp_that_names_an_older_snapshot_is_refused_and_does_not_lock_the_client_out(w) {
        // CVE-2025-2888: the refused timestamp must not become the floor.
        w.repo.publish();
        w.refreshed();
        w.repo.publish_next_root();
        let good = w.repo.role("timestamp").signed.clone();
        w.repo.role("timestamp").set(&["meta", "snapshot.json"], Value::object([("version", Value::from(1_u64))]));
        w.repo.role("timestamp").set_version(100);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::SnapshotRollback { trusted: one(2), got: one(1) }));
        w.assert_kept(2, 2, 2, 1);
        w.repo.role("timestamp").signed = good;
        w.repo.publish_timestamp();
        w.refreshed();
        w.assert_kept(2, 3, 2, 1);
    }

    fn every_role_is_expired_exactly_at_now(w) {
        w.refreshed();
        for role in ["timestamp", "snapshot", "targets"] {
            let before = w.repo.role(role).signed.clone();
            w.repo.role(role).set_expires(w.now);
            w.repo.role("targets").bump();
            w.repo.publish();
            assert_eq!(w.refused(), (role.into(), Reason::Expired { expires: w.now, now: w.now }));
            let alive = w.now.plus_secs(1).unwrap();
            w.repo.role(role).set_expires(alive);
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
            let expires = before.get("expires").cloned().unwrap();
            w.repo.role(role).set(&["expires"], expires);
            w.repo.role("targets").bump();
            w.repo.publish();
        }
        let (role, now) = ("root", w.now);
        w.repo.role(role).set_expires(now);
        w.repo.publish_next_root();
        assert_eq!(w.refused(), (role.into(), Reason::Expired { expires: now, now }));
        w.repo.role(role).set_expires(now.plus_secs(1).unwrap());
        w.repo.publish_next_root();
        w.refreshed();
    }

    fn a_bad_snapshot_leaves_root_and_timestamp_new(w) {
        // Signature.
        second(w);
        let own = w.repo.role("snapshot").signers.clone();
        w.repo.role("snapshot").signers = vec![TestKey::ed25519(200)];
        w.repo.publish_same_versions();
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Signatures { valid: 0, needed: 1 }));
        w.assert_kept(2, 2, 1, 1);
        // Hash: the bytes of another file, the right length of none.
        w.repo.role("snapshot").signers = own;
        w.repo.publish();
        let good = w.repo.wire.file("3.snapshot.json").unwrap();
        let mut other = good.clone();
        let last = other.len() - 1;
        other[last] = b' ';
        w.repo.wire.fault("3.snapshot.json", Fault::Bytes(other));
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Hash));
        w.assert_kept(2, 3, 1, 1);
        // Length.
        w.repo.wire.fault("3.snapshot.json", Fault::Bytes(good[..good.len() - 1].to_vec()));
        let expected = good.len() as u64;
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Length { expected, got: expected - 1 }));
        // One byte more than stated: not even read.
        w.repo.wire.fault("3.snapshot.json", Fault::Bytes([good.as_slice(), b" "].concat()));
        fetch_failed(w, "3.snapshot.json", WireError::TooLarge);
        // 404 and an outage.
        for (status, error) in [(404, WireError::NotFound), (500, WireError::Status(500))] {
            w.repo.wire.fault("3.snapshot.json", Fault::Status(status));
            fetch_failed(w, "3.snapshot.json", error);
        }
        w.assert_kept(2, 3, 1, 1);
        w.repo.wire.heal();
        w.refreshed();
        w.assert_kept(2, 3, 3, 2);
    }

    fn a_snapshot_of_another_version_than_the_timestamp_names_is_refused(w) {
        w.repo.hashes = false;
        second(w);
        for wrong in [1, 3, 1_000] {
            w.repo.role("snapshot").set_version(wrong);
            let bytes = w.repo.role("snapshot").bytes();
            w.repo.wire.fault("2.snapshot.json", Fault::Bytes(bytes));
            assert_eq!(w.refused(), ("snapshot".into(), Reason::WrongVersion { expected: one(2), got: one(wrong) }));
            w.assert_kept(2, 2, 1, 1);
        }
    }

    fn an_expired_snapshot_is_not_kept(w) {
        second(w);
        let expires = w.now;
        w.repo.role("snapshot").set_expires(expires);
        w.repo.publish();
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Expired { expires, now: w.now }));
        w.assert_kept(2, 3, 1, 1);
    }

    fn cve_2025_2887_a_snapshot_that_lowers_or_drops_a_role_is_refused(w) {
        // CVE-2025-2887: top-level and delegated alike.
        let key = w.repo.new_key();
        for name in ["a", "b"] {
            w.repo.delegate("targets", &trust_tests::simulator::Delegate::new(name, &key, &["*"]));
            w.repo.role(name).set_version(5);
        }
        w.repo.role("targets").set_version(5);
        w.repo.publish();
        w.refreshed();
        w.assert_kept(1, 2, 2, 5);
        for role in ["targets", "a", "b"] {
            w.repo.role(role).set_version(4);
            w.repo.publish();
            let reason = Reason::RoleLowered { role: role.into(), trusted: one(5), got: one(4) };
            assert_eq!(w.refused(), ("snapshot".into(), reason));
            w.repo.role(role).set_version(5);
        }
        for role in ["a", "b"] {
            w.repo.role("snapshot").bump();
            w.repo.role("timestamp").bump();
            w.repo.write_targets();
            w.repo.role("snapshot").unset(&["meta", &format!("{role}.json")]);
            w.repo.write_snapshot();
            w.repo.write("timestamp");
            assert_eq!(w.refused(), ("snapshot".into(), Reason::RoleRemoved { role: role.into() }));
        }
        // Refused snapshots did not become the floor, and the floor did not move.
        assert_eq!(w.kept()["snapshot"], 2);
        w.repo.publish();
        w.refreshed();
    }

    fn an_expired_or_replaced_local_snapshot_is_still_the_floor(w) {
        w.repo.role("targets").set_version(7);
        let soon = w.now.plus_secs(days(1)).unwrap();
        w.repo.role("snapshot").set_expires(soon);
        w.repo.publish();
        w.refreshed();
        w.now = w.now.plus_secs(days(2)).unwrap();
        let later = w.now.plus_secs(days(1)).unwrap();
        w.repo.role("snapshot").set_expires(later);
        w.repo.role("targets").set_version(6);
        w.repo.publish();
        let reason = Reason::RoleLowered { role: "targets".into(), trusted: one(7), got: one(6) };
        assert_eq!(w.refused(), ("snapshot".into(), reason));
        w.assert_kept(1, 3, 2, 7);
    }

    fn an_expired_local_timestamp_is_still_the_floor_and_can_be_replaced(w) {
        let soon = w.now.plus_secs(days(1)).unwrap();
        w.repo.role("timestamp").set_version(9);
        w.repo.role("timestamp").set_expires(soon);
        w.repo.write("timestamp");
        w.refreshed();
        w.now = w.now.plus_secs(days(2)).unwrap();
        let later = w.now.plus_secs(days(1)).unwrap();
        w.repo.role("timestamp").set_expires(later);
        w.repo.role("timestamp").set_version(8);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Rollback { trusted: one(9), got: one(8) }));
        w.repo.role("timestamp").set_version(10);
        w.repo.write("timestamp");
        w.refreshed();
        w.assert_kept(1, 10, 1, 1);
    }

    fn a_timestamp_with_the_kept_version_is_discarded_whatever_it_says(w) {
        w.refreshed();
        let kept = w.client.files()["timestamp.json"].clone();
        // The same version, another snapshot, another expiry.
        w.repo.role("targets").bump();
        w.repo.role("snapshot").bump();
        w.repo.publish_same_versions();
        assert_ne!(w.repo.wire.file("timestamp.json").unwrap(), kept);
        w.repo.wire.take_requests();
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
        assert!(w.client.files()["timestamp.json"] == kept);
        w.assert_kept(1, 1, 1, 1);
    }

    fn a_new_expiry_under_the_kept_version_of_a_timestamp_revives_nothing(w) {
        let expires = w.now.plus_secs(days(1)).unwrap();
        w.repo.role("timestamp").set_expires(expires);
        w.repo.publish_timestamp();
        w.refreshed();
        w.now = w.now.plus_secs(days(2)).unwrap();
        let later = w.now.plus_secs(days(9)).unwrap();
        w.repo.role("timestamp").set_expires(later);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Expired { expires, now: w.now }));
    }

    fn a_frozen_mirror_is_noticed_when_the_last_timestamp_expires(w) {
        w.refreshed();
        w.now = w.now.plus_secs(days(61)).unwrap();
        let (role, reason) = w.refused();
        assert_eq!(role, "root");
        assert!(matches!(reason, Reason::Expired { .. }), "{reason:?}");
    }

    fn a_bad_targets_file_leaves_the_three_before_it_new(w) {
        second(w);
        // Signature.
        let own = w.repo.role("targets").signers.clone();
        w.repo.role("targets").signers = vec![TestKey::ed25519(200)];
        w.repo.publish();
        assert_eq!(w.refused(), ("targets".into(), Reason::Signatures { valid: 0, needed: 1 }));
        w.assert_kept(2, 3, 3, 1);
        w.repo.role("targets").signers = own;
        w.repo.role("targets").bump();
        w.repo.publish();
        // Hash, length, 404.
        let good = w.repo.wire.file("3.targets.json").unwrap();
        let mut other = good.clone();
        other.swap(2, 3);
        w.repo.wire.fault("3.targets.json", Fault::Bytes(other));
        assert_eq!(w.refused(), ("targets".into(), Reason::Hash));
        w.repo.wire.fault("3.targets.json", Fault::Bytes(good[1..].to_vec()));
        let expected = good.len() as u64;
        assert_eq!(w.refused(), ("targets".into(), Reason::Length { expected, got: expected - 1 }));
        w.repo.wire.fault("3.targets.json", Fault::Status(404));
        fetch_failed(w, "3.targets.json", WireError::NotFound);
        w.assert_kept(2, 4, 4, 1);
        // Expired.
        w.repo.wire.heal();
        let expires = w.now;
        let alive = w.repo.role("targets").signed.clone();
        w.repo.role("targets").set_expires(expires);
        w.repo.role("targets").bump();
        w.repo.publish();
        assert_eq!(w.refused(), ("targets".into(), Reason::Expired { expires, now: w.now }));
        w.assert_kept(2, 5, 5, 1);
        w.repo.role("targets").signed = alive;
        w.repo.role("targets").set_version(5);
        w.repo.publish();
        w.refreshed();
        w.assert_kept(2, 6, 6, 5);
    }

    fn a_targets_file_of_another_version_than_the_snapshot_lists_is_refused(w) {
        w.repo.hashes = false;
        second(w);
        let old = w.repo.wire.file("1.targets.json").unwrap();
        w.repo.wire.fault("2.targets.json", Fault::Bytes(old));
        assert_eq!(w.refused(), ("targets".into(), Reason::WrongVersion { expected: one(2), got: one(1) }));
        w.assert_kept(2, 2, 2, 1);
    }

    fn mixing_the_targets_of_one_publication_with_the_snapshot_of_another_is_refused(w) {
        second(w);
        w.repo.role("targets").bump();
        w.repo.publish();
        let newer = w.repo.wire.file("3.targets.json").unwrap();
        w.repo.role("targets").set_version(2);
        w.repo.publish();
        w.repo.wire.fault("2.targets.json", Fault::Bytes(newer));
        let (role, reason) = w.refused();
        assert_eq!(role, "targets");
        assert!(matches!(reason, Reason::Length { .. } | Reason::Hash), "{reason:?}");
    }

    fn other_bytes_under_a_kept_version_are_never_asked_for_without_a_hash(w) {
        w.repo.hashes = false;
        w.repo.publish();
        w.refreshed();
        let kept = w.client.files();
        w.repo.add_target("targets", "x", b"x");
        w.repo.write_targets();
        w.repo.publish_timestamp();
        w.repo.wire.take_requests();
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
        assert_eq!(w.client.files()["targets.json"], kept["targets.json"]);
        assert!(w.lookup("x").unwrap().role().is_none());
    }

    fn a_publication_that_stopped_after_the_timestamp_is_finished_by_the_next_update(w) {
        second(w);
        w.repo.wire.fault("2.targets.json", Fault::Reset);
        fetch_failed(w, "2.targets.json", WireError::Reset);
        w.assert_kept(2, 2, 2, 1);
        w.repo.wire.heal();
        w.repo.wire.take_requests();
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["3.root.json", "timestamp.json", "2.targets.json"]);
        w.assert_kept(2, 2, 2, 2);
    }

    fn damaged_local_files_are_fetched_again_and_never_believed(w) {
        w.refreshed();
        let good = w.client.files();
        for file in ["timestamp.json", "snapshot.json", "targets.json"] {
            let mut cut = good[file].clone();
            cut.truncate(cut.len() / 2);
            let mut flipped = good[file].clone();
            let at = flipped.len() - 3;
            flipped[at] ^= 1;
            for bytes in [cut, flipped, Vec::new(), b"null".to_vec(), vec![0; 100]] {
                w.client.plant(file, &bytes);
                if w.is_reader() && file != "targets.json" {
                    // What guards against rollback is not replaced silently: the person is told what was lost.
                    assert!(matches!(w.refresh(), Err(Failure::Other(text)) if text.contains("Damaged")), "{file}");
                    w.client.plant(file, &good[file]);
                }
                w.refreshed();
                assert!(w.client.files() == good, "{file}");
            }
        }
    }

    fn a_forged_local_targets_file_authorises_nothing(w) {
        w.refreshed();
        w.repo.add_target("targets", "evil", b"evil");
        w.repo.role("targets").signers = vec![TestKey::ed25519(200)];
        let forged = w.repo.role("targets").bytes();
        w.client.plant("targets.json", &forged);
        assert!(w.lookup("evil").unwrap().role().is_none());
        assert_ne!(w.client.files()["targets.json"], forged);
    }

    fn a_local_file_that_is_still_the_current_one_authorises_nothing_once_it_is_expired(w) {
        let key = w.repo.new_key();
        for (role, file) in [("snapshot", "2.snapshot.json"), ("targets", "1.targets.json"), ("A", "1.A.json")] {
            let mut repo = trust_tests::simulator::Repository::new();
            repo.delegate("targets", &trust_tests::simulator::Delegate::new("A", &key, &["*"]));
            repo.add_target("A", "x", b"x");
            let expires = w.now.plus_secs(days(1)).unwrap();
            repo.role(role).set_expires(expires);
            repo.publish();
            w.restart(repo);
            assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
            w.now = w.now.plus_secs(days(2)).unwrap();
            w.repo.publish_timestamp();
            w.repo.wire.take_requests();
            let failure = w.lookup("x").unwrap_err();
            assert_eq!(failure.refusal(), Some((role, &Reason::Expired { expires, now: w.now })));
            // The server may have another copy; it has not.
            assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json", file]);
            w.now = w.now.plus_secs(-days(2)).unwrap();
        }
    }

    fn both_online_keys_together_still_sign_no_target(w) {
        // What a thief of snapshot and timestamp keys can do: freeze and withhold for as long as they live, no more.
        w.repo.add_target("targets", "x", b"good");
        w.repo.role("targets").bump();
        w.repo.publish();
        w.refreshed();
        let online: Vec<TestKey> =
            ["timestamp", "snapshot"].iter().flat_map(|r| w.repo.roles[*r].signers.clone()).collect();
        w.repo.add_target("targets", "x", b"evil");
        w.repo.role("targets").signers = online.clone();
        w.repo.role("targets").bump();
        w.repo.publish();
        assert_eq!(w.refused(), ("targets".into(), Reason::Signatures { valid: 0, needed: 1 }));
        // Nor a root that would make them more.
        w.repo.list_keys("targets", &online, 1);
        w.repo.root().signers = online;
        w.repo.publish_next_root();
        assert!(matches!(w.refused().1, Reason::RootSignatures { valid: 0, .. }));
        // Nor an older file of targets: the client has seen a newer one.
        w.repo.wire.remove("2.root.json");
        w.repo.role("targets").set_version(1);
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::RoleLowered { .. }));
    }

    fn endless_data_stops_at_the_limit_of_each_role(w) {
        w.refreshed();
        for (file, limit) in [("2.root.json", limits::ROOT_BYTES), ("timestamp.json", limits::TIMESTAMP_BYTES)] {
            w.repo.wire.fault(file, Fault::Bytes(vec![b' '; limit as usize + 1]));
            fetch_failed(w, file, WireError::TooLarge);
            // A body of exactly the limit is read, and then it is no metadata.
            w.repo.wire.fault(file, Fault::Bytes(vec![b' '; limit as usize]));
            let role = if file == "2.root.json" { "root" } else { "timestamp" };
            assert!(matches!(w.malformed(role), MetadataError::Json(_)));
            w.repo.wire.heal();
        }
        w.repo.hashes = false;
        w.repo.role("targets").bump();
        w.repo.publish();
        for (file, limit) in [("2.snapshot.json", limits::SNAPSHOT_BYTES), ("2.targets.json", limits::TARGETS_BYTES)] {
            w.repo.wire.fault(file, Fault::Bytes(vec![b' '; limit as usize + 1]));
            fetch_failed(w, file, WireError::TooLarge);
            w.repo.wire.heal();
        }
        w.refreshed();
    }

    fn a_stated_length_is_never_trusted_beyond_the_hard_cap(w) {
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "length"], u64::MAX);
        w.repo.publish_timestamp();
        // It is refused for its length; a reader that asked for u64::MAX bytes would have been at the server's mercy.
        let (role, reason) = w.refused();
        assert_eq!(role, "snapshot");
        assert!(matches!(reason, Reason::Length { expected: u64::MAX, .. }), "{reason:?}");
    }

    fn a_timestamp_that_names_more_or_other_files_than_the_snapshot_is_refused(w) {
        let good = w.repo.role("timestamp").signed.clone();
        w.repo.role("timestamp").set(&["meta", "targets.json", "version"], 1_u64);
        w.repo.publish_timestamp();
        assert_eq!(w.malformed("timestamp"), MetadataError::Meta);
        w.repo.role("timestamp").set(&["meta"], Value::object([("1.snapshot.json", Value::object([("version", Value::from(1_u64))]))]));
        w.repo.publish_timestamp();
        assert_eq!(w.malformed("timestamp"), MetadataError::Meta);
        w.repo.role("timestamp").signed = good;
        w.repo.write("timestamp");
        w.refreshed();
    }

    fn a_snapshot_that_does_not_list_the_targets_is_refused(w) {
        w.repo.role("snapshot").unset(&["meta", "targets.json"]);
        w.repo.write_snapshot();
        w.repo.publish_timestamp();
        assert_eq!(w.malformed("snapshot"), MetadataError::Meta);
    }

    fn a_hash_list_without_a_known_algorithm_is_a_failure(w) {
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes"], Value::object([("md5", Value::from("00"))]));
        w.repo.publish_timestamp();
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Hash));
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes"], Value::object::<&str>([]));
        w.repo.publish_timestamp();
        assert_eq!(w.malformed("timestamp"), MetadataError::Hashes);
        for bad in ["", "00", "zz"] {
            w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes", "sha256"], bad);
            w.repo.publish_timestamp();
            assert_eq!(w.malformed("timestamp"), MetadataError::Hashes);
        }
    }

    fn every_stated_hash_must_fit_not_one_of_them(w) {
        let snapshot = w.repo.wire.file("1.snapshot.json").unwrap();
        let sha512 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &snapshot));
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes", "sha512"], "00".repeat(64));
        w.repo.publish_timestamp();
        assert_eq!(w.refused(), ("snapshot".into(), Reason::Hash));
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes", "sha512"], sha512.as_str());
        w.repo.publish_timestamp();
        w.refreshed();
        // SHA-512 alone is enough.
        w.repo.role("timestamp").set(&["meta", "snapshot.json", "hashes"], Value::object([("sha512", Value::from(sha512))]));
        w.repo.publish_timestamp();
        w.refreshed();
    }

    fn a_repository_without_consistent_snapshots_is_read_by_plain_names(w) {
        let mut repo = trust_tests::simulator::Repository::unpublished();
        repo.root().unset(&["consistent_snapshot"]);
        repo.publish_root();
        repo.publish_same_versions();
        w.restart(repo);
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]);
        // Half of the next publication is there: mix and match.
        w.repo.add_target("targets", "x", b"x");
        w.repo.role("targets").bump();
        w.repo.write("targets");
        w.refreshed();
        w.assert_kept(1, 1, 1, 1);
        w.new_client(w.repo.pinned.clone());
        fetch_failed(w, "targets.json", WireError::TooLarge);
        w.assert_kept(1, 1, 1, 0);
        w.repo.role("snapshot").bump();
        w.repo.role("timestamp").bump();
        w.repo.publish_same_versions();
        w.refreshed();
        w.assert_kept(1, 2, 2, 2);
    }
}
