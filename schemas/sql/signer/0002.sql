-- Format 2. Roles that left a collection when its snapshot key was replaced, with their last version: their names are not
-- used again, so that no version of a role ever has two contents. (What left before this format is not known.)
CREATE TABLE retired_role (
    collection TEXT NOT NULL,
    role       TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    PRIMARY KEY (collection, role)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER retired_role_stays BEFORE DELETE ON retired_role
BEGIN SELECT RAISE(ABORT, 'a retired role stays'); END;
