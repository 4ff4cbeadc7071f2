//! The top sources and pages of a spike's payload, found by one scan when a trigger fires.

use super::labels::SiteLabels;
use crate::detect::window::visitors::Visitor;
use crate::domain::notification::{TopPage, TopSource};

/// Greatest number of entries in a list.
const MAX_ENTRIES: usize = 3;

/// Smallest number of visitors of an entry: fewer could identify a person.
const MIN_VISITORS: u32 = 3;

/// The sources with the most visitors, each visitor counted under the latest one.
pub(crate) fn top_sources<'a>(
    visitors: impl Iterator<Item = &'a Visitor>,
    labels: &SiteLabels,
) -> Vec<TopSource> {
    top(visitors.map(|visitor| visitor.source), labels)
        .map(|(source, visitors)| TopSource { source, visitors })
        .collect()
}

/// The pages with the most visitors, each visitor counted under the latest one.
pub(crate) fn top_pages<'a>(
    visitors: impl Iterator<Item = &'a Visitor>,
    labels: &SiteLabels,
) -> Vec<TopPage> {
    top(visitors.map(|visitor| visitor.page), labels)
        .map(|(path, visitors)| TopPage { path, visitors })
        .collect()
}

/// Orders by visitors, then by name, so that the same visitors always give the same list.
fn top(used: impl Iterator<Item = u16>, labels: &SiteLabels) -> impl Iterator<Item = (String, u32)> {
    let mut counts = vec![0_u32; labels.len()];
    for label in used {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    let mut named: Vec<(&str, u32)> = (0_u16..)
        .zip(counts)
        .filter(|(_, count)| *count >= MIN_VISITORS)
        .filter_map(|(label, count)| Some((labels.name(label)?, count)))
        .collect();
    named.sort_unstable_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
    named.truncate(MAX_ENTRIES);
    named
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect::<Vec<_>>()
        .into_iter()
}
