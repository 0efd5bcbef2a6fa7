-- The server's store. Public metadata only: no private key, no passphrase, and of tokens only their SHA-256.

CREATE TABLE collection (
    name              TEXT PRIMARY KEY,
    reserved_at       INTEGER NOT NULL,          -- Unix seconds
    reserved_by       TEXT NOT NULL,             -- name of the token
    root              INTEGER,                   -- versions that are current; NULL before the first publication
    snapshot          INTEGER,
    timestamp         INTEGER,
    timestamp_body    BLOB,                      -- the one file without history: it is never asked for by version
    timestamp_sha256  BLOB,
    resign_at         INTEGER,                   -- Unix seconds
    sequence          INTEGER NOT NULL DEFAULT 0 -- publications that became current
) STRICT;

-- Versions never go back, and never repeat with other bytes.
CREATE TRIGGER collection_never_lowered BEFORE UPDATE ON collection
WHEN NEW.root < OLD.root OR NEW.snapshot < OLD.snapshot OR NEW.timestamp < OLD.timestamp
  OR NEW.sequence < OLD.sequence
  OR (OLD.root IS NOT NULL AND (NEW.root IS NULL OR NEW.snapshot IS NULL OR NEW.timestamp IS NULL))
  OR (NEW.timestamp = OLD.timestamp AND NEW.timestamp_sha256 <> OLD.timestamp_sha256)
BEGIN
    SELECT RAISE(ABORT, 'a version of the collection would go back');
END;

CREATE TRIGGER collection_never_deleted BEFORE DELETE ON collection
BEGIN
    SELECT RAISE(ABORT, 'a collection is never deleted');
END;

-- Every version of every role file that was ever current (root, snapshot, targets, delegated roles), and the files of
-- open candidates: they are stored once, where they stay. `publication` is the one that brought the file; while that
-- one is a candidate the file is not shown.
CREATE TABLE meta (
    collection  TEXT NOT NULL REFERENCES collection(name),
    role        TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    publication INTEGER,
    body        BLOB NOT NULL,
    PRIMARY KEY (collection, role, version)
) STRICT;

CREATE TRIGGER meta_insert_only BEFORE UPDATE ON meta
BEGIN
    SELECT RAISE(ABORT, 'a role file is never changed');
END;

-- But for those of a candidate that is refused: they were never shown.
CREATE TRIGGER meta_never_deleted BEFORE DELETE ON meta
WHEN NOT EXISTS (SELECT 1 FROM publication WHERE id = OLD.publication AND state = 'candidate')
BEGIN
    SELECT RAISE(ABORT, 'a role file is never deleted');
END;

-- The roles that are reached by delegations now, with their current versions. What the snapshot lists beyond these
-- are roles that are no longer delegated.
CREATE TABLE live_role (
    collection TEXT NOT NULL REFERENCES collection(name),
    role       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (collection, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE publication (
    id              INTEGER PRIMARY KEY,         -- rows are never deleted, so that it is never used again
    collection      TEXT NOT NULL REFERENCES collection(name),
    -- proposed: below its threshold (not used yet). candidate: judged good, waits for the signer.
    state           TEXT NOT NULL CHECK (state IN ('proposed', 'candidate', 'current', 'refused')),
    sequence        INTEGER,                     -- its number among the current ones
    idempotency_key TEXT,                        -- NULL once refused: the same key may be tried again
    body_sha256     BLOB,
    rest            TEXT,                        -- JSON: what the request holds beside its role files, while a candidate
    token           TEXT NOT NULL,
    expected        TEXT NOT NULL,               -- JSON: the versions that it was built on
    roles           TEXT NOT NULL,               -- JSON: role -> version
    new_root        INTEGER NOT NULL,
    created         INTEGER NOT NULL,            -- Unix seconds
    finished        INTEGER,
    result          TEXT                         -- JSON: the answer, or why it was refused
) STRICT;

-- A key publishes once. Only rows that have one are in these: a candidate has no number yet, a refused one no key any more.
CREATE UNIQUE INDEX publication_by_key ON publication (collection, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX publication_by_sequence ON publication (collection, sequence) WHERE sequence IS NOT NULL;

CREATE TRIGGER publication_never_deleted BEFORE DELETE ON publication
BEGIN
    SELECT RAISE(ABORT, 'a publication is never deleted');
END;

-- What was current or refused stays so: whatever says `candidate` is one.
CREATE TRIGGER publication_never_open_again BEFORE UPDATE ON publication
WHEN NEW.state IN ('proposed', 'candidate') AND OLD.state NOT IN ('proposed', 'candidate')
BEGIN
    SELECT RAISE(ABORT, 'a publication that has ended is not opened again');
END;

-- The reservation of a collection: one candidate at a time, on every replica.
CREATE UNIQUE INDEX publication_one_candidate ON publication (collection) WHERE state = 'candidate';

-- Contents of targets by their SHA-256. Which path has which content is what the current metadata says.
CREATE TABLE blob (
    collection  TEXT NOT NULL REFERENCES collection(name),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    publication INTEGER,                         -- the one that brought it
    body        BLOB NOT NULL,
    PRIMARY KEY (collection, sha256)
) STRICT;

CREATE TRIGGER blob_insert_only BEFORE UPDATE ON blob
BEGIN
    SELECT RAISE(ABORT, 'the content of a target is never changed');
END;

CREATE TABLE token (
    name    TEXT PRIMARY KEY,
    sha256  BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    scope   TEXT NOT NULL,                       -- PATTERN=ACTION,ACTION lines
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT;

-- What was done beside publications: reservations, adoptions, refusals, tokens.
CREATE TABLE log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    collection TEXT,
    detail     TEXT NOT NULL
) STRICT;
