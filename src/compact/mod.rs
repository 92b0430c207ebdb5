//! Records of very many files, in little memory: a hash map of the standard library takes two to three times as much of
//! it for what has to be remembered of each file with several names.

pub mod inodes;
pub mod interned;
pub mod names;
