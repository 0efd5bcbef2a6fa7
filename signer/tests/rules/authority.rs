//! S8 to S15: for whom, when, how much, and with which keys.

use crate::common::people::{Files, Key, Team, at, key, sign};
use crate::common::{DAY, World, config};
use trust_keys::SigningKey;
use trust_signer::admission::{grant_payload, make_grant};
use trust_signer::{Config, RuleId};
use trust_tuf::draft::Draft;
use trust_tuf::json::Value;
use trust_tuf::model::{TargetInfo, sha256};
use trust_tuf::{RoleType, limits};
use trust_wire::signer::{Reply, Request, Resigned};

use crate::{A, B, raw};

// --- S8 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s8_a_first_root_that_nobody_admitted_is_refused() {
    let mut world = World::new();
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let first = team.first(world.now);
    let reason = world.refused(&team, &first, "S8");
    let command = format!("trust-signer admit {A} {} --data DIR", hex::encode(sha256(&first.roots[0])));
    assert!(reason.ends_with(&command), "the operator can compare: {reason}");
    world.admit(A, b"another root");
    world.refused(&team, &first, "S8");
    world.admit(A, &first.roots[0]);
    world.publish(&team, &first).unwrap();
}

#[test]
fn s8_the_admission_of_one_collection_is_none_for_another() {
    let mut world = World::new();
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let first = team.first(world.now);
    world.admit(A, &first.roots[0]);
    let elsewhere = Team { name: B.to_owned(), ..team.clone() };
    world.refused(&elsewhere, &first, "S8");
    for name in ["r.example/a/b", "r.example", "r.example/A", "r.example/a/", ""] {
        let elsewhere = Team { name: name.to_owned(), ..team.clone() };
        assert!(world.publish(&elsewhere, &first).is_err(), "{name}");
    }
}

#[test]
fn s8_nothing_is_signed_again_for_a_collection_without_a_root() {
    let mut world = World::new();
    world.admit(A, b"a root that never came");
    let Resigned::Refused { rule, .. } = world.resign(A) else { panic!() };
    assert_eq!(rule, "S8");
    let team = Team::new(A, 7);
    let files = Files::default().role("targets", b"{}".to_vec());
    world.refused(&team, &files, "S8");
}

#[test]
fn s8_an_admission_cannot_be_changed_once_a_root_is_there() {
    let mut world = World::new();
    let _team = world.born(A);
    let name = trust_tuf::CollectionName::parse(A).unwrap();
    let other = trust_signer::store::Admission { root_sha256: [7; 32], by: "command".to_owned() };
    assert!(trust_signer::Store::open(world.dir.path()).unwrap().admit(&name, &other, world.time()).is_err());
}

fn grant(world: &World, pattern: &str, root: Option<&[u8; 32]>, life: i64, by: &Key) -> Vec<u8> {
    let signed = grant_payload(pattern, root, at(world.now + life));
    let signature = by.sign(&signed.canonical()).unwrap();
    let signature = Value::object([
        ("keyid", Value::from(signature.keyid.as_str())),
        ("sig", Value::from(hex::encode(signature.sig))),
    ]);
    let file = Value::object([("signatures", Value::from(vec![signature])), ("signed", signed)]).to_json();
    // What the command makes is the same, for patterns that it takes.
    if let Ok(made) = make_grant(pattern, root, at(world.now + life), &**by) {
        assert_eq!(made, file);
    }
    file
}

fn with_grant(files: &Files, name: &str, given: Vec<u8>) -> Request {
    match files.request(name) {
        Request::Publish { collection, roots, roles, .. } => {
            Request::Publish { collection, roots, roles, grant: Some(given.into()) }
        }
        other => other,
    }
}

#[test]
fn s8_a_grant_holds_only_from_an_operator_in_time_and_for_its_names() {
    let operator = key("operator");
    let config = config(|c| c.operators = vec![operator.public().clone()]);
    let mut world = World::with(1, config, false);
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let first = team.first(world.now);
    let root = sha256(&first.roots[0]);
    let good = grant(&world, "r.example/*", None, DAY, &operator);
    let mut bad = vec![
        grant(&world, "r.example/*", None, DAY, &key("no operator")),
        grant(&world, "r.example/*", None, DAY, &team.root_key),
        grant(&world, "r.example/*", None, 0, &operator),
        grant(&world, "r.example/b", None, DAY, &operator),
        grant(&world, "r.example/a/*", None, DAY, &operator),
        grant(&world, "r.exam*", None, DAY, &operator),
        grant(&world, "r.example/*", Some(&[0; 32]), DAY, &operator),
        b"{}".to_vec(),
        b"".to_vec(),
        vec![b' '; 20_000],
        [good.clone(), b" {}".to_vec()].concat(),
        String::from_utf8(good.clone()).unwrap().replace("r.example/*", "r.example/a").into_bytes(),
        String::from_utf8(good.clone()).unwrap().replace("{\"signatures\"", "{\"x\":1,\"signatures\"").into_bytes(),
    ];
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        bad.push(changed);
    }
    for given in bad {
        let Reply::Refused { rule, .. } = world.ask(with_grant(&first, A, given.clone())) else {
            panic!("{}", String::from_utf8_lossy(&given));
        };
        assert_eq!(rule, "S8");
    }
    world.checker.admitted.insert(A.to_owned(), root);
    let exact = grant(&world, "r.example/a", Some(&root), DAY, &operator);
    assert!(matches!(world.ask(with_grant(&first, A, exact)), Reply::Published(_)));
    // A grant is for a first root: it lets no other root in afterwards.
    let mut attacker = Team::new(A, 666);
    attacker.online = team.online.clone();
    let reply = world.ask(with_grant(&attacker.first(world.now), A, good));
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    world.check_audit();
}

#[test]
fn s8_only_development_admits_by_itself_and_takes_example_keys() {
    for dev in [false, true] {
        let mut world = World::with(1, Config::default(), dev);
        world.checker.dev = dev;
        let mut team = Team::new(A, 7);
        team.fetch_online_keys(&mut world);
        let published = world.publish(&team, &team.first(world.now));
        assert_eq!(published.is_ok(), dev);
    }
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/../keys-example/INSECURE-EXAMPLE-targets.pem");
    let example = trust_keys::KeyFile::parse(&std::fs::read(pem).unwrap()).unwrap().open_unencrypted().unwrap();
    let example: Key = std::sync::Arc::new(example);
    for dev in [false, true] {
        let mut world = World::with(1, Config::default(), dev);
        let mut team = Team { targets_key: example.clone(), ..Team::new(A, 7) };
        team.fetch_online_keys(&mut world);
        let first = team.first(world.now);
        world.admit(A, &first.roots[0]);
        assert_eq!(world.publish(&team, &first).is_ok(), dev, "an example key");
    }
}

// --- S9 ---------------------------------------------------------------------------------------------------------------

#[test]
fn s9_nothing_is_signed_by_a_clock_that_went_back() {
    let mut world = World::new();
    let mut team = world.born(A);
    world.now += 100;
    let files = team.next_targets(world.now, "two");
    let signed = world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let next = team.next_targets(world.now, "three");
    for back in [1, 3_600, 400 * DAY] {
        world.now -= back;
        for restart in [false, true] {
            if restart {
                world.restart();
            }
            let (rule, reason) = world.publish(&team, &next).unwrap_err();
            assert!(rule == "failed" && reason.starts_with("S9"), "{rule}: {reason}");
            assert_eq!(world.publish(&team, &files).unwrap(), signed, "what is stored is given");
            assert!(matches!(world.resign(A), Resigned::Done { timestamp_version, .. } if timestamp_version == 2));
        }
        world.now += back;
    }
    world.publish(&team, &next).unwrap();
}

// --- S10 --------------------------------------------------------------------------------------------------------------

#[test]
fn s10_more_publications_than_the_rate_are_refused_for_that_collection_only() {
    let config = config(|c| c.publications_per_second = 5);
    let mut world = World::with(1, config, false);
    let (mut team, other) = (world.born(A), world.born(B));
    world.now += 1;
    let mut refused = 0;
    for n in 0..8 {
        let files = team.next_targets(world.now, &n.to_string());
        match world.publish(&team, &files) {
            Ok(_) => team.accepted(&files),
            Err((rule, _)) => {
                assert_eq!(rule, "S10");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 3);
    world.publish(&other, &other.next_targets(world.now, "x")).unwrap();
    world.now += 1;
    world.publish(&team, &team.next_targets(world.now, "y")).unwrap();
}

#[test]
fn s10_signatures_are_counted_over_all_collections_and_all_requests() {
    let config = config(|c| c.signatures_per_second = 5);
    let mut world = World::with(1, config, false);
    let names = ["r.example/a", "r.example/b", "r.example/c", "r.example/d"];
    for name in names {
        world.born(name);
        world.now += 1;
    }
    let before: usize = names.iter().map(|n| world.checker.released(n)).sum();
    world.now += 4 * DAY; // snapshots and timestamps are due: two signatures each
    let reply = world.ask(Request::Resign { collections: names.iter().map(|n| (*n).to_owned()).collect() });
    let Reply::Resigned { timestamps } = reply else { panic!() };
    let refused = timestamps.iter().filter(|t| matches!(t, Resigned::Refused { rule, .. } if rule == "S10")).count();
    assert_eq!(refused, 2);
    assert_eq!(names.iter().map(|n| world.checker.released(n)).sum::<usize>(), before + 4);
}

#[test]
fn s10_new_keys_are_limited_and_pending_ones_do_not_pile_up() {
    let mut world = World::new();
    let team = world.born(A);
    let asked = |world: &mut World| {
        world.ask(Request::NewOnlineKeys {
            collection: A.to_owned(),
            roles: vec!["timestamp".to_owned(), "snapshot".to_owned()],
            nonce: "0123456789abcdef".to_owned(),
        })
    };
    let refused = (0..20).filter(|_| matches!(asked(&mut world), Reply::Refused { rule, .. } if rule == "S10")).count();
    assert!(refused > 10, "{refused}");
    for _ in 0..10 {
        world.now += 1;
        assert!(matches!(asked(&mut world), Reply::NewOnlineKeys { .. }));
    }
    let name = trust_tuf::CollectionName::parse(A).unwrap();
    let keys = world.core.as_ref().unwrap().store().keys(&name).unwrap();
    assert_eq!(keys.iter().filter(|k| !k.named).count(), 8);
    assert_eq!(keys.iter().filter(|k| k.named).count(), 2, "keys in use are never dropped");
    world.publish(&team, &team.next_targets(world.now, "x")).unwrap();
}

// --- S11 --------------------------------------------------------------------------------------------------------------

#[test]
fn s11_without_an_audit_entry_nothing_is_signed_and_no_version_is_used_up() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.next_targets(world.now, "two");
    let db = rusqlite::Connection::open(world.dir.path().join("signer.db")).unwrap();
    db.execute_batch("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END").unwrap();
    assert_eq!(world.publish(&team, &files).unwrap_err().0, "failed");
    world.now += DAY;
    assert!(!matches!(world.ask(Request::Resign { collections: vec![A.to_owned()] }), Reply::Resigned { .. }));
    db.execute_batch("DROP TRIGGER full").unwrap();
    let signed = world.publish(&team, &files).unwrap();
    assert_eq!((signed.snapshot_version, signed.timestamp_version), (2, 2));
    team.accepted(&files);
    world.check_audit();
}

// --- S12 --------------------------------------------------------------------------------------------------------------

#[test]
fn s12_no_answer_ever_holds_a_private_key_and_none_can_be_asked_for() {
    for op in ["export", "export_key", "private_key", "list_keys", "delete_key", "new_online_keys_private"] {
        assert!(raw(&format!(r#"{{"op":"{op}","collection":"r.example/a"}}"#)).is_err(), "{op}");
    }
    let mut world = World::new();
    let team = world.born(A);
    let mut said = String::new();
    let requests = [
        Request::Health {},
        Request::State { collection: A.to_owned() },
        Request::Files { collection: A.to_owned() },
        Request::NewOnlineKeys {
            collection: A.to_owned(),
            roles: vec!["snapshot".to_owned()],
            nonce: "0123456789abcdef".to_owned(),
        },
        Request::Resign { collections: vec![A.to_owned()] },
        team.next_targets(world.now, "x").request(A),
    ];
    for request in requests {
        let reply = world.ask(request);
        said.push_str(&serde_json::to_string(&reply).unwrap());
    }
    let stored = ["signer.db", "signer.db-wal"].map(|f| std::fs::read(world.dir.path().join(f)).unwrap_or_default());
    let seeds = world.seeds.lock().unwrap();
    assert!(seeds.len() >= 3);
    for seed in seeds.iter() {
        assert!(!said.contains(&hex::encode(seed)));
        assert!(!stored.concat().windows(32).any(|w| w == seed.as_slice()), "a private key lies open in the store");
    }
}

// --- S13 --------------------------------------------------------------------------------------------------------------

#[test]
fn s13_what_is_not_of_this_protocol_is_refused() {
    let deep = format!("{{\"op\":\"health\",\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for text in [
        r#"{"op":"health","extra":1}"#,
        r#"{"op":"resign","collections":["r.example/a"],"force":true}"#,
        r#"{"op":"publish","collection":"r.example/a","roots":[],"roles":{},"version":7}"#,
        r#"{"op":"publish","collection":"r.example/a","roots":["!"],"roles":{}}"#,
        r#"{"op":"publish","collection":"r.example/a","roots":[],"roles":{"a":"","a":""}}"#,
        r#"{"op":"state","collection":"r.example/a"} "#.trim_end().strip_suffix('}').unwrap(),
        r#"{"op":"state","collection":"r.example/a"}{}"#,
        r#"{"op":"state","collection":1.5}"#,
        "\u{feff}{\"op\":\"health\"}",
        deep.as_str(),
        "null",
    ] {
        assert!(raw(text).is_err(), "{text}");
    }
}

#[test]
fn s13_batches_and_publications_over_their_limits_are_refused() {
    let mut world = World::new();
    let team = world.born(A);
    let names = (0..257).map(|n| format!("r.example/{n}")).collect();
    let Reply::Refused { rule, .. } = world.ask(Request::Resign { collections: names }) else { panic!() };
    assert_eq!(rule, RuleId::S13.as_str());
    let mut files = team.next_targets(world.now, "x");
    for n in 0..limits::FILES_PER_PUBLICATION {
        files = files.role(&format!("r{n}"), b"{}".to_vec());
    }
    world.refused(&team, &files, "S13");
    let huge = vec![b' '; usize::try_from(limits::PUBLISH_BYTES).unwrap() + 1];
    world.refused(&team, &Files::default().role("targets", huge), "S5");
}

#[test]
fn s13_unknown_members_of_metadata_are_kept_and_covered() {
    let mut world = World::new();
    let team = world.born(A);
    let mut target = TargetInfo::of(b"x");
    target.custom = Some(Value::object([("something", Value::from("new"))]));
    let mut draft = team.targets_draft(world.now);
    draft.set_target("image/x", &target);
    let files = Files::default().role("targets", sign(&draft, &[&team.targets_key]));
    world.publish(&team, &files).unwrap();
    let Reply::Files { files: Some(held) } = world.ask(Request::Files { collection: A.to_owned() }) else { panic!() };
    assert_eq!(held.roles["targets"].0, files.roles["targets"]);
}

// --- S14 --------------------------------------------------------------------------------------------------------------

#[test]
fn s14_a_root_that_names_a_strangers_online_key_is_not_served() {
    let mut world = World::new();
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let (own, stranger) = (team.online.clone(), key("stranger").public().clone());
    let mut swapped = own.clone();
    swapped.insert("timestamp".to_owned(), own["snapshot"].clone());
    swapped.insert("snapshot".to_owned(), own["timestamp"].clone());
    let mut of_stranger = own.clone();
    of_stranger.insert("timestamp".to_owned(), vec![stranger.clone()]);
    let mut snapshot_of_stranger = own.clone();
    snapshot_of_stranger.insert("snapshot".to_owned(), vec![stranger]);
    for online in [swapped, of_stranger, snapshot_of_stranger] {
        team.online = online;
        let first = team.first(world.now);
        world.admit(A, &first.roots[0]);
        world.refused(&team, &first, "S14");
    }
}

#[test]
fn s14_the_online_keys_of_another_collection_are_not_used() {
    let mut world = World::new();
    let other = world.born(B);
    let mut team = Team::new(A, 7);
    team.online = other.online.clone();
    let first = team.first(world.now);
    world.admit(A, &first.roots[0]);
    world.refused(&team, &first, "S14");
}

#[test]
fn s14_a_root_that_drops_our_key_or_wants_more_keys_than_we_hold_is_not_served() {
    let mut world = World::new();
    let mut team = world.born(A);
    let own = team.clone();
    let stranger = key("stranger").public().clone();
    team.online.insert("timestamp".to_owned(), vec![stranger.clone()]);
    world.refused(&team, &team.next_root(world.now, &own.root_key), "S14");
    let mut draft = own.root_draft(Draft::next(&own.root, at(world.now + 365 * DAY)).unwrap());
    draft.set_role(RoleType::Snapshot, &[own.online["snapshot"][0].clone(), stranger], 2);
    world.refused(&own, &Files::default().root(sign(&draft, &[&own.root_key])), "S14");
    world.publish(&own, &own.next_targets(world.now, "x")).unwrap();
}

#[test]
fn s14_a_key_that_a_root_dropped_is_gone_for_ever() {
    let mut world = World::new();
    let mut team = world.born(A);
    let old = team.online["timestamp"].clone();
    let new = team.new_online_key(&mut world, "timestamp");
    for keys in [vec![old[0].clone(), new.clone()], vec![new]] {
        let both = keys.len();
        team.online.insert("timestamp".to_owned(), keys);
        let files = team.next_root(world.now, &team.root_key.clone());
        let signed = world.publish(&team, &files).unwrap();
        let value = trust_tuf::json::parse(&signed.timestamp.0).unwrap();
        assert_eq!(value.get("signatures").unwrap().as_array().unwrap().len(), both, "every key held signs");
        team.accepted(&files);
    }
    world.check_audit();
    team.online.insert("timestamp".to_owned(), old);
    for restart in [false, true] {
        if restart {
            world.restart();
        }
        world.refused(&team, &team.next_root(world.now, &team.root_key.clone()), "S14");
    }
}

// --- S15 --------------------------------------------------------------------------------------------------------------

#[test]
fn s15_other_content_under_a_version_is_refused_also_after_a_restart() {
    let mut world = World::new();
    let mut team = world.born(A);
    let one = team.next_targets(world.now, "one");
    let two = team.next_targets(world.now, "other");
    world.publish(&team, &one).unwrap();
    let (root_one, mut changed) = (team.next_root(world.now, &team.root_key.clone()), team.clone());
    world.publish(&team, &root_one).unwrap();
    changed.targets_key = key("changed");
    let root_two = changed.next_root(world.now, &team.root_key.clone());
    for restart in [false, true] {
        if restart {
            world.restart();
        }
        world.refused(&team, &two, "S15");
        world.refused(&team, &root_two, "S15");
    }
    team.accepted(&one);
    team.accepted(&root_one);
    world.publish(&team, &team.next_targets(world.now, "three")).unwrap();
}

#[test]
fn s15_the_same_publication_asked_again_gets_the_same_bytes_also_after_a_restart() {
    let mut world = World::new();
    let team = world.born(A);
    let files = team.next_targets(world.now, "two");
    let signed = world.publish(&team, &files).unwrap();
    for restart in [false, true, true] {
        if restart {
            world.restart();
        }
        world.now += 60;
        assert_eq!(world.publish(&team, &files).unwrap(), signed);
    }
    // A newer timestamp comes with the same snapshot.
    world.now += DAY / 2;
    world.resign(A);
    let again = world.publish(&team, &files).unwrap();
    assert_eq!((again.snapshot, again.timestamp_version), (signed.snapshot, signed.timestamp_version + 1));
    world.check_audit();
}
