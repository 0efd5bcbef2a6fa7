//! What is read from the store. Rows are checked on their way: a row that this program cannot have written is damage.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, Hashes, MetaEntry, PublicKey, RoleName, UtcTime, Version, json};

use super::{Identity, Marks, SignedFile, Store, StoreError, StoredKey, version_from_sql};
use crate::audit::{self, Head};
use crate::online_role::OnlineRole;

/// The role files of a collection, and the tombstones.
pub(crate) type RoleFiles = (Vec<(RoleName, Vec<u8>)>, BTreeMap<String, MetaEntry>);

/// What `audit verify` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// The end of the chain.
    pub head: Head,
    /// How many of its entries are signatures.
    pub signatures: u64,
}

fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

fn array<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| damaged(format!("{what} has another length")))
}

fn time(seconds: i64) -> Result<UtcTime, StoreError> {
    UtcTime::from_unix(seconds).ok_or_else(|| damaged("a time is out of range"))
}

pub(super) fn head(db: &Connection) -> Result<Head, StoreError> {
    let row: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, hash)) = row else { return Ok(Head::EMPTY) };
    let seq = u64::try_from(seq).map_err(|_| damaged("an audit entry has no number"))?;
    Ok(Head { seq, hash: array(&hash, "an audit hash")? })
}

pub(super) fn marks(db: &Connection, collection: &str) -> Result<Option<Marks>, StoreError> {
    type Raw = (i64, i64, i64, Vec<u8>);
    let read = |row: &Row<'_>| -> rusqlite::Result<Raw> { Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)) };
    let row = db
        .prepare_cached("SELECT root, snapshot, timestamp, publication FROM collection WHERE name = ?1")?
        .query_row([collection], read)
        .optional()?;
    let Some((root, snapshot, timestamp, publication)) = row else { return Ok(None) };
    Ok(Some(Marks {
        root: version_from_sql(root)?,
        snapshot: version_from_sql(snapshot)?,
        timestamp: version_from_sql(timestamp)?,
        publication: array(&publication, "the digest of a publication")?,
    }))
}

pub(super) fn admitted(db: &Connection, collection: &str) -> Result<Option<[u8; 32]>, StoreError> {
    let hash: Option<Vec<u8>> = db
        .prepare_cached("SELECT root_sha256 FROM admitted WHERE collection = ?1")?
        .query_row([collection], |row| row.get(0))
        .optional()?;
    hash.map(|hash| array(&hash, "an admitted fingerprint")).transpose()
}

impl Store {
    /// The identity.
    pub fn identity(&self) -> Result<Identity, StoreError> {
        type Raw = (Vec<u8>, i64, String, Vec<u8>, Vec<u8>);
        let read = |row: &Row<'_>| -> rusqlite::Result<Raw> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let (salt, log_n, keyid, public, sealed) = self
            .db
            .query_row("SELECT salt, log_n, keyid, public_key, sealed FROM identity WHERE id = 1", [], read)
            .optional()?
            .ok_or_else(|| damaged("it has no identity"))?;
        let public = json::parse(&public).ok().and_then(|value| PublicKey::from_value(&value).ok());
        let public = public.filter(|key| key.id().as_str() == keyid).ok_or_else(|| damaged("its identity"))?;
        let log_n = u8::try_from(log_n).map_err(|_| damaged("the cost of its passphrase"))?;
        Ok(Identity { salt: array(&salt, "the salt")?, log_n, public, sealed })
    }

    /// The time of the last signature, in Unix seconds.
    pub fn last_signature(&self) -> Result<i64, StoreError> {
        Ok(self.db.prepare_cached("SELECT last FROM clock WHERE id = 1")?.query_row([], |row| row.get(0))?)
    }

    /// How many collections have a root here.
    pub fn collections(&self) -> Result<u64, StoreError> {
        let count: i64 = self.db.prepare_cached("SELECT count(*) FROM collection")?.query_row([], |row| row.get(0))?;
        u64::try_from(count).map_err(|_| damaged("a count"))
    }

    /// SHA-256 of the first root that was admitted for a collection.
    pub fn admitted(&self, collection: &CollectionName) -> Result<Option<[u8; 32]>, StoreError> {
        admitted(&self.db, collection.as_str())
    }

    /// The marks of a collection, if it has a root here.
    pub fn marks(&self, collection: &CollectionName) -> Result<Option<Marks>, StoreError> {
        marks(&self.db, collection.as_str())
    }

    /// Every root, oldest first. They must be unbroken from version 1.
    pub fn roots(&self, collection: &CollectionName) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement =
            self.db.prepare_cached("SELECT version, body FROM root WHERE collection = ?1 ORDER BY version")?;
        let mut rows = statement.query([collection.as_str()])?;
        let mut roots = Vec::new();
        let mut expected = 1_i64;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? != expected {
                return Err(damaged(format!("root {expected} of {collection} is missing")));
            }
            expected = expected.saturating_add(1);
            roots.push(row.get(1)?);
        }
        Ok(roots)
    }

    /// The current file of each role, and the tombstones.
    pub(crate) fn role_files(&self, collection: &CollectionName) -> Result<RoleFiles, StoreError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT role, version, length, sha256, body FROM role_file WHERE collection = ?1")?;
        let mut rows = statement.query([collection.as_str()])?;
        let (mut files, mut tombstones) = (Vec::new(), BTreeMap::new());
        while let Some(row) = rows.next()? {
            let role: String = row.get(0)?;
            let hash: [u8; 32] = array(&row.get::<_, Vec<u8>>(3)?, "a hash")?;
            let name = RoleName::parse(&role).map_err(|_| damaged(format!("`{}` is no role", role.escape_debug())))?;
            match row.get::<_, Option<Vec<u8>>>(4)? {
                Some(body) if sha256(&body) == hash => files.push((name, body)),
                Some(_) => return Err(damaged(format!("the file of {role} of {collection} was changed"))),
                None => {
                    let length = u64::try_from(row.get::<_, i64>(2)?).map_err(|_| damaged("a length"))?;
                    let hashes = Hashes { sha256: Some(hash), sha512: None };
                    let version = version_from_sql(row.get(1)?)?;
                    tombstones.insert(role, MetaEntry { version, length: Some(length), hashes: Some(hashes) });
                }
            }
        }
        Ok((files, tombstones))
    }

    /// The last version of a role that left for ever.
    pub(crate) fn retired(&self, collection: &CollectionName, role: &RoleName) -> Result<Option<Version>, StoreError> {
        let version: Option<i64> = self
            .db
            .prepare_cached("SELECT version FROM retired_role WHERE collection = ?1 AND role = ?2")?
            .query_row([collection.as_str(), role.as_str()], |row| row.get(0))
            .optional()?;
        version.map(version_from_sql).transpose()
    }

    /// A file that was signed. Its bytes are compared with the hash beside them.
    pub fn signed(
        &self,
        collection: &CollectionName,
        role: OnlineRole,
        version: trust_tuf::Version,
    ) -> Result<SignedFile, StoreError> {
        type Raw = (i64, i64, Vec<u8>, Vec<u8>);
        let read =
            |row: &Row<'_>| -> rusqlite::Result<Raw> { Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)) };
        let what = || format!("{} {version} of {collection}", role.as_str());
        let (made, expires, hash, bytes) = self
            .db
            .prepare_cached(
                "SELECT time, expires, sha256, body FROM signed WHERE collection = ?1 AND role = ?2 AND version = ?3",
            )?
            .query_row(params![collection.as_str(), role.as_str(), super::to_sql(version)], read)
            .optional()?
            .ok_or_else(|| damaged(format!("{} is missing", what())))?;
        if sha256(&bytes) != hash.as_slice() {
            return Err(damaged(format!("{} was changed", what())));
        }
        Ok(SignedFile { version, time: time(made)?, expires: time(expires)?, bytes })
    }

    /// The online keys of a collection, oldest first.
    pub fn keys(&self, collection: &CollectionName) -> Result<Vec<StoredKey>, StoreError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT role, keyid, sealed, named FROM online_key WHERE collection = ?1 ORDER BY seq")?;
        let mut rows = statement.query([collection.as_str()])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let role = OnlineRole::parse(&row.get::<_, String>(0)?).ok_or_else(|| damaged("a key's role"))?;
            keys.push(StoredKey { role, keyid: row.get(1)?, sealed: row.get(2)?, named: row.get::<_, i64>(3)? == 1 });
        }
        Ok(keys)
    }

    /// Checks the database file, the audit chain, and that chain and signed files name the same signatures.
    pub fn verify_audit(&self) -> Result<AuditReport, StoreError> {
        // One view of the whole: a signer may run meanwhile.
        let view = self.db.unchecked_transaction()?;
        let check: String = view.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(damaged(check));
        }
        // By a part of their hash: a store holds millions, and nobody can choose them.
        let mut audited = BTreeMap::new();
        let mut at = Head::EMPTY;
        let mut statement = view.prepare("SELECT seq, prev_hash, entry, hash FROM audit ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (prev, entry, hash): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let seq = u64::try_from(row.get::<_, i64>(0)?).map_err(|_| damaged("an audit number"))?;
            let (next, signature) =
                audit::check_entry(at, seq, &prev, &entry, &hash).map_err(|broken| damaged(broken.to_string()))?;
            at = next;
            if let Some(name) = signature
                && audited.insert(short(&name), seq).is_some()
            {
                return Err(damaged(format!("audit entry {seq}: it stands there twice")));
            }
        }
        let signatures = u64::try_from(audited.len()).unwrap_or(u64::MAX);
        let mut statement = view.prepare("SELECT collection, role, version, sha256, body FROM signed")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (collection, role): (String, String) = (row.get(0)?, row.get(1)?);
            let version = version_from_sql(row.get(2)?)?;
            let (hash, body): (Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?);
            let what = || format!("{role} {version} of {collection}");
            if sha256(&body) != hash.as_slice() {
                return Err(damaged(format!("{} was changed", what())));
            }
            let ids = signature_ids(&body).ok_or_else(|| damaged(format!("{} cannot be read", what())))?;
            for id in ids {
                let name = (collection.clone(), role.clone(), version.get(), hex::encode(&hash), id);
                if audited.remove(&short(&name)).is_none() {
                    return Err(damaged(format!("the audit has no entry for a signature of {}", what())));
                }
            }
        }
        match audited.first_key_value() {
            Some((_, seq)) => Err(damaged(format!("audit entry {seq}: what it names was not signed"))),
            None => Ok(AuditReport { head: at, signatures }),
        }
    }
}

fn short((collection, role, version, hash, id): &audit::SignatureName) -> [u8; 16] {
    let hash = sha256(format!("{collection}|{role}|{version}|{hash}|{id}").as_bytes());
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    short
}

fn signature_ids(file: &[u8]) -> Option<Vec<String>> {
    let value = json::parse(file).ok()?;
    let signatures = value.get("signatures")?.as_array()?;
    signatures.iter().map(|s| s.get("keyid")?.as_str().map(str::to_owned)).collect()
}
