//! What the server remembers, behind one trait: SQLite today, PostgreSQL later.
//!
//! Promises of every store:
//! - a role file, once current, is never changed or deleted, and no version of a collection goes back;
//! - a collection has at most one candidate;
//! - what a write answered is on the disk, but for the promotion of a candidate, which the signer can repeat.
//!
//! Deliberately absent: any judgement of files. Bytes come in verified, and are verified again when they are read back.

mod migrations;
mod read;
mod sqlite;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use sqlite::SqliteStore;

use crate::Fut;

/// Why the store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database said no.
    #[error("database: {0}")]
    Database(String),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// A write was lost in the disk: nothing is written any more until a restart.
    #[error("a write to the disk failed; restart the server")]
    Poisoned,
    /// Another file is stored under this version.
    #[error("`{role}` version {version} is stored with other bytes")]
    Fork {
        /// The role.
        role: String,
        /// The version.
        version: u64,
    },
    /// Bytes that are not what was stored.
    #[error("`{0}` is damaged on the disk")]
    Damaged(String),
    /// The database belongs to a newer version, or its migrations were changed.
    #[error("{0}")]
    Format(String),
    /// The folder or the file cannot be used.
    #[error("{0}")]
    Folder(String),
    /// A value that cannot be stored.
    #[error("{0} cannot be stored")]
    Range(&'static str),
    /// The collection has a publication with this idempotency key.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// The row that was to be changed is not there any more.
    #[error("{0} is not there")]
    Gone(&'static str),
}

/// An answer of the store.
pub type Stored<'a, T> = Fut<'a, Result<T, StoreError>>;

/// The current files of a collection, as they were stored.
#[derive(Debug, Clone)]
pub struct StoredSet {
    /// Every root, oldest first.
    pub roots: Vec<Vec<u8>>,
    /// The current file of every role that is delegated now.
    pub roles: BTreeMap<String, Vec<u8>>,
    /// The current snapshot.
    pub snapshot: Vec<u8>,
    /// The current timestamp.
    pub timestamp: Vec<u8>,
    /// When the next timestamp is due, in Unix seconds.
    pub resign_at: i64,
    /// Publications so far.
    pub sequence: u64,
}

/// The answer of a write that nobody waits for, once it is done.
pub type Later<T> = tokio::sync::oneshot::Receiver<Result<T, StoreError>>;

/// A publication that waits for the signer. The contents that came with it are stored already.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its row.
    pub id: i64,
    /// The new roots, oldest first.
    pub roots: Vec<Vec<u8>>,
    /// The new role files.
    pub roles: BTreeMap<String, Vec<u8>>,
    /// The operator's grant that came with it.
    pub grant: Option<Vec<u8>>,
    /// The name of the token that sent it.
    pub token: String,
    /// When it was judged, in Unix seconds: it is judged again by this time.
    pub created: i64,
}

/// A publication to be stored as a candidate.
#[derive(Debug, Clone)]
pub struct NewCandidate {
    /// The collection.
    pub collection: String,
    /// The idempotency key.
    pub key: String,
    /// SHA-256 of the request.
    pub body_sha256: [u8; 32],
    /// The name of the token.
    pub token: String,
    /// JSON of the expected versions.
    pub expected: String,
    /// The new roots, oldest first.
    pub roots: Vec<StoredFile>,
    /// The new role files.
    pub roles: Vec<StoredFile>,
    /// Contents of targets by SHA-256.
    pub blobs: Vec<([u8; 32], Arc<[u8]>)>,
    /// The operator's grant that came with it.
    pub grant: Option<Vec<u8>>,
    /// Unix seconds.
    pub created: i64,
}

/// A file with its version.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Its role.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// Its bytes.
    pub body: Arc<[u8]>,
}

/// A verified set that is to become current. `files` holds what may be new; files that are stored already are skipped.
#[derive(Debug, Clone)]
pub struct NewSet {
    /// The collection.
    pub collection: String,
    /// Roots, roles and the snapshot.
    pub files: Vec<StoredFile>,
    /// Every role that is delegated now, with its version.
    pub live: BTreeMap<String, u64>,
    /// The newest root.
    pub root: u64,
    /// The snapshot.
    pub snapshot: u64,
    /// The timestamp.
    pub timestamp: StoredTimestamp,
}

/// A timestamp.
#[derive(Debug, Clone)]
pub struct StoredTimestamp {
    /// Its version.
    pub version: u64,
    /// Its bytes.
    pub body: Arc<[u8]>,
    /// When the next one is due, in Unix seconds.
    pub resign_at: i64,
}

/// Why a set becomes current.
#[derive(Debug, Clone)]
pub enum Cause {
    /// This candidate was signed.
    Candidate(i64),
    /// The signer was ahead; the roles that changed.
    Adopted(BTreeMap<String, u64>),
    /// The signer renewed its own roles: no entry in the log.
    Renewed,
}

/// A publication that was asked for before.
#[derive(Debug, Clone)]
pub struct Known {
    /// SHA-256 of the body that came with the key.
    pub body_sha256: [u8; 32],
    /// The stored answer (JSON); `None` while it is a candidate.
    pub result: Option<String>,
}

/// One publication of the log.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// Its number.
    pub sequence: u64,
    /// Unix seconds.
    pub time: i64,
    /// The token's name.
    pub token: String,
    /// The stored answer (JSON).
    pub result: String,
    /// Whether it carried a root.
    pub new_root: bool,
}

/// A token without its secret.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// Its scope, as text.
    pub scope: String,
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds.
    pub expires: Option<i64>,
    /// Unix seconds.
    pub revoked: Option<i64>,
}

/// The answer to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The name is new.
    New,
    /// The name was reserved before.
    Existing,
    /// This collection stands above or below it.
    Overlaps(String),
}

/// An entry about something that is not a publication.
#[derive(Debug, Clone)]
pub struct Event {
    /// Unix seconds.
    pub time: i64,
    /// Who: a token's name, or `server`.
    pub actor: String,
    /// What.
    pub action: &'static str,
    /// Where.
    pub collection: Option<String>,
    /// One sentence.
    pub detail: String,
}

/// The server's memory.
pub trait Store: Send + Sync {
    /// Whether it answers, and still writes.
    fn ping(&self) -> Stored<'_, ()>;
    /// Every collection's name.
    fn collections(&self) -> Stored<'_, Vec<String>>;
    /// The current files of a collection; `None` before its first publication.
    fn current(&self, collection: &str) -> Stored<'_, Option<StoredSet>>;
    /// The open candidate of a collection.
    fn candidate(&self, collection: &str) -> Stored<'_, Option<Candidate>>;
    /// A version of a role file that was current once.
    fn file(&self, collection: &str, role: &str, version: u64) -> Stored<'_, Option<Vec<u8>>>;
    /// The content of a target.
    fn blob(&self, collection: &str, sha256: [u8; 32]) -> Stored<'_, Option<Vec<u8>>>;
    /// A publication with this idempotency key.
    fn known(&self, collection: &str, key: &str) -> Stored<'_, Option<Known>>;
    /// The log, newest first, below `before`.
    fn log(&self, collection: &str, before: Option<u64>, limit: u32) -> Stored<'_, Vec<LogRow>>;
    /// A token by its SHA-256.
    fn token(&self, sha256: [u8; 32]) -> Stored<'_, Option<TokenRow>>;
    /// Every token.
    fn tokens(&self) -> Stored<'_, Vec<TokenRow>>;

    /// Reserves a name. Durable.
    fn reserve(&self, collection: &str, event: Event) -> Stored<'_, Reserved>;
    /// Stores a candidate with all its files, and with it the reservation of the collection. Durable. Gives its row, or
    /// [`StoreError::KeyTaken`]. Other bytes under a version that is there are [`StoreError::Fork`].
    fn open_candidate(&self, candidate: NewCandidate) -> Stored<'_, i64>;
    /// Makes a set current, all of it or nothing. Gives the number of publications.
    ///
    /// With [`Cause::Candidate`] it may be lost when the machine loses power: the candidate is then open again and the
    /// signer gives the same bytes. With the other causes it is durable.
    fn promote(&self, set: NewSet, cause: Cause, time: i64) -> Stored<'_, u64>;
    /// Makes a candidate's set current with the next write, at the latest in a moment. Before it every earlier write is
    /// done, and after it every later one. Until then a restart finds the candidate open, as after a loss of power.
    fn promote_later(&self, set: NewSet, candidate: i64, time: i64) -> Later<u64>;
    /// Writes what waits.
    fn flush(&self) -> Stored<'_, ()>;
    /// Ends a candidate that the signer refused; its files leave. Durable.
    fn refuse(&self, candidate: i64, event: Event) -> Stored<'_, ()>;
    /// Stores new timestamps of these collections. Durable.
    fn renew(&self, timestamps: Vec<(String, StoredTimestamp)>) -> Stored<'_, ()>;
    /// Stores a token; false if the name is taken. Durable.
    fn add_token(&self, token: TokenRow, event: Event) -> Stored<'_, bool>;
    /// Revokes a token; false if there is none of this name. Durable.
    fn revoke_token(&self, name: &str, event: Event) -> Stored<'_, bool>;
}
