//! When a record may be trusted, and when its file is due to be read or hashed again. Pure: no disk, no clock.

use crate::fs::mappings::Mapped;
use crate::index::record::{Facts, Record};
use crate::model::digest::Digest;
use crate::model::entry::{Entry, Timestamp};
use crate::model::trust::Trust;
use serde::Serialize;

/// The least age of a time stamp that proves that no later change has the same one, in seconds: more than the coarsest
/// step of any filesystem (two seconds for vfat) and than the kernel's tick.
pub(crate) const MARGIN: i64 = 3;

/// The age of a stamp after which no page can be dirty since then, in seconds: the kernel writes pages back after 30
/// seconds (`vm.dirty_expire_centisecs`), and stamps the next store into a page that it has written.
const WRITTEN_BACK: i64 = 120;

/// Whether the times of an entry are old enough at the start of a pass: any change by `write(2)` after the reads of this
/// pass moves them.
pub(crate) fn is_settled(entry: &Entry, start: Timestamp) -> bool {
    is_older(entry, start, MARGIN)
}

/// As [`is_settled`], for stores through memory as well. `mapped` has the files that processes can write in this way;
/// where it is not known, the last store may be younger than the stamp.
pub(crate) fn is_settled_source(entry: &Entry, start: Timestamp, mapped: Option<&Mapped>) -> bool {
    is_settled(entry, start)
        && match mapped {
            Some(mapped) => !mapped.contains(&entry.id.inode),
            None => is_older(entry, start, WRITTEN_BACK),
        }
}

fn is_older(entry: &Entry, start: Timestamp, margin: i64) -> bool {
    let limit = start.seconds.saturating_sub(margin);
    entry.mtime.seconds < limit && entry.ctime.seconds < limit
}

/// How an entry differs from the facts of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// In nothing.
    Same,
    /// In the inode number alone, which says nothing where inode numbers change with each mount.
    OtherInode,
    /// In more.
    Other,
}

/// Compares an entry of a volume with the facts of its record. The size is compared as well: a record holds it once.
pub(crate) fn likeness(facts: &Facts, size: u64, entry: &Entry, volume: u32) -> Likeness {
    let is_same = facts.volume == volume
        && size == entry.size
        && facts.mtime == entry.mtime
        && facts.ctime == entry.ctime
        && facts.btime == entry.btime;
    match (is_same, facts.inode == entry.id.inode) {
        (true, true) => Likeness::Same,
        (true, false) => Likeness::OtherInode,
        (false, _) => Likeness::Other,
    }
}

/// What a record says about the two files of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: there is none, or the source's file is not the recorded one.
    Unknown,
    /// The source's file has the recorded facts; the replica's has not.
    Source,
    /// Both files have the recorded facts.
    Both,
}

/// Why a file is read although there may be a record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Distrust {
    /// There is no record.
    NoRecord,
    /// The source's file has other facts than the record.
    SourceChanged,
    /// The replica's file is a copy that has not been compared with the source since.
    NotCompared,
    /// The replica's file has other facts than the record.
    ReplicaChanged,
    /// A change may have left the recorded facts as they were: they were too young.
    Unsettled,
    /// The records were written with other rights.
    OtherRights,
    /// A crash may have lost times (lazytime).
    LazyTimes,
    /// Its source was found with another content.
    Suspect,
    /// Its time has come, by `--rehash-after`.
    Due,
    /// Its filesystem may show no sizes.
    NoSize,
}

/// The clock and the periods of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The start of the pass, in seconds since 1970.
    pub now: i64,
    /// The time until the next pass, in seconds.
    pub lead: i64,
    /// How long an unchanged file is trusted without being read.
    pub rehash_after: Trust,
    /// How long an unchanged and equal file is trusted without being hashed.
    pub digest_after: Trust,
}

impl Schedule {
    /// Whether the file of a record has to be read.
    pub(crate) fn is_read_due(&self, record: &Record, confirmed: i64) -> bool {
        self.is_due(self.rehash_after, record, confirmed)
    }

    /// Whether the file of a record has to be hashed.
    pub(crate) fn is_hash_due(&self, record: &Record) -> bool {
        self.is_due(self.digest_after, record, record.hashed)
    }

    /// Each file has a moment of its own in each period, which its digest decides, so that every pass has its share. A
    /// file is due when its moment comes before the next pass, and in any case when `last` would be more than a period
    /// ago then. A confirmation up to two passes before a moment counts as that moment's.
    fn is_due(&self, trust: Trust, record: &Record, last: i64) -> bool {
        let period = match trust {
            Trust::Never => return true,
            Trust::Always => return false,
            Trust::For(period) => i64::try_from(period.as_secs()).unwrap_or(i64::MAX).max(1),
        };
        // A time in the future proves nothing: the clock was set back.
        if last > self.now || self.now.saturating_add(self.lead).saturating_sub(last) > period {
            return true;
        }
        let phase = moment(&record.digest, record.source.inode, period);
        // The number of periods, shifted by the phase, that have begun.
        let begun = |time: i64| time.saturating_sub(phase).div_euclid(period);
        begun(last.saturating_add(self.lead).saturating_add(self.lead))
            < begun(self.now.saturating_add(self.lead))
    }
}

/// The moment of a file in each period, in seconds.
fn moment(digest: &Digest, inode: u64, period: i64) -> i64 {
    let first = digest.as_bytes().first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default();
    // Copies of one content must not all be due at once.
    let mixed = first ^ inode.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    i64::try_from((u128::from(mixed) * period.unsigned_abs() as u128) >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;
    use proptest::prelude::*;
    use std::time::Duration;

    fn record(number: u64) -> Record {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.wrapping_mul(0xd134_2543_de82_ef95).to_le_bytes());
        Record {
            digest: Digest::from_bytes(digest),
            size: 10,
            source: Facts::of(&file(number), 1, true),
            replica: None,
            is_bare: false,
            is_suspect: false,
            confirmed: 0,
            hashed: 0,
        }
    }

    fn schedule(now: i64, lead: i64, period: u64) -> Schedule {
        let rehash_after = Trust::For(Duration::from_secs(period));
        Schedule { now, lead, rehash_after, digest_after: Trust::Never }
    }

    #[test]
    fn a_stamp_of_the_last_seconds_proves_nothing() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let start = at(1000);
        for (mtime, ctime, expected) in
            [(900, 900, true), (996, 996, true), (997, 900, false), (900, 997, false), (900, 2000, false)]
        {
            let entry = Entry { mtime: at(mtime), ctime: at(ctime), ..file(1) };
            assert_eq!(is_settled(&entry, start), expected, "{mtime} {ctime}");
        }
    }

    #[test]
    fn a_file_that_can_be_written_through_memory_is_not_settled() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let entry = |age: i64| Entry { mtime: at(1000 - age), ctime: at(1000 - age), ..file(7) };
        let mapped: Mapped = [7].into_iter().collect();
        let others: Mapped = [8].into_iter().collect();
        for (age, mapped, expected) in [
            (10, Some(&others), true),
            (1, Some(&others), false),
            (10, Some(&mapped), false),
            (100_000, Some(&mapped), false),
            (10, None, false),
            (121, None, true),
        ] {
            assert_eq!(is_settled_source(&entry(age), at(1000), mapped), expected, "{age} {mapped:?}");
        }
    }

    #[test]
    fn any_fact_that_moved_is_seen() {
        let time = Timestamp { seconds: 5, nanoseconds: 6 };
        let facts = Facts::of(&file(1), 1, true);
        let like = |entry: Entry, volume| likeness(&facts, 10, &entry, volume);
        assert_eq!(like(file(1), 1), Likeness::Same);
        assert_eq!(like(file(2), 1), Likeness::OtherInode);
        for other in [
            Entry { size: 11, ..file(1) },
            Entry { mtime: time, ..file(1) },
            Entry { ctime: time, ..file(1) },
            Entry { btime: Some(time), ..file(1) },
        ] {
            assert_eq!(like(other, 1), Likeness::Other, "{other:?}");
        }
        assert_eq!(like(file(1), 2), Likeness::Other, "another filesystem");
    }

    #[test]
    fn a_day_of_passes_reads_each_file_once_and_every_pass_its_share() {
        const DAY: i64 = 86_400;
        const STEP: i64 = 300;
        const FILES: usize = 4000;
        let start = 1_764_000_000;
        let mut confirmed = [start; FILES];
        for day in 0..3 {
            let mut reads = 0;
            for pass in 1..=DAY / STEP {
                let now = start + day * DAY + pass * STEP;
                let schedule = schedule(now, STEP, 86_400);
                let mut share = 0;
                for (number, last) in confirmed.iter_mut().enumerate() {
                    if schedule.is_read_due(&record(number as u64), *last) {
                        *last = now;
                        share += 1;
                    }
                    assert!(now + STEP - *last <= DAY, "{number} is older than promised");
                }
                // 14 on average.
                assert!(share < 45, "{share} of {FILES} at once");
                reads += share;
            }
            let most = FILES + FILES / 20;
            assert!((FILES - FILES / 20..=most).contains(&reads), "day {day}: {reads}");
        }
    }

    #[test]
    fn after_missed_passes_the_promise_counts() {
        let schedule = schedule(1_764_000_000 + 86_400 * 40, 300, 86_400 * 30);
        assert!((0..100).all(|number| schedule.is_read_due(&record(number), 1_764_000_000)));
    }

    #[test]
    fn never_and_always_have_no_moments() {
        for (trust, expected) in [(Trust::Never, true), (Trust::Always, false)] {
            let schedule = Schedule { now: 5, lead: 1, rehash_after: trust, digest_after: trust };
            assert_eq!(schedule.is_read_due(&record(1), 0), expected);
            assert_eq!(schedule.is_hash_due(&record(1)), expected);
        }
    }

    #[test]
    fn a_time_in_the_future_proves_nothing() {
        assert!(schedule(1000, 1, 1_000_000).is_read_due(&record(1), 1001));
    }

    proptest! {
        #[test]
        fn nothing_overflows(
            now in any::<i64>(), lead in 0..i64::MAX, period in any::<u64>(), last in any::<i64>(), number in any::<u64>()
        ) {
            let _ = schedule(now, lead, period).is_read_due(&record(number), last);
        }
    }
}
