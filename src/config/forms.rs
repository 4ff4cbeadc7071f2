//! Allowed values of keys, for the checks and for errors alike.

use std::ops::RangeInclusive;

/// Whole numbers, and the range of each.
const RANGES: &[(&str, RangeInclusive<i64>)] = &[
    ("kafka.partitions", 1..=10_000),
    ("kafka.replication_factor", 1..=100),
    ("postgres.max_connections", 2..=1_000),
    ("http.requests_per_second", 1..=1_000_000),
    ("http.burst", 1..=1_000_000),
    ("webhooks.max_per_site", 1..=1_000),
    ("webhooks.max_in_flight", 1..=65_536),
    ("detect.threads", 1..=64),
    ("detect.max_visitors_per_site", 1_000..=100_000_000),
    ("deliver.threads", 1..=64),
];

/// Keys whose values are read by a type that does not say what it takes.
const FORMS: &[(&str, &str)] = &[
    ("kafka.brokers", "a text, host:port, several separated by commas"),
    (
        "http.listen",
        "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
    ),
    (
        "admin.listen",
        "an IP address and a port, such as \"127.0.0.1:9464\" or \"[::]:9464\"",
    ),
    (
        "http.trusted_proxies",
        "a list of networks, such as [\"10.0.0.0/8\", \"192.0.2.7/32\"]",
    ),
    (
        "webhooks.allow_networks",
        "a list of networks, such as [\"10.0.0.0/8\", \"192.0.2.7/32\"]",
    ),
    (
        "webhooks.deny_networks",
        "a list of networks, such as [\"10.0.0.0/8\", \"192.0.2.7/32\"]",
    ),
    (
        "webhooks.outbound_addresses",
        "a list of IP addresses and networks, such as [\"192.0.2.7\", \"2001:db8::/48\"]",
    ),
    (
        "webhooks.retry_schedules",
        "a list of durations for each name, such as default = [\"1s\", \"2s\", \"4s\"]",
    ),
    (
        "encryption.keys",
        "a list of texts, or one text with commas between them",
    ),
    (
        "encryption.key_files",
        "a list of texts, or one text with commas between them",
    ),
];

/// The range of a key that holds a whole number.
pub(super) fn range_of(key: &str) -> Option<&'static RangeInclusive<i64>> {
    RANGES
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, range)| range)
}

/// The allowed values of a key, or of the one around it, in words.
pub(super) fn allowed(key: &str) -> Option<String> {
    if let Some(range) = range_of(key) {
        return Some(format!(
            "allowed: a whole number from {} to {}",
            range.start(),
            range.end()
        ));
    }
    let is_of = |name: &str| {
        key.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    let form = FORMS.iter().find(|(name, _)| is_of(name));
    form.map(|(_, form)| format!("allowed: {form}"))
}
