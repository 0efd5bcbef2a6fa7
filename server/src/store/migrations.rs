//! Numbered migrations of the SQLite store, with their checksums in the database: a database that a newer program wrote,
//! or whose migrations are not ours, is refused and never guessed at.

use rusqlite::{Connection, TransactionBehavior, params};
use trust_tuf::model::sha256;

use super::StoreError;

/// The migrations, by number from [`FIRST`].
const MIGRATIONS: [(&str, &str); 1] = [("0002_store", include_str!("../../../schemas/sql/server/0002_store.sql"))];
/// The oldest format that is read. Format 1 was never released.
const FIRST: i64 = 2;

/// `application_id` of the file: the letters `tRsv`.
const APPLICATION_ID: i64 = 0x7452_7376;

/// Brings the database to the newest format.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id: i64 = transaction.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    match (id, tables) {
        (APPLICATION_ID, _) => {}
        (0, 0) => transaction.pragma_update(None, "application_id", APPLICATION_ID)?,
        _ => return Err(StoreError::Format("the file is a database of another program".to_owned())),
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
             number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 BLOB NOT NULL
         ) STRICT",
    )?;
    let newest: i64 = transaction.query_row("SELECT coalesce(max(number), 0) FROM migration", [], |r| r.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).map_or(i64::MAX, |n| n.saturating_add(FIRST - 1));
    if (1..FIRST).contains(&newest) {
        let text = format!(
            "the database has format {newest}, of before the first release, which is not read any more: start with a new \
             data folder, reserve the collections again, and the signer's sets are adopted"
        );
        return Err(StoreError::Format(text));
    }
    if newest > known {
        let text = format!("the database has format {newest}; this program knows up to {known}");
        return Err(StoreError::Format(text));
    }
    for (number, (name, sql)) in (FIRST..).zip(MIGRATIONS) {
        let sum = sha256(sql.as_bytes());
        if number <= newest {
            let stored: Vec<u8> =
                transaction.query_row("SELECT sha256 FROM migration WHERE number = ?1", [number], |r| r.get(0))?;
            if stored != sum {
                return Err(StoreError::Format(format!("migration {name} of the database is not the one known here")));
            }
            continue;
        }
        transaction.execute_batch(sql)?;
        transaction
            .execute("INSERT INTO migration (number, name, sha256) VALUES (?1, ?2, ?3)", params![number, name, sum])?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_before_the_first_release_is_refused_and_says_what_to_do() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        db.execute_batch("DELETE FROM migration; INSERT INTO migration VALUES (1, '0001_store', x'00')").unwrap();
        let Err(StoreError::Format(text)) = migrate(&mut db) else { panic!() };
        assert!(text.contains("format 1") && text.contains("new data folder"), "{text}");
    }

    #[test]
    fn a_newer_database_a_changed_migration_and_a_foreign_file_are_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        migrate(&mut db).unwrap();
        db.execute("INSERT INTO migration VALUES (99, 'later', x'00')", []).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Format(_))));
        db.execute("DELETE FROM migration WHERE number = 99", []).unwrap();
        db.execute("UPDATE migration SET sha256 = x'00'", []).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Format(_))));

        let mut foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE x (y)").unwrap();
        assert!(matches!(migrate(&mut foreign), Err(StoreError::Format(_))));
    }
}
