use std::hash::RandomState;

use serde_json::json;

use super::*;
use crate::cli::inspect::copies::mark_copies;
use crate::cli::inspect::record::{InspectedRecord, Interpretation, ReadSettings, inspect};
use crate::cli::inspect::sample::{PartitionOffsets, Sample, SampledRecord};
use crate::cli::inspect::sites::IndexedSites;
use crate::domain::event::SourceClock;
use crate::ingest::formats::RecordReader;
use crate::record::known::{KnownSite, KnownWebhook};

mod webhooks;

const NOW_MS: i64 = 1_771_970_400_000;

fn inspected(records: &[serde_json::Value]) -> (Sample, Vec<InspectedRecord>) {
    let records = records.iter().map(|record| (NOW_MS, record.clone()));
    inspected_by(SourceClock::Live, &records.collect::<Vec<_>>())
}

/// Inspects records of these times on a source with this clock.
fn inspected_by(clock: SourceClock, records: &[(i64, serde_json::Value)]) -> (Sample, Vec<InspectedRecord>) {
    let records = records.iter().map(|(at_ms, record)| (*at_ms, record.to_string()));
    inspected_values(clock, &records.collect::<Vec<_>>())
}

fn inspected_texts(records: &[String]) -> (Sample, Vec<InspectedRecord>) {
    let records = records.iter().map(|record| (NOW_MS, record.clone()));
    inspected_values(SourceClock::Live, &records.collect::<Vec<_>>())
}

fn inspected_values(clock: SourceClock, records: &[(i64, String)]) -> (Sample, Vec<InspectedRecord>) {
    inspected_with(&site_with(vec![]), clock, records)
}

/// The site `a`.
fn site_with(webhooks: Vec<KnownWebhook>) -> IndexedSites {
    IndexedSites::new(vec![KnownSite {
        site_id: "a".to_owned(),
        aliases: vec![],
        goals: vec![],
        webhooks,
    }])
}

fn inspected_with(
    sites: &IndexedSites,
    clock: SourceClock,
    records: &[(i64, String)],
) -> (Sample, Vec<InspectedRecord>) {
    let reader = RecordReader::default();
    let settings = ReadSettings {
        reader: &reader,
        is_keyed: true,
        clock,
        partitions: 1,
        now_ms: NOW_MS,
        stale_after_ms: 900_000,
    };
    let sampled = (0..)
        .zip(records)
        .map(|(offset, (record_ms, record))| SampledRecord {
            partition: 0,
            offset,
            record_ms: Some(*record_ms),
            key: Some(b"a".to_vec()),
            value: record.clone().into_bytes(),
            headers: Vec::new(),
        });
    let hasher = RandomState::new();
    let sampled: Vec<SampledRecord> = sampled.collect();
    let mut records = inspect(&sampled, settings, Some(sites), &hasher);
    mark_copies(&mut records);
    let sample = Sample {
        offsets: vec![PartitionOffsets {
            low: 0,
            read_from: 9,
            stable_end: 9,
            end: 9,
        }],
        ..Sample::default()
    };
    (sample, records)
}

fn found(records: &[serde_json::Value]) -> Vec<SourceFinding> {
    let (sample, records) = inspected(records);
    found_in(&sample, &records)
}

fn found_in(sample: &Sample, records: &[InspectedRecord]) -> Vec<SourceFinding> {
    find(&Facts {
        topic: "events",
        is_source: false,
        is_keyed: true,
        brokers: "kafka:9092",
        partitions: 1,
        sample,
        records,
        sites: Err("not asked"),
        now_ms: NOW_MS,
    })
}

fn finding(records: &[serde_json::Value], code: &str) -> SourceFinding {
    let all = found(records);
    let one = all.iter().find(|finding| finding.code == code);
    one.unwrap_or_else(|| panic!("no {code} in {all:#?}")).clone()
}

#[test]
fn a_misspelt_field_is_named_with_the_one_that_is_meant() {
    let event = json!({"siteId": "a", "type": "pageview", "visitor_id": "v"});
    let finding = finding(&[event.clone(), event], "all_rejected");
    assert!(finding.text.starts_with("2 of the 2 records read"), "{finding:?}");
    assert_eq!(
        finding.remedy,
        "let the producer write `site_id` instead of `siteId`"
    );
}

#[test]
fn the_remedy_is_that_of_the_most_frequent_cause() {
    let other = json!({"domain": "a", "type": "pageview", "visitor_id": "v"});
    let mut records = vec![other; 20];
    records.push(json!({"site_id": "a", "type": "goal", "event_name": "Signup"}));
    let finding = finding(&records, "all_rejected");
    assert_eq!(
        (finding.text.as_str(), finding.remedy.as_str()),
        (
            "21 of the 21 records read cannot be understood, mostly because of missing_field: \
             `site_id` is required (20 of them)",
            "let the producer write `site_id` instead of `domain`"
        )
    );
}

#[test]
fn a_cause_without_a_hint_takes_none_from_another() {
    let bare = json!({"type": "pageview", "visitor_id": "v"});
    let misspelt = json!({"site_id": "a", "type": "page_view", "visitor_id": "v"});
    let finding = finding(&[bare.clone(), bare, misspelt], "all_rejected");
    assert!(finding.text.contains("`site_id` is required"), "{finding:?}");
    assert!(!finding.remedy.contains("page_view"), "{finding:?}");
}

#[test]
fn faults_of_one_kind_are_one_cause_wherever_they_are() {
    let mut records = ["{", "{\"a\"", "[1", "x"].map(str::to_owned).to_vec();
    records.extend(["{\"type\": \"pageview\"}", "{\"type\": \"goal\"}"].map(str::to_owned));
    let (sample, records) = inspected_texts(&records);
    let all = found_in(&sample, &records);
    let rejected = all.iter().find(|finding| finding.code == "all_rejected");
    let text = &rejected.expect("a finding").text;
    assert!(
        text.contains("mostly because of not_json") && text.ends_with("(4 of them)"),
        "{text}"
    );
}

#[test]
fn a_field_that_is_passed_over_is_a_note() {
    let event = json!({"site_id": "a", "type": "pageview", "visitor_id": "v", "timeStamp": 1});
    let finding = finding(&[event], "near_miss");
    assert_eq!(finding.severity, Severity::Note);
    assert!(
        finding.text.ends_with("`timeStamp` (did you mean `timestamp`?)"),
        "{finding:?}"
    );
}

#[test]
fn problems_come_before_notes() {
    let all = found(&[json!({"site_id": "a", "type": "pageview", "visitor_id": "v", "timeStamp": 1})]);
    let first_note = all.iter().position(|one| one.severity == Severity::Note);
    let last_problem = all.iter().rposition(|one| one.severity == Severity::Problem);
    assert!(last_problem < first_note, "{all:#?}");
}

fn pageview(timestamp: serde_json::Value) -> serde_json::Value {
    json!({"site_id": "a", "type": "pageview", "visitor_id": "v", "timestamp": timestamp})
}

#[test]
fn what_came_too_late_is_said_before_anything_else() {
    let late = pageview(json!(NOW_MS - 3_600_000));
    for (events, code) in [
        (vec![late.clone()], "stale"),
        (vec![pageview(json!(NOW_MS)), late], "some_stale"),
    ] {
        let first = found(&events).remove(0);
        assert_eq!(
            (first.code, first.severity),
            (code, Severity::Problem),
            "{first:?}"
        );
        assert!(
            first.text.contains("the newest of them happened 60 min ago"),
            "{first:?}"
        );
    }
}

#[test]
fn each_cause_of_age_has_its_own_number_and_remedy() {
    let late = event_at(NOW_MS - 20 * 60_000);
    let mut historical = event_at(NOW_MS - 7_200_000);
    historical["historical"] = json!(true);
    let mut records = vec![(5_000, late.clone()), (NOW_MS, historical)];
    records.extend(vec![(NOW_MS, late); 4]);
    records.push((NOW_MS - 3_600_000, event_at(NOW_MS - 3_600_000)));
    let (sample, records) = inspected_by(SourceClock::Live, &records);
    let found = found_in(&sample, &records);
    let of_age: Vec<&SourceFinding> = found.iter().filter(|one| one.code.ends_with("stale")).collect();
    let [own, unit] = of_age.as_slice() else {
        panic!("{found:#?}");
    };
    assert!(own.text.starts_with("4 of 7 events") && own.text.contains("by their own timestamps"));
    assert!(own.text.contains("20 min ago"), "{own:?}");
    assert!(unit.text.starts_with("1 of 7 events") && unit.text.ends_with("1970-01-01T00:00:05Z"));
    assert!(unit.remedy.contains("in milliseconds"), "{unit:?}");
    let old = found.iter().find(|one| one.code == "old").expect("a note");
    assert!(old.text.starts_with("1 of 7 events"), "{old:?}");
}

#[test]
fn records_that_cannot_be_read_are_a_problem() {
    let bad = json!({"site_id": "a", "type": "pageview", "visitor_id": "v", "timestamp": "soon"});
    for good in [1, 4] {
        let mut records = vec![event_at(NOW_MS); good];
        records.extend(vec![bad.clone(); 3]);
        let finding = finding(&records, "some_rejected");
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.text.starts_with("3 of the"), "{finding:?}");
    }
}

#[test]
fn the_unit_of_timestamps_is_named() {
    for (number, unit) in [
        (NOW_MS / 1_000, "seconds"),
        (NOW_MS * 1_000, "microseconds"),
        (NOW_MS * 1_000_000, "nanoseconds"),
    ] {
        let finding = finding(&[pageview(json!(number)), pageview(json!(NOW_MS))], "time_unit");
        assert!(
            finding.text.contains(&format!("1 of 2 events are in {unit}")),
            "{finding:?}"
        );
    }
}

#[test]
fn back_dated_events_are_a_reason_for_silence() {
    let mut event = pageview(json!(NOW_MS));
    event["historical"] = json!(true);
    assert_eq!(
        finding(&[event.clone()], "historical").severity,
        Severity::Problem
    );
    assert_eq!(
        finding(&[event, pageview(json!(NOW_MS))], "some_historical").severity,
        Severity::Note
    );
}

const DAY_MS: i64 = 86_400_000;

fn event_at(timestamp: i64) -> serde_json::Value {
    json!({"site_id": "a", "type": "pageview", "visitor_id": "v", "timestamp": timestamp})
}

/// The fields for which records were refused; `None` for each that is understood.
fn refused(records: &[InspectedRecord]) -> Vec<Option<&str>> {
    let refused = records.iter().map(|record| match &record.meaning {
        Interpretation::Rejected(reject) => reject.field,
        _ => None,
    });
    refused.collect()
}

#[test]
fn what_the_detector_refuses_by_its_time_is_refused() {
    let (_, records) = inspected_by(
        SourceClock::Live,
        &[(NOW_MS, event_at(NOW_MS)), (NOW_MS * 1_000, event_at(NOW_MS))],
    );
    assert_eq!(refused(&records), [None, Some("record time")]);
    let far = [NOW_MS, NOW_MS + 401 * DAY_MS, NOW_MS + 399 * DAY_MS];
    let far = far.map(|at_ms| (NOW_MS, event_at(at_ms)));
    let (_, records) = inspected_by(SourceClock::Log, &far);
    assert_eq!(refused(&records), [None, Some("timestamp"), None]);
    let (_, records) = inspected_by(SourceClock::Live, &far);
    assert_eq!(refused(&records), [None, None, None], "a live one is capped");
}

#[test]
fn a_historical_event_keeps_its_own_time() {
    let mut old = event_at(NOW_MS - 300 * DAY_MS);
    old["historical"] = json!(true);
    let mut ahead = event_at(NOW_MS + DAY_MS);
    ahead["historical"] = json!(true);
    let (_, records) = inspected(&[old, ahead, event_at(NOW_MS - 300 * DAY_MS)]);
    let times = records.iter().map(|record| match &record.meaning {
        Interpretation::Understood(event) => (event.event_ms, event.skewed),
        other => panic!("{other:?}"),
    });
    let expected = [(NOW_MS - 300 * DAY_MS, false), (NOW_MS, false), (NOW_MS, true)];
    assert_eq!(times.collect::<Vec<_>>(), expected);
}

#[test]
fn the_marker_that_ends_a_transaction_is_no_record_behind() {
    let event = json!({"site_id": "a", "type": "pageview", "visitor_id": "v"});
    let (mut sample, _) = inspected(&[event.clone(), event]);
    let last = sample.offsets[0].stable_end - 2;
    sample.records = vec![SampledRecord {
        partition: 0,
        offset: last,
        record_ms: None,
        key: None,
        value: Vec::new(),
        headers: Vec::new(),
    }];
    sample.group.committed = vec![Some(last + 1)];
    assert_eq!(sample.lag(), 0);
    sample.group.committed = vec![Some(last)];
    assert_eq!(sample.lag(), 1);
    // Nobody knows what lies beyond what was read.
    sample.group.committed = vec![Some(last + 1)];
    sample.unread = Some("the broker is away".to_owned());
    assert_eq!(sample.lag(), 1);
}

#[test]
fn aborted_records_are_not_behind() {
    let (mut sample, _) = inspected(&[]);
    sample.group.committed = vec![Some(3)];
    sample.offsets[0].read_from = 0;
    assert_eq!(sample.lag(), 0, "no record from 3 to 9");
    sample.offsets[0].read_from = 5;
    assert_eq!(sample.lag(), 2, "nobody has looked at 3 and 4");
    sample.unread = Some("the broker is away".to_owned());
    assert_eq!(sample.lag(), 6);
}

#[test]
fn removed_records_are_not_behind() {
    let event = json!({"site_id": "a", "type": "pageview", "visitor_id": "v"});
    let (mut sample, _) = inspected(&[event]);
    sample.records.clear();
    let end = sample.offsets[0].stable_end;
    sample.group.committed = vec![Some(end - 1)];
    assert_eq!(sample.lag(), 1);
    sample.offsets[0].low = end;
    assert_eq!(sample.lag(), 0);
}
