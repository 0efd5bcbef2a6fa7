//! Re-signing, and stores that somebody changed.

use crate::common::checker::version_of;
use crate::common::people::Team;
use crate::common::{DAY, World};
use trust_tuf::model::sha256;
use trust_wire::signer::{Reply, Request, Resigned};

use crate::{A, B};

// --- re-signing, and combinations ---------------------------------------------------------------------------------------

#[test]
fn timestamps_are_made_again_at_half_of_their_life_and_not_before() {
    let mut world = World::new();
    let _team = world.born(A);
    let version = |answer: &Resigned| match answer {
        Resigned::Done { timestamp_version, snapshot, .. } => (*timestamp_version, snapshot.is_some()),
        Resigned::Refused { reason, .. } => panic!("{reason}"),
    };
    world.now += DAY / 2 - 1;
    assert_eq!(version(&world.resign(A)), (1, false));
    world.now += 1;
    assert_eq!(version(&world.resign(A)), (2, false));
    assert_eq!(version(&world.resign(A)), (2, false));
    world.now += 3 * DAY;
    let renewed = world.resign(A);
    assert_eq!(version(&renewed), (3, true), "half of the snapshot's life is over too");
    let Resigned::Done { snapshot: Some(snapshot), snapshot_version, .. } = renewed else { panic!() };
    assert_eq!((snapshot_version, version_of(&snapshot.0)), (2, 2));
    world.now += 400 * DAY;
    world.restart();
    assert_eq!(version(&world.resign(A)), (4, true), "also long after everything expired");
    world.check_audit();
}

#[test]
fn a_batch_judges_each_collection_alone_and_answers_in_order() {
    let mut world = World::new();
    world.born(A);
    world.born(B);
    world.now += DAY;
    let asked = [A, "r.example/none", B, "NOT A NAME", A];
    let reply = world.ask(Request::Resign { collections: asked.map(str::to_owned).to_vec() });
    let Reply::Resigned { timestamps } = reply else { panic!() };
    let kinds: Vec<bool> = timestamps.iter().map(|t| matches!(t, Resigned::Done { .. })).collect();
    assert_eq!(kinds, [true, false, true, false, true]);
}

#[test]
fn a_store_whose_files_were_changed_signs_nothing_for_that_collection() {
    let mut world = World::new();
    let (team, other) = (world.born(A), world.born(B));
    let alien = other.roles["targets"].clone();
    world.core = None;
    let db = rusqlite::Connection::open(world.dir.path().join("signer.db")).unwrap();
    db.execute(
        "UPDATE role_file SET body = ?1, sha256 = ?2, length = ?3 WHERE collection = ?4",
        rusqlite::params![alien, sha256(&alien), alien.len() as i64, A],
    )
    .unwrap();
    drop(db);
    world.restart();
    assert_eq!(world.publish(&team, &team.next_targets(world.now, "x")).unwrap_err().0, "failed");
    world.now += DAY;
    assert!(matches!(world.resign(A), Resigned::Refused { rule, .. } if rule == "failed"));
    world.publish(&other, &other.next_targets(world.now, "x")).unwrap();
}

#[test]
fn a_store_whose_admission_was_changed_signs_nothing_for_that_collection() {
    let mut world = World::new();
    let team = world.born(A);
    let db = rusqlite::Connection::open(world.dir.path().join("signer.db")).unwrap();
    db.execute_batch("UPDATE admitted SET root_sha256 = zeroblob(32)").unwrap();
    world.restart();
    let (rule, reason) = world.publish(&team, &team.next_targets(world.now, "x")).unwrap_err();
    assert!(rule == "failed" && reason.contains("admitted"), "{rule}: {reason}");
}

#[test]
fn a_key_that_was_moved_to_another_collection_or_role_in_the_store_does_not_open() {
    for from in
        ["collection = 'r.example/b' AND role = 'timestamp'", "collection = 'r.example/b' AND role = 'snapshot'"]
    {
        for with_its_id in [false, true] {
            let mut world = World::new();
            let _other = world.born(B);
            let mut team = Team::new(A, 7);
            team.fetch_online_keys(&mut world);
            let first = team.first(world.now);
            world.admit(A, &first.roots[0]);
            let db = rusqlite::Connection::open(world.dir.path().join("signer.db")).unwrap();
            let id = if with_its_id {
                format!(", keyid = (SELECT keyid FROM online_key WHERE {from})")
            } else {
                String::new()
            };
            db.execute_batch(&format!(
                "UPDATE online_key SET sealed = (SELECT sealed FROM online_key WHERE {from}){id} \
                 WHERE collection = 'r.example/a' AND role = 'timestamp'"
            ))
            .unwrap();
            assert_eq!(world.publish(&team, &first).unwrap_err().0, "failed", "{from} {with_its_id}");
        }
    }
}
