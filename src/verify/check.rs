//! Checks one name of the replica against its record.

use crate::fs::dir::Dir;
use crate::fs::magic::{filesystem_type, has_true_ctime};
use crate::fs::{Errno, is_denial};
use crate::hasher::is_worth_hashing;
use crate::index::Record;
use crate::model::digest::Digest;
use crate::model::entry::{Entry, Kind};
use crate::model::path::RelPath;
use crate::verify::content::{Opened, Tools};
use crate::verify::decide::{Content, Ground, Seen, decide};
use crate::verify::links::{Checked, Links};
use crate::verify::status::{Finding, Status, Why};
use crate::verify::walk::{Item, State};
use std::os::fd::AsFd;
use std::sync::Arc;

/// The check of names.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    /// Read files.
    pub tools: Tools<'a>,
    /// Files with several names.
    pub links: Links,
    /// The start of the last pass that was done, in seconds since 1970.
    pub last_pass: Option<i64>,
    /// A crash since the last pass may have lost times.
    pub may_have_lost_times: bool,
}

/// The result for one name.
#[derive(Debug)]
pub(super) enum Answer {
    /// A finding, and what was there: the file as it was when it was opened.
    Found(Box<(Finding, State)>),
    /// Nothing to check: there is neither a file nor a record.
    Nothing,
    /// Another name of the file has to be seen first.
    Later,
    /// A stop was requested.
    Stopped,
}

impl Answer {
    fn of(finding: Finding, state: State) -> Answer {
        Answer::Found(Box::new((finding, state)))
    }
}

impl Checker<'_> {
    /// Checks a name. `is_last` says that all other names have been seen.
    pub(super) fn check(&self, item: &Item, is_last: bool) -> Answer {
        match (item.state, &item.folder.dir, item.record) {
            (State::There(entry), Some(dir), Some(record)) if entry.kind == Kind::File => {
                self.recorded(item, dir, &record)
            }
            (State::There(entry), Some(dir), None) if entry.kind == Kind::File => {
                self.unrecorded(item, dir, &entry, is_last)
            }
            (State::There(entry), _, Some(_)) => self.found(item, Seen::Other(entry.kind), item.state),
            (State::Absent, _, Some(_)) => self.found(item, Seen::Absent, item.state),
            (State::There(_) | State::Absent, _, None) => Answer::Nothing,
            (State::Unlooked(errno), _, _) => self.found(item, Seen::Unlooked(errno), item.state),
            (State::Hidden(errno), _, _) => self.found(item, Seen::Hidden(errno), item.state),
        }
    }

    fn recorded(&self, item: &Item, dir: &Arc<Dir>, record: &Record) -> Answer {
        let opened = match dir.open() {
            Ok(folder) => self.tools.open(folder.as_fd(), &item.name),
            Err(errno) if is_denial(errno) => Opened::Gone,
            Err(errno) => Opened::Failed(errno),
        };
        let (file, entry) = match opened {
            Opened::File(file, entry) => (file, entry),
            Opened::Gone => return self.found(item, Seen::Absent, State::Absent),
            Opened::Failed(errno) => return self.found(item, Seen::Unlooked(errno), item.state),
        };
        let has_links = entry.links > 1;
        let known =
            if has_links { self.links.checked(&entry).and_then(|checked| checked.found) } else { None };
        let content = match known {
            Some(found) => Content::Digest(found),
            None => match self.tools.content(file.as_fd(), &entry) {
                Some(content) => content,
                None => return Answer::Stopped,
            },
        };
        let found = digest_of(content);
        let ground = self.ground(file.as_fd());
        let (status, why) = decide(Some(record), Seen::File(&entry, content), ground);
        let confirmed = item.confirmed();
        if has_links {
            let checked = Checked { found, recorded: record.digest, confirmed, status, why };
            self.links.note(&entry, checked);
        }
        let recorded = Some(record.digest);
        let finding = Finding { path: item.path(), status, why, found, recorded, confirmed };
        Answer::of(finding, State::There(entry))
    }

    fn unrecorded(&self, item: &Item, dir: &Arc<Dir>, entry: &Entry, is_last: bool) -> Answer {
        if entry.links > 1 {
            let checked = self.links.checked(entry);
            if let Some(Checked { found, recorded, confirmed, status, why }) = checked {
                let path = item.path();
                let finding = Finding { path, status, why, found, recorded: Some(recorded), confirmed };
                return Answer::of(finding, State::There(*entry));
            }
            if !is_last {
                return Answer::Later;
            }
        }
        let content = if !is_worth_hashing(entry.size, entry.blocks.saturating_mul(512)) {
            Content::Holes
        } else {
            Content::NotRead
        };
        let Ok(folder) = dir.open() else { return Answer::Nothing };
        let (status, why) = decide(None, Seen::File(entry, content), self.ground(folder.as_fd()));
        let path = item.path();
        let finding = Finding { path, status, why, found: None, recorded: None, confirmed: None };
        Answer::of(finding, State::There(*entry))
    }

    /// A finding about a name that is no file, or none that can be read.
    fn found(&self, item: &Item, seen: Seen<'_>, state: State) -> Answer {
        // None of these depends on the filesystem.
        let ground = Ground { has_true_ctime: false, may_have_lost_times: false, last_pass: None };
        let (status, why) = decide(item.record.as_ref(), seen, ground);
        let recorded = item.record.map(|record| record.digest);
        let (path, confirmed) = (item.path(), item.confirmed());
        Answer::of(Finding { path, status, why, found: None, recorded, confirmed }, state)
    }

    fn ground(&self, file: impl AsFd) -> Ground {
        Ground {
            has_true_ctime: filesystem_type(file).is_ok_and(has_true_ctime),
            may_have_lost_times: self.may_have_lost_times,
            last_pass: self.last_pass,
        }
    }
}

/// A finding about a folder that cannot be listed.
pub(super) fn hidden_folder(path: RelPath, errno: Errno) -> Finding {
    Finding {
        path,
        status: Status::Unchecked,
        why: Some(Why::UnreadableFolder(errno)),
        found: None,
        recorded: None,
        confirmed: None,
    }
}

fn digest_of(content: Content) -> Option<Digest> {
    match content {
        Content::Digest(digest) => Some(digest),
        Content::Holes | Content::NotRead | Content::Failed(_) => None,
    }
}
