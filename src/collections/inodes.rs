//! A map from inodes to small records. Sixteen bytes per record besides its value and about two for its chain; growing
//! never moves all records.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// A 64-bit number at any multiple of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide([u32; 2]);

impl From<u64> for Wide {
    fn from(number: u64) -> Wide {
        Wide([(number >> 32) as u32, number as u32])
    }
}

impl From<Wide> for u64 {
    fn from(Wide([high, low]): Wide) -> u64 {
        u64::from(high) << 32 | u64::from(low)
    }
}

/// An inode number and a check value that has to agree as well.
pub(crate) type Key = (u64, u32);

#[derive(Debug)]
struct Slot<T> {
    inode: Wide,
    check: u32,
    /// The next record under the same head, or the next free slot.
    next: u32,
    value: T,
}

impl<T> Slot<T> {
    fn has(&self, key: Key) -> bool {
        u64::from(self.inode) == key.0 && self.check == key.1
    }
}

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The greatest mean number of records per head.
const PER_HEAD: usize = 4;

/// The number of records in one allocation.
const PIECE: usize = 512;

/// A map from inodes to small records.
#[derive(Debug)]
pub(crate) struct Inodes<T> {
    /// The first record of each chain.
    heads: Vec<u32>,
    pieces: Vec<Vec<Slot<T>>>,
    free: u32,
    length: usize,
    state: BuildHasherDefault<DefaultHasher>,
}

impl<T> Default for Inodes<T> {
    fn default() -> Inodes<T> {
        Inodes {
            heads: Vec::new(),
            pieces: Vec::new(),
            free: NONE,
            length: 0,
            state: BuildHasherDefault::default(),
        }
    }
}

impl<T: Copy> Inodes<T> {
    /// True when the map is empty.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The record of an inode.
    pub(crate) fn get(&self, key: Key) -> Option<T> {
        self.slot(self.find(key)?).map(|slot| slot.value)
    }

    /// The record of an inode, mutable.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let at = self.find(key)?;
        self.slot_mut(at).map(|slot| &mut slot.value)
    }

    /// Inserts a record, or replaces the present one.
    pub(crate) fn insert(&mut self, key: Key, value: T) {
        if let Some(known) = self.get_mut(key) {
            *known = value;
            return;
        }
        if self.length >= PER_HEAD * self.heads.len() {
            self.grow();
        }
        let head = self.head(key);
        let next = self.heads.get(head).copied().unwrap_or(NONE);
        let slot = Slot { inode: Wide::from(key.0), check: key.1, next, value };
        let at = self.free;
        if let Some(freed) = self.slot_mut(at) {
            let after = freed.next;
            *freed = slot;
            self.free = after;
            self.begin(head, at);
        } else {
            if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
                self.pieces.push(Vec::with_capacity(PIECE));
            }
            let before = (self.pieces.len() - 1) * PIECE;
            let Some(piece) = self.pieces.last_mut() else { return };
            // Beyond four billion records none is kept: an inode without a record is only looked at again.
            let Ok(at) = u32::try_from(before + piece.len()) else { return };
            piece.push(slot);
            self.begin(head, at);
        }
        self.length += 1;
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let at = self.find(key)?;
        let head = self.head(key);
        let Slot { next, value, .. } = *self.slot(at)?;
        if self.heads.get(head) == Some(&at) {
            self.begin(head, next);
        } else {
            let before = self.chain(head).find(|(_, slot)| slot.next == at).map(|(before, _)| before)?;
            self.slot_mut(before)?.next = next;
        }
        let free = self.free;
        self.slot_mut(at)?.next = free;
        self.free = at;
        self.length -= 1;
        Some(value)
    }

    /// All records, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, T)> {
        let chains = (0..self.heads.len()).flat_map(|head| self.chain(head));
        chains.map(|(_, slot)| ((slot.inode.into(), slot.check), slot.value))
    }

    /// Changes every record.
    pub(crate) fn for_each(&mut self, mut change: impl FnMut(&mut T)) {
        // Free slots as well: they are never read.
        self.pieces.iter_mut().flatten().for_each(|slot| change(&mut slot.value));
    }

    fn head(&self, key: Key) -> usize {
        // The number of heads is a power of two.
        self.state.hash_one(key) as usize & self.heads.len().saturating_sub(1)
    }

    fn begin(&mut self, head: usize, at: u32) {
        if let Some(head) = self.heads.get_mut(head) {
            *head = at;
        }
    }

    fn slot(&self, at: u32) -> Option<&Slot<T>> {
        let at = at as usize;
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        let at = at as usize;
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    fn chain(&self, head: usize) -> impl Iterator<Item = (u32, &Slot<T>)> {
        let first = self.heads.get(head).copied().unwrap_or(NONE);
        let step = |at: u32| self.slot(at).map(|slot| (at, slot));
        std::iter::successors(step(first), move |(_, slot)| step(slot.next))
    }

    fn find(&self, key: Key) -> Option<u32> {
        self.chain(self.head(key)).find(|(_, slot)| slot.has(key)).map(|(at, _)| at)
    }

    /// Doubles the number of chains.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.heads);
        self.heads = vec![NONE; (2 * old.len()).max(16)];
        for first in old {
            let mut at = first;
            while let Some(Slot { inode, check, next, .. }) = self.slot(at) {
                let (key, next) = ((u64::from(*inode), *check), *next);
                let head = self.head(key);
                let first = self.heads.get(head).copied().unwrap_or(NONE);
                if let Some(slot) = self.slot_mut(at) {
                    slot.next = first;
                }
                self.begin(head, at);
                at = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_strategies::pure;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn it_holds_what_a_map_of_the_standard_library_holds(
            steps in vec((0..3u8, 0..40u64, 0..2u32, any::<u32>()), 0..400),
        ) {
            let (mut ours, mut theirs) = (Inodes::default(), BTreeMap::new());
            for (step, inode, check, value) in steps {
                // Numbers that differ in their upper halves alone as well.
                let key = (inode << 30, check);
                match step {
                    0 => prop_assert_eq!(ours.remove(key), theirs.remove(&key)),
                    1 if ours.get(key).is_some() => {
                        *ours.get_mut(key).unwrap() = value;
                        theirs.insert(key, value);
                    }
                    _ => {
                        ours.insert(key, value);
                        theirs.insert(key, value);
                    }
                }
                prop_assert_eq!(ours.length, theirs.len());
                prop_assert_eq!(ours.get(key), theirs.get(&key).copied());
            }
            let mut all: Vec<_> = ours.iter().collect();
            all.sort_unstable();
            prop_assert_eq!(all, theirs.into_iter().collect::<Vec<_>>());
            ours.for_each(|value| *value = 7);
            prop_assert!(ours.iter().all(|(_, value)| value == 7));
        }
    }

    #[test]
    fn what_was_taken_out_makes_room_for_what_comes() {
        let mut map = Inodes::default();
        for inode in 0..1_000_000 {
            map.insert((inode, 0), [0u32; 5]);
            if inode >= 100 {
                assert!(map.remove((inode - 100, 0)).is_some());
            }
        }
        assert_eq!((map.length, map.pieces.len()), (100, 1));
        assert_eq!(size_of::<Slot<[u32; 5]>>(), 36, "no room for alignment");
    }

    #[test]
    fn many_records_are_found_again() {
        let mut map = Inodes::default();
        (0..100_000).for_each(|inode| map.insert((inode * 4096, 1), inode as u32));
        assert!((0..100_000).all(|inode| map.get((inode * 4096, 1)) == Some(inode as u32)));
        assert!((0..100_000).all(|inode| map.get((inode * 4096 + 1, 1)).is_none()));
        assert!(map.heads.len() <= 100_000);
    }
}
