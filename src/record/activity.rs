//! The visitors of sites by the hour.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::domain::activity::{HourKey, HourSummary, MINUTES, SiteHour};
use crate::domain::site::SiteId;
use crate::domain::time::from_ms;

const HOUR_MS: i64 = 3_600_000;

/// Days for which rows are kept.
const KEEP_DAYS: i32 = 400;

/// Most rows that one call of [`purge`] deletes.
const PURGE_ROWS: i64 = 20_000;

/// Row of `site_activity`.
struct ActivityRow {
    site_id: String,
    hour: DateTime<Utc>,
    minutes: Vec<u8>,
    covered: i64,
    events: i64,
    goals: Value,
    peak_z: Option<f32>,
}

/// Writes hours, merged with what others wrote of the same: repeating a call changes nothing.
/// Hours of sites that are not registered are left out.
///
/// Rows are inserted and locked in the order of their keys, so that writers never wait for each
/// other in a circle.
pub async fn merge(
    conn: &mut PgConnection,
    hours: &BTreeMap<HourKey, SiteHour>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    let inserted = insert(&mut tx, &Columns::of(hours.iter()), now).await?;
    let mut rest: BTreeMap<HourKey, SiteHour> = hours
        .iter()
        .filter(|(key, _)| !inserted.contains(*key))
        .map(|(key, hour)| (key.clone(), hour.clone()))
        .collect();
    if !rest.is_empty() {
        let keys = Columns::of(rest.iter());
        for row in lock(&mut tx, &keys).await? {
            let Some((key, stored)) = row.read() else { continue };
            if let Some(hour) = rest.get_mut(&key) {
                hour.merge(&stored);
            }
        }
        update(&mut tx, &Columns::of(rest.iter()), now).await?;
    }
    tx.commit().await
}

/// Reads what is learned from the hours of sites from `since` on, in no order. A row that cannot be
/// read is left out.
pub(crate) async fn read_summaries(
    conn: &mut PgConnection,
    sites: &[String],
    since: DateTime<Utc>,
) -> Result<Vec<(HourKey, HourSummary)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select site_id, hour, covered, median, events, goals
         from site_activity where site_id = any($1) and hour >= $2",
        sites,
        since
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let summary = HourSummary {
            covered: row.covered.cast_unsigned(),
            median: row.median,
            events: u64::try_from(row.events).ok()?,
            goals: goals_of(&row.goals)?,
        };
        Some((key_of(&row.site_id, row.hour)?, summary))
    });
    Ok(read.collect())
}

/// Reads the hours of a site that begin between two times, the first one included, in their order.
pub async fn read_span(
    conn: &mut PgConnection,
    site: &SiteId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, SiteHour)>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ActivityRow,
        "select site_id, hour, minutes, covered, events, goals, peak_z
         from site_activity where site_id = $1 and hour >= $2 and hour < $3
           and exists (select from sites where sites.site_id = $1)
         order by hour",
        site.as_str(),
        from,
        until
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let at = row.hour;
        Some((at, row.read()?.1))
    });
    Ok(read.collect())
}

/// Reads the fewest and the most visitors of a site in the minutes that were counted since `since`.
pub(crate) async fn read_range(
    conn: &mut PgConnection,
    site: &SiteId,
    since: DateTime<Utc>,
) -> Result<Option<(u32, u32)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select minutes, covered from site_activity where site_id = $1 and hour >= $2",
        site.as_str(),
        since
    )
    .fetch_all(conn)
    .await?;
    let hours = rows
        .iter()
        .filter_map(|row| SiteHour::unpack(&row.minutes, row.covered.cast_unsigned()));
    let counted = hours.flat_map(|hour| (0..MINUTES).filter_map(move |minute| hour.minute(minute)));
    Ok(counted.fold(None, |range, visitors| match range {
        None => Some((visitors, visitors)),
        Some((fewest, most)) => Some((visitors.min(fewest), visitors.max(most))),
    }))
}

/// Deletes some of the rows that are too old; returns how many.
pub async fn purge(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query!(
        "delete from site_activity where ctid = any(array(
             select ctid from site_activity where hour < $1::timestamptz - make_interval(days => $2) limit $3
         ))",
        now,
        KEEP_DAYS,
        PURGE_ROWS
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

/// Inserts the hours that have no row yet, of registered sites; returns their keys.
async fn insert(
    conn: &mut PgConnection,
    columns: &Columns,
    now: DateTime<Utc>,
) -> Result<HashSet<HourKey>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"insert into site_activity (site_id, hour, minutes, covered, median, events, goals, peak_z, updated_at)
           select a.site_id, a.hour, a.minutes, a.covered, a.median, a.events, a.goals, a.peak_z, $9
           from unnest($1::text[], $2::timestamptz[], $3::bytea[], $4::bigint[], $5::real[], $6::bigint[],
                       $7::jsonb[], $8::real[])
                as a (site_id, hour, minutes, covered, median, events, goals, peak_z)
           join sites on sites.site_id = a.site_id
           order by a.site_id, a.hour
           on conflict on constraint site_activity_pkey do nothing
           returning site_id, hour"#,
        &columns.sites,
        &columns.hours,
        &columns.minutes,
        &columns.covered,
        &columns.medians as &[Option<f32>],
        &columns.events,
        &columns.goals,
        &columns.peaks as &[Option<f32>],
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| key_of(&row.site_id, row.hour))
        .collect())
}

async fn lock(conn: &mut PgConnection, columns: &Columns) -> Result<Vec<ActivityRow>, sqlx::Error> {
    sqlx::query_as!(
        ActivityRow,
        "select s.site_id, s.hour, s.minutes, s.covered, s.events, s.goals, s.peak_z
         from site_activity s
         join unnest($1::text[], $2::timestamptz[]) as a (site_id, hour)
              on s.site_id = a.site_id and s.hour = a.hour
         order by s.site_id, s.hour for no key update of s",
        &columns.sites,
        &columns.hours
    )
    .fetch_all(conn)
    .await
}

async fn update(conn: &mut PgConnection, columns: &Columns, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update site_activity s
         set minutes = a.minutes, covered = a.covered, median = a.median, events = a.events, goals = a.goals,
             peak_z = a.peak_z, updated_at = $9
         from unnest($1::text[], $2::timestamptz[], $3::bytea[], $4::bigint[], $5::real[], $6::bigint[],
                     $7::jsonb[], $8::real[])
              as a (site_id, hour, minutes, covered, median, events, goals, peak_z)
         where s.site_id = a.site_id and s.hour = a.hour",
        &columns.sites,
        &columns.hours,
        &columns.minutes,
        &columns.covered,
        &columns.medians as &[Option<f32>],
        &columns.events,
        &columns.goals,
        &columns.peaks as &[Option<f32>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hours as the columns of an array each.
#[derive(Default)]
struct Columns {
    sites: Vec<String>,
    hours: Vec<DateTime<Utc>>,
    minutes: Vec<Vec<u8>>,
    covered: Vec<i64>,
    medians: Vec<Option<f32>>,
    events: Vec<i64>,
    goals: Vec<Value>,
    peaks: Vec<Option<f32>>,
}

impl Columns {
    fn of<'a>(hours: impl Iterator<Item = (&'a HourKey, &'a SiteHour)>) -> Self {
        let mut columns = Self::default();
        for ((site, at), hour) in hours {
            columns.sites.push(site.as_str().to_owned());
            columns.hours.push(from_ms(i64::from(*at) * HOUR_MS));
            columns.minutes.push(hour.pack());
            // 60 bits always fit.
            columns.covered.push(hour.covered() as i64);
            columns.medians.push(hour.median());
            columns.events.push(stored(hour.events));
            let goals = hour.goals.iter();
            let goals = goals.map(|(name, count)| (name.to_string(), Value::from(*count)));
            columns.goals.push(Value::Object(goals.collect()));
            columns.peaks.push(hour.peak_z);
        }
        columns
    }
}

impl ActivityRow {
    fn read(self) -> Option<(HourKey, SiteHour)> {
        let key = key_of(&self.site_id, self.hour)?;
        let mut hour = SiteHour::unpack(&self.minutes, self.covered.cast_unsigned())?;
        hour.events = u64::try_from(self.events).ok()?;
        hour.goals = goals_of(&self.goals)?;
        hour.peak_z = self.peak_z;
        Some((key, hour))
    }
}

fn goals_of(json: &Value) -> Option<BTreeMap<Box<str>, u64>> {
    let goals = json.as_object()?.iter();
    goals
        .map(|(name, count)| Some((name.as_str().into(), count.as_u64()?)))
        .collect()
}

fn key_of(site: &str, hour: DateTime<Utc>) -> Option<HourKey> {
    let hour = u32::try_from(hour.timestamp_millis() / HOUR_MS).ok()?;
    Some((site.parse().ok()?, hour))
}

fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
