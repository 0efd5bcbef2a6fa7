//! Root: which keys speak for the four top-level roles.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Header, Role, sealed};
use crate::error::MetadataError;
use crate::json::Cursor;
use crate::keys::{KeyId, PublicKey};
use crate::limits;
use crate::names::{RoleType, Version};
use crate::time::UtcTime;

/// Keys of a file by id. A key of a kind that is not known stands here as `None`: it cannot count, and spoils nothing.
pub(crate) type KeyTable = BTreeMap<KeyId, Option<PublicKey>>;

/// The keys that speak for a role, and how many of them must. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys(Arc<Listed>);

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    threshold: u64,
    keyids: Vec<KeyId>,
    keys: Vec<(KeyId, PublicKey)>,
}

impl RoleKeys {
    /// How many distinct keys must have signed; at least 1.
    pub fn threshold(&self) -> u64 {
        self.0.threshold
    }

    /// The ids listed, also of keys that are missing or cannot be used.
    pub fn keyids(&self) -> &[KeyId] {
        &self.0.keyids
    }

    /// The keys that can be used, by the id under which the file lists them.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &PublicKey)> {
        self.0.keys.iter().map(|(id, key)| (id, key))
    }

    /// The key listed under this id, if it can be used.
    pub fn key(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.keys.iter().find(|(listed, _)| listed == id).map(|(_, key)| key)
    }

    /// Whether this key, under whatever id, speaks for the role.
    pub fn holds(&self, key: &PublicKey) -> bool {
        self.0.keys.iter().any(|(_, listed)| listed == key)
    }

    pub(crate) fn resolve(
        name: &str,
        threshold: u64,
        keyids: Vec<KeyId>,
        table: &KeyTable,
    ) -> Result<Self, MetadataError> {
        if threshold < 1 {
            return Err(MetadataError::Threshold(name.to_owned()));
        }
        let mut sorted: Vec<&KeyId> = keyids.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(MetadataError::DuplicateKeyId(name.to_owned()));
        }
        let keys = keyids.iter().filter_map(|id| Some((id.clone(), table.get(id)?.clone()?))).collect();
        Ok(Self(Arc::new(Listed { threshold, keyids, keys })))
    }
}

/// `keyids` and `threshold`, before the keys are known.
#[derive(Debug, Default)]
pub(crate) struct RoleKeysDraft {
    keyids: Option<Vec<KeyId>>,
    threshold: Option<u64>,
}

impl RoleKeysDraft {
    /// Reads the member if it is one of the two; false if it is not.
    pub(crate) fn member(&mut self, role: &str, cursor: &mut Cursor<'_>, name: &str) -> Result<bool, MetadataError> {
        match name {
            "keyids" => {
                let mut ids = Vec::new();
                cursor.array(|c| {
                    if ids.len() >= limits::KEYS_PER_FILE {
                        return Err(MetadataError::TooMany { what: "key ids in a role", limit: limits::KEYS_PER_FILE });
                    }
                    ids.push(KeyId::new(c.string()?));
                    Ok(())
                })?;
                self.keyids = Some(ids);
            }
            "threshold" => {
                let value = cursor.integer()?;
                self.threshold = Some(u64::try_from(value).map_err(|_| MetadataError::Threshold(role.to_owned()))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How many key ids were read.
    pub(crate) fn len(&self) -> usize {
        self.keyids.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn resolve(self, name: &str, table: &KeyTable) -> Result<RoleKeys, MetadataError> {
        let keyids = self.keyids.ok_or(MetadataError::Missing("keyids"))?;
        let threshold = self.threshold.ok_or(MetadataError::Missing("threshold"))?;
        RoleKeys::resolve(name, threshold, keyids, table)
    }
}

/// Reads a `keys` object. Only its shape must fit; material that does not parse is left aside.
pub(crate) fn parse_keys(cursor: &mut Cursor<'_>) -> Result<KeyTable, MetadataError> {
    let mut table = KeyTable::new();
    cursor.object(|c, id| {
        if table.len() >= limits::KEYS_PER_FILE {
            return Err(MetadataError::TooMany { what: "keys", limit: limits::KEYS_PER_FILE });
        }
        table.insert(KeyId::new(id), parse_key(c)?);
        Ok(())
    })?;
    Ok(table)
}

/// Reads a key without a tree of what else it holds, which may be much.
fn parse_key(cursor: &mut Cursor<'_>) -> Result<Option<PublicKey>, MetadataError> {
    let (mut key_type, mut scheme, mut public) = (None, None, None);
    cursor.object(|c, name| {
        match name {
            "keytype" => key_type = c.string_if_any()?,
            "scheme" => scheme = c.string_if_any()?,
            "keyval" if c.is_at(b'{') => c.object(|c, name| {
                match name {
                    "public" => public = c.string_if_any()?,
                    _ => _ = c.skip()?,
                }
                Ok::<(), MetadataError>(())
            })?,
            _ => _ = c.skip()?,
        }
        Ok::<(), MetadataError>(())
    })?;
    let (Some(key_type), Some(scheme), Some(public)) = (key_type, scheme, public) else { return Ok(None) };
    Ok(PublicKey::from_parts(&key_type, &scheme, &public).ok())
}

/// The root role.
#[derive(Debug, Clone)]
pub struct Root {
    version: Version,
    expires: UtcTime,
    consistent_snapshot: bool,
    roles: [RoleKeys; 4],
}

impl Root {
    /// Whether files other than the timestamp carry their version in their name. Absent means no.
    pub fn consistent_snapshot(&self) -> bool {
        self.consistent_snapshot
    }

    /// The keys of a top-level role.
    pub fn role(&self, role: RoleType) -> &RoleKeys {
        let [root, timestamp, snapshot, targets] = &self.roles;
        match role {
            RoleType::Root => root,
            RoleType::Timestamp => timestamp,
            RoleType::Snapshot => snapshot,
            RoleType::Targets => targets,
        }
    }
}

impl Role for Root {
    const TYPE: RoleType = RoleType::Root;

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

impl sealed::Parse for Root {
    #[allow(private_interfaces)]
    fn parse(cursor: &mut Cursor<'_>, _: &Arc<[u8]>) -> Result<Self, MetadataError> {
        let mut header = Header::default();
        let mut consistent_snapshot = false;
        let mut table = None;
        let mut drafts: Option<BTreeMap<String, RoleKeysDraft>> = None;
        cursor.object(|c, name| {
            if header.member(RoleType::Root, c, name)? {
                return Ok(());
            }
            match name {
                "consistent_snapshot" => consistent_snapshot = c.bool()?,
                "keys" => table = Some(parse_keys(c)?),
                "roles" => {
                    let mut roles = BTreeMap::new();
                    c.object(|c, role| {
                        let mut draft = RoleKeysDraft::default();
                        c.object(|c, member| {
                            if !draft.member(role, c, member)? {
                                c.skip()?;
                            }
                            Ok::<(), MetadataError>(())
                        })?;
                        // Other role names (`mirrors`) have no meaning here.
                        if RoleType::from_name(role).is_some() {
                            roles.insert(role.to_owned(), draft);
                        }
                        Ok::<(), MetadataError>(())
                    })?;
                    drafts = Some(roles);
                }
                _ => {
                    c.skip()?;
                }
            }
            Ok::<(), MetadataError>(())
        })?;
        let (version, expires) = header.finish()?;
        let table = table.ok_or(MetadataError::Missing("keys"))?;
        let mut drafts = drafts.ok_or(MetadataError::Missing("roles"))?;
        let mut take = |role: RoleType| {
            drafts.remove(role.as_str()).ok_or(MetadataError::Missing(role.as_str()))?.resolve(role.as_str(), &table)
        };
        let roles =
            [take(RoleType::Root)?, take(RoleType::Timestamp)?, take(RoleType::Snapshot)?, take(RoleType::Targets)?];
        Ok(Self { version, expires, consistent_snapshot, roles })
    }
}
