//! The record of what was stored, in the file `format`: format version, whose state it is, and the highest versions.

use std::path::PathBuf;

use trust_tuf::json::{self, Value};
use trust_tuf::model::sha256;
use trust_tuf::{UtcTime, Version};

use super::{FORMAT, StateError};

/// Largest record, in bytes.
pub(super) const MAX_BYTES: u64 = 16 * 1024;

/// A file that was stored: its version and the SHA-256 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The version.
    pub version: Version,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
}

impl Mark {
    pub(super) fn of(version: Version, bytes: &[u8]) -> Self {
        Self { version, sha256: sha256(bytes) }
    }

    fn to_value(&self) -> Value {
        Value::object([("version", Value::from(self.version.get())), ("sha256", Value::from(hex::encode(self.sha256)))])
    }

    fn read(value: &Value) -> Option<Self> {
        let version = value.get("version")?.as_u64().and_then(Version::new)?;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(value.get("sha256")?.as_str()?, &mut sha256).ok()?;
        Some(Self { version, sha256 })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) collection: String,
    pub(super) anchor: Option<String>,
    pub(super) refreshed: Option<UtcTime>,
    pub(super) root: Option<Version>,
    pub(super) timestamp: Option<Mark>,
    pub(super) snapshot: Option<Mark>,
}

/// Why a record is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Unreadable,
    OtherCollection,
    Format(u64),
}

impl Fault {
    pub(super) fn at(self, path: PathBuf) -> StateError {
        match self {
            Self::Unreadable => StateError::Damaged { path, why: super::UNREADABLE },
            Self::OtherCollection => StateError::Damaged { path, why: "it belongs to another collection" },
            Self::Format(found) => StateError::Format { path, found },
        }
    }
}

impl Record {
    pub(super) fn new(collection: &str) -> Self {
        let collection = collection.to_owned();
        Self { collection, anchor: None, refreshed: None, root: None, timestamp: None, snapshot: None }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let members = [
            Some(("format", Value::from(FORMAT))),
            Some(("collection", Value::from(self.collection.as_str()))),
            self.anchor.as_ref().map(|a| ("anchor", Value::from(a.as_str()))),
            self.refreshed.map(|t| ("refreshed", Value::from(t.to_string()))),
            self.root.map(|v| ("root", Value::from(v.get()))),
            self.timestamp.as_ref().map(|m| ("timestamp", m.to_value())),
            self.snapshot.as_ref().map(|m| ("snapshot", m.to_value())),
        ];
        let mut bytes = Value::object(members.into_iter().flatten()).to_json();
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn read(bytes: &[u8], collection: &str) -> Result<Self, Fault> {
        let text = bytes.strip_suffix(b"\n").ok_or(Fault::Unreadable)?;
        let value = json::parse(text).map_err(|_| Fault::Unreadable)?;
        match value.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(other) => return Err(Fault::Format(other)),
            None => return Err(Fault::Unreadable),
        }
        if value.get("collection").and_then(Value::as_str).ok_or(Fault::Unreadable)? != collection {
            return Err(Fault::OtherCollection);
        }
        // A member that is there and cannot be read is damage, never "nothing was stored".
        fn optional<T>(value: &Value, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, Fault> {
            value.get(name).map(|member| read(member).ok_or(Fault::Unreadable)).transpose()
        }
        Ok(Self {
            collection: collection.to_owned(),
            anchor: optional(&value, "anchor", |v| v.as_str().map(str::to_owned))?,
            refreshed: optional(&value, "refreshed", |v| v.as_str().and_then(UtcTime::parse))?,
            root: optional(&value, "root", |v| v.as_u64().and_then(Version::new))?,
            timestamp: optional(&value, "timestamp", Mark::read)?,
            snapshot: optional(&value, "snapshot", Mark::read)?,
        })
    }
}
