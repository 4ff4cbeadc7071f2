//! Findings about the sites that the events are of, and about their webhooks.

use std::collections::{BTreeMap, HashSet};

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::Registration;
use crate::cli::inspect::words::{are, by_frequency, names, variants};
use crate::domain::trigger::{NameFilter, NameTrigger, NoticePace, Triggers};

/// Judges whether the sites that are seen are registered.
pub(super) fn judge_registration(facts: &Facts<'_>, list: &mut FindingList) {
    let Ok(sites) = facts.sites else { return };
    let of = |wanted: &dyn Fn(&Registration) -> bool| -> Vec<String> {
        let ids = facts
            .events()
            .filter(|(_, event)| wanted(&event.registration))
            .map(|(_, event)| event.site_id.clone());
        by_frequency(ids)
    };
    let unregistered = of(&|one| *one == Registration::No);
    let registered = of(&|one| *one == Registration::Yes);
    let aliases = of(&|one| matches!(one, Registration::Alias(_)));
    if !aliases.is_empty() && facts.is_keyed {
        list.problem(
            "alias",
            format!(
                "{} only as aliases; a detector looks at a site's own id",
                are(&aliases, "known")
            ),
            "let the producer send the site's own id, as record key too, or set keyed = false on the source, so that the \
             role route keys its records by the site's own id"
                .into(),
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
        list.problem("no_site_registered", text, remedy);
    } else {
        list.note("site_not_registered", text, remedy);
    }
}

/// Judges whether the sites' webhooks wait for such events.
pub(super) fn judge_webhooks(facts: &Facts<'_>, list: &mut FindingList) {
    let Ok(sites) = facts.sites else { return };
    let mut seen: BTreeMap<&str, SiteRecords> = BTreeMap::new();
    for (_, event) in facts.events() {
        let site_id = match &event.registration {
            Registration::Yes => &event.site_id,
            Registration::Alias(site_id) if !facts.is_keyed => site_id,
            _ => continue,
        };
        let seen = seen.entry(site_id).or_default();
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
            list.note(
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
        list.problem(
            "no_webhook",
            format!("{} and without a webhook", are(&bare, "registered")),
            format!("create one: POST /api/sites/{}/webhooks", bare[0]),
        );
    }
    if !off.is_empty() {
        list.problem(
            "webhooks_off",
            format!("every webhook of {} is switched off", names(&off)),
            "switch one on: PATCH it with {\"enabled\":true}; its `health` says who switched it off and why"
                .into(),
        );
    }
}

/// The records of a site, counted.
#[derive(Default)]
struct SiteRecords {
    notifies: usize,
    visitors: HashSet<u64>,
}

/// Descriptions of the events that a webhook with these triggers waits for.
fn waits_for(triggers: &Triggers) -> Vec<String> {
    let named = |what: &str, trigger: &NameTrigger| {
        let wanted = match &trigger.names {
            NameFilter::All => format!("any {what}"),
            NameFilter::Only(names) => format!("{what} {}", self::names(names)),
        };
        match trigger.pace {
            NoticePace::Each => wanted,
            pace => format!("{wanted}, notified {pace}"),
        }
    };
    let spike = triggers.visitor_spike.map(|spike| spike.condition.to_string());
    let drop = triggers.visitor_drop.map(|drop| drop.condition.to_string());
    let goals = triggers
        .goal_completion
        .as_ref()
        .map(|trigger| named("goal", trigger));
    let custom = triggers
        .custom_event
        .as_ref()
        .map(|trigger| named("custom event", trigger));
    let errors = triggers.error_condition.as_ref().map(|_| "errors".to_owned());
    let all = spike.into_iter().chain(drop).chain(goals).chain(custom);
    all.chain(errors).collect()
}
