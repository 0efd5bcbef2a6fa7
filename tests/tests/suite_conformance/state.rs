//! Cases of the public conformance suite: what lies on disk after each failure (tuf.md 1.5), and that a good repository
//! is read again after it.
//!
//! The client has version 1 of everything; version 2 of everything is published, with one thing wrong. Finer attacks on
//! the same steps are in `attacks_update.rs`; which function of the suite is which test here: docs/conformance.md.

use trust_tests::attacks;
use trust_tests::simulator::{Delegate, Failure, Fault, Repository, TestKey, World, days, now};
use trust_tuf::UtcTime;
use trust_tuf::error::Reason;
use trust_tuf::json::Value;
use trust_tuf::lookup::LookupError;

/// What is done to a repository.
type Change = fn(&mut Repository);

/// One thing that is wrong with version 2: its name, the role that is at fault, what is changed before the files are
/// signed, what is changed in what is served, and the versions that are kept then.
struct Case {
    name: &'static str,
    role: &'static str,
    before: Change,
    after: Change,
    kept: [u64; 5],
}

const NOTHING: Change = |_| {};
/// Kept by then: root, timestamp, snapshot, targets, and the delegated role.
const AT_ROOT: [u64; 5] = [1, 1, 1, 1, 1];
const AT_TIMESTAMP: [u64; 5] = [2, 1, 1, 1, 1];
const AT_SNAPSHOT: [u64; 5] = [2, 2, 1, 1, 1];
const AT_TARGETS: [u64; 5] = [2, 2, 2, 1, 1];
const AT_DELEGATED: [u64; 5] = [2, 2, 2, 2, 1];

fn stranger() -> Vec<TestKey> {
    vec![TestKey::ed25519(200)]
}

fn past() -> UtcTime {
    now().plus_secs(-days(1)).expect("a time")
}

/// Serves the role's file at version 3 under the name of version 2.
fn misnumber(repo: &mut Repository, role: &str) {
    let mut file = repo.roles[role].clone();
    file.set_version(3);
    let name = repo.file_name(role);
    repo.wire.fault(&name, Fault::Bytes(file.bytes()));
}

/// States a hash that nothing has in the file that lists the role.
fn mishash(repo: &mut Repository, lister: &str, role: &str) {
    let hashes = Value::object([("sha256", Value::from("0".repeat(64)))]);
    repo.role(lister).set(&["meta", &format!("{role}.json"), "hashes"], hashes);
    if lister == "snapshot" {
        repo.write_snapshot();
    }
    repo.write("timestamp");
}

fn hide(repo: &mut Repository, role: &str) {
    let name = repo.file_name(role);
    repo.wire.fault(&name, Fault::Status(404));
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "root: signature", role: "root", before: |r| r.root().signers = stranger(), after: NOTHING, kept: AT_ROOT },
    Case { name: "root: version", role: "root", before: NOTHING, after: |r| misnumber(r, "root"), kept: AT_ROOT },
    Case { name: "root: expired", role: "root", before: |r| r.root().set_expires(past()), after: NOTHING, kept: AT_TIMESTAMP },
    Case { name: "timestamp: signature", role: "timestamp", before: |r| r.role("timestamp").signers = stranger(), after: NOTHING, kept: AT_TIMESTAMP },
    Case { name: "timestamp: expired", role: "timestamp", before: |r| r.role("timestamp").set_expires(past()), after: NOTHING, kept: AT_TIMESTAMP },
    Case { name: "timestamp: 404", role: "timestamp", before: NOTHING, after: |r| hide(r, "timestamp"), kept: AT_TIMESTAMP },
    Case { name: "timestamp: type", role: "timestamp", before: |r| r.role("timestamp").set(&["_type"], "snapshot"), after: NOTHING, kept: AT_TIMESTAMP },
    Case { name: "snapshot: signature", role: "snapshot", before: |r| r.role("snapshot").signers = stranger(), after: NOTHING, kept: AT_SNAPSHOT },
    Case { name: "snapshot: version", role: "snapshot", before: NOTHING, after: |r| misnumber(r, "snapshot"), kept: AT_SNAPSHOT },
    Case { name: "snapshot: hash", role: "snapshot", before: NOTHING, after: |r| mishash(r, "timestamp", "snapshot"), kept: AT_SNAPSHOT },
    Case { name: "snapshot: expired", role: "snapshot", before: |r| r.role("snapshot").set_expires(past()), after: NOTHING, kept: AT_SNAPSHOT },
    Case { name: "snapshot: 404", role: "snapshot", before: NOTHING, after: |r| hide(r, "snapshot"), kept: AT_SNAPSHOT },
    Case { name: "snapshot: role removed", role: "snapshot", before: NOTHING, after: |r| {
        r.role("snapshot").unset(&["meta", "d.json"]);
        r.write_snapshot();
        r.write("timestamp");
    }, kept: AT_SNAPSHOT },
    Case { name: "targets: signature", role: "targets", before: |r| r.role("targets").signers = stranger(), after: NOTHING, kept: AT_TARGETS },
    Case { name: "targets: version", role: "targets", before: NOTHING, after: |r| misnumber(r, "targets"), kept: AT_TARGETS },
    Case { name: "targets: hash", role: "targets", before: NOTHING, after: |r| mishash(r, "snapshot", "targets"), kept: AT_TARGETS },
    Case { name: "targets: expired", role: "targets", before: |r| r.role("targets").set_expires(past()), after: NOTHING, kept: AT_TARGETS },
    Case { name: "targets: 404", role: "targets", before: NOTHING, after: |r| hide(r, "targets"), kept: AT_TARGETS },
    Case { name: "delegated: signature", role: "d", before: |r| r.role("d").signers = stranger(), after: NOTHING, kept: AT_DELEGATED },
    Case { name: "delegated: version", role: "d", before: NOTHING, after: |r| misnumber(r, "d"), kept: AT_DELEGATED },
    Case { name: "delegated: hash", role: "d", before: NOTHING, after: |r| mishash(r, "snapshot", "d"), kept: AT_DELEGATED },
    Case { name: "delegated: expired", role: "d", before: |r| r.role("d").set_expires(past()), after: NOTHING, kept: AT_DELEGATED },
    Case { name: "delegated: 404", role: "d", before: NOTHING, after: |r| hide(r, "d"), kept: AT_DELEGATED },
];

fn with_delegation(hashes: bool) -> Repository {
    let mut repo = Repository::unpublished();
    repo.hashes = hashes;
    let key = repo.new_key();
    repo.delegate("targets", &Delegate::new("d", &key, &["*"]));
    repo.add_target("d", "x", b"x");
    repo.publish_root();
    repo.publish_same_versions();
    repo
}

fn bump_below_root(repo: &mut Repository) {
    for role in ["timestamp", "snapshot", "targets", "d"] {
        repo.role(role).bump();
    }
}

/// The role that a failure is about.
fn at_fault(failure: &Failure) -> String {
    match failure {
        Failure::Fetch { file, .. } => file.trim_end_matches(".json").rsplit('.').next().unwrap_or_default().to_owned(),
        // The reader knows the collection, and the server says that it does not.
        Failure::Other(text) if text.contains("CollectionGone") => "timestamp".to_owned(),
        Failure::Undecided(LookupError::Unavailable { role }) => role.clone(),
        other => other.refusal().map(|(role, _)| role.to_owned()).unwrap_or_else(|| panic!("{other:?}")),
    }
}

fn kept(w: &World) -> [u64; 5] {
    let kept = w.kept();
    ["root", "timestamp", "snapshot", "targets", "d"].map(|role| kept.get(role).copied().unwrap_or(0))
}

fn update_and_search(w: &mut World) -> Result<(), Failure> {
    w.lookup("x").map(|answer| assert_eq!(answer.role(), Some("d")))
}

attacks! {
    fn each_failure_leaves_exactly_the_steps_before_it_and_a_good_repository_is_read_again(w) {
        for (case, hashes) in CASES.iter().flat_map(|case| [(case, false), (case, true)]) {
            let name = format!("{}, hashes {hashes}", case.name);
            w.restart(with_delegation(hashes));
            update_and_search(w).unwrap();
            assert_eq!(kept(w), [1; 5], "{name}");
            let before = w.client.files();

            w.repo.root().bump();
            bump_below_root(&mut w.repo);
            let good = w.repo.roles.clone();
            (case.before)(&mut w.repo);
            w.repo.publish_root();
            w.repo.publish_same_versions();
            (case.after)(&mut w.repo);
            let failure = update_and_search(w).expect_err(&name);
            assert_eq!(at_fault(&failure), case.role, "{name}: {failure:?}");
            assert_eq!(kept(w), case.kept, "{name}");
            // What was kept is byte for byte what was served, or what lay there before.
            let after = w.client.files();
            for (role, version) in ["root", "timestamp", "snapshot", "targets", "d"].into_iter().zip(case.kept) {
                let file = format!("{role}.json");
                match version {
                    1 => assert_eq!(after[&file], before[&file], "{name}: {role}"),
                    _ => assert_eq!(Some(&after[&file]), w.repo.wire.file(&w.repo.file_name(role)).as_ref(), "{name}: {role}"),
                }
            }
            // Again: the same answer, the same files.
            assert_eq!(at_fault(&update_and_search(w).expect_err(&name)), case.role, "{name}, again");
            assert_eq!(kept(w), case.kept, "{name}, again");

            w.repo.wire.heal();
            w.repo.roles = good;
            w.repo.publish_root();
            w.repo.publish_next_root();
            bump_below_root(&mut w.repo);
            w.repo.publish_same_versions();
            update_and_search(w).unwrap_or_else(|failure| panic!("{name}: not read again: {failure:?}"));
            assert_eq!(kept(w), [3; 5], "{name}");
        }
    }

    fn a_first_update_that_fails_keeps_exactly_the_steps_before_the_failure(w) {
        // That a role was removed only somebody can tell who knew it.
        for case in CASES.iter().filter(|case| case.name != "snapshot: role removed") {
            let mut repo = with_delegation(true);
            repo.root().bump();
            bump_below_root(&mut repo);
            (case.before)(&mut repo);
            repo.publish_root();
            repo.publish_same_versions();
            (case.after)(&mut repo);
            w.restart(repo);
            update_and_search(w).expect_err(case.name);
            // The pinned root is there from the beginning; everything else at version 2 or not at all.
            let expected = case.kept.map(|version| if version == 2 { 2 } else { 0 });
            assert_eq!(kept(w)[1..], expected[1..], "{}", case.name);
            assert_eq!(kept(w)[0], case.kept[0], "{}", case.name);
        }
    }

    fn an_expired_root_on_disk_is_replaced_and_so_is_an_expired_timestamp(w) {
        for role in ["root", "timestamp"] {
            w.restart(Repository::new());
            let (week, three_weeks) = (now().plus_secs(days(7)).unwrap(), now().plus_secs(days(21)).unwrap());
            w.repo.role(role).set_expires(week);
            w.repo.publish_next_root();
            w.repo.publish();
            w.refreshed();
            w.now = now().plus_secs(days(18)).unwrap();
            assert_eq!(w.refused(), (role.to_owned(), Reason::Expired { expires: week, now: w.now }));
            w.repo.role(role).set_expires(three_weeks);
            w.repo.publish_next_root();
            w.repo.role("targets").bump();
            w.repo.publish();
            w.refreshed();
            w.assert_kept(3, 3, 3, 2);
        }
    }

    fn snapshots_and_targets_are_not_rolled_back_with_and_without_hashes(w) {
        for hashes in [false, true] {
            let mut repo = Repository::new();
            repo.hashes = hashes;
            repo.role("targets").bump();
            repo.publish();
            w.restart(repo);
            w.refreshed();
            w.assert_kept(1, 2, 2, 2);
            // The snapshot: the timestamp that names the older one is refused, and nothing is asked for after it.
            w.repo.wire.take_requests();
            w.repo.role("snapshot").set_version(1);
            w.repo.role("timestamp").bump();
            w.repo.publish_same_versions();
            let (trusted, got) = (World::version(2), World::version(1));
            assert_eq!(w.refused(), ("timestamp".to_owned(), Reason::SnapshotRollback { trusted, got }));
            assert_eq!(w.repo.wire.take_requests(), ["2.root.json", "timestamp.json"]);
            w.assert_kept(1, 2, 2, 2);
            // The targets: the snapshot that lists the older ones is refused.
            w.repo.role("snapshot").set_version(2);
            w.repo.role("targets").set_version(1);
            w.repo.publish();
            let reason = Reason::RoleLowered { role: "targets".to_owned(), trusted, got };
            assert_eq!(w.refused(), ("snapshot".to_owned(), reason));
            w.assert_kept(1, 4, 2, 2);
        }
    }

    fn a_repository_without_lengths_and_hashes_and_one_with_them_are_read(w) {
        for hashes in [false, true] {
            w.restart(with_delegation(hashes));
            let stated = w.repo.role("timestamp").at(&["meta", "snapshot.json"]).get("hashes").is_some();
            assert_eq!(stated, hashes);
            update_and_search(w).unwrap();
            assert_eq!(kept(w), [1; 5]);
        }
    }
}
