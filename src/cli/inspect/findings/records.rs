//! Findings about the records themselves.

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::{KeyKind, UnderstoodEvent};
use crate::cli::inspect::words::{by_frequency, counted, span};

/// Age of the last record from which on it is worth a word.
const QUIET_MS: i64 = 15 * 60_000;

/// Judges whether the records can be read.
pub(super) fn judge_rejects(facts: &Facts<'_>, list: &mut FindingList) {
    let rejected = facts.rejects().count();
    let causes = facts
        .rejects()
        .map(|reject| format!("{}: {}", reject.reason, reject.detail));
    let Some(most) = by_frequency(causes).into_iter().next() else {
        return;
    };
    let text = format!(
        "{rejected} of the {} read cannot be understood, mostly because of {most}",
        counted(facts.records.len(), "record")
    );
    let missed = facts.rejects().filter_map(|reject| reject.did_you_mean.as_ref());
    let missed = by_frequency(missed.map(|miss| format!("`{}` instead of `{}`", miss.meant, miss.found)));
    let remedy = match missed.first() {
        Some(miss) => format!("let the producer write {miss}"),
        None => "compare a record with the format of the source, field by field; such records are kept on the rejected \
                 topic with the reason"
            .to_owned(),
    };
    if rejected == facts.records.len() {
        list.problem("all_rejected", text, remedy);
    } else {
        list.note("some_rejected", text, remedy);
    }
}

/// Judges whether fields are misspelt.
pub(super) fn judge_fields(facts: &Facts<'_>, list: &mut FindingList) {
    let misses = facts.events().flat_map(|(_, event)| &event.near_misses);
    let misses =
        by_frequency(misses.map(|miss| format!("`{}` (did you mean `{}`?)", miss.found, miss.meant)));
    if !misses.is_empty() {
        list.note(
            "near_miss",
            format!(
                "events have fields that are none of the format and are passed over: {}",
                misses.join(", ")
            ),
            "let the producer write the field as the format names it".into(),
        );
    }
}

/// Judges whether the events are of the present.
pub(super) fn judge_times(facts: &Facts<'_>, list: &mut FindingList) {
    let events: Vec<&UnderstoodEvent> = facts.events().map(|(_, event)| event).collect();
    let stale = events.iter().filter(|event| event.stale).count();
    if let Some(newest) = events.iter().map(|event| event.event_ms).max()
        && stale > 0
    {
        let text = format!(
            "{stale} of {} are too old to notify anybody of; the newest happened {} ago",
            counted(events.len(), "event"),
            span(facts.now_ms - newest)
        );
        // Of old events in a topic that is read now somebody was notified when they came.
        let arrived_old = facts.events().any(|(record_ms, event)| {
            event.stale && record_ms.is_some_and(|at| at - event.event_ms > QUIET_MS)
        });
        if arrived_old && stale == events.len() {
            list.problem(
                "stale",
                text,
                "send timestamps in UTC, RFC 3339 with a zone or epoch milliseconds; for a replay of the past set clock = \"log\" on the source".into(),
            );
        } else if arrived_old {
            list.note(
                "some_stale",
                text,
                "see whether their timestamps are in UTC".into(),
            );
        }
    }
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
    let newest = facts.records.iter().filter_map(|record| record.record_ms).max();
    if let Some(newest) = newest.filter(|at| facts.now_ms - at > QUIET_MS) {
        list.note(
            "quiet",
            format!("the last record came {} ago", span(facts.now_ms - newest)),
            "see whether the producer still publishes".into(),
        );
    }
}

/// Judges whether the events of a site lie in one partition.
pub(super) fn judge_keys(facts: &Facts<'_>, list: &mut FindingList) {
    let events: Vec<&UnderstoodEvent> = facts.events().map(|(_, event)| event).collect();
    let astray = events.iter().filter(|event| !event.in_place).count();
    if astray == 0 {
        return;
    }
    let count = |kind: KeyKind| {
        events
            .iter()
            .filter(|event| !event.in_place && event.key == kind)
            .count()
    };
    let (own, other, none) = (
        count(KeyKind::BySite),
        count(KeyKind::ByOther),
        count(KeyKind::No),
    );
    let (text, remedy) = if own >= other + none {
        (
            "they have the site's id as key, but were not placed by murmur2",
            "set the producer's partitioner to murmur2 (librdkafka: partitioner=murmur2_random)",
        )
    } else if other > none {
        (
            "their key is something else than the site's id",
            "let the producer use the site's id, byte for byte, as record key",
        )
    } else {
        (
            "they have no key",
            "let the producer use the site's id as record key, with the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
        )
    };
    list.problem(
        "not_keyed_by_site",
        format!(
            "{astray} of {} lie in another partition than their site's: {text}. Visitors of one site are then counted in \
             several places, and thresholds are not reached",
            counted(events.len(), "event")
        ),
        remedy.into(),
    );
}
