//! Episodes of triggers: the history of alerts.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::episode::{EpisodeEntry, SettledSite};
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, WebhookId};
use crate::domain::site::SiteId;

/// Row of `episodes`.
struct EpisodeRow {
    id: Uuid,
    site_id: String,
    event_type: String,
    trigger: Value,
    webhook_ids: Vec<Uuid>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    peak: i64,
    threshold: Option<f64>,
    expected: Option<f64>,
    score: Option<f64>,
    notification_id: Option<Uuid>,
}

/// Writes episodes by their id, each at most once a call. An episode that was written before keeps
/// its beginning, and takes its end, its notification and a peak that lies further out. Episodes of
/// sites that are not registered are left out.
///
/// Rows are locked in the order of their ids, the order of all writers of several.
pub async fn write(
    conn: &mut PgConnection,
    episodes: &[EpisodeEntry],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    macro_rules! column {
        ($of:expr) => {
            episodes.iter().map($of).collect::<Vec<_>>()
        };
    }
    // An array of arrays must have rows of one length: the webhooks travel as JSON.
    sqlx::query!(
        "insert into episodes as e (id, site_id, event_type, trigger, webhook_ids, started_at, ended_at, peak, threshold,
                                    expected, score, notification_id, updated_at)
         select n.id, n.site_id, n.event_type, n.trigger,
                array(select jsonb_array_elements_text(n.webhooks)::uuid), n.started_at,
                case when n.ended_at is not null then greatest(n.ended_at, n.started_at) end, n.peak, n.threshold, n.expected, n.score, n.notification_id, $13
         from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[], $6::timestamptz[],
                     $7::timestamptz[], $8::bigint[], $9::float8[], $10::float8[], $11::float8[], $12::uuid[])
              as n (id, site_id, event_type, trigger, webhooks, started_at, ended_at, peak, threshold, expected,
                    score, notification_id)
         join sites on sites.site_id = n.site_id
         order by n.id
         on conflict on constraint episodes_pkey do update set
             ended_at = coalesce(e.ended_at,
                 case when excluded.ended_at is not null then greatest(excluded.ended_at, e.started_at) end),
             peak = case e.event_type when $14 then least(e.peak, excluded.peak) else greatest(e.peak, excluded.peak) end,
             notification_id = coalesce(e.notification_id, excluded.notification_id),
             updated_at = excluded.updated_at",
        &column!(|one| one.id),
        &column!(|one| one.site_id.as_str().to_owned()),
        &column!(|one| one.event.to_string()),
        &column!(|one| one.trigger.clone()),
        &column!(|one| one.webhooks.iter().map(|id| Value::from(id.uuid().to_string())).collect::<Value>()),
        &column!(|one| one.started_at),
        &column!(|one| one.ended_at) as &[Option<DateTime<Utc>>],
        &column!(|one| i64::from(one.peak)),
        &column!(|one| one.threshold) as &[Option<f64>],
        &column!(|one| one.expected) as &[Option<f64>],
        &column!(|one| one.score) as &[Option<f64>],
        &column!(|one| one.notification.map(NotificationId::uuid)) as &[Option<Uuid>],
        now,
        DROP,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the open rows of sites that belong to no episode that goes on: whoever knew of their end
/// could not write it. Rows that an owner does not know yet stay.
///
/// Rows are locked in the order of their ids.
pub async fn end_others(
    conn: &mut PgConnection,
    settled: &[SettledSite],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let sites: Vec<String> = settled.iter().map(|one| one.site_id.to_string()).collect();
    let ended_by: Vec<DateTime<Utc>> = settled.iter().map(|one| one.ended_by).collect();
    let known_from: Vec<DateTime<Utc>> = settled.iter().map(|one| one.known_from).collect();
    let known: Vec<Uuid> = settled.iter().flat_map(|one| one.known.iter().copied()).collect();
    sqlx::query!(
        "with others as (
             select e.id, n.ended_by
             from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as n (site_id, ended_by, known_from)
             join episodes e on e.site_id = n.site_id and e.ended_at is null
             where e.started_at < n.known_from and not e.id = any($4::uuid[])
             order by e.id for update of e)
         update episodes as e set ended_at = greatest(e.started_at, others.ended_by), updated_at = $5
         from others where e.id = others.id and e.ended_at is null",
        &sites,
        &ended_by,
        &known_from,
        &known,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The type whose peak is its lowest count.
const DROP: &str = "visitor_drop";

/// Place in the list of a site's episodes: the beginning and the id of the last one shown.
pub type EpisodeCursor = (DateTime<Utc>, Uuid);

/// Reads the episodes of a site, newest first: at most `limit`, of these types (none: of all),
/// begun since, and after the cursor, where given.
pub async fn list(
    conn: &mut PgConnection,
    site: &SiteId,
    events: &[EventType],
    since: Option<DateTime<Utc>>,
    after: Option<EpisodeCursor>,
    limit: i64,
) -> Result<Vec<EpisodeEntry>, sqlx::Error> {
    let (after_at, after_id) = after.unzip();
    let events: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
    let rows = sqlx::query_as!(
        EpisodeRow,
        "select id, site_id, event_type, trigger, webhook_ids, started_at, ended_at, peak, threshold, expected, score,
                notification_id
         from episodes
         where site_id = $1 and (cardinality($2::text[]) = 0 or event_type = any($2)) and ($3::timestamptz is null or started_at >= $3)
           and ($4::timestamptz is null or (started_at, id) < ($4, $5::uuid))
           and exists (select from sites where sites.site_id = $1)
         order by started_at desc, id desc limit $6",
        site.as_str(),
        &events as &[&str],
        since,
        after_at,
        after_id,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<EpisodeRow> for EpisodeEntry {
    type Error = sqlx::Error;

    fn try_from(row: EpisodeRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            site_id: row.site_id.parse().map_err(unreadable)?,
            event: row.event_type.parse().map_err(unreadable)?,
            trigger: row.trigger,
            webhooks: row.webhook_ids.into_iter().map(WebhookId::from_uuid).collect(),
            started_at: row.started_at,
            ended_at: row.ended_at,
            peak: u32::try_from(row.peak).map_err(unreadable)?,
            threshold: row.threshold,
            expected: row.expected,
            score: row.score,
            notification: row.notification_id.map(NotificationId::from_uuid),
        })
    }
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
