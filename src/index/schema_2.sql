-- The folders of the source, with files or without, so that a moved one is recognized.
ALTER TABLE folder ADD COLUMN volume INTEGER;    -- of the source's folder; none where it is not known
ALTER TABLE folder ADD COLUMN inode INTEGER;
ALTER TABLE folder ADD COLUMN born_s INTEGER;    -- birth time, seconds and nanoseconds
ALTER TABLE folder ADD COLUMN born_ns INTEGER;
ALTER TABLE folder ADD COLUMN replica INTEGER;   -- inode of the replica's folder
CREATE INDEX folder_inode ON folder (inode);

-- What the passes that were done did to the replica, packed (operations.rs), up to 256 operations in a row: of one pass
-- at most 10,000, in all the newest 100,000.
CREATE TABLE operation (
    id         INTEGER PRIMARY KEY,     -- the number of its last operation, of all that were ever kept
    pass       INTEGER NOT NULL,        -- the row of the pass, which may have been thinned
    started    INTEGER NOT NULL,        -- of the pass: milliseconds since 1970
    count      INTEGER NOT NULL,
    operations BLOB NOT NULL
);

-- The passes with more operations than are kept.
CREATE TABLE left_out (
    pass       INTEGER PRIMARY KEY,     -- as in the table `operation`
    started    INTEGER NOT NULL,        -- milliseconds since 1970
    operations INTEGER NOT NULL         -- their number
);

ALTER TABLE pair ADD COLUMN operations_since INTEGER;  -- older operations are unknown: milliseconds since 1970
