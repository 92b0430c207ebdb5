-- The folders of the source, with files or without, so that a moved one is recognized.
ALTER TABLE folder ADD COLUMN volume INTEGER;    -- of the source's folder; none where it is not known
ALTER TABLE folder ADD COLUMN inode INTEGER;
ALTER TABLE folder ADD COLUMN born_s INTEGER;    -- birth time, seconds and nanoseconds
ALTER TABLE folder ADD COLUMN born_ns INTEGER;
ALTER TABLE folder ADD COLUMN replica INTEGER;   -- inode of the replica's folder
CREATE INDEX folder_inode ON folder (inode);
