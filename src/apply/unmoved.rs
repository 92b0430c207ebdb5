//! Copies and deletions in place of moves that could not be made.

use crate::apply::metadata::folders::make_writable;
use crate::apply::remove::Removal;
use crate::apply::{Apply, Leftover, lock};
use crate::fs::{Errno, dirent, stat};
use crate::model::change::Verb;
use crate::model::entry::{FileId, Kind};
use crate::plan::weight::Weight;
use crate::plan::{Action, Change, Move, Pair, Plan};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

impl Apply<'_> {
    /// Puts into the plan what has to be done instead of moves.
    pub(super) fn do_without(&self, unmoved: &[Move], plan: &mut Plan) {
        let tops: Vec<_> = unmoved.iter().filter_map(|entry| entry.pair()?.replica.clone()).collect();
        plan.forget_below(&tops);
        for entry in unmoved {
            let Move { source, name, seen, from, old, held, displaced, touched, .. } = entry;
            let change = |pair: &Arc<Pair>, name: &CStr, action, expected| Change {
                pair: Arc::clone(pair),
                name: name.into(),
                kind: entry.kind(),
                action,
                size: seen.size,
                expected,
                replica_unreadable: false,
                subtree: None,
                // The guard has judged the plan.
                weight: Weight::default(),
                reason: "",
                recorded: None,
            };
            let is_old = |pair: &Pair| pair.replica.as_ref().is_some_and(|dir| dir.id() == from.id());
            let in_its_place = plan.changes.iter_mut().find(|change| {
                is_old(&change.pair) && change.name == *old && change.action == Action::Create
            });
            if let Some(other) = in_its_place {
                let verb = if other.kind == held.kind { Verb::Update } else { Verb::Retype };
                (other.action, other.expected) = (Action::Replace(verb), Some(held.id));
            } else if let Some(pair) = touched.iter().find(|pair| is_old(pair)) {
                plan.changes.push(change(pair, old, Action::Delete, Some(held.id)));
            }
            // In a new folder it is copied like all the rest.
            let is_new = |pair: &&Arc<Pair>| {
                pair.source.as_ref().is_some_and(|dir| Arc::ptr_eq(dir, source)) && pair.replica.is_some()
            };
            let Some(pair) = touched.iter().find(is_new) else { continue };
            let action = match displaced {
                None => Action::Create,
                Some(displaced) if displaced.kind != Kind::Folder && entry.kind() == Kind::File => {
                    Action::Replace(Verb::Update)
                }
                Some(displaced) if displaced.kind == entry.kind() => {
                    self.make_room(pair, name, displaced.id);
                    Action::Create
                }
                Some(_) => Action::Replace(Verb::Retype),
            };
            let expected = displaced.as_ref().map(|displaced| displaced.id);
            let expected = expected.filter(|_| action != Action::Create);
            plan.changes.push(change(pair, name, action, expected));
        }
    }

    /// Moves a folder of the replica aside, in whose place another one is created. Where that fails, the creation fails
    /// as well, and is reported.
    fn make_room(&self, pair: &Pair, name: &CStr, id: FileId) {
        let Some(folder) = &pair.replica else { return };
        make_writable(self.context, folder);
        let aside = folder.open().and_then(|fd| {
            if stat::entry_at(fd.as_fd(), name)?.id != id {
                return Err(Errno::EXIST);
            }
            let aside = dirent::temporary_name()?;
            dirent::rename_to_free(fd.as_fd(), name, &aside)?;
            Ok(aside)
        });
        if let Ok(aside) = aside {
            let path = pair.path().join(name);
            self.context.ledger.forget(&folder.path().join(name));
            let folder = Arc::clone(folder);
            lock(&self.leftovers).push(Leftover { folder, name: aside, path, removal: Removal::Displaced });
        }
    }
}
