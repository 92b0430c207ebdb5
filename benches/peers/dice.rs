//! Random draws of the benchmark, with the dice of the tests.

pub(crate) use crate::shared_dice::Dice;

impl Dice {
    /// Two numbers name a sequence: its purpose, and its number among those of one purpose.
    pub(crate) fn new(purpose: u64, number: u64) -> Dice {
        let mut dice = Dice(purpose ^ 0x6669_6c65_2d73_796e);
        Dice(dice.roll() ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Bytes that no filesystem and no program can compress.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let random = self.roll().to_le_bytes();
            piece.copy_from_slice(&random[..piece.len()]);
        }
    }

    /// Draws `count` different numbers below `limit`, or as many as there are.
    pub(crate) fn draw(&mut self, count: usize, limit: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..limit).collect();
        for at in 0..count.min(limit) {
            all.swap(at, at + self.below(limit - at));
        }
        all.truncate(count);
        all
    }
}
