//! Hash bins below a signer (TAP 15): each rule of theirs is broken once; what keeps them goes on as with one file.

use trust_tests::simulator::{RoleDocument, TestKey, days, now};
use trust_tuf::draft::Draft;
use trust_tuf::error::{MetadataError, Reason};
use trust_tuf::json::Value;
use trust_tuf::model::TargetInfo;
use trust_tuf::repository::{BinsRule, Checked, Publication, Refusal, RepositoryState, Rule};
use trust_tuf::{Bins, RoleName, RoleType, limits};

use super::house::{House, check, delegation, later, next, refused, resigned, role, rules, sign, version};

type Files = Vec<(String, Vec<u8>)>;

fn bins(prefix: &str, bits: u32) -> Bins {
    Bins::new(prefix, bits).unwrap()
}

/// The files of these bins, in version 1, with these paths in them.
fn bin_files(house: &House, bins: &Bins, paths: &[&str]) -> Files {
    let file = |name: String| {
        let mut draft = Draft::targets(later());
        for path in paths.iter().filter(|path| bins.name_for(path) == name) {
            draft.set_target(path, &TargetInfo::of(path.as_bytes()));
        }
        (name, sign(&draft, &[&house.alice]))
    };
    bins.names().map(file).collect()
}

/// Alice's own file that hands everything to bins, as a first version or the next one.
fn signer_file(house: &House, before: Option<&RepositoryState>, bins: &Bins) -> Vec<u8> {
    let mut draft = match before {
        Some(state) => Draft::next(state.roles()[&role("alice")].bytes(), later()).unwrap(),
        None => Draft::targets(later()),
    };
    draft.take_targets();
    draft.set_bins(bins, &[house.alice.public()], 1);
    sign(&draft, &[&house.alice])
}

/// `targets` that delegates `api/*` to alice, and what alice publishes with it.
fn added(house: &House, bins: &Bins, paths: &[&str]) -> Files {
    let targets =
        house.next_targets(&house.start(), |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    let top = [("targets".to_owned(), targets), ("alice".to_owned(), signer_file(house, None, bins))];
    top.into_iter().chain(bin_files(house, bins, paths)).collect()
}

fn with_bins(house: &House, layout: &Bins, paths: &[&str]) -> RepositoryState {
    publish(&house.start(), &added(house, layout, paths)).unwrap().state
}

fn publish(state: &RepositoryState, files: &Files) -> Result<Checked, Refusal> {
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, file)| (name.as_str(), file.clone())).collect();
    check(state, &[], &files)
}

/// The same files with one of them changed and signed again by these keys.
fn with(files: &Files, name: &str, keys: &[&TestKey], change: impl FnOnce(&mut RoleDocument)) -> Files {
    let mut files = files.clone();
    let file = files.iter_mut().find(|(n, _)| n == name).unwrap();
    file.1 = resigned(&file.1, keys, change);
    files
}

fn succinct(member: &str) -> [&str; 3] {
    ["delegations", "succinct_roles", member]
}

#[test]
fn a_bin_that_is_missing_foreign_or_badly_signed_is_refused() {
    let house = House::new();
    let files = added(&house, &bins("alice.b1", 3), &[]);
    publish(&house.start(), &files).unwrap();
    for missing in ["alice.b1-0", "alice.b1-5", "alice.b1-7"] {
        let files = files.iter().filter(|(name, _)| name != missing).cloned().collect();
        refused(publish(&house.start(), &files), "alice", Rule::MissingRole(missing.to_owned()));
    }
    for foreign in ["alice.b1-8", "alice.b1-00", "alice.b1-F".to_lowercase().as_str(), "alice.b2-0"] {
        let mut files = files.clone();
        files.push((foreign.to_owned(), files[2].1.clone()));
        refused(publish(&house.start(), &files), foreign, Rule::Undelegated);
    }
    let unsigned = Rule::Trust(Reason::Signatures { valid: 0, needed: 1 });
    let by_targets = with(&files, "alice.b1-5", &[&house.targets], |_| {});
    refused(publish(&house.start(), &by_targets), "alice.b1-5", unsigned);
}

#[test]
fn a_target_in_the_wrong_bin_is_refused() {
    let house = House::new();
    let layout = bins("alice.b1", 3);
    let state = with_bins(&house, &layout, &["api/v1"]);
    let right = layout.name_for("api/v2");
    for bin in layout.names() {
        let file = next(&state, &bin, &[&house.alice], |d| d.set_target("api/v2", &TargetInfo::of(b"x")));
        let result = check(&state, &[], &[(bin.as_str(), file)]);
        match bin == right {
            true => assert_eq!(result.unwrap().changed, [role(&bin)], "nothing but the bin changes"),
            false => refused(result, &bin, Rule::OutsidePaths("api/v2".into())),
        }
    }
    // In the right bin, and outside what the signer may list.
    let bin = layout.name_for("web/v1");
    let file = next(&state, &bin, &[&house.alice], |d| d.set_target("web/v1", &TargetInfo::of(b"x")));
    refused(check(&state, &[], &[(bin.as_str(), file)]), &bin, Rule::OutsidePaths("web/v1".into()));
}

#[test]
fn narrower_paths_above_bins_are_judged_by_what_the_bins_hold() {
    let house = House::new();
    let layout = bins("alice.b1", 3);
    let state = with_bins(&house, &layout, &["api/v1"]);
    let narrowed = |pattern: &str| {
        house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &[pattern])))
    };
    let rule = Rule::OutsidePaths("api/v1".into());
    refused(check(&state, &[], &[("targets", narrowed("api/w*"))]), &layout.name_for("api/v1"), rule);
    check(&state, &[], &[("targets", narrowed("api/v*"))]).unwrap();
}

#[test]
fn reserved_targets_never_count_in_a_bin() {
    let house = House::new();
    let layout = bins("alice.b1", 1);
    let state = with_bins(&house, &layout, &[]);
    for path in ["_revoked/api/v1.json", "_policy/a.cedar", "_labels/a.json", "_exceptions/a.json", "_other/a"] {
        let bin = layout.name_for(path);
        let file = next(&state, &bin, &[&house.alice], |d| d.set_target(path, &TargetInfo::of(b"x")));
        let rule = Rule::Reserved { path: path.to_owned(), role: "targets".into() };
        refused(check(&state, &[], &[(bin.as_str(), file)]), &bin, rule);
    }
}

#[test]
fn bins_stand_only_directly_below_a_signer() {
    let house = House::new();
    let state = house.with_alice();
    // Below `targets` itself.
    let own = house.next_targets(&state, |d| d.set_bins(&bins("targets.b1", 1), &[house.alice.public()], 1));
    refused(check(&state, &[], &[("targets", own)]), "targets", BinsRule::Place.into());
    // Below a reserved role: what is in force is the content of that one file.
    let patterns = ["_revoked/*", "_revoked/*/*"];
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("_revoked", &[&house.alice], &patterns)));
    let mut revoked = Draft::targets(later());
    revoked.set_bins(&bins("_revoked.b1", 1), &[house.alice.public()], 1);
    let result = check(&state, &[], &[("targets", targets), ("_revoked", sign(&revoked, &[&house.alice]))]);
    refused(result, "_revoked", BinsRule::Place.into());
    // Below a role that a signer delegates.
    let alice =
        next(&state, "alice", &[&house.alice], |d| d.set_delegation(&delegation("team", &[&house.alice], &["api/*"])));
    let mut team = Draft::targets(later());
    team.set_bins(&bins("team.b1", 1), &[house.alice.public()], 1);
    let result = check(&state, &[], &[("alice", alice), ("team", sign(&team, &[&house.alice]))]);
    refused(result, "team", BinsRule::Place.into());
}

#[test]
fn a_bin_delegates_nothing() {
    let house = House::new();
    let files = added(&house, &bins("alice.b1", 1), &[]);
    let mut to_bins = Draft::targets(later());
    to_bins.set_bins(&bins("alice.b1-0.b1", 1), &[house.alice.public()], 1);
    let mut to_bob = Draft::targets(later());
    to_bob.set_delegation(&delegation("bob", &[&house.alice], &["api/*"]));
    for draft in [to_bins, to_bob] {
        let mut files = files.clone();
        files.iter_mut().find(|(name, _)| name == "alice.b1-0").unwrap().1 = sign(&draft, &[&house.alice]);
        files.push(("bob".to_owned(), sign(&Draft::targets(later()), &[&house.alice])));
        refused(publish(&house.start(), &files), "alice.b1-0", BinsRule::Delegates.into());
    }
}

#[test]
fn a_prefix_that_is_not_the_signers_own_is_refused() {
    let house = House::new();
    let refused_with = |prefix: &str| {
        let files = with(&added(&house, &bins("alice.b1", 1), &[]), "alice", &[&house.alice], |d| {
            d.set(&succinct("name_prefix"), prefix);
        });
        publish(&house.start(), &files).unwrap_err()
    };
    let long = format!("alice.{}", "a".repeat(limits::ROLE_NAME_BYTES - 7));
    for prefix in [
        "bob",
        "alice",
        "alice.",
        "alic.b1",
        "targets",
        "root",
        "alice.B1",
        "alice.b/1",
        "alice.b.b1",
        "../x",
        "alice.é",
        &long,
    ] {
        let shown = prefix.chars().flat_map(char::escape_debug).collect();
        let rule = BinsRule::Prefix { signer: "alice".into(), prefix: shown };
        assert_eq!(refused_with(prefix), Refusal { file: "alice".into(), rule: rule.into() }, "{prefix}");
    }
    let empty = MetadataError::RoleName(String::new());
    assert_eq!(refused_with("").rule, Rule::Trust(Reason::Metadata(empty)));
}

#[test]
fn bins_that_collide_with_a_role_are_refused() {
    let house = House::new();
    let state = with_bins(&house, &bins("alice.b1", 1), &[]);
    let squatter = delegation("alice.b1-1", &[&house.alice], &["web/*"]);
    let targets = house.next_targets(&state, |d| d.set_delegation_before(&squatter, "alice"));
    let result = check(&state, &[], &[("targets", targets)]);
    assert_eq!(result.unwrap_err().rule, Rule::TwoDelegators("alice.b1-1".into()));
}

#[test]
fn a_count_of_bins_that_no_publication_holds_is_refused() {
    let house = House::new();
    let files = |bits: u64| {
        with(&added(&house, &bins("alice.b1", 1), &[]), "alice", &[&house.alice], |d| {
            d.set(&succinct("bit_length"), bits);
        })
    };
    for bits in [11, 14, 31, 32] {
        let rule = BinsRule::Count { bits: bits as u32 };
        refused(publish(&house.start(), &files(bits)), "alice", rule.into());
    }
    for bits in [0, 33, 64, u64::from(u32::MAX) + 2, u64::MAX] {
        let refusal = publish(&house.start(), &files(bits)).unwrap_err();
        assert!(matches!(refusal.rule, Rule::Trust(Reason::Metadata(_))), "{bits}: {refusal}");
    }
    for wrong in [Value::from(true), Value::from("1"), Value::Null, Value::from(vec![Value::from(1_u64)])] {
        let files = with(&files(1), "alice", &[&house.alice], |d| d.set(&succinct("bit_length"), wrong.clone()));
        assert!(matches!(publish(&house.start(), &files).unwrap_err().rule, Rule::Trust(Reason::Metadata(_))));
    }
    let roles_too =
        with(&files(1), "alice", &[&house.alice], |d| d.set(&["delegations", "roles"], Vec::<Value>::new()));
    let both = MetadataError::Exclusive("succinct_roles".into());
    refused(publish(&house.start(), &roles_too), "alice", Rule::Trust(Reason::Metadata(both)));
    let member = with(&files(1), "alice", &[&house.alice], |d| d.set(&succinct("terminating"), true));
    refused(publish(&house.start(), &member), "alice", Rule::Member("terminating".into()));
}

#[test]
fn the_most_bins_fit_one_publication_with_the_roles_above_them() {
    let house = House::new();
    let layout = bins("alice.b1", limits::PUBLISH_BIN_BITS);
    let state = with_bins(&house, &layout, &["api/v1", "api/v2"]);
    assert_eq!(state.roles().len(), 2 + (1 << limits::PUBLISH_BIN_BITS));
    let meta = state.meta();
    let draft = Draft::snapshot(version(1), later(), meta.iter().map(|(n, e)| (n.as_str(), e)));
    let bytes = sign(&draft, &[&house.snapshot]).len() as u64;
    assert!(bytes < limits::PUBLISH_SNAPSHOT_BYTES / 4, "{bytes}");
}

#[test]
fn a_snapshot_that_not_every_client_reads_is_refused_until_removed_roles_leave_it() {
    let house = House::new();
    let mut layout = bins("alice.b1", limits::PUBLISH_BIN_BITS);
    let mut state = with_bins(&house, &layout, &[]);
    let mut number = 2;
    let refusal = loop {
        let next = bins(&format!("alice.b{number}"), limits::PUBLISH_BIN_BITS);
        match publish(&state, &resplit(&house, &state, &next, &[])) {
            Ok(checked) => state = checked.state,
            Err(refusal) => break refusal,
        }
        (layout, number) = (next, number + 1);
        assert!(number < 20, "it never ends");
    };
    let draft = Draft::snapshot(version(1), later(), state.meta().iter().map(|(n, e)| (n.as_str(), e)));
    let bytes = sign(&draft, &[&house.snapshot]).len() as u64;
    assert!((limits::PUBLISH_SNAPSHOT_BYTES / 2..limits::PUBLISH_SNAPSHOT_BYTES).contains(&bytes), "{bytes}");
    assert!(matches!(refusal.rule, Rule::SnapshotSize { .. }), "{refusal}");
    // One signer's key does not use up what the owner needs.
    let bob = TestKey::ed25519(61);
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("bob", &[&bob], &["bob/*"])));
    let first = sign(&Draft::targets(later()), &[&bob]);
    check(&state, &[], &[("targets", targets), ("bob", first)]).unwrap();
    // What does not make it longer goes on.
    let bin = layout.name_for("api/v1");
    let file = next(&state, &bin, &[&house.alice], |d| d.set_target("api/v1", &TargetInfo::of(b"x")));
    check(&state, &[], &[(bin.as_str(), file)]).unwrap();
    let new = TestKey::ed25519(60);
    let root = house.next_root(&state, &[&house.root], |d| d.set_role(RoleType::Snapshot, &[new.public()], 1));
    let mut change = publication_of(&resplit(&house, &state, &bins("alice.b77", limits::PUBLISH_BIN_BITS), &[]));
    change.roots.push(root);
    let after = state.check(&change, &rules()).unwrap().state;
    assert!(after.tombstones().is_empty());
}

fn publication_of(files: &Files) -> Publication {
    Publication { roots: vec![], roles: files.iter().map(|(name, file)| (role(name), file.clone())).collect() }
}

/// Alice's next file with other bins, and all of those.
fn resplit(house: &House, state: &RepositoryState, bins: &Bins, paths: &[&str]) -> Files {
    let signer = ("alice".to_owned(), signer_file(house, Some(state), bins));
    std::iter::once(signer).chain(bin_files(house, bins, paths)).collect()
}

#[test]
fn other_bins_need_a_prefix_that_was_not_in_use() {
    let house = House::new();
    let state = with_bins(&house, &bins("alice.b1", 2), &["api/v1"]);
    // As many digits in the names, so that one name would mean two ranges.
    let same = resplit(&house, &state, &bins("alice.b1", 3), &["api/v1"]);
    let same: Files = same
        .into_iter()
        .map(|(name, file)| match state.roles().contains_key(&role(&name)) && name != "alice" {
            true => (name, resigned(&file, &[&house.alice], |d| d.set_version(2))),
            false => (name, file),
        })
        .collect();
    refused(publish(&state, &same), "alice", BinsRule::PrefixInUse("alice.b1".into()).into());
    let files = resplit(&house, &state, &bins("alice.b2", 3), &["api/v1"]);
    let checked = publish(&state, &files).unwrap();
    assert_eq!(checked.undelegated.len(), 4);
    let state = checked.state;
    let tombstones: Vec<&str> = state.tombstones().keys().map(String::as_str).collect();
    assert_eq!(tombstones, ["alice.b1-0", "alice.b1-1", "alice.b1-2", "alice.b1-3"], "they stay in the snapshot");
    assert_eq!(state.meta().len(), 2 + 4 + 8);
    // Nor one that only removed bins had.
    let back = resplit(&house, &state, &bins("alice.b1", 5), &["api/v1"]);
    refused(publish(&state, &back), "alice", BinsRule::PrefixInUse("alice.b1".into()).into());
}

#[test]
fn one_file_becomes_bins_and_bins_become_one_file_in_one_publication() {
    let house = House::new();
    let state = house.with_alice();
    let layout = bins("alice.b2", 2);
    let beside = {
        let mut draft = Draft::next(state.roles()[&role("alice")].bytes(), later()).unwrap();
        draft.set_bins(&layout, &[house.alice.public()], 1);
        let signer = ("alice".to_owned(), sign(&draft, &[&house.alice]));
        std::iter::once(signer).chain(bin_files(&house, &layout, &["api/v1"])).collect()
    };
    refused(publish(&state, &beside), "alice", BinsRule::OwnTargets.into());
    let state = publish(&state, &resplit(&house, &state, &layout, &["api/v1"])).unwrap().state;
    assert!(state.roles()[&role(&layout.name_for("api/v1"))].target("api/v1").is_some());
    let one = next(&state, "alice", &[&house.alice], |d| {
        d.remove_delegations();
        d.set_target("api/v1", &TargetInfo::of(b"x"));
    });
    let checked = check(&state, &[], &[("alice", one)]).unwrap();
    assert_eq!((checked.undelegated.len(), checked.state.roles().len()), (4, 2));
}

#[test]
fn keys_that_are_not_the_signers_or_fewer_of_them_never_sign_bins() {
    let house = House::new();
    let stranger = TestKey::ed25519(70);
    let files = added(&house, &bins("alice.b1", 1), &[]);
    let ids = |keys: &[&TestKey]| keys.iter().map(|key| Value::from(key.id())).collect::<Vec<_>>();
    let strange = with(&files, "alice", &[&house.alice], |d| {
        d.set(&["delegations", "keys", stranger.id()], stranger.value());
        d.set(&succinct("keyids"), ids(&[&house.alice, &stranger]));
    });
    refused(publish(&house.start(), &strange), "alice", BinsRule::Keys.into());
    let online = with(&files, "alice", &[&house.alice], |d| {
        d.set(&["delegations", "keys", house.timestamp.id()], house.timestamp.value());
        d.set(&succinct("keyids"), ids(&[&house.alice, &house.timestamp]));
    });
    refused(publish(&house.start(), &online), "alice", BinsRule::Keys.into());
    // Two of two for alice, one of two for what stands below.
    let targets = house.next_targets(&house.start(), |d| {
        let mut new = delegation("alice", &[&house.alice, &stranger], &["api/*"]);
        new.threshold = 2;
        d.set_delegation(&new);
    });
    let mut files = with(&files, "alice", &[&house.alice, &stranger], |_| {});
    files.iter_mut().find(|(name, _)| name == "targets").unwrap().1 = targets;
    refused(publish(&house.start(), &files), "alice", BinsRule::Keys.into());
}

#[test]
fn a_key_that_is_taken_from_a_signer_leaves_the_bins_in_the_same_publication() {
    let house = House::new();
    let state = with_bins(&house, &bins("alice.b1", 1), &["api/v1"]);
    let new = TestKey::ed25519(71);
    let targets =
        house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice, &new], &["api/*"])));
    let state = check(&state, &[], &[("targets", targets)]).unwrap().state;
    let only_new = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&new], &["api/*"])));
    let signer = next(&state, "alice", &[&new], |_| {});
    // The signer's file still lets the old key sign bins.
    let result = check(&state, &[], &[("targets", only_new.clone()), ("alice", signer)]);
    refused(result, "alice", BinsRule::Keys.into());
    let signer = next(&state, "alice", &[&new], |d| d.set_bins(&bins("alice.b1", 1), &[new.public()], 1));
    let result = check(&state, &[], &[("targets", only_new.clone()), ("alice", signer.clone())]);
    assert_eq!(result.unwrap_err().rule, Rule::Trust(Reason::Signatures { valid: 0, needed: 1 }));
    let bin = |name: &str| next(&state, name, &[&new], |_| {});
    let all = [
        ("targets", only_new),
        ("alice", signer),
        ("alice.b1-0", bin("alice.b1-0")),
        ("alice.b1-1", bin("alice.b1-1")),
    ];
    check(&state, &[], &all).unwrap();
}

#[test]
fn a_bin_never_expires_before_the_file_of_its_signer() {
    let house = House::new();
    let layout = bins("alice.b1", 1);
    let state = with_bins(&house, &layout, &[]);
    let early = |state: &RepositoryState, secs: i64| {
        let at = later().plus_secs(secs).unwrap();
        let draft = Draft::next(state.roles()[&role("alice.b1-1")].bytes(), at).unwrap();
        sign(&draft, &[&house.alice])
    };
    let rule = BinsRule::Life { signer: later() };
    refused(check(&state, &[], &[("alice.b1-1", early(&state, -1))]), "alice.b1-1", rule.into());
    check(&state, &[], &[("alice.b1-1", early(&state, 0))]).unwrap();
    // The signer alone signed for longer leaves its bins behind.
    let longer = now().plus_secs(days(200)).unwrap();
    let signer = Draft::next(state.roles()[&role("alice")].bytes(), longer).unwrap();
    let result = check(&state, &[], &[("alice", sign(&signer, &[&house.alice]))]);
    assert_eq!(result.unwrap_err().rule, BinsRule::Life { signer: longer }.into());
}

#[test]
fn what_stands_behind_bins_for_the_same_paths_would_be_lost_to_some_clients() {
    let house = House::new();
    let bob = TestKey::ed25519(72);
    let layout = bins("alice.b1", 1);
    let state = with_bins(&house, &layout, &["api/v1"]);
    let bobs = || sign(&Draft::targets(later()), &[&bob]);
    let add = |pattern: &str, before: Option<&str>, terminating: bool| {
        let targets = house.next_targets(&state, |d| {
            let new = delegation("bob", &[&bob], &[pattern]);
            match before {
                Some(other) => d.set_delegation_before(&new, other),
                None => d.set_delegation(&new),
            }
            let mut alice = delegation("alice", &[&house.alice], &["api/*"]);
            alice.terminating = terminating;
            d.set_delegation(&alice);
        });
        check(&state, &[], &[("targets", targets), ("bob", bobs())])
    };
    refused(add("api/*", None, false), "alice", BinsRule::Order("bob".into()).into());
    refused(add("*/v1", None, false), "alice", BinsRule::Order("bob".into()).into());
    add("web/*", None, false).unwrap();
    add("api/*", Some("alice"), false).unwrap();
    // There the search ends in every client.
    add("api/*", None, true).unwrap();
    // The signer in front turns to bins by itself.
    let plain = house.with_alice();
    let targets = house.next_targets(&plain, |d| d.set_delegation(&delegation("bob", &[&bob], &["api/*"])));
    let plain = check(&plain, &[], &[("targets", targets), ("bob", bobs())]).unwrap().state;
    let split = resplit(&house, &plain, &bins("alice.b2", 1), &["api/v1"]);
    refused(publish(&plain, &split), "alice", BinsRule::Order("bob".into()).into());
    let targets = house.next_targets(&plain, |d| assert!(d.move_delegation_last("alice")));
    let plain = check(&plain, &[], &[("targets", targets)]).unwrap().state;
    publish(&plain, &resplit(&house, &plain, &bins("alice.b2", 1), &["api/v1"])).unwrap();
}

#[test]
fn a_removed_signer_takes_the_bins_along_and_all_are_restored_from_files() {
    let house = House::new();
    let state = with_bins(&house, &bins("alice.b1", 2), &["api/v1", "api/v2"]);
    let files = state.roles().iter().map(|(name, file)| (name.clone(), file.bytes().to_vec()));
    let again = RepositoryState::restore(
        state.collection().clone(),
        state.root().bytes().clone(),
        files,
        state.tombstones().clone(),
    );
    assert_eq!(again.unwrap().meta(), state.meta());
    let targets = house.next_targets(&state, |d| assert!(d.remove_delegation("alice")));
    let checked = check(&state, &[], &[("targets", targets)]).unwrap();
    assert_eq!(checked.undelegated.len(), 5);
    assert_eq!(checked.state.roles().keys().collect::<Vec<_>>(), [&RoleName::targets()]);
    assert_eq!(checked.state.tombstones().len(), 5);
    // And begins again with the versions after those.
    let state = checked.state;
    let targets = house.next_targets(&state, |d| d.set_delegation(&delegation("alice", &[&house.alice], &["api/*"])));
    let mut first = Draft::targets(later());
    first.set_bins(&bins("alice.b2", 1), &[house.alice.public()], 1);
    let second = resigned(&sign(&first, &[&house.alice]), &[&house.alice], |d| d.set_version(2));
    let files = [("targets".to_owned(), targets), ("alice".to_owned(), second)];
    let files = files.into_iter().chain(bin_files(&house, &bins("alice.b2", 1), &[])).collect();
    publish(&state, &files).unwrap();
}
