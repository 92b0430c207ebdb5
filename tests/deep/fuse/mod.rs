//! FUSE filesystems that are odd in one way each, as real ones are that cannot be mounted everywhere.

pub(crate) mod names;
pub(crate) mod no_sizes;
pub(crate) mod numbers;
pub(crate) mod odd;
pub(crate) mod refusing;
pub(crate) mod sealed;
