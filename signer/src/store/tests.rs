//! The store refuses what is not private, not whole or not its own, and nothing in it can be changed unnoticed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use trust_keys::Passphrase;
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, KeyId, RoleName, UtcTime, Version};

use super::*;
use crate::vault::{DEV_COST, new_identity};

const NOW: UtcTime = match UtcTime::from_unix(1_900_000_000) {
    Some(now) => now,
    None => panic!(),
};

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn created() -> TempDir {
    let dir = folder();
    let identity = new_identity(&Passphrase::new("p").unwrap(), DEV_COST).unwrap();
    Store::create(dir.path(), &identity).unwrap();
    dir
}

fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

fn name() -> CollectionName {
    CollectionName::parse("r.example/a").unwrap()
}

fn marks(n: u64) -> Marks {
    Marks { root: version(1), snapshot: version(n), timestamp: version(n), publication: [1; 32] }
}

/// A change that signs version `n` of both files.
fn change(n: u64) -> Change {
    let file = |role: OnlineRole| NewSigned {
        role,
        version: version(n),
        expires: NOW.plus_secs(60).unwrap(),
        bytes: format!("{{\"signatures\":[{{\"keyid\":\"k\",\"sig\":\"\"}}],\"signed\":{n}}}").into_bytes(),
        keyids: vec![KeyId::new("k")],
    };
    Change {
        collection: name(),
        expected: (n > 1).then(|| marks(n - 1)),
        marks: marks(n),
        admission: (n == 1).then(|| Admission { root_sha256: sha256(b"root"), by: "dev".to_owned() }),
        roots: if n == 1 { vec![(version(1), Arc::from(*b"root"))] } else { Vec::new() },
        roles: vec![(RoleName::targets(), version(n), Arc::from(*b"targets"))],
        buried: Vec::new(),
        gone: Vec::new(),
        named_keys: Vec::new(),
        dropped_keys: Vec::new(),
        signed: OnlineRole::ALL.map(file).into(),
    }
}

fn filled() -> TempDir {
    let dir = created();
    let mut store = Store::open(dir.path()).unwrap();
    for n in 1..=4 {
        store.apply(NOW, &[change(n)]).unwrap();
    }
    assert_eq!(store.verify_audit().unwrap().signatures, 8);
    dir
}

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join(FILE)).unwrap()
}

fn is_unsafe(dir: &Path) -> bool {
    matches!(Store::open(dir), Err(StoreError::Unsafe { .. }))
}

#[test]
fn a_folder_or_file_that_others_can_use_is_refused() {
    let dir = created();
    for mode in [0o701, 0o710, 0o750, 0o755, 0o777, 0o1777] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(is_unsafe(dir.path()), "{mode:o}");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let _open = Store::open(dir.path()).unwrap();
    for file in [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm")] {
        let path = dir.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{}", path.display());
        for mode in [0o604, 0o640, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(is_unsafe(dir.path()), "{} {mode:o}", path.display());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_symbolic_link_or_another_kind_of_file_is_refused() {
    let (dir, place) = (created(), folder());
    let link = place.path().join("link");
    symlink(dir.path(), &link).unwrap();
    assert!(is_unsafe(&link), "a link to the folder");
    symlink(dir.path().join(FILE), place.path().join(FILE)).unwrap();
    assert!(is_unsafe(place.path()), "a link to the file");
    fs::remove_file(place.path().join(FILE)).unwrap();
    fs::create_dir(place.path().join(FILE)).unwrap();
    assert!(is_unsafe(place.path()), "a folder in its place");
}

#[test]
fn a_store_of_somebody_else_is_refused() {
    let dir = created();
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: a_store_of_somebody_else_is_refused: needs root to give files away");
        return;
    }
    std::os::unix::fs::chown(dir.path().join(FILE), Some(12_345), None).unwrap();
    assert!(is_unsafe(dir.path()));
    std::os::unix::fs::chown(dir.path().join(FILE), Some(0), None).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(12_345), None).unwrap();
    assert!(is_unsafe(dir.path()));
}

#[test]
fn a_missing_empty_truncated_or_foreign_file_is_never_taken_for_a_new_store() {
    let empty = folder();
    assert!(matches!(Store::open(empty.path()), Err(StoreError::NotInitialised { .. })));
    assert!(matches!(Store::open(&empty.path().join("none")), Err(StoreError::NotInitialised { .. })));
    let dir = created();
    let good = fs::read(dir.path().join(FILE)).unwrap();
    let cuts = (0..good.len()).step_by(4_096).chain([1, 16, 64, 99, 100, 512]);
    for cut in cuts {
        let place = folder();
        let path = place.path().join(FILE);
        fs::write(&path, &good[..cut]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let identity = Store::open(place.path()).and_then(|store| store.verify_audit().and_then(|_| store.identity()));
        assert!(identity.is_err(), "cut at {cut}");
    }
    for sql in ["PRAGMA application_id = 1", "PRAGMA user_version = 0", "PRAGMA user_version = 3"] {
        let dir = created();
        database(dir.path()).execute_batch(sql).unwrap();
        assert!(Store::open(dir.path()).is_err(), "{sql}");
    }
}

#[test]
fn a_store_is_never_replaced_and_what_a_crash_left_of_making_one_does_no_harm() {
    let dir = folder();
    for left in [".new-signer.db", ".new-signer.db-wal", ".new-signer.db-journal"] {
        fs::write(dir.path().join(left), "half").unwrap();
    }
    let identity = new_identity(&Passphrase::new("p").unwrap(), DEV_COST).unwrap();
    Store::create(dir.path(), &identity).unwrap();
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [FILE]);
    assert!(matches!(Store::create(dir.path(), &identity), Err(StoreError::Exists { .. })));
}

#[test]
fn only_one_signer_runs_on_a_store() {
    let dir = created();
    let lock = Store::lock(dir.path()).unwrap();
    assert!(matches!(Store::lock(dir.path()), Err(StoreError::InUse { .. })));
    drop(lock);
    Store::lock(dir.path()).unwrap();
}

#[test]
fn what_was_signed_audited_or_rooted_cannot_be_changed_and_marks_do_not_go_down() {
    let dir = filled();
    let db = database(dir.path());
    for sql in [
        "UPDATE signed SET body = x'00'",
        "DELETE FROM signed",
        "INSERT INTO signed SELECT * FROM signed LIMIT 1",
        "UPDATE audit SET entry = x'00'",
        "DELETE FROM audit",
        "UPDATE root SET body = x'00'",
        "DELETE FROM root",
        "UPDATE collection SET snapshot = snapshot - 1",
        "UPDATE collection SET timestamp = timestamp - 1",
        "DELETE FROM collection",
        "UPDATE role_file SET version = version - 1",
        "UPDATE clock SET last = last - 1",
    ] {
        assert!(db.execute_batch(sql).is_err(), "{sql}");
    }
    drop(db);
    Store::open(dir.path()).unwrap().verify_audit().unwrap();
}

#[test]
fn a_change_for_other_marks_or_for_a_version_that_is_there_leaves_nothing() {
    let dir = filled();
    let mut store = Store::open(dir.path()).unwrap();
    let before = store.verify_audit().unwrap();
    assert!(matches!(store.apply(NOW, &[change(4)]), Err(StoreError::Conflict(_))));
    assert!(matches!(store.apply(NOW, &[change(6)]), Err(StoreError::Conflict(_))));
    let mut again = change(5);
    again.signed = change(4).signed;
    assert!(store.apply(NOW, &[again]).is_err());
    // One bad change of a batch takes the good one with it.
    assert!(store.apply(NOW, &[change(5), change(7)]).is_err());
    assert_eq!(store.verify_audit().unwrap(), before);
    assert_eq!(store.marks(&name()).unwrap(), Some(marks(4)));
    store.apply(NOW, &[change(5)]).unwrap();
}

/// Does what nobody can do through this program: changes the file behind its triggers.
fn tampered(dir: &Path, sql: &str) -> Result<AuditReport, StoreError> {
    let db = database(dir);
    let triggers: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        db.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    db.execute_batch(sql).unwrap();
    drop(db);
    Store::open(dir)?.verify_audit()
}

#[test]
fn audit_verify_finds_what_was_removed_changed_reordered_added_or_cut_off() {
    for sql in [
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 8",
        "DELETE FROM audit WHERE seq > 5",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3",
        "UPDATE audit SET entry = CAST(replace(CAST(entry AS TEXT), 'snapshot', 'snapsho7') AS BLOB) WHERE seq < 3",
        "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 99",
        "UPDATE audit SET hash = x'0000000000000000000000000000000000000000000000000000000000000000' WHERE seq = 8",
        "UPDATE signed SET body = x'7b7d' WHERE version = 2",
        "UPDATE signed SET version = 9 WHERE version = 4 AND role = 'snapshot'",
        "DELETE FROM signed WHERE version = 2",
        "INSERT INTO signed SELECT 'r.example/b', role, version, time, expires, sha256, body FROM signed WHERE version = 1",
    ] {
        let dir = filled();
        assert!(matches!(tampered(dir.path(), sql), Err(StoreError::Damaged(_))), "{sql}");
    }
    assert!(tampered(filled().path(), "").is_ok());
}
