//! `[[sources]]`: the topics that events are read from.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::problems::{Problems, quoted};
use super::topic_name::is_topic_name;
use crate::domain::event::{EventKind, SourceClock};
use crate::domain::site::check_site_id;
use crate::domain::words::words;

/// The source topics, at least one.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Sources(pub Vec<Source>);

impl Default for Sources {
    fn default() -> Self {
        Self(vec![Source::default()])
    }
}

/// One source topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    pub topic: String,
    pub format: SourceFormat,
    pub clock: SourceClock,
    /// True if records have their site's id as key. By default those of the native format do.
    pub keyed: Option<bool>,
    /// The site of records that name none.
    pub site: Option<String>,
    /// The places of an event's fields, for the format `mapped`.
    pub mapping: Option<SourceMapping>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            topic: "analytics.events".into(),
            format: SourceFormat::Native,
            clock: SourceClock::Live,
            keyed: None,
            site: None,
            mapping: None,
        }
    }
}

/// `[sources.mapping]`: JSON pointers (RFC 6901) such as `/page/path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceMapping {
    pub(crate) site_id: Option<String>,
    pub(crate) visitor_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) source: Option<String>,
    /// Event types by the producer's words for them.
    pub(crate) types: BTreeMap<String, EventKind>,
}

words! {
    /// Format of a source's records.
    pub enum SourceFormat {
        /// Bellwether's own JSON.
        Native = "native",
        /// Umami's `event` topic.
        Umami = "umami",
        /// Plausible's events, written by ClickHouse.
        Plausible = "plausible",
        /// PostHog's `clickhouse_events_json`.
        Posthog = "posthog",
        /// Calls of Segment's form: RudderStack, Jitsu.
        Segment = "segment",
        /// The native format in CloudEvents.
        Cloudevents = "cloudevents",
        /// JSON whose fields are found by `[sources.mapping]`.
        Mapped = "mapped",
    }
}

impl Source {
    /// True if the detector reads the topic itself, because records have their site's id as key.
    pub fn is_keyed(&self) -> bool {
        self.keyed.unwrap_or(self.format == SourceFormat::Native)
    }

    /// A line about a source that says it is keyed by site although no producer of its format keys
    /// so.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.keyed == Some(true) && self.format != SourceFormat::Native).then(|| {
            format!(
                "{} has keyed = true, but producers of the format {} do not use the site's id as key by themselves: unless \
                 yours does, a site's visitors are counted in several places; without `keyed` the role `route` keys the \
                 records",
                self.topic, self.format
            )
        })
    }
}

impl Sources {
    /// The sources that the detector reads itself.
    pub(crate) fn keyed(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(|source| source.is_keyed())
    }

    /// The sources that the role `route` reads.
    pub(crate) fn unkeyed(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(|source| !source.is_keyed())
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let sources = &self.0;
        problems.check(
            !sources.is_empty(),
            "sources",
            "[]",
            "at least one [[sources]] with a topic is needed",
        );
        for (i, source) in sources.iter().enumerate() {
            problems.check(
                is_topic_name(&source.topic),
                &format!("sources[{i}].topic"),
                quoted(&source.topic),
                "allowed: 1 to 249 of the characters a-z A-Z 0-9 . _ -",
            );
            problems.check(
                !sources[..i].iter().any(|other| other.topic == source.topic),
                &format!("sources[{i}].topic"),
                quoted(&source.topic),
                "named twice",
            );
            if let Some(site) = &source.site {
                problems.check(
                    check_site_id(site).is_ok(),
                    &format!("sources[{i}].site"),
                    quoted(site),
                    "allowed: 1 to 255 bytes without control characters",
                );
            }
            source.validate_mapping(&format!("sources[{i}].mapping"), problems);
        }
    }

    /// Refuses a source that is one of Bellwether's own topics, from which records would come back.
    pub(super) fn validate_against(&self, own_prefix: &str, problems: &mut Problems) {
        for (i, source) in self.0.iter().enumerate() {
            let own = source
                .topic
                .strip_prefix(own_prefix)
                .and_then(|rest| rest.strip_prefix('.'));
            let is_own = own.is_some_and(|name| OWN_TOPICS.contains(&name) || name.starts_with("retry."));
            problems.check(
                !is_own,
                &format!("sources[{i}].topic"),
                quoted(&source.topic),
                "this is one of Bellwether's own topics, which it writes to",
            );
        }
    }
}

/// Names of Bellwether's topics after the prefix, but for the tiers.
const OWN_TOPICS: [&str; 5] = [
    "events",
    "deliveries",
    "dead-letter",
    "rejected",
    "detector-state",
];

impl Source {
    fn validate_mapping(&self, key: &str, problems: &mut Problems) {
        let Some(mapping) = &self.mapping else {
            problems.check(
                self.format != SourceFormat::Mapped,
                key,
                "none",
                "format = \"mapped\" needs [sources.mapping] with a JSON pointer for each field",
            );
            return;
        };
        problems.check(
            self.format == SourceFormat::Mapped,
            key,
            "{…}",
            "allowed: only with format = \"mapped\"",
        );
        for (name, pointer) in mapping.pointers() {
            if let Some(pointer) = pointer {
                problems.check(
                    is_pointer(pointer),
                    &format!("{key}.{name}"),
                    quoted(pointer),
                    "allowed: a JSON pointer such as \"/page/path\" (~ is written ~0, / in a name ~1)",
                );
            }
        }
        problems.check(
            mapping.site_id.is_some() || self.site.is_some(),
            &format!("{key}.site_id"),
            "none",
            "needed unless the source has a `site`: the place of the site's id",
        );
        problems.check(
            mapping.kind.is_some() || mapping.types.is_empty(),
            &format!("{key}.types"),
            "{…}",
            "allowed: only with `type`, the place of the words that it translates",
        );
    }
}

impl SourceMapping {
    /// Every place by its key.
    fn pointers(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("site_id", &self.site_id),
            ("visitor_id", &self.visitor_id),
            ("type", &self.kind),
            ("name", &self.name),
            ("path", &self.path),
            ("timestamp", &self.timestamp),
            ("event_id", &self.event_id),
            ("source", &self.source),
        ]
    }
}

/// True for a JSON pointer to something inside a record (RFC 6901).
fn is_pointer(text: &str) -> bool {
    let tildes_ok = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && text.len() <= 1_000 && tildes_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_native_sources_are_keyed_by_themselves() {
        for format in SourceFormat::ALL {
            let source = Source {
                format,
                ..Source::default()
            };
            assert_eq!(source.is_keyed(), format == SourceFormat::Native, "{format}");
            assert_eq!(source.warning(), None);
            let keyed = |keyed| Source {
                keyed: Some(keyed),
                ..source.clone()
            };
            assert!(keyed(true).is_keyed() && !keyed(false).is_keyed());
            assert_eq!(keyed(true).warning().is_some(), format != SourceFormat::Native);
        }
    }

    #[test]
    fn a_pointer_begins_with_a_slash_and_escapes_its_tildes() {
        for (text, is_one) in [
            ("/a", true),
            ("/a/0/b~1c~0", true),
            ("/", true),
            ("", false),
            ("a", false),
            ("$.a", false),
            ("/a~2", false),
            ("/a~", false),
        ] {
            assert_eq!(is_pointer(text), is_one, "{text}");
        }
    }
}
