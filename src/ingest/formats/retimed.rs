//! Native records that are published anew, with another time. Meant for records that were read
//! without an error.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::loose::{Entries, Loose, LooseObject};
use super::repair;
use super::time::{self, NumberTime};
use crate::domain::event::WrongTimeUnit;
use crate::domain::time::LAST_MS;

/// A native record with another timestamp; every other value stays byte for byte.
pub(crate) fn with_timestamp(record: &[u8], at_ms: i64) -> anyhow::Result<Vec<u8>> {
    let text = repair::without_mark(std::str::from_utf8(record)?);
    let rewritten = |text: &str| -> serde_json::Result<Vec<u8>> {
        let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
        let timestamp = serde_json::value::to_raw_value(&at_ms)?;
        fields.insert("timestamp".to_owned(), &timestamp);
        serde_json::to_vec(&fields)
    };
    Ok(rewritten(text).or_else(|error| match repair::repair(text) {
        Some(repaired) => rewritten(&repaired),
        None => Err(error),
    })?)
}

/// The time of a native record that is written in another unit than milliseconds, in milliseconds
/// since the Unix epoch; `None` if it lies outside of the years 1970 to 9999.
pub(crate) fn converted_ms(record: &[u8]) -> Option<i64> {
    let text = repair::without_mark(std::str::from_utf8(record).ok()?);
    let read = |text: &str| match serde_json::from_str(text) {
        Ok(LooseObject::Object(OwnTime(time))) => in_ms(&time),
        _ => None,
    };
    let ms = read(text).or_else(|| read(&repair::repair(text)?))?;
    (0..=LAST_MS).contains(&ms).then_some(ms)
}

fn in_ms(time: &Loose<'_>) -> Option<i64> {
    let (judged, number) = match *time {
        Loose::Integer(number) => (time::judge(number), number as f64),
        Loose::Number(number) => (time::judge_float(number), number),
        _ => return None,
    };
    // Sixteen digits are more than milliseconds until the year 9999 have.
    let ms = match judged {
        NumberTime::Ms(ms) => return Some(ms),
        NumberTime::Wrong(WrongTimeUnit::Seconds) => number * 1e3,
        NumberTime::Wrong(WrongTimeUnit::Microseconds) => number / 1e3,
        NumberTime::Wrong(WrongTimeUnit::Nanoseconds) => number / 1e6,
    };
    Some(ms.floor() as i64)
}

/// The timestamp of a record, as it is written.
#[derive(Default)]
struct OwnTime<'a>(Loose<'a>);

impl<'de> Entries<'de> for OwnTime<'de> {
    fn entry<A: serde::de::MapAccess<'de>>(
        &mut self,
        key: std::borrow::Cow<'de, str>,
        entries: &mut A,
    ) -> Result<(), A::Error> {
        match &*key {
            "timestamp" => self.0 = entries.next_value()?,
            _ => {
                entries.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_timestamp_leaves_the_rest_of_a_record_alone() {
        for (record, rewritten) in [
            (
                r#"{"timestamp":"2015-05-17T10:05:03Z","site_id":"a","revenue":{"amount":"1.50","x":1.0e2}}"#,
                r#"{"revenue":{"amount":"1.50","x":1.0e2},"site_id":"a","timestamp":7}"#,
            ),
            ("\u{feff}{\"site_id\":\"a\"}", r#"{"site_id":"a","timestamp":7}"#),
            (r#"{"k\ud83d":1}"#, "{\"k\u{fffd}\":1,\"timestamp\":7}"),
        ] {
            let moved = with_timestamp(record.as_bytes(), 7).expect(record);
            assert_eq!(String::from_utf8(moved).expect("UTF-8"), rewritten);
        }
    }

    #[test]
    fn a_time_in_another_unit_is_converted() {
        for (time, ms) in [
            ("1431857103", Some(1_431_857_103_000)),
            ("1431857103.5", Some(1_431_857_103_500)),
            ("1431857103000500", Some(1_431_857_103_000)),
            ("1431857103000500000", Some(1_431_857_103_000)),
            ("-1", None),
            ("1e999", None),
        ] {
            let record = format!("\u{feff}{{\"x\\ud83d\":0,\"timestamp\":{time}}}");
            assert_eq!(converted_ms(record.as_bytes()), ms, "{time}");
        }
    }
}
