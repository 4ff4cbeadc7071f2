//! Writing outcomes past rows that other sessions hold.

use std::collections::HashSet;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{OutcomeRow, write};
use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::DeliveryId;

/// Result of a write.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Deliveries whose row took the outcome, with their status.
    pub(crate) taken: Vec<(DeliveryId, DeliveryStatus)>,
    /// Deliveries of which nothing was written, since another session holds one of their rows.
    pub(crate) locked: HashSet<DeliveryId>,
}

/// Writes outcomes as [`write()`] does, but only those of which no row is locked: the delivery's
/// row, its row of `parked`, and, if it is parked or leaves `parked`, the row of its webhook's
/// health, which counts what waits.
pub(crate) async fn write_free(
    connection: &mut PgConnection,
    outcomes: &[OutcomeRow],
) -> sqlx::Result<Written> {
    let mut tx = connection.begin().await?;
    let locked = lock_free_rows(&mut tx, outcomes).await?;
    let free: Vec<OutcomeRow> = outcomes
        .iter()
        .filter(|outcome| !locked.contains(&outcome.facts.id))
        .cloned()
        .collect();
    let taken = match free.as_slice() {
        [] => Vec::new(),
        free => write(&mut tx, free).await?,
    };
    tx.commit().await?;
    Ok(Written { taken, locked })
}

/// Locks the rows that the outcomes change, as far as they are free, until the transaction ends.
/// Returns the deliveries of which one is not free.
async fn lock_free_rows(
    connection: &mut PgConnection,
    outcomes: &[OutcomeRow],
) -> sqlx::Result<HashSet<DeliveryId>> {
    let ids: Vec<Uuid> = outcomes.iter().map(|one| one.facts.id.uuid()).collect();
    let (Some(lowest), Some(highest)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(HashSet::new());
    };
    let webhooks: Vec<Uuid> = outcomes.iter().map(|one| one.facts.webhook_id.uuid()).collect();
    let parks: Vec<bool> = outcomes.iter().map(|one| one.parked.is_some()).collect();
    let locked = sqlx::query_scalar!(
        r#"with outcome as materialized (
             select id, o.webhook_id, p.delivery_id is not null as is_parked, parks or p.delivery_id is not null as counts
             from unnest($1::uuid[], $2::uuid[], $3::bool[]) as o (id, webhook_id, parks)
             left join parked p on p.delivery_id = o.id
         ), free_delivery as materialized (
             select id from deliveries where id = any($1) and id between $4 and $5
             order by id for no key update skip locked
         ), free_parked as materialized (
             select delivery_id from parked where delivery_id = any($1) order by delivery_id for update skip locked
         ), free_health as materialized (
             select webhook_id from webhook_health
             where webhook_id = any(array(select webhook_id from outcome where counts))
             order by webhook_id for no key update skip locked
         )
         select id as "id!" from outcome o
         where not exists (select from free_delivery f where f.id = o.id)
                 and exists (select from deliveries d where d.id = o.id and d.id between $4 and $5)
            or is_parked and not exists (select from free_parked f where f.delivery_id = o.id)
            or counts and not exists (select from free_health f where f.webhook_id = o.webhook_id)
                 and exists (select from webhook_health h where h.webhook_id = o.webhook_id)"#,
        &ids,
        &webhooks,
        &parks,
        lowest,
        highest,
    )
    .fetch_all(connection)
    .await?;
    Ok(locked.into_iter().map(DeliveryId::from_uuid).collect())
}

#[cfg(test)]
mod tests;
