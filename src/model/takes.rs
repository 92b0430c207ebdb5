//! What a plan takes from the replica, in a form that can be kept: numbers, and a hash of each path.

use crate::model::digest::{Digest, Hasher};
use crate::model::limit::Amount;
use crate::model::path::RelPath;

/// So many paths are listed. Of a plan that takes more only the numbers count.
const MOST: usize = 1 << 20;

/// What happens to an entry of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It goes, or what is below it.
    Deleted,
    /// It gets another content.
    Overwritten,
}

/// What a plan takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takes {
    /// What it deletes.
    pub deleted: Amount,
    /// What it overwrites.
    pub changed: Amount,
    /// The two roots, in words: with others it is another plan.
    pub roots: String,
    /// Whether the paths are listed.
    pub is_listed: bool,
    /// The hashes of the paths, sorted.
    pub hashes: Vec<u64>,
}

impl Takes {
    /// Nothing yet, of so much.
    pub(crate) fn of(deleted: Amount, changed: Amount, roots: String) -> Takes {
        Takes { deleted, changed, roots, is_listed: true, hashes: Vec::new() }
    }

    /// Adds a path.
    pub(crate) fn add(&mut self, taken: Taken, path: &RelPath) {
        if self.hashes.len() < MOST {
            self.hashes.push(hash(taken, path.as_bytes()));
        } else {
            self.is_listed = false;
        }
    }

    /// Sorts the paths, once all are added.
    pub(crate) fn sorted(mut self) -> Takes {
        if !self.is_listed {
            self.hashes = Vec::new();
        }
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self
    }

    /// Whether a path is taken, or a folder above it goes.
    pub(crate) fn has(&self, taken: Taken, path: &RelPath) -> bool {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let mut above = ends.chain([bytes.len()]).map(|end| bytes.get(..end).unwrap_or_default());
        let is_in = |hash: u64| self.hashes.binary_search(&hash).is_ok();
        !self.is_listed || is_in(hash(taken, bytes)) || above.any(|above| is_in(hash(Taken::Deleted, above)))
    }

    /// The digest of all of it.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let Amount { entries: deleted, bytes: deleted_bytes } = self.deleted;
        let Amount { entries: changed, bytes: changed_bytes } = self.changed;
        for number in [deleted, deleted_bytes, changed, changed_bytes, self.is_listed.into()] {
            hasher.update(&number.to_le_bytes());
        }
        self.hashes.iter().for_each(|hash| hasher.update(&hash.to_le_bytes()));
        hasher.update(self.roots.as_bytes());
        hasher.finish()
    }
}

/// Eight bytes of a digest, which stay the same with another compiler.
fn hash(taken: Taken, path: &[u8]) -> u64 {
    let mut hasher = Hasher::new();
    hasher.update(if taken == Taken::Deleted { b"-" } else { b"=" });
    hasher.update(path);
    let digest = hasher.finish();
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.into())
    }

    #[test]
    fn a_path_is_taken_if_it_was_listed_or_a_folder_above_it_goes() {
        let mut takes = Takes::of(Amount::default(), Amount::default(), String::new());
        takes.add(Taken::Overwritten, &path("b/file"));
        takes.add(Taken::Deleted, &path("a"));
        let takes = takes.sorted();
        for (taken, text, expected) in [
            (Taken::Deleted, "a", true),
            (Taken::Deleted, "a/b/c", true),
            (Taken::Overwritten, "a/b", true),
            (Taken::Overwritten, "b/file", true),
            (Taken::Deleted, "b/file", false),
            (Taken::Deleted, "b", false),
            (Taken::Overwritten, "b/file/x", false),
            (Taken::Deleted, "ab", false),
        ] {
            assert_eq!(takes.has(taken, &path(text)), expected, "{taken:?} {text}");
        }
    }

    #[test]
    fn the_digest_tells_any_two_apart() {
        let amount = |entries| Amount { entries, bytes: 0 };
        let of_roots = |roots: &str, deleted, paths: &[&str]| {
            let mut takes = Takes::of(amount(deleted), amount(0), roots.to_owned());
            paths.iter().for_each(|text| takes.add(Taken::Deleted, &path(text)));
            takes.sorted().digest()
        };
        let of = |deleted, paths: &[&str]| of_roots("", deleted, paths);
        assert_ne!(of(2, &["a", "b"]), of_roots("another", 2, &["a", "b"]));
        assert_eq!(of(2, &["a", "b"]), of(2, &["b", "a"]));
        assert_ne!(of(2, &["a", "b"]), of(3, &["a", "b"]));
        assert_ne!(of(2, &["a", "b"]), of(2, &["a", "c"]));
    }
}
