use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::tempdir;

use super::*;
use crate::catalogue::Code;
use crate::testing::{Repo, folder, now, on_disk, open};

fn collection() -> CollectionName {
    CollectionName::parse(crate::testing::COLLECTION).unwrap()
}

#[tokio::test]
async fn a_file_that_is_cut_off_anywhere_is_damage_and_never_a_first_use() {
    for file in ["timestamp.json", "snapshot.json", "format"] {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        let path = folder(dir.path()).join(file);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 2, whole.len() / 3, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            if file == "format" {
                let error = StateStore::open(dir.path(), &collection()).unwrap_err();
                assert!(matches!(error, StateError::Damaged { .. }), "{file} {length}: {error:?}");
                assert_eq!(crate::verdict::Problem::from(&error).exit(), 35);
                continue;
            }
            repo.server.asked();
            for problem in [
                repo.refresh(dir.path()).await.map(drop).unwrap_err(),
                repo.offline_at(dir.path(), now()).map(drop).unwrap_err(),
            ] {
                assert_eq!((problem.code, problem.exit()), (Code::StateDamaged, 35), "{file} {length}");
                assert!(problem.text().contains(file), "the message names the file");
            }
        }
        std::fs::write(&path, &whole).unwrap();
        repo.refresh(dir.path()).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_vanished_is_noticed_and_the_message_says_what_is_lost() {
    for (file, version) in [("timestamp.json", "version 2"), ("snapshot.json", "version 2")] {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        std::fs::remove_file(folder(dir.path()).join(file)).unwrap();
        let problem = repo.refresh(dir.path()).await.unwrap_err();
        assert_eq!((problem.code, problem.exit()), (Code::StateDamaged, 35));
        assert!(problem.text().contains(version), "{}", problem.text());
    }
}

#[tokio::test]
async fn a_record_that_vanished_is_noticed() {
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    std::fs::remove_file(folder(dir.path()).join("format")).unwrap();
    assert!(matches!(StateStore::open(dir.path(), &collection()), Err(StateError::Damaged { .. })));
}

#[tokio::test]
async fn an_older_file_put_back_and_a_changed_one_are_noticed() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    let path = folder(dir.path()).join("timestamp.json");
    let old = std::fs::read(&path).unwrap();
    repo.bump();
    repo.refresh(dir.path()).await.unwrap();
    let new = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, old).unwrap();
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::StateDamaged);
    std::fs::write(&path, format!("{new} ")).unwrap();
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::StateDamaged);
}

/// The file with the version that it states for itself (the last one in canonical order) raised.
fn with_a_raised_version(path: &std::path::Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let (before, after) = text.rsplit_once("\"version\":").unwrap();
    // A digit more in front of the one that is there.
    std::fs::write(path, format!("{before}\"version\":9{after}")).unwrap();
}

#[tokio::test]
async fn damage_that_raises_a_version_does_not_open_the_way_for_a_rollback() {
    for file in ["timestamp.json", "snapshot.json"] {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        let old = Repo { server: crate::testing::Server::default(), ..repo.clone() };
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        with_a_raised_version(&folder(dir.path()).join(file));
        let before = on_disk(dir.path());
        // A server that shows the world as it was before.
        let mut replay = old;
        replay.publish_root();
        replay.publish();
        for repo in [&replay, &repo] {
            for problem in [
                repo.refresh(dir.path()).await.map(drop).unwrap_err(),
                repo.offline_at(dir.path(), now()).map(drop).unwrap_err(),
            ] {
                let expected = match (file, std::ptr::eq(repo, &raw const replay)) {
                    // The timestamp, still whole, refuses the replay first.
                    ("snapshot.json", true) if problem.code == Code::TimestampRollback => Code::TimestampRollback,
                    _ => Code::StateDamaged,
                };
                assert_eq!(problem.code, expected, "{file}: {}", problem.text());
            }
        }
        assert_eq!(on_disk(dir.path()), before, "{file}: nothing was replaced");
    }
}

#[tokio::test]
async fn a_file_stored_by_an_interrupted_run_under_keys_that_left_since_is_no_damage() {
    for file in ["timestamp.json", "snapshot.json"] {
        let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
        repo.refresh(dir.path()).await.unwrap();
        let record = std::fs::read(folder(dir.path()).join("format")).unwrap();
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        // As if the run had ended before the record.
        std::fs::write(folder(dir.path()).join("format"), record).unwrap();
        repo.rotate(|r| match file {
            "timestamp.json" => r.timestamp_seed = 30,
            _ => r.snapshot_seed = 31,
        });
        repo.bump();
        repo.refresh(dir.path()).await.unwrap();
        assert_eq!(on_disk(dir.path()), [2, 3, 3, 3], "{file}");
    }
}

#[tokio::test]
async fn damaged_targets_and_roots_are_fetched_again() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.rotate(|_| {});
    repo.refresh(dir.path()).await.unwrap();
    for file in ["targets.json", "root.json", "root_history/1.root.json", "root_history/2.root.json"] {
        std::fs::write(folder(dir.path()).join(file), b"{").unwrap();
        repo.refresh(dir.path()).await.unwrap_or_else(|p| panic!("{file}: {p:?}"));
        assert_eq!(on_disk(dir.path()), [2, 1, 1, 1]);
    }
}

#[tokio::test]
async fn links_special_files_foreign_owners_and_open_modes_are_refused_by_name() {
    type Plant = fn(&Path);
    let plants: &[(&str, Plant)] = &[
        ("a link", |p| {
            let elsewhere = p.with_extension("moved");
            std::fs::rename(p, &elsewhere).unwrap();
            symlink(elsewhere, p).unwrap();
        }),
        ("a FIFO", |p| {
            std::fs::remove_file(p).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, p, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("a folder", |p| {
            std::fs::remove_file(p).unwrap();
            std::fs::create_dir(p).unwrap();
        }),
        ("others may write", |p| std::fs::set_permissions(p, PermissionsExt::from_mode(0o666)).unwrap()),
        ("a huge file", |p| std::fs::File::create(p).unwrap().set_len(1 << 40).unwrap()),
    ];
    for file in ["timestamp.json", "snapshot.json", "targets.json", "format", "root_history/1.root.json"] {
        for (what, plant) in plants {
            let (repo, dir) = (Repo::new(), tempdir().unwrap());
            repo.refresh(dir.path()).await.unwrap();
            plant(&folder(dir.path()).join(file));
            let error = match StateStore::open(dir.path(), &collection()) {
                Err(error) => error,
                Ok(store) => {
                    let reader = crate::reader::Reader::refresh(repo.anchor(), store, repo.server.clone(), now());
                    match reader.await.unwrap_err().failure.as_deref() {
                        Some(crate::problems::Failure::State(error)) => error.clone(),
                        other => panic!("{file} {what}: {other:?}"),
                    }
                }
            };
            assert!(
                matches!(&error, StateError::Refused { path, .. } if path.ends_with(file)),
                "{file} {what}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_state_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can give a file away
    }
    let (repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.refresh(dir.path()).await.unwrap();
    std::os::unix::fs::chown(folder(dir.path()).join("timestamp.json"), Some(1), None).unwrap();
    assert_eq!(repo.refresh(dir.path()).await.unwrap_err().code, Code::StateRefused);
}

#[test]
fn a_folder_that_is_a_link_or_open_to_others_is_refused() {
    let dir = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    symlink(elsewhere.path(), folder(dir.path())).unwrap();
    let error = StateStore::open(dir.path(), &collection()).unwrap_err();
    assert!(matches!(error, StateError::Refused { .. }), "{error:?}");
    std::fs::remove_file(folder(dir.path())).unwrap();
    std::fs::create_dir(folder(dir.path())).unwrap();
    std::fs::set_permissions(folder(dir.path()), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(matches!(StateStore::open(dir.path(), &collection()), Err(StateError::Refused { .. })));
}

#[tokio::test]
async fn everything_is_written_for_this_user_alone() {
    let (mut repo, dir) = (Repo::new(), tempdir().unwrap());
    repo.role("alice", 10, &["*"]);
    repo.bump();
    let mut reader = repo.refresh(dir.path()).await.unwrap();
    assert!(reader.load_all_roles().await.unwrap().is_empty());
    drop(reader);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder(dir.path())), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder(dir.path())).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        let wanted = if entry.file_type().unwrap().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&entry.path()), wanted, "{:?}", entry.path());
    }
    names.sort();
    let expected = [
        "alice.json",
        "format",
        "lock",
        "root.json",
        "root_history",
        "snapshot.json",
        "targets.json",
        "timestamp.json",
    ];
    assert_eq!(names, expected, "no temporary file stays, and nothing but metadata ends in .json");
}

#[test]
fn two_processes_take_turns() {
    let dir = tempdir().unwrap();
    let first = open(dir.path());
    let error = StateStore::open_at(&folder(dir.path()), collection().as_str(), Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }));
    drop(first);
    open(dir.path());
}

#[test]
fn a_newer_format_and_another_collection_are_refused() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let path = folder(dir.path()).join("format");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\":1", "\"format\":2")).unwrap();
    assert!(matches!(StateStore::open(dir.path(), &collection()), Err(StateError::Format { found: 2, .. })));
    std::fs::write(&path, text.replace("example.com/pay", "example.com/hr")).unwrap();
    assert!(matches!(StateStore::open(dir.path(), &collection()), Err(StateError::Damaged { .. })));
}

#[test]
fn no_role_name_leaves_the_folder_or_takes_the_file_of_another() {
    let long = "é".repeat(150);
    let names = ["../root", "/x", "a b", "é", "?", "..", long.as_str(), "format", "lock", "%2F", "root_history"];
    let mut files: Vec<String> = names.iter().map(|n| StateFile::Role(n).name()).collect();
    for name in &files {
        assert!(!name.contains('/') && name.len() <= 255 && name.ends_with(".json") && !name.contains('\0'), "{name}");
    }
    files.extend([StateFile::Root, StateFile::Timestamp, StateFile::Snapshot, StateFile::Targets].map(StateFile::name));
    let count = files.len();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), count);
}
