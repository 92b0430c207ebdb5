//! Filesystem refusals and limited rights of the program: everything else is mirrored all the same, a copy grants
//! nobody more than its original, nothing is set through a symbolic link, and a second pass finds nothing to do.

use crate::fuse::refusing::{Mounted, Oddities};
use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Pass, has, may_be_user, may_mount, sh, skip, tell};
use crate::harness::rights::{ACCESS_LIST, may};
use crate::support::fsops::{access_list, chmod, make_node, set_attribute, set_mtime};
use crate::support::leave_out::leave_out;
use crate::support::scratch::{NOBODY, Scratch};
use crate::support::tree::Tree;
use rustix::fs::{FileType, makedev};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run() {
    if !may_mount() {
        return skip("abilities", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("abilities");
    let memory = Scratch::with_source();
    let _memory = Mount::tmpfs(&memory.at("memory"), "size=1g,mode=1777");
    let memory = memory.at("memory");
    for (name, errno, telling) in ERRORS {
        cases.run(&format!("an attribute of the source that cannot be read ({name})"), || {
            unread_in_source(&memory, errno, telling);
        });
        cases.run(&format!("an attribute of the replica that cannot be read ({name})"), || {
            unread_in_replica(&memory, errno, telling);
        });
        cases.run(&format!("an access list that cannot be read ({name})"), || unread_list(&memory, errno));
    }
    cases.run("root is refused owners", || squashed(&memory));
    cases.run("one group of the user is refused", || refused_group(&memory));
    cases.run("an owner is refused for a moment", || passing_refusal(&memory));
    cases.run("one owner is refused", || refused_user(&memory));
    cases.run("a setuid bit that a policy refuses", || no_setuid(&memory));
    for follows in [true, false] {
        let name = if follows { "their targets" } else { "themselves" };
        cases.run(&format!("what is set of links is set of {name}"), || links(&memory, follows));
    }
    cases.run("links do not tell where they lead", || hidden_targets(&memory));
    cases.run("one time alone is dropped", || single_times(&memory));
    cases.run("one device is refused", || one_device(&memory));
    cases.run("every device is refused", || every_device(&memory));
    cases.run("a whiteout on an overlayfs", || whiteout(&memory));
    cases.run("folders of another user that cannot be read", || unreadable_folders(&memory));
    for lacking in ["chown", "fowner", "dac_override", "mknod", "setfcap", "sys_admin", "fsetid", "all"] {
        cases.run(&format!("root without the capability {lacking}"), || root_without(&memory, lacking));
    }
    for user in &USERS {
        cases.run(&format!("an ordinary user with {}", user.name), || user_with(&memory, user));
    }
    cases.run("root in a user namespace", || user_namespace(&memory));
    cases.run("each mount of one filesystem is known by itself", || mounts_apart(&memory));
    cases.finish();
}

/// The report of an unreadable xattr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    NoticeOnce,
    ProblemOnce,
    ProblemEach,
}

const ERRORS: [(&str, Errno, Telling); 8] = [
    ("EOPNOTSUPP", Errno::OPNOTSUPP, Telling::NoticeOnce),
    ("EINVAL", Errno::INVAL, Telling::NoticeOnce),
    ("ENODATA", Errno::NODATA, Telling::NoticeOnce),
    ("EPERM", Errno::PERM, Telling::ProblemOnce),
    ("EACCES", Errno::ACCESS, Telling::ProblemOnce),
    ("EIO", Errno::IO, Telling::ProblemEach),
    ("ENOENT", Errno::NOENT, Telling::ProblemEach),
    ("ESTALE", Errno::STALE, Telling::ProblemEach),
];

/// Mounts a filesystem with these oddities, or leaves the check out.
fn mounted(at: &Path, oddities: Oddities) -> Mounted {
    Mounted::new(at, oddities).unwrap_or_else(|error| leave_out(&format!("FUSE cannot be mounted: {error}")))
}

fn unreadable(name: &'static str, errno: Errno) -> Oddities {
    Oddities { unreadable: vec![(name, errno.raw_os_error())], ..Oddities::default() }
}

/// A file with its owner, mode and time.
fn file(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, content).expect("written");
    chmod(path, mode).expect("a mode");
    set_mtime(path, 1_000_000_000, 0).expect("a time");
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 100];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let facts = fs::symlink_metadata(path).expect("there");
    (facts.uid(), facts.gid())
}

/// Asserts that no work is left, also for a new process.
fn quiet(place: &Scratch, code: i32) {
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!((pass.code, pass.operations()), (Some(code), 0), "{:?}", pass.told());
    }
}

fn check_telling(pass: &Pass, telling: Telling, files: usize) {
    let notices = pass.of("notice").filter(|it| it["notice"] == "xattr_unread").count();
    let (code, expected) = match telling {
        Telling::NoticeOnce => (0, (1, 0)),
        Telling::ProblemOnce => (23, (0, 1)),
        Telling::ProblemEach => (23, (0, files)),
    };
    let problems = pass.of("problem").count();
    assert_eq!((pass.code, (notices, problems)), (Some(code), expected), "{:?}", pass.told());
}

/// The other xattrs are mirrored. The unreadable one stays in the replica, on an unchanged and on a replaced file.
fn unread_in_source(memory: &Path, errno: Errno, telling: Telling) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities::default());
    place.source = place.at("mnt").join("source");
    for name in ["same", "changed", "new"] {
        file(&place.source.join(name), "new content", 0o644);
        set_attribute(&place.source.join(name), "user.good", name.as_bytes()).expect("an attribute");
    }
    for (name, content) in [("same", "new content"), ("changed", "old")] {
        let path = place.replica.join(name);
        file(&path, content, 0o644);
        set_attribute(&path, "user.bad", b"kept").expect("an attribute");
        set_attribute(&path, "user.extra", b"goes").expect("an attribute");
    }
    odd.set(unreadable("user.bad", errno));
    let pass = place.once(&[]);
    check_telling(&pass, telling, 3);
    for name in ["same", "changed", "new"] {
        let path = place.replica.join(name);
        assert_eq!(fs::read(&path).expect("there"), b"new content", "{name}");
        assert_eq!(attribute(&path, "user.good").as_deref(), Some(name.as_bytes()), "{name}");
        assert_eq!(attribute(&path, "user.extra"), None, "{name}");
        let kept = (name != "new").then_some(b"kept".as_slice());
        assert_eq!(attribute(&path, "user.bad").as_deref(), kept, "{name}");
    }
    quiet(&place, if telling == Telling::NoticeOnce { 0 } else { 23 });
    // Once the source reports that the xattr is absent, it is removed.
    odd.set(Oddities::default());
    let healed = place.once(&[]);
    assert_eq!((healed.code, healed.count("metadata")), (Some(0), 2), "{:?}", healed.told());
    assert_eq!(attribute(&place.replica.join("same"), "user.bad"), None);
    quiet(&place, 0);
}

/// The unreadable xattr is neither removed nor overwritten.
fn unread_in_replica(memory: &Path, errno: Errno, telling: Telling) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities::default());
    place.replica = place.at("mnt").join("replica");
    for name in ["extra", "other"] {
        file(&place.source.join(name), "content", 0o644);
        set_attribute(&place.source.join(name), "user.good", b"new").expect("an attribute");
    }
    set_attribute(&place.source.join("other"), "user.bad", b"new").expect("an attribute");
    assert_eq!(place.once(&[]).code, Some(0));
    for name in ["extra", "other"] {
        set_attribute(&place.replica.join(name), "user.bad", b"old").expect("an attribute");
        set_attribute(&place.replica.join(name), "user.good", b"old").expect("an attribute");
    }
    odd.set(unreadable("user.bad", errno));
    check_telling(&place.once(&[]), telling, 2);
    odd.set(Oddities::default());
    for name in ["extra", "other"] {
        let path = place.replica.join(name);
        assert_eq!(attribute(&path, "user.good").as_deref(), Some(b"new".as_slice()), "{name}");
        assert_eq!(attribute(&path, "user.bad").as_deref(), Some(b"old".as_slice()), "{name}");
    }
    let healed = place.once(&[]);
    assert_eq!((healed.code, healed.count("metadata")), (Some(0), 2), "{:?}", healed.told());
    quiet(&place, 0);
}

/// The mode of a file with an ACL contains the ACL's mask, and this ACL is unreadable. The group of a copy gets no
/// right that it did not have before, and an old ACL lets nobody read the new content.
fn unread_list(memory: &Path, errno: Errno) {
    const LIST: &str = "system.posix_acl_access";
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities::default());
    place.source = place.at("mnt").join("source");
    // user::rwx user:1234:rwx group::r-x mask::rwx other::r--
    let list = access_list(1234, 7);
    for name in ["same", "changed", "new"] {
        file(&place.source.join(name), "new content", 0o660);
        set_attribute(&place.source.join(name), LIST, &list).expect("an access list");
        chmod(&place.source.join(name), 0o660).expect("a mode");
    }
    file(&place.replica.join("same"), "new content", 0o600);
    set_attribute(&place.replica.join("same"), LIST, &access_list(5678, 4)).expect("an access list");
    chmod(&place.replica.join("same"), 0o640).expect("a mode");
    file(&place.replica.join("changed"), "old", 0o600);
    set_attribute(&place.replica.join("changed"), LIST, &list).expect("an access list");
    odd.set(unreadable(LIST, errno));
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(23), "rights that are not mirrored are a problem: {:?}", pass.told());
    let check = |name: &str| {
        let tree = Tree::of(&place.replica);
        let node = tree.get(name).expect("there");
        // Two named users, the group, and others. The source's mode gives others no right.
        let people: [(u32, &[u32]); 4] = [(1234, &[1234]), (5678, &[5678]), (4000, &[0]), (4001, &[4001])];
        let all = people.map(|who| may(node, who));
        (node.attributes.contains_key(ACCESS_LIST), all)
    };
    assert_eq!(check("same"), (true, [0, 4, 4, 0]), "the list that it had, as far as it went");
    assert_eq!(check("changed"), (true, [0, 0, 0, 0]), "the list that it had grants nothing");
    assert_eq!(check("new"), (false, [0, 0, 0, 0]));
    quiet(&place, 23);
    odd.set(Oddities::default());
    assert_eq!(place.once(&[]).code, Some(0));
    for name in ["same", "changed", "new"] {
        assert_eq!(attribute(&place.replica.join(name), LIST), attribute(&place.source.join(name), LIST));
        assert_eq!(mode(&place.replica.join(name)), 0o660, "{name}");
    }
    quiet(&place, 0);
}

/// Modes of a file, and of its copy if the copy cannot have the group.
const NARROWED: [(u32, u32); 10] = [
    (0o600, 0o600),
    (0o640, 0o600),
    (0o660, 0o600),
    (0o664, 0o644),
    (0o644, 0o644),
    (0o604, 0o600),
    (0o755, 0o755),
    (0o775, 0o755),
    (0o4755, 0o755),
    (0o2755, 0o755),
];

/// A tree of one folder and of files with every mode of [`NARROWED`], all of this user and group.
fn modes(root: &Path, owner: (u32, u32)) {
    for (mode, _) in NARROWED {
        let path = root.join(format!("{mode:o}"));
        file(&path, "content", mode);
        chown(&path, Some(owner.0), Some(owner.1)).expect("an owner");
        chmod(&path, mode).expect("a mode");
    }
    file(&root.join("folder/inside"), "content", 0o644);
    for path in [root.join("folder/inside"), root.join("folder")] {
        chown(path, Some(owner.0), Some(owner.1)).expect("an owner");
    }
    chmod(&root.join("folder"), 0o2770).expect("a mode");
    set_mtime(&root.join("folder"), 1_000_000_000, 0).expect("a time");
}

/// Asserts the narrowed modes of copies that have another group.
fn are_narrowed(root: &Path) {
    for (source, expected) in NARROWED {
        let now = mode(&root.join(format!("{source:o}")));
        assert_eq!(now & 0o777, expected & 0o777, "{source:o} became {now:o}");
        // setuid is not checked: it stays if the copy has its intended owner.
        assert_eq!(now & 0o2000, 0, "{source:o} became {now:o}");
    }
    assert_eq!(mode(&root.join("folder")) & 0o777, 0o700);
}

fn squashed(memory: &Path) {
    let mut place = Scratch::below(memory);
    let _odd = mounted(&place.at("mnt"), Oddities { squashes: true, ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    modes(&place.source, (1000, 50));
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert!(pass.not_held().contains(&"owner".to_owned()), "{:?}", pass.told());
    are_narrowed(&place.replica);
    assert_eq!(mode(&place.replica.join("4755")), 0o755, "set-user-ID for somebody else");
    quiet(&place, 0);
    // The copies stay private after a replacement, and after the source gives its group access.
    fs::write(place.source.join("640"), "other content").expect("written");
    chmod(&place.source.join("600"), 0o660).expect("a mode");
    assert_eq!(place.once(&[]).code, Some(0));
    are_narrowed(&place.replica);
    quiet(&place, 0);
}

/// file-sync as an ordinary user in these groups, with these capabilities.
fn as_user(place: &Scratch, groups: &str, capabilities: &str) -> Pass {
    let mut user = Command::new("setpriv");
    user.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), &format!("--groups={groups}")]);
    if !capabilities.is_empty() {
        user.args([&format!("--inh-caps={capabilities}"), &format!("--ambient-caps={capabilities}")]);
    }
    user.arg("--");
    place.run_command(place.file_sync_under(user, &["--once"]))
}

/// A place that an ordinary user may work in.
fn place_of_user(memory: &Path) -> Scratch {
    if !may_be_user() {
        leave_out("an ordinary user cannot run the program");
    }
    let place = Scratch::below(memory);
    fs::create_dir(&place.replica).expect("created");
    for path in [place.path(), &place.source, &place.replica] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
        chmod(path, 0o755).expect("a mode");
    }
    place
}

fn refused_group(memory: &Path) {
    let mut place = place_of_user(memory);
    let _odd = mounted(&place.at("mnt"), Oddities { refused_group: Some(50), ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    for (name, group) in [("kept", 777), ("refused", 50), ("z", 777)] {
        file(&place.source.join(name), "content", 0o640);
        chown(place.source.join(name), Some(NOBODY), Some(group)).expect("an owner");
    }
    let groups = format!("{NOBODY},50,777");
    for expected in [3, 0] {
        let pass = as_user(&place, &groups, "");
        assert_eq!((pass.code, pass.count("created")), (Some(0), expected), "{:?}", pass.told());
        assert_eq!(pass.not_held(), ["owner"], "{:?}", pass.told());
    }
    let found = ["kept", "refused", "z"].map(|name| {
        let path = place.replica.join(name);
        (owner(&path).1, mode(&path))
    });
    assert_eq!(found, [(777, 0o640), (NOBODY, 0o600), (777, 0o640)]);
}

/// A passing refusal is retried, and is not taken for a limit of the filesystem.
fn passing_refusal(memory: &Path) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities::default());
    place.replica = place.at("mnt").join("replica");
    for name in ["a", "b", "c"] {
        file(&place.source.join(name), "content", 0o640);
        chown(place.source.join(name), Some(1000), Some(50)).expect("an owner");
    }
    // The first chown and its retry are refused; the probe with a new file is not.
    odd.set(Oddities { refused_owners: 2, ..Oddities::default() });
    let pass = place.once(&["--threads", "1"]);
    assert_eq!((pass.code, pass.not_held()), (Some(0), vec![]), "{:?}", pass.told());
    for name in ["a", "b", "c"] {
        let path = place.replica.join(name);
        assert_eq!((owner(&path), mode(&path)), ((1000, 50), 0o640), "{name}");
    }
    quiet(&place, 0);
}

/// The refusal of one user id is a problem of its files at each pass, and they stay private. All other files have their
/// owners.
fn refused_user(memory: &Path) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities { refused_user: Some(1001), ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    for (name, user) in [("a", 1001), ("b", 1000), ("folder/c", 1000)] {
        file(&place.source.join(name), "content", 0o640);
        chown(place.source.join(name), Some(user), Some(50)).expect("an owner");
    }
    chown(place.source.join("folder"), Some(1001), Some(50)).expect("an owner");
    for _ in 0..2 {
        let pass = place.once(&["--threads", "1"]);
        let mut paths: Vec<_> = pass.of("problem").filter_map(|it| it["path"].as_str()).collect();
        paths.sort_unstable();
        assert_eq!((pass.code, paths), (Some(23), vec!["a", "folder"]), "{:?}", pass.told());
        assert_eq!(pass.not_held(), [""; 0]);
        assert_eq!(mode(&place.replica.join("a")), 0o600);
        for name in ["b", "folder/c"] {
            let path = place.replica.join(name);
            assert_eq!((owner(&path), mode(&path)), ((1000, 50), 0o640), "{name}");
        }
    }
    odd.set(Oddities::default());
    assert_eq!(place.once(&[]).code, Some(0));
    assert_eq!((owner(&place.replica.join("a")), mode(&place.replica.join("a"))), ((1001, 50), 0o640));
    quiet(&place, 0);
}

/// Only the set-user-ID bit is refused.
fn no_setuid(memory: &Path) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities { refuses_setuid: true, ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    file(&place.source.join("setuid"), "content", 0o4751);
    file(&place.source.join("other"), "content", 0o640);
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!((pass.code, pass.not_held()), (Some(23), vec![]), "{:?}", pass.told());
        let problems: Vec<_> = pass.of("problem").collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            (&problems[0]["path"], &problems[0]["action"]),
            (&"setuid".into(), &"set the setuid or setgid bit".into())
        );
        assert_eq!(mode(&place.replica.join("setuid")), 0o751);
        assert_eq!(mode(&place.replica.join("other")), 0o640);
    }
    odd.set(Oddities::default());
    assert_eq!(place.once(&[]).code, Some(0));
    assert_eq!(mode(&place.replica.join("setuid")), 0o4751);
    quiet(&place, 0);
}

fn links(memory: &Path, follows: bool) {
    let mut place = Scratch::below(memory);
    let _odd = mounted(&place.at("mnt"), Oddities { follows_links: follows, ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    let outside = place.at("mnt").join("outside");
    file(&outside.join("treasure"), "nobody may touch this", 0o600);
    let before = fs::metadata(outside.join("treasure")).expect("there");
    for (name, target) in [
        ("a link", "z"),
        ("b link outside", "../outside/treasure"),
        ("c link that dangles", "nowhere"),
        ("folder/link", "../z"),
    ] {
        fs::create_dir_all(place.source.join("folder")).expect("created");
        let path = place.source.join(name);
        symlink(target, &path).expect("a link");
        lchown(&path, Some(1234), Some(50)).expect("an owner");
        set_attribute(&path, "trusted.note", b"of the link").expect("an attribute");
        set_mtime(&path, 1_234_567_890, 0).expect("a time");
    }
    for name in ["x", "y", "z", "folder/file"] {
        file(&place.source.join(name), "content", 0o644);
        chown(place.source.join(name), Some(1000), Some(60)).expect("an owner");
    }
    for threads in ["1", "4"] {
        let pass = place.once(&["--threads", threads]);
        assert_eq!(pass.code, Some(0), "{:?}", pass.told());
        let told = pass.not_held();
        let expected: &[&str] = if follows { &["symlink_mtime", "symlink_owner"] } else { &[] };
        for feature in expected {
            assert!(told.iter().any(|it| it == feature), "{told:?}");
        }
        assert_eq!(told.is_empty(), !follows, "{told:?}");
        for name in ["x", "y", "z", "folder/file"] {
            let path = place.replica.join(name);
            assert_eq!(owner(&path), (1000, 60), "{name}: a link says nothing of files");
            assert_eq!(fs::metadata(&path).expect("there").mtime(), 1_000_000_000, "{name}");
            assert_eq!(attribute(&path, "trusted.note"), None, "{name}");
        }
        let after = fs::metadata(outside.join("treasure")).expect("there");
        let facts = |it: &fs::Metadata| (it.uid(), it.gid(), it.mtime(), it.ctime(), it.ctime_nsec());
        assert_eq!(facts(&before), facts(&after), "something was set through a link");
        let link = fs::symlink_metadata(place.replica.join("a link")).expect("there");
        assert_eq!((link.uid(), link.mtime()) == (1234, 1_234_567_890), !follows);
        let left = fs::read_dir(&place.replica).expect("there").flatten();
        let left: Vec<_> =
            left.filter(|it| it.file_name().to_string_lossy().starts_with(".file-sync")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    quiet(&place, 0);
}

fn hidden_targets(memory: &Path) {
    let mut place = Scratch::below(memory);
    let odd = mounted(&place.at("mnt"), Oddities { hides_targets: true, ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    symlink("/etc/one", place.source.join("link")).expect("a link");
    assert_eq!(place.once(&[]).code, Some(0));
    for arguments in [&[][..], &["--dry-run"]] {
        let pass = place.once(arguments);
        assert_eq!((pass.code, pass.operations()), (Some(0), 0), "{:?}", pass.told());
        assert_eq!(
            pass.of("notice").filter(|it| it["notice"] == "symlink_unread").count(),
            1,
            "{:?}",
            pass.told()
        );
    }
    // The new link has the same length, but is younger than its copy.
    fs::remove_file(place.source.join("link")).expect("removed");
    symlink("/etc/two", place.source.join("link")).expect("a link");
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("repaired")), (Some(0), 1), "{:?}", pass.told());
    odd.set(Oddities::default());
    assert_eq!(fs::read_link(place.replica.join("link")).expect("a link"), Path::new("/etc/two"));
    quiet(&place, 0);
}

fn single_times(memory: &Path) {
    let mut place = Scratch::below(memory);
    let _odd = mounted(&place.at("mnt"), Oddities { drops_single_times: true, ..Oddities::default() });
    place.replica = place.at("mnt").join("replica");
    file(&place.source.join("folder/file"), "content", 0o644);
    file(&place.source.join("file"), "content", 0o644);
    symlink("file", place.source.join("link")).expect("a link");
    for name in ["folder/file", "file", "folder", "link"] {
        set_mtime(&place.source.join(name), 981_173_106, 500_000_000).expect("a time");
    }
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.not_held()), (Some(0), vec![]), "{:?}", pass.told());
    for name in ["folder/file", "file", "folder", "link"] {
        let facts = fs::symlink_metadata(place.replica.join(name)).expect("there");
        assert_eq!((facts.mtime(), facts.mtime_nsec()), (981_173_106, 500_000_000), "{name}");
    }
    quiet(&place, 0);
}

/// Three device nodes in one folder, and a file.
fn devices(place: &Scratch) {
    for (name, kind, device) in [
        ("a", FileType::CharacterDevice, makedev(1, 5)),
        ("b", FileType::BlockDevice, makedev(7, 5)),
        ("c", FileType::CharacterDevice, makedev(1, 3)),
    ] {
        make_node(&place.source.join(name), kind, device).expect("a device");
    }
    file(&place.source.join("file"), "content", 0o644);
}

fn pass_with_fault(place: &Scratch, fault: &str) -> Pass {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=mknodat",
        "-e",
        &format!("inject=mknodat:{fault}"),
    ]);
    place.run_command(place.file_sync_under(strace, &["--once", "--threads", "1"]))
}

fn is_device(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|facts| facts.file_type().is_char_device() || facts.file_type().is_block_device())
}

/// As under a policy that allows only some devices.
fn one_device(memory: &Path) {
    // An error that may mean a missing feature is retried once.
    for (error, last) in [("EPERM", 2), ("EOPNOTSUPP", 2), ("EINVAL", 2), ("ENXIO", 1)] {
        let place = Scratch::below(memory);
        devices(&place);
        let pass = pass_with_fault(&place, &format!("error={error}:when=1..{last}"));
        assert_eq!(pass.code, Some(23), "{error}: {:?}", pass.told());
        let paths: Vec<_> = pass.of("problem").map(|it| it["path"].clone()).collect();
        assert_eq!(paths, ["a"], "{error}");
        assert_eq!(pass.not_held(), [""; 0], "{error}");
        let found = ["a", "b", "c"].map(|name| is_device(&place.replica.join(name)));
        assert_eq!(found, [false, true, true], "{error}");
        assert_eq!(place.once(&[]).code, Some(0), "{error}");
        place.assert_in_step(error);
    }
}

fn every_device(memory: &Path) {
    let place = Scratch::below(memory);
    devices(&place);
    let pass = pass_with_fault(&place, "error=EPERM");
    assert_eq!((pass.code, pass.not_held()), (Some(0), vec!["devices".to_owned()]), "{:?}", pass.told());
    assert!(["a", "b", "c"].iter().all(|name| !place.replica.join(name).exists()));
    assert_eq!(fs::read(place.replica.join("file")).expect("there"), b"content");
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("with devices again");
}

fn whiteout(memory: &Path) {
    let mut place = Scratch::below(memory);
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| place.at(name));
    for folder in [&lower, &upper, &work] {
        fs::create_dir_all(folder).expect("created");
    }
    let folders = format!("lowerdir={},upperdir={}", lower.display(), upper.display());
    let options = format!("{folders},workdir={}", work.display());
    let arguments = ["-t", "overlay", "-o", &options, "overlay"].map(OsStr::new);
    let _mount = Mount::new(&place.at("mnt"), "mount", &arguments).unwrap_or_else(|why| leave_out(&why));
    place.replica = place.at("mnt").join("replica");
    devices(&place);
    make_node(&place.source.join("a whiteout"), FileType::CharacterDevice, 0).expect("a whiteout");
    make_node(&place.source.join("z whiteout"), FileType::CharacterDevice, 0).expect("a whiteout");
    for created in [4, 0] {
        let pass = place.once(&["--threads", "1"]);
        assert_eq!((pass.code, pass.count("created")), (Some(0), created), "{:?}", pass.told());
        assert_eq!(pass.not_held(), ["whiteouts"], "{:?}", pass.told());
    }
    assert!(["a", "b", "c"].iter().all(|name| is_device(&place.replica.join(name))));
    // On any other filesystem a whiteout is an ordinary device node, which every user may create.
    place.replica = place.at("elsewhere");
    assert_eq!(place.once(&[]).code, Some(0));
    assert!(is_device(&place.replica.join("a whiteout")));
    place.assert_in_step("whiteouts elsewhere");
}

fn unreadable_folders(memory: &Path) {
    let place = place_of_user(memory);
    file(&place.source.join("file"), "content", 0o644);
    let closed = |name: &str| {
        let path = place.replica.join(name);
        fs::create_dir_all(&path).expect("created");
        chmod(&path, 0o700).expect("a mode");
        path
    };
    // Empty folders of root: at the top, in a folder that is deleted as a whole, and in the way of a file.
    closed("lost+found");
    closed("goes/below/closed");
    closed("kind");
    for folder in ["goes", "goes/below"] {
        chown(place.replica.join(folder), Some(NOBODY), Some(NOBODY)).expect("an owner");
        chmod(&place.replica.join(folder), 0o755).expect("a mode");
    }
    file(&place.source.join("kind"), "a file now", 0o644);
    let full = closed("full");
    fs::write(full.join("treasure"), "root's").expect("written");
    let sticky = place.replica.join("sticky");
    closed("sticky/closed");
    chmod(&sticky, 0o1777).expect("a mode");
    for path in [place.source.join("file"), place.source.join("kind")] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    fs::create_dir(place.source.join("sticky")).expect("created");
    chown(place.source.join("sticky"), Some(NOBODY), Some(NOBODY)).expect("an owner");
    for deleted in [4, 0] {
        let pass = as_user(&place, &NOBODY.to_string(), "");
        let mut paths: Vec<_> =
            pass.of("problem").filter_map(|it| it["path"].as_str().map(str::to_owned)).collect();
        paths.sort();
        assert!(
            paths.contains(&"full".to_owned()) && paths.contains(&"sticky/closed".to_owned()),
            "{paths:?}"
        );
        assert_eq!((pass.code, pass.count("deleted")), (Some(23), deleted), "{:?}", pass.told());
    }
    for gone in ["lost+found", "goes"] {
        assert!(!place.replica.join(gone).exists(), "{gone}");
    }
    assert_eq!(fs::read(place.replica.join("kind")).expect("there"), b"a file now");
    assert_eq!(fs::read(full.join("treasure")).expect("there"), b"root's");
    assert!(sticky.join("closed").exists());
    fs::remove_dir_all(full).expect("removed");
    fs::remove_dir_all(sticky).expect("removed");
    assert_eq!(as_user(&place, &NOBODY.to_string(), "").code, Some(0));
}

/// A tree with everything that needs a capability.
fn demanding(place: &Scratch) -> PathBuf {
    modes(&place.source, (1000, 50));
    let root = place.source.clone();
    file(&root.join("attributes"), "content", 0o644);
    for name in ["user.note", "trusted.note", "security.note"] {
        set_attribute(&root.join("attributes"), name, b"value").expect("an attribute");
    }
    file(&root.join("program"), "content", 0o755);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_attribute(&root.join("program"), "security.capability", &capability).expect("a capability");
    make_node(&root.join("device"), FileType::CharacterDevice, makedev(1, 3)).expect("a device");
    root
}

fn root_without(memory: &Path, lacking: &str) {
    let place = Scratch::below(memory);
    let source = demanding(&place);
    if lacking == "all" {
        // Without capabilities root may not read files of others.
        sh(
            "chmod",
            &["-R", "a+rX"].map(OsStr::new).into_iter().chain([source.as_os_str()]).collect::<Vec<_>>(),
        );
    }
    let run = |arguments: &[&str]| {
        let mut without = Command::new("setpriv");
        without.args([&format!("--bounding-set=-{lacking}"), &format!("--inh-caps=-{lacking}")]).arg("--");
        place.run_command(place.file_sync_under(without, arguments))
    };
    let pass = run(&["--once"]);
    let told = pass.not_held();
    let at = |name: &str| place.replica.join(name);
    let has_owners = !["chown", "fowner", "dac_override", "all"].contains(&lacking);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!(told.contains(&"owner".to_owned()), !has_owners, "{told:?}");
    assert_eq!(owner(&at("600")).0 == 1000, has_owners);
    if ["chown", "all"].contains(&lacking) {
        if lacking == "chown" {
            are_narrowed(&place.replica);
        }
    } else {
        // CAP_CHOWN is enough to set the group of a copy that belongs to this user.
        assert_eq!(owner(&at("640")), (if has_owners { 1000 } else { 0 }, 50));
        assert_eq!(mode(&at("640")), 0o640);
    }
    assert_eq!(at("device").exists(), !["mknod", "all"].contains(&lacking));
    assert_eq!(told.contains(&"devices".to_owned()), ["mknod", "all"].contains(&lacking), "{told:?}");
    let has_capability = attribute(&at("program"), "security.capability").is_some();
    assert_eq!(has_capability, !["setfcap", "all"].contains(&lacking));
    assert_eq!(told.contains(&"capabilities".to_owned()), !has_capability, "{told:?}");
    let is_admin = !["sys_admin", "all"].contains(&lacking);
    assert_eq!(attribute(&at("attributes"), "user.note").as_deref(), Some(b"value".as_slice()));
    assert_eq!(attribute(&at("attributes"), "trusted.note").is_some(), is_admin);
    assert_eq!(attribute(&at("attributes"), "security.note").is_some(), is_admin);
    assert_eq!(told.contains(&"security_xattrs".to_owned()), !is_admin, "{told:?}");
    for arguments in [&["--once"][..], &["--once", "--dry-run"]] {
        let again = run(arguments);
        assert_eq!((again.code, again.operations()), (Some(0), 0), "{arguments:?}: {:?}", again.told());
    }
}

/// An ordinary user: a description, his groups, his capabilities, and whether copies keep owners and groups.
struct User {
    name: &'static str,
    groups: &'static str,
    capabilities: &'static str,
    keeps_owners: bool,
    keeps_group: bool,
}

const fn user(
    name: &'static str,
    (groups, capabilities): (&'static str, &'static str),
    (keeps_owners, keeps_group): (bool, bool),
) -> User {
    User { name, groups, capabilities, keeps_owners, keeps_group }
}

const USERS: [User; 6] = [
    user("a group of the files", ("65534,50", ""), (false, true)),
    user("no group of the files", ("65534", ""), (false, false)),
    user("the right to read everything", ("65534", "+dac_read_search"), (false, false)),
    user("the right to give groups", ("65534", "+chown,+dac_read_search"), (false, true)),
    user("a group, and the right to read everything", ("65534,50", "+dac_read_search"), (false, true)),
    user("all that it takes to give owners", ("65534", "+chown,+fowner,+dac_override"), (true, true)),
];

fn user_with(memory: &Path, user: &User) {
    let User { groups, capabilities, keeps_owners, keeps_group, .. } = *user;
    let place = place_of_user(memory);
    let of_files = if capabilities.is_empty() { NOBODY } else { 1000 };
    modes(&place.source, (of_files, 50));
    let pass = as_user(&place, groups, capabilities);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    if keeps_group {
        for (source, _) in NARROWED {
            let path = place.replica.join(format!("{source:o}"));
            assert_eq!((owner(&path).1, mode(&path) & 0o777), (50, source & 0o777), "{source:o}");
        }
        assert_eq!(mode(&place.replica.join("folder")) & 0o777, 0o770);
    } else {
        are_narrowed(&place.replica);
        assert_eq!(pass.not_held(), ["owner"], "what is lost is told: {:?}", pass.told());
    }
    assert_eq!(owner(&place.replica.join("644")).0, if keeps_owners { 1000 } else { NOBODY });
    let again = as_user(&place, groups, capabilities);
    assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
    // With another group of the user the copies are corrected or narrowed at once.
    let now = as_user(&place, "65534,50", capabilities);
    assert_eq!(now.code, Some(0), "{:?}", now.told());
    assert_eq!(mode(&place.replica.join("640")), 0o640);
}

fn user_namespace(memory: &Path) {
    let place = place_of_user(memory);
    modes(&place.source, (NOBODY, 50));
    let run = || {
        let mut inner = Command::new("setpriv");
        inner.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--groups=65534,50", "--"]);
        inner.args(["unshare", "-Ur"]);
        place.run_command(place.file_sync_under(inner, &["--once"]))
    };
    let first = run();
    if first.events.is_empty() {
        leave_out("an ordinary user may not make a user namespace");
    }
    assert_eq!(first.code, Some(0), "{:?}", first.told());
    // The group is not mapped in the user namespace, so it does not exist there.
    are_narrowed(&place.replica);
    assert!(first.not_held().contains(&"owner".to_owned()), "{:?}", first.told());
    let again = run();
    assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
}

fn mounts_apart(memory: &Path) {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    use std::os::fd::AsFd;
    let place = Scratch::below(memory);
    let other = place.at("other");
    fs::create_dir(&other).expect("created");
    let mount = |path: &Path| {
        // STATX_MNT_ID_UNIQUE (linux/stat.h) identifies a mount for good: facts learned about a mount are dropped with
        // it.
        let unique = StatxFlags::from_bits_retain(0x4000);
        let folder = fs::File::open(path).expect("there");
        statx(folder.as_fd(), c"", AtFlags::EMPTY_PATH, unique).expect("a mount").stx_mnt_id
    };
    let arguments = ["--bind".as_ref(), place.source.as_os_str()];
    let first = Mount::new(&other, "mount", &arguments).expect("a bind mount");
    let number = mount(&other);
    assert_ne!(number, mount(&place.source));
    assert_eq!(number, mount(&other));
    drop(first);
    let _again = Mount::new(&other, "mount", &arguments).expect("a bind mount");
    assert_ne!(number, mount(&other), "the same place, mounted again");
    tell("each mount has a number of its own");
}
