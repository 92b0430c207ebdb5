//! Rot: bytes flipped in the image of a filesystem while it is not mounted, so that no time stamp moves. A source that
//! rotted does not overwrite its good replica; a replica that rotted is repaired; where times prove nothing, it is an
//! update with a warning.

use crate::harness::cases::Cases;
use crate::harness::images::{EXFAT_FUSE, EXT4, Image, XFS, mounted, mounted_again};
use crate::harness::kit::{Mount, Pass, may_mount, skip};
use crate::support::index;
use crate::support::scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Longer than the age at which a time stamp proves something.
const SETTLED: Duration = Duration::from_millis(4_100);

/// Without checksums, which would make the flipped block unreadable.
const BTRFS: Image = Image {
    name: "btrfs",
    size: 256 << 20,
    mkfs: &["mkfs.btrfs", "-q", "-f"],
    mount: &["mount", "-o", "loop,nodatasum"],
};

const MARK: &[u8] = b"the bytes that are flipped below";

pub(crate) fn run() {
    if !may_mount() {
        return skip("rot", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("rot");
    for image in [EXT4, XFS, BTRFS] {
        one(&cases, &image, "the source rots", source_rots);
        one(&cases, &image, "the source rots and is approved", source_rots_and_is_approved);
        one(&cases, &image, "the replica rots", replica_rots);
    }
    one(&cases, &EXFAT_FUSE, "the source changes and its times do not", times_prove_nothing);
    cases.finish();
}

fn one(cases: &Cases, image: &Image, what: &str, check: fn(&mut Bed)) {
    let name = format!("{}: {what}", image.name);
    if cases.wants(&name) {
        match Bed::new(image, what.contains("replica")) {
            Ok(mut bed) => cases.run(&name, || check(&mut bed)),
            Err(why) => skip(image.name, &why),
        }
    }
}

/// Two trees, of which one lies on a filesystem in an image.
struct Bed<'a> {
    place: Scratch,
    image: &'a Image,
    mount: Option<Mount>,
    rots: PathBuf,
}

impl Bed<'_> {
    /// Mirrored, with records that are settled.
    fn new(image: &Image, is_replica: bool) -> Result<Bed<'_>, String> {
        let mut place = Scratch::new();
        let mount = mounted(&place, image)?;
        let root = place.at("mnt/root");
        fs::create_dir(&root).expect("created");
        if is_replica {
            place.replica.clone_from(&root);
        } else {
            place.source.clone_from(&root);
        }
        fs::create_dir_all(place.source.join("folder")).expect("created");
        fs::write(place.source.join("folder/file"), content()).expect("written");
        fs::write(place.source.join("other"), "other").expect("written");
        let bed = Bed { rots: root.join("folder/file"), place, image, mount: Some(mount) };
        // Where another clock may stamp, facts are believed once they have stood still for a pass.
        let passes = if image.name == EXFAT_FUSE.name { 3 } else { 2 };
        for _ in 0..passes {
            sleep(SETTLED);
            assert_eq!(bed.place.once(&[]).code, Some(0));
        }
        assert_eq!(index::check(&bed.place).claims, 4);
        Ok(bed)
    }

    /// Flips a bit in the file's content while its filesystem is not mounted.
    fn rot(&mut self) {
        let facts = |path: &Path| {
            let facts = fs::metadata(path).expect("it is there");
            (facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec())
        };
        let before = facts(&self.rots);
        drop(self.mount.take());
        let path = self.place.at("image");
        let mut image = fs::read(&path).expect("readable");
        let mut flipped = 0;
        while let Some(at) = image.windows(MARK.len()).position(|window| window == MARK) {
            image[at] ^= 1;
            flipped += 1;
        }
        assert!(flipped > 0, "the content is in the image");
        fs::write(&path, image).expect("written");
        self.mount = Some(mounted_again(&self.place, self.image).expect("it mounts"));
        assert_eq!(facts(&self.rots), before, "nothing that a writer would move has moved");
        assert_ne!(fs::read(&self.rots).expect("readable"), content());
    }

    fn has_good_replica(&self) -> bool {
        fs::read(self.place.replica.join("folder/file")).expect("readable") == content()
    }
}

fn content() -> Vec<u8> {
    let mut content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    content[200_000..200_000 + MARK.len()].copy_from_slice(MARK);
    content
}

fn rotted(pass: &Pass) -> Vec<&Value> {
    pass.events.iter().filter(|event| event["problem"] == "trust_source_file").collect()
}

fn source_rots(bed: &mut Bed<'_>) {
    bed.rot();
    for options in [&[][..], &["--rehash-after", "0", "--digest-after", "0"], &["--compare", "bytes"]] {
        let pass = bed.place.once(options);
        assert_eq!(pass.code, Some(23), "{options:?}: {:?}", pass.events);
        let told = rotted(&pass);
        assert_eq!(told.len(), 1, "{:?}", pass.events);
        assert_eq!(told[0]["path"], "folder/file");
        assert_ne!(told[0]["found_sha256"], told[0]["recorded_sha256"]);
        assert!(bed.has_good_replica());
    }
    // Restored from the replica.
    fs::copy(bed.place.replica.join("folder/file"), &bed.rots).expect("copied");
    assert_eq!(bed.place.once(&[]).code, Some(0));
    assert!(bed.has_good_replica());
}

fn source_rots_and_is_approved(bed: &mut Bed<'_>) {
    bed.rot();
    assert_eq!(bed.place.once(&[]).code, Some(23));
    let mut approve = std::process::Command::new(&bed.place.program);
    approve.args(["approve", "--state-dir"]).arg(bed.place.state().join("file-sync")).arg(&bed.rots);
    let output = approve.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.place.once(&["--dry-run"]).code, Some(0), "a dry run uses no approval up");
    let pass = bed.place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.events);
    assert!(!bed.has_good_replica());
    // It holds for this content only.
    let pass = bed.place.once(&[]);
    assert_eq!((pass.code, rotted(&pass).len()), (Some(0), 0), "{:?}", pass.events);
}

fn replica_rots(bed: &mut Bed<'_>) {
    bed.rot();
    let pass = bed.place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.events);
    let repaired: Vec<&Value> = pass.events.iter().filter(|event| event["verb"] == "repair").collect();
    assert_eq!((repaired.len(), &repaired[0]["level"]), (1, &Value::from("WARN")), "{:?}", pass.events);
    assert!(bed.has_good_replica());
}

fn times_prove_nothing(bed: &mut Bed<'_>) {
    bed.rot();
    let pass = bed.place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.events);
    let told = pass.events.iter().filter(|event| event["notice"] == "times_stood_still").count();
    assert_eq!(told, 1, "{:?}", pass.events);
    assert!(!bed.has_good_replica(), "a container that keeps its times is mirrored");
}
