//! Positions of the quotes in a record.
//!
//! Most of the cost of reading JSON is the search for the ends of short texts. Here all quotes of a
//! record are found in one pass, sixteen bytes at a time. The same pass finds backslashes and
//! control characters: with them a quote may be something else than the end of a text.

use std::slice::Iter;

use wide::i8x16;

const LANES: usize = 16;
/// Bytes that one word of bits covers.
const WORD: usize = u64::BITS as usize;
/// Longest record whose quotes are searched, in bytes: several times an ordinary one.
const MAX_BYTES: usize = 2_048;

/// One bit for each byte of a record, set where it is a quote.
#[derive(Debug, Default)]
pub struct QuoteBits([u64; MAX_BYTES / WORD]);

impl QuoteBits {
    /// Finds the quotes of a record; to be called once. `None` if the record is too long, or has a
    /// backslash or a control character anywhere.
    pub fn find(&mut self, record: &[u8]) -> Option<Quotes<'_>> {
        let words = self.0.get_mut(..record.len().div_ceil(WORD))?;
        let mut odd = i8x16::ZERO;
        for (word, bytes) in words.iter_mut().zip(record.chunks(WORD)) {
            let (whole, rest) = bytes.as_chunks::<LANES>();
            for (lane, lanes) in whole.iter().enumerate() {
                *word |= quote_bits(*lanes, &mut odd) << (lane * LANES);
            }
            if !rest.is_empty() {
                let mut lanes = [b' '; LANES];
                lanes[..rest.len()].copy_from_slice(rest);
                *word |= quote_bits(lanes, &mut odd) << (whole.len() * LANES);
            }
        }
        odd.none().then_some(Quotes {
            words: words.iter(),
            left: 0,
            end: 0,
        })
    }
}

/// Positions of the remaining quotes, in order.
#[derive(Debug)]
pub struct Quotes<'b> {
    words: Iter<'b, u64>,
    /// Remaining bits of the word before those in `words`.
    left: u64,
    /// Position at which that word ends.
    end: usize,
}

impl Iterator for Quotes<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.left = *self.words.next()?;
            self.end += WORD;
        }
        let bit = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(self.end - WORD + bit)
    }
}

/// Returns a bit for each lane that is a quote; sets in `odd` the lanes that are a backslash or a
/// control character.
#[inline]
fn quote_bits(lanes: [u8; LANES], odd: &mut i8x16) -> u64 {
    let lanes = i8x16::new(lanes.map(u8::cast_signed));
    let each = |byte: u8| i8x16::splat(byte.cast_signed());
    // Bytes outside ASCII have the highest bit set: as signed numbers they are below zero.
    let control = lanes.simd_lt(each(b' ')) & !lanes.simd_lt(each(0));
    *odd |= control | lanes.simd_eq(each(b'\\'));
    u64::from(lanes.simd_eq(each(b'"')).to_bitmask())
}

#[cfg(test)]
mod tests;
