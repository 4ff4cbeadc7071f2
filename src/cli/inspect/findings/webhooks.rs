//! Findings about the webhooks of the sites that the events are of.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::facts::Facts;
use super::list::FindingList;
use super::waits::waits_for;
use crate::cli::inspect::record::{Registration, UnderstoodEvent};
use crate::cli::inspect::sites::IndexedSite;
use crate::cli::inspect::words::{NAMES, are, instant, names};
use crate::cli::text::counted;
use crate::detect::site::cap::MAX_PER_MINUTE;
use crate::detect::site::matches::subscription;
use crate::domain::health::HealthState;
use crate::domain::trigger::NoticePace;
use crate::record::known::KnownWebhook;

/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;

/// Events that a webhook is notified of one by one.
struct DueEvents {
    count: usize,
    /// The earliest and the latest, milliseconds since the Unix epoch.
    first_ms: i64,
    last_ms: i64,
}

impl DueEvents {
    fn at(at_ms: i64) -> Self {
        Self {
            count: 0,
            first_ms: at_ms,
            last_ms: at_ms,
        }
    }

    fn add(&mut self, count: usize, at_ms: i64) {
        self.count += count;
        self.first_ms = self.first_ms.min(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// True if a minute of such events would have more than a webhook is notified of one by one.
    fn are_too_dense(&self) -> bool {
        let span_ms = (self.last_ms - self.first_ms).max(1_000);
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        self.count * 10 >= MAX_PER_MINUTE && count.saturating_mul(MINUTE_MS) > span_ms * MAX_PER_MINUTE as i64
    }
}

/// A registered site of the sample, with its events.
pub(super) struct SeenSite<'a> {
    site: &'a IndexedSite,
    events: Vec<&'a UnderstoodEvent>,
}

impl<'a> SeenSite<'a> {
    fn id(&self) -> &'a str {
        &self.site.site.site_id
    }

    fn webhooks(&self) -> &'a [KnownWebhook] {
        &self.site.site.webhooks
    }

    fn is_on(&self) -> bool {
        self.webhooks().iter().any(|webhook| webhook.enabled)
    }

    /// The minutes of the events that the webhook is notified of one by one, or would be if it were
    /// switched on, each with their number.
    fn due(&self, webhook: &KnownWebhook) -> HashMap<i64, DueEvents> {
        let active_since_ms = webhook.active_since.timestamp_millis();
        let events = self.events.iter().filter(|event| {
            let is_past = event.stale || event.historical || event.copy_of.is_some();
            !is_past && event.subscribers_ms >= active_since_ms
        });
        let mut minutes = HashMap::new();
        for event in events {
            let subjects = event.subjects.iter();
            let due = subjects.filter(|(kind, name)| {
                subscription(&webhook.triggers, *kind, name)
                    .is_some_and(|trigger| trigger.pace == NoticePace::Each)
            });
            let due = due.count();
            if due > 0 {
                let minute = minutes.entry(event.event_ms.div_euclid(MINUTE_MS));
                minute
                    .or_insert_with(|| DueEvents::at(event.event_ms))
                    .add(due, event.event_ms);
            }
        }
        minutes
    }
}

/// The registered sites that events are of, in the order of their ids.
pub(super) fn seen_sites<'a>(facts: &Facts<'a>) -> Vec<SeenSite<'a>> {
    let Ok(sites) = facts.sites else {
        return Vec::new();
    };
    let mut seen: BTreeMap<&str, SeenSite<'a>> = BTreeMap::new();
    for (_, event) in facts.events() {
        let id = match &event.registration {
            Registration::Yes => &event.site_id,
            Registration::Alias(site_id) if !facts.is_keyed => site_id,
            _ => continue,
        };
        if let Some((site, _)) = sites.find(id) {
            let seen = seen.entry(id).or_insert_with(|| SeenSite {
                site,
                events: Vec::new(),
            });
            seen.events.push(event);
        }
    }
    seen.into_values().collect()
}

/// The webhooks of sites that are switched on, each with its site's id.
fn webhooks_on<'a>(sites: &[SeenSite<'a>]) -> impl Iterator<Item = (&'a str, &'a KnownWebhook)> {
    let each = |site: &SeenSite<'a>| {
        let id = site.id();
        site.webhooks().iter().map(move |webhook| (id, webhook))
    };
    sites.iter().flat_map(each).filter(|(_, webhook)| webhook.enabled)
}

/// Judges whether the sites have webhooks, and these are switched on and not paused.
pub(super) fn judge_switches(sites: &[SeenSite<'_>], list: &mut FindingList) {
    let ids = |wanted: &dyn Fn(&SeenSite<'_>) -> bool| -> Vec<String> {
        let wanted = sites.iter().filter(|site| wanted(site));
        wanted.map(|site| site.id().to_owned()).collect()
    };
    let bare = ids(&|site| site.webhooks().is_empty());
    if !bare.is_empty() {
        list.problem(
            "no_webhook",
            format!("{} and without a webhook", are(&bare, "registered")),
            format!("create one: POST /api/sites/{}/webhooks", bare[0]),
        );
    }
    let switch_on =
        "switch one on: PATCH it with {\"enabled\":true}; its `health` says who switched it off and why";
    let off = ids(&|site| !site.webhooks().is_empty() && !site.is_on());
    if !off.is_empty() {
        list.problem(
            "webhooks_off",
            format!("every webhook of {} is switched off", names(&off)),
            switch_on.into(),
        );
    }
    let partly_on = sites.iter().filter(|site| site.is_on());
    let off: Vec<String> = partly_on
        .flat_map(|site| {
            let off = site.webhooks().iter().filter(|webhook| !webhook.enabled);
            let off = off.map(|webhook| {
                (
                    webhook,
                    site.due(webhook).values().map(|due| due.count).sum::<usize>(),
                )
            });
            off.filter(|(_, due)| *due > 0)
                .map(|(webhook, due)| format!("{} of {} ({due} of these)", webhook.id, site.id()))
        })
        .collect();
    if !off.is_empty() {
        let (webhooks, are) = match off.len() {
            1 => ("a webhook", "is"),
            _ => ("webhooks", "are"),
        };
        list.problem(
            "webhook_off",
            format!(
                "{webhooks} that would be notified of such events {are} switched off: {}",
                names(&off)
            ),
            switch_on.into(),
        );
    }
}

/// Judges whether webhooks are paused.
pub(super) fn judge_pauses(facts: &Facts<'_>, sites: &[SeenSite<'_>], list: &mut FindingList) {
    let paused: Vec<String> = webhooks_on(sites)
        .filter_map(|(site, webhook)| {
            let until = pause(webhook, facts.now_ms)?;
            let (id, waiting) = (webhook.id, waiting(webhook));
            Some(format!("{id} of {site} until {}{waiting}", instant(until)))
        })
        .collect();
    if !paused.is_empty() {
        list.problem(
            "paused",
            format!(
                "what webhooks are due waits, since their owners paused them: {}",
                names(&paused)
            ),
            "end a pause: PATCH the webhook with {\"paused_until\":null}".into(),
        );
    }
}

/// Judges whether the webhooks' endpoints take what they are sent.
pub(super) fn judge_endpoints(facts: &Facts<'_>, sites: &[SeenSite<'_>], list: &mut FindingList) {
    let is_paused = |webhook: &KnownWebhook| pause(webhook, facts.now_ms).is_some();
    let (mut open, mut failing, mut delayed) = (Vec::new(), Vec::new(), Vec::new());
    for (site, webhook) in webhooks_on(sites) {
        let (id, health) = (webhook.id, &webhook.health);
        if health.state == HealthState::Open {
            let next = health.next_probe_at.filter(|_| !is_paused(webhook));
            let next = next.map_or_else(String::new, |at| format!(", next try at {}", instant(at)));
            let since = instant(health.since);
            open.push(format!("{id} of {site} since {since}{next}{}", waiting(webhook)));
        } else if health.state == HealthState::Careful || health.consecutive_failures > 0 {
            let failed = counted(health.consecutive_failures, "failure");
            failing.push(format!("{id} of {site}, {failed} in a row{}", waiting(webhook)));
        } else if health.waiting > 0 && !is_paused(webhook) {
            delayed.push(format!("{id} of {site}{}", waiting(webhook)));
        }
    }
    let see = "GET /api/sites/SITE_ID/webhooks/ID/deliveries";
    if !open.is_empty() {
        list.problem(
            "circuit_open",
            format!("what webhooks are due waits, since their endpoints fail: {}", names(&open)),
            format!("make the endpoint answer with 2xx, and the next try lets out what waits; {see} says how it fails"),
        );
    }
    if !failing.is_empty() {
        list.problem(
            "endpoint_fails",
            format!(
                "endpoints have not taken what they were sent last: {}",
                names(&failing)
            ),
            format!("make the endpoint answer with 2xx; {see} says how it fails"),
        );
    }
    if !delayed.is_empty() {
        list.problem(
            "deliveries_wait",
            format!("deliveries wait for a later attempt, for room, or for the rate of their webhook: {}", names(&delayed)),
            format!("look again: a number that grows means that the endpoint or its rate is too slow; {see} names them"),
        );
    }
}

/// Judges whether the sites' webhooks wait for such events.
pub(super) fn judge_waits(facts: &Facts<'_>, sites: &[SeenSite<'_>], list: &mut FindingList) {
    let events = || sites.iter().flat_map(|site| &site.events);
    let early = events().filter(|event| event.too_early).count();
    if early > 0 {
        list.note(
            "too_early",
            format!(
                "{early} of {} are older than the webhooks or goals that wait for them",
                counted(events().count(), "event")
            ),
            "publish such an event anew: a webhook acts on what comes after it was made or switched on, a goal \
             on what comes after it was made"
                .into(),
        );
    }
    judge_cap(facts, sites, list);
    let idle = sites.iter().filter(|site| {
        let has_seen = |event: &&UnderstoodEvent| event.notifies > 0 || event.is_withheld();
        site.is_on() && !site.events.iter().any(has_seen)
    });
    let idle: Vec<&SeenSite<'_>> = idle.collect();
    for site in idle.iter().take(NAMES) {
        let webhooks = site.webhooks().iter().filter(|webhook| webhook.enabled);
        let waits: Vec<String> = webhooks
            .flat_map(|webhook| waits_for(webhook, facts.now_ms))
            .collect();
        let visitors: HashSet<u64> = site.events.iter().filter_map(|event| event.visitor).collect();
        list.note(
            "nothing_to_tell",
            format!(
                "none of {}'s records here is by itself what its webhooks wait for: {} ({} seen)",
                site.id(),
                waits.join("; "),
                counted(visitors.len(), "different visitor")
            ),
            format!(
                "compare names, paths and thresholds with what is above; GET /api/sites/{}/alerts has what was decided by \
                 counts, and what was suppressed",
                site.id()
            ),
        );
    }
    if idle.len() > NAMES {
        list.note(
            "nothing_to_tell",
            format!("the same is so of {} more sites", idle.len() - NAMES),
            "inspect fewer records (--last) to see them".into(),
        );
    }
}

/// Judges whether webhooks are notified of more events than they get one by one.
fn judge_cap(facts: &Facts<'_>, sites: &[SeenSite<'_>], list: &mut FindingList) {
    let mut offsets = facts.sample.offsets.iter();
    let is_cut = offsets.any(|offsets| offsets.read_from > offsets.low);
    let (mut capped, mut crowded) = (Vec::new(), Vec::new());
    for site in sites {
        for webhook in site.webhooks().iter().filter(|webhook| webhook.enabled) {
            let minutes = site.due(webhook);
            let beyond = minutes
                .values()
                .map(|due| due.count.saturating_sub(MAX_PER_MINUTE));
            let (beyond, id) = (beyond.sum::<usize>(), webhook.id);
            if beyond > 0 {
                capped.push(format!("{id} of {} ({beyond})", site.id()));
            } else if is_cut && minutes.values().any(DueEvents::are_too_dense) {
                crowded.push(format!("{id} of {}", site.id()));
            }
        }
    }
    if !crowded.is_empty() {
        list.note(
            "may_be_summarised",
            format!(
                "webhooks are due so many goals and custom events that some may lie beyond the {MAX_PER_MINUTE} of a \
                 minute that are notified one by one: {}",
                names(&crowded)
            ),
            "inspect more records: --last".into(),
        );
    }
    if !capped.is_empty() {
        list.problem(
            "summarised",
            format!(
                "what lies beyond {MAX_PER_MINUTE} goals and custom events of a minute is notified as one summary of \
                 each name: {}",
                names(&capped)
            ),
            "read `count` of the summary, which comes when the minute ends; or let the webhook count: at_least, every"
                .into(),
        );
    }
}

/// `, 5 deliveries wait`
fn waiting(webhook: &KnownWebhook) -> String {
    match webhook.health.waiting {
        0 => String::new(),
        1 => ", 1 delivery waits".to_owned(),
        waiting => format!(", {waiting} deliveries wait"),
    }
}

/// The end of the pause that goes on, if one does.
fn pause(webhook: &KnownWebhook, now_ms: i64) -> Option<DateTime<Utc>> {
    webhook
        .paused_until
        .filter(|until| until.timestamp_millis() > now_ms)
}
