//! The present of sites, as their detectors see it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::site::SiteId;
use crate::domain::site_now::SiteNow;

/// The present of a site as it was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SiteNowRecord {
    /// Distinct visitors of the last 300 seconds.
    pub current_visitors: i64,
    /// The site's own clock.
    pub as_of: DateTime<Utc>,
    /// As the API shows it; `None` while nothing is known to be usual.
    pub baseline: Option<Value>,
    /// As the API shows them.
    pub triggers: Value,
    /// Time of the last record of any site from its source, while that is silent.
    pub source_silent_since: Option<DateTime<Utc>>,
}

/// Writes the present of sites, each at most once a call. What another detector wrote later stays.
/// Sites that are not registered are left out.
pub async fn write(
    conn: &mut PgConnection,
    sites: &[SiteNow],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    macro_rules! column {
        ($of:expr) => {
            sites.iter().map($of).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into site_now as s (site_id, current_visitors, as_of, baseline, triggers, source_silent_since, updated_at)
         select n.site_id, n.current_visitors, n.as_of, n.baseline, n.triggers, n.source_silent_since, $7
         from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::jsonb[], $5::jsonb[], $6::timestamptz[])
              as n (site_id, current_visitors, as_of, baseline, triggers, source_silent_since)
         join sites on sites.site_id = n.site_id
         order by n.site_id
         on conflict on constraint site_now_pkey do update set
             current_visitors = excluded.current_visitors, as_of = excluded.as_of, baseline = excluded.baseline,
             triggers = excluded.triggers, source_silent_since = excluded.source_silent_since, updated_at = excluded.updated_at
         where s.updated_at <= excluded.updated_at",
        &column!(|one| one.site_id.as_str().to_owned()),
        &column!(|one| i64::from(one.current_visitors)),
        &column!(|one| one.as_of),
        &column!(|one| one.baseline.map(|baseline| json(&baseline))) as &[Option<Value>],
        &column!(|one| json(&one.triggers)),
        &column!(|one| one.source_silent_since) as &[Option<DateTime<Utc>>],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A registered site's present, and the time of its last event.
#[derive(Debug, Clone, PartialEq)]
pub struct SitePresent {
    pub last_event_at: Option<DateTime<Utc>>,
    /// `None` if no detector has written it.
    pub now: Option<SiteNowRecord>,
}

/// Reads the present of a site; `None` if it is not registered.
pub async fn get(conn: &mut PgConnection, site: &SiteId) -> Result<Option<SitePresent>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select s.last_event_at, n.current_visitors as "current_visitors?", n.as_of as "as_of?", n.baseline,
               n.triggers as "triggers?", n.source_silent_since as "source_silent_since?"
           from sites s left join site_now n on n.site_id = s.site_id where s.site_id = $1"#,
        site.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| SitePresent {
        last_event_at: row.last_event_at,
        now: match (row.current_visitors, row.as_of, row.triggers) {
            (Some(current_visitors), Some(as_of), Some(triggers)) => Some(SiteNowRecord {
                current_visitors,
                as_of,
                baseline: row.baseline,
                triggers,
                source_silent_since: row.source_silent_since,
            }),
            _ => None,
        },
    }))
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("plain data with string keys always becomes JSON")
}
