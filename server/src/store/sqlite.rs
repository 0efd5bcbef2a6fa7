//! The store in one SQLite file: WAL, one writer with group commit, a small pool of read-only connections.
//!
//! The file has mode 0600 in a folder of mode 0700; a folder that others can write to is refused. Reads run on the
//! blocking pool, but for tokens, and never wait for the writer.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::writer::{Durability, Writer};
use super::{
    Candidate, Cause, Event, Known, Later, LogRow, NewCandidate, NewSet, Reserved, Store, StoreError, Stored,
    StoredSet, StoredTimestamp, TokenRow, migrations, read, write,
};

/// The name of the database in the data folder.
const FILE: &str = "server.db";
/// Idle read connections that are kept.
const READERS: usize = 4;
/// Pages in the write-ahead log after which it is copied into the database and begun again.
const LOG_PAGES: i64 = 1_000;
/// How long another process (`trust-server token`) may hold the database.
const BUSY: Duration = Duration::from_secs(5);
/// The largest row or value, in bytes: a publication at its limit.
const VALUE_BYTES: i32 = 64 * 1024 * 1024;

// The standard library takes the flags of the operating system as what they are there, an int.
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// The SQLite store.
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens the store in this folder, which is made if it is missing. Blocks.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        private_folder(folder)?;
        let path = folder.join(FILE);
        // Made by hand, so that no umask widens it and no link in its place is followed; SQLite gives its WAL the same mode.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOFOLLOW)
            .open(&path)
            .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
            .map_err(|e| StoreError::Folder(format!("{}: {e}", path.display())))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        prepare(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A log that has come round is written over, and a sync has nothing to do but the bytes; one that still grows makes
        // every sync write where its new blocks are as well, which takes as long again.
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        migrations::migrate(&mut connection)?;
        Ok(Self { path, writer: Writer::new(connection), readers: Arc::default() })
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Stored<'static, T> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || read_here(&path, &readers, work));
            task.await.unwrap_or_else(|_| Err(StoreError::Database("a read was broken off".to_owned())))
        })
    }

    fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Stored<'_, T> {
        Box::pin(self.writer.write(durability, work))
    }
}

type Readers = Mutex<Vec<Connection>>;

fn read_here<T>(
    path: &Path,
    readers: &Readers,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let connection = idle.map_or_else(|| reader(path), Ok)?;
    let result = work(&connection);
    let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
    if readers.len() < READERS {
        readers.push(connection);
    }
    result
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Format(format!("the database cannot use a write-ahead log (mode {mode})")));
    }
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    limit(connection)
}

fn limit(connection: &Connection) -> Result<(), StoreError> {
    for (what, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 64 * 1024),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 64),
    ] {
        connection.set_limit(what, most)?;
    }
    Ok(())
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    limit(&connection)?;
    Ok(connection)
}

/// Makes the folder with mode 0700, or checks that it is ours alone to write.
fn private_folder(folder: &Path) -> Result<(), StoreError> {
    let problem = |what: String| StoreError::Folder(format!("{}: {what}", folder.display()));
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => {}
        Err(e) => return Err(problem(e.to_string())),
    }
    let metadata = std::fs::symlink_metadata(folder).map_err(|e| problem(e.to_string()))?;
    if !metadata.is_dir() {
        return Err(problem("is not a folder".to_owned()));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(problem("belongs to another user".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(problem(format!("has mode {:03o}; it must be 700 (chmod 700)", metadata.mode() & 0o777)));
    }
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Database(error.to_string()),
        }
    }
}

impl Store for SqliteStore {
    fn ping(&self) -> Stored<'_, ()> {
        if self.writer.is_poisoned() {
            return Box::pin(std::future::ready(Err(StoreError::Poisoned)));
        }
        self.read(|c| Ok(c.query_row("SELECT 1 FROM migration", [], |_| Ok(()))?))
    }

    fn collections(&self) -> Stored<'_, Vec<String>> {
        self.read(read::collections)
    }

    fn current(&self, collection: &str) -> Stored<'_, Option<StoredSet>> {
        let name = collection.to_owned();
        self.read(move |c| read::current(c, &name))
    }

    fn candidate(&self, collection: &str) -> Stored<'_, Option<Candidate>> {
        let name = collection.to_owned();
        self.read(move |c| read::candidate(c, &name))
    }

    fn file(&self, collection: &str, role: &str, version: u64) -> Stored<'_, Option<Vec<u8>>> {
        let (name, role) = (collection.to_owned(), role.to_owned());
        self.read(move |c| read::file(c, &name, &role, version))
    }

    fn blob(&self, collection: &str, sha256: [u8; 32]) -> Stored<'_, Option<Vec<u8>>> {
        let name = collection.to_owned();
        self.read(move |c| read::blob(c, &name, sha256))
    }

    fn known(&self, collection: &str, key: &str) -> Stored<'_, Option<Known>> {
        let (name, key) = (collection.to_owned(), key.to_owned());
        self.read(move |c| read::known(c, &name, &key))
    }

    fn log(&self, collection: &str, before: Option<u64>, limit: u32) -> Stored<'_, Vec<LogRow>> {
        let name = collection.to_owned();
        self.read(move |c| read::log(c, &name, before, limit))
    }

    fn token(&self, sha256: [u8; 32]) -> Stored<'_, Option<TokenRow>> {
        // A point of a small table, with each request that bears a token: read here, because another thread that is
        // woken for it takes several times as long.
        let row = read_here(&self.path, &self.readers, |c| read::token(c, sha256));
        Box::pin(std::future::ready(row))
    }

    fn tokens(&self) -> Stored<'_, Vec<TokenRow>> {
        self.read(read::tokens)
    }

    fn reserve(&self, collection: &str, event: Event) -> Stored<'_, Reserved> {
        let name = collection.to_owned();
        self.write(Durability::Disk, move |c| write::reserve(c, &name, &event))
    }

    fn open_candidate(&self, candidate: NewCandidate) -> Stored<'_, i64> {
        self.write(Durability::Disk, move |c| write::open_candidate(c, &candidate))
    }

    fn promote(&self, set: NewSet, cause: Cause, time: i64) -> Stored<'_, u64> {
        // A candidate's promotion can be repeated from the signer, whose mark is the commit point: it need not wait for
        // the disk. Until it is there, a restart finds the candidate open and shows nothing before the signer answered.
        let durability = match cause {
            Cause::Candidate(_) => Durability::Process,
            Cause::Adopted(_) | Cause::Renewed => Durability::Disk,
        };
        self.write(durability, move |c| write::promote(c, &set, &cause, time))
    }

    fn promote_later(&self, set: NewSet, candidate: i64, time: i64) -> Later<u64> {
        self.writer.later(move |c| {
            let sequence = write::promote(c, &set, &Cause::Candidate(candidate), time)?;
            tracing::info!(collection = set.collection, sequence, "published");
            Ok(sequence)
        })
    }

    fn flush(&self) -> Stored<'_, ()> {
        // Done after everything that came before it.
        self.write(Durability::Process, |_| Ok(()))
    }

    fn refuse(&self, candidate: i64, event: Event) -> Stored<'_, ()> {
        self.write(Durability::Disk, move |c| write::refuse(c, candidate, &event))
    }

    fn renew(&self, timestamps: Vec<(String, StoredTimestamp)>) -> Stored<'_, ()> {
        self.write(Durability::Disk, move |c| {
            timestamps.iter().try_for_each(|(name, timestamp)| write::timestamp(c, name, timestamp))
        })
    }

    fn add_token(&self, token: TokenRow, event: Event) -> Stored<'_, bool> {
        self.write(Durability::Disk, move |c| write::add_token(c, &token, &event))
    }

    fn revoke_token(&self, name: &str, event: Event) -> Stored<'_, bool> {
        let name = name.to_owned();
        self.write(Durability::Disk, move |c| write::revoke_token(c, &name, &event))
    }
}
