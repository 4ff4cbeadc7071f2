//! The reasons why nothing happens, the likeliest first, and what to do about each. Pure.

mod facts;
mod list;
mod topic;
mod sites;
mod webhooks;
mod waits;
mod records;
mod times;

pub(super) use facts::Facts;
pub(super) use list::{Severity, SourceFinding};

use list::FindingList;

/// Finds everything there is to say, problems first, each kind in the order of how likely it is
/// what one looks for. What is too old comes before all else: it was withheld from somebody.
pub(super) fn find(facts: &Facts<'_>) -> Vec<SourceFinding> {
    let mut list = FindingList::default();
    times::judge_age(facts, &mut list);
    topic::judge_topic(facts, &mut list);
    if !facts.sample.offsets.is_empty() {
        let sites = webhooks::seen_sites(facts);
        topic::judge_contents(facts, &mut list);
        let are_mostly_rejected = records::are_mostly_rejected(facts);
        if are_mostly_rejected {
            records::judge_rejects(facts, &mut list);
        }
        sites::judge_registration(facts, &mut list);
        topic::judge_readers(facts, &mut list);
        topic::judge_followers(facts, &mut list);
        webhooks::judge_switches(&sites, &mut list);
        webhooks::judge_pauses(facts, &sites, &mut list);
        webhooks::judge_endpoints(facts, &sites, &mut list);
        times::judge_clocks(facts, &mut list);
        records::judge_copies(facts, &mut list);
        records::judge_keys(facts, &mut list);
        if !are_mostly_rejected {
            records::judge_rejects(facts, &mut list);
        }
        records::judge_fields(facts, &mut list);
        webhooks::judge_waits(facts, &sites, &mut list);
        topic::judge_reading(facts, &mut list);
    }
    if let Err(reason) = facts.sites {
        list.note(
            "postgres_unknown",
            format!("Postgres could not be asked which sites are registered: {reason}"),
            "start it, or correct postgres.url, and look again".into(),
        );
    }
    list.into_sorted()
}

#[cfg(test)]
mod tests;
