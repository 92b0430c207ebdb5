//! Measures passes over a filesystem on which every call takes a millisecond, as over a network, and so the share of
//! the waiting that many workers save. `cargo bench --bench latency` mounts two equal trees of files by FUSE with
//! delayed answers, as source and as replica, and runs one pass with each number of workers, and one with the program's
//! own choice.
//!
//! With `--one-head` each tree answers one call at a time, and takes a tenth of the time for inodes beside the last
//! one: a disk with one head. Of the waiting calls it serves the nearest, as the queues of the kernel and of a disk do;
//! with `--in-order` the first, as a disk without such queues.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing better to do than to stop")]

#[path = "../tests/support/mod.rs"]
mod support;

use clap::Parser;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyXattr, Request,
};
use std::collections::BTreeMap;
use std::env::{args_os, current_exe, var_os};
use std::ffi::OsStr;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};
use support::namespaces::in_namespaces;
use support::scratch::Scratch;

/// Set for the inner process, where it may mount.
const MAY_MOUNT: &str = "FILE_SYNC_LATENCY_MAY_MOUNT";

/// The greatest number of calls that are answered at once on each side.
const SERVERS: usize = 96;

/// The lifetime of entries and attributes in the kernel's cache.
const KEPT: Duration = Duration::from_secs(1);

/// Times passes over a filesystem whose every call takes long
#[derive(Parser)]
#[command(name = "cargo bench --bench latency --", disable_version_flag = true)]
struct Arguments {
    /// Microseconds that each call takes
    #[arg(long, default_value_t = 1000)]
    delay: u64,

    /// Folders
    #[arg(long, default_value_t = 80)]
    folders: u64,

    /// Files of 100 bytes in each of them
    #[arg(long, default_value_t = 50)]
    files: u64,

    /// Numbers of workers, separated by commas; the first is what perfect scaling is reckoned from. 0 leaves it to the program
    #[arg(long, default_value = "1,2,8,32,0", value_delimiter = ',')]
    threads: Vec<u32>,

    /// Each tree answers one call at a time, and quicker what lies beside what it answered last
    #[arg(long)]
    one_head: bool,

    /// What waits for the head is answered in the order of its coming
    #[arg(long, requires = "one_head")]
    in_order: bool,

    /// What cargo bench adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // cargo bench passes it. `cargo test --all-targets` runs this program too, and must not measure anything.
    if !args_os().any(|word| word == "--bench") {
        println!("not measured: cargo bench --bench latency does that");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    if var_os(MAY_MOUNT).is_some() {
        return measure(&arguments);
    }
    let mut inner = in_namespaces(&current_exe().expect("this program"), MAY_MOUNT);
    // Without root FUSE mounts by its own helper.
    let status = inner.args(args_os().skip(1)).env(MAY_MOUNT, "1").status().expect("it starts");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(arguments: &Arguments) -> ExitCode {
    let scratch = Scratch::new();
    let calls = Arc::new(AtomicU64::new(0));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("slow".to_owned())];
    config.n_threads = Some(SERVERS);
    config.clone_fd = true;
    let mut mounts = Vec::new();
    for at in [&scratch.source, &scratch.replica] {
        let tree = Tree {
            delay: Duration::from_micros(arguments.delay),
            folders: arguments.folders,
            files: arguments.files,
            calls: Arc::clone(&calls),
            head: arguments.one_head.then(|| Head { in_order: arguments.in_order, ..Head::default() }),
        };
        match fuser::spawn_mount(tree, at, &config) {
            Ok(mount) => mounts.push(mount),
            Err(error) => {
                println!("not measured: FUSE cannot be mounted here: {error}");
                return ExitCode::SUCCESS;
            }
        }
    }
    let files = arguments.folders * arguments.files;
    let entries = arguments.folders + files;
    println!("{files} files, every call takes {} µs; no change, contents compared", arguments.delay);
    println!("  -j     calls      time   perfect   ratio");
    let mut first = None;
    for threads in arguments.threads.iter().copied() {
        let before = calls.load(Ordering::Relaxed);
        let time = pass(&scratch, threads, entries);
        let calls = calls.load(Ordering::Relaxed) - before;
        let (least, of_least) = *first.get_or_insert((threads, time));
        if threads == 0 {
            println!("auto  {calls:8}  {time:6.2} s");
        } else {
            let perfect = of_least * f64::from(least) / f64::from(threads);
            println!("{threads:4}  {calls:8}  {time:6.2} s  {perfect:6.2} s  {:6.2}", time / perfect);
        }
        // The kernel's cache must expire.
        sleep(2 * KEPT);
    }
    drop(mounts);
    ExitCode::SUCCESS
}

/// The seconds that a pass takes.
fn pass(scratch: &Scratch, threads: u32, entries: u64) -> f64 {
    // The log may not exist.
    let _ = fs::remove_file(&scratch.log);
    let mut command = scratch.command("--once --log-format json");
    if threads > 0 {
        command.args(["--threads", &threads.to_string()]);
    }
    command.stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status().expect("it runs");
    let time = begin.elapsed().as_secs_f64();
    let log = scratch.log();
    let done = format!("\"unchanged\":{entries},");
    assert!(status.success() && log.contains(&done), "{status}: {log}");
    time
}

/// A read-only tree: folders in the root, and files in each of them. The root is inode 1, then come the folders, then
/// the files.
struct Tree {
    delay: Duration,
    folders: u64,
    files: u64,
    calls: Arc<AtomicU64>,
    head: Option<Head>,
}

/// A head that answers one call at a time.
#[derive(Default)]
struct Head {
    in_order: bool,
    queue: Mutex<Waiting>,
    is_free: Condvar,
}

/// The queue of a head.
#[derive(Default)]
struct Waiting {
    /// The inode that was answered last.
    at: u64,
    is_busy: bool,
    /// The number of calls so far, and the inode of each waiting call.
    come: u64,
    calls: BTreeMap<u64, u64>,
}

impl Head {
    fn answer(&self, inode: u64, delay: Duration) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let call = queue.come;
        queue.come += 1;
        queue.calls.insert(call, inode);
        while queue.is_busy || self.next(&queue) != Some(call) {
            queue = self.is_free.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.calls.remove(&call);
        queue.is_busy = true;
        let distance = queue.at.abs_diff(inode);
        drop(queue);
        sleep(if distance <= NEAR { delay / 10 } else { delay });
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        (queue.is_busy, queue.at) = (false, inode);
        self.is_free.notify_all();
    }

    /// The next call to answer.
    fn next(&self, queue: &Waiting) -> Option<u64> {
        let calls = queue.calls.iter();
        let next = calls.min_by_key(|(_, inode)| if self.in_order { 0 } else { queue.at.abs_diff(**inode) });
        next.map(|(call, _)| *call)
    }
}

/// The distance within which an inode takes a tenth of the time.
const NEAR: u64 = 16;

const CONTENT: [u8; 100] = [7; 100];

impl Tree {
    fn wait(&self, inode: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.head {
            None => sleep(self.delay),
            Some(head) => head.answer(inode, self.delay),
        }
    }

    fn is_folder(&self, inode: u64) -> bool {
        inode < 2 + self.folders
    }

    /// The first inode in a folder, and the number of inodes there.
    fn inside(&self, folder: u64) -> (u64, u64) {
        match folder {
            1 => (2, self.folders),
            folder => (2 + self.folders + (folder - 2) * self.files, self.files),
        }
    }

    fn facts(&self, inode: u64) -> FileAttr {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let is_folder = self.is_folder(inode);
        FileAttr {
            ino: INodeNo(inode),
            size: if is_folder { 0 } else { CONTENT.len() as u64 },
            blocks: 8,
            atime: moment,
            mtime: moment,
            ctime: moment,
            crtime: moment,
            kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
            perm: if is_folder { 0o755 } else { 0o644 },
            nlink: if is_folder { 2 } else { 1 },
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Tree {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // As in the kernel's own network filesystems: one call in a folder does not wait for another. Without it the
        // figures show that.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (first, count) = self.inside(parent.0);
        self.wait(
            name.to_str().and_then(|name| name.parse::<u64>().ok()).map_or(parent.0, |number| first + number),
        );
        match name.to_str().and_then(|name| name.parse::<u64>().ok()).filter(|number| *number < count) {
            Some(number) => reply.entry(&KEPT, &self.facts(first + number), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.wait(inode.0);
        reply.attr(&KEPT, &self.facts(inode.0));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.wait(inode.0);
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.wait(inode.0);
        let rest = usize::try_from(offset).ok().and_then(|offset| CONTENT.get(offset..)).unwrap_or_default();
        reply.data(rest.get(..size as usize).unwrap_or(rest));
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.wait(inode.0);
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.wait(inode.0);
        let (first, count) = self.inside(inode.0);
        for number in offset..count {
            let kind =
                if self.is_folder(first + number) { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(first + number), number + 1, kind, number.to_string()) {
                break;
            }
        }
        reply.ok();
    }

    fn listxattr(&self, _: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        self.wait(inode.0);
        if size == 0 { reply.size(0) } else { reply.data(&[]) }
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        self.wait(inode.0);
        reply.error(Errno::NO_XATTR);
    }
}
