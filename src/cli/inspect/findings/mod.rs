//! The reasons why nothing happens, the likeliest first, and what to do about each. Pure.

mod facts;
mod list;
mod topic;
mod sites;
mod records;

pub(super) use facts::Facts;
pub(super) use list::{Severity, SourceFinding};

use list::FindingList;

/// Finds everything there is to say, problems first, each kind in the order of how likely it is
/// what one looks for.
pub(super) fn find(facts: &Facts<'_>) -> Vec<SourceFinding> {
    let mut list = FindingList::default();
    topic::judge_topic(facts, &mut list);
    if !facts.sample.offsets.is_empty() {
        topic::judge_contents(facts, &mut list);
        records::judge_rejects(facts, &mut list);
        sites::judge_registration(facts, &mut list);
        topic::judge_detectors(facts, &mut list);
        sites::judge_webhooks(facts, &mut list);
        records::judge_fields(facts, &mut list);
        records::judge_times(facts, &mut list);
        records::judge_keys(facts, &mut list);
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
