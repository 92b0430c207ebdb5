//! Plain data: what the other rooms speak of. Nothing here touches a disk.

pub(crate) mod acl;
pub(crate) mod change;
pub(crate) mod confirm;
pub(crate) mod counters;
pub(crate) mod digest;
pub(crate) mod doubt;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod error;
pub(crate) mod estimate;
pub(crate) mod event;
pub(crate) mod feature;
pub(crate) mod interval;
pub(crate) mod limit;
pub(crate) mod mounts;
pub(crate) mod path;
pub(crate) mod problem_kind;
pub(crate) mod report;
pub(crate) mod rights;
pub(crate) mod room;
pub(crate) mod serial;
pub(crate) mod signal;
pub(crate) mod spelling;
pub(crate) mod takes;
pub(crate) mod trust;
pub(crate) mod words;
