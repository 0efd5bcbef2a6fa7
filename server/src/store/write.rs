//! The statements of the SQLite store. Each function runs inside the writer's transaction: an error undoes all it did.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use trust_tuf::CollectionName;
use trust_tuf::model::sha256;
use trust_wire::Base64;
use trust_wire::api::PublicationResponse;

use super::read::{Rest, integer, unsigned};
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
    let rest = Rest {
        roots: new.roots.iter().map(|root| root.version).collect(),
        displaced: Vec::new(),
        blobs: new.blobs.iter().map(|(sum, _)| hex::encode(sum)).collect(),
        grant: new.grant.as_deref().map(Base64::from),
    };
    let roles: BTreeMap<&str, u64> = new.roles.iter().map(|file| (file.role.as_str(), file.version)).collect();
    let mut insert = c.prepare_cached(
        "INSERT INTO publication (collection, state, idempotency_key, body_sha256, token, expected, roles, rest,
                                  new_root, created)
         VALUES (?1, 'candidate', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let inserted = insert.execute(params![
        new.collection,
        new.key,
        new.body_sha256,
        new.token,
        new.expected,
        json(&roles)?,
        json(&rest)?,
        !new.roots.is_empty(),
        new.created,
    ]);
    let id = match inserted {
        Ok(_) => c.last_insert_rowid(),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            // Which of the two: the key is known, or there is a candidate.
            return match super::read::known(c, &new.collection, &new.key)? {
                Some(_) => Err(StoreError::KeyTaken),
                None => Err(e.into()),
            };
        }
        Err(e) => return Err(e.into()),
    };
    for file in new.roots.iter().chain(&new.roles) {
        put_file(c, &new.collection, file, Some(id))?;
    }
    for (sum, body) in &new.blobs {
        c.prepare_cached(
            "INSERT INTO blob (collection, sha256, publication, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![new.collection, sum, id, &**body])?;
    }
    Ok(id)
}

/// Stores a file, unless it is there. `publication` is the candidate that brings it.
fn put_file(c: &Connection, collection: &str, file: &StoredFile, publication: Option<i64>) -> Result<(), StoreError> {
    let (sum, version) = (sha256(&file.body), integer(file.version)?);
    let stored: Option<([u8; 32], Option<i64>)> = c
        .prepare_cached("SELECT sha256, publication FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3")?
        .query_row(params![collection, file.role, version], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    if let Some((stored, owner)) = stored {
        if owner.is_some() && owner == publication {
            // The candidate's own, that becomes current now.
            return if stored == sum { Ok(()) } else { Err(fork(file)) };
        }
        match owner {
            Some(owner) if give_way(c, owner, collection, file, stored != sum)? => {}
            _ => return if stored == sum { Ok(()) } else { Err(fork(file)) },
        }
    }
    c.prepare_cached(
        "INSERT INTO meta (collection, role, version, sha256, publication, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![collection, file.role, version, sum, publication, &*file.body])?;
    Ok(())
}

fn fork(file: &StoredFile) -> StoreError {
    StoreError::Fork { role: file.role.clone(), version: file.version }
}

/// A file of an open candidate makes room for one that becomes current in another way: the signer was ahead. The candidate
/// keeps its own bytes until it is decided about. False if the owner is no candidate.
fn give_way(
    c: &Connection,
    owner: i64,
    collection: &str,
    file: &StoredFile,
    differs: bool,
) -> Result<bool, StoreError> {
    let rest: Option<Option<String>> = c
        .prepare_cached("SELECT rest FROM publication WHERE id = ?1 AND state = 'candidate'")?
        .query_row([owner], |r| r.get(0))
        .optional()?;
    let Some(rest) = rest else { return Ok(false) };
    let version = integer(file.version)?;
    if differs {
        let damaged = || StoreError::Damaged("candidate".to_owned());
        let mut rest: Rest = serde_json::from_str(&rest.ok_or_else(damaged)?).map_err(|_| damaged())?;
        let body: Vec<u8> = c
            .prepare_cached("SELECT body FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3")?
            .query_row(params![collection, file.role, version], |r| r.get(0))?;
        rest.displaced.push((file.role.clone(), file.version, Base64(body)));
        c.prepare_cached("UPDATE publication SET rest = ?2 WHERE id = ?1")?.execute(params![owner, json(&rest)?])?;
    }
    c.prepare_cached("DELETE FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3")?
        .execute(params![collection, file.role, version])?;
    Ok(true)
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
    let candidate = match cause {
        Cause::Candidate(id) => Some(*id),
        Cause::Adopted(_) | Cause::Renewed => None,
    };
    for file in &set.files {
        put_file(c, name, file, candidate)?;
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
                "UPDATE publication SET state = 'current', sequence = ?2, rest = NULL, finished = ?3, result = ?4
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
    // While it is still a candidate: then nothing of it was ever shown, and its files may leave.
    let row = c
        .prepare_cached("SELECT collection, roles, rest FROM publication WHERE id = ?1 AND state = 'candidate'")?
        .query_row([candidate], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?)))
        .optional()?;
    let (name, roles, rest) = row.ok_or(StoreError::Gone("the candidate"))?;
    let damaged = |_| StoreError::Damaged("candidate".to_owned());
    let roles: BTreeMap<String, u64> = serde_json::from_str(&roles).map_err(damaged)?;
    let rest: Rest = serde_json::from_str(&rest).map_err(damaged)?;
    let roots = rest.roots.into_iter().map(|version| ("root".to_owned(), version));
    for (role, version) in roots.chain(roles) {
        c.prepare_cached("DELETE FROM meta WHERE collection = ?1 AND role = ?2 AND version = ?3 AND publication = ?4")?
            .execute(params![name, role, integer(version)?, candidate])?;
    }
    for sum in rest.blobs {
        c.prepare_cached("DELETE FROM blob WHERE collection = ?1 AND sha256 = unhex(?2) AND publication = ?3")?
            .execute(params![name, sum, candidate])?;
    }
    c.execute(
        "UPDATE publication SET state = 'refused', idempotency_key = NULL, rest = NULL, finished = ?2, result = ?3
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
