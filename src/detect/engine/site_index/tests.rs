use super::*;

#[test]
fn positions_of_equal_hash_are_distinguished_by_their_owner() {
    let mut index = SiteIndex::default();
    index.insert(7, 0);
    index.insert(7, 1);
    index.insert(8, 2);
    assert!(index.guess(7).is_some());
    assert_eq!(index.find(7, |position| position == 1), Some(1));
    index.set(7, 0, None);
    index.set(8, 2, Some(0));
    assert_eq!(index.guess(7), Some(1));
    assert_eq!(index.guess(8), Some(0));
    assert_eq!(index.guess(9), None);
}
