-- The one pair of roots that the database is about.
CREATE TABLE pair (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    source   BLOB NOT NULL,             -- absolute path
    replica  BLOB NOT NULL,             -- absolute path
    boot     TEXT NOT NULL DEFAULT '',  -- the boot of the computer in which the last records were written
    rights   TEXT NOT NULL DEFAULT '',  -- a digest of the rights of the process that wrote them
    interval INTEGER,                   -- seconds from the start of a pass to the start of the next
    rpo      INTEGER                    -- the greatest age that the replica may have, in seconds
);

-- Filesystems, so that a record holds a small number and not a device number, which changes.
CREATE TABLE volume (
    number   INTEGER PRIMARY KEY,
    type     INTEGER NOT NULL,            -- f_type of statfs(2)
    fsid     INTEGER NOT NULL,            -- f_fsid of statfs(2); 0 where it says nothing
    device   INTEGER NOT NULL,            -- st_dev
    inode    INTEGER NOT NULL,            -- of the topmost folder of the pair on it
    born_s   INTEGER,                     -- birth time of that folder, seconds and nanoseconds
    born_ns  INTEGER,
    unstable INTEGER NOT NULL DEFAULT 0   -- 1: its inode numbers change with each mount
);

-- Folders with files. A record counts as confirmed at the later one of its own time and its folder's.
CREATE TABLE folder (
    path      BLOB PRIMARY KEY,         -- below the roots, '' for the roots themselves
    confirmed INTEGER NOT NULL          -- every file of it was read and found right: seconds since 1970
) WITHOUT ROWID;

-- The files of a folder, packed (record.rs), sorted by name; `first` is '' in the first row of a folder.
CREATE TABLE file (
    folder  BLOB NOT NULL,
    first   BLOB NOT NULL,
    count   INTEGER NOT NULL,
    records BLOB NOT NULL,
    PRIMARY KEY (folder, first)
) WITHOUT ROWID;

-- One row per pass; older ones are thinned to one per day.
CREATE TABLE pass (
    id              INTEGER PRIMARY KEY,
    number          INTEGER NOT NULL,   -- 1 for the first pass of a process
    started         INTEGER NOT NULL,   -- milliseconds since 1970
    ended           INTEGER,            -- the same; none while it runs, or when its process was killed
    outcome         TEXT,               -- done, held, interrupted, replica_lost, failed
    process         INTEGER NOT NULL,   -- the id of the process
    problems        INTEGER,
    counts          TEXT,               -- every counter, as a JSON object
    message         TEXT                -- why it was held or failed
);
CREATE INDEX pass_started ON pass (started);
