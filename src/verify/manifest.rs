//! The recorded digests of a replica in the order of the paths, and the files of the replica that have none. No content
//! is read.

use crate::collections::HashMap;
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::magic::{filesystem_type, has_true_ctime};
use crate::hasher::is_worth_hashing;
use crate::index::read::Reader;
use crate::model::digest::Digest;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use crate::verify::check::hidden_folder;
use crate::verify::decide::{Content, Ground, Seen, decide};
use crate::verify::status::Finding;
use crate::verify::walk::{Item, State, Step, Walk, find, look};
use crate::verify::{Failure, open_root};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// The most files without a digest that are looked at again at the end: a running pass has temporaries.
const MOST: usize = 10_000;

/// A file with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The path below the replica.
    pub path: RelPath,
    /// The recorded digest.
    pub digest: Digest,
    /// The recorded size in bytes.
    pub bytes: u64,
    /// When a pass has confirmed it last, in seconds since 1970.
    pub confirmed: i64,
}

/// The digest, size and confirmation of a file with several names.
type Known = (Digest, u64, i64);

/// Hands every recorded file to `each`, which can end it, and returns the files without a digest.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn manifest(
    replica: &Path,
    reader: &Reader,
    left_out: &[FileId],
    each: &mut dyn FnMut(Line) -> ControlFlow<()>,
) -> Result<Vec<Finding>, Failure> {
    let root = open_root(replica)?;
    let last_pass = reader.last_done()?.map(|milliseconds| milliseconds.div_euclid(1000));
    let mut walk = Walk::new(reader, &root, left_out)?;
    let mut links = None;
    let (mut without, mut findings) = (Vec::new(), Vec::new());
    while let Some(step) = walk.next()? {
        let item = match step {
            Step::Item(item) => *item,
            Step::Hidden(path, errno) if path.is_root() => return Err(Failure::Replica(errno)),
            Step::Hidden(path, errno) => {
                findings.push(hidden_folder(path, errno));
                continue;
            }
        };
        let Some((digest, bytes, confirmed)) = known(&item, (reader, &root, left_out), &mut links)? else {
            let finding = finding(&item, last_pass);
            match item.state {
                State::There(_) if without.len() < MOST => without.push((item, finding)),
                State::There(_) | State::Absent | State::Unlooked(_) | State::Hidden(_) => {
                    findings.push(finding)
                }
            }
            continue;
        };
        if each(Line { path: item.path(), digest, bytes, confirmed }).is_break() {
            return Ok(Vec::new());
        }
    }
    let is_there = |item: &Item| !matches!(again(&root, item), Ok(State::Absent));
    findings.extend(without.into_iter().filter(|(item, _)| is_there(item)).map(|(_, finding)| finding));
    findings.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(findings)
}

/// What is known of a file, by its own record or by that of another of its names.
fn known(
    item: &Item,
    (reader, root, left_out): (&Reader, &Arc<Dir>, &[FileId]),
    links: &mut Option<HashMap<FileId, Known>>,
) -> Result<Option<Known>, Failure> {
    if let (Some(record), Some(confirmed)) = (item.record, item.confirmed()) {
        return Ok(Some((record.digest, record.size, confirmed)));
    }
    let State::There(entry) = item.state else { return Ok(None) };
    if entry.links < 2 {
        return Ok(None);
    }
    if links.is_none() {
        // The recorded name may come later. Few trees have such files, so the way is gone twice only for those.
        *links = Some(linked(reader, root, left_out)?);
    }
    Ok(links.as_ref().and_then(|links| links.get(&entry.id).copied()))
}

/// The files with several names of which one is recorded.
fn linked(reader: &Reader, root: &Arc<Dir>, left_out: &[FileId]) -> Result<HashMap<FileId, Known>, Failure> {
    let mut walk = Walk::new(reader, root, left_out)?;
    let mut links = HashMap::default();
    while let Some(step) = walk.next()? {
        if let Step::Item(item) = step
            && let (State::There(entry), Some(record), Some(confirmed)) =
                (item.state, item.record, item.confirmed())
            && entry.kind == Kind::File
            && entry.links > 1
        {
            links.insert(entry.id, (record.digest, record.size, confirmed));
        }
    }
    Ok(links)
}

/// The finding about a file without a digest.
fn finding(item: &Item, last_pass: Option<i64>) -> Finding {
    let content = |entry: &Entry| match is_worth_hashing(entry.size, entry.blocks.saturating_mul(512)) {
        true => Content::NotRead,
        false => Content::Holes,
    };
    let seen = match &item.state {
        State::There(entry) => Seen::File(entry, content(entry)),
        State::Absent => Seen::Absent,
        State::Unlooked(errno) => Seen::Unlooked(*errno),
        State::Hidden(errno) => Seen::Hidden(*errno),
    };
    let folder = item.folder.dir.as_ref().and_then(|dir| dir.open().ok());
    let magic = folder.and_then(|fd| filesystem_type(fd.as_fd()).ok());
    let ground =
        Ground { has_true_ctime: magic.is_some_and(has_true_ctime), may_have_lost_times: false, last_pass };
    let (status, why) = decide(None, seen, ground);
    Finding { path: item.path(), status, why, found: None, recorded: None, confirmed: None }
}

/// What is under a name by now.
fn again(root: &Arc<Dir>, item: &Item) -> Result<State, Errno> {
    Ok(find(root, &item.folder.path)?.map_or(State::Absent, |dir| look(&dir, &item.name)))
}
