//! The signer's own small store: SQLite with a write-ahead log and `synchronous=FULL`, in a folder that only its user can
//! enter.
//!
//! Invariants: nothing is answered that is not durable; what was signed, audited or rooted is insert-only and marks never
//! go down (triggers say so as well as the code); a store that is missing, damaged, too open or somebody else's is named and
//! refused, never treated as a new one. Deliberately absent: decisions, keys in the clear, the clock.

mod files;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use trust_tuf::{PublicKey, UtcTime, Version};

pub use files::Lock;
pub use read::AuditReport;
pub use write::{Admission, Change, NewKey, NewSigned};

use crate::online_role::OnlineRole;

/// Name of the store in the data folder.
pub const FILE: &str = "signer.db";

/// The migrations, in order; the format is their number.
const MIGRATIONS: [&str; 2] =
    [include_str!("../../../schemas/sql/signer/0001.sql"), include_str!("../../../schemas/sql/signer/0002.sql")];
/// Marks the file as a store of this program ("TSGN").
const APPLICATION_ID: i64 = 0x5453_474e;
/// Largest value in the store, in bytes.
const VALUE_BYTES: i32 = 128 * 1024 * 1024;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store.
    #[error("{} holds no signer store; run: trust-signer init --data {}", dir.display(), dir.display())]
    NotInitialised {
        /// The data folder.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("{} holds a signer store already; it is never replaced", dir.display())]
    Exists {
        /// The data folder.
        dir: PathBuf,
    },
    /// A folder or file that is not safe to use.
    #[error("{}: {why}", path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Another signer runs on this store.
    #[error("another signer runs on {}", dir.display())]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// Written by a newer program.
    #[error("the store has format {found}; this program knows formats up to {known}")]
    Newer {
        /// The format in the file.
        found: i64,
        /// The newest known.
        known: usize,
    },
    /// Not what this program wrote.
    #[error("the signer store is damaged: {0}")]
    Damaged(String),
    /// The marks are not those that the change was made for.
    #[error("the marks of {0} are not the expected ones")]
    Conflict(String),
    /// Another first root was admitted, and a root is there already.
    #[error("{0} has a root already: another first root cannot be admitted")]
    Admitted(String),
    /// SQLite refused.
    #[error("the signer store: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A sync failed: what is durable is not known any more, so this process must end.
    #[error("the disk did not confirm a write; the signer must be started again")]
    Sync,
}

impl StoreError {
    /// After a failed sync the pages in memory are not to be believed: SQLite would go on, this program must not.
    fn of_commit(error: rusqlite::Error) -> Self {
        const FSYNC: i32 = rusqlite::ffi::SQLITE_IOERR_FSYNC;
        const DIR_FSYNC: i32 = rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC;
        match error.sqlite_error().map(|e| e.extended_code) {
            Some(FSYNC | DIR_FSYNC) => Self::Sync,
            _ => Self::Sql(error),
        }
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// The identity key and the derivation of the sealing key, as stored.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Salt of the derivation.
    pub salt: [u8; 16],
    /// Its cost, log₂ N.
    pub log_n: u8,
    /// The public half.
    pub public: PublicKey,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

/// The marks of a collection: what was signed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The newest root.
    pub root: Version,
    /// The newest snapshot.
    pub snapshot: Version,
    /// The newest timestamp.
    pub timestamp: Version,
    /// The digest of the last publication.
    pub publication: [u8; 32],
}

/// A signed file, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFile {
    /// Its version.
    pub version: Version,
    /// When it was signed.
    pub time: UtcTime,
    /// When it expires.
    pub expires: UtcTime,
    /// The file.
    pub bytes: Vec<u8>,
}

/// An online key, as stored.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The role that it may sign.
    pub role: OnlineRole,
    /// Its id.
    pub keyid: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// Whether an accepted root names it.
    pub named: bool,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    /// The disk confirms nothing any more.
    #[cfg(test)]
    pub(crate) no_sync: bool,
}

impl Store {
    /// Makes a store with this identity. It appears under its name whole, or not at all.
    pub fn create(dir: &Path, identity: &Identity) -> Result<(), StoreError> {
        files::make_folder(dir)?;
        let path = dir.join(FILE);
        if files::exists(&path)? {
            return Err(StoreError::Exists { dir: dir.to_owned() });
        }
        let half_made = dir.join(".new-signer.db");
        files::remove_database(&half_made)?;
        files::make_private_file(&half_made)?;
        {
            let mut store = Self::of(connect(&half_made)?);
            store.migrate(0)?;
            store.put_identity(identity)?;
            store.db.pragma_update(None, "application_id", APPLICATION_ID)?;
            store.db.close().map_err(|(_, error)| error)?;
        }
        files::publish(&half_made, &path, dir)
    }

    /// Opens a store. The folder and every file of it must belong to this user alone.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        files::check_folder(dir)?;
        let path = dir.join(FILE);
        if !files::exists(&path)? {
            return Err(StoreError::NotInitialised { dir: dir.to_owned() });
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            files::check_private_file(&dir.join(format!("{FILE}{suffix}")))?;
        }
        let mut store = Self::of(connect(&path)?);
        let pragma = |name: &str| store.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Damaged("it is not a store of this program".to_owned()));
        }
        let found = pragma("user_version")?;
        let Some(done) = usize::try_from(found).ok().filter(|n| *n <= MIGRATIONS.len()) else {
            return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
        };
        if done == 0 {
            return Err(StoreError::Damaged("it has no format".to_owned()));
        }
        store.migrate(done)?;
        Ok(store)
    }

    fn of(db: Connection) -> Self {
        Self {
            db,
            #[cfg(test)]
            no_sync: false,
        }
    }

    /// Takes the store for one signer: a second one is refused as long as the lock lives.
    pub fn lock(dir: &Path) -> Result<Lock, StoreError> {
        files::lock(dir)
    }

    fn migrate(&mut self, done: usize) -> Result<(), StoreError> {
        for (number, sql) in (1_i64..).zip(MIGRATIONS).skip(done) {
            let transaction = self.db.transaction()?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit().map_err(StoreError::of_commit)?;
        }
        Ok(())
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES)?;
    db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    // Another process of the operator (`admit`, `audit verify`) may hold the store for a moment.
    db.busy_timeout(Duration::from_secs(5))?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Damaged("it cannot use a write-ahead log".to_owned()));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn to_sql(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(i64::MAX)
}

fn version_from_sql(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number)
        .ok()
        .and_then(Version::new)
        .ok_or_else(|| StoreError::Damaged(format!("{number} is no version")))
}

#[cfg(test)]
mod tests;
