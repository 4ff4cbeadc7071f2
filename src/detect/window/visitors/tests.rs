use super::*;

#[test]
fn a_visitor_takes_at_most_forty_bytes() {
    let mut visitors = Visitors::default();
    for n in 0_u64..200_000 {
        visitors.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0, NO_LABEL, NO_LABEL);
        let bytes = visitors.table.bytes();
        assert!(n < 100 || bytes <= 40 * visitors.len(), "{bytes} for {n}");
    }
}

#[test]
fn a_visitor_with_the_hash_of_an_empty_slot_is_held() {
    let mut visitors = Visitors::default();
    visitors.insert(0, 7, NO_LABEL, NO_LABEL);
    assert_eq!(visitors.get(0).map(|visitor| visitor.second), Some(7));
    assert_eq!((visitors.len(), visitors.since(0).count()), (1, 1));
}
