//! Timestamp and snapshot: which version of each file is the current one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Header, MetaEntry, Role, sealed};
use crate::error::MetadataError;
use crate::json::Cursor;
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

/// The timestamp role: names the current snapshot.
#[derive(Debug, Clone)]
pub struct Timestamp {
    version: Version,
    expires: UtcTime,
    snapshot: MetaEntry,
}

impl Timestamp {
    /// What it says of `snapshot.json`.
    pub fn snapshot(&self) -> &MetaEntry {
        &self.snapshot
    }
}

/// The snapshot role: names the current version of every targets file.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: Version,
    expires: UtcTime,
    meta: BTreeMap<String, MetaEntry>,
}

impl Snapshot {
    /// Every entry by file name (`ROLE.json`, role names not encoded).
    pub fn meta(&self) -> &BTreeMap<String, MetaEntry> {
        &self.meta
    }

    /// The entry of a role.
    pub fn entry(&self, role: &str) -> Option<&MetaEntry> {
        self.meta.get(&format!("{role}.json"))
    }
}

fn parse(
    role: RoleType,
    cursor: &mut Cursor<'_>,
) -> Result<(Version, UtcTime, BTreeMap<String, MetaEntry>), MetadataError> {
    let mut header = Header::default();
    let mut meta = None;
    cursor.object(|c, name| {
        if header.member(role, c, name)? {
            return Ok(());
        }
        if name == "meta" {
            let mut entries = BTreeMap::new();
            c.object(|c, file| {
                entries.insert(file.to_owned(), MetaEntry::parse(c)?);
                Ok::<(), MetadataError>(())
            })?;
            meta = Some(entries);
        } else {
            c.skip()?;
        }
        Ok::<(), MetadataError>(())
    })?;
    let (version, expires) = header.finish()?;
    Ok((version, expires, meta.ok_or(MetadataError::Missing("meta"))?))
}

impl sealed::Parse for Timestamp {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, _: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let (version, expires, mut meta) = parse(RoleType::Timestamp, cursor)?;
        let snapshot = meta.remove("snapshot.json").ok_or(MetadataError::Meta)?;
        if !meta.is_empty() {
            return Err(MetadataError::Meta);
        }
        Ok(Self { version, expires, snapshot })
    }
}

impl sealed::Parse for Snapshot {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, _: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let (version, expires, meta) = parse(RoleType::Snapshot, cursor)?;
        if !meta.contains_key("targets.json") {
            return Err(MetadataError::Meta);
        }
        Ok(Self { version, expires, meta })
    }
}

impl Role for Timestamp {
    const TYPE: RoleType = RoleType::Timestamp;

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

impl Role for Snapshot {
    const TYPE: RoleType = RoleType::Snapshot;

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}
