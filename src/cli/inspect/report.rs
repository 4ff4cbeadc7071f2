//! A source as it was inspected, counted, and as the JSON that scripts get. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::fields::NearMiss;
use super::findings::SourceFinding;
use super::record::{InspectedRecord, Interpretation, Registration, RejectedRecord, UnderstoodEvent};
use super::sample::Sample;
use super::sites::IndexedSites;

/// One source, inspected.
#[derive(Debug)]
pub(super) struct InspectedSource {
    pub(super) topic: String,
    pub(super) format: String,
    pub(super) clock: String,
    /// False if the role `route` keys the records.
    pub(super) is_keyed: bool,
    pub(super) sample: Sample,
    pub(super) records: Vec<InspectedRecord>,
    pub(super) findings: Vec<SourceFinding>,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
}

/// A site of the sample.
#[derive(Debug, Serialize)]
pub(super) struct SiteCount<'a> {
    pub(super) site_id: &'a str,
    pub(super) records: usize,
    /// Distinct ones.
    pub(super) visitors: usize,
    pub(super) registration: &'a Registration,
    /// Webhooks that are switched on; `null` if that is not known.
    pub(super) webhooks: Option<usize>,
}

/// Records that cannot be read for the same reason.
#[derive(Debug, Serialize)]
pub(super) struct RejectCount<'a> {
    pub(super) records: usize,
    pub(super) reason: &'a str,
    pub(super) field: Option<&'a str>,
    pub(super) detail: &'a str,
    /// One of the records, and the value that was refused in it.
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) value: Option<&'a str>,
    pub(super) did_you_mean: Option<&'a NearMiss>,
}

/// All sources, for scripts.
#[derive(Serialize)]
pub(super) struct InspectReport<'a> {
    pub(super) sources: Vec<SourceReport<'a>>,
}

/// A source, for scripts.
#[derive(Serialize)]
pub(super) struct SourceReport<'a> {
    topic: &'a str,
    format: &'a str,
    clock: &'a str,
    keyed: bool,
    /// 0: there is no such topic.
    partitions: usize,
    /// Held by the topic.
    records_held: i64,
    records: &'a [InspectedRecord],
    sites: Vec<SiteCount<'a>>,
    rejected: Vec<RejectCount<'a>>,
    /// Events that lie in the partition of their site's id.
    in_place: usize,
    group: GroupReport<'a>,
    findings: &'a [SourceFinding],
}

#[derive(Serialize)]
struct GroupReport<'a> {
    name: &'a str,
    members: Option<usize>,
    lag: i64,
}

impl InspectedSource {
    /// Records that are events.
    pub(super) fn events(&self) -> impl Iterator<Item = &UnderstoodEvent> {
        self.records.iter().filter_map(|record| match &record.meaning {
            Interpretation::Understood(event) => Some(event),
            Interpretation::Rejected(_) | Interpretation::Ignored => None,
        })
    }

    /// Records that the topic holds.
    pub(super) fn records_held(&self) -> i64 {
        let offsets = self.sample.offsets.iter();
        offsets.map(|offsets| offsets.end - offsets.low).sum()
    }

    /// The sites, those with most records first.
    pub(super) fn sites(&self, sites: Option<&IndexedSites>) -> Vec<SiteCount<'_>> {
        let mut counts: BTreeMap<&str, (usize, HashSet<u64>, &Registration)> = BTreeMap::new();
        for event in self.events() {
            let count = counts
                .entry(&event.site_id)
                .or_insert_with(|| (0, HashSet::new(), &event.registration));
            count.0 += 1;
            count.1.extend(event.visitor);
        }
        let mut list: Vec<SiteCount<'_>> = counts
            .into_iter()
            .map(|(site_id, (records, visitors, registration))| SiteCount {
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

    /// The reasons why records cannot be read, the most frequent first.
    pub(super) fn rejects(&self) -> Vec<RejectCount<'_>> {
        let mut counts: BTreeMap<_, RejectCount<'_>> = BTreeMap::new();
        for record in &self.records {
            let Interpretation::Rejected(reject) = &record.meaning else {
                continue;
            };
            let RejectedRecord {
                reason,
                field,
                detail,
                value,
                did_you_mean,
                ..
            } = reject;
            counts
                .entry((reason, field, detail, did_you_mean))
                .and_modify(|one| one.records += 1)
                .or_insert(RejectCount {
                    records: 1,
                    reason,
                    field: *field,
                    detail,
                    partition: record.partition,
                    offset: record.offset,
                    value: value.as_deref(),
                    did_you_mean: did_you_mean.as_ref(),
                });
        }
        let mut list: Vec<RejectCount<'_>> = counts.into_values().collect();
        list.sort_by_key(|one| std::cmp::Reverse(one.records));
        list
    }

    /// The source as scripts get it.
    pub(super) fn report(&self, sites: Option<&IndexedSites>) -> SourceReport<'_> {
        let group = &self.sample.group;
        SourceReport {
            topic: &self.topic,
            format: &self.format,
            clock: &self.clock,
            keyed: self.is_keyed,
            partitions: self.sample.offsets.len(),
            records_held: self.records_held(),
            records: &self.records,
            sites: self.sites(sites),
            rejected: self.rejects(),
            in_place: self.events().filter(|event| event.in_place).count(),
            group: GroupReport {
                name: &group.name,
                members: group.members,
                lag: self.sample.lag(),
            },
            findings: &self.findings,
        }
    }
}
