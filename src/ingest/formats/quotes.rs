//! Where the quotes of a record are.
//!
//! Most of what reading JSON costs is looking for the ends of short texts. All of them are found at once here, sixteen bytes
//! at a time, together with whether the record has anything in it that makes a quote more than an end.

use std::slice::Iter;

use wide::i8x16;

const LANES: usize = 16;
/// Bytes that one word of marks is for.
const WORD: usize = u64::BITS as usize;
/// Longest record whose quotes are marked, in bytes: several times an ordinary one.
const MAX_BYTES: usize = 2_048;

/// A mark for every byte that is a quote.
pub(super) struct Marks([u64; MAX_BYTES / WORD]);

impl Marks {
    /// None yet.
    pub(super) const NONE: Self = Self([0; MAX_BYTES / WORD]);

    /// Marks the quotes of a record, once. `None` if it is too long, or has a back-slash or a control character anywhere.
    pub(super) fn mark(&mut self, record: &[u8]) -> Option<Quotes<'_>> {
        let words = self.0.get_mut(..record.len().div_ceil(WORD))?;
        let mut odd = i8x16::ZERO;
        for (word, bytes) in words.iter_mut().zip(record.chunks(WORD)) {
            let (whole, rest) = bytes.as_chunks::<LANES>();
            for (place, lanes) in whole.iter().enumerate() {
                *word |= marks(*lanes, &mut odd) << (place * LANES);
            }
            if !rest.is_empty() {
                let mut lanes = [b' '; LANES];
                lanes[..rest.len()].copy_from_slice(rest);
                *word |= marks(lanes, &mut odd) << (whole.len() * LANES);
            }
        }
        odd.none().then_some(Quotes {
            words: words.iter(),
            left: 0,
            end: 0,
        })
    }
}

/// The places of the quotes that were not taken yet, in order.
pub(super) struct Quotes<'m> {
    words: Iter<'m, u64>,
    /// What was not taken of the word before those, and the place it ends at.
    left: u64,
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

/// A bit for each lane that is a quote; marks in `odd` the lanes that are a back-slash or a control character.
#[inline]
fn marks(lanes: [u8; LANES], odd: &mut i8x16) -> u64 {
    let lanes = i8x16::new(lanes.map(u8::cast_signed));
    let each = |byte: u8| i8x16::splat(byte.cast_signed());
    // Bytes of other letters than ASCII's have the highest bit: as signed numbers they are less than anything.
    let control = lanes.simd_lt(each(b' ')) & !lanes.simd_lt(each(0));
    *odd |= control | lanes.simd_eq(each(b'\\'));
    u64::from(lanes.simd_eq(each(b'"')).to_bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places(record: &[u8]) -> Option<Vec<usize>> {
        let mut marks = Marks::NONE;
        Some(marks.mark(record)?.collect())
    }

    #[test]
    fn a_record_longer_than_there_are_marks_for_is_given_up_on() {
        for len in [0, 1, MAX_BYTES - 1, MAX_BYTES] {
            assert_eq!(places(&vec![b'"'; len]), Some((0..len).collect()));
        }
        assert_eq!(places(&[b'"'; MAX_BYTES + 1]), None);
    }

    proptest! {
        #[test]
        fn quotes_are_found_wherever_they_are(bytes in proptest::collection::vec(prop_oneof![
            9 => 0x20_u8..=0xff, 1 => Just(b'"'), 1 => Just(0x80), 1 => Just(b' '),
        ], 0..300)) {
            let quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(place, _)| place);
            let expected = (!bytes.contains(&b'\\')).then(|| quotes.collect());
            prop_assert_eq!(places(&bytes), expected);
        }

        #[test]
        fn one_odd_byte_is_seen_wherever_it_is(len in 1_usize..300, at in any::<prop::sample::Index>(), odd in prop_oneof![
            0_u8..0x20, Just(b'\\'),
        ]) {
            let mut bytes = vec![b'x'; len];
            bytes[at.index(len)] = odd;
            prop_assert_eq!(places(&bytes), None);
        }
    }
}
