//! Attacks on delegations: order, termination, cycles, diamonds, names, paths (tuf.md 2).

use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Failure, Fault, Repository, TestKey, WireError, World, refused};
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::Value;
use trust_tuf::limits;
use trust_tuf::lookup::LookupError;

fn one(n: u64) -> trust_tuf::Version {
    World::version(n)
}

/// A key of its own for each role of a graph.
fn key(name: &str) -> TestKey {
    TestKey::ed25519(name.bytes().fold(37, |sum: u8, b| sum.wrapping_mul(31).wrapping_add(b)) | 0x80)
}

/// What makes a role bad.
type Spoil = fn(&mut World);

/// One delegation of a graph: from, to, pattern, terminating.
type Edge = (&'static str, &'static str, &'static str, bool);

fn graph(w: &mut World, edges: &[Edge]) {
    let mut repo = Repository::new();
    for (from, to, pattern, terminating) in edges {
        repo.delegate(from, &Delegate { terminating: *terminating, ..Delegate::new(to, &key(to), &[pattern]) });
    }
    repo.publish();
    w.restart(repo);
}

/// Looks up a path that nobody lists, and gives the roles in the order in which they were visited.
fn order(w: &mut World, path: &str) -> Vec<String> {
    let answer = w.lookup(path).expect("the graph is fine");
    assert_eq!(answer.role(), None);
    answer.visited().into_iter().map(str::to_owned).collect()
}

attacks! {
    fn roles_are_visited_in_pre_order_of_appearance(w) {
        // The graphs of the conformance suite, and some more.
        let cases: &[(&str, &[Edge], &[&str])] = &[
            ("basic", &[("targets", "A", "*", false)], &["targets", "A"]),
            ("two levels", &[("targets", "A", "*", false), ("targets", "B", "*", false), ("B", "C", "*", false)], &["targets", "A", "B", "C"]),
            (
                "two levels, pre-order",
                &[("targets", "A", "*", false), ("targets", "B", "*", false), ("A", "C", "*", false), ("C", "D", "*", false), ("B", "E", "*", false)],
                &["targets", "A", "C", "D", "B", "E"],
            ),
            (
                "three levels, two terminating",
                &[
                    ("targets", "A", "*", false), ("targets", "B", "*", false), ("B", "C", "*", false),
                    ("C", "D", "*", true), ("C", "E", "*", false), ("targets", "F", "*", false),
                ],
                &["targets", "A", "B", "C", "D"],
            ),
            (
                "terminating first",
                &[("targets", "A", "*", true), ("targets", "B", "*", false), ("A", "C", "*", false)],
                &["targets", "A", "C"],
            ),
            (
                "terminating that does not match does not terminate",
                &[("targets", "A", "other", true), ("targets", "B", "*", false)],
                &["targets", "B"],
            ),
            (
                "a sibling before the terminating one is searched with its subtree",
                &[("targets", "A", "*", false), ("A", "B", "*", false), ("A", "C", "*", true), ("A", "D", "*", false), ("B", "E", "*", false), ("targets", "F", "*", false)],
                &["targets", "A", "B", "E", "C"],
            ),
            (
                "terminating below drops what waits at its ancestors",
                &[("targets", "A", "*", false), ("A", "B", "*", false), ("A", "D", "*", false), ("B", "C", "*", true)],
                &["targets", "A", "B", "C"],
            ),
            ("cycle of two", &[("targets", "A", "*", false), ("A", "B", "*", false), ("B", "A", "*", false)], &["targets", "A", "B"]),
            ("cycle of one", &[("targets", "A", "*", false), ("A", "A", "*", false)], &["targets", "A"]),
            (
                "cycle, with a role behind it",
                &[("targets", "A", "*", false), ("targets", "B", "*", false), ("A", "B", "*", false), ("B", "A", "*", false), ("B", "C", "*", false)],
                &["targets", "A", "B", "C"],
            ),
            (
                "diamond",
                &[("targets", "A", "*", false), ("targets", "B", "*", false), ("A", "C", "*", false), ("B", "C", "*", false)],
                &["targets", "A", "C", "B"],
            ),
            (
                "only what matches is followed",
                &[("targets", "A", "x/*", false), ("targets", "B", "*", false), ("B", "C", "x*", false), ("B", "D", "y*", false)],
                &["targets", "B", "C"],
            ),
        ];
        for (name, edges, expected) in cases {
            graph(w, edges);
            assert_eq!(order(w, "x1"), *expected, "{name}");
            // Again, with everything on disk.
            assert_eq!(order(w, "x1"), *expected, "{name}, warm");
        }
    }

    fn a_role_off_the_path_is_never_asked_for(w) {
        graph(w, &[("targets", "A", "a/*", false), ("targets", "B", "b/*", false), ("targets", "C", "c/*", false)]);
        w.repo.wire.take_requests();
        assert_eq!(order(w, "b/x"), ["targets", "B"]);
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json", "1.B.json"]);
    }

    fn cve_2024_47534_the_earlier_role_wins_also_one_level_down(w) {
        // CVE-2024-47534: the same path, other bytes in two roles.
        graph(w, &[("targets", "A", "*", false), ("targets", "B", "*", false), ("A", "C", "*", false), ("A", "D", "*", false)]);
        for role in ["B", "D", "C"] {
            w.repo.add_target(role, "x", role.as_bytes());
            w.repo.role(role).bump();
            w.repo.publish();
            let answer = w.lookup("x").unwrap();
            assert_eq!(answer.role(), Some(role));
            assert_eq!(answer.outcome.hit().unwrap().target.length, 1);
        }
        assert_eq!(w.lookup("x").unwrap().signers(), ["A", "B"], "C counts for A, and D adds nobody");
        w.repo.add_target("targets", "x", b"top");
        w.repo.role("targets").bump();
        w.repo.publish();
        assert_eq!(w.lookup("x").unwrap().signers(), ["targets", "A", "B"]);
    }

    fn cve_2025_2886_a_target_behind_a_terminating_role_is_not_found(w) {
        // CVE-2025-2886.
        graph(w, &[("targets", "A", "*", true), ("targets", "B", "*", false)]);
        w.repo.add_target("B", "x", b"x");
        w.repo.role("B").bump();
        w.repo.publish();
        assert_eq!(order(w, "x"), ["targets", "A"]);
        // Nested: the terminating role below A ends the search for B too.
        graph(w, &[("targets", "A", "*", false), ("A", "C", "*", true), ("targets", "B", "*", false)]);
        w.repo.add_target("B", "x", b"x");
        w.repo.role("B").bump();
        w.repo.publish();
        assert_eq!(order(w, "x"), ["targets", "A", "C"]);
    }

    fn a_role_that_lists_a_path_it_was_not_delegated_is_not_believed_and_harms_nobody(w) {
        graph(w, &[("targets", "A", "a/*", false), ("A", "C", "*/*", false), ("targets", "B", "b/*", false)]);
        for role in ["A", "C"] {
            w.repo.add_target(role, "b/x", b"evil");
            w.repo.add_target(role, "a/x", b"good");
            w.repo.role(role).bump();
        }
        w.repo.publish();
        assert_eq!(order(w, "b/x"), ["targets", "B"]);
        assert_eq!(w.lookup("a/x").unwrap().role(), Some("A"));
    }

    fn long_chains_end_at_the_limit_and_say_so(w) {
        let mut repo = Repository::new();
        let mut from = "targets".to_owned();
        for n in 0..40 {
            let name = format!("r{n}");
            repo.delegate(&from, &Delegate::new(&name, &TestKey::ed25519(200), &["*"]));
            from = name;
        }
        repo.add_target("r30", "near", b"");
        repo.add_target("r31", "far", b"");
        repo.publish();
        w.restart(repo);
        assert_eq!(w.lookup("near").unwrap().visited().len(), limits::ROLES_PER_LOOKUP);
        let limit = limits::ROLES_PER_LOOKUP;
        assert_eq!(w.lookup("far").unwrap_err(), Failure::Undecided(LookupError::Limit { limit }));
    }

    fn a_wide_role_ends_at_the_limit_too(w) {
        let mut repo = Repository::new();
        for n in 0..40 {
            repo.delegate("targets", &Delegate::new(&format!("r{n}"), &TestKey::ed25519(200), &["*"]));
        }
        repo.add_target("r39", "x", b"");
        repo.publish();
        w.restart(repo);
        assert!(matches!(w.lookup("x").unwrap_err(), Failure::Undecided(LookupError::Limit { .. })));
    }

    fn go_tuf_pr_652_a_role_that_is_not_in_the_snapshot_is_not_asked_for_and_decides_nothing(w) {
        // go-tuf PR 652.
        graph(w, &[("targets", "A", "*", false), ("targets", "B", "*", false)]);
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key("A"), &["*"]));
        repo.add_target("A", "x", b"");
        repo.publish();
        repo.role("snapshot").unset(&["meta", "A.json"]);
        repo.write_snapshot();
        repo.write("timestamp");
        w.restart(repo);
        w.refreshed();
        w.repo.wire.take_requests();
        assert_eq!(refused(w.lookup("x")), ("A".into(), Reason::NotInSnapshot));
        assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
    }

    fn cve_2026_6967_a_bad_role_does_not_promote_the_one_behind_it(w) {
        // CVE-2026-6967: delegated expiry, hash, length, version, signature, type, each alone.
        let cases: &[(&str, Spoil)] = &[
            ("expired", |w| { let now = w.now; w.repo.role("A").set_expires(now); w.repo.role("A").bump(); w.repo.publish() }),
            ("another key", |w| { w.repo.role("A").signers = vec![key("B")]; w.repo.role("A").bump(); w.repo.publish() }),
            ("unsigned", |w| { w.repo.role("A").signers.clear(); w.repo.role("A").bump(); w.repo.publish() }),
            ("type", |w| { w.repo.role("A").set(&["_type"], "snapshot"); w.repo.role("A").bump(); w.repo.publish() }),
            ("hash", |w| {
                let mut bytes = w.repo.wire.file("1.A.json").unwrap();
                bytes.swap(2, 3);
                w.repo.wire.fault("1.A.json", Fault::Bytes(bytes));
            }),
            ("length", |w| {
                let bytes = w.repo.wire.file("1.A.json").unwrap();
                w.repo.wire.fault("1.A.json", Fault::Bytes(bytes[1..].to_vec()));
            }),
            ("not JSON", |w| {
                w.repo.hashes = false;
                w.repo.publish();
                w.repo.wire.fault("1.A.json", Fault::Bytes(b"{".to_vec()));
            }),
            ("version", |w| {
                w.repo.hashes = false;
                w.repo.publish();
                w.repo.role("A").bump();
                let bytes = w.repo.role("A").bytes();
                w.repo.wire.fault("1.A.json", Fault::Bytes(bytes));
            }),
            ("404", |w| w.repo.wire.fault("1.A.json", Fault::Status(404))),
            ("500", |w| w.repo.wire.fault("1.A.json", Fault::Status(500))),
            ("reset", |w| w.repo.wire.fault("1.A.json", Fault::Reset)),
        ];
        for (name, spoil) in cases {
            graph(w, &[("targets", "A", "*", false), ("targets", "B", "*", false), ("targets", "C", "c/*", false)]);
            w.repo.add_target("B", "x", b"B");
            w.repo.add_target("C", "c/x", b"C");
            w.repo.publish_same_versions();
            spoil(w);
            let failure = w.lookup("x").expect_err(name);
            match failure {
                Failure::Fetch { ref file, error } => {
                    assert_eq!(file, "1.A.json", "{name}");
                    assert!(matches!(error, WireError::NotFound | WireError::Status(500) | WireError::Reset), "{name}");
                }
                other => assert_eq!(other.refusal().map(|(role, _)| role), Some("A"), "{name}"),
            }
            // A search whose path does not touch that role goes on, and nothing of A was kept.
            assert_eq!(w.lookup("c/x").unwrap().role(), Some("C"), "{name}");
            assert!(!w.client.files().contains_key("A.json"), "{name}");
        }
    }

    fn a_bad_role_after_the_hit_adds_nothing_and_spoils_nothing(w) {
        graph(w, &[("targets", "A", "*", false), ("targets", "B", "*", false), ("targets", "C", "*", false)]);
        for role in ["A", "B", "C"] {
            w.repo.add_target(role, "x", b"x");
        }
        w.repo.role("B").signers = vec![key("A")];
        w.repo.publish_same_versions();
        let answer = w.lookup("x").unwrap();
        assert_eq!(answer.signers(), ["A", "C"]);
        assert_eq!(answer.outcome.unusable.len(), 1);
        assert_eq!(answer.outcome.unusable[0].signer, "B");
        // Unreachable rather than bad: the same.
        w.repo.wire.fault("1.C.json", Fault::Status(500));
        w.new_client(w.repo.pinned.clone());
        let answer = w.lookup("x").unwrap();
        assert_eq!(answer.signers(), ["A"]);
        assert_eq!(answer.outcome.unusable.iter().map(|u| u.signer.as_str()).collect::<Vec<_>>(), ["B", "C"]);
    }

    fn a_revoked_delegation_key_is_useless_on_a_warm_and_on_a_cold_client(w) {
        graph(w, &[("targets", "A", "*", false)]);
        w.repo.add_target("A", "x", b"x");
        w.repo.publish_same_versions();
        assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
        // The delegation moves to another key; A's file stays what it was, and the warm client has it on disk.
        w.repo.delegations("targets").clear();
        w.repo.delegate("targets", &Delegate::new("A", &key("new"), &["*"]));
        w.repo.role("targets").bump();
        w.repo.publish();
        assert_eq!(refused(w.lookup("x")), ("A".into(), Reason::Signatures { valid: 0, needed: 1 }));
        w.new_client(w.repo.pinned.clone());
        assert_eq!(refused(w.lookup("x")), ("A".into(), Reason::Signatures { valid: 0, needed: 1 }));
    }

    fn tob_sigstore_14_a_role_verified_under_one_delegator_is_not_trusted_under_another(w) {
        // TOB-SIGSTORE-14, spec issues 19 and 321: both orders, cold and warm. C is good under A, not under B.
        for good_first in [true, false] {
            let mut repo = Repository::new();
            for name in if good_first { ["A", "B"] } else { ["B", "A"] } {
                repo.delegate("targets", &Delegate::new(name, &key(name), &[&format!("{}*", name.to_lowercase())]));
            }
            repo.delegate("A", &Delegate::new("C", &key("C"), &["*"]));
            repo.delegate("B", &Delegate::new("C", &key("stranger"), &["*"]));
            repo.add_target("C", "a1", b"x");
            repo.add_target("C", "b1", b"x");
            repo.publish();
            w.restart(repo);
            let under_b = ("C".to_owned(), Reason::Signatures { valid: 0, needed: 1 });
            // Several look-ups in one trusted set: what the first one loaded is no proof for the second one.
            for paths in [["a1", "b1", "a1"], ["b1", "a1", "b1"]] {
                w.new_client(w.repo.pinned.clone());
                for (path, answer) in paths.iter().zip(w.client.lookups(w.now, &paths).unwrap()) {
                    match *path {
                        "a1" => assert_eq!(answer.unwrap().role(), Some("C")),
                        _ => assert_eq!(refused(answer), under_b),
                    }
                }
            }
            for _ in 0..2 {
                if good_first {
                    assert_eq!(w.lookup("a1").unwrap().role(), Some("C"));
                    assert_eq!(refused(w.lookup("b1")), under_b);
                } else {
                    assert_eq!(refused(w.lookup("b1")), under_b);
                    assert_eq!(w.lookup("a1").unwrap().role(), Some("C"));
                }
            }
        }
    }

    fn a_role_verified_under_one_delegator_is_verified_again_within_one_look_up(w) {
        // targets → B → C (bad) comes before targets → A → C (good): A's C must not be promoted.
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("B", &key("B"), &["*"]));
        repo.delegate("targets", &Delegate::new("A", &key("A"), &["*"]));
        repo.delegate("B", &Delegate::new("C", &key("stranger"), &["*"]));
        repo.delegate("A", &Delegate::new("C", &key("C"), &["*"]));
        repo.role("C").signers = vec![key("C")];
        repo.add_target("C", "x", b"x");
        repo.publish();
        w.restart(repo);
        assert_eq!(refused(w.lookup("x")), ("C".into(), Reason::Signatures { valid: 0, needed: 1 }));
    }

    fn an_old_delegated_file_under_the_new_number_is_refused(w) {
        w.repo.hashes = false;
        graph(w, &[("targets", "A", "*", false)]);
        w.repo.hashes = false;
        w.repo.add_target("A", "x", b"x");
        w.repo.publish();
        let old = w.repo.wire.file("1.A.json").unwrap();
        assert_eq!(w.lookup("x").unwrap().role(), Some("A"));
        w.repo.role("A").unset(&["targets", "x"]);
        w.repo.role("A").bump();
        w.repo.publish();
        w.repo.wire.put("2.A.json", old);
        assert_eq!(refused(w.lookup("x")), ("A".into(), Reason::WrongVersion { expected: one(2), got: one(1) }));
    }

    fn ghsa_77hh_43cm_v8j6_delegated_roles_with_top_level_or_empty_names_spoil_the_delegator(w) {
        // CVE-2021-41131, GHSA-77hh-43cm-v8j6.
        for name in ["root", "timestamp", "snapshot", "targets", ""] {
            let mut repo = Repository::new();
            let mut delegate = Delegate::new("A", &key("A"), &["*"]).to_owned();
            delegate.name = "A".into();
            repo.delegate("targets", &delegate);
            repo.delegations("targets")[0].as_object_mut().unwrap().insert("name".into(), Value::from(name));
            repo.publish();
            w.restart(repo);
            assert_eq!(w.malformed("targets"), MetadataError::RoleName(name.into()));
        }
    }

    fn cve_2021_41131_odd_role_names_are_asked_for_encoded_and_stay_in_their_folder(w) {
        for (name, file) in [
            ("?", "1.%3F.json"), ("#", "1.%23.json"), ("/delegatedrole", "1.%2Fdelegatedrole.json"),
            ("../delegatedrole", "1...%2Fdelegatedrole.json"), ("a b", "1.a%20b.json"), ("é", "1.%C3%A9.json"),
            ("..", "1....json"), ("a\u{0}b", "1.a%00b.json"), ("CON", "1.CON.json"),
        ] {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new(name, &key(name), &["*"]));
            repo.add_target(name, "x", b"x");
            repo.publish();
            w.restart(repo);
            assert_eq!(w.lookup("x").unwrap().role(), Some(name), "{name:?}");
            assert_eq!(w.repo.wire.take_requests().last().map(String::as_str), Some(file));
        }
    }

    fn a_role_name_twice_in_one_role_is_refused(w) {
        graph(w, &[("targets", "A", "a", false), ("targets", "A", "b", false)]);
        assert_eq!(w.malformed("targets"), MetadataError::RoleName("A".into()));
    }

    fn both_or_neither_of_paths_and_hash_prefixes_are_refused(w) {
        for change in [
            (|d| { d.insert("path_hash_prefixes".into(), Value::Array(vec![])); }) as fn(&mut std::collections::BTreeMap<String, Value>),
            |d| { d.remove("paths"); },
        ] {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate::new("A", &key("A"), &["*"]));
            change(repo.delegations("targets")[0].as_object_mut().unwrap());
            repo.publish();
            w.restart(repo);
            assert_eq!(w.malformed("targets"), MetadataError::Exclusive("A".into()));
        }
    }

    fn an_empty_list_of_paths_authorises_nothing(w) {
        for by in ["paths", "path_hash_prefixes"] {
            let mut repo = Repository::new();
            repo.delegate("targets", &Delegate { by, paths: vec![], ..Delegate::new("A", &key("A"), &[]) });
            repo.add_target("A", "x", b"x");
            repo.publish();
            w.restart(repo);
            assert_eq!(order(w, "x"), ["targets"]);
        }
    }

    fn a_pattern_with_a_bracket_ends_the_look_up_and_promotes_nobody(w) {
        for from in ["targets", "B"] {
            let mut repo = Repository::new();
            if from == "B" {
                repo.delegate("targets", &Delegate::new("B", &key("B"), &["*"]));
            }
            repo.delegate(from, &Delegate::new("A", &key("A"), &["[xy]1"]));
            repo.delegate(from, &Delegate::new("C", &key("C"), &["*"]));
            repo.add_target("C", "x1", b"C");
            repo.publish();
            w.restart(repo);
            assert_eq!(refused(w.lookup("x1")), (from.into(), Reason::Pattern("[xy]1".into())));
        }
    }

    fn patterns_stop_at_slashes_and_know_no_double_star_and_no_braces(w) {
        let mut repo = Repository::new();
        for (n, pattern) in ["a/*", "**", "b/**", "{c,d}", "e?", "f.*.g"].into_iter().enumerate() {
            repo.delegate("targets", &Delegate::new(&format!("r{n}"), &TestKey::ed25519(200), &[pattern]));
        }
        repo.publish();
        w.restart(repo);
        for (path, roles) in [
            ("a/x", vec!["targets", "r0"]), ("a/x/y", vec!["targets"]), ("a", vec!["targets", "r1"]),
            ("b/x", vec!["targets", "r2"]), ("b/x/y", vec!["targets"]), ("c", vec!["targets", "r1"]),
            ("{c,d}", vec!["targets", "r1", "r3"]), ("ee", vec!["targets", "r1", "r4"]), ("eé", vec!["targets", "r1", "r4"]),
            ("f.x.g", vec!["targets", "r1", "r5"]), ("A/x", vec!["targets"]),
        ] {
            assert_eq!(order(w, path), roles, "{path}");
        }
    }

    fn hash_prefixes_of_odd_and_full_length_match_and_malformed_ones_are_refused(w) {
        // SHA-256 of `v1.json` begins ffc13358, of `dir/a.txt` 153ebcff.
        let full = hex::encode(trust_tuf::model::sha256(b"v1.json"));
        for (prefix, hit) in [("f", true), ("ffc", true), ("ffc13358", true), (full.as_str(), true), ("ffc13359", false), ("1", false), ("0", false)] {
            let mut repo = Repository::new();
            let paths = vec![prefix.to_owned()];
            repo.delegate("targets", &Delegate { by: "path_hash_prefixes", paths, ..Delegate::new("A", &key("A"), &[]) });
            repo.add_target("A", "v1.json", b"x");
            repo.publish();
            w.restart(repo);
            assert_eq!(w.lookup("v1.json").unwrap().role().is_some(), hit, "{prefix}");
        }
        for prefix in ["", "FF", "xy", "f ", &format!("{full}0")] {
            let mut repo = Repository::new();
            let paths = vec![prefix.to_owned()];
            repo.delegate("targets", &Delegate { by: "path_hash_prefixes", paths, ..Delegate::new("A", &key("A"), &[]) });
            repo.publish();
            w.restart(repo);
            assert_eq!(w.malformed("targets"), MetadataError::HashPrefix("A".into()), "{prefix:?}");
        }
    }

    fn succinct_bins_are_found_by_the_hash_of_the_path(w) {
        for (bits, bin, other) in [(1, "bin-1", "bin-0"), (3, "bin-7", "bin-0"), (5, "bin-1f", "bin-02"), (11, "bin-7fe", "bin-0a9"), (14, "bin-3ff0", "bin-054f")] {
            let mut repo = Repository::new();
            let key = TestKey::ed25519(200);
            for name in [bin, other] {
                repo.delegate("targets", &Delegate::new(name, &key, &["*"]));
            }
            repo.role("targets").unset(&["delegations", "roles"]);
            repo.role("targets").set(&["delegations", "succinct_roles"], Value::object([
                ("keyids", Value::Array(vec![Value::from(key.id())])), ("threshold", Value::from(1_u64)),
                ("bit_length", Value::from(bits as u64)), ("name_prefix", Value::from("bin")),
            ]));
            repo.add_target(bin, "v1.json", b"x");
            repo.add_target(other, "v1.json", b"never");
            repo.add_target(other, "dir/a.txt", b"y");
            repo.publish();
            w.restart(repo);
            assert_eq!(w.lookup("v1.json").unwrap().role(), Some(bin));
            assert_eq!(w.lookup("dir/a.txt").unwrap().role(), Some(other));
            // A bin that is missing is an error, not "no such target".
            w.repo.role("snapshot").unset(&["meta", &format!("{bin}.json")]);
            w.new_client(w.repo.pinned.clone());
            w.repo.role("snapshot").bump();
            w.repo.write_snapshot();
            w.repo.publish_timestamp();
            assert_eq!(refused(w.lookup("v1.json")), (bin.into(), Reason::NotInSnapshot));
        }
    }

    fn malformed_succinct_roles_are_refused(w) {
        let key = TestKey::ed25519(200);
        let good = [
            ("keyids", Value::Array(vec![Value::from(key.id())])), ("threshold", Value::from(1_u64)),
            ("bit_length", Value::from(4_u64)), ("name_prefix", Value::from("bin")),
        ];
        for (member, value) in [
            ("bit_length", Some(Value::from(0_u64))), ("bit_length", Some(Value::from(33_u64))), ("bit_length", Some(Value::from(u64::MAX))),
            ("bit_length", Some(Value::Int(-1))), ("bit_length", None), ("name_prefix", None), ("name_prefix", Some(Value::from(""))),
            ("threshold", Some(Value::from(0_u64))), ("threshold", None), ("keyids", None),
        ] {
            let mut succinct = Value::object(good.clone());
            let members = succinct.as_object_mut().unwrap();
            match value {
                Some(value) => members.insert(member.into(), value),
                None => members.remove(member),
            };
            let mut repo = Repository::new();
            repo.role("targets").set(&["delegations", "keys", key.id()], key.value());
            repo.role("targets").set(&["delegations", "succinct_roles"], succinct);
            repo.publish();
            w.restart(repo);
            let (role, reason) = w.refused();
            assert!(role == "targets" && matches!(reason, Reason::Metadata(_)), "{member}: {reason:?}");
        }
        let mut repo = Repository::new();
        repo.delegate("targets", &Delegate::new("A", &key, &["*"]));
        repo.role("targets").set(&["delegations", "succinct_roles"], Value::object(good));
        repo.publish();
        w.restart(repo);
        assert!(matches!(w.malformed("targets"), MetadataError::Exclusive(_)));
    }

    fn cve_2021_41149_target_paths_that_could_leave_their_folder_are_never_answered(w) {
        // CVE-2026-6968, CVE-2021-41149.
        let long = "a".repeat(1_025);
        let paths = ["", "/x", "../x", "a/../../x", "a//x", "a/.", "./x", "a/", "a\\x", "a\u{0}", "a\nb", long.as_str()];
        for path in paths {
            w.repo.add_target("targets", path, b"x");
        }
        w.repo.add_target("targets", "..%2fx", b"x");
        w.repo.publish();
        w.refreshed();
        for path in paths {
            assert!(matches!(w.lookup(path), Err(Failure::Undecided(LookupError::Path { .. }))), "{path:?}");
        }
        // No percent-decoding: this one is only an odd name.
        assert_eq!(w.lookup("..%2fx").unwrap().role(), Some("targets"));
        assert_eq!(order(w, "..%2Fx"), ["targets"]);
    }

    fn target_paths_are_compared_byte_by_byte(w) {
        w.repo.add_target("targets", "caf\u{e9}", b"x");
        w.repo.add_target("targets", "a/b", b"x");
        w.repo.publish();
        assert_eq!(w.lookup("caf\u{e9}").unwrap().role(), Some("targets"));
        for other in ["cafe\u{301}", "CAF\u{c9}", "caf%C3%A9", "A/b", "a%2Fb", "a/b ", "a\u{2215}b"] {
            assert_eq!(order(w, other), ["targets"], "{other}");
        }
    }

    fn a_reserved_target_counts_only_in_its_own_role(w) {
        // Whatever the patterns of a signer match: `_policy/…` is read from `targets`, or from the role `_policy`.
        graph(w, &[("targets", "A", "*/*", false)]);
        w.repo.add_target("A", "_policy/main.cedar", b"evil");
        w.repo.publish_same_versions();
        assert_eq!(order(w, "_policy/main.cedar"), ["targets"]);
        w.repo.add_target("targets", "_policy/main.cedar", b"good");
        w.repo.role("targets").bump();
        w.repo.publish();
        let answer = w.lookup("_policy/main.cedar").unwrap();
        assert_eq!(answer.signers(), ["targets"]);
        // Delegated: then that role alone, not targets, and nobody below it.
        w.repo.delegate("targets", &Delegate::new("_policy", &key("_policy"), &["_policy/*"]).terminating());
        w.repo.delegate("_policy", &Delegate::new("below", &key("below"), &["_policy/*"]));
        w.repo.add_target("below", "_policy/main.cedar", b"evil");
        w.repo.role("targets").bump();
        w.repo.publish();
        let answer = w.lookup("_policy/main.cedar").unwrap();
        assert!(answer.signers().is_empty(), "{:?}", answer.signers());
        w.repo.add_target("_policy", "_policy/main.cedar", b"delegated");
        w.repo.role("_policy").bump();
        w.repo.publish();
        assert_eq!(w.lookup("_policy/main.cedar").unwrap().signers(), ["_policy"]);
    }

    fn a_reserved_role_counts_only_for_the_paths_that_were_delegated_to_it(w) {
        graph(w, &[("targets", "_revoked", "_revoked/api/*", true)]);
        w.repo.add_target("_revoked", "_revoked/api/v1.json", b"x");
        w.repo.add_target("_revoked", "_revoked/web/v1.json", b"x");
        w.repo.publish_same_versions();
        assert_eq!(w.lookup("_revoked/api/v1.json").unwrap().role(), Some("_revoked"));
        assert_eq!(w.lookup("_revoked/web/v1.json").unwrap().role(), None);
    }
}
