//! Chooses the number of workers from measurements. Pure.
//!
//! One number says whether more workers can help at all: the share of its time that a worker waits, neither running nor
//! ready to run. While that is more than a fifth the limit grows, as long as each step raises the throughput: on a fast
//! disk it reaches the maximum within a tenth of a second. Only the throughput tells whether the disk can serve that
//! many requests at once: the limit is compared with its half, and with its double, in turns, and the smaller one stays
//! unless the greater one does more; the comparison is repeated now and then. A solid-state disk ends with many
//! requests in flight, a disk with one head with few, and the page cache with one worker per processor.
//!
//! Rejected: the throughput alone. It changes with the tree, from small files to large ones, by more than with the
//! limit. Rejected: growing only to the number that would keep all processors busy if each worker waited as long as
//! before. More requests at once make each of them shorter, and a virtual disk whose workers waited half their time was
//! a third slower with the resulting four workers than with 32. Rejected: the kernel's `queue/rotational`. On virtual
//! disks and disk arrays its value is arbitrary.

use std::time::Duration;

/// Below this share of waiting time the processors are the limit.
const BUSY: f64 = 0.1;

/// Above this share of waiting time more workers may help.
const WAITS: f64 = 0.2;

/// The factor by which the greater of two limits has to do more than the smaller one.
const WORTH: f64 = 1.08;

/// The shortest trial while the limit grows, and while two limits are compared.
const INTERVAL: Duration = Duration::from_millis(25);
const TRIAL: Duration = Duration::from_millis(100);

/// The least effort of a valid trial: that of so many small files.
const ENOUGH: u64 = 96 * NAME;

/// The effort of one name, in KiB of content: a statx and an open on each side cost about as much.
pub(super) const NAME: u64 = 32;

/// The longest trial, however little was done.
const LONGEST: Duration = Duration::from_secs(5);

/// The number of turns of each of two limits.
const TURNS: usize = 2;

/// The first number of trials between comparisons, and the greatest.
const FIRST_HOLD: u32 = 16;
const LONGEST_HOLD: u32 = 512;

/// A measurement under one limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The time that it took.
    pub(super) elapsed: Duration,
    /// The work done: KiB of content and [`NAME`] for each name.
    pub(super) effort: u64,
    /// The share of its time that a worker waited, 0 to 1.
    pub(super) waiting: f64,
}

/// Chooses the limit of workers.
#[derive(Debug)]
pub(super) struct Limit {
    processors: usize,
    most: usize,
    now: usize,
    phase: Phase,
    hold: u32,
}

#[derive(Debug)]
enum Phase {
    /// Grows while workers wait and each step pays; holds the rate before the last step.
    Growing(f64),
    /// Compares two limits in turns.
    Comparing(Comparison),
    /// Keeps the limit for so many trials.
    Holding(u32),
}

#[derive(Debug)]
struct Comparison {
    direction: Direction,
    /// The other direction has been tried before: this comparison settles the limit.
    is_last: bool,
    /// The smaller limit and the greater one.
    limits: [usize; 2],
    /// The sum of the rates of each of them.
    rates: [f64; 2],
    /// The number of trials so far.
    trials: usize,
    /// The limit has just changed, and tasks begun under the other one are still running.
    is_settling: bool,
}

/// The direction in which a comparison looks for a better limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Limit {
    /// A limit for so many processors, never above `most`.
    pub(super) fn new(processors: usize, most: usize) -> Limit {
        let now = processors.min(most).max(1);
        Limit { processors, most: most.max(1), now, phase: Phase::Growing(0.0), hold: FIRST_HOLD }
    }

    /// The number of workers that may be at work.
    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// Whether the measurement so far, with so many workers at work, can be judged.
    pub(super) fn is_ripe(&self, elapsed: Duration, effort: u64, at_work: usize) -> bool {
        let (least, is_in_force) = match &self.phase {
            Phase::Growing(_) => (INTERVAL, true),
            // Workers rest when their tasks are done, which takes a while on a slow disk.
            Phase::Comparing(comparison) if comparison.is_settling => (INTERVAL, at_work <= self.now),
            Phase::Comparing(_) | Phase::Holding(_) => (TRIAL, true),
        };
        elapsed >= LONGEST || (elapsed >= least && effort >= ENOUGH && is_in_force)
    }

    /// Judges a measurement under the present limit, and chooses the next limit.
    pub(super) fn judge(&mut self, sample: Sample) {
        if sample.waiting < BUSY {
            // The processors are the limit. Halved step by step: where waiting and computing alternate, as in a first
            // copy, the limit would jump from one end to the other.
            self.now = (self.now / 2).max(self.processors.min(self.most));
            self.phase = Phase::Growing(0.0);
            return;
        }
        let rate = sample.effort as f64 / sample.elapsed.as_secs_f64().max(1e-9);
        match &mut self.phase {
            Phase::Growing(before) => {
                let before = *before;
                self.grow(sample.waiting, before, rate);
            }
            Phase::Comparing(comparison) if comparison.is_settling => comparison.is_settling = false,
            Phase::Comparing(comparison) => {
                let [small, great] = comparison.limits;
                let which = usize::from(self.now == great);
                if let Some(sum) = comparison.rates.get_mut(which) {
                    *sum += rate;
                }
                comparison.trials += 1;
                if comparison.trials < 2 * TURNS {
                    self.now = if which == 1 { small } else { great };
                    comparison.is_settling = true;
                    return;
                }
                let [of_small, of_great] = comparison.rates;
                let (direction, is_last) = (comparison.direction, comparison.is_last);
                self.decide((direction, is_last), [small, great], of_great > of_small * WORTH);
            }
            Phase::Holding(0) if sample.waiting > WAITS && self.now < self.most => {
                self.compare(Direction::Up, false)
            }
            Phase::Holding(0) => self.compare(Direction::Down, true),
            Phase::Holding(trials) => *trials -= 1,
        }
    }

    fn grow(&mut self, waiting: f64, before: f64, rate: f64) {
        if waiting <= WAITS {
            return;
        }
        let next = (self.now * 4).min(self.most);
        if rate > before * WORTH && next > self.now {
            self.now = next;
            self.phase = Phase::Growing(rate);
        } else {
            self.compare(Direction::Down, false);
        }
    }

    /// Ends a comparison: the search goes on in its direction as long as that is better, and then once in the other
    /// one.
    fn decide(
        &mut self,
        (direction, is_last): (Direction, bool),
        [small, great]: [usize; 2],
        is_great_better: bool,
    ) {
        self.now = if is_great_better { great } else { small };
        match (direction, is_great_better) {
            (Direction::Up, true) | (Direction::Down, false) => self.compare(direction, true),
            (Direction::Up | Direction::Down, _) if is_last => self.hold(),
            (Direction::Up, false) => self.compare(Direction::Down, true),
            (Direction::Down, true) => self.compare(Direction::Up, true),
        }
    }

    fn compare(&mut self, direction: Direction, is_last: bool) {
        let limits = match direction {
            Direction::Up => [self.now, (self.now * 2).min(self.most)],
            Direction::Down => [self.now / 2, self.now],
        };
        let [small, great] = limits;
        if small == 0 || small == great {
            return self.hold();
        }
        self.phase = Phase::Comparing(Comparison {
            direction,
            is_last,
            limits,
            rates: [0.0; 2],
            trials: 0,
            is_settling: true,
        });
    }

    fn hold(&mut self) {
        self.phase = Phase::Holding(self.hold);
        self.hold = (self.hold * 2).min(LONGEST_HOLD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of a machine with so many workers: names per second, and the share of its time that a worker waits.
    type Machine = fn(workers: f64) -> (f64, f64);

    const PROCESSORS: f64 = 2.0;

    /// Requests take a constant time, however many there are; a name takes 20 µs of a processor.
    fn solid_state(workers: f64) -> (f64, f64) {
        let (processor, disk) = (20e-6, 400e-6);
        let rate = (workers / (processor + disk)).min(PROCESSORS / processor);
        (rate, 1.0 - rate * processor / workers)
    }

    /// More requests at once are answered faster, and workers wait half their time.
    fn virtual_disk(workers: f64) -> (f64, f64) {
        (45_000.0 * workers / (workers + 12.0), 0.45)
    }

    /// One request after the other, however many there are.
    fn one_head(workers: f64) -> (f64, f64) {
        let rate = 40.0;
        (rate, 1.0 - rate * 20e-6 / workers)
    }

    /// The head moves further with each request.
    fn one_head_that_is_disturbed(workers: f64) -> (f64, f64) {
        let rate = 200.0 / (1.0 + workers / 4.0);
        (rate, 1.0 - rate * 20e-6 / workers)
    }

    /// An array that serves eight requests at once.
    fn eight_heads(workers: f64) -> (f64, f64) {
        let rate = 100.0 * workers.min(8.0);
        (rate, 1.0 - rate * 20e-6 / workers)
    }

    fn in_memory(workers: f64) -> (f64, f64) {
        let rate = PROCESSORS.min(workers) / 20e-6;
        (rate, 0.01)
    }

    /// Noise of a tenth in both directions, the same in every run.
    fn noise(step: u64) -> f64 {
        let mixed = (step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        0.9 + 0.2 * (mixed % 1000) as f64 / 1000.0
    }

    /// Runs a limit for some seconds, and returns its mean over the last half.
    fn settle(limit: &mut Limit, machine: Machine, seconds: f64) -> f64 {
        let (mut time, mut sum, mut weight) = (0.0, 0.0, 0.0);
        let mut step = 0;
        while time < seconds {
            let (rate, waiting) = machine(limit.now() as f64);
            let rate = rate * noise(step);
            step += 1;
            let mut elapsed = 0.0;
            let effort = |elapsed: f64| (rate * elapsed) as u64 * NAME;
            while !limit.is_ripe(Duration::from_secs_f64(elapsed), effort(elapsed), limit.now()) {
                elapsed += 0.005;
            }
            if time > seconds / 2.0 {
                sum += limit.now() as f64 * elapsed;
                weight += elapsed;
            }
            limit.judge(Sample {
                elapsed: Duration::from_secs_f64(elapsed),
                effort: effort(elapsed),
                waiting,
            });
            time += elapsed;
        }
        sum / weight
    }

    #[test]
    fn what_is_in_memory_is_read_by_as_many_as_there_are_processors() {
        let mut limit = Limit::new(2, 32);
        assert_eq!(limit.now(), 2);
        assert!((settle(&mut limit, in_memory, 10.0) - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_solid_state_disk_gets_many_requests_within_a_blink() {
        for machine in [solid_state as Machine, virtual_disk] {
            let mut limit = Limit::new(2, 32);
            settle(&mut limit, machine, 0.1);
            assert_eq!(limit.now(), 32);
            let mean = settle(&mut limit, machine, 20.0);
            assert!(mean > 24.0, "{mean}");
        }
    }

    #[test]
    fn more_requests_than_the_disk_answers_are_not_made_for_long() {
        for (machine, least, most) in [
            (one_head as Machine, 0.9, 2.5),
            (one_head_that_is_disturbed, 0.9, 2.5),
            (eight_heads, 6.0, 12.0),
        ] {
            let mut limit = Limit::new(2, 32);
            let mean = settle(&mut limit, machine, 600.0);
            assert!((least..most).contains(&mean), "{mean}");
        }
    }

    #[test]
    fn a_head_that_is_disturbed_never_gets_many_requests() {
        let mut limit = Limit::new(2, 32);
        for _ in 0..100 {
            settle(&mut limit, one_head_that_is_disturbed, 0.2);
            assert!(limit.now() <= 8, "{}", limit.now());
        }
        assert!(limit.now() <= 4, "{}", limit.now());
    }

    #[test]
    fn a_trial_begins_when_those_who_are_to_rest_do() {
        let mut limit = Limit::new(2, 32);
        settle(&mut limit, solid_state, 0.15);
        assert!(matches!(&limit.phase, Phase::Comparing(comparison) if comparison.is_settling));
        let much = 1000 * ENOUGH;
        assert!(!limit.is_ripe(Duration::from_secs(4), much, limit.now() + 1));
        assert!(limit.is_ripe(Duration::from_secs(4), much, limit.now()));
        assert!(limit.is_ripe(LONGEST, 0, limit.now() + 1));
    }

    #[test]
    fn the_limit_follows_what_the_tree_lies_on() {
        let mut limit = Limit::new(2, 32);
        settle(&mut limit, one_head, 300.0);
        assert!(limit.now() <= 4, "{}", limit.now());
        settle(&mut limit, in_memory, 1.0);
        assert_eq!(limit.now(), 2);
        settle(&mut limit, solid_state, 1.0);
        assert!(limit.now() >= 16, "{}", limit.now());
    }

    #[test]
    fn no_limit_is_above_what_was_asked_for_or_below_one() {
        for most in [1, 2, 3, 8] {
            for machine in [in_memory as Machine, solid_state, one_head] {
                let mut limit = Limit::new(4, most);
                for _ in 0..200 {
                    settle(&mut limit, machine, 0.5);
                    assert!((1..=most).contains(&limit.now()));
                }
            }
        }
    }
}
