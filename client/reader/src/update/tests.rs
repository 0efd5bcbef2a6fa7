use std::time::Duration;

use tempfile::tempdir;
use trust_tuf::model::Role;
use trust_tuf::{Reason, TargetInfo, UpdateError};

use super::*;
use crate::catalogue::Code;
use crate::testing::*;
use crate::verdict::Problem;

fn reason(problem: &Problem) -> &Reason {
    match problem.failure.as_deref() {
        Some(Failure::Update(UpdateError { reason, .. })) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_the_specification_and_no_others() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    assert_eq!(repo.server.asked(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    repo.refresh(dir.path()).await.unwrap();
    assert_eq!(repo.server.asked(), ["2.root.json", "timestamp.json"], "nothing changed");
}

#[tokio::test]
async fn files_are_kept_as_received_and_a_sleeper_walks_all_roots() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    for seed in 20..25 {
        repo.rotate(|r| r.root_seed = seed);
    }
    repo.rotate(|r| r.timestamp_seed = 30);
    repo.bump();
    let reader = repo.refresh(dir.path()).await.unwrap();
    assert_eq!(reader.trusted().root().version().get(), 7);
    drop(reader);
    assert_eq!(on_disk(dir.path()), [7, 2, 2, 2]);
    for (name, file) in [("timestamp", "timestamp.json"), ("snapshot", "2.snapshot.json"), ("root", "7.root.json")] {
        let stored = std::fs::read(folder(dir.path()).join(format!("{name}.json"))).unwrap();
        assert_eq!(stored, repo.server.bytes(file));
    }
    repo.server.asked();
    repo.refresh(dir.path()).await.unwrap();
    assert_eq!(repo.server.asked(), ["8.root.json", "timestamp.json"], "the stored chain is walked without requests");
}

/// What fails, the files after it, and the code.
#[tokio::test]
async fn after_each_failure_exactly_the_promised_files_are_on_disk() {
    type Change = fn(&mut Repo);
    let cases: &[(&str, Change, [u64; 4], Code)] = &[
        (
            "root 2 signed by a stranger",
            |r| {
                r.root_signing = vec![99];
                r.publish_root()
            },
            [1, 1, 1, 1],
            Code::NoRootChain,
        ),
        (
            "root 2 signed by the old keys only",
            |r| {
                r.root_seed = 50;
                r.root_signing = vec![1];
                r.publish_root()
            },
            [1, 1, 1, 1],
            Code::NoRootChain,
        ),
        (
            "root 3 under the name of root 2",
            |r| {
                r.root_version = 3;
                let f = signed(&r.root_draft(), &[1]);
                r.server.put("2.root.json", f)
            },
            [1, 1, 1, 1],
            Code::RootMalformed,
        ),
        ("root 2 is no JSON", |r| r.server.put("2.root.json", b"{".to_vec()), [1, 1, 1, 1], Code::RootMalformed),
        (
            "root 2 expired",
            |r| {
                r.root_expires = now();
                r.publish_root()
            },
            [2, 1, 1, 1],
            Code::RootExpired,
        ),
        (
            "timestamp signed by a stranger",
            |r| {
                r.timestamp_signing = Some(99);
                r.publish()
            },
            [2, 1, 1, 1],
            Code::RoleSignatures,
        ),
        (
            "timestamp expires exactly now",
            |r| {
                r.timestamp_expires = now();
                r.publish()
            },
            [2, 1, 1, 1],
            Code::TimestampExpired,
        ),
        ("timestamp gone", |r| r.server.remove("timestamp.json"), [2, 1, 1, 1], Code::FileMissing),
        (
            "snapshot signed by a stranger",
            |r| {
                r.snapshot_signing = Some(99);
                r.publish()
            },
            [2, 2, 1, 1],
            Code::RoleSignatures,
        ),
        (
            "snapshot is another file",
            |r| r.server.put("2.snapshot.json", r.server.bytes("1.snapshot.json")),
            [2, 2, 1, 1],
            Code::MetadataDiffers,
        ),
        (
            "snapshot expired",
            |r| {
                r.snapshot_expires = now();
                r.publish()
            },
            [2, 2, 1, 1],
            Code::RoleExpired,
        ),
        ("snapshot gone", |r| r.server.remove("2.snapshot.json"), [2, 2, 1, 1], Code::FileMissing),
        (
            "targets signed by a stranger",
            |r| {
                r.targets_signing = Some(99);
                r.publish()
            },
            [2, 2, 2, 1],
            Code::RoleSignatures,
        ),
        (
            "targets is another file",
            |r| r.server.put("2.targets.json", r.server.bytes("1.targets.json")),
            [2, 2, 2, 1],
            Code::MetadataDiffers,
        ),
        (
            "targets expired",
            |r| {
                r.targets_expires = now();
                r.publish()
            },
            [2, 2, 2, 1],
            Code::RoleExpired,
        ),
        ("targets gone", |r| r.server.remove("2.targets.json"), [2, 2, 2, 1], Code::FileMissing),
    ];
    for (what, change, files, code) in cases {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.refresh(dir.path()).await.unwrap();
        repo.root_version = 2;
        repo.publish_root();
        repo.bump();
        let good = repo.clone();
        let good_root = repo.server.bytes("2.root.json");
        change(&mut repo);
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert_eq!(problem.code, *code, "{what}: {problem:?}");
        assert_eq!(on_disk(dir.path()), *files, "{what}");
        // A failed update leaves a state from which a good one succeeds.
        repo.server.put("2.root.json", good_root);
        let mut good = good;
        if *code == Code::RootExpired {
            good.rotate(|_| {}); // the expired root is part of the chain now
        }
        good.bump();
        good.refresh(dir.path()).await.unwrap_or_else(|p| panic!("{what}: {p:?}"));
        assert_eq!(on_disk(dir.path())[1..], [3, 3, 3], "{what}");
    }
}

#[tokio::test]
async fn a_root_that_does_not_verify_itself_is_refused_without_a_request() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    let mut anchor = repo.anchor();
    anchor.root = signed(&repo.root_draft(), &[99]);
    let problem =
        crate::reader::Reader::refresh(anchor, open(dir.path()), repo.server.clone(), now()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::PinnedRootBroken, 16));
    assert!(repo.server.asked().is_empty());
    assert_eq!(on_disk(dir.path()), [0; 4]);
}

#[tokio::test]
async fn an_older_timestamp_is_a_rollback_and_does_not_lock_the_client_out() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    let old = repo.server.bytes("timestamp.json");
    repo.bump();
    let new = repo.server.bytes("timestamp.json");
    repo.refresh(dir.path()).await.unwrap();
    repo.server.put("timestamp.json", old);
    for _ in 0..2 {
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert_eq!((problem.code, problem.exit()), (Code::TimestampRollback, 15));
        assert_eq!(on_disk(dir.path()), [1, 2, 2, 2]);
    }
    repo.server.put("timestamp.json", new);
    repo.refresh(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_timestamp_that_names_an_older_snapshot_is_refused_before_it_is_stored() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.bump();
    repo.refresh(dir.path()).await.unwrap();
    repo.timestamp_version = 3;
    repo.snapshot_version = 1;
    repo.targets_version = 1;
    repo.publish();
    let problem = repo.refresh(dir.path()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::SnapshotRollback, 15));
    assert_eq!(on_disk(dir.path()), [1, 2, 2, 2]);
    (repo.timestamp_version, repo.snapshot_version, repo.targets_version) = (3, 3, 3);
    repo.publish();
    repo.refresh(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_lowers_or_drops_a_role_is_refused_in_a_later_process() {
    for drop_role in [false, true] {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.role("alice", 10, &["*"]).version = 5;
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        if drop_role {
            repo.roles.clear()
        } else {
            repo.roles[0].version = 3
        }
        repo.bump();
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert_eq!((problem.code, problem.exit()), (Code::RoleRollback, 15));
        assert_eq!(on_disk(dir.path()), [1, 3, 2, 2]);
    }
}

#[tokio::test]
async fn rotating_the_timestamp_key_allows_lower_versions_and_keeping_it_does_not() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    (repo.timestamp_version, repo.snapshot_version) = (1_000, 1_000);
    repo.publish();
    repo.refresh(dir.path()).await.unwrap();
    repo.rotate(|r| r.snapshot_seed = 33);
    (repo.timestamp_version, repo.snapshot_version) = (2, 2);
    repo.publish();
    let problem = repo.refresh(dir.path()).await.unwrap_err();
    assert_eq!(problem.code, Code::TimestampRollback, "the timestamp key stayed");
    repo.rotate(|r| r.timestamp_seed = 22);
    repo.publish();
    repo.refresh(dir.path()).await.unwrap();
    assert_eq!(on_disk(dir.path()), [3, 2, 2, 1]);
    repo.refresh(dir.path()).await.unwrap();
    repo.timestamp_version = 1;
    repo.publish();
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::TimestampRollback, "the new floor holds");
}

#[tokio::test]
async fn only_a_404_ends_the_walk_of_roots() {
    for error in [
        FetchError::Forbidden,
        FetchError::Unauthorized,
        FetchError::Status(500),
        FetchError::Status(410),
        FetchError::Unreachable("connection reset"),
        FetchError::Truncated,
        FetchError::Timeout(crate::transport::TimeLimit::Unnamed),
        FetchError::Redirect,
        FetchError::TooLarge { limit: 1 },
    ] {
        let (repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.refresh(dir.path()).await.unwrap();
        repo.server.fail("2.root.json", error.clone());
        repo.server.asked();
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert!(matches!(problem.exit(), 30 | 31 | 34), "{error:?} {}", problem.exit());
        assert_eq!(repo.server.asked(), ["2.root.json"], "{error:?}: nothing is asked after it");
    }
}

#[tokio::test]
async fn a_server_that_withholds_what_was_verified_before_cannot_have_it_called_unknown() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    let (timestamp, before) = (repo.server.bytes("timestamp.json"), on_disk(dir.path()));
    repo.server.remove("timestamp.json");
    let problem = repo.refresh(dir.path()).await.unwrap_err();
    assert_eq!((problem.id(), problem.exit()), ("E3406", 34));
    assert!(problem.text().contains("timestamp v1") && problem.text().contains("2030-01-01"), "{}", problem.text());
    assert_eq!(on_disk(dir.path()), before, "what was seen stays");
    // Offline, what was verified still holds; and nothing has to be repaired when the server is back.
    assert!(repo.offline_at(dir.path(), now()).is_ok());
    repo.server.put("timestamp.json", timestamp);
    repo.refresh(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_server_is_told_from_one_that_lost_a_file() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.server.remove("timestamp.json");
    for _ in 0..2 {
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert_eq!((problem.id(), problem.exit()), ("E3604", 10));
        assert!(problem.text().contains("no trust server at all"), "{}", problem.text());
    }
    // A server that sends the next root has the collection.
    repo.rotate(|_| {});
    repo.server.remove("timestamp.json");
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::FileMissing);
    // The root is stored by now: the next run has nothing of this server again, and never verified a timestamp.
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::NoSuchCollection);
    repo.publish();
    repo.refresh(dir.path()).await.unwrap();
    repo.server.remove("timestamp.json");
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::CollectionGone);
}

#[tokio::test]
async fn a_root_hidden_by_a_cache_is_found_before_a_timestamp_is_judged() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    repo.rotate(|r| r.timestamp_seed = 22);
    repo.bump();
    repo.server.cache("2.root.json", FetchError::NotFound);
    repo.server.asked();
    repo.refresh(dir.path()).await.unwrap();
    assert_eq!(
        repo.server.asked(),
        ["2.root.json", "timestamp.json", "2.root.json", "3.root.json", "2.snapshot.json", "2.targets.json"]
    );
    assert_eq!(on_disk(dir.path()), [2, 2, 2, 2]);
}

#[tokio::test]
async fn a_server_with_another_root_than_the_pinned_one_is_named_as_such() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    let mut other = Repo::new();
    (other.root_seed, other.root_signing) = (60, vec![60]);
    (other.timestamp_seed, other.snapshot_seed, other.targets_seed) = (61, 62, 63);
    other.publish_root();
    other.publish();
    let problem =
        crate::reader::Reader::refresh(repo.anchor(), open(dir.path()), other.server.clone(), now()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::OtherRoot, 16));
    assert_eq!(on_disk(dir.path()), [1, 0, 0, 0]);
    other.rotate(|r| r.root_seed = 64);
    let problem =
        crate::reader::Reader::refresh(repo.anchor(), open(dir.path()), other.server.clone(), now()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::NoRootChain, 16));
}

#[tokio::test]
async fn a_root_that_was_seen_cannot_be_held_back_when_the_history_is_lost() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.rotate(|_| {});
    repo.refresh(dir.path()).await.unwrap();
    std::fs::remove_file(folder(dir.path()).join("root_history/2.root.json")).unwrap();
    let root = repo.server.bytes("2.root.json");
    repo.server.remove("2.root.json");
    let problem = repo.refresh(dir.path()).await.unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::RootRollback, 15));
    assert_eq!(repo.offline_at(dir.path(), now()).unwrap_err().code, Code::RootRollback);
    repo.server.put("2.root.json", root);
    repo.refresh(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_newly_pinned_root_starts_anew_and_the_old_chain_does_not_get_in_its_way() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.timestamp_version = 900;
    repo.publish();
    for _ in 0..3 {
        repo.rotate(|_| {});
    }
    repo.refresh(dir.path()).await.unwrap();
    let mut other = Repo::new();
    (other.root_seed, other.root_signing) = (60, vec![60]);
    (other.timestamp_seed, other.snapshot_seed, other.targets_seed) = (61, 62, 63);
    other.publish_root();
    other.first_root = other.server.bytes("1.root.json");
    other.publish();
    other.refresh(dir.path()).await.unwrap();
    assert_eq!(on_disk(dir.path()), [1, 1, 1, 1]);
    other.refresh(dir.path()).await.unwrap();
}

#[tokio::test]
async fn pinning_a_later_root_of_the_same_chain_keeps_the_floor() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    let old = repo.server.bytes("timestamp.json");
    repo.rotate(|_| {});
    repo.bump();
    repo.refresh(dir.path()).await.unwrap();
    repo.first_root = repo.server.bytes("2.root.json");
    repo.server.put("timestamp.json", old);
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::TimestampRollback);
}

#[tokio::test]
async fn offline_uses_only_what_is_stored_and_says_when_it_has_expired() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    assert_eq!(repo.offline_at(dir.path(), now()).unwrap_err().code, Code::NothingStored);
    repo.refresh(dir.path()).await.unwrap();
    repo.server.asked();
    repo.offline_at(dir.path(), now()).unwrap();
    let problem = repo.offline_at(dir.path(), time("2030-01-02T00:00:00Z")).unwrap_err();
    assert_eq!((problem.code, problem.exit()), (Code::StoredExpired, 14));
    assert!(matches!(reason(&problem), Reason::Expired { .. }));
    assert!(repo.server.asked().is_empty());
    // An update that was interrupted after the timestamp leaves nothing that can be used offline.
    repo.bump();
    repo.server.fail("2.snapshot.json", FetchError::Timeout(crate::transport::TimeLimit::Unnamed));
    repo.refresh(dir.path()).await.unwrap_err();
    assert_eq!(repo.offline_at(dir.path(), now()).unwrap_err().code, Code::StoredIncomplete);
}

#[tokio::test]
async fn a_clock_that_went_back_is_named_and_a_small_step_is_not() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    let back = |seconds: i64| now().plus_secs(-seconds).unwrap();
    repo.refresh_at(dir.path(), back(CLOCK_TOLERANCE)).await.unwrap();
    for problem in [
        repo.refresh_at(dir.path(), back(CLOCK_TOLERANCE + 1 + 60)).await.map(drop).unwrap_err(),
        repo.offline_at(dir.path(), back(86_400)).map(drop).unwrap_err(),
    ] {
        assert_eq!((problem.code, problem.exit()), (Code::ClockBack, 14));
        assert!(problem.text().contains("clock"));
    }
}

#[tokio::test]
async fn within_the_allowed_staleness_nobody_is_asked_and_after_it_somebody_is() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    repo.server.asked();
    let options =
        crate::reader::Options { max_staleness: Some(Duration::from_secs(3_600)), ..crate::reader::Options::default() };
    for (later, asked) in [(3_600, 0), (3_601, 2)] {
        let at = now().plus_secs(later).unwrap();
        let reader = crate::reader::Reader::refresh_with(
            repo.anchor(),
            open(dir.path()),
            repo.server.clone(),
            at,
            options.clone(),
        );
        reader.await.unwrap();
        assert_eq!(repo.server.asked().len(), asked);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_ends_in_time() {
    struct Silent;
    impl Transport for Silent {
        async fn fetch(&self, _: &str, _: u64) -> Result<Bytes, FetchError> {
            std::future::pending().await
        }
    }
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    let options = crate::reader::Options { patience: Duration::from_millis(50), ..crate::reader::Options::default() };
    let problem = crate::reader::Reader::refresh_with(repo.anchor(), open(dir.path()), Silent, now(), options);
    assert_eq!(problem.await.unwrap_err().code, Code::Timeout);
}

/// Ends the run at every step of every write, and shows that the next one goes on.
#[tokio::test]
async fn a_kill_at_any_moment_leaves_a_state_that_goes_on_and_keeps_its_floor() {
    // A rotation of the online keys with lower versions as well: then a record must be given up before its file.
    for rotated in [false, true] {
        let mut kills = 0;
        loop {
            let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
            repo.timestamp_version = 10;
            repo.publish();
            repo.refresh(dir.path()).await.unwrap();
            if rotated {
                repo.rotate(|r| (r.timestamp_seed, r.snapshot_seed) = (22, 33));
                repo.timestamp_version = 3;
            } else {
                repo.rotate(|_| {});
            }
            repo.bump();
            let store = open(dir.path());
            store.kill_after(kills);
            let later = now().plus_secs(3_600).unwrap();
            let killed = crate::reader::Reader::refresh(repo.anchor(), store, repo.server.clone(), later).await;
            let ended = killed.is_ok();
            drop(killed);
            // What was written is whole: offline it serves, or says that an update is due; it is never called damaged.
            if let Err(problem) = repo.offline_at(dir.path(), later) {
                assert_eq!(problem.code, Code::StoredIncomplete, "after {kills} steps");
            }
            let old = Repo::new();
            // The old timestamp must never be taken again, whatever was written.
            let current = repo.server.bytes("timestamp.json");
            if !rotated {
                repo.server.put("timestamp.json", old.server.bytes("timestamp.json"));
                let problem = repo.refresh_at(dir.path(), later).await.unwrap_err();
                assert_eq!(problem.code, Code::TimestampRollback, "after {kills} steps");
                repo.server.put("timestamp.json", current);
            }
            repo.refresh_at(dir.path(), later).await.unwrap_or_else(|p| panic!("after {kills} steps: {p:?}"));
            assert_eq!(on_disk(dir.path())[0], 2);
            assert_eq!(on_disk(dir.path())[2..], [2, 2]);
            if ended {
                break;
            }
            kills += 1;
        }
        assert!(kills > 30, "the writes have {kills} steps");
    }
}

#[tokio::test]
async fn a_large_targets_file_is_taken_whole_or_not_at_all() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    for n in 0..9_000 {
        repo.targets.insert(format!("services/api/v{n}"), TargetInfo::of(format!("{n}").as_bytes()));
    }
    repo.bump();
    let whole = repo.server.bytes("2.targets.json");
    assert!(whole.len() > 1024 * 1024, "{}", whole.len());
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        (whole[..whole.len() - 1].to_vec(), Code::MetadataDiffers),
        (whole[..7].to_vec(), Code::MetadataDiffers),
        (Vec::new(), Code::MetadataDiffers),
        (changed(whole.len() / 2), Code::MetadataDiffers),
        ([&whole[..], b" "].concat(), Code::AnswerRefused),
    ];
    for (bytes, code) in cases {
        repo.server.put("2.targets.json", bytes);
        assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, code);
        assert_eq!(on_disk(dir.path()), [1, 2, 2, 0]);
    }
    repo.server.put("2.targets.json", whole);
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    assert!(reader.lookup("services/api/v8999").await.unwrap().hit().is_some());
    assert_eq!(on_disk(dir.path()), [1, 2, 2, 2]);
}
