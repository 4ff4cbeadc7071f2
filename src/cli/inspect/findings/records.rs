//! Findings about the records themselves.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::{KeyKind, RejectedRecord, UnderstoodEvent};
use crate::cli::inspect::words::by_frequency;
use crate::cli::text::counted;

/// Judges whether the records can be read. The remedy belongs to the most frequent cause.
pub(super) fn judge_rejects(facts: &Facts<'_>, list: &mut FindingList) {
    let rejected = facts.rejects().count();
    let mut causes: BTreeMap<_, Vec<&RejectedRecord>> = BTreeMap::new();
    for reject in facts.rejects() {
        causes
            .entry((reject.reason, reject.field))
            .or_default()
            .push(reject);
    }
    let Some(most) = causes.values().max_by_key(|rejects| rejects.len()) else {
        return;
    };
    let details = most
        .iter()
        .map(|reject| format!("{}: {}", reject.reason, reject.detail));
    let detail = by_frequency(details).swap_remove(0);
    let because = match causes.len() {
        1 => format!("because of {detail}"),
        _ => format!("mostly because of {detail} ({} of them)", most.len()),
    };
    let text = format!(
        "{rejected} of the {} read cannot be understood, {because}",
        counted(facts.records.len(), "record")
    );
    let missed = most.iter().filter_map(|reject| reject.did_you_mean.as_ref());
    let missed = by_frequency(missed.map(|miss| format!("`{}` instead of `{}`", miss.meant, miss.found)));
    let remedy = match missed.first() {
        Some(miss) => format!("let the producer write {miss}"),
        None => "compare a record with the format of the source, field by field; such records are kept on the rejected \
                 topic with the reason"
            .to_owned(),
    };
    let code = match rejected == facts.records.len() {
        true => "all_rejected",
        false => "some_rejected",
    };
    list.problem(code, text, remedy);
}

/// True if at least half of the records cannot be read: then that is likely what one looks for.
pub(super) fn are_mostly_rejected(facts: &Facts<'_>) -> bool {
    facts.rejects().count() * 2 >= facts.records.len()
}

/// Judges whether events are taken for second copies of others.
pub(super) fn judge_copies(facts: &Facts<'_>, list: &mut FindingList) {
    let copies = facts.events().filter_map(|(_, event)| event.copy_of);
    let (wrong, meant): (Vec<_>, Vec<_>) = copies.partition(|copy| copy.of_another_visitor);
    let events = counted(facts.events().count(), "event");
    if !wrong.is_empty() {
        list.problem(
            "event_id_again",
            format!(
                "{} of {events} have the event_id and timestamp of an event of another visitor: they are taken for its \
                 second copies, and one of all is notified",
                wrong.len()
            ),
            "let the producer give each event an event_id of its own, or none".into(),
        );
    }
    if !meant.is_empty() {
        list.note(
            "copies",
            format!(
                "{} of {events} are second copies of others, by event_id and timestamp: they are notified once",
                meant.len()
            ),
            "if they are events of their own, let the producer give each an event_id of its own".into(),
        );
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

/// Judges whether the events of a site lie in one partition.
pub(super) fn judge_keys(facts: &Facts<'_>, list: &mut FindingList) {
    let events: Vec<&UnderstoodEvent> = facts.events().map(|(_, event)| event).collect();
    let astray = events.iter().filter(|event| !event.in_place).count();
    if astray == 0 || !facts.is_keyed {
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
        format!("{remedy}; or set keyed = false on the source, so that the role route keys its records"),
    );
}
