//! Reads a file of rules that decides what is left out of the mirror.
//!
//! Its path is opened component by component, and a symbolic link on it is followed only if root or this user owns it:
//! somebody else must not lead the program of another user to a file of his choice (CVE-2026-53802 of rsync).

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// The largest file of rules. A larger one is something else.
const MOST: u64 = 1 << 20;

/// The most symbolic links on one path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The reason why a file of rules cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadRules {
    /// A system call failed.
    #[error("it cannot be read: {0}")]
    System(#[from] io::Error),
    /// It is a folder, a pipe or a device.
    #[error("it is not a regular file (the output of a command has to be in a file)")]
    NoFile,
    /// It is larger than 1 MiB.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A symbolic link on the way belongs to another user.
    #[error("a symbolic link on its path belongs to another user, who could lead it anywhere")]
    ForeignLink,
}

impl From<Errno> for UnreadRules {
    fn from(errno: Errno) -> UnreadRules {
        UnreadRules::System(errno.into())
    }
}

/// Reads the file under an absolute path.
///
/// # Errors
/// See [`UnreadRules`].
pub(crate) fn read_rules(path: &Path) -> Result<Vec<u8>, UnreadRules> {
    let file = open_trusted(path)?;
    let facts = fstat(&file)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
        return Err(UnreadRules::NoFile);
    }
    let mut text = Vec::new();
    File::from(file).take(MOST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST { Err(UnreadRules::TooLarge) } else { Ok(text) }
}

/// Opens a file for reading. One that is none is opened for nothing but its facts.
fn open_trusted(path: &Path) -> Result<OwnedFd, UnreadRules> {
    const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    let root = || retry_on_intr(|| openat(CWD, c"/", FOLDER, Mode::empty()));
    let mut folder = root()?;
    let mut names = names(path);
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match retry_on_intr(|| openat(&folder, name.as_os_str(), look, Mode::empty())) {
            // The link of a descriptor of this process (proc(5)), which is no path.
            Err(Errno::NOENT) if name.as_bytes().starts_with(b"pipe:[") => return Err(UnreadRules::NoFile),
            found => found?,
        };
        let facts = fstat(&found)?;
        let kind = FileType::from_raw_mode(facts.st_mode);
        if kind != FileType::Symlink {
            folder = found;
            if names.is_empty() && kind == FileType::RegularFile {
                // The file that was looked at, whatever has its name by now (proc(5)).
                let same = format!("/proc/self/fd/{}", folder.as_raw_fd());
                let read = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
                return Ok(retry_on_intr(|| open(same.as_str(), read, Mode::empty()))?);
            }
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        if !is_trusted(&facts) {
            return Err(UnreadRules::ForeignLink);
        }
        let target = readlinkat(&found, c"", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        if target.is_absolute() {
            folder = root()?;
        }
        let mut ahead = self::names(target);
        ahead.append(&mut names);
        names = ahead;
    }
    Ok(folder)
}

fn is_trusted(link: &Stat) -> bool {
    link.st_uid == 0 || link.st_uid == geteuid().as_raw()
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_read_through_own_links_and_nothing_but_a_file() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder/rules"), "*.tmp\n").unwrap();
        symlink("folder/../folder/rules", at("link")).unwrap();
        symlink(scratch.path(), at("absolute")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for name in ["folder/rules", "link", "absolute/link"] {
            assert_eq!(read_rules(&at(name)).unwrap(), b"*.tmp\n", "{name}");
        }
        assert!(matches!(read_rules(&at("folder")), Err(UnreadRules::NoFile)));
        assert!(matches!(read_rules(&at("missing")), Err(UnreadRules::System(_))));
        assert!(matches!(read_rules(&at("loop")), Err(UnreadRules::System(_))));
        fs::write(at("large"), vec![b'#'; MOST as usize + 1]).unwrap();
        assert!(matches!(read_rules(&at("large")), Err(UnreadRules::TooLarge)));
    }

    #[test]
    fn the_link_of_another_user_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("rules"), "").unwrap();
        let link = scratch.path().join("link");
        symlink("rules", &link).unwrap();
        // Only root can make a link of another user; an ordinary user has only own ones here.
        let is_foreign = geteuid().is_root();
        if is_foreign {
            std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        }
        let read = read_rules(&link);
        assert_eq!(matches!(read, Err(UnreadRules::ForeignLink)), is_foreign, "{read:?}");
    }
}
