use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::api;
use crate::telemetry::words::Group;

/// The families as they are at a start, with a placeholder for each name that the configuration
/// gives.
fn metrics() -> Metrics {
    Metrics::new(&Labels {
        sources: vec!["<source topic>".into()],
        tiers: vec!["<delay>".into()],
        produced: vec!["<topic>".into()],
        consumed: vec![
            ("route".into(), "<source topic>".into()),
            ("detect".into(), "<source topic>".into()),
            ("deliver".into(), "<topic>".into()),
        ],
    })
}

/// The same, with every value that the labels of the API and of polling may have.
fn documented() -> Metrics {
    let metrics = metrics();
    let requests = &metrics.http_requests;
    for (route, method, status) in api::usual_answers() {
        requests.with_label_values(&[route, method, &status.to_string()]);
    }
    for status in api::statuses() {
        requests.with_label_values(&[api::UNMATCHED, "GET", &status.to_string()]);
    }
    for group in Group::WORDS {
        metrics.last_poll.with_label_values(&[group]);
    }
    metrics
}

/// Writes docs/metrics.md from the declarations.
fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Every family of `/metrics` on the admin listener, with its type, its labels and their values, and when to\n\
         look at it. The standard `process_*` families of the Prometheus client are there too. Durations are in\n\
         seconds. A series whose labels are known at the start exists from then on, at zero; of the answers of the\n\
         API, those of a success and of what goes wrong most often. A list of values is closed: there are no others.\n\
         `<source topic>` and the like stand for names of the configuration.\n\n\
         This file is written from the declarations in `src/telemetry/metrics.rs`:\n\
         `UPDATE_DOCS=1 make test ARGS=\"--lib docs_metrics\"` writes it anew.\n",
    );
    let metrics = documented();
    for group in Group::WORDS {
        // Not at zero from the start; its labels are known all the same.
        metrics.last_poll.with_label_values(&[group]);
    }
    let families = metrics.registry.gather();
    for (name, kind, labels, help, look) in DECLARED {
        let kind = ["Counter", "Histogram", "Gauge"]
            .into_iter()
            .find(|word| kind.contains(word));
        let kind = kind.expect("a known kind");
        writeln!(text, "\n## `{name}`\n\n{kind}. {}\n", help.trim()).expect("text");
        let family = families.iter().find(|family| family.name() == *name);
        for label in *labels {
            let metrics = family.into_iter().flat_map(|family| family.get_metric());
            let values: BTreeSet<String> = metrics
                .flat_map(|metric| metric.get_label())
                .filter(|pair| pair.name() == *label)
                .map(|pair| format!("`{}`", pair.value()))
                .collect();
            let values = match values.is_empty() {
                true => "as they come".to_owned(),
                false => values.into_iter().collect::<Vec<_>>().join(", "),
            };
            writeln!(text, "- `{label}`: {values}").expect("text");
        }
        if !labels.is_empty() {
            text.push('\n');
        }
        writeln!(text, "When to look: {look}").expect("text");
    }
    text
}

#[test]
fn docs_metrics_lists_the_values_of_every_closed_label() {
    let text = document();
    let family = |name: &str| {
        let (_, rest) = text
            .split_once(&format!("## `bellwether_{name}`"))
            .expect("a family");
        rest.split("## ").next().expect("a text").to_owned()
    };
    let requests = family("http_requests_total");
    for value in [
        "`/api/docs`",
        "`/api/sites`",
        "`unmatched`",
        "`HEAD`, `OTHER`",
        "`405`, `408`, `409`",
    ] {
        assert!(requests.contains(value), "{value}: {requests}");
    }
    assert!(family("last_poll_timestamp_seconds").contains("- `role`: `deliver`, `detect`, `route`"));
    let open = text.lines().filter(|line| line.ends_with("as they come"));
    let open: Vec<&str> = open.collect();
    assert_eq!(
        open,
        ["version", "revision", "librdkafka", "hash"].map(|label| format!("- `{label}`: as they come"))
    );
}

#[test]
fn docs_metrics_has_every_family_as_it_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = document();
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever changes a metric")]
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/metrics.md");
    assert!(
        found == text,
        "docs/metrics.md is out of date; UPDATE_DOCS=1 writes it"
    );
}

#[test]
fn every_family_has_a_series_from_the_start() {
    let families = metrics().registry.gather();
    let names: BTreeSet<&str> = families.iter().map(|family| family.name()).collect();
    // The values of their labels are known only later.
    let later = [
        "bellwether_build_info",
        "bellwether_config_info",
        "bellwether_http_requests_total",
        // At zero it would say that threads last polled in 1970.
        "bellwether_last_poll_timestamp_seconds",
    ];
    for (name, _, _, _, look) in DECLARED {
        assert!(
            names.contains(name) || later.contains(name),
            "{name} has no series"
        );
        assert!(look.ends_with('.'), "{name}: {look}");
    }
}
