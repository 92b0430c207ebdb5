//! Sets the metadata of every folder after its contents.

use crate::apply::metadata::{Extent, Model, Target, set_metadata};
use crate::apply::refusal::{MetadataError, in_replica, in_source};
use crate::apply::staged::Set;
use crate::apply::{Apply, lock};
use crate::collections::HashMap;
use crate::context::Context;
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::metadata::Subject;
use crate::model::change::{Operation, Verb};
use crate::model::entry::Kind;
use crate::model::problem_kind::ProblemKind;
use crate::model::rights::Capability;
use crate::plan::{Action, FolderChange, Pair, Plan, Rename};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

impl Apply<'_> {
    /// Sets the metadata of a folder; none where that failed, or the pass ends.
    pub(in crate::apply) fn finish(&self, pair: &Pair, extent: Extent) -> Option<Set> {
        let is_hopeless = || pair.replica.as_ref().is_some_and(|folder| self.context.read_only.hold(folder));
        if self.context.is_halted() || is_hopeless() {
            return None;
        }
        match finish_folder(self.context, pair, extent) {
            Ok(set) => {
                let set = set?;
                self.not_set(pair, None, set.not_set);
                if extent == Extent::Everything {
                    let path = pair.path();
                    set.unread.iter().for_each(|unread| self.context.xattr_unread(&path, unread));
                }
                Some(set)
            }
            Err(not_set) => {
                self.not_set(pair, None, Some(not_set));
                None
            }
        }
    }

    /// Prepares a folder for late work; it may be a new folder that is finished already.
    pub(in crate::apply) fn touch(&self, pair: &Arc<Pair>) {
        if let Some(dir) = &pair.replica {
            make_writable(self.context, dir);
        }
        lock(&self.touched).push(Arc::clone(pair));
    }

    /// Finishes folders with changes inside and folders whose own metadata differs; deepest first, since a mode may
    /// close a folder. Entries are renamed to their right names first: the work below is finished then, and on some
    /// FUSE filesystems a renamed folder has another identity.
    pub(in crate::apply) fn finish_folders(&self, plan: &Plan) {
        struct Finish<'p> {
            pair: Arc<Pair>,
            planned: Option<&'p FolderChange>,
            renames: Vec<&'p Rename>,
            made: Vec<&'p CStr>,
        }
        let finish = |pair: &Arc<Pair>| Finish {
            pair: Arc::clone(pair),
            planned: None,
            renames: Vec::new(),
            made: Vec::new(),
        };
        let mut all: HashMap<*const Pair, Finish<'_>> = HashMap::default();
        for pair in lock(&self.touched).iter() {
            all.entry(Arc::as_ptr(pair)).or_insert_with(|| finish(pair));
        }
        for change in &plan.changes {
            let folder = all.entry(Arc::as_ptr(&change.pair)).or_insert_with(|| finish(&change.pair));
            if change.action == Action::Create && !change.pair.filesystem.names.are_kept() {
                folder.made.push(&change.name);
            }
        }
        for rename in &plan.renames {
            let folder = all.entry(Arc::as_ptr(&rename.pair)).or_insert_with(|| finish(&rename.pair));
            folder.renames.push(rename);
        }
        for folder in &plan.folders {
            let planned = all.entry(Arc::as_ptr(&folder.pair)).or_insert_with(|| finish(&folder.pair));
            planned.planned = Some(folder);
        }
        let mut all: Vec<Finish<'_>> = all.into_values().collect();
        all.sort_by_cached_key(|finish| std::cmp::Reverse(finish.pair.depth()));
        for Finish { pair, planned, renames, made } in all {
            if !made.is_empty() {
                self.tell_altered(&pair, made);
            }
            if !renames.is_empty() {
                if let Some(dir) = &pair.replica {
                    make_writable(self.context, dir);
                }
                self.rename_all(&pair, &renames);
            }
            let with_attributes = planned.is_some_and(|folder| folder.differences.attributes);
            let extent = if with_attributes { Extent::Everything } else { Extent::NoAttributes };
            // Compared with the facts that the survey saw: a failed attempt in the folder since then is no change.
            if let (Some(set), Some(folder)) = (self.finish(&pair, extent), planned)
                && set.differs_from(&folder.seen)
            {
                let path = pair.path();
                let reason = folder.differences.words();
                self.context
                    .reporter
                    .done(Operation { reason, ..Operation::new(Verb::Metadata, &path, Kind::Folder) });
            }
        }
    }
}

/// Makes the metadata of a folder that of the source, after its contents.
///
/// # Errors
/// One of the two folders cannot be opened; `ENOENT` when it has gone.
fn finish_folder(context: &Context<'_>, pair: &Pair, extent: Extent) -> Result<Option<Set>, MetadataError> {
    let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return Ok(None) };
    let source = source.open().map_err(in_source(ProblemKind::OpenSourceFolder))?;
    let subject = Subject::Open(source.as_fd());
    let entry = subject.entry().map_err(in_source(ProblemKind::StatSourceFolder))?;
    let model = Model { entry: &entry, subject, extent };
    let set = match (replica.open(), replica.parent().map(Dir::open)) {
        (Ok(fd), _) => {
            let (subject, folder) = (Subject::Open(fd.as_fd()), fd.as_fd());
            set_metadata(context, model, Target { subject, folder, filesystem: &pair.filesystem })
        }
        // Its mode keeps even its owner out: mode, owner and time can be set by name from its parent.
        (Err(Errno::ACCESS), Some(Ok(parent))) => {
            let subject = Subject::Named(parent.as_fd(), replica.name());
            if subject.entry().map_err(in_replica(ProblemKind::StatReplicaFolder))?.id != replica.id() {
                return Err(in_replica(ProblemKind::OpenReplicaFolder)(Errno::NOENT));
            }
            let model = Model { extent: Extent::NoAttributes, ..model };
            let target = Target { subject, folder: parent.as_fd(), filesystem: &pair.filesystem };
            set_metadata(context, model, target)
        }
        (Err(errno), _) => Err(in_replica(ProblemKind::OpenReplicaFolder)(errno)),
    };
    set.map(Some)
}

/// Opens a folder of the replica to this user where its mode forbids work in it; [`finish_folder`] sets the right mode
/// again. A process with `CAP_DAC_OVERRIDE` does not need that.
pub(in crate::apply) fn make_writable(context: &Context<'_>, dir: &Arc<Dir>) {
    const OWN: u16 = 0o700;
    if context.rights.may(Capability::DacOverride) {
        return;
    }
    let open_up = |subject: Subject<'_>| {
        if let Ok(entry) = subject.entry()
            && entry.id == dir.id()
            && entry.mode & OWN != OWN
            && context.rights.is_user(entry.uid)
        {
            // If this fails, the work in the folder fails too, and is reported there.
            match subject.set_mode(entry.mode | OWN) {
                Ok(()) | Err(_) => {}
            }
        }
    };
    match (dir.open(), dir.parent().map(Dir::open)) {
        (Ok(fd), _) => open_up(Subject::Open(fd.as_fd())),
        // Closed even to its owner: reached by name.
        (Err(Errno::ACCESS), Some(Ok(parent))) => open_up(Subject::Named(parent.as_fd(), dir.name())),
        (Err(_), _) => {}
    }
}
