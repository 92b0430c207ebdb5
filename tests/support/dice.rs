//! Deterministic pseudo-random numbers (splitmix64). Shared with the benchmarks.

pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Two numbers name a sequence: its purpose, and its number among those of that purpose.
    pub(crate) fn new(purpose: u64, number: u64) -> Dice {
        let mut dice = Dice(purpose ^ 0x6669_6c65_2d73_796e);
        Dice(dice.roll() ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit.max(1) as u64).expect("below a usize")
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        bytes
    }

    /// Incompressible bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let random = self.roll().to_le_bytes();
            piece.copy_from_slice(&random[..piece.len()]);
        }
    }

    /// Draws `count` different numbers below `limit`, or all of them if there are fewer.
    pub(crate) fn draw(&mut self, count: usize, limit: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..limit).collect();
        for at in 0..count.min(limit) {
            all.swap(at, at + self.below(limit - at));
        }
        all.truncate(count);
        all
    }
}
