//! Every system call of the program: the only platform-specific module.
//!
//! All calls inside the two trees are relative to open folders with `O_NOFOLLOW`, so no path is resolved twice and no
//! swapped symbolic link can lead outside. Names come as `&CStr`, straight from the kernel's listing.

pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod dir;
pub(crate) mod dirent;
pub(crate) mod encryption;
pub(crate) mod ext4;
pub(crate) mod file;
pub(crate) mod lease;
pub(crate) mod listing;
pub(crate) mod locked;
pub(crate) mod log_file;
pub(crate) mod magic;
pub(crate) mod mappings;
pub(crate) mod memory;
pub(crate) mod metadata;
mod mounts;
pub(crate) mod priority;
pub(crate) mod process;
pub(crate) mod read_only;
pub(crate) mod resolve;
pub(crate) mod rights;
pub(crate) mod room;
pub(crate) mod roots;
pub(crate) mod rotated;
pub(crate) mod rules_file;
pub(crate) mod spelled;
pub(crate) mod stamp;
pub(crate) mod stat;
pub(crate) mod state_file;
pub(crate) mod terminal;
pub(crate) mod uncached;
pub(crate) mod way;
pub(crate) mod xattr;

pub(crate) use crate::fs::mounts::{is_lazy, points_below};
pub(crate) use crate::model::errno::{Errno, is_denial, is_full, is_gone, is_passing, is_unsupported};

/// The boot of the computer, as a word that no other boot has; empty where the kernel does not tell.
pub(crate) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// Retries once on ENOENT, ESTALE and EINTR: failing disks and NFS return them spuriously, and absence must be proven
/// before a deletion.
///
/// # Errors
/// As the second call, or as the first where its error is another one.
pub(crate) fn retry_absence<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    match call() {
        Err(Errno::NOENT | Errno::STALE | Errno::INTR) => call(),
        answered => answered,
    }
}

/// Retries once where the error says that the filesystem, or the system, does not support the call: that is learned for
/// a whole filesystem, and a single answer is no proof.
///
/// # Errors
/// As [`retry_absence`].
pub(crate) fn retry_refusal<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    match call() {
        Err(errno) if is_unsupported(errno) || matches!(errno, Errno::PERM | Errno::INVAL) => call(),
        answered => answered,
    }
}

/// Raises the soft limit of open files to the hard one: the soft one, 1,024 on most systems, protects programs that use
/// `select(2)`, which this one does not.
pub fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused where the hard limit exceeds `fs.nr_open`: then the soft limit has to suffice.
        match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// The soft limit of open files.
pub(crate) fn open_file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
