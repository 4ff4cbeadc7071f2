use sqlx::postgres::PgPoolOptions;

use super::*;
use crate::deliver::tests::{PUBLISHED_MS, Source};

/// Deliveries at work, and the records handed back to the deliverer. The pool never connects.
fn in_flight() -> (InFlight, mpsc::UnboundedReceiver<Work>) {
    let pool = PgPoolOptions::new()
        .connect_lazy("postgres://nobody@localhost/none")
        .expect("a pool");
    let (requeue, requeued) = mpsc::unbounded_channel();
    (InFlight::new(pool, requeue), requeued)
}

fn offsets(requeued: &mut mpsc::UnboundedReceiver<Work>) -> Vec<i64> {
    std::iter::from_fn(|| requeued.try_recv().ok())
        .map(|work| work.read_from.offset)
        .collect()
}

#[tokio::test]
async fn of_two_records_of_a_delivery_the_second_waits() {
    let (in_flight, mut requeued) = in_flight();
    let mut source = Source::new();
    let first = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_none());
    assert!(in_flight.admit(Box::new(source.read(1, 2))).is_none());
    assert!(in_flight.admit(Box::new(source.read(2, 1))).is_some());
    assert_eq!(source.take_completed(), [0_i64; 0]);

    in_flight.complete(*first);
    // The copy of the attempt is complete with it; the next attempt is looked at again.
    assert_eq!(source.take_completed(), [1, 0]);
    assert_eq!(offsets(&mut requeued), [2]);
    assert!(in_flight.admit(Box::new(source.read(1, 2))).is_some());
}

#[tokio::test]
async fn a_requeued_record_comes_behind_those_that_waited() {
    let (in_flight, mut requeued) = in_flight();
    let mut source = Source::new();
    let first = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_none());
    in_flight.requeue(*first);
    assert_eq!(offsets(&mut requeued), [1, 0]);
    assert_eq!(source.take_completed(), [0_i64; 0]);
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_some());
}

#[tokio::test]
async fn nothing_of_a_revoked_assignment_begins() {
    let (in_flight, _requeued) = in_flight();
    let mut source = Source::new();
    let work = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.begin_sending(&work.record, PUBLISHED_MS));
    source.assignment.revoke();
    assert!(!in_flight.begin_sending(&work.record, PUBLISHED_MS));
    assert!(in_flight.admit(Box::new(source.read(2, 1))).is_none());
    // An attempt that began before still ends.
    in_flight.complete(*work);
    assert_eq!(source.take_completed(), [0]);
}
