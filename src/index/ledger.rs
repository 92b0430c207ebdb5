//! The index in one pass: what the survey asks, and what survey and apply tell.

use crate::index::approvals::Approval;
use crate::index::folder::FolderRecords;
use crate::index::history::had_problems;
use crate::index::record::{Facts, Record};
use crate::index::rows::{Change, Edit};
use crate::index::state::{OpenFolder, Shared, lock};
use crate::index::terms::Terms;
use crate::index::trust::is_settled_source;
use crate::model::change::Operation;
use crate::model::digest::Digest;
use crate::model::doubt::RootIdentity;
use crate::model::entry::{Entry, Kind};
use crate::model::path::RelPath;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The index in one pass.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// None: there is no usable index.
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) terms: Arc<Terms>,
}

impl Ledger {
    /// A ledger that knows nothing.
    pub(crate) fn off() -> Ledger {
        Ledger { shared: None, terms: Arc::new(Terms::off()) }
    }

    /// The identities of the two roots in the last pass that was done; none where none is recorded.
    pub(crate) fn roots(&self) -> Option<[RootIdentity; 2]> {
        self.shared.as_ref().and_then(|shared| lock(&shared.0).roots)
    }

    /// Whether the last pass that was done had problems; none where no such pass is known.
    pub(crate) fn had_problems(&self) -> Option<bool> {
        let mut state = lock(&self.shared.as_ref()?.0);
        state.attempt(|state| state.connection.as_ref().map_or(Ok(None), had_problems)).flatten()
    }

    /// Whether there is an index that a pass can be recorded in.
    pub(crate) fn can_keep(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| !lock(&shared.0).cannot_write)
    }

    /// Whether nothing is known and nothing is kept.
    pub(crate) fn is_off(&self) -> bool {
        self.shared.is_none()
    }

    /// The records of a folder; none without a usable index.
    pub(crate) fn folder(
        &self,
        path: &RelPath,
        source: OpenFolder<'_>,
        replica: OpenFolder<'_>,
    ) -> Option<FolderRecords> {
        let shared = self.shared.as_ref()?;
        let is_dry_run = self.terms.is_dry_run;
        let volumes = {
            let mut state = lock(&shared.0);
            [state.meet(source, is_dry_run)?, state.meet(replica, is_dry_run)?]
        };
        let devices = [source.1, replica.1];
        FolderRecords::load(&self.terms, shared, path, volumes, devices)
    }

    /// Notes a copy: this content was read from the source's file with these facts and written to the replica.
    pub(crate) fn copied(&self, path: &RelPath, digest: Digest, source: &Entry) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.0);
        let Some(volume) = state.volumes.met(source.id.device) else { return };
        // On a shared filesystem the clock of the stamps is another one: a later pass settles the facts.
        let settled =
            volume.is_local() && is_settled_source(source, self.terms.start, self.terms.mapped.as_ref());
        let now = self.terms.schedule.now;
        let facts = Facts::of(source, volume.number, settled);
        let record = Record {
            digest,
            size: source.size,
            source: facts,
            replica: None,
            is_bare: false,
            is_suspect: false,
            confirmed: now,
            hashed: now,
        };
        let (folder, name) = path.split();
        state.put(folder, name, &record);
    }

    /// Forgets an entry that is gone from the replica.
    pub(crate) fn removed(&self, path: &RelPath, kind: Kind) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.0);
        match kind {
            Kind::Folder => state.remove_folder(path.as_bytes()),
            Kind::File => {
                let (folder, name) = path.split();
                state.add(&Change { folder, name, edit: Edit::Drop });
            }
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {}
        }
    }

    /// Notes an operation that was done on the replica.
    pub(crate) fn done(&self, operation: &Operation<'_>) {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.terms.is_dry_run) else { return };
        lock(&shared.0).add_operation(operation);
    }

    /// Whether a person has accepted this content of a file.
    pub(crate) fn is_approved(&self, path: &RelPath, digest: Digest) -> bool {
        let Some(shared) = &self.shared else { return false };
        let is_it = |approval: &Approval| approval.digest == digest && approval.path == path.as_bytes();
        lock(&shared.0).approved.iter().any(is_it)
    }

    /// The age of the oldest confirmation among the files of this pass, in seconds; none without an index.
    pub(crate) fn oldest_confirmation(&self) -> Option<Duration> {
        self.shared.as_ref()?;
        let age = self.terms.schedule.now.saturating_sub(self.terms.oldest.load(Ordering::Relaxed));
        Some(Duration::from_secs(age.try_into().unwrap_or_default()))
    }
}
