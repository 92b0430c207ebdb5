//! What the index remembers of one file, and its packed form.
//!
//! A record takes some 90 bytes: numbers are written with as many bytes as they need, and times as the difference to the
//! one before.

use crate::model::digest::Digest;
use crate::model::entry::{Entry, Timestamp};

/// The facts of one side under which a digest was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The filesystem, by its number in the index.
    pub volume: u32,
    /// The inode number.
    pub inode: u64,
    /// The modification time.
    pub mtime: Timestamp,
    /// The time of the last change of content or metadata, which no program can set.
    pub ctime: Timestamp,
    /// The birth time, where the filesystem has one.
    pub btime: Option<Timestamp>,
    /// True when the times were old enough at the confirmation that any later change must have moved them.
    pub settled: bool,
}

impl Facts {
    /// The facts of an entry on a volume.
    pub(crate) fn of(entry: &Entry, volume: u32, settled: bool) -> Facts {
        let Entry { id, mtime, ctime, btime, .. } = *entry;
        Facts { volume, inode: id.inode, mtime, ctime, btime, settled }
    }
}

/// What the index remembers of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, the same on both sides.
    pub size: u64,
    /// The facts of the source's file.
    pub source: Facts,
    /// The facts of the replica's file; none for a copy that has not been read back yet.
    pub replica: Option<Facts>,
    /// True when neither file had an extended attribute.
    pub is_bare: bool,
    /// True when the source was last found with another content: it is read in every pass until that is settled.
    pub is_suspect: bool,
    /// When the content was last read and found right, in seconds since 1970.
    pub confirmed: i64,
    /// When the digest was last computed, in seconds since 1970.
    pub hashed: i64,
}

const HAS_REPLICA: u8 = 1;
const SOURCE_SETTLED: u8 = 1 << 1;
const REPLICA_SETTLED: u8 = 1 << 2;
const SOURCE_BORN: u8 = 1 << 3;
const REPLICA_BORN: u8 = 1 << 4;
const IS_BARE: u8 = 1 << 5;
const IS_SUSPECT: u8 = 1 << 6;

impl Record {
    /// Appends the packed form.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        let replica = self.replica.as_ref();
        let mut flags = 0;
        let mut set = |flag, is_set: bool| flags |= if is_set { flag } else { 0 };
        set(HAS_REPLICA, replica.is_some());
        set(SOURCE_SETTLED, self.source.settled);
        set(REPLICA_SETTLED, replica.is_some_and(|facts| facts.settled));
        set(SOURCE_BORN, self.source.btime.is_some());
        set(IS_BARE, self.is_bare);
        set(IS_SUSPECT, self.is_suspect);
        set(REPLICA_BORN, replica.is_some_and(|facts| facts.btime.is_some()));
        out.push(flags);
        out.extend_from_slice(self.digest.as_bytes());
        put(out, self.size);
        put_signed(out, self.confirmed);
        put_signed(out, self.confirmed.wrapping_sub(self.hashed));
        for facts in std::iter::once(&self.source).chain(replica) {
            put(out, facts.volume.into());
            put(out, facts.inode);
            let mut base = 0;
            for time in [Some(facts.mtime), Some(facts.ctime), facts.btime].into_iter().flatten() {
                put_signed(out, time.seconds.wrapping_sub(base));
                out.extend_from_slice(&time.nanoseconds.to_le_bytes());
                base = time.seconds;
            }
        }
    }

    /// Reads the packed form; none when it is damaged.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Record> {
        let mut from = Unpack(packed);
        let [flags] = from.take::<1>()?;
        let digest = Digest::from_bytes(from.take()?);
        let size = from.number()?;
        let confirmed = from.signed()?;
        let hashed = confirmed.wrapping_sub(from.signed()?);
        let mut facts = |born: u8, settled: u8| {
            let volume = u32::try_from(from.number()?).ok()?;
            let inode = from.number()?;
            let mtime = from.time(0)?;
            let ctime = from.time(mtime.seconds)?;
            let btime = if flags & born != 0 { Some(from.time(ctime.seconds)?) } else { None };
            Some(Facts { volume, inode, mtime, ctime, btime, settled: flags & settled != 0 })
        };
        let source = facts(SOURCE_BORN, SOURCE_SETTLED)?;
        let replica =
            if flags & HAS_REPLICA != 0 { Some(facts(REPLICA_BORN, REPLICA_SETTLED)?) } else { None };
        let is_bare = flags & IS_BARE != 0;
        let is_suspect = flags & IS_SUSPECT != 0;
        Some(Record { digest, size, source, replica, is_bare, is_suspect, confirmed, hashed })
    }
}

/// Appends a number: seven bits in each byte, the lowest first, the top bit set on all bytes but the last.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that is mostly near zero.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, (number.wrapping_shl(1) ^ (number >> 63)) as u64);
}

/// The bytes that are still to be read.
pub(super) struct Unpack<'a>(pub(super) &'a [u8]);

impl<'a> Unpack<'a> {
    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number, see [`put`].
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number, see [`put_signed`].
    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn time(&mut self, base: i64) -> Option<Timestamp> {
        let seconds = base.wrapping_add(self.signed()?);
        Some(Timestamp { seconds, nanoseconds: u32::from_le_bytes(self.take()?) })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        let seconds = prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX), 1_700_000_000..1_800_000_000i64];
        (seconds, 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let times = (time(), time(), prop::option::of(time()));
        (any::<u32>(), any::<u64>(), times, any::<bool>()).prop_map(
            |(volume, inode, (mtime, ctime, btime), settled)| Facts {
                volume,
                inode,
                mtime,
                ctime,
                btime,
                settled,
            },
        )
    }

    pub(crate) fn record() -> impl Strategy<Value = Record> {
        (any::<[u8; 32]>(), any::<u64>(), facts(), prop::option::of(facts()), any::<(bool, bool, i64, i64)>())
            .prop_map(|(digest, size, source, replica, (is_bare, is_suspect, confirmed, hashed))| Record {
                digest: Digest::from_bytes(digest),
                size,
                source,
                replica,
                is_bare,
                is_suspect,
                confirmed,
                hashed,
            })
    }

    pub(crate) fn packed(record: &Record) -> Vec<u8> {
        let mut packed = Vec::new();
        record.pack(&mut packed);
        packed
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(record in record(), cut in any::<prop::sample::Index>()) {
            let mut packed = packed(&record);
            prop_assert_eq!(Record::unpack(&packed), Some(record));
            packed.truncate(cut.index(packed.len()));
            prop_assert_eq!(Record::unpack(&packed), None, "cut short");
        }

        #[test]
        fn rubbish_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::unpack(&bytes);
        }
    }

    #[test]
    fn an_ordinary_record_is_small() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 123_456_789 };
        let facts = Facts {
            volume: 1,
            inode: 12_345_678,
            mtime: at(1_764_000_000),
            ctime: at(1_764_000_100),
            btime: Some(at(1_763_990_000)),
            settled: true,
        };
        let record = Record {
            digest: Digest::from_bytes([7; 32]),
            size: 4_321_000,
            source: facts,
            replica: Some(facts),
            is_bare: true,
            is_suspect: false,
            confirmed: 1_764_100_000,
            hashed: 1_763_100_000,
        };
        let mut packed = Vec::new();
        record.pack(&mut packed);
        assert!(packed.len() < 105, "{}", packed.len());
    }
}
