-- The roots in the last pass that was done. Another folder in the place of one is doubtful.
CREATE TABLE root (
    side     INTEGER PRIMARY KEY,       -- 0: the source, 1: the replica
    type     INTEGER NOT NULL,          -- f_type of statfs(2)
    fsid     INTEGER NOT NULL,          -- f_fsid of statfs(2); 0 where it says nothing
    inode    INTEGER NOT NULL,
    born_s   INTEGER,                   -- birth time, seconds and nanoseconds
    born_ns  INTEGER
);

-- The plan that was held last, until a pass is done. `file-sync approve` lets it through by a digest of it.
CREATE TABLE held (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    held          INTEGER NOT NULL,     -- for the first time: milliseconds since 1970
    deleted       INTEGER NOT NULL,     -- entries
    deleted_bytes INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    changed_bytes INTEGER NOT NULL,
    roots         TEXT NOT NULL,        -- the two roots, in words
    is_listed     INTEGER NOT NULL,     -- 0: it takes more than are listed, and only its numbers count
    takes         BLOB NOT NULL,        -- a hash of each path that it deletes or overwrites, 8 bytes each, sorted
    message       TEXT NOT NULL         -- why it was held
);
