//! The calls that read how many visitors a site has: now, and in the past.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::clock;
use crate::domain::activity::SiteHour;
use crate::record::{activity, site_now};

use super::answer::{self, optional_time, time};
use super::extract::ReadableSite;
use super::field_errors::FieldCode;
use super::parameter::Parameter;
use super::problem::Problem;
use super::query::Query;
use super::sites::check_registered;
use super::state::ApiState;

/// Span that is read if none is given.
const DEFAULT_SPAN: TimeDelta = TimeDelta::hours(24);
/// Longest span that is answered by the minute.
const MAX_BY_MINUTE: TimeDelta = TimeDelta::days(31);
/// Longest span, which is answered by the hour.
const MAX_BY_HOUR: TimeDelta = TimeDelta::days(400);

/// `GET /api/sites/{site_id}/status`
pub(super) async fn status(State(state): State<ApiState>, site: ReadableSite) -> Result<Response, Problem> {
    let known = match site.of_page() {
        Some(known) => known.present(),
        None => site_now::get(&mut *state.read().await?, site.id())
            .await?
            .ok_or_else(|| Problem::not_found("site"))?,
    };
    let last_event_at = optional_time(known.last_event_at);
    Ok(answer::ok(&match known.now {
        Some(now) => json!({
            "current_visitors": now.current_visitors,
            "as_of": time(now.as_of),
            "baseline": now.baseline,
            "last_event_at": last_event_at,
            "triggers": now.triggers,
            "source_silent_since": optional_time(now.source_silent_since),
        }),
        // No detector has reported yet. Of a site that had events, nobody knows how many they are.
        None => json!({
            "current_visitors": known.last_event_at.is_none().then_some(0),
            "as_of": null,
            "baseline": null,
            "last_event_at": last_event_at,
            "triggers": [],
            "source_silent_since": null,
        }),
    }))
}

/// `GET /api/sites/{site_id}/activity?from=&to=`
pub(super) async fn read(
    State(state): State<ApiState>,
    site: ReadableSite,
    query: Query,
) -> Result<Response, Problem> {
    let span = AskedHours::read(&query, clock::now())?;
    let mut conn = state.read().await?;
    let first_hour = truncate(span.from, TimeDelta::hours(1));
    let hours = activity::read_span(&mut conn, site.id(), first_hour, span.to).await?;
    if hours.is_empty() {
        check_registered(&mut conn, &site).await?;
    }
    let data: Vec<Value> = span
        .steps()
        .map(|at| json!({"at": time(at), "visitors": span.visitors_at(&hours, at)}))
        .collect();
    let resolution = if span.by_minute { "minute" } else { "hour" };
    Ok(answer::ok(&json!({"resolution": resolution, "data": data})))
}

/// A span of time with its steps.
#[derive(Debug)]
struct AskedHours {
    /// The beginning of the first step.
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    by_minute: bool,
}

impl AskedHours {
    fn read(query: &Query, now: DateTime<Utc>) -> Result<Self, Problem> {
        let mut errors = query.check_names();
        let from = query.time(Parameter::From, &mut errors);
        let to = query.time(Parameter::To, &mut errors).unwrap_or(now);
        let from = match from {
            Some(from) => from,
            None => to.checked_sub_signed(DEFAULT_SPAN).unwrap_or(to),
        };
        let length = to - from;
        if errors.is_empty() && length <= TimeDelta::zero() {
            errors.add("/from", FieldCode::OutOfRange, "`from` must lie before `to`.");
        }
        if length > MAX_BY_HOUR {
            let detail = "At most 31 days are answered by the minute, and 400 days by the hour.";
            errors.add("/from", FieldCode::OutOfRange, detail);
        }
        Problem::check(errors)?;
        let by_minute = length <= MAX_BY_MINUTE;
        Ok(Self {
            from: truncate(from, step(by_minute)),
            to,
            by_minute,
        })
    }

    fn steps(&self) -> impl Iterator<Item = DateTime<Utc>> {
        let (to, step) = (self.to, step(self.by_minute));
        std::iter::successors(Some(self.from), move |at| at.checked_add_signed(step))
            .take_while(move |at| *at < to)
    }

    /// The visitors of a step, by the hours in their order: at the end of the minute, or the
    /// median of the hour. `None` is no data.
    fn visitors_at(&self, hours: &[(DateTime<Utc>, SiteHour)], at: DateTime<Utc>) -> Option<u32> {
        let hour = truncate(at, TimeDelta::hours(1));
        let index = hours.binary_search_by_key(&hour, |(begun, _)| *begun).ok()?;
        let (_, activity) = &hours[index];
        if self.by_minute {
            activity.minute(usize::try_from((at - hour).num_minutes()).ok()?)
        } else {
            activity.median().map(|median| median.round() as u32)
        }
    }
}

fn step(by_minute: bool) -> TimeDelta {
    if by_minute {
        TimeDelta::minutes(1)
    } else {
        TimeDelta::hours(1)
    }
}

/// The beginning of the step that `at` lies in.
fn truncate(at: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    at.duration_trunc(step).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn span(query: &str) -> Result<AskedHours, Problem> {
        let query = Query::parse(Some(query), &[Parameter::From, Parameter::To]);
        AskedHours::read(&query, at("2026-03-02T12:00:30Z"))
    }

    #[test]
    fn a_day_is_read_by_the_minute_unless_told_otherwise() {
        let day = span("").expect("a span");
        assert!(day.by_minute);
        assert_eq!(day.steps().next(), Some(at("2026-03-01T12:00:00Z")));
        assert_eq!(day.steps().count(), 1_441);
        let month = span("from=2026-01-01T00:00:00Z").expect("a span");
        assert!(!month.by_minute);
        assert_eq!(month.steps().next(), Some(at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn a_span_has_an_order_and_a_limit() {
        assert!(span("from=2026-03-02T12:00:30Z&to=2026-03-02T12:00:30Z").is_err());
        assert!(span("from=2025-01-01T00:00:00Z&to=2026-03-01T00:00:00Z").is_err());
        assert!(span("from=yesterday").is_err());
        assert!(span("since=2026-03-02T12:00:30Z").is_err());
    }

    #[test]
    fn a_minute_that_was_not_counted_is_no_data() {
        let mut hour = SiteHour::default();
        hour.set(5, 7);
        hour.set(6, 9);
        let hours = [(at("2026-03-02T10:00:00Z"), hour)];
        let minutes = span("from=2026-03-02T10:05:00Z").expect("a span");
        let visitors = |text| minutes.visitors_at(&hours, at(text));
        assert_eq!(visitors("2026-03-02T10:05:00Z"), Some(7));
        assert_eq!(visitors("2026-03-02T10:07:00Z"), None);
        assert_eq!(visitors("2026-03-02T11:05:00Z"), None);
        let by_hour = span("from=2026-01-01T00:00:00Z").expect("a span");
        assert_eq!(by_hour.visitors_at(&hours, at("2026-03-02T10:00:00Z")), Some(8));
    }
}
