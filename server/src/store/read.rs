//! The queries of the SQLite store. Bytes are compared with their stored SHA-256 where nothing else verifies them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use trust_tuf::model::sha256;
use trust_wire::Base64;

use super::{Candidate, Known, LogRow, StoreError, StoredSet, TokenRow};

/// What a candidate holds beside its role files.
#[derive(Serialize, Deserialize)]
pub(super) struct Rest {
    /// The versions of its roots.
    pub(super) roots: Vec<u64>,
    /// Files of which another one became current under the same version meanwhile: role, version, bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) displaced: Vec<(String, u64, Base64)>,
    /// The contents that came with it: SHA-256 in hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blobs: Vec<String>,
    /// The operator's grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Base64>,
}

/// A version as the database holds it.
pub(super) fn integer(version: u64) -> Result<i64, StoreError> {
    i64::try_from(version).map_err(|_| StoreError::Range("a version"))
}

pub(super) fn unsigned(row: &Row<'_>, at: usize) -> Result<u64, rusqlite::Error> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

pub(super) fn collections(c: &Connection) -> Result<Vec<String>, StoreError> {
    let mut query = c.prepare_cached("SELECT name FROM collection ORDER BY name")?;
    let rows = query.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn current(c: &Connection, name: &str) -> Result<Option<StoredSet>, StoreError> {
    // One transaction, so that the set is of one moment.
    let c = c.unchecked_transaction()?;
    let head = c
        .prepare_cached(
            "SELECT snapshot, timestamp_body, timestamp_sha256, resign_at, sequence, root
             FROM collection WHERE name = ?1 AND root IS NOT NULL",
        )?
        .query_row([name], |r| {
            let (body, sum): (Vec<u8>, Vec<u8>) = (r.get(1)?, r.get(2)?);
            Ok((unsigned(r, 0)?, body, sum, r.get::<_, i64>(3)?, unsigned(r, 4)?, r.get::<_, i64>(5)?))
        })
        .optional()?;
    let Some((snapshot, timestamp, sum, resign_at, sequence, root)) = head else { return Ok(None) };
    if sha256(&timestamp).as_slice() != sum {
        return Err(StoreError::Damaged("timestamp".to_owned()));
    }
    let snapshot = file(&c, name, "snapshot", snapshot)?.ok_or_else(|| StoreError::Damaged("snapshot".to_owned()))?;
    // A newer root is that of an open candidate.
    let mut query = c.prepare_cached(
        "SELECT body FROM meta WHERE collection = ?1 AND role = 'root' AND version <= ?2 ORDER BY version",
    )?;
    let roots = query.query_map(params![name, root], |r| r.get(0))?.collect::<Result<_, _>>()?;
    let mut query = c.prepare_cached(
        "SELECT l.role, m.body FROM live_role l LEFT JOIN meta m USING (collection, role, version)
         WHERE l.collection = ?1",
    )?;
    let rows = query.query_map([name], |r| Ok((r.get::<_, String>(0)?, r.get::<_, Option<Vec<u8>>>(1)?)))?;
    let mut roles = BTreeMap::new();
    for row in rows {
        let (role, body) = row?;
        let body = body.ok_or_else(|| StoreError::Damaged(role.clone()))?;
        roles.insert(role, body);
    }
    Ok(Some(StoredSet { roots, roles, snapshot, timestamp, resign_at, sequence }))
}

pub(super) fn candidate(c: &Connection, name: &str) -> Result<Option<Candidate>, StoreError> {
    let c = c.unchecked_transaction()?;
    let row = c
        .prepare_cached(
            "SELECT id, token, created, roles, rest FROM publication WHERE collection = ?1 AND state = 'candidate'",
        )?
        .query_row([name], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get::<_, String>(3)?, r.get::<_, Option<String>>(4)?))
        })
        .optional()?;
    let Some((id, token, created, roles, rest)) = row else { return Ok(None) };
    let damaged = || StoreError::Damaged("candidate".to_owned());
    let roles: BTreeMap<String, u64> = serde_json::from_str(&roles).map_err(|_| damaged())?;
    let rest: Rest = serde_json::from_str(&rest.ok_or_else(damaged)?).map_err(|_| damaged())?;
    let displaced = rest.displaced;
    let read = |role: &str, version| match displaced.iter().find(|(other, at, _)| other == role && *at == version) {
        Some((_, _, body)) => Ok(body.0.clone()),
        None => stored_file(&c, name, role, version)?.ok_or_else(damaged),
    };
    let roots = rest.roots.into_iter().map(|version| read("root", version)).collect::<Result<_, _>>()?;
    let roles = roles
        .into_iter()
        .map(|(role, version)| read(&role, version).map(|body| (role, body)))
        .collect::<Result<_, _>>()?;
    Ok(Some(Candidate { id, roots, roles, grant: rest.grant.map(|grant| grant.0), token, created }))
}

/// A file, of an open candidate too.
fn stored_file(c: &Connection, name: &str, role: &str, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let row = c
        .prepare_cached("SELECT body, sha256 FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3")?
        .query_row(params![name, role, integer(version)?], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    intact(row, role)
}

pub(super) fn file(c: &Connection, name: &str, role: &str, version: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let row = c
        .prepare_cached(
            "SELECT m.body, m.sha256 FROM meta m LEFT JOIN publication p ON p.id = m.publication
             WHERE m.collection = ?1 AND m.role = ?2 AND m.version = ?3 AND p.state IS NOT 'candidate'",
        )?
        .query_row(params![name, role, integer(version)?], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    intact(row, role)
}

pub(super) fn blob(c: &Connection, name: &str, sum: [u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
    let row = c
        .prepare_cached("SELECT body, sha256 FROM blob WHERE collection = ?1 AND sha256 = ?2")?
        .query_row(params![name, sum], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    intact(row, "target")
}

fn intact(row: Option<(Vec<u8>, Vec<u8>)>, what: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match row {
        Some((body, sum)) if sha256(&body).as_slice() != sum => Err(StoreError::Damaged(what.to_owned())),
        row => Ok(row.map(|(body, _)| body)),
    }
}

pub(super) fn known(c: &Connection, name: &str, key: &str) -> Result<Option<Known>, StoreError> {
    let row = c
        .prepare_cached("SELECT body_sha256, result FROM publication WHERE collection = ?1 AND idempotency_key = ?2")?
        .query_row([name, key], |r| Ok(Known { body_sha256: r.get(0)?, result: r.get(1)? }))
        .optional()?;
    Ok(row)
}

pub(super) fn log(c: &Connection, name: &str, before: Option<u64>, limit: u32) -> Result<Vec<LogRow>, StoreError> {
    let before = before.map_or(Ok(i64::MAX), integer)?;
    let mut query = c.prepare_cached(
        "SELECT sequence, finished, token, result, new_root FROM publication
         WHERE collection = ?1 AND state = 'current' AND sequence IS NOT NULL AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3",
    )?;
    let rows = query.query_map(params![name, before, limit], |r| {
        Ok(LogRow {
            sequence: unsigned(r, 0)?,
            time: r.get(1)?,
            token: r.get(2)?,
            result: r.get(3)?,
            new_root: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

const TOKEN: &str = "SELECT name, sha256, scope, created, expires, revoked FROM token";

fn token_row(r: &Row<'_>) -> Result<TokenRow, rusqlite::Error> {
    Ok(TokenRow {
        name: r.get(0)?,
        sha256: r.get(1)?,
        scope: r.get(2)?,
        created: r.get(3)?,
        expires: r.get(4)?,
        revoked: r.get(5)?,
    })
}

pub(super) fn token(c: &Connection, sum: [u8; 32]) -> Result<Option<TokenRow>, StoreError> {
    let mut query = c.prepare_cached(&format!("{TOKEN} WHERE sha256 = ?1"))?;
    Ok(query.query_row(params![sum], token_row).optional()?)
}

pub(super) fn tokens(c: &Connection) -> Result<Vec<TokenRow>, StoreError> {
    let mut query = c.prepare_cached(&format!("{TOKEN} ORDER BY name"))?;
    let rows = query.query_map([], token_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
