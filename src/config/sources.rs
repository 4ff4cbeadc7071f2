//! `[[sources]]`: the topics that events are read from.

use serde::Deserialize;

use super::problems::{Problems, quoted};
use super::topic_name::is_topic_name;
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
    pub clock: Clock,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            topic: "analytics.events".into(),
            format: SourceFormat::Native,
            clock: Clock::Live,
        }
    }
}

words! {
    /// Format of a source's records.
    pub enum SourceFormat {
        /// Bellwether's own JSON.
        Native = "native",
    }
}

words! {
    /// Clock that tells a source's time.
    pub enum Clock {
        /// Events happen now; the wall clock moves silent sites on.
        Live = "live",
        /// Replays of files: only the events' own timestamps count.
        Log = "log",
    }
}

impl Sources {
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
        }
    }
}
