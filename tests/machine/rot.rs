//! A replica whose blocks change below its filesystem: no time stamp moves, and `verify` tells that from a change.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{Ended, start};
use crate::support::scratch::Scratch;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

pub(crate) const TESTS: &[Test] =
    tests![bytes_that_flip_below_the_filesystem_are_rot_and_written_ones_are_a_change];

/// Longer than the time within which a second change could have the same stamps.
const SETTLES: Duration = Duration::from_secs(5);

/// Runs the program while the image is mounted as the replica.
fn mounted(place: &Scratch, script: &str, words: &str) -> Ended {
    start(place.behind_mounts(&format!("mount -o loop image replica; {script}"), words)).end()
}

fn bytes_that_flip_below_the_filesystem_are_rot_and_written_ones_are_a_change() {
    const MARK: &[u8] = b"a mark that is nowhere else on this disk";
    let place = Scratch::new();
    place.write("source/rots", MARK.repeat(200));
    place.write("source/changes", "before");
    place.write("source/stays", "as it is");
    fs::File::create(place.at("image")).and_then(|image| image.set_len(64 << 20)).expect("created");
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(place.at("image")).output();
    if !made.is_ok_and(|made| made.status.success()) {
        leave_out("it needs mkfs.ext4");
    }
    let once = "--source source --replica replica --log_file log --once";
    let clean = "rmdir replica/lost+found || true";
    assert_eq!(mounted(&place, clean, once).code, Some(0));
    sleep(SETTLES);
    // The second pass reads the copies back.
    assert_eq!(mounted(&place, "true", once).code, Some(0));
    let mut image = fs::read(place.at("image")).expect("readable");
    let at = image.windows(MARK.len()).position(|bytes| bytes == MARK).expect("the content is on the disk");
    image[at] ^= 1;
    fs::write(place.at("image"), image).expect("written");
    let script =
        "touch -r replica/changes stamp; printf beforE > replica/changes; touch -r stamp replica/changes";
    let ended = mounted(&place, script, "verify --replica replica");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = ended.stdout.lines().take(2).map(words).collect();
    assert_eq!(lines, ["changed changes", "rotted rots"], "{ended:?}");
    assert!(ended.stdout.contains("1 ok, 1 rotted, 0 missing, 1 changed"), "{ended:?}");
}
