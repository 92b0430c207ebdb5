//! Refusals of a filesystem or the kernel for one entry: a problem of this entry, reported at every pass until it is
//! over. Everything else is done.

use crate::failing_disks::Bench;
use crate::harness::cases::Cases;
use crate::harness::images::EXT4;
use crate::harness::images::{EXFAT_FUSE, mounted};
use crate::harness::kit::{Mount, Pass, has, sh};
use crate::harness::verdict::Before;
use crate::support::fsops::{access_list, chmod, link, set_attribute};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

pub(crate) fn run(cases: &Cases, memory: &Path) {
    for flag in ["i", "a"] {
        cases.run(&format!("files of the replica with chattr +{flag}"), || files_with(memory, flag));
        cases.run(&format!("folders of the replica with chattr +{flag}"), || folders_with(memory, flag));
        cases.run(&format!("a source with chattr +{flag}"), || source_with(memory, flag));
    }
    cases.run("an attribute that is too large", || large_attribute(memory));
    cases.run("an access list that the replica cannot hold", || no_access_lists(memory));
    cases.run("setgid without the right to set it", || no_setgid(memory));
    for error in ["EINVAL", "EPERM"] {
        cases.run(&format!("one owner is refused ({error})"), || one_owner(memory, error));
    }
    cases.run("every file belongs to root, for an ordinary user", || forced_owner(memory));
    cases.run("only upper and lower case differ", || case_only(memory));
}

/// The paths of the problems of a pass, sorted, each once.
fn problems(pass: &Pass) -> Vec<String> {
    let mut paths: Vec<String> =
        pass.of("problem").map(|it| it["path"].as_str().unwrap_or_default().to_owned()).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, content).expect("written");
    }
}

/// Inode flags of some entries, removed on drop, also when the check fails: otherwise nobody could remove the entries.
struct Flags<'a> {
    root: &'a Path,
    flag: &'a str,
    names: &'a [&'a str],
}

impl Flags<'_> {
    fn on<'a>(root: &'a Path, flag: &'a str, names: &'a [&'a str]) -> Flags<'a> {
        let flags = Flags { root, flag, names };
        flags.change("+");
        flags
    }

    fn change(&self, sign: &str) {
        for name in self.names {
            sh("chattr", &[OsStr::new(&format!("{sign}{}", self.flag)), self.root.join(name).as_os_str()]);
        }
    }
}

impl Drop for Flags<'_> {
    fn drop(&mut self) {
        self.change("-");
    }
}

fn files_with(memory: &Path, flag: &str) {
    let bench = Bench::new(memory, &EXT4);
    let Scratch { source, replica, .. } = &bench.place;
    write(
        source,
        &[("content", "new"), ("linked", "linked"), ("mode", "same"), ("other", "new"), ("fine", "fine")],
    );
    link(&source.join("linked"), &source.join("second")).expect("linked");
    chmod(&source.join("mode"), 0o600).expect("a mode");
    write(
        replica,
        &[("content", "old"), ("linked", "linked"), ("mode", "same"), ("other", "old"), ("extra", "extra")],
    );
    chmod(&replica.join("mode"), 0o640).expect("a mode");
    crate::support::fsops::set_mtime(&source.join("linked"), 1, 0).expect("a time");
    crate::support::fsops::set_mtime(&replica.join("linked"), 1, 0).expect("a time");
    let before = Before::of(&bench.place);
    let flags = Flags::on(replica, flag, &["content", "linked", "mode", "extra"]);
    for _ in 0..2 {
        let pass = bench.place.once(&[]);
        assert_eq!(pass.code, Some(23), "{:?}", pass.told());
        before.check(&bench.place, false);
        assert_eq!(problems(&pass), ["content", "extra", "mode", "second"], "{:?}", pass.told());
        assert_eq!(fs::read(replica.join("content")).expect("there"), b"old");
        assert_eq!(fs::read(replica.join("other")).expect("there"), b"new");
        assert_eq!(fs::read(replica.join("second")).expect("a file of its own"), b"linked");
        assert!(replica.join("extra").exists() && replica.join("fine").exists());
    }
    drop(flags);
    before.heals(&bench.place);
}

fn folders_with(memory: &Path, flag: &str) {
    let bench = Bench::new(memory, &EXT4);
    let Scratch { source, replica, .. } = &bench.place;
    write(
        source,
        &[
            ("folder/content", "new"),
            ("folder/new", "new"),
            ("folder/below/content", "new"),
            ("other", "new"),
        ],
    );
    write(
        replica,
        &[
            ("folder/content", "old"),
            ("folder/extra", "x"),
            ("folder/below/content", "old"),
            ("other", "old"),
        ],
    );
    write(replica, &[("gone/extra", "extra")]);
    let before = Before::of(&bench.place);
    let flags = Flags::on(replica, flag, &["folder", "gone"]);
    let mut names = None;
    for _ in 0..3 {
        let pass = bench.place.once(&[]);
        assert_eq!(pass.code, Some(23), "{:?}", pass.told());
        before.check(&bench.place, false);
        assert_eq!(fs::read(replica.join("folder/content")).expect("there"), b"old");
        assert_eq!(fs::read(replica.join("folder/below/content")).expect("there"), b"new");
        assert_eq!(fs::read(replica.join("other")).expect("there"), b"new");
        assert!(replica.join("folder/extra").exists() && replica.join("gone/extra").exists());
        // Entries that cannot be renamed or removed must not multiply from pass to pass.
        let now = fs::read_dir(replica.join("folder")).expect("there").count();
        assert_eq!(*names.get_or_insert(now), now, "names in a folder with +{flag}: {:?}", pass.told());
    }
    drop(flags);
    before.heals(&bench.place);
}

fn source_with(memory: &Path, flag: &str) {
    let mut bench = Bench::new(memory, &EXT4);
    bench.place.replica = bench.place.at("replica");
    bench.place.source = bench.mount_point().join("source");
    let source = &bench.place.source;
    write(source, &[("folder/file", "content"), ("linked", "linked")]);
    link(&source.join("linked"), &source.join("folder/second")).expect("linked");
    let _flags = Flags::on(source, flag, &["folder/file", "linked", "folder", "."]);
    let pass = bench.place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    bench.place.assert_in_step("flags are not mirrored");
}

fn large_attribute(memory: &Path) {
    let bench = Bench::new(memory, &EXT4);
    let Scratch { source, replica, .. } = &bench.place;
    write(source, &[("large", "content"), ("small", "content")]);
    set_attribute(&source.join("large"), "user.large", &[7; 30_000]).expect("the source holds it");
    set_attribute(&source.join("large"), "user.small", b"kept").expect("the source holds it");
    set_attribute(&source.join("small"), "user.small", b"kept").expect("the source holds it");
    for created in [2, 0] {
        let pass = bench.place.once(&[]);
        assert_eq!((pass.code, pass.count("created")), (Some(23), created), "{:?}", pass.told());
        assert_eq!(problems(&pass), ["large"], "{:?}", pass.told());
        assert_eq!(fs::read(replica.join("large")).expect("there"), b"content");
        for name in ["large", "small"] {
            let mut value = [0; 10];
            let length = rustix::fs::lgetxattr(replica.join(name), "user.small", &mut value[..]);
            assert_eq!(length, Ok(4), "the other attribute of {name}");
        }
    }
    rustix::fs::lremovexattr(source.join("large"), "user.large").expect("removed");
    assert_eq!(bench.place.once(&[]).code, Some(0));
    bench.place.assert_in_step("after the attribute is gone");
}

/// The group bits of a file with an ACL are the ACL's mask: without the ACL they must not become the group's.
fn no_access_lists(memory: &Path) {
    let mut place = Scratch::below(memory);
    let ramfs = ["-t", "ramfs", "ramfs"].map(OsStr::new);
    let _mount = Mount::new(&place.at("mnt"), "mount", &ramfs).expect("a ramfs");
    place.replica = place.at("mnt").join("replica");
    for (name, time) in [("secret", 1), ("changed", 2)] {
        write(&place.source, &[(name, name)]);
        chmod(&place.source.join(name), 0o600).expect("a mode");
        crate::support::fsops::set_mtime(&place.source.join(name), time, 0).expect("a time");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    // user::rwx user:1000:rwx group::r-x mask::rwx other::r--
    let list = access_list(1000, 7);
    for name in ["secret", "new"] {
        write(&place.source, &[(name, name)]);
        set_attribute(&place.source.join(name), "system.posix_acl_access", &list).expect("an access list");
        assert_eq!(fs::metadata(place.source.join(name)).expect("there").mode() & 0o777, 0o774);
    }
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!(pass.not_held(), ["acls"], "{:?}", pass.told());
    for name in ["secret", "new"] {
        let mode = fs::metadata(place.replica.join(name)).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o754, "{name}: {mode:o}, and the mask must not become the group's right");
    }
    let again = place.passes(2);
    assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
}

fn no_setgid(memory: &Path) {
    let place = Scratch::below(memory);
    write(&place.source, &[("setgid", "content"), ("plain", "content")]);
    chown(place.source.join("setgid"), Some(0), Some(44)).expect("an owner");
    chmod(&place.source.join("setgid"), 0o2755).expect("a mode");
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set", "-fsetid", "--inh-caps", "-fsetid", "--"]);
    let pass = place.run_command(place.file_sync_under(without, &["--once"]));
    assert_eq!((pass.code, pass.not_held()), (Some(0), vec!["mode".to_owned()]), "{:?}", pass.told());
    let mode = fs::metadata(place.replica.join("setgid")).expect("its content is there").mode() & 0o7777;
    assert_eq!(mode, 0o755);
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("with the right again");
}

/// A pass in which some calls of a kind fail.
fn pass_with_fault(place: &Scratch, call: &str, fault: &str) -> Pass {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:error={fault}")]);
    place.run_command(place.file_sync_under(strace, &["--once", "--threads", "1"]))
}

fn one_owner(memory: &Path, error: &str) {
    if !has("strace") {
        leave_out("strace, which refuses the owner, is not installed");
    }
    let place = Scratch::below(memory);
    for name in ["a", "b", "c"] {
        write(&place.source, &[(name, "content")]);
        chown(place.source.join(name), Some(1000), Some(1001)).expect("an owner");
    }
    // The chown is retried once, and both tries are repeated before the program gives up.
    let pass = pass_with_fault(&place, "fchown", &format!("{error}:when=1..4"));
    assert_eq!(fs::read(place.replica.join("a")).expect("there"), b"content");
    assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["a".to_owned()]), "{:?}", pass.told());
    assert_eq!(pass.not_held(), [""; 0], "a new file would have got its owner");
    for name in ["b", "c"] {
        assert_eq!(fs::metadata(place.replica.join(name)).expect("there").uid(), 1000, "{name}");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("after the refusal");
}

fn forced_owner(memory: &Path) {
    let mut place = Scratch::below(memory);
    let _mount = mounted(&place, &EXFAT_FUSE).unwrap_or_else(|why| leave_out(&format!("exfat-fuse: {why}")));
    place.replica = place.at("mnt").join("replica");
    write(&place.source, &[("file", "content"), ("folder/file", "content")]);
    for path in [place.path(), &place.source, &place.source.join("folder")] {
        chmod(path, 0o777).expect("a mode");
    }
    for expected in [None, Some(0)] {
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let pass = place.run_command(place.file_sync_under(user, &["--once"]));
        assert_eq!(pass.code, Some(0), "{:?}", pass.told());
        assert!(expected.is_none_or(|operations| pass.operations() == operations), "{:?}", pass.told());
    }
    assert_eq!(fs::read(place.replica.join("folder/file")).expect("there"), b"content");
    assert_eq!(fs::metadata(place.replica.join("file")).expect("there").uid(), 0);
}

fn case_only(memory: &Path) {
    let mut place = Scratch::below(memory);
    let _mount = mounted(&place, &EXFAT_FUSE).unwrap_or_else(|why| leave_out(&format!("exfat-fuse: {why}")));
    place.replica = place.at("mnt").join("replica");
    write(&place.source, &[("readme", "content"), ("folder/file", "content")]);
    assert_eq!(place.once(&[]).code, Some(0));
    for (old, new) in [("readme", "README"), ("folder", "Folder")] {
        fs::rename(place.source.join(old), place.source.join(new)).expect("renamed");
    }
    let renamed = place.passes(2);
    assert_eq!((renamed.code, renamed.operations()), (Some(0), 0), "{:?}", renamed.told());
    let mut names: Vec<_> =
        fs::read_dir(&place.replica).expect("there").map(|it| it.expect("there").file_name()).collect();
    names.sort();
    assert_eq!(names, ["Folder", "README"]);
    assert_eq!(fs::read(place.replica.join("Folder/file")).expect("there"), b"content");
    // Two names that are one on this filesystem: one of them is a problem, and neither content is lost for the other.
    write(&place.source, &[("ReadMe", "another")]);
    let clash = place.once(&[]);
    assert_eq!((clash.code, problems(&clash).len()), (Some(23), 1), "{:?}", clash.told());
    let kept = fs::read(place.replica.join("README")).expect("there");
    assert!(kept == b"content" || kept == b"another", "{kept:?}");
}
