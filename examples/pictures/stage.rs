//! The machine of the pictures: file systems of its own at /srv, /mnt and /root, so that paths read as they do on a
//! computer of somebody, and are the same wherever the pictures are made.
//!
//! Only the inner process gets here, whose mounts nobody else sees.

use crate::dice::Dice;
use rusqlite::Connection;
use rustix::fs::statvfs;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

const HOME: &str = "/root";

/// Folders, each with its files and their sizes in KiB.
pub(crate) type Tree = &'static [(&'static str, &'static [(&'static str, usize)])];

/// Mounts the filesystems and puts the program on the `PATH`.
pub(crate) fn set(program: &Path) {
    let program = fs::read(program).expect("the program is built");
    for place in ["/srv", "/mnt", HOME] {
        mount(place);
    }
    let bin = Path::new(HOME).join("bin");
    fs::create_dir(&bin).expect("created");
    fs::write(bin.join("file-sync"), program).expect("written");
    fs::set_permissions(bin.join("file-sync"), Permissions::from_mode(0o755)).expect("set");
}

/// A filesystem of its own, as a disk that is plugged in. Its id is drawn until both halves have all their digits: it may be
/// shown, and lines are filled by the length of their words.
pub(crate) fn mount(place: &str) {
    fs::create_dir_all(place).expect("created");
    loop {
        done(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", place]));
        let id = statvfs(place).expect("mounted").f_fsid;
        if [id >> 32, id & 0xffff_ffff].iter().all(|half| *half >= 0x1000_0000) {
            return;
        }
        unmount(place);
    }
}

pub(crate) fn unmount(place: &str) {
    done(Command::new("umount").arg(place));
}

fn done(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

/// Writes files with contents that are the same in every run, and old.
pub(crate) fn plant(root: &str, tree: Tree) {
    const MAY_2025: u64 = 1_746_100_000;
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(MAY_2025);
    for (number, (folder, files)) in (0..).zip(tree) {
        let folder = Path::new(root).join(folder);
        fs::create_dir_all(&folder).expect("created");
        for (name, kib) in *files {
            let path = folder.join(name);
            fs::write(&path, Dice::new(3, number).bytes(kib << 10)).expect("written");
            File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("a time");
        }
        File::open(&folder).and_then(|folder| folder.set_modified(old)).expect("a time");
    }
}

/// setsid(1), which gives the shell that it starts a terminal, with the environment of a person in it.
pub(crate) fn session() -> Command {
    let mut command = Command::new("setsid");
    command.env_clear().current_dir(HOME).envs([
        ("PATH", format!("{HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin").as_str()),
        ("HOME", HOME),
        ("TERM", "xterm-256color"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]);
    command
}

/// A command that nobody looks at.
pub(crate) fn quietly(line: &str) {
    let output = session().args(["--wait", "sh", "-c", line]).output().expect("it starts");
    assert!(output.status.success(), "{line}: {output:?}");
}

/// Starts a process that stays, as a service does, and waits until its first pass is done.
pub(crate) fn serve(line: &str, replica: &str) -> Child {
    let mut service = session();
    service.args(["sh", "-c", &format!("exec {line} >/dev/null 2>&1")]);
    let service = service.spawn().expect("it starts");
    // If this process ends early, the namespaces do, and the service with them.
    wait_for_next_pass(replica);
    service
}

/// Waits until a pass is done and the next one is planned.
fn wait_for_next_pass(replica: &str) {
    let begin = Instant::now();
    let status = format!("file-sync status --json --replica {replica}");
    loop {
        let output = session().args(["--wait", "sh", "-c", &status]).output().expect("it starts");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        let pair = &report["pairs"][0];
        if pair["last_pass"]["outcome"] == "done" && pair["next_pass"].is_string() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no pass is done: {report}");
        sleep(Duration::from_millis(20));
    }
}

/// Moves the passes of a pair, all but the last `kept` ones, into the past: nobody waits for hours.
pub(crate) fn let_pass(replica: &str, ago: Duration, kept: u32) {
    let state = Path::new(HOME).join(".local/state/file-sync");
    let databases = fs::read_dir(state).expect("the state folder");
    let databases = databases.map(|entry| entry.expect("readable").path());
    for database in databases.filter(|path| path.extension().is_some_and(|end| end == "db")) {
        let index = Connection::open(&database).expect("an index");
        let found: Vec<u8> =
            index.query_row("SELECT replica FROM pair", [], |row| row.get(0)).expect("a pair");
        if found == replica.as_bytes() {
            let moved = "UPDATE pass SET started = started - ?1, ended = ended - ?1
                WHERE id NOT IN (SELECT id FROM pass ORDER BY id DESC LIMIT ?2)";
            let milliseconds = i64::try_from(ago.as_millis()).expect("hours");
            let rows = index.execute(moved, (milliseconds, kept)).expect("moved");
            assert!(rows > 0, "no pass of {replica} in {}", database.display());
            return;
        }
    }
    panic!("no index has the replica {replica}");
}
