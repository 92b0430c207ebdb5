//! `serialize_with` functions for the JSON log, and the encoding of a name that is not UTF-8.

use crate::model::path::RelPath;
use serde::ser::{SerializeMap, Serializer};
use std::ffi::CStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A name or path whose raw bytes are written as text.
pub(crate) trait Name {
    /// The bytes; none when the name is absent, and its field is left out.
    fn bytes(&self) -> Option<&[u8]>;
}

impl Name for RelPath {
    fn bytes(&self) -> Option<&[u8]> {
        Some(if self.is_root() { b"." } else { self.as_bytes() })
    }
}

impl Name for Path {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self.as_os_str().as_bytes())
    }
}

impl Name for PathBuf {
    fn bytes(&self) -> Option<&[u8]> {
        self.as_path().bytes()
    }
}

impl Name for CStr {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self.to_bytes())
    }
}

impl Name for [u8] {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl<T: Name + ?Sized> Name for &T {
    fn bytes(&self) -> Option<&[u8]> {
        (**self).bytes()
    }
}

impl<T: Name> Name for Option<T> {
    fn bytes(&self) -> Option<&[u8]> {
        self.as_ref().and_then(Name::bytes)
    }
}

/// One function per key, for flattened fields that hold a name: `path` writes `path`, and after it `path_bytes` if the
/// name is not UTF-8.
macro_rules! keys {
    ($($key:ident),*) => {
        $(pub(crate) fn $key<S: Serializer>(name: &impl Name, serializer: S) -> Result<S::Ok, S::Error> {
            write_name(serializer, stringify!($key), concat!(stringify!($key), "_bytes"), name.bytes())
        })*
    };
}

keys!(
    path,
    source,
    replica,
    log,
    target,
    linked_to,
    moved_from,
    moved_to,
    renamed_from,
    with,
    place,
    xattr,
    index
);

/// Writes a name as text. If it is not UTF-8, the text has replacement characters, and a second field has the bytes as
/// hexadecimal digits.
fn write_name<S: Serializer>(
    serializer: S,
    key: &'static str,
    bytes_key: &'static str,
    bytes: Option<&[u8]>,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some(bytes) = bytes {
        let text = String::from_utf8_lossy(bytes);
        map.serialize_entry(key, &text)?;
        if text.as_bytes() != bytes {
            let mut digits = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                let written = write!(digits, "{byte:02x}");
                debug_assert!(written.is_ok(), "writing to a String cannot fail");
            }
            map.serialize_entry(bytes_key, &digits)?;
        }
    }
    map.end()
}

/// Writes seconds, rounded to milliseconds: more digits would be false precision.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// As [`seconds`], for fields that are left out when there is none.
pub(crate) fn seconds_if_any<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Writes an empty digest: the content could not be read. For fields that are left out when it could.
pub(crate) fn no_digest<S: Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("")
}

/// Whether a flag is not set: its field is left out.
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
