//! Timestamp and snapshot: which version of each file is the current one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{Header, MetaEntry, Role, sealed};
use crate::error::{MetadataError, Reason};
use crate::json::{Cursor, Members};
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
///
/// It may list very many, of which a look-up wants a few: what is kept of an entry is where it stands.
#[derive(Clone)]
pub struct Snapshot {
    version: Version,
    expires: UtcTime,
    // INVARIANT: the value of each is a checked entry.
    entries: Members,
    // All of them, made when somebody wants that.
    meta: OnceLock<BTreeMap<String, MetaEntry>>,
}

impl Snapshot {
    /// Every entry by file name (`ROLE.json`, role names not encoded). Made at the first call, and kept.
    pub fn meta(&self) -> &BTreeMap<String, MetaEntry> {
        self.meta.get_or_init(|| {
            let entry = |at| MetaEntry::parse(&mut self.entries.value(at)?).ok();
            self.entries.names().enumerate().filter_map(|(at, file)| Some((file.to_owned(), entry(at)?))).collect()
        })
    }

    /// The entry of a role.
    pub fn entry(&self, role: &str) -> Option<MetaEntry> {
        self.file(&format!("{role}.json"))
    }

    fn file(&self, file: &str) -> Option<MetaEntry> {
        MetaEntry::parse(&mut self.entries.find(file)?).ok()
    }

    /// Every entry of this snapshot is still there in the next one, with at least its version (5.5.5).
    ///
    /// Most entries do not change from one to the next, so that the same text in both is not read at all.
    pub(crate) fn check_not_lowered(&self, next: &Self) -> Result<(), Reason> {
        let mut place = 0;
        for at in 0..self.entries.len() {
            let piece = self.entries.piece(at);
            if piece.is_some() && piece == next.entries.piece(place) {
                place += 1;
                continue;
            }
            let Some(name) = self.entries.name(at) else { continue };
            // Both lists are in order: what is passed over is new.
            while next.entries.name(place).is_some_and(|other| other.order(&name).is_lt()) {
                place += 1;
            }
            let role = || {
                let file = name.text();
                file.strip_suffix(".json").unwrap_or(&file).to_owned()
            };
            if next.entries.name(place).is_none_or(|other| other.order(&name).is_ne()) {
                return Err(Reason::RoleRemoved { role: role() });
            }
            let version = |entries: &Members, at| Some(MetaEntry::parse(&mut entries.value(at)?).ok()?.version);
            let (Some(trusted), Some(got)) = (version(&self.entries, at), version(&next.entries, place)) else {
                return Err(Reason::RoleRemoved { role: role() });
            };
            if got < trusted {
                return Err(Reason::RoleLowered { role: role(), trusted, got });
            }
            place += 1;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("expires", &self.expires)
            .field("roles", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// Reads the signed part of either role: what both have, and where their entries stand.
fn parse(
    role: RoleType,
    cursor: &mut Cursor<'_>,
    document: &Arc<[u8]>,
) -> Result<(Version, UtcTime, Members), MetadataError> {
    let mut header = Header::default();
    let mut entries = None;
    cursor.object(|c, name| {
        if header.member(role, c, name)? {
            return Ok(());
        }
        if name == "meta" {
            entries = Some(Members::read(c, document, |c| MetaEntry::parse(c).map(drop))?);
        } else {
            c.skip()?;
        }
        Ok::<(), MetadataError>(())
    })?;
    let (version, expires) = header.finish()?;
    Ok((version, expires, entries.ok_or(MetadataError::Missing("meta"))?))
}

impl sealed::Parse for Timestamp {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, document: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let (version, expires, entries) = parse(RoleType::Timestamp, cursor, document)?;
        let mut entry = entries.find("snapshot.json").filter(|_| entries.len() == 1).ok_or(MetadataError::Meta)?;
        Ok(Self { version, expires, snapshot: MetaEntry::parse(&mut entry)? })
    }
}

impl sealed::Parse for Snapshot {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, document: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let (version, expires, entries) = parse(RoleType::Snapshot, cursor, document)?;
        if entries.find("targets.json").is_none() {
            return Err(MetadataError::Meta);
        }
        Ok(Self { version, expires, entries, meta: OnceLock::new() })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::Unverified;
    use crate::limits;

    fn snapshot(meta: &str) -> Result<Unverified<Snapshot>, MetadataError> {
        let text = format!(
            r#"{{"signatures":[],"signed":{{"_type":"snapshot","expires":"2030-01-01T00:00:00Z","meta":{{{meta}}},"spec_version":"1.0.31","version":1}}}}"#
        );
        Unverified::read(text.as_bytes(), limits::SNAPSHOT_BYTES)
    }

    fn compared(old: &str, new: &str) -> Result<(), Reason> {
        snapshot(old).unwrap().role().check_not_lowered(snapshot(new).unwrap().role())
    }

    #[test]
    fn what_is_lowered_or_gone_is_named_however_both_lists_are_written() {
        const OLD: &str = r#""a.json":{"version":2},"b.json":{"version":2},"targets.json":{"version":2}"#;
        let lowered = |role: &str, got| {
            let version = |n| Version::new(n).unwrap();
            Err(Reason::RoleLowered { role: role.to_owned(), trusted: version(2), got: version(got) })
        };
        let gone = |role: &str| Err(Reason::RoleRemoved { role: role.to_owned() });
        for (new, expected) in [
            (OLD, Ok(())),
            (r#""a.json":{"version":3},"b.json":{"version":2},"targets.json":{"version":2}"#, Ok(())),
            (
                r#""a.json":{"version":2},"aa.json":{"version":1},"b.json":{"version":9},"targets.json":{"version":2}"#,
                Ok(()),
            ),
            (
                r#""0.json":{"version":1},"a.json":{"version":2},"b.json":{"version":2},"targets.json":{"version":2},"z":{"version":1}"#,
                Ok(()),
            ),
            // In another order, with spaces and escapes.
            (r#""targets.json":{"version":2}, "b.json" : {"version": 2},"\u0061.json":{"version":2}"#, Ok(())),
            (r#""a.json":{"length":7,"version":2},"b.json":{"version":2},"targets.json":{"version":2}"#, Ok(())),
            (r#""a.json":{"version":1},"b.json":{"version":2},"targets.json":{"version":2}"#, lowered("a", 1)),
            (r#""a.json":{"version":2},"b.json":{"version":1},"targets.json":{"version":2}"#, lowered("b", 1)),
            (r#""a.json":{"version":2},"b.json":{"version":2},"targets.json":{"version":1}"#, lowered("targets", 1)),
            (r#""targets.json":{"version":2},"b.json":{"version":2},"a.json":{"version":1}"#, lowered("a", 1)),
            (r#""b.json":{"version":2},"targets.json":{"version":2}"#, gone("a")),
            (r#""a.json":{"version":2},"targets.json":{"version":2}"#, gone("b")),
            (r#""a.json":{"version":2},"c.json":{"version":2},"targets.json":{"version":2}"#, gone("b")),
            (r#""targets.json":{"version":2},"a.json":{"version":2}"#, gone("b")),
        ] {
            assert_eq!(compared(OLD, new), expected, "{new}");
        }
    }

    #[test]
    fn an_entry_that_is_no_entry_refuses_the_file_though_nobody_asks_for_it() {
        for entry in ["1", "{}", r#"{"version":0}"#, r#"{"version":"1"}"#, r#"{"version":1,"hashes":{"sha256":"zz"}}"#]
        {
            let meta = format!(r#""a.json":{entry},"targets.json":{{"version":1}}"#);
            assert!(snapshot(&meta).is_err(), "{entry}");
        }
        assert!(snapshot(r#""a.json":{"version":1}"#).is_err(), "without targets");
    }

    proptest! {
        #[test]
        fn two_snapshots_compare_as_two_maps_do(
            old in prop::collection::btree_map("[ab]{1,2}", 1..4_u64, 0..5),
            new in prop::collection::btree_map("[ab]{1,2}", 1..4_u64, 0..5),
            backwards in any::<bool>(),
        ) {
            let entry = |(name, version): (&String, &u64)| format!(r#""{name}.json":{{"version":{version}}}"#);
            let written = |map: &BTreeMap<String, u64>, backwards: bool| {
                let mut entries: Vec<String> = map.iter().map(entry).chain([entry((&"targets".to_owned(), &1))]).collect();
                if backwards {
                    entries.reverse();
                }
                entries.join(",")
            };
            let kept = old.iter().all(|(name, version)| new.get(name).is_some_and(|now| now >= version));
            prop_assert_eq!(compared(&written(&old, false), &written(&new, backwards)).is_ok(), kept);
            prop_assert_eq!(compared(&written(&old, backwards), &written(&new, false)).is_ok(), kept);
        }
    }
}
