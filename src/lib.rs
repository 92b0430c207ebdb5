//! Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.
//!
//! [`Mirror`] is the engine: it checks a pair of roots and makes the replica match. It prints nothing and keeps no log.
//! It reports each action as an [`Event`] to a [`Monitor`]:
//!
//! ```
//! use file_sync::{Digests, Event, FilterOptions, Interrupt, Limits, Mirror, MirrorOptions, Monitor, Outcome};
//! use std::fs;
//! use std::sync::{Arc, Mutex};
//!
//! /// Collects the paths of all operations.
//! #[derive(Default)]
//! struct Paths(Mutex<Vec<String>>);
//!
//! impl Monitor for Paths {
//!     fn event(&self, event: &Event<'_>) {
//!         if let Event::Done(operation) = event {
//!             self.0.lock().unwrap().push(format!("{} {}", operation.verb.word(), operation.path));
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = tempfile::tempdir()?;
//! let options = MirrorOptions {
//!     source: scratch.path().join("source"),
//!     replica: scratch.path().join("replica"),
//!     log: None,
//!     threads: None,
//!     processors: 2,
//!     digests: Digests::OfAll,
//!     dry_run: false,
//!     verify_writes: false,
//!     bytes_per_second: None,
//!     index: None,
//!     limits: Limits::default(),
//!     filter: FilterOptions::default(),
//!     checks_room: true,
//! };
//! fs::create_dir(&options.source)?;
//! fs::write(options.source.join("cat.jpg"), "meow")?;
//!
//! let mut mirror = Mirror::new(options, Arc::new(Interrupt::new()))?;
//! let paths = Paths::default();
//! let report = mirror.pass(1, &paths)?;
//! assert_eq!(report.outcome, Outcome::Done);
//! assert_eq!(paths.0.into_inner()?[0], "create cat.jpg");
//! assert_eq!(fs::read(scratch.path().join("replica/cat.jpg"))?, b"meow");
//!
//! // A second pass reads both sides and finds nothing to do.
//! let report = mirror.pass(2, &Paths::default())?;
//! assert_eq!(report.counts.operations(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`schedule::run`] repeats passes, [`log::Log`] is the monitor that writes the log, and [`cli`] is the program:
//! command line, signals, service manager.

mod apply;
mod capabilities;
pub mod cli;
mod collections;
mod context;
mod control;
mod filter;
mod fs;
mod guard;
mod hasher;
mod identity;
mod index;
mod lock;
pub mod log;
mod metadata_rules;
mod mirror;
mod model;
mod pass;
mod plan;
mod run;
mod status;
mod survey;
#[cfg(test)]
mod test_strategies;
mod throttle;
mod verify;
mod walk;
mod whereabouts;
mod workers;

pub use control::{Interrupt, Requests};
pub use filter::{BadOrder, BadPattern, BadRules, FilterOptions, Origin, Rule, Rules};
pub use fs::clock::{BootTime, Timer, Waker};
pub use fs::raise_open_file_limit;
pub use fs::rules_file::UnreadRules;
pub use guard::Limits;
pub use index::IndexOptions;
pub use mirror::{Mirror, MirrorOptions};
pub use model::change::{Operation, Subtree, Verb};
pub use model::confirm::{Answer, Confirm, FirstDeletion};
pub use model::counters::{Counter, Counters, Counts, Tally};
pub use model::digest::{Digest, Digests, Hasher};
pub use model::doubt::{Doubt, RootChange, RootIdentity, WayOut};
pub use model::entry::{FileId, Kind, Timestamp};
pub use model::errno::Errno;
pub use model::error::{Cause, Error, Problem, Relation, Side};
pub use model::event::{Event, Fanout, ForJob, Monitor, Notice, Phase, Reason, Wait};
pub use model::feature::Feature;
pub use model::interval::{BadInterval, Interval};
pub use model::limit::{Amount, Limit, Stake};
pub use model::mounts::{Difference, Identity, Place};
pub use model::path::RelPath;
pub use model::problem_kind::ProblemKind;
pub use model::report::{Hold, Outcome, PassReport, Turnover};
pub use model::room::{Resource, Shortage};
pub use model::signal::Signal;
pub use model::trust::Trust;
pub use run::exit::{Exit, Health};
pub use run::rpo_watch::RpoWatch;
pub use run::{schedule, signals, systemd};
