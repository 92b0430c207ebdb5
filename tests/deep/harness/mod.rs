//! The tools of the suites: checks that are counted, the program as a process, trees to mirror, and the promises as code.

pub(crate) mod aim;
pub(crate) mod cases;
pub(crate) mod every_kind;
pub(crate) mod images;
pub(crate) mod kit;
pub(crate) mod rights;
pub(crate) mod stage;
pub(crate) mod stopped;
pub(crate) mod trace;
pub(crate) mod verdict;
