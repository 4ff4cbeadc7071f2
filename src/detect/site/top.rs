//! The top sources and pages of a spike's payload, found by one scan when a trigger fires.

use super::labels::{MIN_VISITORS, SiteLabels};
use crate::detect::window::visitors::Visitor;
use crate::domain::notification::{TopPage, TopSource};

/// Greatest number of entries in a list.
const MAX_ENTRIES: usize = 3;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::site::labels::LabelBudget;

    /// The list of pages that so many visitors each are on.
    fn pages(visitors: &[(&str, usize)]) -> Vec<(String, u32)> {
        let (mut labels, mut budget) = (
            SiteLabels::default(),
            LabelBudget {
                per_site: 100,
                bytes: 1 << 20,
                spent: 0,
                forgotten: 0,
            },
        );
        let label = |(name, count): &(&str, usize)| {
            let hash = name.bytes().fold(7, |hash: u64, byte| {
                hash.wrapping_mul(1_000_003) + u64::from(byte)
            }) << 20;
            let label = labels.label(hash, name, 1, 1_000, &mut budget).expect("room");
            std::iter::repeat_n(label, *count)
        };
        let used: Vec<u16> = visitors.iter().flat_map(label).collect();
        top(used.into_iter(), &labels).collect()
    }

    #[test]
    fn a_page_or_source_of_fewer_than_three_visitors_is_not_named() {
        assert_eq!(pages(&[("/a", 2), ("/b", 1)]), []);
        assert_eq!(pages(&[("/a", 2), ("/b", 3)]), [("/b".to_owned(), 3)]);
    }

    #[test]
    fn the_three_with_the_most_visitors_are_named() {
        let named = pages(&[("/d", 3), ("/c", 4), ("/b", 3), ("/a", 9), ("/e", 2)]);
        let named: Vec<(&str, u32)> = named
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .collect();
        assert_eq!(named, [("/a", 9), ("/c", 4), ("/b", 3)]);
    }
}
