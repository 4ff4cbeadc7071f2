//! Durations as people write them: `"30s"`, `"15m"`, `"250ms"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads one duration.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// `text` as a duration, or what is wrong with it and what is allowed.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration ({error}); allowed: a number and a unit, such as \"250ms\", \"30s\", \"15m\", \"6h\""))
}
