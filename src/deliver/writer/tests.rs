use super::*;
use crate::deliver::rows;
use crate::deliver::tests::{Source, offset_of};
use crate::domain::delivery::FailureReason;

#[test]
fn outcomes_of_one_delivery_go_to_different_parts_in_order() {
    let mut source = Source::new();
    let batch = [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2)].map(|(delivery, attempt)| {
        rows::unsent(
            source.read(delivery, attempt),
            DeliveryStatus::Cancelled,
            FailureReason::Deleted,
        )
    });
    let parts: Vec<Vec<i64>> = split_by_delivery(batch.into())
        .iter()
        .map(|part| part.iter().map(|one| offset_of(&one.work)).collect())
        .collect();
    assert_eq!(parts, [vec![0, 1, 3], vec![2, 5], vec![4]]);
}
