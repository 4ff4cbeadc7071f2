use super::*;
use proptest::prelude::*;

fn positions(record: &[u8]) -> Option<Vec<usize>> {
    let mut bits = QuoteBits::default();
    Some(bits.find(record)?.collect())
}

#[test]
fn a_record_longer_than_the_bits_is_given_up_on() {
    for len in [0, 1, MAX_BYTES - 1, MAX_BYTES] {
        assert_eq!(positions(&vec![b'"'; len]), Some((0..len).collect()));
    }
    assert_eq!(positions(&[b'"'; MAX_BYTES + 1]), None);
}

proptest! {
    #[test]
    fn quotes_are_found_at_every_position(bytes in proptest::collection::vec(prop_oneof![
        9 => 0x20_u8..=0xff, 1 => Just(b'"'), 1 => Just(0x80), 1 => Just(b' '),
    ], 0..300)) {
        let quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
        let expected = (!bytes.contains(&b'\\')).then(|| quotes.collect());
        prop_assert_eq!(positions(&bytes), expected);
    }

    #[test]
    fn one_odd_byte_is_found_at_every_position(len in 1_usize..300, at in any::<prop::sample::Index>(), odd in prop_oneof![
        0_u8..0x20, Just(b'\\'),
    ]) {
        let mut bytes = vec![b'x'; len];
        bytes[at.index(len)] = odd;
        prop_assert_eq!(positions(&bytes), None);
    }
}
