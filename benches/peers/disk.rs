//! A fresh filesystem for each replica, with a count of the bytes written to it.
//!
//! It lies in a sparse image file behind a loop device. Where that is not allowed a plain folder takes its place; then
//! the replicas of earlier rounds are on the same filesystem, writes cannot be attributed, and the output says so.

use rustix::fs::{Mode, OFlags, open, syncfs};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Ext4,
    Xfs,
    Btrfs,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Ext4 => "ext4",
            Format::Xfs => "xfs",
            Format::Btrfs => "btrfs",
        }
    }
}

/// The place of the replicas.
pub(crate) struct Ground {
    folder: PathBuf,
    may_mount: bool,
}

/// The room that a filesystem needs.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// One replica's filesystem; removed at the end.
pub(crate) struct Disk {
    /// Does not exist before the first copy.
    pub(crate) replica: PathBuf,
    mounted: Option<Mounted>,
    folder: PathBuf,
}

struct Mounted {
    at: PathBuf,
    /// The statistics of the loop device in sysfs.
    statistics: PathBuf,
}

impl Ground {
    pub(crate) fn new(folder: &Path, may_mount: bool) -> Ground {
        fs::create_dir_all(folder).expect("a folder for replicas");
        Ground { folder: folder.to_owned(), may_mount }
    }

    /// The kind of filesystem, for a title.
    pub(crate) fn name(&self, format: Format) -> &'static str {
        if self.may_mount { format.name() } else { "plain folder" }
    }

    /// The reason why this format is not available; none if it is.
    pub(crate) fn lacks(&self, format: Format) -> Option<String> {
        if !self.may_mount {
            // A plain folder stands for the common filesystem only.
            return (format != Format::Ext4)
                .then(|| format!("{} is left out: it cannot be mounted here", format.name()));
        }
        let trial = self.disk(format, "trial", Need { bytes: 0, entries: 0 });
        trial.err().map(|why| format!("{} is left out: {why}", format.name()))
    }

    /// Creates a fresh filesystem.
    pub(crate) fn disk(&self, format: Format, name: &str, need: Need) -> Result<Disk, String> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut disk = Disk { replica: folder.join("replica"), mounted: None, folder: folder.clone() };
        if self.may_mount {
            let (image, at) = (folder.join("image"), folder.join("mnt"));
            // Room for the largest file twice and for ragged ends; unused room takes no space.
            let size = (1 << 30) + 2 * need.bytes + need.entries * (8 << 10);
            File::create(&image).and_then(|file| file.set_len(size)).map_err(|error| error.to_string())?;
            make(format, &image, 2 * need.entries + 10_000)?;
            fs::create_dir(&at).map_err(|error| error.to_string())?;
            disk.replica = at.join("replica");
            let options = match format {
                // Otherwise a kernel thread would go on writing inode tables during the next measurement.
                Format::Ext4 => "loop,noinit_itable",
                Format::Xfs | Format::Btrfs => "loop",
            };
            tool(Command::new("mount").args(["-o", options]).arg(&image).arg(&at))?;
            disk.mounted = Some(Mounted { statistics: PathBuf::new(), at: at.clone() });
            let device = device_of(&at).ok_or("no loop device in /proc/self/mountinfo")?;
            // Bypasses the cache of the image's filesystem: data would be cached twice, and written back at some later
            // time. A tmpfs cannot do that on older kernels, and does not need it.
            let _ = tool(Command::new("losetup").arg("--direct-io=on").arg(&device));
            let name = device.trim_start_matches("/dev/");
            let statistics = Path::new("/sys/block").join(name).join("stat");
            disk.mounted = Some(Mounted { at, statistics });
        }
        Ok(disk)
    }
}

impl Disk {
    /// Waits for `syncfs`.
    pub(crate) fn sync(&self) {
        let place = self.mounted.as_ref().map_or(&self.folder, |mounted| &mounted.at);
        let folder = open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        syncfs(folder.expect("the replica's filesystem")).expect("synced");
    }

    /// The bytes that the filesystem has written to its disk so far; none without a disk of its own.
    pub(crate) fn written(&self) -> Option<u64> {
        // Documentation/block/stat.rst of the kernel: the seventh number counts sectors of 512 bytes.
        let text = fs::read_to_string(&self.mounted.as_ref()?.statistics).ok()?;
        let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
        Some(sectors * 512)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            // A program that has just ended may hold it for a moment; the namespace ends with this process anyway.
            if tool(Command::new("umount").arg(&mounted.at)).is_err() {
                let _ = tool(Command::new("umount").arg("-l").arg(&mounted.at));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make(format: Format, image: &Path, inodes: u64) -> Result<(), String> {
    let mut command = match format {
        Format::Ext4 => {
            let mut mkfs = Command::new("mkfs.ext4");
            mkfs.args(["-q", "-F", "-b", "4096", "-I", "256", "-O", "large_dir", "-N", &inodes.to_string()]);
            // A sparse file is all zeros already.
            mkfs.args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]);
            mkfs
        }
        Format::Xfs => {
            let mut mkfs = Command::new("mkfs.xfs");
            mkfs.args(["-q", "-f", "-m", "reflink=1"]);
            mkfs
        }
        Format::Btrfs => {
            let mut mkfs = Command::new("mkfs.btrfs");
            mkfs.args(["-q", "-f"]);
            mkfs
        }
    };
    tool(command.arg(image))
}

/// Runs a helper tool; its stderr becomes the error when it fails.
pub(crate) fn tool(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program}: {}", told.trim().lines().next().unwrap_or("failed")))
}

/// The device of the filesystem that is mounted at a path (proc_pid_mountinfo(5)).
fn device_of(at: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line =
        mounts.lines().find(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == at))?;
    let (_, of_filesystem) = line.split_once(" - ")?;
    of_filesystem.split(' ').nth(1).map(str::to_owned)
}
