//! Batches in parts that one statement can write.

use std::collections::HashMap;

use crate::deliver::rows::Outcome;
use crate::domain::id::DeliveryId;

/// Splits a batch so that no part has two outcomes of one delivery, which one statement cannot
/// write; the outcomes of a delivery keep their order.
pub(super) fn split_by_delivery(batch: Vec<Outcome>) -> Vec<Vec<Outcome>> {
    let mut seen: HashMap<DeliveryId, usize> = HashMap::with_capacity(batch.len());
    let mut parts: Vec<Vec<Outcome>> = Vec::with_capacity(1);
    for outcome in batch {
        let part = seen.entry(outcome.row.facts.id).or_default();
        if parts.len() <= *part {
            parts.push(Vec::new());
        }
        parts[*part].push(outcome);
        *part += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::rows;
    use crate::deliver::tests::{Source, offset_of};
    use crate::domain::delivery::{DeliveryStatus, FailureReason};

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
}
