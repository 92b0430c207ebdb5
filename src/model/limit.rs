//! The limits of what one pass may delete and overwrite, and what a plan puts at stake.

use serde::Serialize;
use serde::ser::Serializer;
use std::fmt;
use std::ops::AddAssign;

/// A number of entries, and the bytes of the files among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Entries of any kind.
    pub entries: u64,
    /// Bytes of content of regular files.
    pub bytes: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.entries = self.entries.saturating_add(other.entries);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Amount {
    /// What is left of it without another one.
    pub(crate) fn less(&self, other: &Amount) -> Amount {
        Amount {
            entries: self.entries.saturating_sub(other.entries),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// What a plan takes from the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    /// Entries that it deletes. What is moved is not deleted.
    pub deleted: Amount,
    /// Entries whose content it overwrites with another one of the source, with the bytes of the larger
    /// one of both contents. A repair is none where the index knows that the source did not change.
    pub changed: Amount,
    /// Entries that it creates.
    pub created: u64,
    /// Entries of the replica, all of them.
    pub all: u64,
}

/// The most that a plan may take; a plan that takes more is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Any number.
    Off,
    /// So many percent of the replica's entries, where at least so many entries are at stake.
    Share {
        /// 0 to 100.
        percent: u8,
        /// Fewer entries are always let through.
        least: u64,
    },
    /// So many entries.
    Entries(u64),
    /// So many bytes of content.
    Bytes(u64),
}

impl Limit {
    /// The limit where nobody has set one. Who empties a small folder of their own is not asked.
    pub const DEFAULT: Limit = Limit::Share { percent: 50, least: 100 };

    /// Whether it is exceeded. `all` is the number of the replica's entries.
    pub(crate) fn is_exceeded(self, amount: Amount, all: u64) -> bool {
        match self {
            Limit::Off => false,
            Limit::Share { percent, least } => {
                let (part, whole) = (u128::from(amount.entries), u128::from(all));
                amount.entries >= least.max(1) && part * 100 > whole * u128::from(percent)
            }
            Limit::Entries(most) => amount.entries > most,
            Limit::Bytes(most) => amount.bytes > most,
        }
    }
}

impl fmt::Display for Limit {
    /// Writes it as it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Off => f.write_str("off"),
            Limit::Share { percent, .. } => write!(f, "{percent}%"),
            Limit::Entries(entries) => write!(f, "{entries}"),
            Limit::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(entries: u64, bytes: u64) -> Amount {
        Amount { entries, bytes }
    }

    #[test]
    fn a_limit_is_exceeded_by_one_more_and_not_by_as_many() {
        let half = Limit::DEFAULT;
        let fifth = Limit::Share { percent: 20, least: 1 };
        for (limit, entries, bytes, all, expected) in [
            (Limit::Off, u64::MAX, u64::MAX, 0, false),
            (half, 99, 0, 99, false),
            (half, 100, 0, 199, true),
            (half, 100, 0, 200, false),
            (half, 101, 0, 200, true),
            (half, u64::MAX, 0, u64::MAX, true),
            (fifth, 1, 0, 5, false),
            (fifth, 2, 0, 5, true),
            (fifth, 0, 0, 0, false),
            (Limit::Share { percent: 100, least: 1 }, 7, 0, 7, false),
            (Limit::Share { percent: 0, least: 1 }, 1, 0, 1_000, true),
            (Limit::Entries(0), 0, 0, 9, false),
            (Limit::Entries(0), 1, 0, 9, true),
            (Limit::Entries(10), 10, 0, 10, false),
            (Limit::Entries(10), 11, 0, 1_000_000, true),
            (Limit::Bytes(100), 5_000, 100, 1, false),
            (Limit::Bytes(100), 1, 101, 1, true),
        ] {
            let found = limit.is_exceeded(amount(entries, bytes), all);
            assert_eq!(found, expected, "{limit:?} {entries} entries, {bytes} bytes of {all}");
        }
    }
}
