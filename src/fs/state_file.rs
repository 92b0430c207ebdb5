//! Files of the state folder. Whoever may write there may have planted something else under their names: a FIFO would
//! block, and a symbolic link would lead elsewhere.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file that is no symbolic link; links on the way to it are followed. Never blocks.
///
/// # Errors
/// As `open(2)`, or something else has its name.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let opened = regular(path, options, OFlags::NOFOLLOW);
    if opened.is_err() && path.is_symlink() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is a symbolic link"));
    }
    opened
}

/// Opens a regular file for reading. A symbolic link is followed: it may lead to a copy. Never blocks.
///
/// # Errors
/// As `open(2)`, or something else has its name.
pub(crate) fn open_to_read(path: &Path) -> Result<File> {
    regular(path, OpenOptions::new().read(true), OFlags::empty())
}

fn regular(path: &Path, options: &mut OpenOptions, flags: OFlags) -> Result<File> {
    let other = || Error::new(ErrorKind::InvalidInput, "it is not a regular file");
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(other()),
        // A FIFO without a reader, a socket.
        Err(_) if std::fs::metadata(path).is_ok_and(|facts| !facts.is_file()) => Err(other()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        std::os::unix::fs::symlink(scratch.path(), at("way")).unwrap();
        mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let told =
            |opened: Result<File>| opened.map_or_else(|error| error.to_string(), |_| "opened".to_owned());
        for (name, to_write, to_read) in [
            ("file", "opened", "opened"),
            ("way/file", "opened", "opened"),
            ("folder", "it is not a regular file", "it is not a regular file"),
            ("fifo", "it is not a regular file", "it is not a regular file"),
            ("socket", "it is not a regular file", "it is not a regular file"),
            ("link", "it is a symbolic link", "opened"),
            ("dangling", "it is a symbolic link", "No such file or directory (os error 2)"),
        ] {
            let written = open(&at(name), OpenOptions::new().write(true).create(true).truncate(false));
            assert_eq!(
                (told(written).as_str(), told(open_to_read(&at(name))).as_str()),
                (to_write, to_read),
                "{name}"
            );
        }
        assert!(!at("nowhere").exists());
        assert_eq!(open_to_read(&at("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
