//! The works that are timed.

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Work {
    /// To a filesystem that is fresh: removing an old replica just before a copy makes ext4 up to 13 times slower.
    FirstCopy,
    /// All contents are read and compared.
    NoChange,
    /// Sizes and times are compared.
    QuickCheck,
    /// 1 % of the files changed, 0.5 % each added, deleted and renamed; all contents are compared.
    Changed,
    /// The same, with sizes and times compared.
    ChangedQuick,
    /// 1 MiB changed in the middle of a large file.
    Edit,
    /// As the first copy, with nothing in the cache.
    ColdCopy,
    /// As no change, with nothing in the cache: how a nightly pass begins.
    ColdNoChange,
}

impl Work {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Work::FirstCopy => "first copy",
            Work::NoChange => "no change, contents compared",
            Work::QuickCheck => "no change, sizes and times compared",
            Work::Changed => "1 % changed, 0.5 % each added, deleted, renamed; contents compared",
            Work::ChangedQuick => "1 % changed, 0.5 % each added, deleted, renamed; sizes and times compared",
            Work::Edit => "1 MiB edited in the large file",
            Work::ColdCopy => "first copy, nothing in the cache",
            Work::ColdNoChange => "no change, contents compared, nothing in the cache",
        }
    }

    /// Whether it writes. Then ratios are of the time until the sync: file-sync ends with a sync of its own, and writes
    /// that others leave to the system are not free either.
    pub(crate) fn writes(self) -> bool {
        match self {
            Work::FirstCopy | Work::Changed | Work::ChangedQuick | Work::Edit | Work::ColdCopy => true,
            Work::NoChange | Work::QuickCheck | Work::ColdNoChange => false,
        }
    }

    /// Whether the source is edited before it.
    pub(crate) fn needs_edit(self) -> bool {
        match self {
            Work::Changed | Work::ChangedQuick | Work::Edit => true,
            Work::FirstCopy | Work::NoChange | Work::QuickCheck | Work::ColdCopy | Work::ColdNoChange => {
                false
            }
        }
    }

    /// Whether the caches are dropped before it.
    pub(crate) fn is_cold(self) -> bool {
        matches!(self, Work::ColdCopy | Work::ColdNoChange)
    }

    /// Whether it needs a fresh filesystem in each round.
    pub(crate) fn is_copy(self) -> bool {
        matches!(self, Work::FirstCopy | Work::ColdCopy)
    }

    /// Cold works need replicas on the disk, which the short form has in memory.
    pub(crate) fn is_in_short_form(self) -> bool {
        self != Work::ChangedQuick && !self.is_cold()
    }
}
