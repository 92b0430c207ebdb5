//! Creates one replica entry as a private temporary (mode 0600) with its final metadata. File data is copied by
//! copy.rs.

use crate::apply::copy::Original;
use crate::apply::error::Failed;
use crate::apply::metadata::probe::{can_make_another, can_make_files};
use crate::apply::metadata::{Model, Target, extent_of, set_metadata};
use crate::apply::publish::discard;
use crate::apply::staged::Destination;
use crate::apply::staged::{Fsync, Published, Staged};
use crate::context::Context;
use crate::fs::file::create_private;
use crate::fs::metadata::Subject;
use crate::fs::{Errno, dirent, is_unsupported, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

/// An entry that was not created.
#[derive(Debug)]
pub(crate) struct NotStaged {
    /// The failure.
    pub failed: Failed,
    /// True when a partial entry is left, which could be neither removed nor renamed.
    pub remains: bool,
}

/// Creates the source's entry of this name, of any kind but a folder, under the name `temporary`. Only in a folder that
/// is still private may that be its final name.
///
/// # Errors
/// See [`NotStaged`]. An entry that had the name before keeps it.
pub(crate) fn make_temporary(
    context: &Context<'_>,
    at: Destination<'_>,
    source: &Entry,
    temporary: CString,
    sync: Fsync,
) -> Result<Staged, NotStaged> {
    let made = match source.kind {
        Kind::File => copy_file(context, at, source, &temporary, sync),
        Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
            make_special(context, at, source, &temporary).map(|made| (made, false))
        }
        Kind::Folder | Kind::Socket => Err(Failed::Vanished.into()),
    };
    match made {
        Ok((made, waits)) => Ok(Staged { made, temporary, waits }),
        // Only an entry that was created here is discarded: on a case-insensitive filesystem the name may be another
        // file's. An unguessable name is ours in any case.
        Err(Incomplete { failed, is_there }) => {
            let is_ours = is_there || *temporary != *at.name;
            Err(NotStaged { failed, remains: is_ours && !discard(at.replica, &temporary) })
        }
    }
}

/// A failure to complete an entry.
struct Incomplete {
    failed: Failed,
    /// True when a partial entry was created and exists.
    is_there: bool,
}

impl From<Failed> for Incomplete {
    /// Nothing was created.
    fn from(failed: Failed) -> Incomplete {
        Incomplete { failed, is_there: false }
    }
}

impl Incomplete {
    fn created(failed: Failed) -> Incomplete {
        Incomplete { failed, is_there: true }
    }
}

/// Symbolic links, FIFOs, device nodes.
fn make_special(
    context: &Context<'_>,
    at: Destination<'_>,
    source: &Entry,
    temporary: &CStr,
) -> Result<Published, Incomplete> {
    let mut target = None;
    let made = match source.kind {
        Kind::Symlink => {
            let text = match dirent::read_symlink(at.source, at.name) {
                Err(Errno::INVAL) => return Err(Failed::Vanished.into()),
                read => read.map_err(Failed::source(ProblemKind::ReadSymlink))?,
            };
            let made = dirent::make_symlink(&text, at.replica, temporary);
            target = Some(text);
            made
        }
        Kind::Fifo => dirent::make_fifo(at.replica, temporary),
        Kind::CharDevice | Kind::BlockDevice => {
            dirent::make_device(at.replica, temporary, source.kind == Kind::BlockDevice, source.rdev)
        }
        Kind::File | Kind::Folder | Kind::Socket => return Err(Failed::Vanished.into()),
    };
    if let Err(errno) = made {
        if errno == Errno::EXIST {
            return Err(Failed::Taken.into());
        }
        // EPERM: the filesystem has no such entries (symlink(2), mknod(2)), or the folder is immutable, where not even
        // a file can be created. Some FUSE filesystems return other errors (cryfs: ERANGE). EIO: exfat-fuse creates a
        // regular file instead, and the kernel rejects the result.
        let is_there = errno == Errno::IO
            && stat::entry_at(at.replica, temporary).is_ok_and(|entry| entry.kind != source.kind);
        let refused = is_unsupported(errno) || (is_refusal(errno) && can_make_files(at.replica)) || is_there;
        // A policy or a server may refuse a single device, or a single target.
        let is_of_all = |feature: &Feature| !can_make_another(at.replica, *feature);
        if refused && let Some(feature) = Feature::needed_by(source).filter(is_of_all) {
            at.filesystem.learn_missing(feature);
            context.reporter.not_held(feature);
            return Err(Incomplete { failed: Failed::NotHeld, is_there });
        }
        return Err(Incomplete { failed: Failed::replica(ProblemKind::CreateEntry)(errno), is_there });
    }
    // Opening a FIFO or a device could block or have side effects; its metadata is reached by name.
    let new = Subject::Named(at.replica, temporary);
    let subject = Subject::Named(at.source, at.name);
    let model = Model { entry: source, subject, extent: extent_of(source.kind, context) };
    let new_target = Target { subject: new, folder: at.replica, filesystem: at.filesystem };
    let set = set_metadata(context, model, new_target);
    Published::of(set, new, None, target, false).map_err(Incomplete::created)
}

/// Whether an error may say that the filesystem has no entries of a kind.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::INVAL | Errno::RANGE | Errno::NODEV | Errno::NXIO)
}

/// Copies a regular file under a temporary name. True when it has not been fsynced yet.
fn copy_file(
    context: &Context<'_>,
    at: Destination<'_>,
    seen: &Entry,
    temporary: &CStr,
    sync: Fsync,
) -> Result<(Published, bool), Incomplete> {
    let original = Original::open(context, at, seen)?;
    let copy = match create_private(at.replica, temporary) {
        Err(Errno::EXIST) => return Err(Failed::Taken.into()),
        copy => copy.map_err(Failed::replica(ProblemKind::CreateTemporaryFile))?,
    };
    original.copy_into(context, at, copy.as_fd(), sync).map_err(Incomplete::created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::Filesystem;
    use crate::capabilities::registry::Filesystems;
    use crate::context::reporter::Reporter;
    use crate::control::Interrupt;
    use crate::fs::dir::Dir;
    use crate::index::Ledger;
    use crate::test_strategies::Deaf;
    use crate::workers::Workers;
    use std::fs;
    use std::path::Path;

    fn making(work: impl FnOnce(&Context<'_>, Destination<'_>, &Path)) {
        let scratch = tempfile::tempdir().unwrap();
        let [source, replica] = ["source", "replica"].map(|name| scratch.path().join(name));
        for path in [&source, &replica] {
            fs::create_dir(path).unwrap();
        }
        let [from, to] = [&source, &replica].map(|path| Dir::root(path, 4).unwrap());
        let (interrupt, filesystems, filesystem) =
            (Interrupt::new(), Filesystems::default(), Filesystem::default());
        let workers = Workers::new(1, 1).unwrap();
        let (from_fd, to_fd) = (from.open().unwrap(), to.open().unwrap());
        let context = Context::new(
            Reporter::new(&Deaf, 1, Ledger::off()),
            (&interrupt, &workers),
            (&source, from),
            (&replica, Some(to)),
            (&filesystems, None),
        );
        let at = Destination {
            source: from_fd.as_fd(),
            replica: to_fd.as_fd(),
            filesystem: &filesystem,
            name: c"a",
            expected: None,
            content_is_right: false,
            recorded: None,
        };
        work(&context, at, scratch.path());
    }

    /// As on a case-insensitive filesystem, where another name of the source has been created already.
    #[test]
    fn what_has_the_name_stays_whatever_fails() {
        type Case = (&'static str, fn(&Path));
        let cases: [Case; 4] = [
            ("it can be made", |_| {}),
            ("it is gone", |path| fs::remove_file(path).unwrap()),
            ("it is a folder now", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            ("it is a link now", |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("elsewhere", path).unwrap();
            }),
        ];
        for (what, happens) in cases {
            for is_link in [false, true] {
                making(|context, at, scratch| {
                    let path = scratch.join("source/a");
                    if is_link {
                        std::os::unix::fs::symlink("target", &path).unwrap();
                    } else {
                        fs::write(&path, "content").unwrap();
                    }
                    let seen = stat::entry_at(at.source, at.name).unwrap();
                    happens(&path);
                    fs::write(scratch.join("replica/a"), "another").unwrap();
                    let made = make_temporary(context, at, &seen, c"a".to_owned(), Fsync::Grouped);
                    let unmade = made.expect_err(what);
                    assert!(!unmade.remains, "{what}");
                    assert_eq!(fs::read(scratch.join("replica/a")).unwrap(), b"another", "{what}");
                });
            }
        }
    }

    #[test]
    fn a_copy_that_reads_back_with_another_content_is_a_failure() {
        use crate::apply::copy::read_back;
        use crate::model::digest::Hasher;
        making(|context, _, scratch| {
            let open = |path: &str| fs::File::open(scratch.join(path)).unwrap();
            let mut hasher = Hasher::new();
            hasher.update(b"content");
            let digest = hasher.finish();
            fs::write(scratch.join("source/a"), "content").unwrap();
            for (stored, is_right) in
                [("content", true), ("c0ntent", false), ("conten", false), ("content ", false)]
            {
                fs::write(scratch.join("replica/a"), stored).unwrap();
                let (source, copy) = (open("source/a"), open("replica/a"));
                let files = (source.as_fd(), copy.as_fd());
                let by_digest = read_back(context, files, 7, Some(digest));
                assert_eq!(by_digest.is_ok(), is_right, "{stored}");
                if stored.len() == 7 {
                    assert_eq!(
                        read_back(context, files, 7, None).is_ok(),
                        is_right,
                        "{stored}, without a digest"
                    );
                }
            }
        });
    }

    #[test]
    fn what_was_begun_goes_when_it_fails() {
        making(|context, at, scratch| {
            fs::write(scratch.join("source/a"), "content").unwrap();
            let seen = stat::entry_at(at.source, at.name).unwrap();
            context.interrupt.stop(crate::model::signal::Signal::Terminate);
            let unmade = make_temporary(context, at, &seen, c"a".to_owned(), Fsync::Grouped).unwrap_err();
            assert_eq!((unmade.failed, unmade.remains), (Failed::Halted, false));
            assert_eq!(fs::read_dir(scratch.join("replica")).unwrap().count(), 0);
        });
    }
}
