//! The rules of a repository of ours: each is broken once, by name; and whatever keeps them loads in a client.

#[path = "repository_rules/bins.rs"]
mod bins;
#[path = "repository_rules/house.rs"]
mod house;
#[path = "repository_rules/loads.rs"]
mod loads;
#[path = "repository_rules/many_keys.rs"]
mod many_keys;

use std::collections::BTreeMap;

use house::{
    House, check, collection, delegation, first_refused, later, next, publication, refused, resigned, role, rules,
    sign, version,
};
use trust_tests::simulator::{TestKey, days, now};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::error::{MetadataError, Reason, RootSide};
use trust_tuf::json::Value;
use trust_tuf::model::{Hashes, Role, TargetInfo};
use trust_tuf::repository::{BinsRule, Checked, Publication, Refusal, RepositoryState, Rule, Rules};
use trust_tuf::{RoleName, RoleType, limits};

#[test]
fn a_first_publication_lists_its_roles_and_is_restored_from_its_files() {
    let house = House::new();
    let checked = RepositoryState::first(collection(), &house.first(), &rules()).unwrap();
    assert_eq!(checked.roots.len(), 1);
    assert_eq!(checked.changed, [RoleName::targets()]);
    assert_eq!(checked.state.meta().keys().collect::<Vec<_>>(), ["targets"]);
    let state = house.with_alice();
    let files: Vec<_> = state.roles().iter().map(|(n, r)| (n.clone(), r.bytes().to_vec())).collect();
    let again =
        RepositoryState::restore(collection(), state.root().bytes().clone(), files.clone(), state.tombstones().clone())
            .unwrap();
    assert_eq!(again.meta(), state.meta());
    // A stored file that was changed, lost, or that nobody delegates to is noticed.
    for (n, file) in ["alice", "targets"].into_iter().enumerate() {
        let mut damaged = files.clone();
        let bytes = &mut damaged[n].1;
        let at = bytes.len() - 3;
        bytes[at] = b'9';
        let error = RepositoryState::restore(collection(), state.root().bytes().clone(), damaged, BTreeMap::new());
        assert_eq!(error.unwrap_err().file, file);
    }
    let lost = files.iter().filter(|(n, _)| n.as_str() != "alice").cloned();
    let error =
        RepositoryState::restore(collection(), state.root().bytes().clone(), lost, BTreeMap::new()).unwrap_err();
    assert_eq!(error.rule, Rule::MissingRole("alice".into()));
    let more = files.iter().cloned().chain([(role("bob"), files[0].1.clone())]);
    let error =
        RepositoryState::restore(collection(), state.root().bytes().clone(), more, BTreeMap::new()).unwrap_err();
    assert_eq!(error, Refusal { file: "bob".into(), rule: Rule::Undelegated });
}

#[test]
fn incomplete_and_empty_publications_are_refused() {
    let house = House::new();
    first_refused(publication(&[], &[("targets", house.targets_file())]), "publication", Rule::Incomplete);
    first_refused(publication(&[house.root_file()], &[]), "publication", Rule::Incomplete);
    first_refused(Publication::default(), "publication", Rule::Incomplete);
    refused(check(&house.start(), &[], &[]), "publication", Rule::Empty);
}

#[test]
fn a_publication_of_too_many_files_is_refused_before_any_is_read() {
    let house = House::new();
    let limit = limits::FILES_PER_PUBLICATION;
    let roles = (0..=limit).map(|n| (role(&format!("r{n}")), Vec::new())).collect();
    let many = Publication { roots: vec![], roles };
    refused(house.start().check(&many, &rules()), "publication", Rule::TooMany { what: "files", limit });
}

#[test]
fn files_that_do_not_verify_are_refused_with_the_readers_reason() {
    let house = House::new();
    let stranger = TestKey::ed25519(99);
    let unsigned = Rule::Trust(Reason::Signatures { valid: 0, needed: 1 });
    first_refused(
        publication(&[sign(&house.root_draft(), &[&stranger])], &[("targets", house.targets_file())]),
        "root",
        unsigned.clone(),
    );
    let state = house.with_alice();
    let by_stranger = next(&state, "alice", &[&stranger], |_| {});
    refused(check(&state, &[], &[("alice", by_stranger)]), "alice", unsigned.clone());
    let by_alice = next(&state, "targets", &[&house.alice], |_| {});
    refused(check(&state, &[], &[("targets", by_alice)]), "targets", unsigned);
    for bytes in [Vec::new(), b"{}".to_vec(), b"null".to_vec(), vec![b'['; 100_000], state.root().bytes().to_vec()] {
        for refusal in
            [check(&state, &[], &[("alice", bytes.clone())]), check(&state, std::slice::from_ref(&bytes), &[])]
        {
            if bytes.len() == state.root().bytes().len() && refusal.as_ref().is_err_and(|r| r.file == "root") {
                continue;
            }
            assert!(matches!(refusal.unwrap_err().rule, Rule::Trust(Reason::Metadata(_))));
        }
    }
    let huge = vec![b' '; limits::PUBLISH_BYTES as usize + 1];
    let rule = Rule::Trust(Reason::Metadata(MetadataError::TooLarge { limit: limits::PUBLISH_BYTES }));
    refused(check(&state, &[], &[("alice", huge)]), "alice", rule);
}

#[test]
fn only_the_last_version_plus_one_is_published() {
    let house = House::new();
    let state = house.with_alice();
    let at =
        |v: u64, name: &str, key: &TestKey| resigned(state.roles()[&role(name)].bytes(), &[key], |d| d.set_version(v));
    for (name, last, key) in [("targets", 2, &house.targets), ("alice", 1, &house.alice)] {
        for wrong in [last, last + 2, last + 100, (1 << 31), (1 << 53), (1 << 63) - 1] {
            let rule = Rule::NextVersion { expected: version(last + 1), got: version(wrong) };
            refused(check(&state, &[], &[(name, at(wrong, name, key))]), name, rule);
        }
        check(&state, &[], &[(name, at(last + 1, name, key))]).unwrap();
    }
    for wrong in [1, 3, 1_000] {
        let root = resigned(state.root().bytes(), &[&house.root], |d| d.set_version(wrong));
        refused(check(&state, &[root], &[]), "root", Rule::NextVersion { expected: version(2), got: version(wrong) });
    }
    let second = |bytes: &[u8], key| resigned(bytes, &[key], |d| d.set_version(2));
    let one_two = Rule::NextVersion { expected: version(1), got: version(2) };
    first_refused(
        publication(&[second(&house.root_file(), &house.root)], &[("targets", house.targets_file())]),
        "root",
        one_two.clone(),
    );
    first_refused(
        publication(&[house.root_file()], &[("targets", second(&house.targets_file(), &house.targets))]),
        "targets",
        one_two,
    );
}

#[test]
fn versions_end_where_every_json_reader_is_exact() {
    let house = House::new();
    let last = limits::PUBLISH_VERSION;
    let root = house.root_file();
    let targets = resigned(&house.targets_file(), &[&house.targets], |d| d.set_version(last));
    let state =
        RepositoryState::restore(collection(), root, [(RoleName::targets(), targets)], BTreeMap::new()).unwrap();
    let next = house.next_targets(&state, |_| {});
    assert!(matches!(check(&state, &[], &[("targets", next)]).unwrap_err().rule, Rule::NextVersion { .. }));
}

#[test]
fn a_life_too_short_or_too_long_is_refused() {
    let house = House::new();
    let state = house.with_alice();
    for (life, good) in [
        (limits::LEAST_LIFE, true),
        (limits::MOST_LIFE, true),
        (limits::LEAST_LIFE - 1, false),
        (limits::MOST_LIFE + 1, false),
        (0, false),
        (-days(10), false),
    ] {
        let expires = now().plus_secs(life).unwrap();
        let root = house.next_root(&state, &[&house.root], |d| d.set_expires(expires));
        let targets = house.next_targets(&state, |d| d.set_expires(expires));
        let alice = next(&state, "alice", &[&house.alice], |d| d.set_expires(expires));
        for (file, roots, roles) in [
            ("root", vec![root], vec![]),
            ("targets", vec![], vec![("targets", targets)]),
            ("alice", vec![], vec![("alice", alice)]),
        ] {
            let result = check(&state, &roots, &roles);
            if good { drop(result.unwrap()) } else { refused(result, file, Rule::Life { expires }) }
        }
    }
}

#[test]
fn a_root_without_consistent_snapshots_is_refused() {
    let house = House::new();
    for value in [Some(false), None] {
        let root = resigned(&house.root_file(), &[&house.root], |d| match value {
            Some(value) => d.set(&["consistent_snapshot"], value),
            None => d.unset(&["consistent_snapshot"]),
        });
        first_refused(publication(&[root], &[("targets", house.targets_file())]), "root", Rule::ConsistentSnapshot);
    }
}

#[test]
fn unsigned_members_of_the_envelope_are_refused() {
    // TUF-01-001: one unsigned extra member must not brick a collection.
    let house = House::new();
    let state = house.with_alice();
    let with_extra = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen('{', "{\"x\":1,", 1).into_bytes();
    first_refused(
        publication(&[with_extra(house.root_file())], &[("targets", house.targets_file())]),
        "root",
        Rule::Envelope,
    );
    first_refused(
        publication(&[house.root_file()], &[("targets", with_extra(house.targets_file()))]),
        "targets",
        Rule::Envelope,
    );
    let root = with_extra(house.next_root(&state, &[&house.root], |_| {}));
    refused(check(&state, &[root], &[]), "root", Rule::Envelope);
    let alice = with_extra(next(&state, "alice", &[&house.alice], |_| {}));
    refused(check(&state, &[], &[("alice", alice)]), "alice", Rule::Envelope);
    // And a good publication passes afterwards.
    check(&state, &[], &[("alice", next(&state, "alice", &[&house.alice], |_| {}))]).unwrap();
}

#[test]
fn members_that_not_every_reader_ignores_are_refused() {
    // tough: the id of a key is the hash of its whole object; what it does not know in a delegation, it does not verify.
    let house = House::new();
    let state = house.with_alice();
    let rule = |name: &str| Rule::Member(name.to_owned());
    let (online, alice) = (house.timestamp.id(), house.alice.id());
    let in_root: [(&[&str], &str); 4] = [
        (&["keys", online, "x-owner"], "x-owner"),
        (&["keys", online, "keyid_hash_algorithms"], "keyid_hash_algorithms"),
        (&["keys", online, "keyval", "private"], "private"),
        (&["roles", "mirrors"], "mirrors"),
    ];
    for (path, name) in in_root {
        let stray = if name == "mirrors" {
            Value::object([("keyids", Value::Array(vec![])), ("threshold", Value::from(1_u64))])
        } else {
            Value::from("")
        };
        let root = resigned(state.root().bytes(), &[&house.root], |d| {
            d.set_version(2);
            d.set(path, stray.clone());
        });
        refused(check(&state, &[root], &[]), "root", rule(name));
        let first = resigned(&house.root_file(), &[&house.root], |d| d.set(path, stray));
        first_refused(publication(&[first], &[("targets", house.targets_file())]), "root", rule(name));
    }
    let in_targets: [(&[&str], &str); 3] = [
        (&["delegations", "keys", alice, "x-owner"], "x-owner"),
        (&["delegations", "keys", alice, "keyval", "x"], "x"),
        (&["delegations", "x-extra"], "x-extra"),
    ];
    for (path, name) in in_targets {
        let targets = resigned(&house.next_targets(&state, |_| {}), &[&house.targets], |d| d.set(path, ""));
        refused(check(&state, &[], &[("targets", targets)]), "targets", rule(name));
    }
    let targets = resigned(&house.next_targets(&state, |_| {}), &[&house.targets], |d| {
        let Value::Array(roles) = d.at(&["delegations", "roles"]) else { panic!() };
        roles[0].as_object_mut().unwrap().insert("x-extra".into(), Value::Null);
    });
    refused(check(&state, &[], &[("targets", targets)]), "targets", rule("x-extra"));
    // Elsewhere they are kept, as the specification wants.
    let targets = resigned(&house.next_targets(&state, |_| {}), &[&house.targets], |d| d.set(&["x-extra"], ""));
    check(&state, &[], &[("targets", targets)]).unwrap();
}

#[track_caller]
fn key_refused(result: Result<Checked, Refusal>, file: &str, id: &str) {
    match result.map(|_| ()).unwrap_err() {
        Refusal { file: f, rule: Rule::Key { id: i, .. } } => assert_eq!((f.as_str(), i.as_str()), (file, id)),
        other => panic!("{other}"),
    }
}

#[test]
fn keys_that_not_every_reader_reads_are_refused_in_the_root_and_in_delegations() {
    let house = House::new();
    let state = house.with_alice();
    let ed = TestKey::ed25519(50);
    let keyval = |v: &mut Value, f: &dyn Fn(&str) -> String| {
        let keyval = v.as_object_mut().unwrap().get_mut("keyval").unwrap().as_object_mut().unwrap();
        let public = f(keyval["public"].as_str().unwrap());
        keyval.insert("public".into(), Value::from(public));
    };
    let bad = [
        ed.with_id("my key"),
        ed.with_id(&ed.id().to_uppercase()),
        TestKey::p384(),
        TestKey::p256().respelled(|v| {
            drop(v.as_object_mut().unwrap().insert("keytype".into(), Value::from("ecdsa-sha2-nistp256")))
        }),
        ed.respelled(|v| keyval(v, &|p| p.to_uppercase())),
        ed.respelled(|v| keyval(v, &|_| "01".to_owned() + &"00".repeat(31))),
        ed.respelled(|v| keyval(v, &|_| "ed".to_owned() + &"ff".repeat(30) + "7f")),
        ed.respelled(|v| drop(v.as_object_mut().unwrap().insert("keytype".into(), Value::from("unknown")))),
    ];
    for key in &bad {
        for online in ["timestamp", "root"] {
            let root = resigned(state.root().bytes(), &[&house.root], |d| {
                d.set_version(2);
                d.set(&["keys", key.id()], key.value());
                let ids = vec![Value::from(house_key(&house, online).id()), Value::from(key.id())];
                d.set(&["roles", online, "keyids"], ids);
            });
            key_refused(check(&state, &[root], &[]), "root", key.id());
        }
        let targets = resigned(state.roles()[&RoleName::targets()].bytes(), &[&house.targets], |d| {
            d.set_version(3);
            d.set(&["delegations", "keys", key.id()], key.value());
            let Value::Array(roles) = d.at(&["delegations", "roles"]) else { panic!() };
            let ids = vec![Value::from(house.alice.id()), Value::from(key.id())];
            roles[0].as_object_mut().unwrap().insert("keyids".into(), Value::from(ids));
        });
        key_refused(check(&state, &[], &[("targets", targets)]), "targets", key.id());
    }
    // An id without a key: nobody can ever sign with it, and python-tuf refuses the file.
    let root = resigned(state.root().bytes(), &[&house.root], |d| {
        d.set_version(2);
        d.set(&["roles", "timestamp", "keyids"], vec![Value::from(house.timestamp.id()), Value::from("nobody")]);
    });
    key_refused(check(&state, &[root], &[]), "root", "nobody");
    // The kinds that we write pass.
    let root = house.next_root(&state, &[&house.root], |d| {
        d.set_role(RoleType::Timestamp, &[TestKey::p256().public(), TestKey::rsa().public(), ed.public()], 2);
    });
    check(&state, &[root], &[]).unwrap();
}

fn house_key<'a>(house: &'a House, role: &str) -> &'a TestKey {
    match role {
        "root" => &house.root,
        "timestamp" => &house.timestamp,
        _ => &house.snapshot,
    }
}

#[test]
fn one_key_in_two_spellings_is_refused() {
    let house = House::new();
    let state = house.start();
    let key = TestKey::p256();
    let other = key.respelled(|v| {
        let keyval = v.as_object_mut().unwrap().get_mut("keyval").unwrap().as_object_mut().unwrap();
        let pem = keyval["public"].as_str().unwrap().replace('\n', "\r\n");
        keyval.insert("public".into(), Value::from(pem));
    });
    let root = resigned(state.root().bytes(), &[&house.root], |d| {
        d.set_version(2);
        for k in [&key, &other] {
            d.set(&["keys", k.id()], k.value());
        }
        d.set(&["roles", "timestamp", "keyids"], vec![Value::from(key.id()), Value::from(other.id())]);
    });
    key_refused(check(&state, &[root], &[]), "root", other.id());
}

#[test]
fn a_threshold_above_the_number_of_keys_or_below_one_is_refused() {
    let house = House::new();
    let state = house.with_alice();
    for role in RoleType::ALL {
        let root = resigned(state.root().bytes(), &[&house.root], |d| {
            d.set_version(2);
            d.set(&["roles", role.as_str(), "threshold"], 2_u64);
        });
        let result = check(&state, &[root], &[]);
        let rule = if role == RoleType::Root {
            // The new root cannot meet its own threshold.
            Rule::Trust(Reason::RootSignatures { side: RootSide::New, valid: 1, needed: 2 })
        } else {
            Rule::ThresholdTooHigh { role: role.as_str().into(), threshold: 2, keys: 1 }
        };
        refused(result, "root", rule);
        let root = resigned(state.root().bytes(), &[&house.root], |d| {
            d.set_version(2);
            d.set(&["roles", role.as_str(), "threshold"], 0_u64);
        });
        let rule = Rule::Trust(Reason::Metadata(MetadataError::Threshold(role.as_str().into())));
        refused(check(&state, &[root], &[]), "root", rule);
    }
    for (threshold, good) in [(1_u64, true), (2, false), (u64::MAX, false)] {
        let key = TestKey::ed25519(60);
        let targets = house.next_targets(&state, |d| {
            d.set_delegation(&NewDelegation { threshold, ..delegation("bob", &[&key], &["web/*"]) });
        });
        let bob = sign(&Draft::targets(later()), &[&key]);
        let result = check(&state, &[], &[("targets", targets), ("bob", bob)]);
        match result {
            Ok(_) => assert!(good),
            // With too few signatures for it, or for its own sake: refused in any case.
            Err(e) => assert!(
                !good && matches!(e.rule, Rule::ThresholdTooHigh { .. } | Rule::Trust(Reason::Signatures { .. })),
                "{e}"
            ),
        }
    }
}

#[test]
fn a_key_is_online_or_offline_never_both() {
    let house = House::new();
    let state = house.with_alice();
    let online = |key: &TestKey| Rule::OnlineOffline(key.id().to_owned());
    for (role, key) in [
        (RoleType::Timestamp, &house.root),
        (RoleType::Snapshot, &house.root),
        (RoleType::Timestamp, &house.targets),
        (RoleType::Snapshot, &house.targets),
    ] {
        let root = house.next_root(&state, &[&house.root], |d| d.set_role(role, &[key.public()], 1));
        refused(check(&state, &[root], &[]), "root", online(key));
    }
    // A delegation to an online key.
    for key in [&house.timestamp, &house.snapshot] {
        let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("bob", &[key], &["web/*"])));
        let bob = sign(&Draft::targets(later()), &[key]);
        refused(check(&state, &[], &[("targets", targets), ("bob", bob)]), "targets", online(key));
    }
    // A root that makes a delegated key an online one: found in the file that delegates to it.
    let root = house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Timestamp, &[house.alice.public()], 1));
    refused(check(&state, &[root], &[]), "targets", online(&house.alice));
}

#[test]
fn example_keys_are_refused_outside_dev() {
    let house = House { alice: TestKey::ed25519(0xa3), ..House::new() };
    let rule = || Rule::ExampleKey(house.alice.id().to_owned());
    for role in RoleType::ALL {
        let mut draft = house.root_draft();
        draft.set_role(role, &[house.alice.public()], 1);
        let signers: Vec<&TestKey> = if role == RoleType::Root { vec![&house.alice] } else { vec![&house.root] };
        let first = publication(&[sign(&draft, &signers)], &[("targets", house.targets_file())]);
        refused(RepositoryState::first(collection(), &first, &rules()), "root", rule());
    }
    let state = house.start();
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    let alice = sign(&Draft::targets(later()), &[&house.alice]);
    let both = publication(&[], &[("targets", targets), ("alice", alice)]);
    refused(state.check(&both, &rules()), "targets", rule());
    state.check(&both, &Rules { allow_example_keys: true, ..rules() }).unwrap();
}

#[test]
fn role_names_outside_the_grammar_are_refused() {
    let house = House::new();
    let state = house.start();
    for name in ["../x", "A", "a/b", "", "1.root", "a b", "é", "a\u{0}", &"a".repeat(129)] {
        let targets = house.next_targets(&state, |d| d.set_delegation(&delegation(name, &[&house.alice], &["api/*"])));
        let rule = if name.is_empty() {
            Rule::Trust(Reason::Metadata(MetadataError::RoleName(String::new())))
        } else if name == "1.root" {
            Rule::MissingRole(name.into())
        } else {
            Rule::RoleName(name.into())
        };
        let result = check(&state, &[], &[("targets", targets)]);
        if name == "1.root" {
            // Either the grammar or the collision with a versioned root file: never accepted.
            assert!(result.is_err());
        } else {
            refused(result, "targets", rule);
        }
    }
}

#[test]
fn patterns_that_clients_read_differently_are_refused() {
    let house = House::new();
    let state = house.start();
    for (pattern, good) in [
        ("api/*", true),
        ("*", true),
        ("a?/v*", true),
        ("_policy/*", true),
        ("**", false),
        ("a/**", false),
        ("[ab]/*", false),
        ("a]", false),
        ("{a,b}/*", false),
        ("a\\*", false),
        ("/api/*", false),
        ("api//x", false),
        ("../*", false),
        ("api/", false),
        ("", false),
        ("é/*", false),
        ("a\n", false),
    ] {
        let targets =
            house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &[pattern])));
        let alice = sign(&Draft::targets(later()), &[&house.alice]);
        let result = check(&state, &[], &[("targets", targets), ("alice", alice)]);
        if good {
            result.unwrap();
        } else {
            refused(result, "targets", Rule::Pattern(pattern.escape_debug().to_string()));
        }
    }
}

#[test]
fn hash_bins_in_targets_are_refused() {
    let house = House::new();
    let state = house.start();
    let targets = resigned(&house.next_targets(&state, |_| {}), &[&house.targets], |d| {
        d.set(&["delegations", "keys", house.alice.id()], house.alice.value());
        d.set(&["delegations", "succinct_roles", "keyids"], vec![Value::from(house.alice.id())]);
        d.set(&["delegations", "succinct_roles", "threshold"], 1_u64);
        d.set(&["delegations", "succinct_roles", "bit_length"], 2_u64);
        d.set(&["delegations", "succinct_roles", "name_prefix"], "bin");
    });
    refused(check(&state, &[], &[("targets", targets)]), "targets", BinsRule::Place.into());
}

#[test]
fn one_role_has_one_delegator_and_no_cycle() {
    let house = House::new();
    let state = house.with_alice();
    let bob = TestKey::ed25519(61);
    // targets → alice → bob and targets → bob.
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("bob", &[&bob], &["api/*"])));
    let alice = next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("bob", &[&bob], &["api/*"])));
    let bobs = sign(&Draft::targets(later()), &[&bob]);
    let result = check(&state, &[], &[("targets", targets), ("alice", alice), ("bob", bobs)]);
    assert_eq!(result.unwrap_err().rule, Rule::TwoDelegators("bob".into()));
    // alice → alice, alice → bob → alice.
    let itself =
        next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    refused(check(&state, &[], &[("alice", itself)]), "alice", Rule::TwoDelegators("alice".into()));
    let alice = next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("bob", &[&bob], &["api/*"])));
    let mut back = Draft::targets(later());
    back.set_delegation(&delegation("alice", &[&house.alice], &["api/*"]));
    let result = check(&state, &[], &[("alice", alice), ("bob", sign(&back, &[&bob]))]);
    refused(result, "bob", Rule::TwoDelegators("alice".into()));
    // And a delegation to `targets`.
    let top = next(&state, "alice", &[&house.alice], |d| {
        d.set_delegation(&delegation("targets", &[&house.targets], &["api/*"]))
    });
    refused(
        check(&state, &[], &[("alice", top)]),
        "alice",
        Rule::Trust(Reason::Metadata(MetadataError::RoleName("targets".into()))),
    );
}

#[test]
fn a_delegation_comes_with_its_file_and_a_file_with_its_delegation() {
    let house = House::new();
    let state = house.start();
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    refused(check(&state, &[], &[("targets", targets)]), "targets", Rule::MissingRole("alice".into()));
    let alice = sign(&Draft::targets(later()), &[&house.alice]);
    refused(check(&state, &[], &[("alice", alice.clone())]), "alice", Rule::Undelegated);
    first_refused(
        publication(&[house.root_file()], &[("targets", house.targets_file()), ("alice", alice)]),
        "alice",
        Rule::Undelegated,
    );
}

#[test]
fn target_paths_that_readers_refuse_are_refused() {
    let house = House::new();
    let state = house.with_alice();
    let long = "a".repeat(1_025);
    for path in
        ["", "/v1", "../v1", "a/../../x", "a//b", "a/.", "a/", "a\\b", "a\u{0}", "a\nb", "é", "\u{202e}x", &long]
    {
        let targets = house.next_targets(&state, |d| d.set_target(path, &TargetInfo::of(b"x")));
        refused(
            check(&state, &[], &[("targets", targets)]),
            "targets",
            Rule::TargetPath(path.escape_debug().to_string()),
        );
    }
}

#[test]
fn a_target_outside_the_delegated_paths_is_refused_at_every_level() {
    let house = House::new();
    let state = house.with_alice();
    for path in ["web/v1", "api", "api/v1/x", "v1"] {
        let alice = next(&state, "alice", &[&house.alice], |d| d.set_target(path, &TargetInfo::of(b"x")));
        refused(check(&state, &[], &[("alice", alice)]), "alice", Rule::OutsidePaths(path.into()));
    }
    // Below alice the way from the top counts too, not only the last delegation.
    let bob = TestKey::ed25519(61);
    let alice = next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("bob", &[&bob], &["*/*"])));
    for (path, good) in [("api/v2", true), ("web/v2", false)] {
        let mut draft = Draft::targets(later());
        draft.set_target(path, &TargetInfo::of(b"x"));
        let result = check(&state, &[], &[("alice", alice.clone()), ("bob", sign(&draft, &[&bob]))]);
        if good { drop(result.unwrap()) } else { refused(result, "bob", Rule::OutsidePaths(path.into())) }
    }
}

#[test]
fn a_delegation_that_is_narrowed_must_come_with_files_that_fit_it() {
    // A role with a target outside its paths makes tough refuse the whole repository.
    let house = House::new();
    let state = house.with_alice();
    let narrowed = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["web/*"])));
    refused(check(&state, &[], &[("targets", narrowed.clone())]), "alice", Rule::OutsidePaths("api/v1".into()));
    let alice = next(&state, "alice", &[&house.alice], |d| {
        d.remove_target("api/v1");
        d.set_target("web/v1", &TargetInfo::of(b"x"));
    });
    check(&state, &[], &[("targets", narrowed), ("alice", alice)]).unwrap();
    // One level down as well: bob's targets fit alice's delegation, but no longer the one of alice.
    let bob = TestKey::ed25519(61);
    let alice = next(&state, "alice", &[&house.alice], |d| {
        d.remove_target("api/v1");
        d.set_delegation(&delegation("bob", &[&bob], &["*/*"]));
    });
    let mut draft = Draft::targets(later());
    draft.set_target("api/v2", &TargetInfo::of(b"x"));
    let state = check(&state, &[], &[("alice", alice), ("bob", sign(&draft, &[&bob]))]).unwrap().state;
    let narrowed = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["web/*"])));
    refused(check(&state, &[], &[("targets", narrowed)]), "bob", Rule::OutsidePaths("api/v2".into()));
}

#[test]
fn reserved_targets_are_refused_outside_their_role() {
    let house = House::new();
    let state = house.start();
    let wide = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["*/*"])));
    for path in ["_policy/main.cedar", "_labels/x.json", "_exceptions/x.json", "_revoked/x", "_unknown/x"] {
        let mut draft = Draft::targets(later());
        draft.set_target(path, &TargetInfo::of(b"x"));
        let result = check(&state, &[], &[("targets", wide.clone()), ("alice", sign(&draft, &[&house.alice]))]);
        refused(result, "alice", Rule::Reserved { path: path.into(), role: "targets".into() });
    }
    // A plain tag with an underscore is no reserved target.
    let plain = house.next_targets(&state, |d| d.set_target("_x", &TargetInfo::of(b"x")));
    check(&state, &[], &[("targets", plain)]).unwrap();
    // Once delegated, it counts in that role and no longer in targets.
    let policy = TestKey::ed25519(62);
    let delegated = |d: &mut Draft| {
        d.set_delegation(&NewDelegation { terminating: true, ..delegation("_policy", &[&policy], &["_policy/*"]) })
    };
    let mut draft = Draft::targets(later());
    draft.set_target("_policy/main.cedar", &TargetInfo::of(b"x"));
    let own = sign(&draft, &[&policy]);
    let targets = house.next_targets(&state, |d| {
        delegated(d);
        d.set_target("_policy/old.cedar", &TargetInfo::of(b"x"));
    });
    let rule = Rule::Reserved { path: "_policy/old.cedar".into(), role: "_policy".into() };
    refused(check(&state, &[], &[("targets", targets), ("_policy", own.clone())]), "targets", rule);
    check(&state, &[], &[("targets", house.next_targets(&state, delegated)), ("_policy", own)]).unwrap();
}

#[test]
fn a_target_without_sha256_or_with_too_many_facts_is_refused() {
    let house = House::new();
    let state = house.with_alice();
    let sha512 = TargetInfo { length: 1, hashes: Hashes { sha256: None, sha512: Some([7; 64]) }, custom: None };
    let alice = next(&state, "alice", &[&house.alice], |d| d.set_target("api/v2", &sha512));
    refused(check(&state, &[], &[("alice", alice)]), "alice", Rule::NoSha256("api/v2".into()));
    for (size, good) in [(limits::CUSTOM_BYTES - 8, true), (limits::CUSTOM_BYTES - 7, false)] {
        let custom = Some(Value::object([("a", Value::from("x".repeat(size)))]));
        let facts = TargetInfo { custom, ..TargetInfo::of(b"x") };
        let alice = next(&state, "alice", &[&house.alice], |d| d.set_target("api/v2", &facts));
        let result = check(&state, &[], &[("alice", alice)]);
        if good { drop(result.unwrap()) } else { refused(result, "alice", Rule::Custom("api/v2".into())) }
    }
}

#[test]
fn what_a_change_of_keys_makes_invalid_comes_with_its_next_version() {
    let house = House::new();
    let state = house.with_alice();
    let new = TestKey::ed25519(70);
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&new], &["api/*"])));
    let lacking = Rule::Trust(Reason::Signatures { valid: 0, needed: 1 });
    refused(check(&state, &[], &[("targets", targets.clone())]), "alice", lacking.clone());
    // Signed again, by the old key or under the old number: still not.
    let by_old = next(&state, "alice", &[&house.alice], |_| {});
    refused(check(&state, &[], &[("targets", targets.clone()), ("alice", by_old)]), "alice", lacking.clone());
    let same = resigned(state.roles()[&role("alice")].bytes(), &[&new], |_| {});
    let rule = Rule::NextVersion { expected: version(2), got: version(1) };
    refused(check(&state, &[], &[("targets", targets.clone()), ("alice", same)]), "alice", rule);
    let by_new = next(&state, "alice", &[&new], |_| {});
    let changed = check(&state, &[], &[("targets", targets), ("alice", by_new)]).unwrap();
    assert!(changed.undelegated.is_empty());
    // The keys of targets itself, by a root in the same publication.
    let root = house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Targets, &[new.public()], 1));
    refused(check(&state, std::slice::from_ref(&root), &[]), "targets", lacking);
    let targets = next(&state, "targets", &[&new], |_| {});
    let state = check(&state, &[root], &[("targets", targets)]).unwrap().state;
    assert_eq!(state.root().version(), version(2));
    // A threshold that is raised to two: the same.
    let targets = next(&state, "targets", &[&new], |d| {
        d.set_delegation(&NewDelegation { threshold: 2, ..delegation("alice", &[&house.alice, &new], &["api/*"]) });
    });
    let rule = Rule::Trust(Reason::Signatures { valid: 1, needed: 2 });
    refused(check(&state, &[], &[("targets", targets.clone())]), "alice", rule);
    let both = next(&state, "alice", &[&house.alice, &new], |_| {});
    check(&state, &[], &[("targets", targets), ("alice", both)]).unwrap();
}

#[test]
fn a_key_that_is_added_invalidates_nothing() {
    let house = House::new();
    let state = house.with_alice();
    let second = TestKey::ed25519(71);
    let targets =
        house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice, &second], &["api/*"])));
    let state = check(&state, &[], &[("targets", targets)]).unwrap().state;
    check(&state, &[], &[("alice", next(&state, "alice", &[&second], |_| {}))]).unwrap();
}

#[test]
fn a_new_root_needs_both_thresholds_and_several_roots_are_a_chain() {
    let house = House::new();
    let state = house.with_alice();
    let new = TestKey::ed25519(72);
    let rotate = |d: &mut Draft| d.set_role(RoleType::Root, &[new.public()], 1);
    for (keys, side) in [(vec![&house.root], RootSide::New), (vec![&new], RootSide::Old)] {
        let root = house.next_root(&state, &keys, rotate);
        refused(check(&state, &[root], &[]), "root", Rule::Trust(Reason::RootSignatures { side, valid: 0, needed: 1 }));
    }
    let two = house.next_root(&state, &[&house.root, &new], rotate);
    let mut draft = Draft::next(&two, later()).unwrap();
    draft.set_role(RoleType::Timestamp, &[TestKey::ed25519(73).public()], 1);
    let three = sign(&draft, &[&new]);
    let checked = check(&state, &[two.clone(), three.clone()], &[]).unwrap();
    assert_eq!(checked.roots.iter().map(|r| r.version().get()).collect::<Vec<_>>(), [2, 3]);
    // In the other order, or with a gap, it is none.
    assert!(check(&state, &[three.clone(), two], &[]).is_err());
    assert!(check(&state, &[three], &[]).is_err());
}

#[test]
fn an_undelegated_role_stays_as_a_tombstone_and_goes_on_where_it_stopped() {
    let house = House::new();
    let state = house.with_alice();
    let state = check(&state, &[], &[("alice", next(&state, "alice", &[&house.alice], |_| {}))]).unwrap().state;
    let before = state.meta()["alice"].clone();
    let gone = house.next_targets(&state, |d| assert!(d.remove_delegation("alice")));
    let checked = check(&state, &[], &[("targets", gone)]).unwrap();
    assert_eq!(checked.undelegated, [role("alice")]);
    let state = checked.state;
    assert!(!state.roles().contains_key(&role("alice")));
    assert_eq!(state.tombstones()["alice"], before);
    assert_eq!(state.meta()["alice"], before, "clients refuse a snapshot that drops a role");
    // Its old key signs nothing any more.
    let after = resigned(&house.targets_file(), &[&house.alice], |d| d.set_version(3));
    refused(check(&state, &[], &[("alice", after)]), "alice", Rule::Undelegated);
    // Other publications keep the tombstone.
    let state = check(&state, &[], &[("targets", house.next_targets(&state, |_| {}))]).unwrap().state;
    assert_eq!(state.tombstones()["alice"], before);
    // Delegated again, with another key: the versions go on.
    let new = TestKey::ed25519(74);
    let again = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&new], &["api/*"])));
    let at = |v: u64| resigned(&sign(&Draft::targets(later()), &[&new]), &[&new], |d| d.set_version(v));
    for wrong in [1, 2, 4] {
        let rule = Rule::NextVersion { expected: version(3), got: version(wrong) };
        refused(check(&state, &[], &[("targets", again.clone()), ("alice", at(wrong))]), "alice", rule);
    }
    let state = check(&state, &[], &[("targets", again), ("alice", at(3))]).unwrap().state;
    assert!(state.tombstones().is_empty());
    assert_eq!(state.meta()["alice"].version, version(3));
}

#[test]
fn the_roles_below_an_undelegated_one_are_tombstones_too() {
    let house = House::new();
    let state = house.with_alice();
    let bob = TestKey::ed25519(75);
    let alice = next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("bob", &[&bob], &["api/*"])));
    let state =
        check(&state, &[], &[("alice", alice), ("bob", sign(&Draft::targets(later()), &[&bob]))]).unwrap().state;
    let gone = house.next_targets(&state, |d| assert!(d.remove_delegation("alice")));
    let checked = check(&state, &[], &[("targets", gone)]).unwrap();
    assert_eq!(checked.undelegated, [role("alice"), role("bob")]);
    assert_eq!(checked.state.tombstones().keys().collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn tombstones_go_when_no_snapshot_key_is_kept_and_only_then() {
    let house = House::new();
    let state = house.with_alice();
    let gone = house.next_targets(&state, |d| assert!(d.remove_delegation("alice")));
    let state = check(&state, &[], &[("targets", gone)]).unwrap().state;
    let new = TestKey::ed25519(76);
    let rotated = |keys: &[&TestKey]| {
        let keys: Vec<_> = keys.iter().map(|k| k.public()).collect();
        house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Snapshot, &keys, 1))
    };
    // Two steps: both keys are valid for a while, and clients keep their floor.
    let overlap = check(&state, &[rotated(&[&house.snapshot, &new])], &[]).unwrap().state;
    assert!(overlap.tombstones().contains_key("alice"));
    // Another role's key is nothing to the snapshot's floor.
    let root = house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Timestamp, &[new.public()], 1));
    assert!(check(&state, &[root], &[]).unwrap().state.tombstones().contains_key("alice"));
    // Emergency: at once. Clients drop the floor; the role may begin at 1 again.
    let cleared = check(&state, &[rotated(&[&new])], &[]).unwrap().state;
    assert!(cleared.tombstones().is_empty());
    assert!(!cleared.meta().contains_key("alice"));
    let targets = house.next_targets(&cleared, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    check(&cleared, &[], &[("targets", targets), ("alice", sign(&Draft::targets(later()), &[&house.alice]))]).unwrap();
}
