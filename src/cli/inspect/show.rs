//! What a look at a source is printed as: text for people, JSON for scripts.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::findings::{Finding, Severity};
use super::sample::Sample;
use super::understand::{Read, Registration, Sites, Understanding, Understood};
use super::words::{counted, span};
use crate::cli::listen_print::printable;
use crate::domain::time::from_ms;

/// Records that are printed one by one, unless all are asked for.
const SHOWN: usize = 30;

/// One source, looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) topic: String,
    pub(super) format: String,
    pub(super) clock: String,
    pub(super) sample: Sample,
    pub(super) records: Vec<Understanding>,
    pub(super) findings: Vec<Finding>,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
}

/// A site of the sample.
#[derive(Debug, Serialize)]
struct SiteSeen<'a> {
    site_id: &'a str,
    records: usize,
    /// Different ones.
    visitors: usize,
    registration: &'a Registration,
    /// Webhooks that are switched on; `null` if that is not known.
    webhooks: Option<usize>,
}

/// Records that cannot be read, by cause.
#[derive(Debug, Serialize)]
struct RejectedSeen<'a> {
    records: usize,
    reason: &'a str,
    field: Option<&'a str>,
    detail: &'a str,
    /// One of them.
    partition: i32,
    offset: i64,
}

/// Everything, for scripts.
#[derive(Serialize)]
pub(super) struct Documents<'a> {
    pub(super) sources: Vec<Document<'a>>,
}

/// A source, for scripts.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    topic: &'a str,
    format: &'a str,
    clock: &'a str,
    /// 0: there is no such topic.
    partitions: usize,
    /// Held by the topic.
    records_held: i64,
    records: &'a [Understanding],
    sites: Vec<SiteSeen<'a>>,
    rejected: Vec<RejectedSeen<'a>>,
    /// Events that lie in the partition of their site's id.
    in_place: usize,
    group: GroupSeen<'a>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct GroupSeen<'a> {
    name: &'a str,
    members: Option<usize>,
    lag: i64,
}

impl Look {
    fn events(&self) -> impl Iterator<Item = &Understood> {
        self.records.iter().filter_map(|record| match &record.read {
            Read::Understood(event) => Some(event),
            Read::Rejected { .. } => None,
        })
    }

    fn records_held(&self) -> i64 {
        self.sample.marks.iter().map(|marks| marks.end - marks.low).sum()
    }

    /// The sites, those with most records first.
    fn sites_seen(&self, sites: Option<&Sites>) -> Vec<SiteSeen<'_>> {
        let mut seen: BTreeMap<&str, (usize, HashSet<u64>, &Registration)> = BTreeMap::new();
        for event in self.events() {
            let slot = seen
                .entry(&event.site_id)
                .or_insert_with(|| (0, HashSet::new(), &event.registration));
            slot.0 += 1;
            slot.1.extend(event.visitor);
        }
        let mut list: Vec<SiteSeen<'_>> = seen
            .into_iter()
            .map(|(site_id, (records, visitors, registration))| SiteSeen {
                site_id,
                records,
                visitors: visitors.len(),
                registration,
                webhooks: sites.map(|sites| {
                    let webhooks = sites.find(site_id).map(|(known, _)| &known.site.webhooks);
                    webhooks.map_or(0, |list| list.iter().filter(|one| one.enabled).count())
                }),
            })
            .collect();
        list.sort_by_key(|site| std::cmp::Reverse(site.records));
        list
    }

    /// Why records cannot be read, the most frequent cause first.
    fn rejected_seen(&self) -> Vec<RejectedSeen<'_>> {
        let mut seen: BTreeMap<(&str, Option<&str>, &str), RejectedSeen<'_>> = BTreeMap::new();
        for record in &self.records {
            let Read::Rejected {
                reason,
                field,
                detail,
                ..
            } = &record.read
            else {
                continue;
            };
            seen.entry((reason, *field, detail))
                .and_modify(|one| one.records += 1)
                .or_insert(RejectedSeen {
                    records: 1,
                    reason,
                    field: *field,
                    detail,
                    partition: record.partition,
                    offset: record.offset,
                });
        }
        let mut list: Vec<RejectedSeen<'_>> = seen.into_values().collect();
        list.sort_by_key(|one| std::cmp::Reverse(one.records));
        list
    }

    /// For scripts.
    pub(super) fn document(&self, sites: Option<&Sites>) -> Document<'_> {
        let group = &self.sample.group;
        Document {
            topic: &self.topic,
            format: &self.format,
            clock: &self.clock,
            partitions: self.sample.marks.len(),
            records_held: self.records_held(),
            records: &self.records,
            sites: self.sites_seen(sites),
            rejected: self.rejected_seen(),
            in_place: self.events().filter(|event| event.in_place).count(),
            group: GroupSeen {
                name: &group.name,
                members: group.members,
                lag: group.lag(&self.sample.marks),
            },
            findings: &self.findings,
        }
    }

    /// For people.
    pub(super) fn text(&self, sites: Option<&Sites>, all: bool) -> String {
        let mut out = String::new();
        let marks = &self.sample.marks;
        if marks.is_empty() {
            let _ = writeln!(out, "{}: no such topic", self.topic);
        } else {
            let newest = self.records.iter().filter_map(|record| record.record_ms).max();
            let newest = newest.map_or_else(String::new, |at| {
                format!(", the newest {} old", span(self.now_ms - at))
            });
            let _ = writeln!(
                out,
                "{}: {}, {} held; read as {} with clock {}: {}{newest}",
                self.topic,
                counted(marks.len(), "partition"),
                counted(self.records_held(), "record"),
                self.format,
                self.clock,
                self.records.len(),
            );
            self.records_text(all, &mut out);
            self.summary(sites, &mut out);
        }
        out.push('\n');
        self.verdict(&mut out);
        out
    }

    fn records_text(&self, all: bool, out: &mut String) {
        if self.records.is_empty() {
            return;
        }
        let mut records: Vec<&Understanding> = self.records.iter().collect();
        records.sort_by_key(|record| (record.record_ms, record.partition, record.offset));
        let from = if all {
            0
        } else {
            records.len().saturating_sub(SHOWN)
        };
        let shown = &records[from..];
        let rows: Vec<[String; 4]> = shown.iter().map(|record| row(record)).collect();
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

    fn summary(&self, sites: Option<&Sites>, out: &mut String) {
        let rejected = self.rejected_seen();
        if !rejected.is_empty() {
            out.push_str("\n  cannot be understood:\n");
            for one in rejected {
                let field = one.field.map_or_else(String::new, |field| format!(" {field}"));
                let _ = writeln!(
                    out,
                    "    {:>5}  {}{field}: {}  (such as {}/{})",
                    one.records,
                    one.reason,
                    printable(one.detail),
                    one.partition,
                    one.offset
                );
            }
        }
        let seen = self.sites_seen(sites);
        if !seen.is_empty() {
            out.push_str("\n  sites:\n");
            let width = seen.iter().map(|site| site.site_id.chars().count()).max();
            let width = width.unwrap_or(0).min(50);
            for site in seen {
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
        let events = self.events().count();
        if events > 0 {
            let in_place = self.events().filter(|event| event.in_place).count();
            let how = if in_place == events { "yes" } else { "NO" };
            let _ = writeln!(
                out,
                "\n  keyed by site: {how}, {in_place} of {events} events lie in their site's partition"
            );
        }
        let group = &self.sample.group;
        if group.unknown.is_none() {
            let members = group
                .members
                .map_or_else(|| "members unknown".to_owned(), |count| counted(count, "member"));
            let progress = if group.committed.iter().any(Option::is_some) {
                format!("{} behind", counted(group.lag(&self.sample.marks), "record"))
            } else {
                "nothing committed yet".to_owned()
            };
            let _ = writeln!(out, "  detectors: group {}, {members}, {progress}", group.name);
        }
    }

    fn verdict(&self, out: &mut String) {
        let problems = self
            .findings
            .iter()
            .filter(|one| one.severity == Severity::Problem);
        match problems.count() {
            0 => {
                let _ = writeln!(
                    out,
                    "verdict: nothing here keeps events from their webhooks. Is one missing all the same, its deliveries say what became of it: \
                     GET /api/sites/SITE_ID/webhooks/ID/deliveries"
                );
            }
            1 => out.push_str("verdict: this is why\n"),
            count => {
                let _ = writeln!(out, "verdict: {count} causes, the likeliest first");
            }
        }
        for (number, finding) in (1..).zip(&self.findings) {
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
}

/// Where, when, what, and what it counts as.
fn row(record: &Understanding) -> [String; 4] {
    let place = format!("{}/{}", record.partition, record.offset);
    let time = |ms: i64| from_ms(ms).format("%Y-%m-%d %H:%M:%S").to_string();
    match &record.read {
        Read::Understood(event) => {
            let kind = serde_json::to_value(event.kind).unwrap_or_default();
            let words = [
                Some(event.site_id.as_str()),
                kind.as_str(),
                event.name.as_deref(),
                event.path.as_deref(),
            ];
            let what: Vec<&str> = words.into_iter().flatten().collect();
            let astray = if event.in_place {
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
        Read::Rejected {
            reason,
            field,
            detail,
            site_id,
        } => [
            place,
            record.record_ms.map(time).unwrap_or_default(),
            printable(site_id.as_deref().unwrap_or("?")),
            format!(
                "NOT UNDERSTOOD, {reason}{}: {}",
                field.map_or_else(String::new, |field| format!(" {field}")),
                printable(detail)
            ),
        ],
    }
}
