//! Hashes a file while it is read; a large one in a thread of its own.
//!
//! SHA-256 takes twice as long as reading, comparing and writing together. A single large file would keep one processor
//! busy and leave the others idle, so its hash gets a thread of its own, unless there are enough large files for all
//! processors.

use crate::control::Interrupt;
use crate::fs::file::BUFFER;
use crate::model::digest::{Digest, Hasher};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Files of at least this size are large: a thread costs less than a thousandth of its gain.
const LARGE: u64 = 32 << 20;

/// The greatest number of pieces queued for the thread; each is a [`BUFFER`].
const AHEAD: usize = 16;

/// The greatest number of zeros in holes that are hashed: at some 1.5 GB/s more would take longer than ten seconds, and
/// a file with a hole of 1 TiB longer than ten minutes in every pass.
const MOST_ZEROS_HASHED: u64 = 16 << 30;

/// Whether a file of `size` bytes of which `stored` are allocated is hashed: not where it is nearly all hole.
pub(crate) fn is_worth_hashing(size: u64, stored: u64) -> bool {
    size.saturating_sub(stored) <= MOST_ZEROS_HASHED
}

/// The number of large files that are being hashed.
#[derive(Debug)]
pub(crate) struct LargeFiles {
    hashing: AtomicUsize,
    processors: usize,
}

impl LargeFiles {
    /// No files yet, and so many threads that can compute at once.
    pub(crate) fn new(processors: usize) -> LargeFiles {
        LargeFiles { hashing: AtomicUsize::new(0), processors }
    }
}

/// A digest in progress.
pub(crate) struct Hashing<'a> {
    place: Place,
    /// Counts this file while it is being hashed.
    large: Option<&'a AtomicUsize>,
}

enum Place {
    Inline(Hasher),
    HasherThread(HasherThread),
}

/// A hashing thread.
struct HasherThread {
    pieces: SyncSender<Vec<u8>>,
    /// Pieces that have been hashed, to be filled again.
    spent: Receiver<Vec<u8>>,
    thread: JoinHandle<Hasher>,
}

impl<'a> Hashing<'a> {
    /// Begins the digest of a file of `size` bytes of which `stored` are allocated; none where hashing the holes is not
    /// worth it.
    pub(crate) fn begin(large_files: &'a LargeFiles, size: u64, stored: u64) -> Option<Hashing<'a>> {
        if !is_worth_hashing(size, stored) {
            return None;
        }
        // Work outside the pool is not worth a thread: postponed hard links.
        let processors = rayon::current_thread_index().map_or(1, |_| large_files.processors);
        if size < LARGE || processors == 1 {
            return Some(Hashing { place: Place::Inline(Hasher::new()), large: None });
        }
        let large = &large_files.hashing;
        let others = large.fetch_add(1, Ordering::Relaxed);
        let beside = if others + 1 < processors { HasherThread::start() } else { None };
        let place = beside.map_or_else(|| Place::Inline(Hasher::new()), Place::HasherThread);
        Some(Hashing { place, large: Some(large) })
    }

    /// The next piece of the content.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        match &mut self.place {
            Place::Inline(hasher) => hasher.update(piece),
            Place::HasherThread(beside) => beside.update(piece),
        }
    }

    /// Hashes so many zeros; false when a stop signal arrived meanwhile.
    pub(crate) fn update_zeros(&mut self, interrupt: &Interrupt, count: u64) -> bool {
        static ZEROS: [u8; BUFFER] = [0; BUFFER];
        let mut left = count;
        while left > 0 {
            if interrupt.is_set() {
                return false;
            }
            interrupt.beat();
            let piece = left.min(BUFFER as u64);
            self.update(ZEROS.get(..piece as usize).unwrap_or(&ZEROS));
            left -= piece;
        }
        true
    }

    /// The digest of all pieces.
    pub(crate) fn finish(mut self) -> Digest {
        match std::mem::replace(&mut self.place, Place::Inline(Hasher::new())) {
            Place::Inline(hasher) => hasher.finish(),
            Place::HasherThread(beside) => beside.finish(),
        }
    }
}

impl Drop for Hashing<'_> {
    fn drop(&mut self) {
        if let Some(large) = self.large {
            large.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl HasherThread {
    /// Starts a thread; none where the system gives no more.
    fn start() -> Option<HasherThread> {
        let (pieces, to_hash) = sync_channel::<Vec<u8>>(AHEAD);
        let (hashed, spent) = channel();
        let hash = move || {
            let mut hasher = Hasher::new();
            while let Ok(piece) = to_hash.recv() {
                hasher.update(&piece);
                // The receiver has gone once the file has ended.
                let _ = hashed.send(piece);
            }
            hasher
        };
        let thread = Builder::new().name("hasher".to_owned()).spawn(hash).ok()?;
        Some(HasherThread { pieces, spent, thread })
    }

    fn update(&mut self, piece: &[u8]) {
        let mut copy = self.spent.try_recv().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(piece);
        // The thread receives until the channel is closed; if it panicked, `finish` propagates that.
        let _ = self.pieces.send(copy);
    }

    fn finish(self) -> Digest {
        drop(self.pieces);
        match self.thread.join() {
            Ok(hasher) => hasher.finish(),
            Err(panic) => resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::{ThreadPool, ThreadPoolBuilder};

    fn pool(threads: usize) -> ThreadPool {
        ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    fn has_thread(hashing: &Hashing<'_>) -> bool {
        matches!(hashing.place, Place::HasherThread(_))
    }

    #[test]
    fn thread_and_inline_agree() {
        let content: Vec<u8> = (0..3_000_000u32).flat_map(|number| number.to_le_bytes()).collect();
        for (processors, expected) in [(1, false), (2, true)] {
            let files = LargeFiles::new(processors);
            for piece in [1, 63, BUFFER] {
                let pieces = content.chunks(piece).take(4 * AHEAD + 3);
                let mut here = Hasher::new();
                pieces.clone().for_each(|piece| here.update(piece));
                let digest = pool(4).install(|| {
                    let mut hashing = Hashing::begin(&files, LARGE, LARGE).unwrap();
                    assert_eq!(has_thread(&hashing), expected, "{processors} processors");
                    pieces.for_each(|piece| hashing.update(piece));
                    hashing.finish()
                });
                assert_eq!(digest, here.finish(), "pieces of {piece}");
            }
        }
    }

    #[test]
    fn no_more_threads_than_idle_processors_and_none_for_small_files() {
        let files = LargeFiles::new(3);
        assert!(!has_thread(&Hashing::begin(&files, LARGE, LARGE).unwrap()), "outside a pool");
        pool(8).install(|| {
            assert!(!has_thread(&Hashing::begin(&files, LARGE - 1, LARGE).unwrap()));
            let mut first = Hashing::begin(&files, LARGE, LARGE).unwrap();
            let second = Hashing::begin(&files, LARGE, LARGE).unwrap();
            let third = Hashing::begin(&files, LARGE, LARGE).unwrap();
            assert_eq!([&first, &second, &third].map(has_thread), [true, true, false]);
            // Dropped in the middle.
            first.update(&[1; 1000]);
            drop((first, second));
            assert!(has_thread(&Hashing::begin(&files, LARGE, LARGE).unwrap()), "they are counted no longer");
        });
    }

    #[test]
    fn a_file_that_is_nearly_all_hole_is_not_hashed() {
        let files = LargeFiles::new(2);
        assert!(Hashing::begin(&files, MOST_ZEROS_HASHED + 2, 1).is_none());
        assert!(Hashing::begin(&files, MOST_ZEROS_HASHED + 2, 2).is_some());
    }
}
