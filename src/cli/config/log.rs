//! The log file: where it is, and when it is rotated.

use crate::cli::args::size::Size;
use crate::cli::config::{Environment, UsageError, absolute};
use crate::log::Rotation;
use crate::model::path::shown;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The log file's name where only its folder is given.
pub(crate) const LOG_NAME: &str = "file-sync.log";

/// Whether the value of `--log_file` means none: `-` is standard output to other programs, and the console has every
/// line already. A file of that name is `./-`.
pub(in crate::cli) fn is_no_file(given: &OsStr) -> bool {
    given == "-"
}

/// Fewer bytes without a unit are taken for a forgotten unit.
const LEAST: u64 = 4096;

/// The log file's absolute path. `..` is kept: removing it would lead elsewhere after a symbolic link.
pub(in crate::cli) fn log_file(given: &Path, environment: &Environment) -> Result<PathBuf, UsageError> {
    let Some(path) = absolute(given, environment) else {
        let given = shown(given.as_os_str().as_bytes());
        return Err(UsageError(format!(
            "Cannot use --log_file {given}: the current folder is gone or unreadable, so that a relative path leads \
             nowhere; give an absolute path, such as --log_file /var/log/file-sync/"
        )));
    };
    let means_folder = names_folder(given) || (environment.is_folder)(&path);
    Ok(if means_folder { path.join(LOG_NAME) } else { path })
}

/// True when a path can only mean a folder: its last name is empty, `.` or `..`.
pub(super) fn names_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    matches!(bytes.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b".."))
}

/// When the log file is rotated; none for `off` and for 0.
///
/// # Errors
/// The size is none, or the number is out of range.
pub(super) fn rotation(max_size: &OsStr, keep: &OsStr) -> Result<Option<Rotation>, UsageError> {
    let keep = kept(keep)?;
    if max_size == "off" {
        return Ok(None);
    }
    // A byte that is not UTF-8 becomes a replacement character, which no size contains.
    let refused = |reason: &str| {
        let given = shown(max_size.as_bytes());
        UsageError(format!(
            "Cannot use --log-max-size {given}: {reason}; give bytes, a size, or off, such as --log-max-size 64MiB"
        ))
    };
    let size = Size::parse(&max_size.to_string_lossy()).map_err(|reason| refused(&reason.to_string()))?;
    if !size.has_unit && (1..LEAST).contains(&size.bytes) {
        return Err(refused("so few bytes hold no more than some lines"));
    }
    let max_size = size.bytes;
    Ok((max_size > 0).then_some(Rotation { max_size, keep }))
}

fn kept(text: &OsStr) -> Result<u16, UsageError> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| (1..=Rotation::MOST).contains(number)).ok_or_else(|| {
        let text = shown(text.as_bytes());
        UsageError(format!(
            "Cannot use --log-keep {text}: give a whole number from 1 to {}, such as --log-keep 5; with \
             --log-max-size off nothing is rotated",
            Rotation::MOST
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rotation_follows_from_a_size_and_a_number() {
        for (max_size, keep, expected) in [
            ("64MiB", "5", Some((64 << 20, 5))),
            ("1000B", "1", Some((1000, 1))),
            ("10GB", "999", Some((10_000_000_000, 999))),
            ("0", "5", None),
            ("0MiB", "5", None),
            ("off", "5", None),
        ] {
            let rotation = rotation(max_size.as_ref(), keep.as_ref()).expect(max_size);
            assert_eq!(
                rotation.map(|rotation| (rotation.max_size, rotation.keep)),
                expected,
                "{max_size} {keep}"
            );
        }
    }

    #[test]
    fn what_is_no_size_or_number_is_refused_by_name_with_a_valid_value() {
        for (max_size, keep, named, valid) in [
            ("large", "5", "--log-max-size large", "--log-max-size 64MiB"),
            ("-1", "5", "--log-max-size -1", "--log-max-size 64MiB"),
            ("", "5", "--log-max-size \"\"", "--log-max-size 64MiB"),
            ("9EiB", "5", "--log-max-size 9EiB", "--log-max-size 64MiB"),
            ("64MiB", "0", "--log-keep 0", "--log-keep 5"),
            ("64MiB", "1000B", "--log-keep 1000", "--log-keep 5"),
            ("off", "many", "--log-keep many", "--log-keep 5"),
        ] {
            let message = rotation(max_size.as_ref(), keep.as_ref()).expect_err(named).to_string();
            assert!(message.contains(named) && message.contains(valid), "{message}");
            assert!(message.starts_with(char::is_uppercase) && !message.ends_with('.'), "{message}");
        }
    }
}
