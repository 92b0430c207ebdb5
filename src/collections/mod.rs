//! Hash maps and sets that take no random numbers from the kernel, and compact tables.
//!
//! The standard ones take some when a thread creates its first one, and panic where that fails, in the middle of a
//! pass. Their keys here (numbers of inodes and devices, addresses, hashes) cannot be chosen by an attacker to any
//! effect: colliding names would make a pass slow, and nothing worse.
//!
//! The compact tables hold records of very many files: a hash map of the standard library takes two to three times the
//! memory for each file with several hard links.

pub(crate) mod inodes;
pub(crate) mod interned;
pub(crate) mod names;

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map with the same hashes in every process.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A hash set with the same hashes in every process.
pub(crate) type HashSet<T> = std::collections::HashSet<T, BuildHasherDefault<DefaultHasher>>;
