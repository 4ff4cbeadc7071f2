use std::time::Duration;

use sqlx::PgPool;

use super::*;
use crate::clock;
use crate::domain::time::from_ms;
use crate::record::cancelling;
use crate::record::parked::{self, GivenBackRow};

/// A day in 2026, in milliseconds since the Unix epoch.
const CREATED_MS: i64 = 1_790_000_000_000;
const CLAIM: Duration = Duration::from_secs(90);

fn webhook() -> WebhookId {
    WebhookId::from_uuid(Uuid::from_u128(3))
}

/// An outcome of the delivery with this number: parked without an attempt, before attempt
/// `attempt`.
pub(super) fn unsent(delivery: u128, attempt: i32) -> OutcomeRow {
    OutcomeRow {
        facts: DeliveryFacts {
            id: DeliveryId::from_uuid(Uuid::from_u128(delivery)),
            notification_id: Uuid::from_u128(2),
            webhook_id: webhook(),
            site_id: "example.com".to_owned(),
            event_type: EventType::GoalCompletion,
            origin: Origin::Event,
            resend_of: None,
            payload: b"{}".to_vec(),
            created_at: from_ms(CREATED_MS),
        },
        status: match attempt {
            1 => DeliveryStatus::Pending,
            _ => DeliveryStatus::Retrying,
        },
        attempts: attempt - 1,
        response_code: None,
        failure_reason: None,
        next_retry_at: (attempt > 1).then(|| from_ms(CREATED_MS)),
        first_attempt_at: None,
        step: attempt - 1,
        attempt: None,
        parked: Some(ParkedRow {
            partition: 0,
            due_at: from_ms(CREATED_MS),
            shown_until: from_ms(CREATED_MS),
            reason: ParkReason::Queue,
            attempt,
            paused_ms: 0,
            claimed_until: None,
            held_until: None,
        }),
    }
}

/// The outcome of an attempt that arrived.
pub(super) fn delivered(mut row: OutcomeRow) -> OutcomeRow {
    (row.status, row.attempts, row.parked) = (DeliveryStatus::Delivered, 1, None);
    row
}

pub(super) fn webhook_of(row: &OutcomeRow) -> Uuid {
    row.facts.webhook_id.uuid()
}

async fn claimed_until(conn: &mut PgConnection) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("select claimed_until from parked")
        .fetch_one(conn)
        .await
        .expect("the row")
}

/// Claims the row, and returns the claim.
async fn take(conn: &mut PgConnection) -> GivenBackRow {
    let taken = parked::take(conn, &[(webhook(), 5)], clock::now(), CLAIM).await;
    let taken = taken.expect("taken").readable;
    assert_eq!(taken.len(), 1);
    taken[0].given_back()
}

#[sqlx::test]
async fn parking_again_leaves_the_claim_of_another_owner(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let other = take(&mut conn).await;
    // A record of the delivery was read before that, and is parked now.
    let mut again = unsent(1, 1);
    write(&mut conn, &[again.clone()]).await.expect("parked");
    assert_eq!(claimed_until(&mut conn).await, Some(other.claimed_until));
    // Who has claimed the row may park it again.
    again.parked.as_mut().expect("a row").held_until = Some(other.claimed_until);
    write(&mut conn, &[again]).await.expect("parked");
    assert_eq!(claimed_until(&mut conn).await, None);
}

#[sqlx::test]
async fn an_attempt_moves_a_row_on_and_leaves_the_others_claim(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let numbers = "select attempt from parked";
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let other = take(&mut conn).await;
    // The outcome of attempt 1, which waits here; and of attempt 2, which goes to a tier.
    write(&mut conn, &[unsent(1, 2)]).await.expect("written");
    assert_eq!(claimed_until(&mut conn).await, Some(other.claimed_until));
    let mut retried = unsent(1, 3);
    retried.parked = None;
    write(&mut conn, &[retried]).await.expect("written");
    assert_eq!(claimed_until(&mut conn).await, Some(other.claimed_until));
    let attempt: i32 = sqlx::query_scalar(numbers)
        .fetch_one(&mut *conn)
        .await
        .expect("the row");
    assert_eq!(attempt, 3);
}

#[sqlx::test]
async fn a_row_is_given_back_by_who_has_claimed_it_alone(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let first = take(&mut conn).await;
    // As if its claim had run out.
    sqlx::query("update parked set claimed_until = now() - interval '1 second'")
        .execute(&mut *conn)
        .await
        .expect("updated");
    let second = take(&mut conn).await;
    assert!(second.suspect);
    parked::release(&mut conn, &[first]).await.expect("released");
    assert_eq!(claimed_until(&mut conn).await, Some(second.claimed_until));
    parked::release(&mut conn, &[second]).await.expect("released");
    assert_eq!(claimed_until(&mut conn).await, Some(DateTime::UNIX_EPOCH));
}

/// Claims a row before attempt `attempt`, has its owner die, and tells if its claim says that the
/// attempt may have been made.
async fn is_suspect_after_a_death(conn: &mut PgConnection, attempt: i32, was_suspect: bool) -> bool {
    let mut row = unsent(1, attempt);
    let parked = row.parked.as_mut().expect("a row");
    parked.claimed_until = was_suspect.then_some(DateTime::UNIX_EPOCH);
    write(conn, &[row]).await.expect("parked");
    take(conn).await;
    parked::end_claims(conn, &[0]).await.expect("ended");
    let after = take(conn).await;
    parked::remove(conn, &[after.id]).await.expect("removed");
    after.suspect
}

#[sqlx::test]
async fn a_dead_owners_claim_before_a_first_attempt_says_nothing(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    assert!(
        !is_suspect_after_a_death(&mut conn, 1, false).await,
        "noted, if it was sent"
    );
    assert!(
        is_suspect_after_a_death(&mut conn, 1, true).await,
        "of an owner before"
    );
    assert!(
        is_suspect_after_a_death(&mut conn, 2, false).await,
        "nobody notes it"
    );
}

#[sqlx::test]
async fn a_claim_of_an_older_version_says_that_it_may_be_sent(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let first = take(&mut conn).await;
    parked::release(&mut conn, &[first]).await.expect("released");
    // That version knows no notes, and leaves what it does not know as it is.
    sqlx::query("update parked set claimed_until = now() + interval '90 seconds'")
        .execute(&mut *conn)
        .await
        .expect("claimed");
    parked::end_claims(&mut conn, &[0]).await.expect("ended");
    assert!(take(&mut conn).await.suspect);
}

/// The same delivery, failed with the attempt before; its row is kept, claimed as `held`.
fn failed(delivery: u128, attempt: i32, held: &GivenBackRow) -> OutcomeRow {
    let mut row = unsent(delivery, attempt);
    row.status = DeliveryStatus::Failed;
    row.failure_reason = Some(FailureReason::Exhausted);
    row.next_retry_at = None;
    let parked = row.parked.as_mut().expect("a row");
    (parked.attempt, parked.held_until) = (attempt - 1, Some(held.claimed_until));
    row
}

async fn take_ended(conn: &mut PgConnection) -> Vec<DeliveryId> {
    let taken = parked::take_ended(conn, &[0, 1], 5, CLAIM).await;
    let taken = taken.expect("taken").readable;
    taken.iter().map(|row| row.delivery_id).collect()
}

#[sqlx::test]
async fn what_has_failed_is_claimed_without_its_webhook(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let held = take(&mut conn).await;
    write(&mut conn, &[unsent(2, 1)]).await.expect("parked");
    assert_eq!(take_ended(&mut conn).await, []);
    let row = failed(1, 2, &held);
    let id = row.facts.id;
    write(&mut conn, &[row]).await.expect("written");
    assert_eq!(take_ended(&mut conn).await, [id]);
    assert_eq!(take_ended(&mut conn).await, [], "it is claimed");
}

#[sqlx::test]
async fn a_record_that_fails_ends_the_row_of_another_owner(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let held = take(&mut conn).await;
    let mut row = failed(1, 2, &held);
    (row.parked, row.attempts) = (None, 1);
    let id = row.facts.id;
    write(&mut conn, &[row]).await.expect("written");
    assert_eq!(claimed_until(&mut conn).await, Some(held.claimed_until));
    assert_eq!(take_ended(&mut conn).await, []);
    parked::release(&mut conn, &[held]).await.expect("released");
    assert_eq!(take_ended(&mut conn).await, [id]);
}

#[sqlx::test]
async fn cancelling_removes_rows_and_marks_what_is_claimed(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let held = take(&mut conn).await;
    write(&mut conn, &[unsent(2, 1)]).await.expect("parked");
    let reason = FailureReason::Disabled;
    let before = clock::now() + chrono::TimeDelta::minutes(1);
    let cancelled = cancelling::cancel_batch(&mut conn, webhook(), reason, before).await;
    assert_eq!(
        cancelled.expect("cancelled").events,
        [(EventType::GoalCompletion, 2)]
    );
    // The row that nobody works on is gone.
    assert_eq!(claimed_until(&mut conn).await, Some(held.claimed_until));
    parked::release(&mut conn, &[held]).await.expect("released");
    assert_eq!(take_ended(&mut conn).await, [held.id]);
}

/// The attempt that arrived, begun at `started_ms`.
fn arrived_at(delivery: u128, started_ms: i64) -> OutcomeRow {
    let mut row = delivered(unsent(delivery, 2));
    row.attempt = Some(AttemptRow {
        due_at: from_ms(CREATED_MS),
        started_at: from_ms(started_ms),
        headers_at: None,
        ended_at: from_ms(started_ms + 1),
        status_code: Some(200),
        result: AttemptResult::Success,
        fault: Fault::None,
        error: None,
        response: None,
        remote_address: None,
        url_masked: "https://example.com/".to_owned(),
        possible_repeat: false,
        dns_ms: None,
        connect_ms: None,
        tls_ms: None,
        response_ms: None,
        total_ms: None,
    });
    row
}

#[sqlx::test]
async fn an_attempt_that_two_owners_have_sent_is_a_possible_repeat(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let flags = "select possible_repeat from delivery_attempts order by delivery_id";
    // The second one is written twice, as when the answer to the first commit was lost.
    for rows in [
        [arrived_at(1, CREATED_MS), arrived_at(2, CREATED_MS)],
        [arrived_at(1, CREATED_MS + 5), arrived_at(2, CREATED_MS)],
    ] {
        write(&mut conn, &rows).await.expect("written");
    }
    let flagged: Vec<bool> = sqlx::query_scalar(flags)
        .fetch_all(&mut *conn)
        .await
        .expect("the attempts");
    assert_eq!(flagged, [true, false]);
}

#[sqlx::test]
async fn an_unrecordable_delivery_ends_and_an_end_stays(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(1, 1)]).await.expect("parked");
    let mut row = unsent(1, 2);
    row.end_unrecordable();
    assert!(end_unrecordable(&mut conn, &row).await.expect("ended"));
    assert_eq!(take_ended(&mut conn).await, [row.facts.id]);
    let state = "select status, failure_reason, attempts, parked_reason from deliveries";
    let known: (String, String, i32, Option<String>) =
        sqlx::query_as(state).fetch_one(&mut *conn).await.expect("a row");
    assert_eq!(known, ("failed".to_owned(), "unrecordable".to_owned(), 1, None));
    // An end that is recorded stays, and so does one that arrived.
    row.status = DeliveryStatus::Delivered;
    assert!(!end_unrecordable(&mut conn, &row).await.expect("asked"));
    let mut arrived = unsent(2, 2);
    arrived.status = DeliveryStatus::Delivered;
    arrived.end_unrecordable();
    assert_eq!(
        (arrived.status, arrived.failure_reason),
        (DeliveryStatus::Delivered, None)
    );
}
