//! A publication in two steps, by a server that does between them whatever it likes.

use crate::common::people::Team;
use crate::common::{DAY, World, config};
use trust_signer::{Config, Store};
use trust_wire::signer::{Reply, Request, Resigned};

use crate::{A, B};

fn signatures(world: &World) -> u64 {
    Store::open(world.dir.path()).unwrap().verify_audit().unwrap().signatures
}

#[test]
fn what_is_prepared_and_never_committed_leaves_nothing_behind() {
    let mut world = World::new();
    let team = world.born(A);
    let files = team.clone().next_targets(world.now, "prepared");
    drop(world.prepare(A, &files));
    assert_eq!(signatures(&world), 2, "nothing is in the audit");
    let Reply::State { state: Some(state) } = world.ask(Request::State { collection: A.to_owned() }) else { panic!() };
    assert_eq!((state.snapshot, state.timestamp), (1, 1), "no mark has moved");
    drop(world.prepare(A, &files));
    world.restart();
    // Other content for the version that was prepared: nobody has ever seen a signature for the first.
    let other = team.clone().next_targets(world.now, "another");
    assert_eq!(world.publish(&team, &other).unwrap().snapshot_version, 2);
    assert_eq!(signatures(&world), 4);
    world.check_audit();
}

#[test]
fn what_is_committed_is_durable_and_given_again_byte_for_byte() {
    let mut world = World::new();
    let mut team = world.born(A);
    for round in 2..5 {
        let files = team.next_targets(world.now, &format!("round {round}"));
        let prepared = world.prepare(A, &files);
        let signed = world.commit(A, &files, prepared).unwrap();
        assert_eq!((signed.snapshot_version, signed.timestamp_version), (round, round));
        team.accepted(&files);
        world.restart();
        assert_eq!(signatures(&world), 2 * round);
        assert_eq!(world.publish(&team, &files).unwrap(), signed);
        let again = world.prepare(A, &files);
        assert_eq!(world.commit(A, &files, again).unwrap(), signed, "nothing is signed for what was published");
        assert_eq!(signatures(&world), 2 * round);
    }
}

#[test]
fn s15_two_contents_prepared_for_one_version_become_one() {
    let mut world = World::new();
    let team = world.born(A);
    let files = ["one", "two"].map(|words| team.clone().next_targets(world.now, words));
    let [one, two] = files.each_ref().map(|files| world.prepare(A, files));
    world.commit(A, &files[0], one).unwrap();
    let (rule, _) = world.commit(A, &files[1], two).unwrap_err();
    assert_eq!(rule, "S15");
    assert_eq!(signatures(&world), 4);
}

#[test]
fn s2_s6_what_was_signed_between_the_steps_is_never_repeated_or_passed_over() {
    let mut world = World::new();
    let mut team = world.born(A);
    // The timestamp is due, and made between the two steps; in the same second, and with the clock going on.
    for later in [0, 1, DAY] {
        world.now += DAY;
        let files = team.next_targets(world.now, &format!("later {later}"));
        let prepared = world.prepare(A, &files);
        let Resigned::Done { timestamp_version: between, .. } = world.resign(A) else { panic!() };
        world.now += later;
        let signed = world.commit(A, &files, prepared).unwrap();
        assert_eq!(signed.timestamp_version, between + 1);
        team.accepted(&files);
    }
    // The checker compared every file with all before it, as a client.
    world.check_audit();
}

#[test]
fn s3_a_publication_that_waited_lives_from_the_second_in_which_it_is_committed() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.next_targets(world.now, "waits");
    let prepared = world.prepare(A, &files);
    world.now += 3 * DAY;
    let signed = world.commit(A, &files, prepared).unwrap();
    let expires = crate::common::checker::expiry_of(&signed.timestamp.0);
    assert!(expires > world.now, "the prepared timestamp would be expired");
    team.accepted(&files);
    let late = team.next_targets(world.now, "too late");
    let prepared = world.prepare(A, &late);
    world.now += 400 * DAY;
    let (rule, _) = world.commit(A, &late, prepared).unwrap_err();
    assert_eq!(rule, "S3", "the people's file is judged by the same second");
}

#[test]
fn s9_a_clock_that_went_back_between_the_steps_signs_nothing() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.next_targets(world.now, "back");
    let prepared = world.prepare(A, &files);
    world.now -= 1;
    let (rule, reason) = world.commit(A, &files, prepared).unwrap_err();
    assert!(rule == "failed" && reason.contains("S9"), "{rule}: {reason}");
    world.now += 1;
    assert_eq!(world.publish(&team, &files).unwrap().snapshot_version, 2);
    team.accepted(&files);
}

#[test]
fn s14_an_online_key_that_came_between_the_steps_is_not_forgotten() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.next_targets(world.now, "a key comes");
    let prepared = world.prepare(A, &files);
    let key = team.new_online_key(&mut world, "timestamp");
    world.commit(A, &files, prepared).unwrap();
    team.accepted(&files);
    team.online.insert("timestamp".to_owned(), vec![key]);
    let root_key = team.root_key.clone();
    let root = team.next_root(world.now, &root_key);
    world.publish(&team, &root).unwrap();
    world.restart();
    team.accepted(&root);
    let next = team.next_targets(world.now, "under the new key");
    world.publish(&team, &next).unwrap();
}

#[test]
fn s8_a_first_publication_needs_its_admission_when_it_is_committed() {
    let mut world = World::new();
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let first = team.first(world.now);
    let prepared = world.prepare(A, &first);
    assert_eq!(world.commit(A, &first, prepared).unwrap_err().0, "S8");
    let prepared = world.prepare(A, &first);
    world.admit(A, &first.roots[0]);
    assert_eq!(world.commit(A, &first, prepared).unwrap().snapshot_version, 1);
}

#[test]
fn s10_what_is_prepared_counts_once_committed_or_not() {
    let mut world = World::with(1, config(|c: &mut Config| c.publications_per_second = 4), false);
    let mut team = world.born(A);
    world.now += 1;
    // Two that are never committed, and two that are, the second of them made again.
    let files = team.next_targets(world.now, "one");
    drop(world.prepare(A, &files));
    drop(world.prepare(A, &files));
    let prepared = world.prepare(A, &files);
    world.commit(A, &files, prepared).unwrap();
    team.accepted(&files);
    let files = team.next_targets(world.now, "two");
    let prepared = world.prepare(A, &files);
    // Its copy in memory is gone, so that everything is made again.
    world.core.as_mut().unwrap().forget();
    world.commit(A, &files, prepared).unwrap();
    team.accepted(&files);
    let files = team.next_targets(world.now, "three");
    let prepared = world.prepare(A, &files);
    assert_eq!(world.commit(A, &files, prepared).unwrap_err().0, "S10");
    world.now += 1;
    world.publish(&team, &files).unwrap();
}

#[test]
fn nothing_is_committed_that_was_not_prepared_and_refusals_are_answered_at_the_end() {
    let mut world = World::new();
    world.born(A);
    let other = world.born(B);
    assert!(matches!(world.ask(Request::Commit {}), Reply::Refused { rule, .. } if rule == "request"));
    // The files of another collection.
    let files = other.clone().next_targets(world.now, "elsewhere");
    let prepared = world.prepare(A, &files);
    assert!(world.commit(A, &files, prepared).is_err());
    assert_eq!(signatures(&world), 4);
}
