//! The command line of the benchmark.

use crate::work::Work;
use crate::workload::Workload;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Runs file-sync beside its peers and prints medians, ratios, and what each of them cost
#[derive(Parser)]
#[command(name = "cargo bench --bench peers --", disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Full sizes and five rounds, on the disk: hours. Without it, sizes of a tenth and less, and three rounds
    #[arg(long)]
    pub(crate) full: bool,

    /// Only this workload; may be given several times
    #[arg(long, value_name = "WORKLOAD", ignore_case = true)]
    pub(crate) only: Vec<Workload>,

    /// Only this work; may be given several times
    #[arg(long)]
    pub(crate) work: Vec<Work>,

    /// How many times everything is done
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,

    /// Another file-sync to run as well, as PATH or NAME=PATH; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) ours: Vec<String>,

    /// Only these peers (rsync, rclone, cp...), separated by commas; "none" leaves all of them out
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) against: Vec<String>,

    /// Folder for trees and image files; what is made in it is removed at the end
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Where the image files with the replicas lie. By default in memory, with --full on the disk
    #[arg(long)]
    pub(crate) images: Option<Images>,

    /// Tables in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Also write the figures to this file, in the form of docs/figures/*.json
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,

    /// Measure nothing; draw the charts and the tables of docs/performance.md from docs/figures/*.json
    #[arg(long)]
    pub(crate) charts: bool,

    /// What cargo bench adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// The place of the image files.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Images {
    /// A tmpfs: the time of the programs and of the kernel, whatever else the disk has to do.
    Memory,
    /// The scratch folder: what somebody would wait for.
    Disk,
}

impl Arguments {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.full { 5 } else { 3 })
    }

    /// The parent of the scratch folder. /tmp is often a tmpfs, too small for this, so it comes last.
    pub(crate) fn scratch(&self) -> PathBuf {
        if let Some(scratch) = &self.scratch {
            return scratch.clone();
        }
        let of_environment = std::env::var_os("TMPDIR").map(PathBuf::from);
        let usual = PathBuf::from("/var/tmp");
        of_environment.unwrap_or_else(|| if usual.is_dir() { usual } else { std::env::temp_dir() })
    }

    pub(crate) fn wants(&self, workload: Workload) -> bool {
        if self.only.is_empty() {
            self.full || workload.is_in_short_form()
        } else {
            self.only.contains(&workload)
        }
    }

    pub(crate) fn wants_work(&self, work: Work) -> bool {
        if self.work.is_empty() { self.full || work.is_in_short_form() } else { self.work.contains(&work) }
    }

    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        self.against.is_empty() || self.against.iter().any(|wanted| wanted == name)
    }
}
