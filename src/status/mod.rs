//! Whether a pair is as fresh as it has to be, by the rows of its passes alone: no service, no lock, and neither root is
//! needed.

pub(crate) mod judge;

use crate::fs::process::life;
use crate::fs::stamp;
use crate::index::history::{self, History};
use crate::index::known::{self, KnownPair, Unread};
use crate::index::store::{Roots, Unusable};
use crate::status::judge::{Verdict, judge};
use std::path::PathBuf;

/// A pair at one moment.
#[derive(Debug)]
pub(crate) struct PairStatus {
    /// The database file.
    pub index: PathBuf,
    /// Its roots.
    pub roots: Roots,
    /// What is remembered of its passes.
    pub history: History,
    /// What follows from that.
    pub verdict: Verdict,
}

/// Pairs at one moment, worst first.
#[derive(Debug)]
pub(crate) struct Report {
    /// The moment, in milliseconds since 1970.
    pub now: i64,
    /// The pairs.
    pub pairs: Vec<PairStatus>,
    /// The databases that cannot be read.
    pub unread: Vec<Unread>,
}

impl Report {
    /// Looks at all of them.
    pub(crate) fn of(known_pairs: Vec<KnownPair>, mut unread: Vec<Unread>, now: i64) -> Report {
        let mut pairs = Vec::new();
        for pair in known_pairs {
            let path = pair.path.clone();
            // As in `known::all`: the second time it is known that a process has it open.
            let looked = match look(pair, now) {
                Err(Unusable::Damaged(_)) => known::open(&path).and_then(|pair| look(pair, now)),
                looked => looked,
            };
            match looked {
                Ok(status) => pairs.push(status),
                Err(unusable) => unread.push((path, unusable)),
            }
        }
        pairs.sort_by_key(|pair| pair.verdict.state);
        Report { now, pairs, unread }
    }
}

/// This moment, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    stamp::now().millis()
}

fn look(pair: KnownPair, now: i64) -> Result<PairStatus, Unusable> {
    let history = history::read(&pair.connection, now)?;
    let life = history.last.as_ref().map(|pass| life(pass.process, &pass.mark));
    let verdict = judge(&history, life, now);
    Ok(PairStatus { index: pair.path, roots: pair.roots, history, verdict })
}
