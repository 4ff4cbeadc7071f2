//! The sources and pages most visitors have, for a spike's payload: one scan when a trigger fires.

use super::labels::Labels;
use crate::detect::window::visitors::Slot;
use crate::domain::notification::{TopPage, TopSource};

/// Most entries of a list.
const MOST: usize = 3;

/// Fewest visitors of an entry: fewer could name a person.
const FEWEST_VISITORS: u32 = 3;

/// The sources with most visitors, by each one's latest.
pub(crate) fn top_sources<'a>(visitors: impl Iterator<Item = &'a Slot>, labels: &Labels) -> Vec<TopSource> {
    top(visitors.map(|slot| slot.source), labels)
        .map(|(source, visitors)| TopSource { source, visitors })
        .collect()
}

/// The pages with most visitors, by each one's latest.
pub(crate) fn top_pages<'a>(visitors: impl Iterator<Item = &'a Slot>, labels: &Labels) -> Vec<TopPage> {
    top(visitors.map(|slot| slot.page), labels)
        .map(|(path, visitors)| TopPage { path, visitors })
        .collect()
}

/// By visitors, then by name, so that the same visitors always give the same list.
fn top(worn: impl Iterator<Item = u16>, labels: &Labels) -> impl Iterator<Item = (String, u32)> {
    let mut counts = vec![0_u32; labels.len()];
    for label in worn {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    let mut named: Vec<(&str, u32)> = (0_u16..)
        .zip(counts)
        .filter(|(_, count)| *count >= FEWEST_VISITORS)
        .filter_map(|(label, count)| Some((labels.name(label)?, count)))
        .collect();
    named.sort_unstable_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
    named.truncate(MOST);
    named
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect::<Vec<_>>()
        .into_iter()
}
