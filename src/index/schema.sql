-- The one pair of roots that the database is about.
CREATE TABLE pair (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    source   BLOB NOT NULL,             -- absolute path
    replica  BLOB NOT NULL,             -- absolute path
    boot     TEXT NOT NULL DEFAULT '',  -- the boot of the computer in which the last records were written
    rights   TEXT NOT NULL DEFAULT '',  -- a digest of the rights of the process that wrote them
    disk_failed INTEGER NOT NULL DEFAULT 0,  -- 1: a write to the replica may be lost, until a whole pass has synced it
    interval INTEGER,                   -- from the start of a pass to the start of the next, in milliseconds
    rpo      INTEGER                    -- the greatest age that the replica may have, in milliseconds
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

-- One row per pass that is no dry run. All of the last week are kept; of an earlier day the last one that was done, and
-- the worst, for two years.
CREATE TABLE pass (
    id       INTEGER PRIMARY KEY,       -- in the order of the passes
    number   INTEGER NOT NULL,          -- 1 for the first pass of a process
    started  INTEGER NOT NULL,          -- milliseconds since 1970
    ended    INTEGER,                   -- the same; none while it runs, or when its process was killed
    outcome  TEXT,                      -- done, held, interrupted, replica_lost, failed; killed, once a later pass knows
    process  INTEGER NOT NULL,          -- the id of the process
    mark     TEXT NOT NULL,             -- its boot, namespace and start time: an id is used again
    age      INTEGER,                   -- the age that the replica had reached at its end, before the pass made it younger
    met      INTEGER,                   -- 1: that age was within the RPO of then; none without an RPO
    problems INTEGER,
    rotted   INTEGER,                   -- source files among them that seem to have rotted
    counts   TEXT,                      -- the counters that are not zero, as a JSON object; bytes are among them
    message  TEXT                       -- why it was held or failed
);
CREATE INDEX pass_started ON pass (started, met);
CREATE INDEX pass_outcome ON pass (outcome);

-- The passes of a day, UTC, and how many of them met the RPO: what is left of the rows that were thinned.
CREATE TABLE day (
    day    INTEGER PRIMARY KEY,         -- days since 1970
    judged INTEGER NOT NULL,            -- passes with an RPO
    met    INTEGER NOT NULL
);
