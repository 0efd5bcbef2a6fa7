//! What is written to the store, each in one durable transaction: marks, audit entries and signed bytes together, so that
//! none of them is ever there without the others.

use std::sync::Arc;

use rusqlite::{Connection, params};
use trust_tuf::model::sha256;
use trust_tuf::{CollectionName, KeyId, PublicKey, RoleName, UtcTime, Version};

use super::read::{admitted, head, marks};
use super::{Identity, Marks, Store, StoreError, to_sql};
use crate::audit::{Event, Head, Record};
use crate::fail_point::fail_point;
use crate::online_role::OnlineRole;

/// Pending keys (no root names them yet) of one collection. Older ones leave.
pub(crate) const PENDING_KEYS: i64 = 8;
/// Pending keys of all collections that have no root here. Older ones leave.
pub(crate) const PENDING_KEYS_IN_ALL: i64 = 10_000;

/// Who admitted a first root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// SHA-256 of the root.
    pub root_sha256: [u8; 32],
    /// `command`, `grant KEYID` or `dev`.
    pub by: String,
}

/// A file that was signed and is to be recorded.
#[derive(Debug, Clone)]
pub struct NewSigned {
    /// The role.
    pub role: OnlineRole,
    /// The version.
    pub version: Version,
    /// The expiry.
    pub expires: UtcTime,
    /// The file.
    pub bytes: Vec<u8>,
    /// The keys that signed it.
    pub keyids: Vec<KeyId>,
}

/// A new online key, sealed.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The role that it may sign.
    pub role: OnlineRole,
    /// The public half.
    pub public: PublicKey,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

/// Everything that a publication or a re-signing changes for one collection.
#[derive(Debug)]
pub struct Change {
    /// The collection.
    pub collection: CollectionName,
    /// The marks that it was made for; none for a first publication.
    pub expected: Option<Marks>,
    /// The marks afterwards.
    pub marks: Marks,
    /// The admission of the first root, if it is made by this change.
    pub admission: Option<Admission>,
    /// New roots, oldest first.
    pub roots: Vec<(Version, Arc<[u8]>)>,
    /// New role files.
    pub roles: Vec<(RoleName, Version, Arc<[u8]>)>,
    /// Roles that become tombstones.
    pub buried: Vec<String>,
    /// Roles and tombstones that leave.
    pub gone: Vec<String>,
    /// Keys that a root names for the first time.
    pub named_keys: Vec<(OnlineRole, KeyId)>,
    /// Keys that it no longer names.
    pub dropped_keys: Vec<(OnlineRole, KeyId)>,
    /// What was signed.
    pub signed: Vec<NewSigned>,
}

impl Store {
    /// Runs `write` in one durable transaction.
    fn transaction<T>(&mut self, write: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if !self.db.is_autocommit() {
            // A write panicked half way.
            self.control("ROLLBACK")?;
        }
        self.control("BEGIN IMMEDIATE")?;
        let done = write(&self.db).and_then(|value| {
            self.control("COMMIT").map_err(StoreError::of_commit)?;
            #[cfg(test)]
            if self.no_sync {
                return Err(StoreError::Sync);
            }
            Ok(value)
        });
        if done.is_err() && !self.db.is_autocommit() {
            // If this fails too, the next write tries it again before it begins.
            let _ = self.control("ROLLBACK");
        }
        done
    }

    /// The beginning and the end of a transaction, prepared once.
    fn control(&self, sql: &'static str) -> Result<(), rusqlite::Error> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    pub(super) fn put_identity(&mut self, identity: &Identity) -> Result<(), StoreError> {
        self.transaction(|db| {
            db.execute(
                "INSERT INTO identity (id, salt, log_n, keyid, public_key, sealed) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
                params![
                    identity.salt,
                    i64::from(identity.log_n),
                    identity.public.id().as_str(),
                    identity.public.to_value().canonical(),
                    identity.sealed
                ],
            )?;
            Ok(())
        })
    }

    /// Admits a first root by the operator's command. Admitting it again changes nothing; another one replaces it until a
    /// root is there.
    pub fn admit(
        &mut self,
        collection: &CollectionName,
        admission: &Admission,
        now: UtcTime,
    ) -> Result<(), StoreError> {
        let before = self.admitted(collection)?;
        if before == Some(admission.root_sha256) {
            return Ok(());
        }
        self.transaction(|db| {
            if marks(db, collection.as_str())?.is_some() {
                return Err(StoreError::Admitted(collection.to_string()));
            }
            admit(db, collection, admission, now)
        })
    }

    /// Records changes of different collections, all or none.
    pub fn apply(&mut self, now: UtcTime, changes: &[Change]) -> Result<(), StoreError> {
        self.transaction(|db| {
            for change in changes {
                apply(db, now, change)?;
            }
            db.prepare_cached("UPDATE clock SET last = ?1 WHERE id = 1 AND last <> ?1")?.execute([now.unix()])?;
            fail_point("signer.before_commit");
            Ok(())
        })
    }

    /// Stores new online keys, and lets the oldest pending ones go where there are too many.
    pub fn add_keys(&mut self, collection: &CollectionName, keys: &[NewKey], now: UtcTime) -> Result<(), StoreError> {
        self.transaction(|db| {
            for key in keys {
                let id = key.public.id();
                db.prepare_cached(
                    "INSERT INTO online_key (collection, role, keyid, sealed, time) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![collection.as_str(), key.role.as_str(), id.as_str(), key.sealed, now.unix()])?;
                let record = Record {
                    event: Event::NewKey,
                    collection: collection.to_string(),
                    role: key.role.as_str().to_owned(),
                    version: 0,
                    sha256: String::new(),
                    keyid: id.as_str().to_owned(),
                };
                append(db, now, &record)?;
            }
            db.prepare_cached(
                "DELETE FROM online_key WHERE named = 0 AND collection = ?1 AND seq NOT IN (SELECT seq FROM online_key \
                 WHERE named = 0 AND collection = ?1 ORDER BY seq DESC LIMIT ?2)",
            )?
            .execute(params![collection.as_str(), PENDING_KEYS])?;
            let pending: i64 = db
                .prepare_cached(
                    "SELECT count(*) FROM online_key WHERE named = 0 AND collection NOT IN (SELECT name FROM collection)",
                )?
                .query_row([], |row| row.get(0))?;
            if pending > PENDING_KEYS_IN_ALL {
                db.prepare_cached(
                    "DELETE FROM online_key WHERE seq IN (SELECT seq FROM online_key WHERE named = 0 AND collection NOT \
                     IN (SELECT name FROM collection) ORDER BY seq LIMIT ?1)",
                )?
                .execute([pending - PENDING_KEYS_IN_ALL])?;
            }
            Ok(())
        })
    }
}

fn admit(db: &Connection, collection: &CollectionName, admission: &Admission, now: UtcTime) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO admitted (collection, root_sha256, admitted_by, time) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (collection) DO UPDATE SET root_sha256 = ?2, admitted_by = ?3, time = ?4",
    )?
    .execute(params![collection.as_str(), admission.root_sha256, admission.by, now.unix()])?;
    let record = Record {
        event: Event::Admit,
        collection: collection.to_string(),
        role: "root".to_owned(),
        version: 1,
        sha256: hex::encode(admission.root_sha256),
        keyid: String::new(),
    };
    append(db, now, &record)
}

fn append(db: &Connection, now: UtcTime, record: &Record) -> Result<(), StoreError> {
    append_to(db, head(db)?, now, record).map(drop)
}

/// Adds an entry after this head, which the same transaction read or made. Gives the new head.
fn append_to(db: &Connection, before: Head, now: UtcTime, record: &Record) -> Result<Head, StoreError> {
    let (entry, after) = before.append(now, record);
    let seq = i64::try_from(after.seq).map_err(|_| StoreError::Damaged("the audit is full".to_owned()))?;
    db.prepare_cached("INSERT INTO audit (seq, prev_hash, entry, hash) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        seq,
        before.hash,
        entry,
        after.hash
    ])?;
    Ok(after)
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn apply(db: &Connection, now: UtcTime, change: &Change) -> Result<(), StoreError> {
    let name = change.collection.as_str();
    // The core works on a copy in memory; this is where the copy is compared with what is durable.
    if marks(db, name)? != change.expected {
        return Err(StoreError::Conflict(name.to_owned()));
    }
    // Neither may an operator have admitted another first root since the core looked.
    if change.expected.is_none() {
        let wanted = change.roots.first().map(|(_, body)| sha256(body));
        match (admitted(db, name)?, &change.admission) {
            (None, Some(admission)) if Some(admission.root_sha256) == wanted => {
                admit(db, &change.collection, admission, now)?;
            }
            (Some(admitted), None) if Some(admitted) == wanted => {}
            _ => return Err(StoreError::Conflict(name.to_owned())),
        }
    }
    db.prepare_cached(
        "INSERT INTO collection (name, root, snapshot, timestamp, publication) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (name) DO UPDATE SET root = ?2, snapshot = ?3, timestamp = ?4, publication = ?5",
    )?
    .execute(params![
        name,
        to_sql(change.marks.root),
        to_sql(change.marks.snapshot),
        to_sql(change.marks.timestamp),
        change.marks.publication
    ])?;
    for (version, body) in &change.roots {
        db.prepare_cached("INSERT INTO root (collection, version, body) VALUES (?1, ?2, ?3)")?.execute(params![
            name,
            to_sql(*version),
            &**body
        ])?;
    }
    for role in &change.gone {
        db.prepare_cached(
            "INSERT INTO retired_role (collection, role, version) SELECT collection, role, version FROM role_file \
             WHERE collection = ?1 AND role = ?2",
        )?
        .execute([name, role])?;
        db.prepare_cached("DELETE FROM role_file WHERE collection = ?1 AND role = ?2")?.execute([name, role])?;
    }
    for role in &change.buried {
        db.prepare_cached("UPDATE role_file SET body = NULL WHERE collection = ?1 AND role = ?2")?
            .execute([name, role])?;
    }
    for (role, version, body) in &change.roles {
        db.prepare_cached(
            "INSERT INTO role_file (collection, role, version, length, sha256, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (collection, role) DO UPDATE SET version = ?3, length = ?4, sha256 = ?5, body = ?6",
        )?
        .execute(params![name, role.as_str(), to_sql(*version), length(body), sha256(body), &**body])?;
    }
    for (role, id) in &change.named_keys {
        db.prepare_cached("UPDATE online_key SET named = 1 WHERE collection = ?1 AND role = ?2 AND keyid = ?3")?
            .execute([name, role.as_str(), id.as_str()])?;
    }
    for (role, id) in &change.dropped_keys {
        db.prepare_cached("DELETE FROM online_key WHERE collection = ?1 AND role = ?2 AND keyid = ?3")?.execute([
            name,
            role.as_str(),
            id.as_str(),
        ])?;
    }
    let mut end = head(db)?;
    for file in &change.signed {
        end = record_signed(db, end, now, name, file)?;
    }
    Ok(())
}

fn record_signed(
    db: &Connection,
    mut end: Head,
    now: UtcTime,
    collection: &str,
    file: &NewSigned,
) -> Result<Head, StoreError> {
    let hash = sha256(&file.bytes);
    db.prepare_cached(
        "INSERT INTO signed (collection, role, version, time, expires, sha256, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        collection,
        file.role.as_str(),
        to_sql(file.version),
        now.unix(),
        file.expires.unix(),
        hash,
        file.bytes
    ])?;
    for id in &file.keyids {
        let record = Record {
            event: Event::Sign,
            collection: collection.to_owned(),
            role: file.role.as_str().to_owned(),
            version: file.version.get(),
            sha256: hex::encode(hash),
            keyid: id.as_str().to_owned(),
        };
        end = append_to(db, end, now, &record)?;
    }
    Ok(end)
}
