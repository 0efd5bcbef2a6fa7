//! Attacks on the chain of roots, recovery by rotation, and what recovery does not reopen (tuf.md 1.1).

use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Failure, Fault, Repository, TestKey, WireError, World, days};
use trust_tuf::error::{MetadataError, Reason, RootSide};
use trust_tuf::json::Value;
use trust_tuf::limits;

fn one(n: u64) -> trust_tuf::Version {
    World::version(n)
}

fn lacks(side: RootSide, valid: u64, needed: u64) -> (String, Reason) {
    ("root".into(), Reason::RootSignatures { side, valid, needed })
}

attacks! {
    fn cve_2025_2885_a_root_file_with_another_version_than_its_name_is_refused(w) {
        // CVE-2025-2885: N, N+2, N+100, N−1 in N+1.root.json.
        w.repo.publish_next_root();
        w.refreshed();
        w.repo.role("targets").bump();
        w.repo.publish();
        for version in [1, 2, 4, 102, (1 << 63) - 1] {
            w.repo.root().set_version(version);
            let bytes = w.repo.root().bytes();
            w.repo.wire.put("3.root.json", bytes);
            assert_eq!(w.refused(), ("root".into(), Reason::WrongVersion { expected: one(3), got: one(version) }));
            w.assert_kept(2, 1, 1, 1);
        }
        w.repo.root().set_version(3);
        w.repo.publish_root();
        w.refreshed();
        w.assert_kept(3, 2, 2, 2);
    }

    fn cve_2020_15163_a_new_root_signed_by_the_old_keys_only_is_refused(w) {
        w.refreshed();
        let old = w.repo.root().signers.clone();
        let new = w.repo.new_key();
        w.repo.set_keys("root", &[new], 1);
        w.repo.root().signers = old;
        w.repo.publish_next_root();
        assert_eq!(w.refused(), lacks(RootSide::New, 0, 1));
        w.assert_kept(1, 1, 1, 1);
    }

    fn a_new_root_signed_by_its_own_keys_only_is_refused(w) {
        w.refreshed();
        let new = w.repo.new_key();
        w.repo.set_keys("root", std::slice::from_ref(&new), 1);
        w.repo.root().signers = vec![new];
        w.repo.publish_next_root();
        assert_eq!(w.refused(), lacks(RootSide::Old, 0, 1));
        w.assert_kept(1, 1, 1, 1);
    }

    fn an_unsigned_root_is_refused_and_a_good_one_under_the_same_number_is_taken_later(w) {
        let own = std::mem::take(&mut w.repo.root().signers);
        w.repo.publish_next_root();
        assert_eq!(w.refused(), lacks(RootSide::Old, 0, 1));
        w.assert_kept(1, 0, 0, 0);
        w.repo.root().signers = own;
        w.repo.publish_root();
        w.refreshed();
        w.assert_kept(2, 1, 1, 1);
    }

    fn one_of_two_old_root_keys_is_not_enough(w) {
        let keys = [w.repo.new_key(), w.repo.new_key()];
        w.repo.set_keys("root", &keys, 2);
        w.repo.publish_next_root();
        w.refreshed();
        let (a, b) = (keys[0].clone(), keys[1].clone());
        let next = w.repo.new_key();
        w.repo.list_keys("root", std::slice::from_ref(&next), 1);
        w.repo.root().bump();
        w.repo.root().signers = vec![a.clone(), next.clone()];
        w.repo.publish_root();
        assert_eq!(w.refused(), lacks(RootSide::Old, 1, 2));
        // Nor one of them twice, under another id: ids count for nothing.
        w.repo.root().signers = vec![a.clone(), a.with_id("again"), next.clone()];
        w.repo.publish_root();
        assert_eq!(w.refused(), lacks(RootSide::Old, 1, 2));
        w.repo.root().signers = vec![a, b, next];
        w.repo.publish_root();
        w.refreshed();
        w.assert_kept(3, 1, 1, 1);
    }

    fn the_two_thresholds_of_a_new_root_are_counted_apart(w) {
        // Old: 2 of {a, b}. New: 2 of {b, c}. Three signatures fill both only if each side has its two.
        let [a, b, c] = [w.repo.new_key(), w.repo.new_key(), w.repo.new_key()];
        w.repo.set_keys("root", &[a.clone(), b.clone()], 2);
        w.repo.publish_next_root();
        w.refreshed();
        w.repo.list_keys("root", &[b.clone(), c.clone()], 2);
        w.repo.root().bump();
        for (signers, refusal) in [
            (vec![a.clone(), b.clone()], lacks(RootSide::New, 1, 2)),
            (vec![a.clone(), c.clone()], lacks(RootSide::Old, 1, 2)),
            (vec![b.clone(), c.clone()], lacks(RootSide::Old, 1, 2)),
        ] {
            w.repo.root().signers = signers;
            w.repo.publish_root();
            assert_eq!(w.refused(), refusal);
        }
        w.repo.root().signers = vec![a, b, c];
        w.repo.publish_root();
        w.refreshed();
    }

    fn cve_2020_15163_a_refused_root_is_not_where_the_next_update_starts(w) {
        // CVE-2020-15163: root 3 is refused; the next run starts at 2, and keys of root 3 mean nothing.
        w.repo.publish_next_root();
        let good = w.repo.root().clone();
        let thief = TestKey::ed25519(200);
        w.repo.list_keys("timestamp", std::slice::from_ref(&thief), 1);
        w.repo.root().bump();
        w.repo.root().signers = vec![thief.clone()];
        w.repo.publish_root();
        let own = std::mem::replace(&mut w.repo.role("timestamp").signers, vec![thief]);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), lacks(RootSide::Old, 0, 1));
        assert_eq!(w.refused(), lacks(RootSide::Old, 0, 1));
        w.assert_kept(2, 0, 0, 0);
        *w.repo.root() = good;
        w.repo.wire.remove("3.root.json");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Signatures { valid: 0, needed: 1 }));
        w.repo.role("timestamp").signers = own;
        w.repo.publish_timestamp();
        w.refreshed();
        w.assert_kept(2, 2, 1, 1);
    }

    fn cve_2015_9259_an_expired_last_root_stays_and_nothing_else_moves(w) {
        // CVE-2015-9259: root expired, the rest fresh.
        w.refreshed();
        w.repo.role("targets").bump();
        w.repo.publish();
        let expires = w.now;
        let alive = w.repo.root().signed.get("expires").cloned().unwrap();
        w.repo.root().set_expires(expires);
        w.repo.publish_next_root();
        w.repo.wire.take_requests();
        assert_eq!(w.refused(), ("root".into(), Reason::Expired { expires, now: w.now }));
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "3.root.json"]);
        w.assert_kept(2, 1, 1, 1);
        // As an intermediate one it does no harm.
        w.repo.root().set(&["expires"], alive);
        w.repo.publish_next_root();
        w.refreshed();
        w.assert_kept(3, 2, 2, 2);
    }

    fn an_expired_pinned_root_can_be_updated(w) {
        let mut repo = Repository::unpublished();
        let alive = repo.root().signed.get("expires").cloned().unwrap();
        repo.root().set_expires(w.now.plus_secs(-days(900)).unwrap());
        repo.publish_root();
        repo.publish_same_versions();
        w.restart(repo);
        let (role, reason) = w.refused();
        assert!(role == "root" && matches!(reason, Reason::Expired { .. }), "{reason:?}");
        w.repo.root().set(&["expires"], alive);
        w.repo.publish_next_root();
        w.refreshed();
        w.assert_kept(2, 1, 1, 1);
    }

    fn a_pinned_root_that_does_not_verify_asks_nobody(w) {
        let pinned = w.repo.pinned.clone();
        let mut stranger = Repository::unpublished();
        stranger.root().signers = vec![TestKey::ed25519(200)];
        let mut versionless = Repository::unpublished();
        versionless.root().unset(&["version"]);
        for bad in [stranger.root().bytes(), versionless.root().bytes(), pinned[..pinned.len() / 2].to_vec(), Vec::new()] {
            w.new_client(bad);
            let (role, _) = w.refused();
            assert_eq!(role, "root");
            assert!(w.repo.wire.take_requests().is_empty());
        }
        w.new_client(pinned);
        w.refreshed();
    }

    fn another_file_pinned_in_place_of_a_root_is_refused(w) {
        w.new_client(w.repo.wire.file("timestamp.json").unwrap());
        assert!(matches!(w.malformed("root"), MetadataError::WrongType(_)));
    }

    fn only_404_says_that_there_is_no_newer_root(w) {
        w.refreshed();
        w.repo.publish_next_root();
        w.repo.role("targets").bump();
        w.repo.publish();
        for status in [400, 401, 403, 410, 429, 500, 502, 503] {
            w.repo.wire.fault("2.root.json", Fault::Status(status));
            assert!(matches!(w.refresh(), Err(Failure::Fetch { file, error: WireError::Status(s) }) if file == "2.root.json" && s == status));
            w.assert_kept(1, 1, 1, 1);
        }
        w.repo.wire.fault("2.root.json", Fault::Reset);
        assert!(matches!(w.refresh(), Err(Failure::Fetch { error: WireError::Reset, .. })));
        w.assert_kept(1, 1, 1, 1);
        w.repo.wire.heal();
        w.refreshed();
        w.assert_kept(2, 2, 2, 2);
    }

    fn root_files_are_always_numbered_also_without_consistent_snapshots(w) {
        let mut repo = Repository::unpublished();
        repo.root().set(&["consistent_snapshot"], false);
        repo.publish_root();
        repo.publish_same_versions();
        repo.publish_next_root();
        w.restart(repo);
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests()[..2], ["2.root.json", "3.root.json"]);
        w.assert_kept(2, 1, 1, 1);
    }

    fn a_forged_local_root_is_ignored_and_fetched_again(w) {
        w.repo.publish_next_root();
        w.refreshed();
        let good = w.client.files();
        let thief = TestKey::ed25519(200);
        let mut forged = Repository::unpublished();
        forged.list_keys("root", std::slice::from_ref(&thief), 1);
        forged.root().signers = vec![thief];
        forged.root().set_version(2);
        let bytes = forged.root().bytes();
        w.client.plant("root.json", &bytes);
        w.client.plant("root_history/2.root.json", &bytes);
        w.refreshed();
        assert!(w.client.files() == good);
    }

    fn a_client_that_slept_through_many_rotations_walks_the_whole_chain(w) {
        for _ in 0..40 {
            let key = w.repo.new_key();
            w.repo.set_keys("root", std::slice::from_ref(&key), 1);
            w.repo.publish_next_root();
            w.repo.root().signers = vec![key];
        }
        let key = w.repo.new_key();
        w.repo.set_keys("targets", &[key], 1);
        w.repo.publish_next_root();
        w.repo.role("targets").bump();
        w.repo.publish();
        w.refreshed();
        w.assert_kept(42, 2, 2, 2);
    }

    fn a_gap_in_the_chain_is_not_jumped(w) {
        let keys: Vec<TestKey> = (0..3).map(|_| w.repo.new_key()).collect();
        for key in &keys {
            w.repo.set_keys("root", std::slice::from_ref(key), 1);
            w.repo.publish_next_root();
            w.repo.root().signers = vec![key.clone()];
        }
        w.repo.wire.remove("3.root.json");
        w.refreshed();
        w.assert_kept(2, 1, 1, 1);
    }

    fn cve_2026_23992_a_role_in_the_root_with_a_threshold_below_one_spoils_it(w) {
        // CVE-2026-23992: a threshold of 0 would switch the check off.
        w.refreshed();
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let good = w.repo.root().signed.clone();
            for threshold in [Value::from(0_u64), Value::Int(-1), Value::Int(i128::from(i64::MIN))] {
                w.repo.root().set(&["roles", role, "threshold"], threshold);
                w.repo.root().set_version(2);
                w.repo.publish_root();
                assert_eq!(w.malformed("root"), MetadataError::Threshold(role.into()));
            }
            for threshold in [Value::from("1"), Value::Null, Value::from(true), Value::Array(vec![])] {
                w.repo.root().set(&["roles", role, "threshold"], threshold);
                w.repo.publish_root();
                assert!(matches!(w.malformed("root"), MetadataError::Json(_)));
            }
            w.repo.root().unset(&["roles", role, "threshold"]);
            w.repo.publish_root();
            assert_eq!(w.malformed("root"), MetadataError::Missing("threshold"));
            w.repo.root().signed = good;
        }
        w.assert_kept(1, 1, 1, 1);
    }

    fn a_threshold_above_all_keys_can_never_be_met(w) {
        let key = w.repo.role("timestamp").signers[0].clone();
        for threshold in [2, u64::MAX] {
            w.repo.list_keys("timestamp", std::slice::from_ref(&key), threshold);
            w.repo.publish_next_root();
            assert_eq!(w.refused(), ("timestamp".into(), Reason::Signatures { valid: 1, needed: threshold }));
        }
    }

    fn a_rotated_away_key_signs_nothing_on_a_warm_and_on_a_cold_client(w) {
        w.refreshed();
        for role in ["timestamp", "snapshot", "targets"] {
            let old = w.repo.role(role).signers.clone();
            let key = w.repo.new_key();
            w.repo.set_keys(role, &[key], 1);
            w.repo.publish_next_root();
            let own = std::mem::replace(&mut w.repo.role(role).signers, old);
            w.repo.role("targets").bump();
            w.repo.publish();
            assert_eq!(w.refused(), (role.into(), Reason::Signatures { valid: 0, needed: 1 }));
            w.new_client(w.repo.pinned.clone());
            assert_eq!(w.refused(), (role.into(), Reason::Signatures { valid: 0, needed: 1 }));
            w.repo.role(role).signers = own;
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
        }
    }

    fn a_fast_forwarded_timestamp_is_recovered_by_rotating_its_key(w) {
        w.repo.role("timestamp").set_version((1 << 63) - 2);
        w.repo.write("timestamp");
        w.refreshed();
        w.repo.role("timestamp").set_version(2);
        w.repo.write("timestamp");
        assert!(matches!(w.refused().1, Reason::Rollback { .. }));
        let key = w.repo.new_key();
        w.repo.set_keys("timestamp", &[key], 1);
        w.repo.publish_next_root();
        w.repo.write("timestamp");
        w.refreshed();
        w.assert_kept(2, 2, 1, 1);
    }

    fn a_fast_forwarded_snapshot_is_recovered_by_rotating_both_online_keys(w) {
        w.repo.role("snapshot").set_version(1 << 53);
        w.repo.publish();
        w.refreshed();
        // The snapshot key alone is not enough: the timestamp still holds the version as its floor.
        let key = w.repo.new_key();
        w.repo.set_keys("snapshot", &[key], 1);
        w.repo.publish_next_root();
        w.repo.role("snapshot").set_version(1);
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::SnapshotRollback { .. }));
        let key = w.repo.new_key();
        w.repo.set_keys("timestamp", &[key], 1);
        w.repo.publish_next_root();
        w.repo.role("timestamp").set_version(0);
        w.repo.role("snapshot").set_version(0);
        w.repo.publish();
        w.refreshed();
        w.assert_kept(3, 1, 1, 1);
    }

    fn fast_forwarded_targets_and_delegated_roles_are_recovered_by_rotating_the_snapshot_key(w) {
        let key = w.repo.new_key();
        w.repo.delegate("targets", &Delegate::new("a", &key, &["*"]));
        w.repo.role("targets").set_version(1 << 40);
        w.repo.role("a").set_version(1 << 41);
        w.repo.publish();
        w.refreshed();
        assert!(w.lookup("none").unwrap().role().is_none());
        w.repo.role("targets").set_version(2);
        w.repo.role("a").set_version(2);
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::RoleLowered { .. }));
        let key = w.repo.new_key();
        w.repo.set_keys("snapshot", &[key], 1);
        w.repo.publish_next_root();
        w.repo.publish();
        w.refreshed();
        w.assert_kept(2, 4, 4, 2);
        w.repo.add_target("a", "x", b"x");
        w.repo.role("a").bump();
        w.repo.publish();
        assert_eq!(w.lookup("x").unwrap().role(), Some("a"));
    }

    fn recovery_of_one_role_reopens_no_rollback_of_another(w) {
        for _ in 0..4 {
            w.repo.role("targets").bump();
            w.repo.publish();
        }
        w.refreshed();
        w.assert_kept(1, 5, 5, 5);
        // The timestamp's keys rotate: its own floor goes, the snapshot's floor for targets stays.
        let key = w.repo.new_key();
        w.repo.set_keys("timestamp", &[key], 1);
        w.repo.publish_next_root();
        w.repo.role("targets").set_version(4);
        w.repo.role("timestamp").set_version(0);
        w.repo.publish();
        let lowered = Reason::RoleLowered { role: "targets".into(), trusted: one(5), got: one(4) };
        assert_eq!(w.refused(), ("snapshot".into(), lowered));
        w.assert_kept(2, 1, 5, 5);
        // The keys of targets rotate: no floor goes.
        let key = w.repo.new_key();
        w.repo.set_keys("targets", &[key], 1);
        w.repo.publish_next_root();
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::RoleLowered { .. }));
        // The root's keys rotate: no floor goes.
        let key = w.repo.new_key();
        w.repo.set_keys("root", &[key], 1);
        w.repo.publish_next_root();
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::RoleLowered { .. }));
    }

    fn a_rotation_that_keeps_enough_old_keys_does_not_reopen_rollback(w) {
        w.repo.role("targets").set_version(3);
        w.repo.role("timestamp").set_version(5);
        w.repo.publish();
        w.refreshed();
        for role in ["timestamp", "snapshot"] {
            let mut keys = w.repo.role(role).signers.clone();
            keys.push(w.repo.new_key());
            w.repo.set_keys(role, &keys, 1);
            w.repo.publish_next_root();
        }
        w.repo.role("timestamp").set_version(5);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Rollback { trusted: one(6), got: one(5) }));
        w.repo.role("timestamp").set_version(6);
        w.repo.role("targets").set_version(2);
        w.repo.publish();
        assert!(matches!(w.refused().1, Reason::RoleLowered { .. }));
    }

    fn a_raised_threshold_drops_the_floor_only_where_the_kept_file_no_longer_meets_it(w) {
        let (a, b) = (w.repo.role("timestamp").signers[0].clone(), w.repo.new_key());
        w.repo.set_keys("timestamp", &[a.clone(), b.clone()], 1);
        w.repo.publish_next_root();
        w.repo.role("timestamp").set_version(9);
        w.repo.write("timestamp"); // signed by both
        w.refreshed();
        w.repo.list_keys("timestamp", &[a, b], 2);
        w.repo.publish_next_root();
        w.repo.role("timestamp").set_version(8);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Rollback { trusted: one(9), got: one(8) }));
    }

    fn rollback_is_refused_after_the_state_below_the_root_was_rotated_back(w) {
        // The key leaves and comes back: the kept file is valid again, and is the floor again.
        w.repo.role("timestamp").set_version(9);
        w.repo.write("timestamp");
        w.refreshed();
        let old = w.repo.role("timestamp").signers.clone();
        let key = w.repo.new_key();
        w.repo.set_keys("timestamp", &[key], 1);
        w.repo.publish_next_root();
        w.repo.set_keys("timestamp", &old, 1);
        w.repo.publish_next_root();
        w.repo.role("timestamp").set_version(8);
        w.repo.write("timestamp");
        assert_eq!(w.refused(), ("timestamp".into(), Reason::Rollback { trusted: one(9), got: one(8) }));
    }
}

mod stages_only {
    use super::*;

    #[test]
    fn a_chain_longer_than_one_update_follows_goes_on_with_what_it_has_and_ends_with_the_next() {
        let mut w = World::stages();
        let past = limits::ROOTS_PER_UPDATE as u64 + 6;
        for _ in 1..past {
            w.repo.publish_next_root();
        }
        w.refreshed();
        assert_eq!(w.kept()["root"], limits::ROOTS_PER_UPDATE as u64 + 1);
    }

    #[test]
    fn the_last_version_there_is_asks_for_no_next_one_and_never_wraps() {
        let mut repo = Repository::unpublished();
        repo.root().set_version((1 << 63) - 1);
        repo.publish_root();
        repo.publish_same_versions();
        let mut w = World::stages();
        w.restart(repo);
        w.refreshed();
        assert_eq!(w.repo.wire.take_requests()[0], "timestamp.json");
    }
}
