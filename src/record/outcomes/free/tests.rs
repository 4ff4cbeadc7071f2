use sqlx::{PgPool, Postgres, Transaction};

use super::super::tests::{delivered, unsent, webhook_of};
use super::*;
use crate::domain::id::WebhookId;

/// Holds what a query locks until the transaction ends.
async fn hold(pool: &PgPool, query: &str, id: Uuid) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.expect("begun");
    sqlx::query(query).bind(id).execute(&mut *tx).await.expect("held");
    tx
}

/// An outcome that parks a delivery of a webhook of its own.
fn parks(delivery: u128) -> OutcomeRow {
    let mut row = unsent(delivery, 1);
    row.facts.webhook_id = WebhookId::from_uuid(Uuid::from_u128(100 + delivery));
    row
}

/// Writes the outcomes, and returns which were written and which were not, by number.
async fn write_past(pool: &PgPool, rows: &[OutcomeRow]) -> (Vec<u128>, Vec<u128>) {
    let mut conn = pool.acquire().await.expect("a connection");
    // Whatever waits for a lock is an error.
    sqlx::query("set lock_timeout = '1ms'")
        .execute(&mut *conn)
        .await
        .expect("set");
    let written = write_free(&mut conn, rows).await.expect("written");
    let number = |id: &DeliveryId| id.uuid().as_u128();
    let mut taken: Vec<u128> = written.taken.iter().map(|(id, _)| number(id)).collect();
    taken.sort_unstable();
    (taken, written.locked.iter().map(number).collect())
}

#[sqlx::test]
async fn an_outcome_whose_delivery_is_held_is_left_out(pool: PgPool) {
    let rows: Vec<OutcomeRow> = (1..4).map(|number| delivered(unsent(number, 2))).collect();
    let mut conn = pool.acquire().await.expect("a connection");
    write(&mut conn, &[unsent(2, 1)]).await.expect("parked");
    for query in [
        "select id from deliveries where id = $1 for update",
        "select delivery_id from parked where delivery_id = $1 for update",
    ] {
        let held = hold(&pool, query, rows[1].facts.id.uuid()).await;
        let (_, locked) = write_past(&pool, &rows).await;
        assert_eq!(locked, [2], "{query}");
        held.rollback().await.expect("let go");
    }
    let recorded: i64 = sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
        .fetch_one(&mut *conn)
        .await
        .expect("counted");
    assert_eq!(recorded, 2, "the two others");
    assert_eq!(write_past(&pool, &rows[1..2]).await, (vec![2], vec![]));
}

#[sqlx::test]
async fn held_health_leaves_out_what_is_parked_alone(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    // Their webhooks have a row of health.
    write(&mut conn, &[parks(1), parks(2)]).await.expect("parked");
    let webhook = webhook_of(&parks(1));
    let query = "select webhook_id from webhook_health where webhook_id = $1 for update";
    let held = hold(&pool, query, webhook).await;
    let mut same_webhook = parks(3);
    same_webhook.facts.webhook_id = WebhookId::from_uuid(webhook);
    let mut sent = delivered(unsent(4, 2));
    sent.facts.webhook_id = WebhookId::from_uuid(webhook);
    let unparked = delivered(parks(1));
    let rows = [unparked, delivered(parks(2)), same_webhook, sent];
    let (taken, mut locked) = write_past(&pool, &rows).await;
    locked.sort_unstable();
    assert_eq!((taken, locked), (vec![2, 4], vec![1, 3]));
    held.rollback().await.expect("let go");
    assert_eq!(write_past(&pool, &rows).await, (vec![1, 3], vec![]));
}
