//! Random choices that can be repeated: the same seed or the same bytes, the same choices, on every machine.

use std::collections::VecDeque;

/// Where choices come from.
#[derive(Debug, Clone)]
pub enum Dice {
    /// A generator (SplitMix64). Not for secrets.
    Seed(u64),
    /// Bytes that somebody chose: one for each choice, zeros at the end.
    Bytes(VecDeque<u8>),
}

impl Dice {
    /// The choices of this seed.
    pub const fn new(seed: u64) -> Self {
        Self::Seed(seed)
    }

    /// The choices that these bytes are.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.iter().copied().collect())
    }

    /// Whether there is nothing left to choose.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    /// 64 random bits, or the next byte.
    pub fn roll(&mut self) -> u64 {
        let state = match self {
            Self::Bytes(bytes) => return bytes.pop_front().unwrap_or(0).into(),
            Self::Seed(state) => state,
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n` − 1; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % n).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Each of these with an even chance.
    pub fn some_of<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.once_in(2)).cloned().collect()
    }
}
