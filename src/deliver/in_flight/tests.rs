use sqlx::postgres::PgPoolOptions;

use super::*;
use crate::deliver::tests::{PUBLISHED_MS, Source, claim_of, offset_of};

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
        .map(|work| offset_of(&work))
        .collect()
}

#[tokio::test]
async fn of_two_records_of_a_delivery_the_second_waits() {
    let (in_flight, mut requeued) = in_flight();
    let mut source = Source::new();
    let first = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_err());
    assert!(in_flight.admit(Box::new(source.read(1, 2))).is_err());
    assert!(in_flight.admit(Box::new(source.read(2, 1))).is_ok());
    assert_eq!(source.take_completed(), [0_i64; 0]);

    in_flight.complete(*first);
    // The copy of the attempt is complete with it; the next attempt is looked at again.
    assert_eq!(source.take_completed(), [1, 0]);
    assert_eq!(offsets(&mut requeued), [2]);
    assert!(in_flight.admit(Box::new(source.read(1, 2))).is_ok());
}

#[tokio::test]
async fn a_requeued_record_comes_behind_those_that_waited() {
    let (in_flight, mut requeued) = in_flight();
    let mut source = Source::new();
    let first = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_err());
    in_flight.requeue(*first);
    assert_eq!(offsets(&mut requeued), [1, 0]);
    assert_eq!(source.take_completed(), [0_i64; 0]);
    assert!(in_flight.admit(Box::new(source.read(1, 1))).is_ok());
}

#[tokio::test]
async fn nothing_of_a_revoked_assignment_begins() {
    let (in_flight, _requeued) = in_flight();
    let mut source = Source::new();
    let work = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.begin_sending(&work.record, PUBLISHED_MS));
    source.assignment.revoke();
    assert!(!in_flight.begin_sending(&work.record, PUBLISHED_MS));
    assert!(in_flight.admit(Box::new(source.read(2, 1))).is_err());
    // An attempt that began before still ends.
    in_flight.complete(*work);
    assert_eq!(source.take_completed(), [0]);
}

#[tokio::test]
async fn a_hand_over_claims_what_runs_and_gives_rows_back() {
    let (in_flight, _requeued) = in_flight();
    let mut source = Source::new();
    let now_ms = PUBLISHED_MS;
    let works = [
        source.read(1, 1),
        source.claim(2, 3),
        source.claim(3, 1),
        source.read(4, 1),
    ];
    let ids = works.each_ref().map(|work| work.record.delivery_id);
    for work in works {
        let work = in_flight.admit(Box::new(work)).expect("admitted");
        // The third and the fourth have not begun.
        if [ids[0], ids[1]].contains(&work.record.delivery_id) {
            assert!(in_flight.begin_sending(&work.record, now_ms + 30_000));
        }
    }
    in_flight.end_sending(ids[1]);
    assert_eq!(in_flight.claims(now_ms).0.len(), 0, "nothing is handed over");
    source.assignment.revoke();
    let (mut claims, rows) = in_flight.claims(now_ms);
    claims.sort_by_key(|claim| claim.attempt);
    let until: Vec<_> = claims
        .iter()
        .map(|claim| (claim.facts.id, claim.until.timestamp_millis() - now_ms))
        .collect();
    // What has ended is written within minutes, and not by its deadline.
    assert_eq!(until, [(ids[0], 30_000), (ids[1], 300_000)]);
    assert_eq!(rows, [GivenBackRow::new(ids[2], claim_of(3), false)]);
}

#[tokio::test]
async fn a_row_is_looked_at_again_when_a_record_of_it_is_complete() {
    let (in_flight, mut requeued) = in_flight();
    let mut source = Source::new();
    let record = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.admit(Box::new(source.claim(1, 1))).is_err());
    in_flight.complete(*record);
    let row = requeued.try_recv().expect("the row");
    assert!(row.parked().is_some() && row.needs_look_up);
}

#[tokio::test]
async fn a_row_behind_a_record_is_given_back_at_a_hand_over() {
    let (in_flight, _requeued) = in_flight();
    let mut source = Source::new();
    let record = in_flight.admit(Box::new(source.read(1, 1))).expect("admitted");
    assert!(in_flight.begin_sending(&record.record, PUBLISHED_MS + 30_000));
    assert!(in_flight.admit(Box::new(source.claim(1, 1))).is_err());
    source.assignment.revoke();
    let (claims, rows) = in_flight.claims(PUBLISHED_MS);
    assert_eq!(
        (claims.len(), rows),
        (
            1,
            vec![GivenBackRow::new(record.record.delivery_id, claim_of(1), false)]
        )
    );
}

#[tokio::test]
async fn a_row_on_its_way_back_is_given_back_at_a_hand_over_once() {
    let (in_flight, mut requeued) = in_flight();
    let source = Source::new();
    let row = in_flight.admit(Box::new(source.claim(1, 1))).expect("admitted");
    let id = row.record.delivery_id;
    in_flight.requeue(*row);
    assert_eq!(in_flight.claims(PUBLISHED_MS).1, [], "nothing is handed over");
    source.assignment.revoke();
    assert_eq!(
        in_flight.claims(PUBLISHED_MS).1,
        [GivenBackRow::new(id, claim_of(1), false)]
    );
    let row = requeued.try_recv().expect("the row");
    assert_eq!(in_flight.admit(Box::new(row)).err(), Some(NotAdmitted::Revoked));
    // The next owner may have it by now.
    assert_eq!(in_flight.claims(PUBLISHED_MS).1, []);
}

#[tokio::test]
async fn a_row_on_its_way_back_comes_back() {
    let (in_flight, mut requeued) = in_flight();
    let source = Source::new();
    let row = in_flight.admit(Box::new(source.claim(1, 1))).expect("admitted");
    let id = row.record.delivery_id;
    in_flight.requeue(*row);
    let row = requeued.try_recv().expect("the row");
    assert!(in_flight.admit(Box::new(row)).is_ok());
    source.assignment.revoke();
    assert_eq!(
        in_flight.claims(PUBLISHED_MS).1,
        [GivenBackRow::new(id, claim_of(1), false)],
        "once"
    );
}

#[tokio::test]
async fn a_row_claimed_for_a_revoked_assignment_is_to_be_given_back() {
    let (in_flight, _requeued) = in_flight();
    let mut source = Source::new();
    let (row, record) = (source.claim(1, 1), source.read(2, 1));
    source.assignment.revoke();
    let refused = |work| in_flight.admit(Box::new(work)).err();
    assert_eq!(refused(row), Some(NotAdmitted::ClaimedInVain));
    assert_eq!(refused(record), Some(NotAdmitted::Revoked));
    assert_eq!(in_flight.claims(PUBLISHED_MS).1, [], "the deliverer does");
}
