//! The history of a webhook, page by page.
//!
//! A page is found in an index that holds all that the filter asks for, and in the order of the
//! page, so that no more entries are read than it shows, however long the history and however rare
//! what is asked for. Then its rows are read by their ids, in the same snapshot.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId, uuid_floor};
use crate::domain::site::SiteId;

use super::deliveries_read::{self, LastAttempt, StoredDelivery};
use super::partitions::DAY_MS;
use super::plans::plan_for_values;

/// Selection from the deliveries of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryQuery {
    /// Empty means any.
    pub(crate) statuses: BTreeSet<DeliveryStatus>,
    /// Empty means any.
    pub(crate) events: BTreeSet<EventType>,
    /// Only notifications made at or after this time, in milliseconds since the Unix epoch.
    pub(crate) since_ms: Option<i64>,
    /// Only deliveries older than this one.
    pub(crate) after: Option<DeliveryId>,
    pub(crate) limit: u32,
    /// True to add the newest delivery that was tried and did not arrive, if it lies beyond.
    pub(crate) also_tried: bool,
}

/// Reads the newest deliveries of each of these webhooks of a site, tests left out and without
/// payloads: at most `limit` of each, newest first. However many tests lie before them, none is
/// read but those among the last few hundred deliveries.
pub(crate) async fn newest(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhooks: &[Uuid],
    limit: u32,
) -> Result<Vec<(StoredDelivery, Option<LastAttempt>)>, sqlx::Error> {
    let mut found = deliveries_read::newest(conn, webhooks, i64::from(limit)).await?;
    let is_short = |webhook: &Uuid| {
        let of = found.iter().filter(|(one, _)| one.webhook_id == *webhook);
        of.count() < limit as usize
    };
    let short: Vec<Uuid> = webhooks.iter().copied().filter(is_short).collect();
    if short.is_empty() {
        return Ok(found);
    }
    let by_kind = HistoryQuery {
        statuses: BTreeSet::new(),
        events: EventType::ALL
            .into_iter()
            .filter(|event| *event != EventType::Test)
            .collect(),
        since_ms: None,
        after: None,
        limit,
        also_tried: false,
    };
    for webhook in deliveries_read::not_read_whole(conn, &short).await? {
        let (rows, _) = read(conn, site_id, WebhookId::from_uuid(webhook), &by_kind).await?;
        found.retain(|(one, _)| one.webhook_id != webhook);
        found.extend(rows.into_iter().map(|(delivery, last)| {
            let payload = None;
            (StoredDelivery { payload, ..delivery }, last)
        }));
    }
    Ok(found)
}

/// Counts deliveries of the history, without their rows: up to the limit of the query, and one more
/// if there are more.
pub(crate) async fn count(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhook: WebhookId,
    query: &HistoryQuery,
) -> Result<usize, sqlx::Error> {
    let mut tx = conn
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    plan_for_values(&mut tx).await?;
    let ids = find(&mut tx, site_id, webhook, query).await?;
    tx.commit().await?;
    Ok(ids.len())
}

/// Asks the list of deliveries for their number up to this one, instead. A page that calls from
/// inside the process asks so: no request from outside has the extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountUpTo(pub(crate) u32);

/// Asks a list for the newest delivery of a failing webhook that was tried and did not arrive,
/// beside the newest ones: it tells how the endpoint fails. Pages ask so, like [`CountUpTo`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlsoTried;

/// Reads for each of these webhooks the newest delivery that was tried and did not arrive.
pub(crate) async fn last_tried(
    conn: &mut PgConnection,
    webhooks: &[Uuid],
) -> Result<Vec<(StoredDelivery, Option<LastAttempt>)>, sqlx::Error> {
    deliveries_read::some_and_tried(conn, &[], webhooks).await
}

/// Reads a page of the history of a webhook that the site has or had, newest first and each with
/// its last attempt, and the cursor of the next page if there is one.
///
/// The order is that of the ids, which start with the notification's time. A page begins after the
/// last row of the page before, so no delivery comes twice and none is left out, whatever is added
/// meanwhile.
pub(crate) async fn read(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhook: WebhookId,
    query: &HistoryQuery,
) -> Result<(Vec<(StoredDelivery, Option<LastAttempt>)>, Option<DeliveryId>), sqlx::Error> {
    // One snapshot: a delivery that ends between the two queries still fits the filter.
    let mut tx = conn
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    plan_for_values(&mut tx).await?;
    let mut ids = find(&mut tx, site_id, webhook, query).await?;
    let limit = query.limit as usize;
    let has_more = ids.len() > limit;
    ids.truncate(limit);
    let rows = match query.also_tried {
        true => deliveries_read::some_and_tried(&mut tx, &ids, &[webhook.uuid()]).await?,
        false => deliveries_read::some(&mut tx, &ids).await?,
    };
    tx.commit().await?;
    let next = ids.last().filter(|_| has_more).copied();
    Ok((rows, next.map(DeliveryId::from_uuid)))
}

/// Bounds of the ids of a page, the upper one excluded, and its size.
#[derive(Clone, Copy)]
struct PageBounds<'a> {
    site_id: &'a SiteId,
    webhook: WebhookId,
    from: Uuid,
    below: Uuid,
    /// One more than is shown tells that there is a next page.
    limit: i64,
}

/// Finds the ids of a page in the index that fits the filter.
async fn find(
    conn: &mut PgConnection,
    site_id: &SiteId,
    webhook: WebhookId,
    query: &HistoryQuery,
) -> Result<Vec<Uuid>, sqlx::Error> {
    use DeliveryStatus::{Cancelled, Failed, Pending, Retrying};
    let bounds = PageBounds {
        site_id,
        webhook,
        from: query.since_ms.map_or(Uuid::nil(), uuid_floor),
        below: query.after.map_or(Uuid::max(), DeliveryId::uuid),
        limit: i64::from(query.limit) + 1,
    };
    let statuses: Vec<DeliveryStatus> = query.statuses.iter().copied().collect();
    match (statuses.as_slice(), query.events.is_empty()) {
        ([], true) => find_any(conn, bounds).await,
        ([Failed, Cancelled], true) => find_missed(conn, bounds).await,
        ([Pending, Retrying], true) => find_open(conn, bounds).await,
        _ => find_kinds(conn, bounds, query).await,
    }
}

async fn find_any(conn: &mut PgConnection, bounds: PageBounds<'_>) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from deliveries
         where webhook_id = any(array[$1::uuid]) and id >= $2 and id < $3
           and exists (select from webhooks where webhooks.id = $1 and webhooks.site_id = $5)
         order by webhook_id, id desc limit $4",
        bounds.webhook.uuid(),
        bounds.from,
        bounds.below,
        bounds.limit,
        bounds.site_id.as_str()
    )
    .fetch_all(conn)
    .await
}

async fn find_missed(conn: &mut PgConnection, bounds: PageBounds<'_>) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from deliveries
         where webhook_id = any(array[$1::uuid]) and id >= $2 and id < $3 and status in ('failed', 'cancelled')
           and exists (select from webhooks where webhooks.id = $1 and webhooks.site_id = $5)
         order by webhook_id, id desc limit $4",
        bounds.webhook.uuid(),
        bounds.from,
        bounds.below,
        bounds.limit,
        bounds.site_id.as_str()
    )
    .fetch_all(conn)
    .await
}

async fn find_open(conn: &mut PgConnection, bounds: PageBounds<'_>) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from deliveries
         where webhook_id = any(array[$1::uuid]) and id >= $2 and id < $3 and status in ('pending', 'retrying')
           and exists (select from webhooks where webhooks.id = $1 and webhooks.site_id = $5)
         order by webhook_id, id desc limit $4",
        bounds.webhook.uuid(),
        bounds.from,
        bounds.below,
        bounds.limit,
        bounds.site_id.as_str()
    )
    .fetch_all(conn)
    .await
}

/// Finds a page of each pair of a status and an event type, and merges them: every pair is a run of
/// `deliveries_by_kind` in the order of the ids.
///
/// One part that is planned once, whatever the number of pairs. The planner knows neither their
/// words nor how often they come, so it is left no choice: only that index has this order, in which
/// the status is not a constant. Reading begins at the row and ends with the status; within the
/// oldest day, rows before `from` are left out afterwards, or else all of that day would be read.
async fn find_kinds(
    conn: &mut PgConnection,
    bounds: PageBounds<'_>,
    query: &HistoryQuery,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let statuses = words_or_all(&query.statuses, DeliveryStatus::WORDS, DeliveryStatus::as_str);
    let events = words_or_all(&query.events, EventType::WORDS, EventType::as_str);
    let oldest_day = query.since_ms.map_or(Uuid::nil(), |since_ms| {
        uuid_floor(since_ms.div_euclid(DAY_MS) * DAY_MS)
    });
    sqlx::query_scalar!(
        r#"select found.id as "id!"
           from unnest($1::text[]) wanted_event (event_type)
           cross join unnest($2::text[]) wanted_status (status)
           cross join lateral (
               select id from deliveries d
               where d.webhook_id = $3 and d.event_type = wanted_event.event_type
                 and d.status >= wanted_status.status and (d.status, d.id) < (wanted_status.status, $4::uuid)
                 and d.id >= $5 and d.id < $4
               order by d.status desc, d.id desc limit $6
           ) found
           where found.id >= $7
             and exists (select from webhooks where webhooks.id = $3 and webhooks.site_id = $8)
           order by found.id desc limit $6"#,
        &events,
        &statuses,
        bounds.webhook.uuid(),
        bounds.below,
        oldest_day,
        bounds.limit,
        bounds.from,
        bounds.site_id.as_str()
    )
    .fetch_all(conn)
    .await
}

/// The words of these, or all of the set if there are none.
fn words_or_all<T: Copy>(wanted: &BTreeSet<T>, all: &[&str], word: fn(T) -> &'static str) -> Vec<String> {
    match wanted.is_empty() {
        true => all.iter().map(|word| (*word).to_owned()).collect(),
        false => wanted.iter().map(|one| word(*one).to_owned()).collect(),
    }
}
