//! Read access at every moment: the program is stopped after every call that changes something, and the rights of every
//! file of the replica, temporaries included, are checked. Part of the suite `hostile`.

use crate::harness::cases::Cases;
use crate::harness::kit::{sh, tell};
use crate::harness::rights::{OTHERS, Person, beyond_for};
use crate::harness::stopped::Stopped;
use crate::support::fsops::{access_list, chmod, keeps, set_attribute};
use crate::support::scratch::{NOBODY, Scratch};
use crate::support::tree::{Node, Tree, What};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every call after which a file or folder of the replica may show something else.
const CHANGES: &str = "pwrite64,fchmod,fchmodat,chmod,fchown,fchownat,fsetxattr,setxattr,lsetxattr,fremovexattr,\
removexattr,lremovexattr,ftruncate,mkdirat,renameat,renameat2,linkat,unlinkat,utimensat";

const MODES: [u32; 8] = [0o600, 0o640, 0o660, 0o644, 0o4711, 0o2755, 0o1644, 0o6755];

const OWNERS: [(u32, u32); 3] = [(0, 0), (33, 44), (1234, 33)];

const CAPABILITY: &str = "security.capability";

/// More than one read and write, so that a half-written file is seen.
const LARGE: usize = 300_000;

/// The persons with rights beside the mode classes.
#[derive(Clone, Copy, Debug)]
enum List {
    None,
    OneMore,
    OnlyOneMore,
    /// One group has fewer rights than others, and another one more.
    Groups,
}

const LISTS: [List; 3] = [List::None, List::OneMore, List::OnlyOneMore];

/// The metadata of one file.
#[derive(Clone, Copy, Debug)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    list: List,
    has_note: bool,
    has_capability: bool,
}

impl Facts {
    /// Every combination; those of one mode and owner are next to each other.
    fn all() -> Vec<Facts> {
        let mut all = Vec::new();
        for mode in MODES {
            for owner in OWNERS {
                for list in LISTS {
                    for has_note in [false, true] {
                        let facts = Facts { mode, owner, list, has_note, has_capability: false };
                        all.extend([facts, Facts { has_capability: true, ..facts }]);
                    }
                }
            }
        }
        all
    }
}

/// The file in the replica before the pass.
const OLD: [&str; 3] = ["new", "replaced", "changed only"];

/// One check for each mode and owner, with all their combinations: few enough files to examine all of them at each
/// moment.
pub(crate) fn check_all(cases: &Cases, below: &Path) {
    let all = Facts::all();
    let with_capability = keeps(below, CAPABILITY, &capability(0));
    if !with_capability {
        tell("files have no capabilities here");
    }
    let moments = AtomicUsize::new(0);
    let group = LISTS.len() * 4;
    let groups: Vec<usize> = (0..all.len()).step_by(group).collect();
    cases.run_all(
        &groups,
        |from| {
            let Facts { mode, owner: (user, group), .. } = all[*from];
            format!("nobody sees more at any moment, {mode:o} of {user}:{group}")
        },
        |from| {
            let mut files = Vec::new();
            for number in *from..from + group {
                for (kind, old) in OLD.into_iter().enumerate() {
                    // 7 and the count have no common factor: every combination is replaced once.
                    let before = all[(number * 7 + kind * 131) % all.len()];
                    files.push((number, old, all[number], before));
                }
            }
            if !with_capability {
                files.iter_mut().for_each(|file| {
                    (file.2.has_capability, file.3.has_capability) = (false, false);
                });
            }
            moments.fetch_add(at_every_moment(&Scratch::below(below), &files), Ordering::Relaxed);
        },
    );
    tell(&format!(
        "{} combinations, each new, in place of another content and of other metadata: looked at {} times",
        all.len(),
        moments.into_inner()
    ));
}

/// The groups of the ordinary user who runs the program. The files also have a group that he is not in.
const USERS_GROUPS: &[u32] = &[100, 777];

const GROUPS: [u32; 3] = [100, 777, 4242];

const USERS_MODES: [u32; 9] = [0o600, 0o640, 0o660, 0o664, 0o604, 0o644, 0o4755, 0o2755, 0o750];

/// The same for an ordinary user. The group of a copy is that of its original if he is a member; otherwise it gets no
/// more rights than others. The old files belong to him or, in one of three cases, to another user.
pub(crate) fn check_user(cases: &Cases, below: &Path) {
    let mut all = Vec::new();
    for mode in USERS_MODES {
        for group in GROUPS {
            for list in [List::None, List::OneMore, List::OnlyOneMore, List::Groups] {
                let has_note = all.len() % 2 == 0;
                all.push(Facts { mode, owner: (NOBODY, group), list, has_note, has_capability: false });
            }
        }
    }
    let moments = AtomicUsize::new(0);
    let group = 12;
    let groups: Vec<usize> = (0..all.len()).step_by(group).collect();
    cases.run_all(
        &groups,
        |from| format!("nobody sees more at any moment, for an ordinary user, {:o}", all[*from].mode),
        |from| {
            let mut files = Vec::new();
            for number in *from..from + group {
                for (kind, old) in OLD.into_iter().enumerate() {
                    let mut before = all[(number * 7 + kind * 41) % all.len()];
                    if number % 3 == 0 {
                        before.owner.0 = 33;
                    }
                    files.push((number, old, all[number], before));
                }
            }
            let mut place = Scratch::below(below);
            (place.as_user, place.groups) = (true, USERS_GROUPS);
            moments.fetch_add(at_every_moment(&place, &files), Ordering::Relaxed);
        },
    );
    tell(&format!(
        "{} combinations for an ordinary user: looked at {} times",
        all.len(),
        moments.into_inner()
    ));
}

/// Stops one pass after every call. Returns the number of stops.
fn at_every_moment(place: &Scratch, files: &[(usize, &str, Facts, Facts)]) -> usize {
    fs::create_dir(&place.replica).expect("created");
    for folder in ["open", "heirs"] {
        for root in [&place.source, &place.replica] {
            fs::create_dir(root.join(folder)).expect("created");
            chmod(&root.join(folder), 0o755).expect("a mode");
        }
        // A default ACL opens every new entry to all, unless its creator restricts it.
        let generous = ["-d", "-m", "u:5678:rwx,g:44:rwx,o::rwx"].map(OsStr::new);
        sh("setfacl", &[generous.as_slice(), &[place.replica.join(folder).as_os_str()]].concat());
    }
    sh(
        "setfacl",
        &["-d", "-m", "u:1234:rwx"]
            .map(OsStr::new)
            .into_iter()
            .chain([place.source.join("heirs").as_os_str()])
            .collect::<Vec<_>>(),
    );
    fs::create_dir(place.source.join("open/new")).expect("created");
    for (number, old, facts, before) in files {
        let folder = match *old {
            "new" => ["open", "heirs", "open/new"][number % 3],
            _ => ["open", "heirs"][number % 2],
        };
        let name = format!("{folder}/{number}-{}", old.replace(' ', "-"));
        let content = content_of(&name, "new", if number % 6 == 0 { LARGE } else { 10 });
        make(&place.source.join(&name), &content, facts);
        match *old {
            "new" => {}
            "replaced" => make(&place.replica.join(&name), &content_of(&name, "old", 10), before),
            _ => make(&place.replica.join(&name), &content, before),
        }
    }
    if place.as_user {
        for root in [&place.source, &place.replica] {
            for folder in ["", "open", "heirs", "open/new"] {
                // The replica lacks one of the folders.
                let _ = chown(root.join(folder), Some(NOBODY), Some(100));
            }
        }
        chown(place.path(), Some(NOBODY), Some(100)).expect("an owner");
    }
    let (source, before) = (Tree::of(&place.source), Tree::of(&place.replica));
    // The owner of a copy may do anything with it.
    let people: Vec<Person> =
        OTHERS.into_iter().filter(|(user, _)| !place.as_user || *user != NOBODY).collect();
    let mut stopped = Stopped::start(place, CHANGES, &format!("{CHANGES}:signal=STOP:when=1+"));
    let (mut moments, mut halves) = (0, 0);
    while stopped.wait() {
        moments += 1;
        for (path, (node, _)) in &Tree::of(&place.replica).nodes {
            let is_half = matches!(&node.what, What::File(content) if !content.is_empty())
                && models_of(path, node, &source, &before).is_empty();
            halves += usize::from(is_half);
            if let Err(why) = check(path, node, (&source, &before), &people) {
                panic!("moment {moments}: {} {why}: {node:?}", path.escape_ascii());
            }
        }
        stopped.go_on();
    }
    assert_eq!(stopped.finish(), Some(0));
    assert!(moments > 2 * files.len() && halves > 0, "only {moments} moments, {halves} with half of a file");
    if place.as_user {
        is_as_due(place, files);
    } else {
        place.assert_in_step("after the last moment");
    }
    moments
}

/// Checks the final copies of an ordinary user: they have the group if he is a member, with all its rights, and no work
/// is left.
fn is_as_due(place: &Scratch, files: &[(usize, &str, Facts, Facts)]) {
    let (source, now) = (Tree::of(&place.source), Tree::of(&place.replica));
    let kept = |group: u32| USERS_GROUPS.contains(&group);
    let mut kept_files = 0;
    for (path, (node, _)) in source.nodes.iter().filter(|(_, (node, _))| matches!(node.what, What::File(_))) {
        let copy = &now.nodes.get(path).expect("copied").0;
        assert_eq!((copy.owner.0, kept(node.owner.1) && copy.owner.1 != node.owner.1), (NOBODY, false));
        if kept(node.owner.1) {
            kept_files += 1;
            assert_eq!(copy, node, "{}", path.escape_ascii());
        }
    }
    assert!(kept_files > files.len() / 2, "{kept_files}");
    let again = place.once(&[]);
    assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
}

fn content_of(name: &str, version: &str, size: usize) -> Vec<u8> {
    let mut content = format!("{name} {version} ").into_bytes();
    content.resize(content.len() + size, b'x');
    content
}

/// A capability set in the format of `setcap` (capabilities(7), revision 2): `cap_net_bind_service`, effective at once,
/// and another one that distinguishes the sets.
fn capability(number: usize) -> [u8; 20] {
    let mut set = [0; 20];
    set[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    set[4..8].copy_from_slice(&(1_u32 << 10 | 1 << (number % 8)).to_le_bytes());
    set
}

fn make(path: &Path, content: &[u8], facts: &Facts) {
    fs::write(path, content).expect("written");
    let (user, group) = facts.owner;
    chown(path, Some(user), Some(group)).expect("an owner");
    if facts.has_note {
        set_attribute(path, "user.note", &content[..8.min(content.len())]).expect("an attribute");
    }
    // The mode first: an ACL opens a file to one more, and its mask shows in the mode.
    chmod(path, facts.mode).expect("a mode");
    match facts.list {
        List::OneMore => {
            set_attribute(path, "system.posix_acl_access", &access_list(1234, 6)).expect("an access list");
        }
        List::OnlyOneMore => {
            sh("setfacl", &[OsStr::new("-m"), OsStr::new("u:5678:rw,g::-,o::-"), path.as_os_str()]);
        }
        List::Groups => {
            sh("setfacl", &[OsStr::new("-m"), OsStr::new("g:777:-,g:4242:rw"), path.as_os_str()]);
        }
        List::None => sh("setfacl", &[OsStr::new("-b"), path.as_os_str()]),
    }
    // Last: chown would clear it.
    if facts.has_capability {
        set_attribute(path, CAPABILITY, &capability(facts.mode as usize >> 3)).expect("a capability");
    }
}

/// The entries of both versions that may serve as models of this one.
fn models_of<'a>(path: &[u8], now: &Node, source: &'a Tree, before: &'a Tree) -> Vec<&'a Node> {
    match &now.what {
        // Every entry with that content, under this name or under a temporary one.
        What::File(content) => {
            let name: Vec<u8> = content.iter().copied().take_while(|byte| *byte != b' ').collect();
            let versions = [source, before].into_iter().filter_map(|tree| tree.nodes.get(&name));
            versions.map(|(node, _)| node).filter(|node| node.what == now.what).collect()
        }
        What::Closed(_)
        | What::Folder
        | What::Symlink(_)
        | What::Fifo
        | What::Socket
        | What::Char(_)
        | What::Block(_) => [source, before]
            .into_iter()
            .filter_map(|tree| tree.nodes.get(path))
            .map(|(node, _)| node)
            .collect(),
    }
}

/// Checks that an entry of the replica shows no more to anyone than it may at this moment.
fn check(path: &[u8], now: &Node, (source, before): (&Tree, &Tree), people: &[Person]) -> Result<(), String> {
    beyond_for(now, &models_of(path, now, source, before), people).map_or(Ok(()), Err)
}

/// Tests the check itself, on files with wrong rights.
pub(crate) fn the_check_sees(below: &Path) {
    let place = Scratch::below(below);
    fs::create_dir(&place.replica).expect("created");
    let safe =
        Facts { mode: 0o600, owner: (33, 44), list: List::None, has_note: false, has_capability: false };
    let content = content_of("file", "new", 100);
    let wrong = |model: Facts, (content, facts): (&[u8], Facts)| {
        make(&place.source.join("file"), &content_of("file", "new", 100), &model);
        make(&place.replica.join("temporary"), content, &facts);
        let (source, found) = (Tree::of(&place.source), Tree::of(&place.replica));
        check(b"temporary", found.get("temporary").expect("there"), (&source, &Tree::default()), &OTHERS)
            .err()
    };
    let half = &content[..50];
    let capable = Facts { mode: 0o700, has_capability: true, ..safe };
    let setuid = Facts { mode: 0o4700, ..safe };
    assert_eq!(wrong(safe, (&content, safe)), None);
    assert_eq!(wrong(capable, (&content, capable)), None);
    assert_eq!(wrong(safe, (half, Facts { owner: (0, 0), ..safe })), None);
    for (model, content, facts) in [
        (safe, content.as_slice(), Facts { mode: 0o604, ..safe }),
        (safe, half, Facts { mode: 0o604, ..safe }),
        (safe, &content, Facts { list: List::OnlyOneMore, ..safe }),
        (setuid, half, setuid),
        (setuid, &content, Facts { owner: (0, 0), ..setuid }),
        (setuid, &content, Facts { mode: 0o4701, ..setuid }),
        (capable, half, capable),
        (capable, &content, Facts { owner: (0, 0), ..capable }),
        (capable, &content, Facts { mode: 0o701, ..capable }),
        (Facts { has_capability: false, ..capable }, &content, capable),
    ] {
        assert!(wrong(model, (content, facts)).is_some(), "{facts:?} for {model:?}, {} bytes", content.len());
    }
}
