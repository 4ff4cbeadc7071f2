//! The call that reads the history of a site's alerts.

use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Datelike as _};
use serde_json::{Value, json};

use crate::domain::episode::EpisodeEntry;
use crate::domain::event::EventType;
use crate::domain::id::AlertId;
use crate::record::episodes::{self, EpisodeCursor};

use super::answer::{self, Page, optional_time, time};
use super::extract::ReadableSite;
use super::parameter::Parameter;
use super::problem::Problem;
use super::query::Query;
use super::sites::check_registered;
use super::state::ApiState;

/// `GET /api/sites/{site_id}/alerts?event=&since=&limit=&after=`: newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    site: ReadableSite,
    query: Query,
) -> Result<Response, Problem> {
    let mut errors = query.check_names();
    let events: Vec<EventType> = query.many(Parameter::AlertEvents, &mut errors);
    let since = query.time(Parameter::Since, &mut errors);
    let after: Option<Cursor> = query.after(&mut errors);
    let limit = query.limit(&mut errors);
    Problem::check(errors)?;
    let mut conn = state.read().await?;
    let after = after.map(|cursor| cursor.0);
    let rows = i64::from(limit) + 1;
    let found = episodes::list(&mut conn, site.id(), &events, since, after, rows).await?;
    if found.is_empty() {
        check_registered(&mut conn, &site).await?;
    }
    let (found, has_more) = answer::cut(found, limit);
    let next = found
        .last()
        .filter(|_| has_more)
        .map(|last| Cursor((last.started_at, last.id)).to_string());
    let data: Vec<Value> = found.iter().map(to_answer).collect();
    Ok(answer::ok(&Page { data, next }))
}

fn to_answer(episode: &EpisodeEntry) -> Value {
    json!({
        "id": AlertId::from_uuid(episode.id),
        "event": episode.event,
        "started_at": time(episode.started_at),
        "ended_at": optional_time(episode.ended_at),
        "peak": episode.peak,
        "threshold": episode.threshold.map(plain_number),
        "expected": episode.expected.map(plain_number),
        "score": episode.score,
        "notification_id": episode.notification,
        "webhook_ids": episode.webhooks,
        "suppressed": episode.notification.is_none(),
    })
}

/// A number that is whole is written without a fraction.
fn plain_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// The place of the last alert of a page: its beginning in microseconds, and its id.
#[derive(Debug)]
struct Cursor(EpisodeCursor);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (started_at, id) = self.0;
        write!(f, "{}.{}", AlertId::from_uuid(id), started_at.timestamp_micros())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, micros) = text.split_once('.').ok_or(())?;
        let id: AlertId = id.parse().map_err(|_| ())?;
        let micros = micros.parse().map_err(|_| ())?;
        let started_at = DateTime::from_timestamp_micros(micros).ok_or(())?;
        // Postgres does not know all the times that chrono does.
        if !(1970..=9999).contains(&started_at.year()) {
            return Err(());
        }
        Ok(Self((started_at, id.uuid())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor((
            DateTime::from_timestamp_micros(1_771_970_400_123_456).expect("a time"),
            uuid::Uuid::from_u128(7),
        ));
        let read: Cursor = cursor.to_string().parse().expect("a cursor");
        assert_eq!(read.0, cursor.0);
        for bad in [
            "",
            "alr_",
            "alr_00000000000000000000000007",
            "x.1",
            "alr_00000000000000000000000007.x",
            // Before the times of Postgres, and after those of the API.
            "alr_00000000000000000000000007.-300000000000000000",
            "alr_00000000000000000000000007.253402300800000000",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(plain_number(300.0).to_string(), "300");
        assert_eq!(plain_number(41.3).to_string(), "41.3");
    }
}
