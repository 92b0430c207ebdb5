//! Plain data: what the other rooms speak of. Nothing here touches a disk.

pub mod acl;
pub mod change;
pub mod counters;
pub mod digest;
pub mod entry;
pub mod errno;
pub mod error;
pub mod event;
pub mod feature;
pub mod interval;
pub mod mounts;
pub mod path;
pub mod problem_kind;
pub mod report;
pub mod rights;
pub(crate) mod serial;
pub mod signal;
pub mod spelling;
