//! A table in docs/performance.md, between two comments.

use super::{Figures, OURS, Run, Scene, time};

/// The page with the table of these figures in its place; none if it has no place.
pub(super) fn with_table(page: &str, name: &str, figures: &Figures) -> Option<String> {
    let (begin, end) = (format!("<!-- figures: {name} -->\n"), "<!-- end -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{}{end}{after}", block(name, figures)))
}

fn block(name: &str, figures: &Figures) -> String {
    let Figures { title, measured, machine, about, .. } = figures;
    let how = machine.as_ref().map_or_else(|| about.clone(), |machine| format!("{machine}; {about}"));
    let (first, rest) = how.split_at(how.chars().next().map_or(0, char::len_utf8));
    let words = wrapped(&format!("{measured}. {}{rest}.", first.to_uppercase()));
    format!(
        "{words}\n![{title}: bars for the times of the table below](figures/{name}.svg)\n\n{}",
        table(figures)
    )
}

/// In lines of at most 125 letters.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        let separator = match width {
            0 => "",
            _ if width + 1 + length > 125 => "\n",
            _ => " ",
        };
        width = if separator == " " { width + 1 + length } else { length };
        lines.extend([separator, word]);
    }
    lines + "\n"
}

/// A row for each run of file-sync, with columns for the others.
fn table(figures: &Figures) -> String {
    let peers = peers(figures);
    let has = |part: fn(&Run) -> bool| figures.scenes.iter().flat_map(|scene| &scene.runs).any(part);
    let (with_ratio, with_range) = (has(|run| run.ratio.is_some()), has(|run| run.ratio_range.is_some()));
    let (with_processor, with_peak) =
        (has(|run| run.processor_seconds.is_some()), has(|run| run.peak_mib.is_some()));
    let mut head = vec!["tree".to_owned(), "work".to_owned(), OURS.to_owned()];
    head.extend(peers.iter().map(Peer::heading));
    if with_ratio {
        head.push(if with_range { "ratio (least to most)" } else { "ratio" }.to_owned());
    }
    head.extend(with_processor.then(|| "processor".to_owned()));
    head.extend(with_peak.then(|| "peak memory".to_owned()));
    let mut lines = line(&head) + &format!("|{}\n", "---|".repeat(head.len()));
    let mut above = "";
    for scene in &figures.scenes {
        let reference = scene.runs.iter().find(|run| run.program == figures.reference);
        for run in scene.runs.iter().filter(|run| run.program == OURS) {
            let tree = if scene.tree == above { "" } else { &scene.tree };
            above = &scene.tree;
            let mut cells = vec![tree.to_owned(), work(scene, run), time(run)];
            let others = peers.iter().map(|peer| peer.run(scene).map(time).unwrap_or_default());
            cells.extend(others);
            if with_ratio {
                cells.push(ratio(run));
            }
            let beside =
                |value: fn(&Run) -> Option<f64>, unit: &str| match (value(run), reference.and_then(value)) {
                    (Some(ours), Some(theirs)) => format!("{ours} {unit} : {theirs} {unit}"),
                    (Some(ours), None) => format!("{ours} {unit}"),
                    (None, _) => String::new(),
                };
            if with_processor {
                cells.push(beside(|run| run.processor_seconds, "s"));
            }
            if with_peak {
                cells.push(beside(|run| run.peak_mib, "MiB"));
            }
            lines.push_str(&line(&cells));
        }
    }
    lines
}

fn line(cells: &[String]) -> String {
    let mut line = String::from("|");
    for cell in cells {
        line.push_str(&if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") });
    }
    line + "\n"
}

fn work(scene: &Scene, run: &Run) -> String {
    if run.options.is_empty() { scene.work.clone() } else { format!("{}, `{}`", scene.work, run.options) }
}

fn ratio(run: &Run) -> String {
    let range = run.ratio_range.map(|[least, most]| format!(" ({least:.2}–{most:.2})"));
    run.ratio.map_or_else(String::new, |ratio| format!("**{ratio:.2}**{}", range.unwrap_or_default()))
}

/// A column of another program.
struct Peer<'a> {
    program: &'a str,
    /// Where the program does one work with several options, each has its column.
    options: Option<&'a str>,
}

impl Peer<'_> {
    fn heading(&self) -> String {
        match self.options {
            Some(options) if !options.is_empty() => format!("`{} {options}`", self.program),
            Some(_) | None => self.program.to_owned(),
        }
    }

    fn run<'s>(&self, scene: &'s Scene) -> Option<&'s Run> {
        let is_this = |run: &&Run| {
            run.program == self.program && self.options.is_none_or(|options| run.options == options)
        };
        scene.runs.iter().find(is_this)
    }
}

/// In the order in which they are named first.
fn peers(figures: &Figures) -> Vec<Peer<'_>> {
    let mut peers: Vec<Peer<'_>> = Vec::new();
    for run in figures.scenes.iter().flat_map(|scene| &scene.runs).filter(|run| run.program != OURS) {
        let has_several = figures.scenes.iter().any(|scene| {
            let same_work = figures.scenes.iter().filter(|other| other.work == scene.work);
            let mut same =
                same_work.flat_map(|other| &other.runs).filter(|other| other.program == run.program);
            same.next().is_some_and(|first| same.any(|other| other.options != first.options))
        });
        let options = has_several.then_some(run.options.as_str());
        if !peers.iter().any(|peer| peer.program == run.program && peer.options == options) {
            peers.push(Peer { program: &run.program, options });
        }
    }
    peers
}
