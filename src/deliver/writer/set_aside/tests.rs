use super::*;
use crate::clock;
use crate::deliver::rows;
use crate::deliver::tests::{Source, offset_of};
use crate::domain::delivery::{DeliveryStatus, FailureReason};

fn outcomes(source: &mut Source, deliveries: &[u128]) -> Vec<Outcome> {
    let made = deliveries.iter().map(|delivery| {
        rows::unsent(
            source.read(*delivery, 1),
            DeliveryStatus::Cancelled,
            FailureReason::Deleted,
        )
    });
    made.collect()
}

fn offsets(part: &[Outcome]) -> Vec<i64> {
    part.iter().map(|outcome| offset_of(&outcome.work)).collect()
}

#[test]
fn one_outcome_of_500_stands_alone_after_nine_tries() {
    let mut now = clock::monotonic();
    let mut aside = SetAside::default();
    let deliveries: Vec<u128> = (0..500).collect();
    aside.add(outcomes(&mut Source::new(), &deliveries), now);
    let mut written = 0;
    for _ in 0..9 {
        assert!(aside.take_due(now).is_empty(), "not before its time");
        now += TRY_EVERY;
        for part in aside.take_due(now) {
            if offsets(&part).contains(&333) {
                aside.add(part, now);
            } else {
                written += part.len();
            }
        }
        aside.tried();
    }
    assert_eq!((written, aside.len()), (499, 1));
    assert_eq!(aside.since(), Some(now - TRY_EVERY * 9));
    aside.take_due(now + TRY_EVERY);
    aside.tried();
    assert!(aside.is_empty() && aside.since().is_none() && aside.next_try().is_none());
}

#[test]
fn outcomes_of_a_delivery_keep_their_order() {
    let now = clock::monotonic();
    let mut source = Source::new();
    let mut aside = SetAside::default();
    aside.add(outcomes(&mut source, &[1]), now);
    let batch = outcomes(&mut source, &[2, 1, 3]);
    let others = aside.take_followers(batch, now);
    assert_eq!(offsets(&others), [1, 3]);
    let parts = aside.take_due(now + TRY_EVERY);
    let order: Vec<Vec<i64>> = parts.iter().map(|part| offsets(part)).collect();
    assert_eq!(order, [[0], [2]]);
    assert_eq!(
        offsets(&aside.take_followers(outcomes(&mut source, &[1]), now)),
        [4]
    );
}
