//! Names that a filesystem takes for one, or lists under other spellings: no name causes a deletion and a second copy,
//! a change of case is a rename, a name that cannot be listed is reported, and a log file in a root is recognized under
//! any spelling.

use crate::fuse::names::{Mounted, Rule, mount};
use crate::harness::cases::Cases;
use crate::harness::images::{EXFAT_FUSE, Image, mounted};
use crate::harness::kit::{Mount, Pass, has, may_be_user, may_mount, sh, skip};
use crate::support::leave_out::leave_out;
use crate::support::scratch::{NOBODY, Scratch};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// A folder `any` in which case is folded.
const EXT4_CASEFOLD: Image = Image {
    name: "ext4 with casefold",
    size: 64 << 20,
    mkfs: &["mkfs.ext4", "-q", "-F", "-O", "casefold"],
    mount: &["mount", "-o", "loop"],
};

const VFAT: Image = Image {
    name: "vfat",
    size: 64 << 20,
    mkfs: &["mkfs.vfat", "-F", "32"],
    mount: &["mount", "-t", "vfat", "-o", "loop,utf8"],
};

const EXFAT: Image = Image {
    name: "exfat",
    size: 64 << 20,
    mkfs: &["mkfs.exfat"],
    mount: &["mount", "-t", "exfat", "-o", "loop"],
};

/// Each name is listed in lower case.
const LOWNTFS: Image = Image {
    name: "lowntfs-3g",
    size: 64 << 20,
    mkfs: &["mkfs.ntfs", "-q", "-F"],
    mount: &["lowntfs-3g", "-o", "ignore_case"],
};

pub(crate) fn run() {
    if !may_mount() {
        return skip("names", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("names");
    for (rule, names) in ALTERED {
        cases
            .run(&format!("what is shown otherwise is mirrored and told: {rule:?}"), || altered(rule, names));
        cases.run(&format!("an ordinary user: {rule:?}"), || altered_for_user(rule, names));
    }
    for rule in [Rule::AnyCase, Rule::AnyCaseNumbered] {
        let ground = Ground::Fuse(rule);
        cases.run(&format!("a change of case is a rename: {rule:?}"), || case_changes(&ground));
        cases.run(&format!("another kind, owner, content and case: {rule:?}"), || kinds_change(&ground));
        cases.run(&format!("two names that are one: {rule:?}"), || two_names(&ground));
        cases.run(&format!("killed while it renames: {rule:?}"), || killed(rule));
        cases.run(&format!("in a read-only part: {rule:?}"), || read_only(&ground));
        cases.run(&format!("a name that the survey was not shown: {rule:?}"), || not_shown(rule));
    }
    for rule in [Rule::Trailer, Rule::Decomposed, Rule::Lower, Rule::AnyCase, Rule::AnyCaseNumbered] {
        let ground = Ground::Fuse(rule);
        cases.run(&format!("the log in the replica: {rule:?}"), || log_in_replica(&ground, spelled(rule)));
        cases.run(&format!("the log in the source: {rule:?}"), || log_in_source(&ground, spelled(rule)));
        cases.run(&format!("an old spelling goes: {rule:?}"), || old_spelling(&ground, spelled(rule)));
    }
    for image in [&EXFAT_FUSE, &VFAT, &EXFAT, &EXT4_CASEFOLD] {
        let ground = Ground::Image(image);
        let name = image.name;
        cases.run(&format!("a change of case is a rename: {name}"), || case_changes(&ground));
        cases.run(&format!("another kind, owner, content and case: {name}"), || kinds_change(&ground));
        cases.run(&format!("two names that are one: {name}"), || two_names(&ground));
        cases.run(&format!("the log in the replica: {name}"), || log_in_replica(&ground, ("log", "LOG")));
        cases.run(&format!("the log in the source: {name}"), || log_in_source(&ground, ("log", "LOG")));
        cases.run(&format!("an old spelling goes: {name}"), || old_spelling(&ground, ("log", "LOG")));
    }
    cases.run("dots at the end: vfat", || quiet_on(&VFAT, &["Dinosaur Jr.", "etc."]));
    cases.run("nothing but dots: vfat", || refused(&VFAT, "..."));
    cases.run("dots at the end: exfat", || quiet_on(&EXFAT, &["Dinosaur Jr.", "etc."]));
    cases.run("all lower case: lowntfs-3g", || quiet_on(&LOWNTFS, &["Dinosaur Jr.", "ETC"]));
    cases.run("the log by way of another mount", log_elsewhere);
    cases.finish();
}

/// The spelling by each rule of: a folder, a file in a folder, a file, a link.
const ALTERED: [(Rule, [&str; 4]); 3] = [
    (Rule::Trailer, ["Dinosaur Jr.", "plain/1.", "etc. ", "link."]),
    (Rule::Decomposed, ["Ber\u{e9}", "plain/\u{e9}t\u{e9}", "caf\u{e9}", "li\u{e9}"]),
    (Rule::Lower, ["Folder", "plain/Inner", "README", "Link"]),
];

/// A name, and another spelling of it on the filesystem.
fn spelled(rule: Rule) -> (&'static str, &'static str) {
    match rule {
        Rule::Trailer => ("log", "log.."),
        Rule::Decomposed => ("loge\u{301}", "log\u{e9}"),
        Rule::Lower | Rule::AnyCase | Rule::AnyCaseNumbered => ("log", "LOG"),
    }
}

/// The filesystem under test.
enum Ground<'a> {
    Fuse(Rule),
    Image(&'a Image),
}

/// A mounted filesystem, until it is dropped.
enum On {
    Fuse(Mounted),
    Image(#[allow(dead_code, reason = "it is unmounted when it is dropped")] Mount),
}

impl Ground<'_> {
    /// Mounts the filesystem, and returns the folder in it for the check.
    fn mounted(&self, place: &Scratch) -> (On, PathBuf) {
        let at = place.at("mnt");
        match self {
            Ground::Fuse(rule) => {
                let mounted = mount(&at, *rule);
                (On::Fuse(mounted.unwrap_or_else(|why| leave_out(&format!("FUSE: {why}")))), at)
            }
            Ground::Image(image) => {
                let mounted = mounted(place, image);
                let mounted = mounted.unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
                let folder = at.join("any");
                fs::create_dir(&folder).expect("a folder");
                if image.mkfs.contains(&"casefold") {
                    let folded = Command::new("chattr").arg("+F").arg(&folder).status();
                    assert!(folded.is_ok_and(|status| status.success()), "chattr +F");
                }
                (On::Image(mounted), folder)
            }
        }
    }
}

/// The numbers of entries created, written, removed and renamed since the last call, where they are counted.
fn calls(on: &On) -> Option<[usize; 4]> {
    match on {
        On::Fuse(mounted) => Some(mounted.calls.take()),
        On::Image(_) => None,
    }
}

fn told(pass: &Pass, event: &str) -> BTreeSet<String> {
    pass.of(event).map(|told| told["path"].as_str().expect("a path").to_owned()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Asserts that a pass does nothing and reports exactly these names.
fn assert_quiet(place: &Scratch, altered: &[&str], what: &str) {
    let pass = place.once(&[]);
    let code = if altered.is_empty() { 0 } else { 23 };
    assert_eq!((pass.code, pass.operations()), (Some(code), 0), "{what}: {:?}", pass.told());
    assert_eq!(told(&pass, "problem"), names(altered), "{what}: {:?}", pass.told());
}

/// Asserts that the replica has the entries of the source, under the names of the source.
fn assert_answers(place: &Scratch, paths: &[&str]) {
    // The kernel's cache of the FUSE filesystem has expired by then.
    sleep(Duration::from_millis(1100));
    for path in paths {
        let (ours, theirs) = (place.source.join(path), place.replica.join(path));
        let (kind, other) = (fs::symlink_metadata(&ours), fs::symlink_metadata(&theirs));
        let (kind, other) = (kind.expect("there"), other.unwrap_or_else(|why| panic!("{path}: {why}")));
        assert_eq!(kind.file_type(), other.file_type(), "{path}");
        if kind.is_file() {
            assert_eq!(fs::read(&ours).expect("read"), fs::read(&theirs).expect("read"), "{path}");
        }
    }
}

fn altered_tree(source: &Path, [folder, inner, file, link]: [&str; 4]) {
    for folder in [folder, "plain"] {
        fs::create_dir(source.join(folder)).expect("a folder");
    }
    for (path, content) in [(&format!("{folder}/file")[..], "below"), (inner, "inner"), (file, "content")] {
        fs::write(source.join(path), content).expect("written");
    }
    symlink("target", source.join(link)).expect("a link");
    fs::hard_link(source.join(file), source.join("plain/linked")).expect("linked");
}

fn altered(rule: Rule, altered: [&str; 4]) {
    let mut place = Scratch::with_source();
    let (on, at) = Ground::Fuse(rule).mounted(&place);
    place.replica = at.join("replica");
    altered_tree(&place.source, altered);
    let [folder, inner, file, _] = altered;
    let first = place.once(&[]);
    // The creating pass also reports the names that are not listed.
    assert_eq!(first.code, Some(23), "{:?}", first.told());
    assert_eq!(told(&first, "problem"), names(&altered), "{:?}", first.told());
    assert_answers(&place, &[folder, &format!("{folder}/file"), inner, file, "plain/linked"]);

    calls(&on);
    let dry = place.once(&["--dry-run"]);
    assert_eq!((dry.code, dry.operations(), dry.count("renamed")), (Some(0), 4, 4), "{:?}", dry.told());
    assert_eq!(calls(&on), Some([0; 4]), "a dry run");
    assert_quiet(&place, &altered, "the second pass");

    // A process tries the names once, and reports them at each pass.
    calls(&on);
    let passes = place.passes(3);
    assert_eq!(passes.operations(), 0, "{:?}", passes.told());
    let (ended, problems) = (passes.of("done").count(), passes.of("problem").count());
    assert!(problems >= 4 * ended && ended >= 3, "{problems} problems in {ended} passes");
    let [made, written, removed, renamed] = calls(&on).expect("counted");
    // A probe creates a folder and a file for each of the four, and removes them.
    assert!(made <= 8 && removed == made, "{made} made, {removed} removed");
    assert_eq!((written, renamed), (0, 0));

    // Changes of such a file, and inside such a folder, are mirrored as usual.
    fs::write(place.source.join(folder).join("file"), "changed").expect("written");
    fs::write(place.source.join(folder).join("another"), "new").expect("written");
    fs::write(place.source.join(file), "more content").expect("written");
    let edited = place.once(&[]);
    assert_eq!((edited.count("created"), edited.count("updated")), (1, 2), "{:?}", edited.told());
    assert_eq!(edited.count("deleted"), 0, "{:?}", edited.told());
    assert_answers(&place, &[&format!("{folder}/file"), &format!("{folder}/another"), file, "plain/linked"]);
    assert_quiet(&place, &altered, "after edits");

    // A change of kind, and a deletion.
    fs::remove_dir_all(place.source.join(folder)).expect("removed");
    fs::write(place.source.join(folder), "a file now").expect("written");
    fs::remove_file(place.source.join(inner)).expect("removed");
    let retyped = place.once(&[]);
    assert_eq!(retyped.count("retyped"), 1, "{:?}", retyped.told());
    assert_answers(&place, &[folder, file]);
    let left: Vec<_> = fs::read_dir(place.replica.join("plain")).expect("listed").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let [folder, _, file, link] = altered;
    assert_quiet(&place, &[folder, file, link], "after another kind");
}

fn altered_for_user(rule: Rule, altered: [&str; 4]) {
    if !may_be_user() {
        leave_out("the program cannot be run as an ordinary user");
    }
    let mut place = Scratch::with_source();
    place.as_user = true;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("opened");
    chown(place.path(), Some(NOBODY), Some(NOBODY)).expect("given");
    let (_on, at) = Ground::Fuse(rule).mounted(&place);
    place.replica = at.join("replica");
    altered_tree(&place.source, altered);
    let [folder, inner, file, _] = altered;
    let first = place.once(&[]);
    assert_eq!(told(&first, "problem"), names(&altered), "{:?}", first.told());
    assert_answers(&place, &[&format!("{folder}/file"), inner, file]);
    assert_quiet(&place, &altered, "the second pass");
}

/// The filesystem ignores case and keeps the spelling given at creation.
fn case_changes(ground: &Ground<'_>) {
    let mut place = Scratch::with_source();
    let (on, at) = ground.mounted(&place);
    place.replica = at.join("replica");
    let source = place.source.clone();
    for folder in ["docs/inner", "other"] {
        fs::create_dir_all(source.join(folder)).expect("folders");
    }
    for file in ["docs/file", "docs/inner/deep", "note", "\u{e9}tude", "same"] {
        fs::write(source.join(file), file).expect("written");
    }
    let first = place.once(&[]);
    assert_eq!(first.code, Some(0), "{:?}", first.told());
    let numbers =
        |paths: [&str; 4]| paths.map(|path| fs::metadata(place.replica.join(path)).expect("there").ino());
    let before = numbers(["docs", "docs/file", "note", "\u{e9}tude"]);

    let renames =
        [("docs", "Docs"), ("Docs/file", "Docs/FILE"), ("note", "NOTE"), ("\u{e9}tude", "\u{c9}tude")];
    for (old, new) in renames {
        fs::rename(source.join(old), source.join(new)).expect("renamed");
    }
    calls(&on);
    let dry = place.once(&["--dry-run"]);
    assert_eq!((dry.code, dry.count("renamed")), (Some(0), 4), "{:?}", dry.told());
    assert!(calls(&on).is_none_or(|calls| calls == [0; 4]), "a dry run");
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("renamed")), (Some(0), 4), "{:?}", pass.told());
    for kind in ["created", "updated", "repaired", "retyped", "deleted", "bytes_written"] {
        assert_eq!(pass.count(kind), 0, "{kind}: {:?}", pass.told());
    }
    let from: BTreeSet<String> =
        pass.of("operation").filter_map(|done| Some(done["renamed_from"].as_str()?.to_owned())).collect();
    assert_eq!(from, names(&["docs", "Docs/file", "note", "\u{e9}tude"]), "{:?}", pass.told());
    if let Some([made, written, removed, renamed]) = calls(&on) {
        // The created entries are probes. Each change takes two renames, and two refusals of each where rename flags
        // are unknown.
        assert_eq!((made, removed, written), (8, 8, 0));
        assert!(renamed == 8 || renamed == 24, "{renamed}");
    }
    let listed = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(place.replica.join(folder)).expect("listed");
        entries.map(|entry| entry.expect("read").file_name().to_str().expect("text").to_owned()).collect()
    };
    assert_eq!(listed(""), names(&["Docs", "NOTE", "other", "same", "\u{c9}tude"]));
    assert_eq!(listed("Docs"), names(&["FILE", "inner"]));
    let has_numbers = !matches!(ground, Ground::Fuse(Rule::AnyCaseNumbered)) && !is_exfat_fuse(ground);
    if has_numbers {
        assert_eq!(numbers(["Docs", "Docs/FILE", "NOTE", "\u{c9}tude"]), before, "the same entries");
    }
    assert_answers(&place, &["Docs/FILE", "Docs/inner/deep", "NOTE", "\u{c9}tude", "same"]);
    assert_quiet(&place, &[], "one pass later");
    let again = place.passes(2);
    assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
}

fn is_exfat_fuse(ground: &Ground<'_>) -> bool {
    matches!(ground, Ground::Image(image) if image.name == EXFAT_FUSE.name)
}

/// Changes of case combined with changes of kind or content.
fn kinds_change(ground: &Ground<'_>) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.replica = at.join("replica");
    let source = place.source.clone();
    for folder in ["docs/inner", "plain"] {
        fs::create_dir_all(source.join(folder)).expect("folders");
    }
    for file in ["docs/inner/deep", "note", "text", "plain/one"] {
        fs::write(source.join(file), file).expect("written");
    }
    fs::hard_link(source.join("plain/one"), source.join("plain/two")).expect("linked");
    assert_eq!(place.once(&[]).code, Some(0));
    fs::remove_dir_all(source.join("docs")).expect("removed");
    fs::remove_file(source.join("note")).expect("removed");
    fs::write(source.join("DOCS"), "a file now").expect("written");
    fs::create_dir(source.join("NOTE")).expect("a folder");
    fs::write(source.join("NOTE/in"), "in").expect("written");
    fs::rename(source.join("text"), source.join("TEXT")).expect("renamed");
    fs::write(source.join("TEXT"), "other content").expect("written");
    fs::rename(source.join("plain"), source.join("Plain")).expect("renamed");
    fs::rename(source.join("Plain/one"), source.join("Plain/ONE")).expect("renamed");
    fs::write(source.join("Plain/ONE"), "both names").expect("written");
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("retyped")), (Some(0), 2), "{:?}", pass.told());
    assert_answers(&place, &["DOCS", "NOTE/in", "TEXT", "Plain/ONE", "Plain/two"]);
    let shown: BTreeSet<String> = fs::read_dir(&place.replica)
        .expect("listed")
        .map(|entry| entry.expect("read").file_name().to_str().expect("text").to_owned())
        .collect();
    assert_eq!(shown, names(&["DOCS", "NOTE", "TEXT", "Plain"]), "{:?}", pass.told());
    assert_quiet(&place, &[], "one pass later");
}

/// Two names of the source that are one on the replica: one is a problem. Nothing is overwritten or deleted for it.
fn two_names(ground: &Ground<'_>) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.replica = at.join("replica");
    let source = place.source.clone();
    fs::create_dir(source.join("sub")).expect("a folder");
    fs::write(source.join("sub/One"), "the first").expect("written");
    assert_eq!(place.once(&[]).code, Some(0));
    // A second spelling, and an extra.
    fs::write(source.join("sub/ONE"), "the other one").expect("written");
    fs::write(place.replica.join("sub/extra"), "extra").expect("written");
    for what in ["one more name", "again"] {
        let pass = place.once(&[]);
        assert_eq!(pass.code, Some(23), "{what}: {:?}", pass.told());
        assert_eq!(told(&pass, "problem"), names(&["sub/ONE"]), "{what}: {:?}", pass.told());
        assert_eq!(fs::read(place.replica.join("sub/One")).expect("there"), b"the first", "{what}");
        assert!(!place.replica.join("sub/extra").exists(), "{what}");
    }
    // Neither spelling is the listed one. The source file that resembles the entry gets it.
    fs::rename(source.join("sub/One"), source.join("sub/oNE")).expect("renamed");
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("renamed")), (Some(23), 1), "{:?}", pass.told());
    assert_eq!(pass.count("deleted") + pass.count("updated"), 0, "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("sub/oNE")).expect("there"), b"the first");
    // One of the two is removed.
    fs::remove_file(source.join("sub/oNE")).expect("removed");
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("renamed")), (Some(0), 1), "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("sub/ONE")).expect("there"), b"the other one");
    assert_quiet(&place, &[], "one name is left");
}

/// A pass with one injected system call.
fn tampered(place: &Scratch, inject: &str) -> Pass {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", &format!("inject={inject}")]);
    strace.arg("-o").arg(place.at("trace"));
    place.run_command(place.file_sync_under(strace, &["--once", "--threads", "1"]))
}

/// Kills between the two renames, and after them.
fn killed(rule: Rule) {
    for when in 1..=4 {
        let mut place = Scratch::with_source();
        let (_on, at) = Ground::Fuse(rule).mounted(&place);
        place.replica = at.join("replica");
        fs::create_dir(place.source.join("docs")).expect("a folder");
        fs::write(place.source.join("docs/file"), "content").expect("written");
        assert_eq!(place.once(&[]).code, Some(0));
        fs::rename(place.source.join("docs"), place.source.join("Docs")).expect("renamed");
        let pass = tampered(&place, &format!("renameat2:signal=KILL:when={when}"));
        // The content exists at any moment, under one of three names.
        let entries = fs::read_dir(&place.replica).expect("listed").map(|entry| entry.expect("read").path());
        let found = entries.filter(|entry| fs::read(entry.join("file")).is_ok_and(|read| read == b"content"));
        assert_eq!(found.count(), 1, "{when}: {:?}", pass.told());
        sleep(Duration::from_millis(1100));
        let healed = place.once(&[]);
        assert_eq!(healed.code, Some(0), "{when}: {:?}", healed.told());
        let left: Vec<_> = fs::read_dir(&place.replica)
            .expect("listed")
            .map(|entry| entry.expect("read").file_name())
            .collect();
        assert_eq!(left, ["Docs"], "{when}");
        assert_quiet(&place, &[], "healed");
    }
}

/// A cache denied a name to the survey. The entry listed for it stays while the name cannot be created.
fn not_shown(rule: Rule) {
    let mut place = Scratch::with_source();
    let (on, at) = Ground::Fuse(rule).mounted(&place);
    place.replica = at.join("replica");
    fs::write(place.source.join("note"), "content").expect("written");
    assert_eq!(place.once(&[]).code, Some(0));
    fs::rename(place.source.join("note"), place.source.join("NOTE")).expect("renamed");
    // Otherwise it is known to have moved.
    fs::remove_dir_all(place.state()).expect("removed");
    let On::Fuse(mounted) = &on else { unreachable!("FUSE") };
    // The program asks twice, since one answer is no proof.
    mounted.calls.deny("NOTE", 2);
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.count("deleted")), (Some(23), 0), "{:?}", pass.told());
    assert_eq!(told(&pass, "problem"), names(&["note", "NOTE"]), "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("note")).expect("there"), b"content");
    let healed = place.once(&[]);
    assert_eq!((healed.code, healed.count("renamed")), (Some(0), 1), "{:?}", healed.told());
    assert_quiet(&place, &[], "healed");
}

/// Entries in a read-only part of the replica keep their names, which is one problem.
fn read_only(ground: &Ground<'_>) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.replica = at.join("replica");
    fs::create_dir(place.source.join("part")).expect("a folder");
    for name in ["one", "two"] {
        fs::write(place.source.join("part").join(name), name).expect("written");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let part = place.replica.join("part");
    let bind = ["--bind".as_ref(), part.as_os_str()];
    let _mount = Mount::new(&part, "mount", &bind).expect("a bind mount");
    sh("mount", &["-o".as_ref(), "remount,bind,ro".as_ref(), part.as_os_str()]);
    for (old, new) in [("one", "ONE"), ("two", "TWO")] {
        fs::rename(place.source.join("part").join(old), place.source.join("part").join(new))
            .expect("renamed");
    }
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.operations()), (Some(23), 0), "{:?}", pass.told());
    assert_eq!(told(&pass, "problem"), names(&["part"]), "{:?}", pass.told());
}

/// The number of processes that have written to this log.
fn starts(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap_or_else(|why| panic!("{}: {why}", log.display()));
    text.matches("\"event\":\"started\"").count()
}

/// As [`Scratch::pass`], but keeps the log.
fn pass_with_log(place: &Scratch, arguments: &[&str]) -> Option<i32> {
    let arguments: Vec<&str> = ["--once"].into_iter().chain(arguments.iter().copied()).collect();
    place.file_sync(&arguments).status().expect("it starts").code()
}

/// The path of the log spells its folders, and itself, otherwise than the replica lists them.
fn log_in_replica(ground: &Ground<'_>, (listed, spelled): (&str, &str)) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.replica = at.join("replica");
    let listed = |base: &Path| base.join(format!("a{listed}")).join(format!("b{listed}"));
    let spelled = |base: &Path| base.join(format!("a{spelled}")).join(format!("b{spelled}"));
    fs::create_dir_all(listed(&place.replica).parent().expect("a folder")).expect("folders");
    fs::write(listed(&place.replica), "").expect("written");
    fs::write(listed(&place.replica).with_file_name("stale"), "stale").expect("written");
    fs::write(place.source.join("file"), "content").expect("written");
    place.log = spelled(&place.replica);
    for number in 1..=3 {
        assert_eq!(pass_with_log(&place, &[]), Some(0), "{number}");
        assert_eq!(starts(&place.log), number, "the log is the same");
    }
    let ends = place.events().into_iter().filter(|event| event["outcome"] == "done");
    let deleted: Vec<u64> = ends.map(|end| end["deleted"].as_u64().expect("a number")).collect();
    assert_eq!(deleted, [1, 0, 0], "what lies beside it goes, once");
    // A dry run does not plan to delete it either.
    assert_eq!(pass_with_log(&place, &["--dry-run"]), Some(0));
    let planned = place.events().into_iter().find(|event| event["outcome"] == "planned").expect("planned");
    assert_eq!(planned["deleted"], 0);
}

/// The same in the source, in an existing folder and in a new one.
fn log_in_source(ground: &Ground<'_>, (listed, spelled): (&str, &str)) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.source = at.join("source");
    let name = |base: &Path, spelling: &str| base.join(format!("a{spelling}")).join(format!("b{spelling}"));
    fs::create_dir_all(name(&place.source, listed).parent().expect("a folder")).expect("folders");
    fs::write(name(&place.source, listed), "").expect("written");
    fs::write(name(&place.source, listed).with_file_name("beside"), "beside").expect("written");
    place.log = name(&place.source, spelled);
    for number in 1..=3 {
        assert_eq!(pass_with_log(&place, &[]), Some(0), "{number}");
        assert_eq!(starts(&place.log), number, "the log is the same");
        let below = place.replica.read_dir().expect("listed").next().expect("a folder").expect("read").path();
        let names: Vec<_> =
            fs::read_dir(below).expect("listed").map(|entry| entry.expect("read").file_name()).collect();
        assert_eq!(names, ["beside"], "the log is not copied");
    }
}

/// A source still answers to the old spelling of a renamed entry: the old spelling counts as absent.
fn old_spelling(ground: &Ground<'_>, (listed, spelled): (&str, &str)) {
    let mut place = Scratch::with_source();
    let (_on, at) = ground.mounted(&place);
    place.source = at.join("source");
    fs::create_dir_all(place.source.join("folder")).expect("folders");
    for name in ["file", "folder/file"] {
        fs::write(place.source.join(format!("{name}{listed}")), name).expect("written");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let at = |name: &str| place.replica.join(name);
    // As if the source had listed the old spelling before.
    for name in ["file", "folder/file"] {
        fs::rename(at(&format!("{name}{listed}")), at(&format!("{name}{spelled}"))).expect("renamed");
    }
    let pass = place.once(&[]);
    assert_eq!(
        (pass.code, pass.count("deleted"), pass.count("created")),
        (Some(0), 2, 2),
        "{:?}",
        pass.told()
    );
    for name in ["file", "folder/file"] {
        assert!(
            at(&format!("{name}{listed}")).exists() && !at(&format!("{name}{spelled}")).exists(),
            "{name}"
        );
    }
    assert_quiet(&place, &[], "one pass later");
}

/// A real filesystem that alters names.
fn quiet_on(image: &Image, altered: &[&str]) {
    let mut place = Scratch::with_source();
    let mounted = mounted(&place, image);
    let _mount = mounted.unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
    place.replica = place.at("mnt").join("replica");
    for name in altered {
        fs::create_dir(place.source.join(name)).expect("a folder");
        fs::write(place.source.join(name).join("file"), *name).expect("written");
    }
    let first = place.once(&[]);
    assert_eq!(first.code, Some(23), "{:?}", first.told());
    assert_eq!(told(&first, "problem"), names(altered), "{:?}", first.told());
    for what in ["the second pass", "the third pass"] {
        assert_quiet(&place, altered, what);
    }
    for name in altered {
        assert_answers(&place, &[&format!("{name}/file")]);
    }
}

/// A name that a filesystem refuses with ENOENT.
fn refused(image: &Image, name: &str) {
    let mut place = Scratch::with_source();
    let mounted = mounted(&place, image);
    let _mount = mounted.unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
    place.replica = place.at("mnt").join("replica");
    fs::create_dir(place.source.join("other")).expect("a folder");
    fs::write(place.source.join("other").join(name), "content").expect("written");
    fs::create_dir(place.source.join(name)).expect("a folder");
    for what in ["the first pass", "the second pass"] {
        let pass = place.once(&[]);
        assert_eq!(pass.code, Some(23), "{what}: {:?}", pass.told());
        assert_eq!(
            told(&pass, "problem"),
            names(&[name, &format!("other/{name}")]),
            "{what}: {:?}",
            pass.told()
        );
    }
}

/// The log lies in a root that its path does not show.
fn log_elsewhere() {
    let mut place = Scratch::with_source();
    let beside = place.at("beside");
    for folder in [&place.replica.join("logs"), &beside] {
        fs::create_dir_all(folder).expect("folders");
    }
    let logs = place.replica.join("logs");
    let _mount = Mount::new(&beside, "mount", &["--bind".as_ref(), logs.as_os_str()]).expect("a bind mount");
    fs::write(place.source.join("file"), "content").expect("written");
    place.log = beside.join("log");
    for number in 1..=3 {
        assert_eq!(pass_with_log(&place, &[]), Some(0), "{number}");
        assert_eq!(starts(&place.log), number, "the log is the same");
    }
    // The same folder as the source: the log is not copied.
    place.source = place.replica.clone();
    place.replica = place.at("another");
    assert_eq!(pass_with_log(&place, &[]), Some(0));
    assert!(place.replica.join("logs").exists() && !place.replica.join("logs/log").exists());
    assert_eq!(pass_with_log(&place, &[]), Some(0));
    assert_eq!(starts(&place.log), 5);
}
