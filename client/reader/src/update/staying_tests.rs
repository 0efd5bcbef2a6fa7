//! A process that stays up: what it remembers spares work and changes no verdict, whatever time, the server and other
//! processes do to what it remembers.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::{TempDir, tempdir};
use trust_tuf::TargetInfo;

use super::*;
use crate::catalogue::Code;
use crate::reader::{Options, Reader};
use crate::testing::*;
use crate::verdict::Problem;

/// A process that opens the state for each update, as a gate does, and hands on what it verified.
struct Process {
    dir: TempDir,
    earlier: Option<TrustedSet>,
}

impl Process {
    fn new() -> Self {
        Self { dir: tempdir().unwrap(), earlier: None }
    }

    async fn refresh_at(&mut self, repo: &Repo, now: UtcTime) -> Result<(), Problem> {
        let options = Options { earlier: self.earlier.clone(), ..Options::default() };
        let server = repo.server.clone();
        let mut reader = Reader::refresh_with(repo.anchor(), open(self.dir.path()), server, now, options).await?;
        reader.lookup("v1").await?;
        self.earlier = Some(reader.trusted().clone());
        Ok(())
    }

    async fn refresh(&mut self, repo: &Repo) -> Result<(), Problem> {
        self.refresh_at(repo, now()).await
    }

    async fn refused(&mut self, repo: &Repo) -> Code {
        self.refresh(repo).await.unwrap_err().code
    }

    fn set(&self) -> &TrustedSet {
        self.earlier.as_ref().unwrap()
    }

    fn versions(&self) -> [u64; 3] {
        let set = self.set();
        [set.timestamp().version().get(), set.snapshot().version().get(), set.targets().version().get()]
    }
}

/// One signer, who lists `v1`.
fn repo() -> Repo {
    let mut repo = Repo::new();
    repo.role("alice", 10, &["*"]).targets.insert("v1".to_owned(), TargetInfo::of(b"1"));
    repo.publish();
    repo
}

/// Where each file lies: another number for one that was written anew.
fn places(dir: &Path) -> BTreeMap<String, u64> {
    let files = std::fs::read_dir(folder(dir)).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().ino())).collect()
}

/// Where the signers of each file lie in memory: the same place only if it was not verified again.
fn in_memory(set: &TrustedSet) -> [*const (); 5] {
    let alice = set.delegated("targets", "alice").unwrap();
    [
        set.root().signers().as_ptr().cast(),
        set.timestamp().signers().as_ptr().cast(),
        set.snapshot().signers().as_ptr().cast(),
        set.targets().signers().as_ptr().cast(),
        alice.signers().as_ptr().cast(),
    ]
}

#[tokio::test]
async fn where_nothing_changed_nothing_is_verified_again_and_nothing_but_the_record_is_written() {
    let (repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    let (verified, lying) = (in_memory(process.set()), places(process.dir.path()));
    repo.server.asked();
    for (later, is_noted) in [(0, false), (59, false), (60, true)] {
        let at = now().plus_secs(later).unwrap();
        process.refresh_at(&repo, at).await.unwrap();
        assert_eq!(repo.server.asked(), ["2.root.json", "timestamp.json"]);
        assert_eq!(in_memory(process.set()), verified);
        assert_eq!(process.set().now(), at);
        let mut written = places(process.dir.path());
        written.retain(|name, place| lying.get(name) != Some(place));
        assert_eq!(written.into_keys().collect::<Vec<_>>(), if is_noted { vec!["format"] } else { vec![] });
    }
    let store = open(process.dir.path());
    assert_eq!(store.refreshed(), now().plus_secs(60));
}

#[tokio::test]
async fn the_same_bytes_are_refused_once_one_of_them_has_expired() {
    for (file, code) in [
        ("root", Code::RootExpired),
        ("timestamp", Code::TimestampExpired),
        ("snapshot", Code::RoleExpired),
        ("targets", Code::RoleExpired),
        ("alice", Code::RoleExpired),
    ] {
        let (mut repo, mut process) = (repo(), Process::new());
        let (soon, far) = (time("2030-01-01T01:00:00Z"), time("2031-01-01T00:00:00Z"));
        let of = |name: &str| if name == file { soon } else { far };
        (repo.root_expires, repo.timestamp_expires) = (of("root"), of("timestamp"));
        (repo.snapshot_expires, repo.targets_expires) = (of("snapshot"), of("targets"));
        repo.roles[0].expires = of("alice");
        repo.publish_root();
        repo.first_root = repo.server.bytes("1.root.json");
        repo.publish();
        process.refresh_at(&repo, soon.plus_secs(-1).unwrap()).await.unwrap();
        let problem = process.refresh_at(&repo, soon).await.unwrap_err();
        assert_eq!((problem.exit(), problem.code), (14, code), "{file}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_refused_after_a_rotation_that_took_their_key_away() {
    type Rotation = fn(&mut Repo);
    let rotations: [(&str, Rotation); 3] = [
        ("timestamp", |repo| repo.timestamp_seed = 22),
        ("snapshot", |repo| repo.snapshot_seed = 23),
        ("targets", |repo| repo.targets_seed = 24),
    ];
    for (role, rotation) in rotations {
        let (mut repo, mut process) = (repo(), Process::new());
        process.refresh(&repo).await.unwrap();
        // The new root alone: every other file stays as the process verified it.
        repo.rotate(rotation);
        let problem = process.refresh(&repo).await.unwrap_err();
        let failure = problem.failure.as_ref().unwrap();
        let Failure::Update(error) = failure.main() else { panic!("{role}: {problem:?}") };
        assert_eq!((error.role.as_str(), &error.reason), (role, &Reason::Signatures { valid: 0, needed: 1 }));
        repo.bump();
        process.refresh(&repo).await.unwrap();
        assert_eq!(process.versions(), [2, 2, 2]);
    }
}

#[tokio::test]
async fn a_signer_whose_key_was_exchanged_signs_no_more_though_its_file_is_known() {
    let (mut repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    let known = repo.server.bytes("1.alice.json");
    // `targets` names another key; the file of the role stays, and the snapshot lists it as it was.
    repo.roles[0].seed = 11;
    (repo.targets_version, repo.snapshot_version, repo.timestamp_version) = (2, 2, 2);
    repo.publish();
    assert_eq!(repo.server.bytes("1.alice.json"), known);
    let problem = process.refresh(&repo).await.unwrap_err();
    assert_eq!(problem.code, Code::RoleSignatures);
}

#[tokio::test]
async fn older_bytes_that_the_process_verified_itself_are_a_rollback() {
    let (mut repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    let known = repo.server.bytes("timestamp.json");
    repo.bump();
    process.refresh(&repo).await.unwrap();
    let new = repo.server.bytes("timestamp.json");
    repo.server.put("timestamp.json", known);
    for _ in 0..2 {
        assert_eq!(process.refused(&repo).await, Code::TimestampRollback);
    }
    repo.server.put("timestamp.json", new);
    process.refresh(&repo).await.unwrap();
    assert_eq!(process.versions(), [2, 2, 2]);
}

#[tokio::test]
async fn what_another_process_has_seen_since_is_the_floor_and_not_what_this_one_remembers() {
    let (mut repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    let known = repo.server.bytes("timestamp.json");
    repo.bump();
    repo.refresh(process.dir.path()).await.unwrap();
    let new = repo.server.bytes("timestamp.json");
    // For the process these are the bytes of its last update.
    repo.server.put("timestamp.json", known);
    assert_eq!(process.refused(&repo).await, Code::TimestampRollback);
    assert_eq!(on_disk(process.dir.path()), [1, 2, 2, 2]);
    repo.server.put("timestamp.json", new);
    process.refresh(&repo).await.unwrap();
    assert_eq!(process.versions(), [2, 2, 2]);
}

#[tokio::test]
async fn a_root_that_another_process_has_seen_since_cannot_be_held_back() {
    let (mut repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    repo.rotate(|_| {});
    repo.refresh(process.dir.path()).await.unwrap();
    repo.server.remove("2.root.json");
    process.refresh(&repo).await.unwrap();
    assert_eq!(process.set().root().version().get(), 2, "from the store");
    std::fs::remove_file(folder(process.dir.path()).join("root_history/2.root.json")).unwrap();
    assert_eq!(process.refused(&repo).await, Code::RootRollback);
}

#[tokio::test]
async fn damage_to_the_stored_state_is_noticed_though_the_process_knows_what_lay_there() {
    for file in ["timestamp.json", "snapshot.json"] {
        let (repo, mut process) = (repo(), Process::new());
        process.refresh(&repo).await.unwrap();
        let path = folder(process.dir.path()).join(file);
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", &[&whole[..], b" "].concat()] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(process.refused(&repo).await, Code::StateDamaged, "{file}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(process.refused(&repo).await, Code::StateDamaged, "{file}");
        std::fs::write(&path, whole).unwrap();
        rustix::fs::chmod(&path, 0o600.into()).unwrap();
        process.refresh(&repo).await.unwrap();
    }
}

/// A record says what was stored, never what was verified.
#[tokio::test]
async fn a_forged_file_is_not_believed_because_the_record_on_disk_vouches_for_it() {
    let (repo, mut process) = (repo(), Process::new());
    process.refresh(&repo).await.unwrap();
    // The files of a repository with other keys, in this state folder, with a record that fits them.
    let mut forger = Repo { server: Server::default(), ..repo.clone() };
    (forger.timestamp_signing, forger.snapshot_signing, forger.targets_signing) = (Some(66), Some(67), Some(68));
    forger.roles[0].signing = 69;
    forger.roles[0].targets.insert("v1".to_owned(), TargetInfo::of(b"evil"));
    forger.bump();
    let mut store = open(process.dir.path());
    let version = Version::new(2).unwrap();
    store.keep_timestamp(version, &forger.server.bytes("timestamp.json")).unwrap();
    store.keep_snapshot(version, &forger.server.bytes("2.snapshot.json")).unwrap();
    store.keep_targets("targets", &forger.server.bytes("2.targets.json")).unwrap();
    store.keep_targets("alice", &forger.server.bytes("2.alice.json")).unwrap();
    drop(store);
    process.refresh(&repo).await.unwrap();
    assert_eq!(process.versions(), [1, 1, 1]);
    let alice = process.set().delegated("targets", "alice").unwrap();
    assert_eq!(alice.target("v1"), Some(TargetInfo::of(b"1")));
    assert_eq!(process.refused(&forger).await, Code::RoleSignatures);
}

#[tokio::test]
async fn a_state_folder_that_was_emptied_or_put_back_below_the_process_is_filled_again() {
    for put_back in [false, true] {
        let (mut repo, mut process) = (repo(), Process::new());
        process.refresh(&repo).await.unwrap();
        let (state, older) = (folder(process.dir.path()), tempdir().unwrap());
        let kept: Vec<_> = places(process.dir.path()).into_keys().filter(|name| name != "root_history").collect();
        for name in &kept {
            std::fs::copy(state.join(name), older.path().join(name)).unwrap();
        }
        repo.bump();
        process.refresh(&repo).await.unwrap();
        if put_back {
            for name in &kept {
                std::fs::copy(older.path().join(name), state.join(name)).unwrap();
            }
        } else {
            std::fs::remove_dir_all(&state).unwrap();
        }
        process.refresh(&repo).await.unwrap();
        assert_eq!(on_disk(process.dir.path()), [1, 2, 2, 2]);
        // The next process needs nobody.
        let mut next = repo.offline_at(process.dir.path(), now()).unwrap();
        assert!(next.lookup("v1").await.unwrap().hit().is_some(), "put back: {put_back}");
    }
}
