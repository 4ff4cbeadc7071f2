//! Durations in words: `"30s"`, `"15m"`, `"250ms"`.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads one duration.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and a unit, such as \"30s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
            Err(E::custom(format!(
                "a duration has a unit; allowed: for {number} seconds write \"{number}s\", for days \"{number}d\""
            )))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
            match u64::try_from(number) {
                Ok(number) => self.visit_u64(number),
                Err(_) => parse(&number.to_string()).map_err(E::custom),
            }
        }
    }

    deserializer.deserialize_any(Text)
}

/// Parses a duration; the error names the allowed form.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!(
            "`{text}` is not a duration ({error}); allowed: a number and a unit, such as \"250ms\", \"30s\", \"15m\", \"6h\""
        )
    })
}
