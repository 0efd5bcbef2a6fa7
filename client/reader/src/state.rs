//! The trusted state of one collection on disk: what protects against rollback between two runs.
//!
//! One folder a collection, with the files as received (`root.json`, `timestamp.json`, `snapshot.json`, `targets.json`, one
//! for each delegated role), the history of roots, a lock, and `format`: the record of what was stored ([`record`]).
//!
//! - Every write is a new file, fsync, rename, fsync of the folder: a kill at any moment leaves the old or the new file.
//! - The record is written after the file that it speaks of. So a record ahead of its file means damage, and a file ahead
//!   of its record only an interrupted run. Before a lower version is stored (a rotation of keys allows that), the
//!   record gives up the old one first.
//! - A file that is missing or damaged is a named error and never a first use. Whether an intact file still verifies is
//!   not judged here.
//! - Only regular files of this user that nobody else may write are read. Nothing follows a link.
//!
//! One process at a time; inside one process, one [`StateStore`] a folder at a time: opening waits on its thread.

mod content;
mod files;
mod record;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trust_tuf::envelope::Unverified;
use trust_tuf::model::sha256;
use trust_tuf::names::percent_encode;
use trust_tuf::{CollectionName, MetadataError, Snapshot, Timestamp, UtcTime, Verified, Version, limits};

use files::Folder;
pub use record::Mark;
use record::Record;

/// How long [`StateStore::open`] waits for another process.
pub const LOCK_WAIT: Duration = Duration::from_secs(30);
/// The format that this program reads and writes.
pub const FORMAT: u64 = 1;

const RECORD: &str = "format";
const LOCK: &str = "lock";
const HISTORY: &str = "root_history";

/// Why the stored state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A call of the operating system failed.
    #[error("{path}: {kind}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        kind: std::io::ErrorKind,
    },
    /// No room on the disk.
    #[error("{path}: the disk is full")]
    Full {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// A file of a kind, owner, mode or size that is not read.
    #[error("{path}: {why}")]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that is cut off or changed.
    #[error("{path}: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that was stored before is gone.
    #[error("{path}: missing; version {version} was stored")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The version that was stored.
        version: Version,
    },
    /// Another process holds the lock.
    #[error("{path}: in use")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A format that this program does not know.
    #[error("{path}: format {found}")]
    Format {
        /// The record.
        path: PathBuf,
        /// The format that it says.
        found: u64,
    },
}

/// A file of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFile<'a> {
    /// `root.json`: the newest root. For people and tools; what is trusted is the chain in the history.
    Root,
    /// `timestamp.json`.
    Timestamp,
    /// `snapshot.json`.
    Snapshot,
    /// `targets.json`.
    Targets,
    /// A delegated role.
    Role(&'a str),
}

impl StateFile<'_> {
    /// The file's name.
    pub fn name(self) -> String {
        match self {
            Self::Root => "root.json".to_owned(),
            Self::Timestamp => "timestamp.json".to_owned(),
            Self::Snapshot => "snapshot.json".to_owned(),
            Self::Targets => "targets.json".to_owned(),
            Self::Role(role) => {
                let encoded = percent_encode(role);
                // Encoding never makes `%s`, so that no role can be called like the short form of another one.
                let short = || format!("%sha256-{}", hex::encode(sha256(role.as_bytes())));
                format!("{}.json", if encoded.len() > 200 { short() } else { encoded })
            }
        }
    }

    fn limit(self) -> u64 {
        match self {
            Self::Root => limits::ROOT_BYTES,
            Self::Timestamp => limits::TIMESTAMP_BYTES,
            Self::Snapshot | Self::Targets | Self::Role(_) => limits::STATED_BYTES,
        }
    }
}

/// The open state of one collection. The lock is held until it is dropped.
#[derive(Debug)]
pub struct StateStore {
    folder: Folder,
    history: Folder,
    record: Record,
    _lock: OwnedFd,
}

impl StateStore {
    /// Opens the state of a collection below `dir` (made if missing), waiting at most [`LOCK_WAIT`] for another process.
    pub fn open(dir: &Path, collection: &CollectionName) -> Result<Self, StateError> {
        Self::open_at(&dir.join(Self::folder_name(collection)), collection.as_str(), LOCK_WAIT)
    }

    /// The name of a collection's folder: 32 hex digits, so that no name can leave the folder or collide in case.
    pub fn folder_name(collection: &CollectionName) -> String {
        hex::encode(sha256(collection.as_str().as_bytes())).chars().take(32).collect()
    }

    /// Opens the state in exactly this folder (made if missing). `label` says whose it is.
    pub fn open_at(path: &Path, label: &str, wait: Duration) -> Result<Self, StateError> {
        let folder = Folder::open(path)?;
        let lock = folder.lock(LOCK, Instant::now().checked_add(wait))?;
        let history = folder.subfolder(HISTORY)?;
        let record = match folder.read(RECORD, record::MAX_BYTES)? {
            Some(bytes) => Record::read(&bytes, label).map_err(|fault| fault.at(folder.path(RECORD)))?,
            None if folder.has_metadata()? || history.has_metadata()? => {
                let why = "the record of what was stored is missing";
                return Err(StateError::Damaged { path: folder.path(RECORD), why });
            }
            None => {
                let record = Record::new(label);
                folder.write(RECORD, &record.to_bytes())?;
                record
            }
        };
        Ok(Self { folder, history, record, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.root()
    }

    /// When the last successful update began; `None` before the first.
    pub fn refreshed(&self) -> Option<UtcTime> {
        self.record.refreshed
    }

    /// The fingerprint of the pinned root that the state was built on.
    pub fn anchor(&self) -> Option<&str> {
        self.record.anchor.as_deref()
    }

    /// The highest root version that was stored.
    pub fn newest_root(&self) -> Option<Version> {
        self.record.root
    }

    /// The version of the timestamp that was accepted last, under the pinned root that the state was built on.
    pub fn newest_timestamp(&self) -> Option<Version> {
        self.record.timestamp.as_ref().map(|mark| mark.version)
    }

    /// The version of the snapshot that was stored last, under the pinned root that the state was built on.
    pub(crate) fn newest_snapshot(&self) -> Option<Version> {
        self.record.snapshot.as_ref().map(|mark| mark.version)
    }

    /// The stored root of this version. It is trusted only as a link of the chain.
    pub fn root(&self, version: Version) -> Result<Option<Arc<[u8]>>, StateError> {
        self.history.read(&history_name(version), limits::ROOT_BYTES)
    }

    /// `root.json` as it lies there.
    pub fn newest_root_file(&self) -> Result<Option<Arc<[u8]>>, StateError> {
        self.read(StateFile::Root)
    }

    /// The stored timestamp. Missing or damaged although one was stored: an error.
    pub fn timestamp(&self) -> Result<Option<Arc<[u8]>>, StateError> {
        self.timestamp_after(None)
    }

    /// The same in a process that knows a timestamp, of which the hash need not be computed again.
    pub(crate) fn timestamp_after(&self, known: Option<&Verified<Timestamp>>) -> Result<Option<Arc<[u8]>>, StateError> {
        let version =
            |bytes: &[u8]| Unverified::<Timestamp>::read(bytes, limits::TIMESTAMP_BYTES).map(|f| f.claimed_version());
        self.floor(StateFile::Timestamp, self.record.timestamp.as_ref(), known, version)
    }

    /// The stored snapshot. Missing or damaged although one was stored: an error.
    pub fn snapshot(&self) -> Result<Option<Arc<[u8]>>, StateError> {
        self.snapshot_after(None)
    }

    /// The same in a process that knows a snapshot, of which the hash need not be computed again.
    pub(crate) fn snapshot_after(&self, known: Option<&Verified<Snapshot>>) -> Result<Option<Arc<[u8]>>, StateError> {
        let version =
            |bytes: &[u8]| Unverified::<Snapshot>::read(bytes, limits::STATED_BYTES).map(|f| f.claimed_version());
        self.floor(StateFile::Snapshot, self.record.snapshot.as_ref(), known, version)
    }

    /// A stored targets file, top-level or delegated. Its versions are guarded by the snapshot, so that one which does not
    /// fit is simply fetched again.
    pub fn targets(&self, role: &str) -> Result<Option<Arc<[u8]>>, StateError> {
        self.read(targets_file(role))
    }

    fn read(&self, file: StateFile<'_>) -> Result<Option<Arc<[u8]>>, StateError> {
        self.folder.read(&file.name(), file.limit())
    }

    /// A file that guards against rollback, compared with what the record says of it.
    fn floor<R>(
        &self,
        file: StateFile<'_>,
        mark: Option<&Mark>,
        known: Option<&Verified<R>>,
        version: impl FnOnce(&[u8]) -> Result<Version, MetadataError>,
    ) -> Result<Option<Arc<[u8]>>, StateError> {
        let path = || self.folder.path(&file.name());
        let damaged = |why| StateError::Damaged { path: path(), why };
        let Some(bytes) = self.read(file)? else {
            return match mark {
                Some(mark) => Err(StateError::Missing { path: path(), version: mark.version }),
                None => Ok(None),
            };
        };
        // The bytes that lie there, and no others: what is known of others says nothing of them.
        let hash = || match known.filter(|known| **known.bytes() == *bytes) {
            Some(same) => same.sha256(),
            None => sha256(&bytes),
        };
        if mark.is_some_and(|mark| hash() == mark.sha256) {
            return Ok(Some(bytes));
        }
        // Not the recorded one. A newer one was stored by a run that ended before it could say so.
        let found = version(&bytes).map_err(|_| damaged(UNREADABLE))?;
        match mark {
            Some(mark) if found < mark.version => Err(damaged("an older version lies there than was stored")),
            Some(mark) if found == mark.version => Err(damaged("it was changed after it was stored")),
            _ => Ok(Some(bytes)),
        }
    }

    /// Whether a stored file is the one that the record speaks of, or the record speaks of none. Any other one counts only
    /// if it verifies: damage that raises a version must not take the floor away.
    pub(crate) fn is_accounted_for(&self, file: StateFile<'_>, bytes: &[u8]) -> bool {
        let mark = match file {
            StateFile::Timestamp => &self.record.timestamp,
            StateFile::Snapshot => &self.record.snapshot,
            StateFile::Root | StateFile::Targets | StateFile::Role(_) => &None,
        };
        mark.as_ref().is_none_or(|mark| mark.sha256 == sha256(bytes))
    }

    /// What is said of a stored file that is neither the recorded one nor verifies.
    pub(crate) fn unaccounted_for(&self, file: StateFile<'_>) -> StateError {
        let why = "it is not what was stored, and no trusted root speaks for it";
        StateError::Damaged { path: self.folder.path(&file.name()), why }
    }

    /// Begins with this pinned root. If it is not of the chain that is stored, an operator has pinned something else:
    /// the record of the old chain is given up. (A stored timestamp or snapshot that still verifies stays a floor.)
    pub fn begin(&mut self, fingerprint: &str, same_chain: bool) -> Result<(), StateError> {
        if self.record.anchor.as_deref() == Some(fingerprint) {
            return Ok(());
        }
        if !same_chain {
            self.record.root = None;
            self.record.timestamp = None;
            self.record.snapshot = None;
            self.record.refreshed = None;
        }
        self.record.anchor = Some(fingerprint.to_owned());
        self.write_record()
    }

    /// Stores a root that was accepted: in the history first, so that `root.json` is never ahead of the chain.
    pub fn keep_root(&mut self, version: Version, bytes: &[u8]) -> Result<(), StateError> {
        self.history.write(&history_name(version), bytes)?;
        self.folder.write(&StateFile::Root.name(), bytes)?;
        self.note_root(version)
    }

    /// Records that this root version was seen.
    pub fn note_root(&mut self, version: Version) -> Result<(), StateError> {
        if self.record.root.is_some_and(|noted| noted >= version) {
            return Ok(());
        }
        self.record.root = Some(version);
        self.write_record()
    }

    /// Stores a timestamp that was accepted.
    pub fn keep_timestamp(&mut self, version: Version, bytes: &[u8]) -> Result<(), StateError> {
        if self.record.timestamp.as_ref().is_some_and(|mark| mark.version >= version) {
            self.record.timestamp = None;
            self.write_record()?;
        }
        self.folder.write(&StateFile::Timestamp.name(), bytes)?;
        self.record.timestamp = Some(Mark::of(version, bytes));
        self.write_record()
    }

    /// Stores a snapshot that was accepted.
    pub fn keep_snapshot(&mut self, version: Version, bytes: &[u8]) -> Result<(), StateError> {
        if self.record.snapshot.as_ref().is_some_and(|mark| mark.version >= version) {
            self.record.snapshot = None;
            self.write_record()?;
        }
        self.folder.write(&StateFile::Snapshot.name(), bytes)?;
        self.record.snapshot = Some(Mark::of(version, bytes));
        self.write_record()
    }

    /// Stores a targets file that was accepted, top-level or delegated.
    pub fn keep_targets(&mut self, role: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.folder.write(&targets_file(role).name(), bytes)
    }

    /// Records a successful update; the greatest time stays. Within a minute of the last one nothing is written: the
    /// record then says a time that is a little too early, which only makes stored data look older.
    pub fn note_refreshed(&mut self, now: UtcTime) -> Result<(), StateError> {
        if self.record.refreshed.is_some_and(|last| now.secs_since(last) < 60) {
            return Ok(());
        }
        self.record.refreshed = Some(now);
        self.write_record()
    }

    fn write_record(&self) -> Result<(), StateError> {
        self.folder.write(RECORD, &self.record.to_bytes())
    }

    /// Lets the write after `steps` further steps fail, and all after it: as if the process was killed there.
    #[cfg(any(test, feature = "fail-points"))]
    pub fn kill_after(&self, steps: usize) {
        self.folder.kill_after(steps);
    }
}

const UNREADABLE: &str = "it is cut off or damaged";

fn targets_file(role: &str) -> StateFile<'_> {
    if role == "targets" { StateFile::Targets } else { StateFile::Role(role) }
}

fn history_name(version: Version) -> String {
    format!("{version}.root.json")
}

#[cfg(test)]
mod tests;
