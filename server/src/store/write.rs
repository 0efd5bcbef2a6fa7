//! The statements of the SQLite store. Each function runs inside the writer's transaction: an error undoes all it did.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use trust_tuf::CollectionName;
use trust_tuf::model::sha256;
use trust_wire::api::PublicationResponse;

use super::read::{integer, unsigned};
use super::{Cause, Event, NewCandidate, NewSet, Reserved, StoreError, StoredFile, StoredTimestamp, TokenRow};

fn log(c: &Connection, event: &Event) -> Result<(), StoreError> {
    c.prepare_cached("INSERT INTO log (time, actor, action, collection, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![event.time, event.actor, event.action, event.collection, event.detail])?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Range("an answer"))
}

pub(super) fn reserve(c: &Connection, name: &str, event: &Event) -> Result<Reserved, StoreError> {
    let wanted = CollectionName::parse(name).map_err(|_| StoreError::Range("the name"))?;
    let mut query = c.prepare_cached("SELECT name FROM collection")?;
    let rows = query.query_map([], |r| r.get::<_, String>(0))?;
    for row in rows {
        let other = row?;
        if other == name {
            return Ok(Reserved::Existing);
        }
        if CollectionName::parse(&other).is_ok_and(|o| o.overlaps(&wanted)) {
            return Ok(Reserved::Overlaps(other));
        }
    }
    c.execute(
        "INSERT INTO collection (name, reserved_at, reserved_by) VALUES (?1, ?2, ?3)",
        params![name, event.time, event.actor],
    )?;
    log(c, event)?;
    Ok(Reserved::New)
}

pub(super) fn open_candidate(c: &Connection, new: &NewCandidate) -> Result<i64, StoreError> {
    let mut insert = c.prepare_cached(
        "INSERT INTO publication (collection, state, idempotency_key, body_sha256, body, token, expected, roles,
                                  new_root, created)
         VALUES (?1, 'candidate', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let inserted = insert.execute(params![
        new.collection,
        new.key,
        new.body_sha256,
        &*new.body,
        new.token,
        new.expected,
        json(&new.roles)?,
        new.new_root,
        new.created,
    ]);
    match inserted {
        Ok(_) => Ok(c.last_insert_rowid()),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            // Which of the two: the key is known, or there is a candidate.
            match super::read::known(c, &new.collection, &new.key)? {
                Some(_) => Err(StoreError::KeyTaken),
                None => Err(e.into()),
            }
        }
        Err(e) => Err(e.into()),
    }
}

fn put_file(c: &Connection, collection: &str, file: &StoredFile) -> Result<(), StoreError> {
    let (sum, version) = (sha256(&file.body), integer(file.version)?);
    let inserted = c
        .prepare_cached(
            "INSERT INTO meta (collection, role, version, sha256, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![collection, file.role, version, sum, &*file.body])?;
    if inserted == 1 {
        return Ok(());
    }
    let stored: [u8; 32] = c
        .prepare_cached("SELECT sha256 FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3")?
        .query_row(params![collection, file.role, version], |r| r.get(0))?;
    if stored == sum { Ok(()) } else { Err(StoreError::Fork { role: file.role.clone(), version: file.version }) }
}

fn live_roles(c: &Connection, collection: &str, live: &BTreeMap<String, u64>) -> Result<(), StoreError> {
    let mut query = c.prepare_cached("SELECT role, version FROM live_role WHERE collection = ?1")?;
    let rows = query.query_map([collection], |r| Ok((r.get::<_, String>(0)?, unsigned(r, 1)?)))?;
    let before = rows.collect::<Result<BTreeMap<_, _>, _>>()?;
    for role in before.keys().filter(|role| !live.contains_key(*role)) {
        c.prepare_cached("DELETE FROM live_role WHERE collection = ?1 AND role = ?2")?
            .execute(params![collection, role])?;
    }
    for (role, version) in live.iter().filter(|(role, version)| before.get(*role) != Some(*version)) {
        c.prepare_cached(
            "INSERT INTO live_role (collection, role, version) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET version = excluded.version",
        )?
        .execute(params![collection, role, integer(*version)?])?;
    }
    Ok(())
}

pub(super) fn promote(c: &Connection, set: &NewSet, cause: &Cause, time: i64) -> Result<u64, StoreError> {
    let name = set.collection.as_str();
    for file in &set.files {
        put_file(c, name, file)?;
    }
    for (sum, body) in &set.blobs {
        c.prepare_cached("INSERT INTO blob (collection, sha256, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![name, sum, body])?;
    }
    live_roles(c, name, &set.live)?;
    let counts = i64::from(!matches!(cause, Cause::Renewed));
    let t = &set.timestamp;
    let sequence = c
        .prepare_cached(
            "UPDATE collection SET root = ?2, snapshot = ?3, timestamp = ?4, timestamp_body = ?5,
                    timestamp_sha256 = ?6, resign_at = ?7, sequence = sequence + ?8
             WHERE name = ?1 RETURNING sequence",
        )?
        .query_row(
            params![
                name,
                integer(set.root)?,
                integer(set.snapshot)?,
                integer(t.version)?,
                &*t.body,
                sha256(&t.body),
                t.resign_at,
                counts
            ],
            |r| unsigned(r, 0),
        )
        .optional()?
        .ok_or(StoreError::Gone("the collection"))?;
    let answer = |roles: BTreeMap<String, u64>| {
        let (root, snapshot, timestamp) = (set.root, set.snapshot, t.version);
        json(&PublicationResponse { sequence, root, snapshot, timestamp, roles })
    };
    match cause {
        Cause::Renewed => {}
        Cause::Candidate(id) => {
            let roles: String = c
                .prepare_cached("SELECT roles FROM publication WHERE id = ?1 AND state = 'candidate'")?
                .query_row([id], |r| r.get(0))
                .optional()?
                .ok_or(StoreError::Gone("the candidate"))?;
            let roles = serde_json::from_str(&roles).map_err(|_| StoreError::Damaged("publication".to_owned()))?;
            c.prepare_cached(
                "UPDATE publication SET state = 'current', sequence = ?2, body = NULL, finished = ?3, result = ?4
                 WHERE id = ?1",
            )?
            .execute(params![id, integer(sequence)?, time, answer(roles)?])?;
        }
        Cause::Adopted(roles) => {
            c.execute(
                "INSERT INTO publication (collection, state, sequence, token, expected, roles, new_root, created,
                                          finished, result)
                 VALUES (?1, 'current', ?2, '(adopted from the signer)', '{}', ?3, 0, ?4, ?4, ?5)",
                params![name, integer(sequence)?, json(roles)?, time, answer(roles.clone())?],
            )?;
        }
    }
    Ok(sequence)
}

pub(super) fn refuse(c: &Connection, candidate: i64, event: &Event) -> Result<(), StoreError> {
    c.execute(
        "UPDATE publication SET state = 'refused', idempotency_key = NULL, body = NULL, finished = ?2, result = ?3
         WHERE id = ?1 AND state = 'candidate'",
        params![candidate, event.time, event.detail],
    )?;
    log(c, event)
}

pub(super) fn timestamp(c: &Connection, name: &str, t: &StoredTimestamp) -> Result<(), StoreError> {
    let changed = c
        .prepare_cached(
            "UPDATE collection SET timestamp = ?2, timestamp_body = ?3, timestamp_sha256 = ?4, resign_at = ?5
             WHERE name = ?1 AND root IS NOT NULL",
        )?
        .execute(params![name, integer(t.version)?, &*t.body, sha256(&t.body), t.resign_at])?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Gone("the collection")) }
}

pub(super) fn add_token(c: &Connection, token: &TokenRow, event: &Event) -> Result<bool, StoreError> {
    let done = c.execute(
        "INSERT INTO token (name, sha256, scope, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![token.name, token.sha256, token.scope, token.created, token.expires],
    );
    match done {
        Ok(_) => log(c, event).map(|()| true),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn revoke_token(c: &Connection, name: &str, event: &Event) -> Result<bool, StoreError> {
    let changed =
        c.execute("UPDATE token SET revoked = coalesce(revoked, ?2) WHERE name = ?1", params![name, event.time])?;
    if changed == 0 {
        return Ok(false);
    }
    log(c, event)?;
    Ok(true)
}
