//! Why nothing happens, the likeliest first, and what to do about it. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::sample::Sample;
use super::understand::{Keyed, Read, Registration, Sites, Understanding, Understood};
use super::words::{alike, are, by_frequency, names, span, variants};
use crate::domain::trigger::NameFilter;

/// The last record being older than this is worth a word.
const QUIET_MS: i64 = 15 * 60_000;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Stable, for scripts.
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) remedy: String,
}

/// How much it explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Because of it some or all events lead to nothing.
    Problem,
    /// Worth knowing.
    Note,
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) topic: &'a str,
    /// Whether the topic is one of the configuration's sources.
    pub(super) is_source: bool,
    pub(super) brokers: &'a str,
    /// `kafka.partitions`.
    pub(super) partitions: i32,
    pub(super) sample: &'a Sample,
    pub(super) records: &'a [Understanding],
    /// What Postgres knows of the sites, or why it could not be asked.
    pub(super) sites: Result<&'a Sites, &'a str>,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
}

/// Everything there is to say, problems first, each kind in the order of how likely it is what one looks for.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut list = List(Vec::new());
    list.topic(facts);
    if !facts.sample.marks.is_empty() {
        list.contents(facts);
        list.sites(facts);
        list.detectors(facts);
        list.webhooks(facts);
        list.times(facts);
        list.keys(facts);
        list.reading(facts);
    }
    if let Err(reason) = facts.sites {
        list.note(
            "postgres_unknown",
            format!("Postgres could not be asked which sites are registered: {reason}"),
            "start it, or correct postgres.url, and look again".into(),
        );
    }
    list.0.sort_by_key(|finding| finding.severity);
    list.0
}

struct List(Vec<Finding>);

impl List {
    fn add(&mut self, severity: Severity, code: &'static str, text: String, remedy: String) {
        self.0.push(Finding {
            severity,
            code,
            text,
            remedy,
        });
    }

    fn problem(&mut self, code: &'static str, text: String, remedy: String) {
        self.add(Severity::Problem, code, text, remedy);
    }

    fn note(&mut self, code: &'static str, text: String, remedy: String) {
        self.add(Severity::Note, code, text, remedy);
    }

    fn topic(&mut self, facts: &Facts<'_>) {
        let topic = facts.topic;
        if facts.sample.marks.is_empty() {
            let alike = alike(topic, &facts.sample.others);
            let alike = if alike.is_empty() {
                String::new()
            } else {
                format!("; there is {}", names(&alike))
            };
            self.problem(
                "topic_missing",
                format!("there is no topic {topic} on {}{alike}", facts.brokers),
                "correct its name under [[sources]], or make it: `bellwether topics create`".into(),
            );
        }
        if !facts.is_source {
            self.problem(
                "not_a_source",
                format!("{topic} is none of the configuration's sources, so no detector reads it"),
                format!("add it: [[sources]] with topic = \"{topic}\""),
            );
        }
        let partitions = facts.sample.marks.len();
        if partitions > 0 && i64::try_from(partitions).unwrap_or(i64::MAX) != i64::from(facts.partitions) {
            self.problem(
                "partition_count",
                format!("{topic} has {partitions} partitions and kafka.partitions is {}: `bellwether serve` does not start so", facts.partitions),
                format!("set kafka.partitions = {partitions} before Bellwether's topics are made, or give the topic {} partitions", facts.partitions),
            );
        }
    }

    fn contents(&mut self, facts: &Facts<'_>) {
        let marks = &facts.sample.marks;
        if marks.iter().all(|marks| marks.end == 0) {
            self.problem(
                "topic_empty",
                "the topic has never held a record".into(),
                format!(
                    "see that the producer publishes to {} on {}, and what errors it reports",
                    facts.topic, facts.brokers
                ),
            );
        } else if marks.iter().all(|marks| marks.end == marks.low) {
            self.problem(
                "topic_emptied",
                "every record the topic has held is gone: its retention has removed them, and nothing new came".into(),
                "see whether the producer still publishes".into(),
            );
        }
        let rejected: Vec<String> = facts
            .records
            .iter()
            .filter_map(|record| match &record.read {
                Read::Rejected { reason, detail, .. } => Some(format!("{reason}: {detail}")),
                Read::Understood(_) => None,
            })
            .collect();
        if rejected.is_empty() {
            return;
        }
        let most = by_frequency(rejected.iter().cloned()).swap_remove(0);
        let text = format!(
            "{} of the {} records read cannot be understood, mostly because of {most}",
            rejected.len(),
            facts.records.len()
        );
        let remedy = "compare a record with the format of the source, field by field; such records are kept on the rejected topic with the reason".to_owned();
        if rejected.len() == facts.records.len() {
            self.problem("all_rejected", text, remedy);
        } else {
            self.note("some_rejected", text, remedy);
        }
    }

    fn sites(&mut self, facts: &Facts<'_>) {
        let Ok(sites) = facts.sites else { return };
        let of = |wanted: &dyn Fn(&Registration) -> bool| -> Vec<String> {
            let ids = understood(facts)
                .filter(|event| wanted(&event.registration))
                .map(|event| event.site_id.clone());
            by_frequency(ids)
        };
        let unregistered = of(&|one| *one == Registration::No);
        let registered = of(&|one| *one == Registration::Yes);
        let aliases = of(&|one| matches!(one, Registration::Alias(_)));
        if !aliases.is_empty() {
            self.problem(
                "alias",
                format!(
                    "{} only as aliases; a detector looks at a site's own id",
                    are(&aliases, "known")
                ),
                "let the producer send the site's own id, as record key too".into(),
            );
        }
        if unregistered.is_empty() {
            return;
        }
        let example = &unregistered[0];
        let mut text = are(&unregistered, "not registered, so their events count for nothing");
        let mut remedy =
            format!("create a webhook, which registers its site: POST /api/sites/{example}/webhooks");
        let alike: Vec<(String, String)> = unregistered
            .iter()
            .filter_map(|id| {
                let (known, _) = variants(id)
                    .into_iter()
                    .find_map(|variant| sites.find(&variant))?;
                Some((id.clone(), known.site.site_id.clone()))
            })
            .collect();
        if let Some((id, known)) = alike.first() {
            text = format!("{text}; {known} is registered, and ids are compared letter by letter");
            remedy = format!("let the producer send {known} instead of {id}, or register {id}");
        }
        if registered.is_empty() && aliases.is_empty() {
            self.problem("no_site_registered", text, remedy);
        } else {
            self.note("site_not_registered", text, remedy);
        }
    }

    fn detectors(&mut self, facts: &Facts<'_>) {
        let group = &facts.sample.group;
        if !facts.is_source {
            return;
        }
        if let Some(reason) = &group.unknown {
            self.note(
                "group_unknown",
                format!("the group {} could not be looked at: {reason}", group.name),
                "a user needs DESCRIBE on the group for that".into(),
            );
            return;
        }
        let lag = group.lag(&facts.sample.marks);
        let has_commit = group.committed.iter().any(Option::is_some);
        match group.members {
            Some(0) if has_commit => self.problem(
                "no_detector",
                format!("no detector is running (group {}); {lag} records wait for one", group.name),
                "start `bellwether serve`, and see that its role detect is on".into(),
            ),
            Some(0) => self.problem(
                "never_detected",
                format!("no detector has ever read the topic (group {})", group.name),
                "start `bellwether serve` with this configuration: the same brokers, topic_prefix and sources".into(),
            ),
            _ if lag > 0 => self.note(
                "detector_behind",
                format!("the detectors are {lag} records behind the end"),
                "look again: a number that grows means that they cannot keep up or are stuck (/readyz says why)".into(),
            ),
            _ => {}
        }
    }

    fn webhooks(&mut self, facts: &Facts<'_>) {
        let Ok(sites) = facts.sites else { return };
        let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
        for event in understood(facts).filter(|event| event.registration == Registration::Yes) {
            let seen = seen.entry(&event.site_id).or_default();
            seen.notifies += event.notifies;
            seen.visitors.extend(event.visitor);
        }
        let mut bare = Vec::new();
        let mut off = Vec::new();
        for (id, seen) in seen {
            let Some((known, _)) = sites.find(id) else {
                continue;
            };
            let webhooks = &known.site.webhooks;
            if webhooks.is_empty() {
                bare.push(id.to_owned());
            } else if !webhooks.iter().any(|webhook| webhook.enabled) {
                off.push(id.to_owned());
            } else if seen.notifies == 0 {
                let waits: Vec<String> = webhooks
                    .iter()
                    .filter(|webhook| webhook.enabled)
                    .flat_map(|webhook| waits_for(&webhook.triggers))
                    .collect();
                self.note(
                    "nothing_to_tell",
                    format!(
                        "none of {id}'s records here is by itself what its webhooks wait for: {} ({} different visitors were seen)",
                        waits.join("; "),
                        seen.visitors.len()
                    ),
                    "compare names, paths and thresholds with what is above; events older than a webhook or a goal do not count for it".into(),
                );
            }
        }
        if !bare.is_empty() {
            self.problem(
                "no_webhook",
                format!("{} and without a webhook", are(&bare, "registered")),
                format!("create one: POST /api/sites/{}/webhooks", bare[0]),
            );
        }
        if !off.is_empty() {
            self.problem(
                "webhooks_off",
                format!("every webhook of {} is switched off", names(&off)),
                "switch one on: PATCH it with {\"enabled\":true}; its `health` says who switched it off and why".into(),
            );
        }
    }

    fn times(&mut self, facts: &Facts<'_>) {
        let events: Vec<&Understood> = understood(facts).collect();
        let stale = events.iter().filter(|event| event.stale).count();
        if let Some(newest) = events.iter().map(|event| event.event_ms).max()
            && stale > 0
        {
            let text = format!(
                "{stale} of the {} events are too old to be told; the newest happened {} ago",
                events.len(),
                span(facts.now_ms - newest)
            );
            // Old events in a topic that is read now were told of when they came.
            let arrived_old = facts.records.iter().any(|record| match &record.read {
                Read::Understood(event) => {
                    event.stale && record.record_ms.is_some_and(|at| at - event.event_ms > QUIET_MS)
                }
                Read::Rejected { .. } => false,
            });
            if arrived_old && stale == events.len() {
                self.problem(
                    "stale",
                    text,
                    "send timestamps in UTC, RFC 3339 with a zone or epoch milliseconds; for a replay of the past set clock = \"log\" on the source".into(),
                );
            } else if arrived_old {
                self.note(
                    "some_stale",
                    text,
                    "see whether their timestamps are in UTC".into(),
                );
            }
        }
        let skewed = events.iter().filter(|event| event.skewed).count();
        if skewed > 0 {
            self.note(
                "clock_skew",
                format!(
                    "{skewed} events claim to be more than a day older than their record, whose time they get"
                ),
                "send the timestamp in milliseconds, or none at all".into(),
            );
        }
        let newest = facts.records.iter().filter_map(|record| record.record_ms).max();
        if let Some(newest) = newest.filter(|at| facts.now_ms - at > QUIET_MS) {
            self.note(
                "quiet",
                format!("the last record came {} ago", span(facts.now_ms - newest)),
                "see whether the producer still publishes".into(),
            );
        }
    }

    fn keys(&mut self, facts: &Facts<'_>) {
        let events: Vec<&Understood> = understood(facts).collect();
        let astray = events.iter().filter(|event| !event.in_place).count();
        if astray == 0 {
            return;
        }
        let count = |keyed: Keyed| {
            events
                .iter()
                .filter(|event| !event.in_place && event.key == keyed)
                .count()
        };
        let (own, other, none) = (count(Keyed::BySite), count(Keyed::ByOther), count(Keyed::No));
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
        self.problem(
            "not_keyed_by_site",
            format!("{astray} of {} events lie in another partition than their site's: {text}. Visitors of one site are then counted in several places, and thresholds are not reached", events.len()),
            remedy.into(),
        );
    }

    fn reading(&mut self, facts: &Facts<'_>) {
        let held: i64 = facts
            .sample
            .marks
            .iter()
            .map(|marks| marks.end - marks.stable_end)
            .sum();
        if held > 0 {
            self.note(
                "open_transaction",
                format!("{held} records belong to, or come after, a transaction that is not finished: nobody who reads committed records sees them"),
                "see whether a transactional producer hangs; the brokers end it after its transaction.timeout.ms".into(),
            );
        }
        if let Some(reason) = &facts.sample.unread {
            self.note("not_read", reason.clone(), "look again".into());
        }
    }
}

/// What was seen of a site.
#[derive(Default)]
struct Seen {
    notifies: usize,
    visitors: HashSet<u64>,
}

fn understood<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = &'a Understood> {
    facts.records.iter().filter_map(|record| match &record.read {
        Read::Understood(event) => Some(event),
        Read::Rejected { .. } => None,
    })
}

/// What a webhook would be told of.
fn waits_for(triggers: &crate::domain::trigger::Triggers) -> Vec<String> {
    let named = |what: &str, filter: &NameFilter| match filter {
        NameFilter::All => format!("any {what}"),
        NameFilter::Only(names) => format!("{what} {}", super::words::names(names)),
    };
    let spike = triggers
        .visitor_spike
        .map(|spike| format!("{} visitors within {} s", spike.threshold, spike.window_seconds));
    let goals = triggers
        .goal_completion
        .as_ref()
        .map(|filter| named("goal", filter));
    let custom = triggers
        .custom_event
        .as_ref()
        .map(|filter| named("custom event", filter));
    spike.into_iter().chain(goals).chain(custom).collect()
}
