//! `manifest`: prints the recorded digests of a replica as `sha256sum --check` reads them.

use crate::cli::args::ManifestArgs;
use crate::cli::commands::chosen::{Chosen, Refused};
use crate::cli::commands::complaints::complain;
use crate::cli::commands::progress::{Done, Progress};
use crate::cli::commands::verify::moment;
use crate::cli::config::{Environment, threads};
use crate::log::{humanize, json};
use crate::model::digest::Digest;
use crate::model::path::RelPath;
use crate::model::serial;
use crate::run::exit::Exit;
use crate::verify::manifest::{Line, manifest};
use crate::verify::status::{Finding, Why};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As sha256sum(1) writes them.
    Lines,
    /// As `sha256sum --zero` writes them.
    Zero,
    /// One object each.
    Json,
}

/// Runs the command.
///
/// # Errors
/// See [`Refused`].
pub(super) fn run(
    arguments: ManifestArgs,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit, Refused> {
    arguments.threads.as_deref().map(threads).transpose()?;
    let form = match (arguments.zero, arguments.json) {
        (true, _) => Form::Zero,
        (false, true) => Form::Json,
        (false, false) => Form::Lines,
    };
    let chosen = Chosen::find(arguments.replica, environment)?;
    let failed = |failure| Refused::Error(chosen.words(&failure));
    let last_pass = chosen.reader.last_done().map_err(|unusable| failed(unusable.into()))?;
    // Lines on the terminal are their own progress.
    let is_shown = environment.shows_progress && !environment.is_terminal;
    let mut progress = Progress::new(is_shown, || chosen.reader.files().ok());
    let mut out = BufWriter::new(out);
    let (mut files, mut newest, mut written) = (0, None, Ok(()));
    let without = manifest(&chosen.replica, &chosen.reader, &chosen.left_out, &mut |line| {
        files += 1;
        newest = newest.max(Some(line.confirmed));
        progress.draw(complaints, Done { files, ..Done::default() });
        written = out.write_all(&text(&line, form));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.erase(complaints);
    written?;
    let without = without.map_err(failed)?;
    let as_of = last_pass.map(|milliseconds| milliseconds.div_euclid(1000)).or(newest);
    if form == Form::Json {
        for finding in &without {
            out.write_all(json::object(&Without::of(finding)).as_bytes())?;
        }
        let without_digest = without.len() as u64;
        let totals = Totals { event: "totals", files, without_digest, as_of: as_of.map(moment) };
        out.write_all(json::object(&totals).as_bytes())?;
    }
    out.flush()?;
    tell(complaints, (files, as_of), last_pass.is_some(), &without);
    Ok(if without.is_empty() { Exit::Done } else { Exit::Problems })
}

/// Says what the digests stand for, and which files have none.
fn tell(complaints: &mut dyn Write, (files, as_of): (u64, Option<i64>), is_pass: bool, without: &[Finding]) {
    for finding in without {
        let why = finding.why.map_or_else(|| "nothing is known of it".to_owned(), |why: Why| why.to_string());
        complain(complaints, &format!("Without a digest: {}  {why}", finding.path));
    }
    let files = humanize::counted(files, "digest", "digests");
    let message = match as_of {
        Some(as_of) if is_pass => {
            format!("{files} as of {} (the start of the last pass that was done)", moment(as_of))
        }
        Some(as_of) => format!("{files} as of {} (the last confirmation)", moment(as_of)),
        None => format!("{files}: no file is recorded"),
    };
    complain(complaints, &message);
}

fn text(line: &Line, form: Form) -> Vec<u8> {
    match form {
        Form::Json => json::object(&Object::of(line)).into_bytes(),
        Form::Lines => sha256sum(&line.digest, line.path.as_bytes()),
        Form::Zero => [line.digest.to_string().as_bytes(), b"  ", line.path.as_bytes(), b"\0"].concat(),
    }
}

/// A line of sha256sum(1). A name with a newline, a carriage return or a backslash is escaped, and a backslash at the
/// start of the line says so (GNU coreutils 9.1; older ones leave the carriage return as it is, and read both).
fn sha256sum(digest: &Digest, path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            _ => escaped.push(*byte),
        }
    }
    let mark: &[u8] = if escaped.len() == path.len() { b"" } else { b"\\" };
    [mark, digest.to_string().as_bytes(), b"  ", &escaped, b"\n"].concat()
}

/// A file in JSON.
#[derive(Serialize)]
struct Object<'a> {
    event: &'static str,
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    sha256: Digest,
    bytes: u64,
    confirmed: String,
}

impl<'a> Object<'a> {
    fn of(line: &'a Line) -> Object<'a> {
        let Line { path, digest, bytes, confirmed } = line;
        Object { event: "file", path, sha256: *digest, bytes: *bytes, confirmed: moment(*confirmed) }
    }
}

/// A file without a digest, in JSON.
#[derive(Serialize)]
struct Without<'a> {
    event: &'static str,
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl<'a> Without<'a> {
    fn of(finding: &'a Finding) -> Without<'a> {
        let reason = finding.why.map(|why| why.to_string());
        Without { event: "without_digest", path: &finding.path, reason }
    }
}

/// The totals in JSON.
#[derive(Serialize)]
struct Totals {
    event: &'static str,
    files: u64,
    without_digest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_coreutils_does() {
        let digest = Digest::from_bytes([0xab; 32]);
        let hex = "ab".repeat(32);
        for (path, mark, escaped) in [
            (&b"a/b c"[..], "", &b"a/b c"[..]),
            (b" *-x\xff\t", "", b" *-x\xff\t"),
            (b"a\nb", "\\", b"a\\nb"),
            (b"a\rb", "\\", b"a\\rb"),
            (b"a\\nb", "\\", b"a\\\\nb"),
        ] {
            let expected = [mark.as_bytes(), hex.as_bytes(), b"  ", escaped, b"\n"].concat();
            assert_eq!(sha256sum(&digest, path), expected);
        }
    }
}
