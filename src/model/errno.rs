//! The errors of the system, and what kinds of them there are.

pub use rustix::io::Errno;

/// True when the error says that the path is no longer what the listing said: gone, or of another kind.
pub(crate) fn is_gone(errno: Errno) -> bool {
    errno == Errno::NOENT || errno == Errno::NOTDIR || errno == Errno::LOOP
}

/// True when a look at a name in an open folder says that there is no such name. `ENOTDIR` and `ELOOP` are nonsense there,
/// and a name that is lost on the server (`ESTALE`) is none: they prove no more and no less.
pub(crate) fn is_denial(errno: Errno) -> bool {
    is_gone(errno) || errno == Errno::STALE
}

/// True when the error says that there is no room left (on the disk, or in the quota).
pub(crate) fn is_full(errno: Errno) -> bool {
    errno == Errno::NOSPC || errno == Errno::DQUOT
}

/// True when the error says that a filesystem does not know what was asked of it.
pub(crate) fn is_unsupported(errno: Errno) -> bool {
    errno == Errno::OPNOTSUPP || errno == Errno::NOTSUP || errno == Errno::NOSYS || errno == Errno::NOTTY
}

/// True when the error says something of this moment and not of the entry: too many open files, too little memory, a
/// signal, a file handle that a server has forgotten.
pub(crate) fn is_passing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::AGAIN
            | Errno::INTR
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::NOBUFS
            | Errno::STALE
    )
}
