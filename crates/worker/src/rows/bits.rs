//! Bits that are gathered: validity, and columns of `bool`s.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Bits in words of 64. Arrow's own builder takes them one by one or from memory; this takes whole words.
#[derive(Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    pub(super) fn with_capacity(bits: usize) -> Self {
        Bits { words: Vec::with_capacity(bits.div_ceil(64)), len: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, bit: bool) {
        self.push_word(u64::from(bit), 1);
    }

    /// Appends the lowest `count` bits of a word, 1 to 64; the others are zero.
    #[inline]
    pub(super) fn push_word(&mut self, word: u64, count: usize) {
        let taken = self.len % 64;
        match self.words.last_mut() {
            Some(last) if taken > 0 => {
                *last |= word << taken;
                if taken + count > 64 {
                    self.words.push(word >> (64 - taken));
                }
            }
            _ => self.words.push(word),
        }
        self.len += count;
    }

    pub(super) fn push_zeros(&mut self, count: usize) {
        self.len += count;
        self.words.resize(self.len.div_ceil(64), 0);
    }

    pub(super) fn finish(mut self) -> BooleanBuffer {
        // Arrow's bits are in the order of bytes.
        self.words.iter_mut().for_each(|word| *word = word.to_le());
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_out_as_they_went_in() {
        let (mut bits, mut expected) = (Bits::default(), Vec::new());
        for (place, count) in [1, 64, 63, 7, 64, 1, 2, 60, 64].into_iter().enumerate() {
            let word = 0x9e37_79b9_7f4a_7c15_u64.rotate_left(place as u32 * 7) & (u64::MAX >> (64 - count));
            bits.push_word(word, count);
            expected.extend((0..count).map(|bit| word >> bit & 1 == 1));
            bits.push(place % 2 == 0);
            expected.push(place % 2 == 0);
            bits.push_zeros(place * 40);
            expected.resize(expected.len() + place * 40, false);
        }
        assert_eq!(bits.finish().iter().collect::<Vec<_>>(), expected);
    }
}
