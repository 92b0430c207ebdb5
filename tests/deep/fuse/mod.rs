//! Filesystems through FUSE that are odd in one way each, as real ones are that cannot be mounted everywhere.

pub(crate) mod odd;
