//! A real tree: a copy of this machine's sources, programs and libraries, which can be edited.

use std::fs::{self, DirEntry, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

const MOST_FILES: u64 = 83_000;
const MOST_BYTES: u64 = 2_800_000_000;

/// Copies the files and symbolic links of every `nth` folder, up to the limits. Every `nth` and not the first ones, so
/// that a small tree has the same mixture as a large one; whole folders, so that they are as full.
pub(crate) fn copy(root: &Path, nth: u64) {
    let mut copying = Copying { root: root.to_owned(), nth, seen: 0, files: 0, bytes: 0 };
    for (number, place) in places().into_iter().enumerate() {
        copying.folder(&place, &root.join(number.to_string()));
    }
}

fn places() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let of_cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let of_rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let places = [
        of_cargo.or_else(|| in_home(".cargo")).map(|cargo| cargo.join("registry/src")),
        Some("/usr/share".into()),
        Some("/usr/lib".into()),
        of_rustup.or_else(|| in_home(".rustup")).map(|rustup| rustup.join("toolchains")),
    ];
    places.into_iter().flatten().collect()
}

struct Copying {
    root: PathBuf,
    nth: u64,
    seen: u64,
    files: u64,
    bytes: u64,
}

impl Copying {
    fn is_enough(&self) -> bool {
        self.files >= MOST_FILES / self.nth || self.bytes >= MOST_BYTES / self.nth
    }

    /// Whether a symbolic link in a folder of the copy leads to a place in the copy: up no further than to the root,
    /// and up before down, since a name on the way down may be another link. Other links are left out. They lead into
    /// the system, and a program may follow them where it should not: rclone 1.60, with metadata, sets the mode of a
    /// link on its target.
    fn stays_inside(&self, target: &Path, folder: &Path) -> bool {
        let depth = folder.strip_prefix(&self.root).expect("below the root").components().count();
        let up = target.components().take_while(|name| *name == Component::ParentDir).count();
        up <= depth && target.components().skip(up).all(|name| matches!(name, Component::Normal(_)))
    }

    fn folder(&mut self, from: &Path, to: &Path) {
        // An unreadable or vanished entry is left out: any tree will do.
        let Ok(listing) = fs::read_dir(from) else { return };
        let mut entries: Vec<DirEntry> = listing.flatten().collect();
        entries.sort_by_key(DirEntry::file_name);
        let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let (folders, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_folder);
        self.seen += u64::from(!others.is_empty());
        if !others.is_empty() && self.seen.is_multiple_of(self.nth) {
            self.files_of(&others, to);
        }
        for entry in folders {
            self.folder(&entry.path(), &to.join(entry.file_name()));
        }
    }

    fn files_of(&mut self, entries: &[DirEntry], folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        for entry in entries {
            if self.is_enough() {
                return;
            }
            let Ok(facts) = entry.metadata() else { continue };
            let (from, to) = (entry.path(), folder.join(entry.file_name()));
            if facts.is_symlink() {
                let target = fs::read_link(&from).expect("a target");
                if self.stays_inside(&target, folder) {
                    symlink(target, &to).expect("a link");
                }
            } else if facts.is_file() && fs::copy(&from, &to).is_ok() {
                // Writable, since it is going to be edited.
                let mode = fs::Permissions::from_mode(facts.mode() & 0o7777 | 0o600);
                fs::set_permissions(&to, mode).expect("a mode");
                let file = File::options().write(true).open(&to).expect("opened");
                file.set_modified(facts.modified().expect("a time")).expect("a time");
                self.files += 1;
                self.bytes += facts.len();
            }
        }
    }
}
