//! Source files that change in place while passes read them: two that grow, one that is rewritten part by part, one
//! that is emptied and written anew. The writer and the judge of these files for the storm.
//!
//! A reader of the replica has to find the file as it was at some moment, and never at an earlier moment than before.
//! Only one thread writes, so the moments are known. A growing file is a prefix of its content. A file that is
//! rewritten part by part has new parts up to one point of the writing order, and old ones from there on.
//!
//! One change during a read does not tear the copy: it has the file before the change or after it. Two changes do, if
//! the first is behind the reader and the second ahead. So the rewritten file is large, each second part lies far
//! behind the one written before it, and the time between is short, but longer than a step of the kernel's clock: a
//! copy is trusted because the ctime of its source is the same before and after, and before Linux 6.13 two changes
//! within one step have the same.
//!
//! A part that is being written is the one exception, and may be any mix of its two versions: a write is not atomic for
//! a reader, and the kernel sets the times before the bytes (docs/proof.md).

use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use rustix::time::{ClockId, clock_getres};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const GROWING: &str = "moving/grows";
/// Its hole makes the program seek data, instead of reading from the first byte to the last.
const GROWING_AFTER_A_HOLE: &str = "moving/grows after a hole";
const REWRITTEN: &str = "moving/rewritten";
const EMPTIED: &str = "moving/emptied";
const NAMES: [&str; 4] = [GROWING, GROWING_AFTER_A_HOLE, REWRITTEN, EMPTIED];

const HOLE: usize = 1 << 20;

/// A longer growing file is replaced by a new one, as logs are.
const LONGEST: usize = 2 << 20;

const PART: usize = 3 << 19;
const PARTS: usize = 8;
/// The order in which the parts are written.
const ORDER: [usize; PARTS] = [0, 4, 1, 5, 2, 6, 3, 7];

/// All files consist of cells that contain their version and their place.
const CELL: usize = 16;

/// The bytes of a version in a range.
fn bytes(version: u64, range: Range<usize>) -> Vec<u8> {
    let first = range.start / CELL;
    let cells = (first..range.end.div_ceil(CELL)).flat_map(|place| cell(version, place));
    cells.skip(range.start - first * CELL).take(range.len()).collect()
}

/// Inverted, since nearly all bytes of small numbers are zeros, like those of a hole.
fn cell(version: u64, place: usize) -> [u8; CELL] {
    let mut cell = [0; CELL];
    cell[..8].copy_from_slice(&(!version).to_le_bytes());
    cell[8..].copy_from_slice(&(!(place as u64)).to_le_bytes());
    cell
}

/// A file that only grows, by one write each time; then a new one replaces it.
struct Growing {
    name: &'static str,
    hole: usize,
    version: u64,
    length: usize,
    file: File,
}

impl Growing {
    fn begin(place: &Scratch, name: &'static str, hole: usize, version: u64) -> Growing {
        let new = place.at("staging/growing");
        let file = File::create(&new).expect("created");
        let mut growing = Growing { name, hole, version, length: 0, file };
        growing.add(CELL);
        fs::rename(new, place.source.join(name)).expect("replaced");
        growing
    }

    fn add(&mut self, size: usize) {
        let end = self.length + size;
        let at = (self.hole + self.length) as u64;
        self.file.write_all_at(&bytes(self.version, self.length..end), at).expect("written");
        self.length = end;
    }

    fn step(&mut self, place: &Scratch, dice: &mut Dice) {
        if self.length > LONGEST {
            *self = Growing::begin(place, self.name, self.hole, self.version + 1);
        }
        let most = if dice.below(10) == 0 { 100_000 } else { 3000 };
        self.add(1 + dice.below(most));
    }
}

/// A file of a fixed size that is overwritten part by part.
struct Rewritten {
    version: u64,
    next: usize,
    file: File,
    rest: usize,
}

impl Rewritten {
    fn step(&mut self, dice: &mut Dice) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let from = ORDER[self.next] * PART;
        self.file.write_all_at(&bytes(self.version, from..from + PART), from as u64).expect("written");
        self.next += 1;
        if self.next == PARTS {
            (self.version, self.next, self.rest) = (self.version + 1, 0, dice.below(30));
        }
    }
}

/// A file that is emptied and written anew, at once or in steps.
struct Emptied {
    version: u64,
    length: usize,
    whole: usize,
    file: File,
    rest: usize,
}

impl Emptied {
    fn step(&mut self, dice: &mut Dice) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        if self.length == self.whole {
            (self.version, self.length, self.whole) =
                (self.version + 1, 0, 1_000_000 + dice.below(3_000_000));
            self.file.set_len(0).expect("emptied");
        }
        let some = if dice.below(2) == 0 { self.whole } else { dice.below(300_000) };
        let end = self.whole.min(self.length + some);
        let new = bytes(self.version, self.length..end);
        self.file.write_all_at(&new, self.length as u64).expect("written");
        self.length = end;
        if self.length == self.whole {
            self.rest = 1 + dice.below(20);
        }
    }
}

/// Longer than a step of the clock that sets file times.
fn pause() -> Duration {
    let step = clock_getres(ClockId::RealtimeCoarse);
    Duration::from_nanos(step.tv_nsec.unsigned_abs()) + Duration::from_millis(1)
}

/// Writes all these files.
pub(crate) struct Writer<'a> {
    place: &'a Scratch,
    growing: [Growing; 2],
    rewritten: Rewritten,
    emptied: Emptied,
    /// The time between two steps: longer than one of the kernel's clock.
    pause: Duration,
    /// The number of waits until the replica equalled the source.
    pub(crate) rests: usize,
}

impl Writer<'_> {
    pub(crate) fn new(place: &Scratch) -> Writer<'_> {
        fs::create_dir(place.source.join("moving")).expect("created");
        let make = |name: &str| File::create(place.source.join(name)).expect("created");
        let mut rewritten = Rewritten { version: 1, next: 0, file: make(REWRITTEN), rest: 0 };
        for _ in 0..PARTS {
            rewritten.step(&mut Dice(0));
        }
        Writer {
            place,
            growing: [
                Growing::begin(place, GROWING, 0, 1),
                Growing::begin(place, GROWING_AFTER_A_HOLE, HOLE, 1),
            ],
            rewritten,
            emptied: Emptied { version: 0, length: 0, whole: 0, file: make(EMPTIED), rest: 0 },
            pause: pause(),
            rests: 0,
        }
    }

    pub(crate) fn step(&mut self, over: &AtomicBool, dice: &mut Dice) {
        for growing in &mut self.growing {
            growing.step(self.place, dice);
        }
        self.rewritten.step(dice);
        self.emptied.step(dice);
        sleep(self.pause);
        if dice.below(100) == 0 {
            self.rest(over);
        }
    }

    /// A file that rests for long enough is mirrored, despite the storm around it.
    fn rest(&mut self, over: &AtomicBool) {
        let begin = Instant::now();
        let has_arrived = |name: &&str| {
            fs::read(self.place.source.join(name)).expect("there")
                == fs::read(self.place.replica.join(name)).expect("there")
        };
        while !NAMES.iter().all(has_arrived) {
            // No more passes follow then.
            if over.load(Ordering::Relaxed) {
                return;
            }
            let late: Vec<_> = NAMES.into_iter().filter(|name| !has_arrived(name)).collect();
            assert!(begin.elapsed() < Duration::from_secs(60), "{late:?} rest and do not arrive");
            sleep(Duration::from_millis(20));
        }
        self.rests += 1;
    }
}

/// A moment of a file: its version, and its length at that time.
type Moment = (u64, usize);

/// The observations of a reader of the replica.
#[derive(Default)]
pub(crate) struct Reader {
    last: [Moment; NAMES.len()],
    /// The number of different moments of each.
    moments: [usize; NAMES.len()],
}

impl Reader {
    pub(crate) fn look(&mut self, place: &Scratch, dice: &mut Dice) {
        let number = dice.below(NAMES.len());
        let name = NAMES[number];
        let content = fs::read(place.replica.join(name));
        let content = content.unwrap_or_else(|error| panic!("{name} is missing in the replica: {error}"));
        let moment =
            moment(name, &content).unwrap_or_else(|why| panic!("{name} is torn in the replica: {why}"));
        let Some(moment) = moment else { return };
        let last = &mut self.last[number];
        assert!(*last <= moment, "{name} went back in the replica, from {last:?} to {moment:?}");
        self.moments[number] += usize::from(*last < moment);
        *last = moment;
    }

    /// Reports the observations; a reader that saw nothing proves nothing.
    pub(crate) fn tell(&self, rests: usize) -> String {
        let counts = NAMES.iter().zip(self.moments).map(|(name, moments)| format!("{moments} of {name}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        assert!(self.moments.iter().all(|moments| *moments >= 5), "only few moments: {counts}");
        format!("moments seen: {counts}; {rests} times all at rest")
    }
}

/// The moment of a content, or the reason why it has none. An empty file has many: it contains no version.
fn moment(name: &str, content: &[u8]) -> Result<Option<Moment>, String> {
    match name {
        REWRITTEN => moment_of_rewritten(content).map(Some),
        GROWING_AFTER_A_HOLE => {
            let (hole, rest) = content.split_at_checked(HOLE).ok_or("shorter than its hole")?;
            if hole.iter().any(|byte| *byte != 0) {
                return Err("something in its hole".to_owned());
            }
            moment_of_growing(rest)
                .and_then(|moment| moment.ok_or("nothing after its hole".to_owned()))
                .map(Some)
        }
        GROWING => moment_of_growing(content).and_then(|moment| moment.ok_or("empty".to_owned())).map(Some),
        _ => moment_of_growing(content),
    }
}

/// All of it is a prefix of one version.
fn moment_of_growing(content: &[u8]) -> Result<Option<Moment>, String> {
    let (cells, rest) = content.as_chunks::<CELL>();
    let Some(first) = cells.first() else {
        return if rest.is_empty() { Ok(None) } else { Err("less than a cell".to_owned()) };
    };
    let (version, _) = read(first);
    match cells.iter().enumerate().find(|(place, found)| **found != cell(version, *place)) {
        Some((place, found)) => {
            let of = content.len();
            let (found, length) = (read(found), place * CELL);
            Err(format!("version {version} for {length} of {of} bytes, then version and place {found:?}"))
        }
        None if !cell(version, cells.len()).starts_with(rest) => Err(format!("its last bytes are {rest:?}")),
        None => Ok(Some((version, content.len()))),
    }
}

/// In the order of writing: new parts, then at most one that is being written, then old ones.
fn moment_of_rewritten(content: &[u8]) -> Result<Moment, String> {
    if content.len() != PARTS * PART {
        return Err(format!("{} bytes", content.len()));
    }
    let (cells, _) = content.as_chunks::<CELL>();
    if let Some((place, found)) =
        cells.iter().enumerate().find(|(place, found)| read(found).1 != *place as u64)
    {
        return Err(format!("at {}: version and place {:?}", place * CELL, read(found)));
    }
    let parts = ORDER.map(|part| {
        let versions = || cells.iter().skip(part * PART / CELL).take(PART / CELL).map(|cell| read(cell).0);
        (versions().min().unwrap_or_default(), versions().max().unwrap_or_default())
    });
    let new = parts.iter().map(|(_, newest)| *newest).max().unwrap_or_default();
    let old = new.saturating_sub(1);
    let done = parts.iter().take_while(|part| **part == (new, new)).count();
    let mut rest = parts.iter().skip(done);
    let is_being_written = rest.next().is_none_or(|(oldest, _)| *oldest == old);
    if !is_being_written || rest.any(|part| *part != (old, old)) {
        return Err(format!("oldest and newest version of the parts {ORDER:?}: {parts:?}"));
    }
    Ok((new, done))
}

fn read(cell: &[u8; CELL]) -> (u64, u64) {
    let (version, place) = cell.split_at(8);
    let number = |bytes: &[u8]| !u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    (number(version), number(place))
}

/// Tests the judge itself, on damage done by hand.
pub(crate) fn the_judge_sees() {
    let grown = bytes(3, 0..1000);
    assert_eq!(grown, [bytes(3, 0..77), bytes(3, 77..1000)].concat());
    assert_eq!(moment(GROWING, &grown), Ok(Some((3, 1000))));
    assert_eq!(moment(GROWING, &[&grown[..500], &bytes(4, 500..1000)].concat()).ok(), None, "two versions");
    assert_eq!(moment(GROWING, &[&grown[..512], &[0; 16][..]].concat()).ok(), None, "a hole");
    assert_eq!(moment(GROWING, &[&grown[..500], &[0][..]].concat()).ok(), None, "a byte of a hole");
    assert_eq!(moment(GROWING, &[&grown[..320], &grown[336..]].concat()).ok(), None, "something left out");
    assert_eq!(moment(GROWING, b"").ok(), None, "it never was empty");
    assert_eq!(moment(EMPTIED, b""), Ok(None));
    assert_eq!(moment(EMPTIED, &grown[..40]), Ok(Some((3, 40))));
    assert_eq!(moment(GROWING_AFTER_A_HOLE, &grown).ok(), None, "no hole");
    assert_eq!(moment(GROWING_AFTER_A_HOLE, &[vec![0; HOLE], grown].concat()), Ok(Some((3, 1000))));

    // Versions in the order of writing.
    let rewritten = |versions: [u64; PARTS]| {
        let mut content = vec![0; PARTS * PART];
        for (part, version) in ORDER.into_iter().zip(versions) {
            let range = part * PART..(part + 1) * PART;
            content[range.clone()].copy_from_slice(&bytes(version, range));
        }
        content
    };
    let judge = |content: &[u8]| moment(REWRITTEN, content).ok().flatten();
    assert_eq!(judge(&rewritten([5; PARTS])), Some((5, PARTS)));
    assert_eq!(judge(&rewritten([5, 5, 5, 4, 4, 4, 4, 4])), Some((5, 3)));
    assert_eq!(judge(&rewritten([5, 5, 4, 5, 4, 4, 4, 4])), None, "an old part among the new");
    assert_eq!(judge(&rewritten([4, 4, 4, 4, 4, 4, 4, 5])), None, "an old beginning, a new end");
    assert_eq!(judge(&rewritten([6, 6, 6, 4, 4, 4, 4, 4])), None, "one version is left out");
    let mut half = rewritten([5, 5, 5, 4, 4, 4, 4, 4]);
    let mut begin = |part: usize| {
        let range = part * PART..part * PART + 160;
        half[range.clone()].copy_from_slice(&bytes(5, range));
        judge(&half)
    };
    assert_eq!(begin(ORDER[3]), Some((5, 3)), "a part that is being written");
    assert_eq!(begin(ORDER[5]), None, "two parts that are being written");
    half.truncate(4 * PART);
    assert_eq!(judge(&half), None, "too short");
}
