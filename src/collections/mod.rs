//! Hash maps and sets that do not ask the kernel for random numbers.
//!
//! The standard ones do when a thread makes its first one, and panic where that fails, in the middle of a pass. What they
//! are keyed by here (numbers of inodes and devices, addresses, hashes) is not chosen by strangers to any effect: names that
//! collide would make a pass slow, and nothing worse.
//!
//! And records of very many files, in little memory: a hash map of the standard library takes two to three times as much
//! of it for what has to be remembered of each file with several hard links.

pub mod inodes;
pub mod interned;
pub mod names;

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map with the same hashes in every process.
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A hash set with the same hashes in every process.
pub type HashSet<T> = std::collections::HashSet<T, BuildHasherDefault<DefaultHasher>>;
