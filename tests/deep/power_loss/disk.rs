//! Disks whose power can be cut: a filesystem in an image file, and copies of the image as the disk would be found
//! after a power loss at that moment.
//!
//! A copy equals the content of the disk: the mounted filesystem reaches its image only through a loop device, which
//! passes every write that a disk would get to the image file by write(2). Data that the filesystem still keeps in its
//! own page cache (dirty data, an unwritten journal) is not in the image file, however the image file itself is cached.
//! So direct I/O of the loop device makes no difference.
//!
//! A copy is of one moment: the image file lies on an xfs that shares blocks, and is cloned by FICLONE. That takes the
//! inode's lock exclusively, which the writes of the loop device need as well. So each write is in the copy or it is
//! not, and none is later than a missing one. Stopping the program would not be enough, since the kernel writes back on
//! its own; freezing (FIFREEZE) would write everything out first. Device mapper, which has snapshots and dm-log-writes,
//! is missing from many kernels.
//!
//! The limit of the model: a disk with a volatile cache may lose or reorder writes since the last flush. That the
//! filesystem flushes at the right moments is taken on trust.
//!
//! The suite checks both claims itself: synced data is on the copy, other data is not, and two counters written in
//! turns never differ by more than one.

use crate::harness::kit::{Mount, has, sh, try_sh};
use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use rustix::fs::ioctl_ficlone;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// A filesystem for a disk.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) name: &'static str,
    mkfs: &'static [&'static str],
}

pub(crate) const FORMATS: [Format; 3] = [
    Format { name: "ext4", mkfs: &["mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256"] },
    Format { name: "xfs", mkfs: &["mkfs.xfs", "-q", "-f"] },
    Format { name: "btrfs", mkfs: &["mkfs.btrfs", "-q", "-f"] },
];

/// An unrelated subvolume (btrfs) or file (others).
const BYSTANDER: &str = "bystander";

/// The storage of the disks, in memory, with a place whose replica is on the mounted disk.
pub(crate) struct Shelf {
    pub(crate) place: Scratch,
    images: PathBuf,
    /// Dropped before the storage below it.
    _shared: Mount,
    _memory: Mount,
    _folder: tempfile::TempDir,
}

impl Shelf {
    /// # Errors
    /// The missing feature of this machine.
    pub(crate) fn new() -> Result<Shelf, String> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let memory = Mount::tmpfs(&folder.path().join("memory"), "size=4g");
        let at = folder.path().join("memory");
        let file = at.join("shared");
        File::create(&file).and_then(|made| made.set_len(3 << 30)).expect("an image");
        try_sh(
            "mkfs.xfs",
            &[OsStr::new("-q"), OsStr::new("-f"), OsStr::new("-mreflink=1"), file.as_os_str()],
        )?;
        let images = at.join("images");
        let shared =
            Mount::new(&images, "mount", &[OsStr::new("-o"), OsStr::new("loop,discard"), file.as_os_str()])?;
        let mut place = Scratch::below(&at);
        place.replica = place.at("mnt/replica");
        Ok(Shelf { place, images, _shared: shared, _memory: memory, _folder: folder })
    }

    /// An empty disk.
    ///
    /// # Errors
    /// The missing feature of this machine.
    pub(crate) fn format(&self, format: Format, name: &str) -> Result<Disk<'_>, String> {
        let [mkfs, options @ ..] = format.mkfs else { return Err("no mkfs".into()) };
        if !has(mkfs) {
            return Err(format!("{mkfs} is not installed"));
        }
        let file = self.images.join(name);
        File::create(&file).and_then(|made| made.set_len(512 << 20)).expect("an image");
        let arguments: Vec<&OsStr> = options.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
        try_sh(mkfs, &arguments)?;
        Ok(Disk { shelf: self, format, file })
    }
}

/// An image file, removed on drop.
pub(crate) struct Disk<'a> {
    shelf: &'a Shelf,
    format: Format,
    file: PathBuf,
}

impl Disk<'_> {
    /// Mounts the disk at the replica of the place. One disk of a shelf at a time: copies have the same identity, which
    /// xfs and btrfs refuse twice.
    pub(crate) fn mount(&self) -> Result<Mount, String> {
        if self.format.name == "btrfs" {
            // Older kernels remember the device and generation of its twin. Fails if nothing is remembered.
            let _ = try_sh("btrfs", &["device", "scan", "--forget"].map(OsStr::new));
        }
        let arguments = [OsStr::new("-o"), OsStr::new("loop"), self.file.as_os_str()];
        Mount::new(&self.shelf.place.at("mnt"), "mount", &arguments)
    }

    /// The disk as it is found after a power loss now.
    pub(crate) fn cut(&self, name: &str) -> Disk<'_> {
        let file = self.shelf.images.join(name);
        let (from, to) = (File::open(&self.file).expect("opened"), File::create(&file).expect("created"));
        ioctl_ficlone(&to, &from).expect("cloned");
        Disk { shelf: self.shelf, format: self.format, file }
    }

    /// Creates the bystander that [`Disk::commit`] needs.
    pub(crate) fn prepare(&self) {
        let bystander = self.shelf.place.at("mnt").join(BYSTANDER);
        if self.format.name == "btrfs" {
            sh("btrfs", &[OsStr::new("subvolume"), OsStr::new("create"), bystander.as_os_str()]);
        }
    }

    /// Makes the mounted filesystem commit its journal, without unrelated data. A kernel does that every few seconds on
    /// its own, and when another program fsyncs a file.
    pub(crate) fn commit(&self) {
        let bystander = self.shelf.place.at("mnt").join(BYSTANDER);
        if self.format.name == "btrfs" {
            let snapshot = tempfile::Builder::new().prefix("at ").tempdir_in(self.shelf.place.at("mnt"));
            let snapshot = snapshot.expect("a name").keep();
            sh(
                "btrfs",
                &[
                    OsStr::new("subvolume"),
                    OsStr::new("snapshot"),
                    bystander.as_os_str(),
                    snapshot.join("snapshot").as_os_str(),
                ],
            );
        } else {
            let file = File::create(bystander).expect("created");
            file.set_len(1).and_then(|()| file.sync_all()).expect("synced");
        }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // It is removed with its shelf in any case.
        let _ = fs::remove_file(&self.file);
    }
}

/// The model is neither kinder than a disk nor harsher.
pub(crate) fn is_faithful(shelf: &Shelf, format: Format) {
    let disk = shelf.format(format, "model").expect("a disk");
    let at = |name: &str| shelf.place.at("mnt").join(name);
    let content = Dice(7).bytes(200_000);
    let write = |name: &str| fs::write(at(name), &content).expect("written");
    let mount = disk.mount().expect("mounted");
    disk.prepare();
    write("firm");
    File::open(at("firm")).and_then(|file| file.sync_all()).expect("synced");
    write("temporary");
    fs::rename(at("temporary"), at("name only")).expect("renamed");
    disk.commit();
    write("loose");
    let cut = disk.cut("model cut");
    drop(mount);
    let _mount = cut.mount().expect("mounted");
    assert!(fs::read(at("firm")).is_ok_and(|found| found == content), "what was synced is there");
    let named = fs::read(at("name only")).expect("the journal has its name");
    assert!(named != content, "but not its data");
    assert!(fs::read(at("loose")).map_or(true, |found| found != content), "what was not synced is not there");
}

/// Two counters, synced in turns: on every copy they differ by at most one, and none is behind its last sync.
pub(crate) fn is_of_one_moment(shelf: &Shelf, format: Format) {
    const CUTS: usize = 6;
    const SLOTS: u64 = 8;
    let disk = shelf.format(format, "model").expect("a disk");
    let at = |name: &str| shelf.place.at("mnt").join(name);
    let mount = disk.mount().expect("mounted");
    let (synced, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    // Large counters, so that each takes many writes, far from those of the other.
    let count = |name: &str, number: u64| {
        let mut file = File::create(at(name)).expect("created");
        std::io::Write::write_all(&mut file, &number.to_le_bytes().repeat(8000)).expect("written");
        file.sync_all().expect("synced");
    };
    let cuts: Vec<(u64, Disk<'_>)> = scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let number = synced.load(Ordering::Relaxed) + 1;
                count(&format!("one {}", number % SLOTS), number);
                count(&format!("two {}", number % SLOTS), number);
                synced.store(number, Ordering::Relaxed);
            }
        });
        let cuts = (0..CUTS).map(|cut| {
            sleep(Duration::from_millis(50));
            (synced.load(Ordering::Relaxed), disk.cut(&format!("model cut {cut}")))
        });
        let cuts = cuts.collect();
        is_over.store(true, Ordering::Relaxed);
        cuts
    });
    drop(mount);
    assert!(cuts.last().is_some_and(|(synced, _)| *synced > 3), "the counters hardly moved");
    for (synced, cut) in cuts {
        let _mount = cut.mount().expect("mounted");
        let numbers = |name: &str| -> BTreeSet<u64> {
            let whole = (0..SLOTS).filter_map(|slot| {
                let content = fs::read(at(&format!("{name} {slot}"))).ok()?;
                let number: [u8; 8] = content.get(..8)?.try_into().ok()?;
                (content == number.repeat(8000)).then(|| u64::from_le_bytes(number))
            });
            whole.collect()
        };
        let (ones, twos) = (numbers("one"), numbers("two"));
        let (one, two) = (ones.last().copied().unwrap_or(0), twos.last().copied().unwrap_or(0));
        assert!(two >= synced && (one == two || one == two + 1), "{synced} were synced: {one} and {two}");
        // All of them, except the slot that is being rewritten.
        let recent = (two + 2).saturating_sub(SLOTS).max(1)..=two;
        let missing: Vec<u64> =
            recent.filter(|number| !(ones.contains(number) && twos.contains(number))).collect();
        assert!(missing.is_empty(), "of numbers up to {two}, {missing:?} are not whole");
    }
}
