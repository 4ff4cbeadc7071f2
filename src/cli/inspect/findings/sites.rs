//! Findings about the sites that the events are of.

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::record::Registration;
use crate::cli::inspect::words::{are, by_frequency, variants};

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
    } else if alike.is_empty() {
        // A topic may hold the events of sites that nobody wants webhooks of.
        list.note("site_not_registered", text, remedy);
    } else {
        list.problem("site_not_registered", text, remedy);
    }
}
