-- Format 1 of the signer's own store. Applied once, in one transaction; the number stands in `user_version`.
-- Times are Unix seconds. What was signed, audited or rooted is never changed and never leaves.

-- The identity key, and how the sealing key is derived from the passphrase.
CREATE TABLE identity (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    salt       BLOB NOT NULL CHECK (length(salt) = 16),
    log_n      INTEGER NOT NULL,
    keyid      TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed     BLOB NOT NULL
) STRICT;

-- The time of the last signature: the signer signs nothing with an earlier one.
CREATE TABLE clock (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO clock (id, last) VALUES (1, 0);
CREATE TRIGGER clock_goes_on BEFORE UPDATE ON clock WHEN NEW.last < OLD.last
BEGIN SELECT RAISE(ABORT, 'the clock does not go back'); END;

-- Collections whose first root an operator admitted.
CREATE TABLE admitted (
    collection  TEXT PRIMARY KEY,
    root_sha256 BLOB NOT NULL CHECK (length(root_sha256) = 32),
    admitted_by TEXT NOT NULL,
    time        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The marks of each collection that has a root here.
CREATE TABLE collection (
    name        TEXT PRIMARY KEY,
    root        INTEGER NOT NULL CHECK (root > 0),
    snapshot    INTEGER NOT NULL CHECK (snapshot > 0),
    timestamp   INTEGER NOT NULL CHECK (timestamp > 0),
    publication BLOB NOT NULL CHECK (length(publication) = 32)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER collection_marks_rise BEFORE UPDATE ON collection
WHEN NEW.root < OLD.root OR NEW.snapshot < OLD.snapshot OR NEW.timestamp < OLD.timestamp OR NEW.name <> OLD.name
BEGIN SELECT RAISE(ABORT, 'a mark does not go down'); END;
CREATE TRIGGER collection_stays BEFORE DELETE ON collection
BEGIN SELECT RAISE(ABORT, 'a mark does not leave'); END;

-- Online keys, sealed. `named` is 1 once a root that was accepted names the key.
CREATE TABLE online_key (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('snapshot', 'timestamp')),
    keyid      TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    named      INTEGER NOT NULL DEFAULT 0 CHECK (named IN (0, 1)),
    time       INTEGER NOT NULL,
    UNIQUE (collection, role, keyid)
) STRICT;
CREATE INDEX online_key_pending ON online_key (seq) WHERE named = 0;

-- Every root.
CREATE TABLE root (
    collection TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    body       BLOB NOT NULL,
    PRIMARY KEY (collection, version)
) STRICT;
CREATE TRIGGER root_insert_only_update BEFORE UPDATE ON root BEGIN SELECT RAISE(ABORT, 'roots are insert-only'); END;
CREATE TRIGGER root_insert_only_delete BEFORE DELETE ON root BEGIN SELECT RAISE(ABORT, 'roots are insert-only'); END;

-- The current file of each role. Without a body: a tombstone, a role that is no longer delegated but stays listed.
CREATE TABLE role_file (
    collection TEXT NOT NULL,
    role       TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    length     INTEGER NOT NULL CHECK (length > 0),
    sha256     BLOB NOT NULL CHECK (length(sha256) = 32),
    body       BLOB,
    PRIMARY KEY (collection, role)
) STRICT;
CREATE TRIGGER role_file_versions_rise BEFORE UPDATE ON role_file WHEN NEW.version < OLD.version
BEGIN SELECT RAISE(ABORT, 'a version does not go down'); END;

-- Everything that the online keys ever signed: one body for each version, for ever.
CREATE TABLE signed (
    collection TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('snapshot', 'timestamp')),
    version    INTEGER NOT NULL CHECK (version > 0),
    time       INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    sha256     BLOB NOT NULL CHECK (length(sha256) = 32),
    body       BLOB NOT NULL,
    PRIMARY KEY (collection, role, version)
) STRICT;
CREATE TRIGGER signed_insert_only_update BEFORE UPDATE ON signed BEGIN SELECT RAISE(ABORT, 'signed is insert-only'); END;
CREATE TRIGGER signed_insert_only_delete BEFORE DELETE ON signed BEGIN SELECT RAISE(ABORT, 'signed is insert-only'); END;

-- The audit chain: each entry holds the hash of the one before.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY CHECK (seq > 0),
    prev_hash BLOB NOT NULL CHECK (length(prev_hash) = 32),
    entry     BLOB NOT NULL,
    hash      BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_insert_only_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is insert-only'); END;
CREATE TRIGGER audit_insert_only_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is insert-only'); END;
