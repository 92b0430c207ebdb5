//! The filter: what a person wants left out of the mirror. Pure: paths and facts in, an answer out.
//!
//! Rules are patterns of `.gitignore`, anchored at the source root and matched on raw bytes by the `ignore` crate. The last
//! rule that matches decides, and nothing below a folder that is left out is looked at. Besides the patterns there are
//! rules for sizes, for folders with a marker in them, and for other filesystems. Nothing is left out unless asked for,
//! and no rule is ever read from inside the trees: whoever can write there could keep files out of the mirror.

mod pattern;
mod rule;
mod rules;

pub use self::pattern::BadPattern;
pub use self::rule::{BadOrder, Origin, Rule};
pub use self::rules::{BadRules, Rules};

use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::path::shown;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The file that marks a folder of a cache, and how it begins (<https://bford.info/cachedir/>).
pub(crate) const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
pub(crate) const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What is left out, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterOptions {
    /// Patterns in their order: the last one that matches decides.
    pub rules: Rules,
    /// True: of a folder with a valid `CACHEDIR.TAG` only that file is mirrored.
    pub caches: bool,
    /// Names; of a folder with an entry of one of them only that entry is mirrored.
    pub markers: Vec<CString>,
    /// The least size of a regular file that is mirrored.
    pub min_size: Option<u64>,
    /// The greatest size of a regular file that is mirrored.
    pub max_size: Option<u64>,
    /// True: a folder of the source on another filesystem than its root is mirrored without its content.
    pub one_file_system: bool,
    /// True: what is left out is deleted from the replica.
    pub delete_excluded: bool,
}

impl FilterOptions {
    /// Whether anything is left out.
    pub fn is_on(&self) -> bool {
        !self.rules.is_empty()
            || self.caches
            || !self.markers.is_empty()
            || self.min_size.is_some()
            || self.max_size.is_some()
            || self.one_file_system
    }
}

/// Why an entry is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// By the rule of this number.
    Rule(usize),
    /// It is smaller than `--min-size`.
    Small,
    /// It is larger than `--max-size`.
    Large,
    /// It is in a folder with a `CACHEDIR.TAG`.
    Cache,
    /// It is in a folder with the marker of this number.
    Marker(usize),
    /// It is on another filesystem than the source root.
    OtherFilesystem,
}

/// The filter of one pair of roots.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    options: FilterOptions,
    /// The entries that each rule decided about in this pass.
    hits: Vec<AtomicU64>,
    /// Whether the rules that match nothing were told.
    is_told: AtomicBool,
    /// The folders of the replica that the last pass kept because of entries in them.
    folders: AtomicU64,
}

impl Filter {
    /// A filter that has matched nothing yet.
    pub(crate) fn new(options: FilterOptions) -> Filter {
        let hits = options.rules.iter().map(|_| AtomicU64::new(0)).collect();
        Filter { options, hits, ..Filter::default() }
    }

    /// Whether anything is left out.
    pub(crate) fn is_on(&self) -> bool {
        self.options.is_on()
    }

    /// What was asked for.
    pub(crate) fn options(&self) -> &FilterOptions {
        &self.options
    }

    /// Whether what is left out stays in the replica.
    pub(crate) fn protects(&self) -> bool {
        self.is_on() && !self.options.delete_excluded
    }

    /// The rule that leaves out whatever is under a path, of any kind.
    pub(crate) fn excludes_any_kind(&self, path: &[u8]) -> Option<Exclusion> {
        if self.options.rules.is_empty() {
            return None;
        }
        let rules = &self.options.rules;
        let (number, excludes) = rules.ask(path, true)?;
        let is_sure = excludes
            && (!rules.have_one_for_folders()
                || rules.ask(path, false).is_some_and(|(_, excludes)| excludes));
        is_sure.then_some(Exclusion::Rule(number))
    }

    /// The rule that leaves out an entry of one side under a path. An exception that keeps an entry of the source in is
    /// counted here; [`Filter::count`] counts what is left out.
    pub(crate) fn excludes(&self, side: Side, path: &[u8], entry: &Entry) -> Option<Exclusion> {
        match self.options.rules.ask(path, entry.kind == Kind::Folder) {
            Some((number, true)) => return Some(Exclusion::Rule(number)),
            Some((number, false)) if side == Side::Source => self.hit(number),
            Some((_, false)) | None => {}
        }
        self.excludes_size(entry)
    }

    /// Counts an entry that was left out.
    pub(crate) fn count(&self, exclusion: Exclusion) {
        if let Exclusion::Rule(number) = exclusion {
            self.hit(number);
        }
    }

    /// The limit that leaves out a file of this size.
    fn excludes_size(&self, entry: &Entry) -> Option<Exclusion> {
        let FilterOptions { min_size, max_size, .. } = self.options;
        match entry.kind {
            Kind::File if min_size.is_some_and(|least| entry.size < least) => Some(Exclusion::Small),
            Kind::File if max_size.is_some_and(|most| entry.size > most) => Some(Exclusion::Large),
            Kind::File
            | Kind::Folder
            | Kind::Symlink
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => None,
        }
    }

    fn hit(&self, number: usize) {
        if let Some(hits) = self.hits.get(number) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the answer for an entry below a folder may depend on where that folder is: then it cannot be moved with
    /// all that is in it.
    pub(crate) fn depends_on_place(&self, folder: &[u8]) -> bool {
        let names: Vec<&[u8]> = folder.split(|byte| *byte == b'/').collect();
        self.options.rules.iter().filter_map(|rule| pattern::anchor(&rule.pattern)).any(|anchor| {
            // Above the folder, at it, or below it.
            anchor.iter().zip(&names).all(|(one, other)| one.as_bytes() == *other)
        })
    }

    /// Forgets the matches of the last pass.
    pub(crate) fn begin_pass(&self) {
        self.hits.iter().for_each(|hits| hits.store(0, Ordering::Relaxed));
    }

    /// Each rule with the number of entries that it decided about in this pass.
    pub(crate) fn hits(&self) -> impl Iterator<Item = (&Rule, u64)> {
        self.options.rules.iter().zip(self.hits.iter().map(|hits| hits.load(Ordering::Relaxed)))
    }

    /// Whether the rules are reported for the first time.
    pub(crate) fn is_first_report(&self) -> bool {
        !self.is_told.swap(true, Ordering::Relaxed)
    }

    /// Whether another number of folders stays than in the last pass.
    pub(crate) fn are_other_folders(&self, folders: u64) -> bool {
        self.folders.swap(folders, Ordering::Relaxed) != folders
    }

    /// The rule or option behind an answer, in words that follow "excluded by".
    pub(crate) fn words(&self, exclusion: Exclusion) -> String {
        match exclusion {
            Exclusion::Rule(number) => {
                self.options.rules.iter().nth(number).map(Rule::to_string).unwrap_or_default()
            }
            Exclusion::Small => "its size (--min-size)".to_owned(),
            Exclusion::Large => "its size (--max-size)".to_owned(),
            Exclusion::Cache => "the CACHEDIR.TAG beside it (--exclude-caches)".to_owned(),
            Exclusion::Marker(number) => {
                let marker = self.options.markers.get(number).map(|marker| marker.to_bytes());
                let marker = shown(marker.unwrap_or_default());
                format!("the {marker} beside it (--exclude-if-present)")
            }
            Exclusion::OtherFilesystem => "its filesystem (--one-file-system)".to_owned(),
        }
    }
}
