//! The main job on real input: a tree of at least 50,000 files of this machine, mirrored repeatedly during edits of
//! every kind. Once the edits end, rsync finds no difference.

use crate::harness::cases::Cases;
use crate::harness::kit::{Running, has, is_of, sh, tell};
use crate::support::dice::Dice;
use crate::support::fsops::{set_attribute, set_mtime};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::env::var_os;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Error, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const FILES: usize = 50_000;
const PASSES_WHILE_EDITED: usize = 8;

pub(crate) fn run() {
    let cases = Cases::new("real_tree");
    cases.run("a tree of this machine is mirrored while it is edited", mirrored_while_edited);
    cases.finish();
}

fn mirrored_while_edited() {
    if !has("rsync") {
        leave_out("rsync, which is the judge, is not installed");
    }
    let mut place = Scratch::with_source();
    place.chooses_workers = true;
    let mut files = gather(&place.source);
    let count = files.len();
    assert!(count >= FILES, "this machine has {count} files to copy");
    let begin = Instant::now();
    let mirror = Running(place.file_sync(&["--interval", "2"]).spawn().expect("it starts"));
    place.wait_for("done", 1);
    let first = begin.elapsed();

    let edits_are_over = AtomicBool::new(false);
    let edits = scope(|scope| {
        let editor = scope.spawn(|| edit_until(&place.source, &mut files, &edits_are_over));
        place.wait_for("done", 1 + PASSES_WHILE_EDITED);
        edits_are_over.store(true, Ordering::Relaxed);
        editor.join().expect("no edit panicked")
    });
    // A pass that began before the last edit may have missed it: wait for one that begins later.
    let passes = place.events().iter().filter(|event| event["event"] == "pass_started").count();
    place.wait_for("done", passes + 1);
    assert_eq!(mirror.stop(), Some(0));

    let events = place.events();
    let of = |name: &'static str| events.iter().filter(move |event| is_of(event, name));
    let problems: Vec<String> = of("problem").map(ToString::to_string).collect();
    let last = of("done").next_back().expect("it was done").clone();
    assert_eq!(last["problems"], 0, "the last pass: {last}");
    place.assert_in_step("the real tree");
    tell(&format!("{count} files, first copy in {:.1} s", first.as_secs_f64()));
    tell(&format!(
        "{edits} edits during {} passes: {} operations, {} problems on the way{}; then nothing to do for rsync",
        of("done").count() - 1,
        of("operation").count(),
        problems.len(),
        problems.first().map(|problem| format!(" (the first: {problem})")).unwrap_or_default()
    ));
}

/// Copies folders of this machine until there are enough files; returns the paths of the files.
fn gather(source: &Path) -> Vec<PathBuf> {
    let home = var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo = var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let rustup = var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let folders = [
        cargo.join("registry/src"),
        "/usr/share".into(),
        "/usr/include".into(),
        rustup.join("toolchains"),
        "/usr/lib".into(),
        "/usr/local".into(),
    ];
    let mut files = Vec::new();
    for (number, folder) in folders.iter().cycle().take(4 * folders.len()).enumerate() {
        if files.len() >= FILES {
            break;
        }
        if !folder.is_dir() {
            continue;
        }
        let mut from = folder.clone().into_os_string();
        from.push("/");
        let to = source.join(number.to_string());
        // Many files rather than many bytes; no ACLs or xattrs, which an ordinary user may be unable to copy.
        let options = ["-rlptgoDH", "--max-size=1m", "--ignore-errors"].map(OsStr::new);
        sh("rsync", &[options[0], options[1], options[2], &from, to.as_os_str()]);
        collect(&to, &mut files);
    }
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable")) {
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            collect(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

/// Random edits, some hundred a second, until it is told to end. Returns the number of edits.
fn edit_until(source: &Path, files: &mut Vec<PathBuf>, is_over: &AtomicBool) -> u64 {
    let mut dice = Dice(6);
    let mut edits = 0;
    while !is_over.load(Ordering::Relaxed) {
        let at = dice.below(files.len());
        // An entry moved away by an earlier edit is no error.
        if edit(source, files, at, edits, &mut dice).is_ok() {
            edits += 1;
        }
        sleep(Duration::from_millis(1));
    }
    edits
}

fn edit(
    source: &Path,
    files: &mut Vec<PathBuf>,
    at: usize,
    number: u64,
    dice: &mut Dice,
) -> Result<(), Error> {
    let path = files[at].clone();
    let sibling = path.with_file_name(format!("edit {number}"));
    match dice.below(16) {
        0..3 => fs::write(&path, dice.bytes(dice.0 as usize % 50_000))?,
        3 => File::options().append(true).open(&path)?.write_all(b"one more line\n")?,
        4 => {
            // Other bytes, the same size and time.
            let metadata = fs::metadata(&path)?;
            let size = usize::try_from(metadata.len()).expect("small");
            fs::write(&path, dice.bytes(size))?;
            File::options().write(true).open(&path)?.set_modified(metadata.modified()?)?;
        }
        5 => {
            fs::remove_file(&path)?;
            files.swap_remove(at);
        }
        6..8 => {
            fs::write(&sibling, format!("new file {number}"))?;
            files.push(sibling);
        }
        8 => {
            fs::rename(&path, &sibling)?;
            files[at] = sibling;
        }
        9 => {
            let mode = [0o600, 0o644, 0o755, 0o444, 0o640][dice.below(5)];
            fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        }
        10 => fs::hard_link(&path, &sibling)?,
        11 => symlink(path.file_name().unwrap_or_default(), &sibling)?,
        12 => {
            fs::metadata(&path)?;
            set_attribute(&path, "user.edit", number.to_string().as_bytes()).expect("an attribute");
        }
        13 => {
            fs::metadata(&path)?;
            set_mtime(&path, 1_000_000_000 + number as i64, 123_456_789).expect("a time");
        }
        14 => {
            // A whole folder moves, or a new one arrives with content.
            let folder = source.join(format!("folder {number}"));
            fs::create_dir_all(folder.join("below"))?;
            for name in ["a", "b", "below/c"] {
                fs::write(folder.join(name), format!("{name} of {number}"))?;
            }
            if number.is_multiple_of(2) {
                fs::rename(&folder, source.join(format!("moved {number}")))?;
            }
        }
        _ => {
            // A change of kind, and deletions of whole folders.
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
            fs::write(path.join("inside"), "a folder now")?;
            files.swap_remove(at);
            let gone = source.join(format!("moved {}", number & !1));
            if gone.is_dir() {
                fs::remove_dir_all(gone)?;
            }
        }
    }
    Ok(())
}
