//! Findings about the times of records and events.

use chrono::SecondsFormat;

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::UnderstoodEvent;
use crate::cli::inspect::words::{by_frequency, span};
use crate::cli::text::counted;
use crate::detect::engine::event_time::StaleCause;
use crate::domain::time::from_ms;

/// Age of the last record from which on it is worth a word.
const QUIET_MS: i64 = 15 * 60_000;

/// Judges whether events are too old to notify anybody of, each cause for itself.
pub(super) fn judge_age(facts: &Facts<'_>, list: &mut FindingList) {
    let events = facts.events().count();
    let of = |cause: StaleCause| -> Vec<&UnderstoodEvent> {
        let events = facts.events().map(|(_, event)| event);
        events.filter(|event| event.stale_by == Some(cause)).collect()
    };
    let mut late = [StaleCause::OwnTime, StaleCause::RecordUnit].map(|cause| (cause, of(cause)));
    late.sort_by_key(|(_, events)| std::cmp::Reverse(events.len()));
    for (cause, stale) in late {
        let Some(newest_ms) = stale.iter().map(|event| event.event_ms).max() else {
            continue;
        };
        let what = format!(
            "{} of {} are too old to notify anybody of",
            stale.len(),
            counted(events, "event")
        );
        let code = if stale.len() == events {
            "stale"
        } else {
            "some_stale"
        };
        if cause == StaleCause::RecordUnit {
            let at = from_ms(newest_ms).to_rfc3339_opts(SecondsFormat::Secs, true);
            list.problem(
                code,
                format!("{what}, because their records have a time such as {at}"),
                "let the producer write the record's timestamp in milliseconds, or leave it to Kafka".into(),
            );
        } else {
            let age = span(facts.now_ms - newest_ms);
            list.problem(
                code,
                format!("{what} by their own timestamps; the newest of them happened {age} ago"),
                "send events at once, with timestamps in UTC, RFC 3339 with a zone or epoch milliseconds; for a replay \
                 of the past set clock = \"log\" on the source"
                    .into(),
            );
        }
    }
    let old = of(StaleCause::RecordTime);
    // Of old events in a topic that is read now somebody was notified when they came.
    if let Some(newest_ms) = old.iter().map(|event| event.event_ms).max() {
        list.note(
            "old",
            format!(
                "{} of {} are too old by now to notify anybody of; the newest of them happened {} ago",
                old.len(),
                counted(events, "event"),
                span(facts.now_ms - newest_ms)
            ),
            "they were of the present when they came; if nobody read the topic then, nobody was notified"
                .into(),
        );
    }
}

/// Judges whether the producers' clocks can be relied on.
pub(super) fn judge_clocks(facts: &Facts<'_>, list: &mut FindingList) {
    let events: Vec<&UnderstoodEvent> = facts.events().map(|(_, event)| event).collect();
    judge_units(&events, list);
    let skewed = events.iter().filter(|event| event.skewed).count();
    if skewed > 0 {
        list.note(
            "clock_skew",
            format!(
                "by their own timestamps {skewed} of {} lie more than a day before their record, whose time they get",
                counted(events.len(), "event")
            ),
            "send the timestamp in milliseconds, or none at all".into(),
        );
    }
    let historical = events.iter().filter(|event| event.historical).count();
    if historical > 0 {
        let text = format!(
            "{historical} of {} say that they are back-dated, which notifies nobody",
            counted(events.len(), "event")
        );
        let remedy = "leave `historical` out of events that are of the present".to_owned();
        match historical == events.len() {
            true => list.problem("historical", text, remedy),
            false => list.note("some_historical", text, remedy),
        }
    }
    let newest = facts.records.iter().filter_map(|record| record.record_ms).max();
    if let Some(newest) = newest.filter(|at| facts.now_ms - at > QUIET_MS) {
        list.note(
            "quiet",
            format!("the last record came {} ago", span(facts.now_ms - newest)),
            "see whether the producer still publishes".into(),
        );
    }
}

/// Judges whether timestamps are in milliseconds.
fn judge_units(events: &[&UnderstoodEvent], list: &mut FindingList) {
    let units = events.iter().filter_map(|event| event.wrong_unit);
    let wrong = units.clone().count();
    if wrong > 0 {
        let units = by_frequency(units.map(|unit| unit.to_string()));
        list.note(
            "time_unit",
            format!(
                "the timestamps of {wrong} of {} are in {} and not in milliseconds; they count at their record's time",
                counted(events.len(), "event"),
                units.join(" or ")
            ),
            "let the producer send milliseconds since 1970, or an RFC 3339 time".into(),
        );
    }
}
