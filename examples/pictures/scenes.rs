//! The scenes: three pictures of one story. A first pass; the disk with the source is not mounted; the state of all.

use crate::Pictures;
use crate::settle::Settled;
use crate::stage::{Tree, let_pass, mount, plant, quietly, serve, session, set, unmount};
use crate::svg::Drawing;
use crate::terminal::Terminal;
use std::path::Path;
use std::time::Duration;

const PHOTOS: Tree = &[
    ("2024/alps", &[("IMG_2041.jpg", 2_310), ("IMG_2042.jpg", 2_874), ("IMG_2047.jpg", 1_968)]),
    ("2025/lisbon", &[("IMG_3108.jpg", 3_120), ("IMG_3109.jpg", 2_655), ("tram-28.mp4", 9_216)]),
    ("2025/family", &[("IMG_3377.jpg", 2_204), ("IMG_3380.jpg", 2_981)]),
    ("", &[("captions.txt", 7)]),
];

const DOCUMENTS: Tree = &[
    ("taxes", &[("2024.pdf", 412), ("2025.pdf", 388)]),
    ("letters", &[("landlord.odt", 31), ("insurance.odt", 28)]),
    ("", &[("addresses.csv", 12)]),
];

const LATER_DOCUMENTS: Tree =
    &[("letters", &[("landlord.odt", 33), ("school.odt", 24)]), ("taxes", &[("receipts.pdf", 690)])];

const MUSIC: Tree = &[("live", &[("01.flac", 2_300), ("02.flac", 2_800)])];

const VERBS: [&str; 4] = ["create", "update", "delete", "metadata"];

const PHOTOS_ONCE: &str = "file-sync --source /srv/photos --replica /mnt/usb/photos --once";

/// Plays them and draws them.
pub(crate) fn play(program: &Path) -> Pictures {
    set(program);
    mount("/srv/photos");
    mount("/mnt/usb");
    plant("/srv/photos", PHOTOS);
    let pictures =
        [("first-pass.svg", first_pass()), ("held-pass.svg", held_pass()), ("status.svg", status())];
    pictures.map(|(name, picture)| (name.to_owned(), picture)).into()
}

/// Draws a terminal in which one command runs and ends with this exit code.
fn picture(settled: Settled, line: &str, code: i32, title: &str, description: &str) -> String {
    let mut terminal = Terminal::new(settled);
    let ended = terminal.run(session(), line);
    let mut screen = terminal.screen();
    assert_eq!(ended, Some(code), "the exit code of {line}:\n{}", screen.text());
    screen.sort_after(&VERBS);
    Drawing { title, description, screen: &screen }.svg()
}

fn first_pass() -> String {
    picture(
        Settled::at("2026-11-27", "09:15:02"),
        PHOTOS_ONCE,
        0,
        "A first pass",
        "file-sync copies the folder /srv/photos to /mnt/usb/photos for the first time: a line for each file, then the totals.",
    )
}

/// The mount point of the source is empty: without a guard the replica would be emptied.
fn held_pass() -> String {
    unmount("/srv/photos");
    picture(
        Settled::at("2026-11-28", "07:40:12"),
        PHOTOS_ONCE,
        25,
        "A held pass",
        "The disk of /srv/photos is not mounted. file-sync holds the pass instead of deleting the replica, and names the \
         command that lets it through.",
    )
}

fn status() -> String {
    // Some seconds more than whole hours, which are rounded: so nothing depends on how long this takes.
    let hours = |count: u64| Duration::from_secs(count * 3_600 + 5);
    // The hold was two hours ago, and the first pass almost a day before it.
    let_pass("/mnt/usb/photos", hours(22), 1);
    let_pass("/mnt/usb/photos", hours(2), 0);
    mount("/mnt/nas");
    plant("/srv/documents", DOCUMENTS);
    quietly("file-sync --source /srv/documents --replica /mnt/nas/docs --once");
    let_pass("/mnt/nas/docs", hours(12), 0);
    plant("/srv/documents", LATER_DOCUMENTS);
    let documents = "file-sync --source /srv/documents --replica /mnt/nas/docs --interval 12h --log_file -";
    let mut service = serve(documents, "/mnt/nas/docs");
    let_pass("/mnt/nas/docs", hours(3), 0);
    plant("/srv/music", MUSIC);
    quietly("file-sync --source /srv/music --replica /mnt/nas/music --once --rpo 2d");
    let_pass("/mnt/nas/music", hours(9), 0);
    let picture = picture(
        Settled::at("2026-11-28", "07:40:12"),
        "file-sync status",
        0,
        "The state of all replicas",
        "file-sync status lists the age of each replica against its recovery point objective, and explains the one that is \
         held.",
    );
    service.kill().and_then(|()| service.wait()).expect("it has run until now");
    picture
}
