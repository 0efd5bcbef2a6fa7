//! S1 to S7: what may be signed.

use crate::common::checker::listed;
use crate::common::people::{Files, Team, at, key, sign};
use crate::common::{DAY, World};
use trust_keys::SigningKey;
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::json::Value;
use trust_tuf::model::TargetInfo;
use trust_wire::signer::{Reply, Request, Resigned};

use crate::{A, B, raw};

// --- S1 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s1_no_key_is_made_for_root_targets_or_a_delegation() {
    let mut world = World::new();
    for role in ["root", "targets", "alice", "", "Timestamp"] {
        let request = Request::NewOnlineKeys {
            collection: A.to_owned(),
            roles: vec![role.to_owned()],
            nonce: "0123456789abcdef".to_owned(),
        };
        let Reply::Refused { rule, .. } = world.ask(request) else { panic!("{role}") };
        assert_eq!(rule, "S1", "{role}");
    }
}

#[test]
fn s1_a_snapshot_timestamp_or_root_given_as_a_role_is_refused() {
    let mut world = World::new();
    let team = world.born(A);
    for role in ["snapshot", "timestamp", "root"] {
        let files = team.next_targets(world.now, "x").role(role, team.roles["targets"].clone());
        world.refused(&team, &files, "S1");
    }
}

#[test]
fn s1_no_operation_signs_what_the_server_gives() {
    for op in ["sign", "sign_snapshot", "sign_timestamp", "sign_bytes", "adopt_root", "set_mark", "Publish", ""] {
        assert!(raw(&format!(r#"{{"op":"{op}","collection":"r.example/a","snapshot":""}}"#)).is_err(), "{op}");
    }
}

// --- S2 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s2_a_version_that_is_not_the_next_is_refused() {
    let mut world = World::new();
    let mut team = world.born(A);
    let second = team.next_targets(world.now, "two");
    let mut later = team.clone();
    later.accepted(&second);
    let third = later.next_targets(world.now, "three");
    world.refused(&team, &third, "S2");
    world.publish(&team, &second).unwrap();
    team.accepted(&second);
    let mut jump = team.targets_draft(world.now);
    for _ in 0..5 {
        let bytes = sign(&jump, &[&team.targets_key]);
        jump = Draft::next(&bytes, at(world.now + 180 * DAY)).unwrap();
    }
    world.refused(&team, &Files::default().role("targets", sign(&jump, &[&team.targets_key])), "S2");
}

#[test]
fn s2_an_older_publication_played_again_is_refused_also_after_a_restart() {
    let mut world = World::new();
    let mut team = world.born(A);
    let mut played = Vec::new();
    for words in ["two", "three", "four"] {
        let files = team.next_targets(world.now, words);
        world.publish(&team, &files).unwrap();
        team.accepted(&files);
        played.push(files);
    }
    for restart in [false, true] {
        if restart {
            world.restart();
        }
        for files in &played[..2] {
            world.refused(&team, files, "S2");
        }
    }
}

#[test]
fn s2_versions_that_lock_a_collection_for_ever_are_refused() {
    let mut world = World::new();
    let team = world.born(A);
    for version in
        ["2147483647", "9007199254740993", "9223372036854775807", "18446744073709551615", "0", "-1", "2.0", "2e0"]
    {
        let signed = String::from_utf8(team.targets_draft(world.now).payload()).unwrap();
        let signed = signed.replace("\"version\":2", &format!("\"version\":{version}"));
        let signature = team.targets_key.sign(signed.as_bytes()).unwrap();
        let file = format!(
            "{{\"signatures\":[{{\"keyid\":\"{}\",\"sig\":\"{}\"}}],\"signed\":{signed}}}",
            signature.keyid,
            hex::encode(signature.sig)
        );
        let files = Files::default().role("targets", file.into_bytes());
        assert!(world.publish(&team, &files).is_err(), "{version}");
    }
    world.publish(&team, &team.next_targets(world.now, "fine")).unwrap();
}

// --- S3 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s3_a_file_of_people_that_is_expired_or_lives_too_short_or_too_long_is_refused() {
    let mut world = World::new();
    let team = world.born(A);
    for life in [-1, 0, 1, 7 * DAY - 1, 3 * 366 * DAY] {
        let draft = Draft::next(&team.roles["targets"], at(world.now + life)).unwrap();
        world.refused(&team, &Files::default().role("targets", sign(&draft, &[&team.targets_key])), "S3");
    }
}

#[test]
fn s3_nothing_is_signed_beyond_the_years_that_files_can_state() {
    let mut world = World::new();
    let _team = world.born(A);
    world.now = at(0).plus_secs(253_402_300_799).unwrap().unix();
    let Resigned::Refused { rule, .. } = world.resign(A) else { panic!("signed without an expiry") };
    assert_eq!(rule, "S3");
}

// --- S4 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s4_an_undelegated_role_stays_listed_until_the_snapshot_key_rotates() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.delegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let files = team.undelegate(world.now, "alice");
    let signed = world.publish(&team, &files).unwrap();
    team.accepted(&files);
    assert_eq!(listed(&signed.snapshot.0).get("alice"), Some(&1));
    world.restart();
    let files = team.next_targets(world.now, "more");
    let signed = world.publish(&team, &files).unwrap();
    team.accepted(&files);
    assert_eq!(listed(&signed.snapshot.0).get("alice"), Some(&1), "also after a restart");

    let new = team.new_online_key(&mut world, "snapshot");
    team.online.insert("snapshot".to_owned(), vec![new]);
    let files = team.next_root(world.now, &team.root_key.clone());
    let signed = world.publish(&team, &files).unwrap();
    team.accepted(&files);
    assert_eq!(listed(&signed.snapshot.0).get("alice"), None);
    world.restart();
    world.publish(&team, &team.next_targets(world.now, "again")).unwrap();
}

#[test]
fn s4_a_role_that_comes_back_goes_on_from_its_tombstone() {
    let mut world = World::new();
    let mut team = world.born(A);
    {
        let files = team.delegate(world.now, "alice");
        world.publish(&team, &files).unwrap();
        team.accepted(&files);
    }
    let files = team.undelegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    world.restart();
    let mut forgetful = team.clone();
    forgetful.roles.remove("alice");
    let again_from_one = forgetful.delegate(world.now, "alice");
    world.refused(&team, &again_from_one, "S2");
    let files = team.delegate(world.now, "alice");
    let signed = world.publish(&team, &files).unwrap();
    assert_eq!(listed(&signed.snapshot.0).get("alice"), Some(&2));
}

// --- S5 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s5_a_role_signed_by_a_stranger_is_refused() {
    let mut world = World::new();
    let mut team = world.born(A);
    let stranger = key("stranger");
    let files = Files::default().role("targets", sign(&team.targets_draft(world.now), &[&stranger]));
    world.refused(&team, &files, "S5");
    let mut delegating = team.clone();
    let files = delegating.delegate(world.now, "alice");
    let forged = sign(&Draft::targets(at(world.now + 100 * DAY)), &[&stranger]);
    world.refused(&team, &files.clone().role("alice", forged), "S5");
    // Targets is not alice: the keys of one role do not speak for another.
    let by_targets = sign(&Draft::targets(at(world.now + 100 * DAY)), &[&team.targets_key]);
    world.refused(&team, &files.clone().role("alice", by_targets), "S5");
    world.publish(&delegating, &files).unwrap();
    team.accepted(&files);
}

#[test]
fn s5_a_delegation_without_its_file_and_a_file_without_its_delegation_are_refused() {
    let mut world = World::new();
    let mut team = world.born(A);
    let mut files = team.delegate(world.now, "alice");
    let alice = files.roles.remove("alice").unwrap();
    world.refused(&team, &files, "S5");
    world.refused(&team, &Files::default().role("alice", alice), "S5");
}

#[test]
fn s5_new_keys_of_a_delegation_need_a_new_file_of_the_role() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.delegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let mut draft = team.targets_draft(world.now);
    draft.set_delegation(&NewDelegation {
        name: "alice".to_owned(),
        keys: vec![key("another").public().clone()],
        threshold: 1,
        terminating: true,
        patterns: vec!["alice/*".to_owned()],
    });
    world.refused(&team, &Files::default().role("targets", sign(&draft, &[&team.targets_key])), "S5");
}

#[test]
fn s5_a_role_file_of_another_collection_is_refused() {
    let mut world = World::new();
    let (team, other) = (world.born(A), world.born(B));
    world.refused(&team, &other.next_targets(world.now, "x"), "S5");
}

#[test]
fn s5_a_target_outside_the_delegated_paths_or_a_reserved_one_is_refused() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.delegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    for path in ["bob/v1", "_policy/allow.cedar", "_revoked/x.json", "../alice/x", "alice/../x"] {
        let mut draft = Draft::next(&team.roles["alice"], at(world.now + 100 * DAY)).unwrap();
        draft.set_target(path, &TargetInfo::of(b"x"));
        world.refused(&team, &Files::default().role("alice", sign(&draft, &[&team.delegated["alice"]])), "S5");
    }
}

#[test]
fn s5_unsigned_members_beside_the_signed_part_are_refused_and_lock_nothing() {
    let mut world = World::new();
    let team = world.born(A);
    let good = team.next_targets(world.now, "x");
    let mut value = trust_tuf::json::parse(&good.roles["targets"]).unwrap();
    value.as_object_mut().unwrap().insert("extra".to_owned(), Value::from(1));
    world.refused(&team, &Files::default().role("targets", value.to_json()), "S5");
    world.publish(&team, &good).unwrap();
}

// --- S6 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s6_a_timestamp_names_only_the_newest_snapshot() {
    let mut world = World::new();
    let mut team = world.born(A);
    let old = team.next_targets(world.now, "two");
    world.publish(&team, &old).unwrap();
    team.accepted(&old);
    let new = team.next_targets(world.now, "three");
    let newest = world.publish(&team, &new).unwrap();
    // No request can name a snapshot, and an older publication does not bring its own back.
    assert!(raw(r#"{"op":"resign","collections":["r.example/a"],"snapshot":2}"#).is_err());
    assert!(raw(r#"{"op":"sign_timestamp","repo":"r.example/a","snapshot":""}"#).is_err());
    world.refused(&team, &old, "S2");
    world.now += DAY / 2;
    let Resigned::Done { snapshot_version, timestamp, .. } = world.resign(A) else { panic!() };
    assert_eq!(snapshot_version, newest.snapshot_version);
    let value = trust_tuf::json::parse(&timestamp.0).unwrap();
    let named = value.get("signed").and_then(|s| s.get("meta")?.get("snapshot.json")?.get("version")?.as_u64());
    assert_eq!(named, Some(newest.snapshot_version));
}

// --- S7 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s7_a_root_without_the_old_or_without_the_new_threshold_is_refused() {
    let mut world = World::new();
    let team = world.born(A);
    let mut taken = team.clone();
    taken.root_key = key("attacker");
    let draft = taken.root_draft(Draft::next(&team.root, at(world.now + 365 * DAY)).unwrap());
    for keys in [&[&taken.root_key][..], &[&team.root_key], &[&team.targets_key], &[]] {
        world.refused(&team, &Files::default().root(sign(&draft, keys)), "S7");
    }
    world.publish(&team, &Files::default().root(sign(&draft, &[&team.root_key, &taken.root_key]))).unwrap();
}

#[test]
fn s7_a_skipped_or_repeated_root_version_is_refused() {
    let mut world = World::new();
    let mut team = world.born(A);
    let old = team.root_key.clone();
    let second = team.next_root(world.now, &old);
    let mut later = team.clone();
    later.accepted(&second);
    let third = later.next_root(world.now, &old);
    world.refused(&team, &third, "S7");
    world.publish(&team, &second).unwrap();
    team.accepted(&second);
    let both = Files { roots: [third.roots.clone(), third.roots.clone()].concat(), ..Files::default() };
    world.refused(&team, &both, "S7");
    world.publish(&team, &third).unwrap();
}

#[test]
fn s7_a_first_root_cannot_come_a_second_time() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.next_targets(world.now, "two");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let mut attacker = Team::new(A, 666);
    attacker.online = team.online.clone();
    world.refused(&team, &attacker.first(world.now), "S7");
    let old = team.first(world.now - 1);
    assert!(world.publish(&team, &old).is_err());
}
