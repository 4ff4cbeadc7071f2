//! Notes of what is about to be sent, by which the next owner of a partition knows after a crash
//! what may have been.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::DeliveryId;

/// Deliveries that an intake thread is about to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendNote {
    /// Nonce of the thread.
    pub(crate) owner: Arc<str>,
    /// The highest number of their requests.
    highest: i64,
    /// Number of the first request of the process that is not recorded.
    pub(crate) done_before: i64,
    deliveries: Vec<Uuid>,
}

impl SendNote {
    pub(crate) fn new(owner: &Arc<str>) -> Self {
        Self {
            owner: Arc::clone(owner),
            highest: 0,
            done_before: 0,
            deliveries: Vec::new(),
        }
    }

    /// Adds a delivery, and the number of its request.
    pub(crate) fn add(&mut self, delivery: DeliveryId, request: i64) {
        self.highest = self.highest.max(request);
        self.deliveries.push(delivery.uuid());
    }
}

/// Writes notes, and removes those of which everything is recorded.
///
/// Does not wait for the disk: a note outlives its writer, and need not outlive the server.
pub(crate) async fn write(connection: &mut PgConnection, notes: &[SendNote]) -> sqlx::Result<()> {
    for note in notes {
        sqlx::query!(
            "with unsynced as (
                 select set_config('synchronous_commit', 'off', true)
             ), recorded as (
                 delete from send_notes where owner = $1 and highest < $2
             )
             insert into send_notes (owner, highest, delivery_ids) select $1, $3, $4 from unsynced",
            &*note.owner,
            note.done_before,
            note.highest,
            &note.deliveries,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Returns the deliveries that these owners have noted and not recorded, and notes them for those
/// who follow: pairs of nonces, the dead owner's first.
pub(crate) async fn adopt(
    connection: &mut PgConnection,
    followed: &BTreeSet<(String, String)>,
) -> sqlx::Result<Vec<DeliveryId>> {
    let (dead, next): (Vec<String>, Vec<String>) = followed.iter().cloned().unzip();
    let rows = sqlx::query!(
        r#"with old as (
             delete from send_notes where noted_at < now() - interval '1 day'
         ), unrecorded as (
             select f.dead, f.next, u.id, n.noted_at
             from unnest($1::text[], $2::text[]) as f (dead, next) join send_notes n on n.owner = f.dead
                 cross join lateral unnest(n.delivery_ids) as u (id)
                 -- With a limit: one look-up a note, and no join with all deliveries.
                 left join lateral (
                     select true as is_recorded from deliveries d
                     where d.id = u.id and (d.attempts > 0 or d.status <> 'pending') limit 1
                 ) d on true
             where d.is_recorded is null
         ), adopted as (
             -- Of a number that no request reaches: only age removes it.
             insert into send_notes (owner, highest, delivery_ids, noted_at)
             select next, 9223372036854775807, array_agg(distinct id), min(noted_at)
             from unrecorded where dead <> next group by next
         )
         select distinct id as "id!" from unrecorded"#,
        &dead,
        &next,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeliveryId::from_uuid(row.id))
        .collect())
}
