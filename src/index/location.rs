//! The path of the database of a pair.

use crate::index::store::Roots;
use crate::model::digest::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The database of a pair in a state folder: the replica's name, for people, and a part of a digest of both paths.
pub(crate) fn database(state_dir: &Path, roots: &Roots) -> PathBuf {
    let mut hasher = Hasher::new();
    hasher.update(roots.source.as_os_str().as_bytes());
    // No path has a NUL.
    hasher.update(&[0]);
    hasher.update(roots.replica.as_os_str().as_bytes());
    let digest = hasher.finish().to_string();
    let name = name_of(&roots.replica);
    state_dir.join(format!("{name}-{}.db", digest.get(..16).unwrap_or_default()))
}

/// Whether a database may be that of a replica, by its name.
pub(crate) fn may_be_of(database: &Path, replica: &Path) -> bool {
    let stem = database.file_stem().unwrap_or_default().to_string_lossy();
    stem.rsplit_once('-').is_some_and(|(name, _)| name == name_of(replica))
}

fn name_of(replica: &Path) -> String {
    replica.file_name().map(|name| plain(name.as_bytes())).unwrap_or_default()
}

/// A name in characters that need no quotes.
fn plain(name: &[u8]) -> String {
    const LONGEST: usize = 40;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.iter().take(LONGEST).map(|byte| if is_plain(*byte) { char::from(*byte) } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, replica: &str) -> String {
        let roots = Roots { source: source.into(), replica: replica.into() };
        database(Path::new("/state"), &roots).to_str().unwrap().to_owned()
    }

    #[test]
    fn each_pair_has_a_file_of_its_own_with_a_name_that_says_something() {
        let photos = of("/srv/photos", "/mnt/usb/photos");
        assert!(
            photos.starts_with("/state/photos-") && photos.len() == "/state/photos-".len() + 19,
            "{photos}"
        );
        assert_eq!(photos, of("/srv/photos", "/mnt/usb/photos"));
        assert_ne!(photos, of("/srv/photo", "s/mnt/usb/photos"));
        assert!(of("/a", "/b/my \"films\"/\n").starts_with("/state/_-"));
        assert!(of("/a", "/").starts_with("/state/-"));
        assert!(of("/a", &"x".repeat(300)).len() < 100);
        let replica = Path::new("/mnt/usb/photos");
        assert!(may_be_of(Path::new(&photos), replica));
        assert!(!may_be_of(Path::new(&of("/a", "/mnt/usb/photos-2026")), replica));
    }
}
