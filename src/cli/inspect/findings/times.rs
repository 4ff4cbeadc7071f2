//! Findings about the times of records and events.

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::UnderstoodEvent;
use crate::cli::inspect::words::{by_frequency, span};
use crate::cli::text::counted;

/// Age of the last record from which on it is worth a word, and age of an event at which it came
/// late.
const QUIET_MS: i64 = 15 * 60_000;
/// Least time of a record that is taken for one in milliseconds: a day of 1973.
const LEAST_MS: i64 = 100_000_000_000;

/// Judges whether events are too old to notify anybody of.
pub(super) fn judge_age(facts: &Facts<'_>, list: &mut FindingList) {
    let events = facts.events().count();
    let stale: Vec<(Option<i64>, &UnderstoodEvent)> =
        facts.events().filter(|(_, event)| event.stale).collect();
    let Some(newest) = stale.iter().map(|(_, event)| event.event_ms).max() else {
        return;
    };
    let text = format!(
        "{} of {} are too old to notify anybody of; the newest of them happened {} ago",
        stale.len(),
        counted(events, "event"),
        span(facts.now_ms - newest)
    );
    if stale
        .iter()
        .any(|(record_ms, _)| record_ms.is_some_and(|at| at < LEAST_MS))
    {
        list.problem(
            "stale",
            format!("{text}, because their records have a time in 1970"),
            "let the producer write the record's timestamp in milliseconds, or leave it to Kafka".into(),
        );
        return;
    }
    let came_late = |(record_ms, event): &(Option<i64>, &UnderstoodEvent)| {
        record_ms.is_none_or(|at| at - event.event_ms > QUIET_MS)
    };
    let remedy = "send timestamps in UTC, RFC 3339 with a zone or epoch milliseconds; for a replay of the past set \
                  clock = \"log\" on the source";
    match stale.iter().filter(|one| came_late(one)).count() {
        // Of old events in a topic that is read now somebody was notified when they came.
        0 => list.note(
            "old",
            text,
            "they were of the present when they came; if nobody read the topic then, nobody was notified"
                .into(),
        ),
        late if late == events => list.problem("stale", text, remedy.into()),
        late => list.problem(
            "some_stale",
            format!("{text}; {late} came so late"),
            remedy.into(),
        ),
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
