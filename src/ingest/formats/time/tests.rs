use super::*;
use crate::domain::time::LAST_MS;
use proptest::prelude::*;

#[test]
fn times_in_the_forms_of_rfc_3339() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-02-25T12:00:00Z", Some(1_772_020_800_000)),
        ("2026-02-25T12:00:00.5Z", Some(1_772_020_800_500)),
        ("2026-02-25T12:00:00.123456789Z", Some(1_772_020_800_123)),
        ("2026-02-25T13:00:00+01:00", Some(1_772_020_800_000)),
        ("2026-02-25t12:00:00z", Some(1_772_020_800_000)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
        ("2023-02-29T00:00:00Z", None),
        ("2026-02-25T24:00:00Z", None),
        ("2026-02-25T12:00:00", None),
        ("2026-02-25", None),
        ("2026-02-25T12:00:00.Z", None),
        ("2026-02-25T12:00:00.12x4Z", None),
        ("1772020800000", None),
        ("", None),
    ] {
        assert_eq!(rfc3339_ms(text), ms, "{text}");
    }
}

proptest! {
    #[test]
    fn reading_by_position_agrees_with_chrono(ms in 0..=LAST_MS, digits in 0_usize..=9) {
        let at = DateTime::from_timestamp_millis(ms).expect("in range");
        let text = match digits {
            0 => at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            n => format!("{}.{:.n$}Z", at.format("%Y-%m-%dT%H:%M:%S"), &format!("{:03}000000", ms % 1_000)),
        };
        prop_assert_eq!(
            plain_utc_ms(text.as_bytes()),
            DateTime::parse_from_rfc3339(&text).ok().map(|at| at.timestamp_millis()),
            "{}", text
        );
    }

    #[test]
    fn no_text_panics_and_both_readers_agree(text in "[0-9TZtz:.+ -]{0,30}|\\PC{0,30}") {
        if let Some(ms) = plain_utc_ms(text.as_bytes()) {
            let chrono = DateTime::parse_from_rfc3339(&text).map(|at| at.timestamp_millis());
            prop_assert_eq!(Ok(ms), chrono);
        }
        let _ = rfc3339_ms(&text);
    }
}
