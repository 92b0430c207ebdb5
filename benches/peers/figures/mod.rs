//! Figures in a form for machines: `docs/figures/*.json`. The benchmark writes them (`--save`); the charts and the tables of
//! docs/performance.md are drawn from them (`--charts`), and a test compares all three (`tests/figures.rs`).

mod chart;
mod page;

use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// The name of the program whose bars are coloured and whose runs are the rows of a table.
pub(crate) const OURS: &str = "file-sync";

/// One series of measurements: a table and a chart.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) title: String,
    /// The day, as 2026-11-28.
    pub(crate) measured: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<String>,
    /// How it was measured.
    pub(crate) about: String,
    /// The program that ratios are to.
    pub(crate) reference: String,
    pub(crate) scenes: Vec<Scene>,
}

/// One work on one tree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    pub(crate) tree: String,
    pub(crate) work: String,
    pub(crate) runs: Vec<Run>,
}

/// A program, and the cost of the work with it. A figure that was not measured is left out.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) program: String,
    /// The options by which it differs from its other runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) options: String,
    /// Until the sync where the work writes.
    pub(crate) seconds: f64,
    /// Of single rounds, least and greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_range: Option<[f64; 2]>,
    /// To the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_range: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) processor_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_mib: Option<f64>,
}

impl Figures {
    /// All of a folder, by name.
    pub(crate) fn all(folder: &Path) -> Result<Vec<(String, Figures)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "json") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                all.push((name, Figures::read(&path)?));
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }

    fn read(path: &Path) -> Result<Figures> {
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| Error::other(format!("{}: {error}", path.display())))
    }

    #[allow(dead_code, reason = "the test writes nothing")]
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The files that are drawn from the figures below `docs`, each with the text that it ought to have: the charts, and the
/// page with the tables.
///
/// # Errors
/// The figures or the page cannot be read; the page has no place for a table.
pub(crate) fn drawn(docs: &Path) -> Result<Vec<(PathBuf, String)>> {
    let path = docs.join("performance.md");
    let mut page = fs::read_to_string(&path)?;
    let folder = docs.join("figures");
    let mut files = Vec::new();
    for (name, figures) in Figures::all(&folder)? {
        page = page::with_table(&page, &name, &figures)
            .ok_or_else(|| Error::other(format!("{} has no place for {name}", path.display())))?;
        files.push((folder.join(format!("{name}.svg")), chart::svg(&figures)?));
    }
    files.push((path, page));
    Ok(files)
}

/// The seconds of a run, with their range where it is known.
fn time(run: &Run) -> String {
    let range = run.seconds_range.map(|[least, most]| format!(" ({least} to {most})"));
    format!("{} s{}", run.seconds, range.unwrap_or_default())
}
