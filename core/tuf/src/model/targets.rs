//! Targets: which paths have which length and hashes, and to whom the rest is delegated.
//!
//! A targets file can be large, and a look-up wants one entry. So the whole document is checked once, and an entry is
//! built only when it is asked for: what is kept of it is where its path stands.

use std::ops::Range;
use std::sync::Arc;

use super::{Delegations, Hashes, Header, Role, sealed};
use crate::error::MetadataError;
use crate::json::{Cursor, Members, Value};
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

/// What a role says of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// Length in bytes.
    pub length: u64,
    /// Hashes; at least one is listed, though none of them may be known.
    pub hashes: Hashes,
    /// The signed facts, an object.
    pub custom: Option<Value>,
}

impl TargetInfo {
    /// Of these bytes, without facts.
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: u64::try_from(bytes.len()).unwrap_or(u64::MAX), hashes: Hashes::of(bytes), custom: None }
    }

    /// As it stands in a file.
    pub fn to_value(&self) -> Value {
        let custom = self.custom.clone().map(|c| ("custom", c));
        Value::object(
            [("length", Value::from(self.length)), ("hashes", self.hashes.to_value())].into_iter().chain(custom),
        )
    }
}

/// The targets role, top-level or delegated.
pub struct Targets {
    version: Version,
    expires: UtcTime,
    // INVARIANT: the value of each is a checked entry.
    entries: Box<Members>,
    delegations: Option<Delegations>,
}

impl Targets {
    /// What the role says of this path.
    pub fn target(&self, path: &str) -> Option<TargetInfo> {
        build(&mut self.entries.find(path)?)
    }

    /// How many targets the role lists.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the role lists none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All paths, in byte order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.names()
    }

    /// The paths that begin with this text, in byte order: found by halving, so that a folder of a large file costs little.
    pub fn paths_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.entries.names_below(prefix)
    }

    /// All targets, in byte order of their paths.
    pub fn targets(&self) -> impl Iterator<Item = (&str, TargetInfo)> {
        let info = |at| self.entries.value(at).and_then(|mut cursor| build(&mut cursor));
        self.paths().enumerate().filter_map(move |(at, path)| Some((path, info(at)?)))
    }

    /// The delegations, if there are any.
    pub fn delegations(&self) -> Option<&Delegations> {
        self.delegations.as_ref()
    }
}

fn build(cursor: &mut Cursor<'_>) -> Option<TargetInfo> {
    // The entry was read once with the document: it is read again, not checked again.
    let mut facts = *cursor;
    let (length, hashes, custom) = parse_entry(cursor).ok()?;
    let custom = custom.and_then(|span| facts.value_at(span.start).ok());
    Some(TargetInfo { length, hashes, custom })
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets")
            .field("version", &self.version)
            .field("expires", &self.expires)
            .field("targets", &self.len())
            .finish_non_exhaustive()
    }
}

fn parse_entry(cursor: &mut Cursor<'_>) -> Result<(u64, Hashes, Option<Range<usize>>), MetadataError> {
    let (mut length, mut hashes, mut custom) = (None, None, None);
    cursor.object(|c, name| {
        match name {
            "length" => length = Some(c.u64()?),
            "hashes" => hashes = Some(Hashes::parse(c)?),
            "custom" => {
                let span = c.skip()?;
                custom = Some(span);
            }
            _ => {
                c.skip()?;
            }
        }
        Ok::<(), MetadataError>(())
    })?;
    let length = length.ok_or(MetadataError::Missing("length"))?;
    let hashes = hashes.ok_or(MetadataError::Missing("hashes"))?;
    Ok((length, hashes, custom))
}

impl sealed::Parse for Targets {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, document: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let mut header = Header::default();
        let mut entries = None;
        let mut delegations = None;
        cursor.object(|c, name| {
            if header.member(RoleType::Targets, c, name)? {
                return Ok(());
            }
            match name {
                "targets" => {
                    entries = Some(Members::read(c, document, |c| {
                        let start = c.position();
                        let (_, _, custom) = parse_entry(c)?;
                        if custom.is_some_and(|span| document.get(span.start) != Some(&b'{')) {
                            return Err(MetadataError::expected(start, "`custom` to be an object"));
                        }
                        Ok(())
                    })?);
                }
                "delegations" => delegations = Some(Delegations::parse(c)?),
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        let (version, expires) = header.finish()?;
        let entries = entries.ok_or(MetadataError::Missing("targets"))?;
        Ok(Self { version, expires, entries: Box::new(entries), delegations })
    }
}

impl Role for Targets {
    const TYPE: RoleType = RoleType::Targets;

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}
