//! Names, numbers and lists, as sentences have them. Pure.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};

/// Most names in one sentence.
pub(super) const NAMES: usize = 5;

/// Ids that people may mean when they write `id`.
pub(super) fn variants(id: &str) -> Vec<String> {
    let lower = id.to_lowercase();
    let host = lower
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .trim();
    let bare = host.trim_start_matches("www.");
    let all = [
        lower.clone(),
        host.to_owned(),
        bare.to_owned(),
        format!("www.{bare}"),
    ];
    all.into_iter().filter(|variant| variant != id).collect()
}

/// The topics that share most words with `topic`.
pub(super) fn alike(topic: &str, others: &[String]) -> Vec<String> {
    let words = |name: &str| -> HashSet<String> {
        name.split(['.', '-', '_'])
            .map(|word| word.trim_end_matches('s').to_lowercase())
            .collect()
    };
    let wanted = words(topic);
    let mut scored: Vec<(usize, &String)> = others
        .iter()
        .filter(|other| !other.starts_with("__"))
        .map(|other| (words(other).intersection(&wanted).count(), other))
        .filter(|(score, _)| *score > 0)
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(NAMES)
        .map(|(_, name)| name.clone())
        .collect()
}

/// `a is not registered`, `a, b and 3 more are not registered`
pub(super) fn are(ids: &[String], what: &str) -> String {
    let verb = if ids.len() == 1 { "is" } else { "are" };
    format!("{} {verb} {what}", names(ids))
}

/// `a, b and 3 more`
pub(super) fn names(list: &[String]) -> String {
    let shown = list[..list.len().min(NAMES)].join(", ");
    match list.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Each text once, the most frequent first.
pub(super) fn by_frequency(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    let mut counted: Vec<(String, usize)> = counts.into_iter().collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.into_iter().map(|(id, _)| id).collect()
}

/// `2026-02-25 11:59:51 UTC`
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `3 h`, `12 min`, `5 s`
pub(super) fn span(ms: i64) -> String {
    match ms.max(0) / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_id_has_the_spellings_that_people_mix_up() {
        let meant = |id: &str, registered: &str| variants(id).iter().any(|one| one == registered);
        for (id, registered) in [
            ("Shop.example", "shop.example"),
            ("www.shop.example", "shop.example"),
            ("shop.example", "www.shop.example"),
            ("https://www.Shop.example/", "shop.example"),
            ("shop.example/", "shop.example"),
        ] {
            assert!(meant(id, registered), "{id}: {:?}", variants(id));
        }
        assert!(!meant("shop.example", "shop.example"));
        assert!(!meant("shop.example", "blog.example"));
    }

    #[test]
    fn topics_are_alike_that_share_words() {
        let others = list(&[
            "__consumer_offsets",
            "orders",
            "analytics-events",
            "prod.analytics.event",
        ]);
        assert_eq!(
            alike("analytics.events", &others),
            ["analytics-events", "prod.analytics.event"]
        );
        assert!(alike("pageviews", &others).is_empty());
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        assert_eq!(are(&list(&["a"]), "here"), "a is here");
        assert_eq!(
            are(&list(&["a", "b", "c", "d", "e", "f", "g"]), "here"),
            "a, b, c, d, e and 2 more are here"
        );
        assert_eq!(by_frequency(list(&["a", "b", "b"]).into_iter()), ["b", "a"]);
    }

    #[test]
    fn a_span_has_the_unit_that_says_enough() {
        for (ms, said) in [
            (-5, "0 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (10 * 86_400_000, "10 days"),
        ] {
            assert_eq!(span(ms), said);
        }
    }
}
