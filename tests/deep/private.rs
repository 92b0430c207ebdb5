//! Who may read what, at every moment: the program is stopped after every call that changes something, and every file
//! of the replica, temporaries included, is looked at. Part of the suite `hostile`.

use crate::cases::{is_thorough, seed};
use crate::kit::{Place, sh, tell};
use crate::rights::beyond;
use crate::stopped::Stopped;
use crate::support::{Node, Tree, What, access_list, chmod, set_attribute};
use crate::tree::Dice;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// Every call after which a file or folder of the replica may show something else.
const CHANGES: &str = "pwrite64,fchmod,fchmodat,chmod,fchown,fchownat,fsetxattr,setxattr,lsetxattr,fremovexattr,\
removexattr,lremovexattr,ftruncate,mkdirat,renameat,renameat2,linkat,unlinkat,utimensat";

const MODES: [u32; 8] = [0o600, 0o640, 0o660, 0o644, 0o4711, 0o2755, 0o1644, 0o6755];

const OWNERS: [(u32, u32); 3] = [(0, 0), (33, 44), (1234, 33)];

/// More than is read and written at once, so that a half-written file is seen.
const LARGE: usize = 300_000;

pub(crate) fn at_every_moment(below: &Path) {
    let place = Place::below(below);
    fs::create_dir(&place.replica).expect("created");
    let mut dice = Dice(seed());
    for folder in ["open", "heirs"] {
        for root in [&place.source, &place.replica] {
            fs::create_dir(root.join(folder)).expect("created");
            chmod(&root.join(folder), 0o755).expect("a mode");
        }
        // What is made in it inherits that everyone may read it, unless its maker says otherwise.
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
    for number in 0..if is_thorough() { 400 } else { 48 } {
        let folder = ["open", "heirs", "open/new"][dice.below(3)];
        let name = format!("{folder}/{number}");
        fs::create_dir_all(place.source.join(folder)).expect("created");
        let content = content_of(&name, "new", if number % 12 == 0 { LARGE } else { 10 });
        make(&place.source.join(&name), &content, &mut dice);
        // Nothing, an old version, or the right content with the wrong metadata.
        let old = [None, Some(content_of(&name, "old", 10)), Some(content)][dice.below(3)].clone();
        if let Some(old) = old.filter(|_| folder != "open/new") {
            make(&place.replica.join(&name), &old, &mut dice);
        }
    }
    let (source, before) = (Tree::of(&place.source), Tree::of(&place.replica));
    let mut stopped = Stopped::start(&place, CHANGES, &format!("{CHANGES}:signal=STOP:when=1+"));
    let mut moments = 0;
    while stopped.wait() {
        moments += 1;
        for (path, (node, _)) in &Tree::of(&place.replica).nodes {
            if let Err(why) = check(path, node, &source, &before) {
                panic!("moment {moments}: {} {why}: {node:?}", path.escape_ascii());
            }
        }
        stopped.go_on();
    }
    assert_eq!(stopped.finish(), Some(0));
    assert!(moments > 100, "only {moments} moments");
    place.assert_in_step("after the last moment");
    tell(&format!("{} files, looked at {moments} times", source.nodes.len()));
}

fn content_of(name: &str, version: &str, size: usize) -> Vec<u8> {
    let mut content = format!("{name} {version} ").into_bytes();
    content.resize(content.len() + size, b'x');
    content
}

/// A file with metadata of any kind.
fn make(path: &Path, content: &[u8], dice: &mut Dice) {
    fs::write(path, content).expect("written");
    let (user, group) = OWNERS[dice.below(OWNERS.len())];
    chown(path, Some(user), Some(group)).expect("an owner");
    if dice.below(2) == 0 {
        set_attribute(path, "user.note", &dice.bytes(8)).expect("an attribute");
    }
    // The mode first: a list opens a file to one more, and its mask shows in the mode.
    chmod(path, MODES[dice.below(MODES.len())]).expect("a mode");
    match dice.below(4) {
        0 => set_attribute(path, "system.posix_acl_access", &access_list(1234, 6)).expect("an access list"),
        1 => sh("setfacl", &[OsStr::new("-m"), OsStr::new("u:5678:rw,g::-,o::-"), path.as_os_str()]),
        _ => sh("setfacl", &[OsStr::new("-b"), path.as_os_str()]),
    }
}

/// Whether an entry of the replica shows no more to anyone than it may at this moment.
fn check(path: &[u8], now: &Node, source: &Tree, before: &Tree) -> Result<(), String> {
    let models: Vec<&Node> = match &now.what {
        // Whoever could read that content, under this name or under a temporary one.
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
    };
    beyond(now, &models).map_or(Ok(()), Err)
}
