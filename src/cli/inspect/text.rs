//! An inspected source as people read it. Pure.

use std::fmt::Write as _;

use super::fields::NearMiss;
use super::findings::Severity;
use super::record::{InspectedRecord, Interpretation, Registration};
use super::report::{InspectedSource, RejectCount, SiteCount};
use super::sites::IndexedSites;
use super::words::span;
use crate::cli::text::{counted, printable};
use crate::domain::time::from_ms;

/// Records that are printed one by one, unless all are asked for.
const SHOWN: usize = 30;

/// The whole text about a source.
pub(super) fn text_of(source: &InspectedSource, sites: Option<&IndexedSites>, all: bool) -> String {
    let mut out = String::new();
    let offsets = &source.sample.offsets;
    if offsets.is_empty() {
        let _ = writeln!(out, "{}: no such topic", source.topic);
    } else {
        let newest = source.records.iter().filter_map(|record| record.record_ms).max();
        let newest = newest.map_or_else(String::new, |at| {
            format!(", the newest {} old", span(source.now_ms - at))
        });
        let _ = writeln!(
            out,
            "{}: {}, {} held; read as {} with clock {}: {}{newest}",
            source.topic,
            counted(offsets.len(), "partition"),
            counted(source.records_held(), "record"),
            source.format,
            source.clock,
            source.records.len(),
        );
        write_records(source, all, &mut out);
        write_rejects(&source.rejects(), &mut out);
        write_sites(&source.sites(sites), &mut out);
        write_keys(source, &mut out);
        write_group(source, &mut out);
    }
    out.push('\n');
    write_verdict(source, &mut out);
    out
}

fn write_records(source: &InspectedSource, all: bool, out: &mut String) {
    if source.records.is_empty() {
        return;
    }
    let mut records: Vec<&InspectedRecord> = source.records.iter().collect();
    records.sort_by_key(|record| (record.record_ms, record.partition, record.offset));
    let from = if all {
        0
    } else {
        records.len().saturating_sub(SHOWN)
    };
    let rows: Vec<[String; 4]> = records[from..]
        .iter()
        .map(|record| row(record, source.is_keyed))
        .collect();
    let width = |column: usize, most: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        widest.unwrap_or(0).min(most)
    };
    let (at, when, what) = (width(0, 20), width(1, 20), width(2, 70));
    out.push('\n');
    for [place, time, event, meaning] in &rows {
        let _ = writeln!(out, "  {place:>at$}  {time:<when$}  {event:<what$}  {meaning}");
    }
    if from > 0 {
        let _ = writeln!(
            out,
            "  (the {from} before these are counted below; --all prints them too)"
        );
    }
}

/// Place, time, event and meaning of a record. On a source that is `keyed` by site, the place tells
/// if the site's detector reads it.
fn row(record: &InspectedRecord, keyed: bool) -> [String; 4] {
    let place = format!("{}/{}", record.partition, record.offset);
    let time = |ms: i64| from_ms(ms).format("%Y-%m-%d %H:%M:%S").to_string();
    match &record.meaning {
        Interpretation::Understood(event) => {
            let kind = serde_json::to_value(event.kind).unwrap_or_default();
            let words = [
                Some(event.site_id.as_str()),
                kind.as_str(),
                event.name.as_deref(),
                event.path.as_deref(),
            ];
            let what: Vec<&str> = words.into_iter().flatten().collect();
            let astray = if event.in_place || !keyed {
                ""
            } else {
                " (in another partition than its site's)"
            };
            [
                place,
                time(event.event_ms),
                printable(&what.join(" ")),
                format!("{}{astray}", printable(&event.counts_as.join(", "))),
            ]
        }
        Interpretation::Ignored => [
            place,
            record.record_ms.map(time).unwrap_or_default(),
            String::new(),
            "passed over: of a type that says nothing about visitors".to_owned(),
        ],
        Interpretation::Rejected(reject) => [
            place,
            record.record_ms.map(time).unwrap_or_default(),
            printable(reject.site_id.as_deref().unwrap_or("?")),
            format!(
                "NOT UNDERSTOOD, {}{}: {}{}",
                reject.reason,
                reject.field.map_or_else(String::new, |field| format!(" {field}")),
                printable(&reject.detail),
                hint(reject.value.as_deref(), reject.did_you_mean.as_ref())
            ),
        ],
    }
}

/// ` (it is "soon")`, ` (did you mean it by `siteId`?)`
fn hint(value: Option<&str>, did_you_mean: Option<&NearMiss>) -> String {
    match (value, did_you_mean) {
        (_, Some(NearMiss { found, meant })) => {
            format!("; it has `{}`: did you mean `{meant}`?", printable(found))
        }
        (Some(value), None) => format!("; it is {}", printable(value)),
        (None, None) => String::new(),
    }
}

fn write_rejects(rejects: &[RejectCount<'_>], out: &mut String) {
    if rejects.is_empty() {
        return;
    }
    out.push_str("\n  cannot be understood:\n");
    for one in rejects {
        let field = one.field.map_or_else(String::new, |field| format!(" {field}"));
        let _ = writeln!(
            out,
            "    {:>5}  {}{field}: {}{}  (such as {}/{})",
            one.records,
            one.reason,
            printable(one.detail),
            hint(one.value, one.did_you_mean),
            one.partition,
            one.offset
        );
    }
}

fn write_sites(sites: &[SiteCount<'_>], out: &mut String) {
    if sites.is_empty() {
        return;
    }
    out.push_str("\n  sites:\n");
    let width = sites.iter().map(|site| site.site_id.chars().count()).max();
    let width = width.unwrap_or(0).min(50);
    for site in sites {
        let records = counted(site.records, "record");
        let visitors = counted(site.visitors, "visitor");
        let state = match (site.registration, site.webhooks) {
            (Registration::Unknown, _) => "registered? (Postgres could not be asked)".to_owned(),
            (Registration::No, _) => "not registered".to_owned(),
            (Registration::Alias(own), _) => format!("an alias of {own}"),
            (Registration::Yes, count) => {
                format!("registered, {} on", counted(count.unwrap_or(0), "webhook"))
            }
        };
        let _ = writeln!(
            out,
            "    {:<width$}  {records:>12}  {visitors:>12}  {state}",
            printable(site.site_id),
        );
    }
}

fn write_keys(source: &InspectedSource, out: &mut String) {
    let events = source.events().count();
    if events == 0 {
        return;
    }
    if !source.is_keyed {
        out.push_str("\n  keyed by site: not needed, the role route keys its records\n");
        return;
    }
    let in_place = source.events().filter(|event| event.in_place).count();
    let answer = if in_place == events { "yes" } else { "NO" };
    let _ = writeln!(
        out,
        "\n  keyed by site: {answer}, {in_place} of {} in the partition of their site",
        counted(events, "event")
    );
}

fn write_group(source: &InspectedSource, out: &mut String) {
    let group = &source.sample.group;
    if group.unknown.is_some() {
        return;
    }
    let members = group
        .members
        .map_or_else(|| "members unknown".to_owned(), |count| counted(count, "member"));
    let progress = if group.committed.iter().any(Option::is_some) {
        format!("{} behind", counted(source.sample.lag(), "record"))
    } else {
        "nothing committed yet".to_owned()
    };
    let reader = if source.is_keyed { "detectors" } else { "route" };
    let _ = writeln!(out, "  {reader}: group {}, {members}, {progress}", group.name);
}

fn write_verdict(source: &InspectedSource, out: &mut String) {
    let problems = source.findings.iter();
    match problems.filter(|one| one.severity == Severity::Problem).count() {
        0 if source.findings.is_empty() => out.push_str(
            "verdict: nothing here keeps events from their webhooks. Is one missing all the same, its deliveries say what \
             became of it: GET /api/sites/SITE_ID/webhooks/ID/deliveries\n",
        ),
        0 => {
            let withheld = source.events().filter(|event| event.is_withheld()).count();
            let withheld = match withheld {
                0 => String::new(),
                count => format!("; {} of those above notify nobody now", counted(count, "event")),
            };
            let _ = writeln!(
                out,
                "verdict: nothing is surely wrong{withheld}. What may keep events from their webhooks, the likeliest first"
            );
        }
        1 => out.push_str("verdict: this is why\n"),
        count => {
            let _ = writeln!(out, "verdict: {count} causes, the likeliest first");
        }
    }
    for (number, finding) in (1..).zip(&source.findings) {
        let mark = match finding.severity {
            Severity::Problem => "",
            Severity::Note => "note: ",
        };
        let _ = writeln!(
            out,
            "  {number}. {mark}{}\n     -> {}",
            printable(&finding.text),
            printable(&finding.remedy)
        );
    }
}

#[cfg(test)]
mod tests;
