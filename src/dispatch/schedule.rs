//! When a failed delivery is tried again, and on which tier it waits until then.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// Longest delay of a schedule, and longest `Retry-After` that is honoured. A record must not outlive its topic's
/// retention (7 d) while it waits.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(24 * 3_600);
/// Most delays of a schedule.
pub(crate) const MAX_DELAYS: usize = 32;
/// A due time may lie this much further away than a tier explains (clocks differ, and jitter adds a tenth) before it is
/// taken for absurd: as a ratio, 6/5.
const SLACK: (u128, u128) = (6, 5);

/// The delays between the attempts of a delivery; `n` delays make `n + 1` attempts. May be empty: one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct RetrySchedule(Vec<Tier>);

/// Why delays make no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSchedule {
    #[error("`{0}` is not a delay such as 1s, 500ms or 5m")]
    NotADelay(String),
    #[error("{} is not a whole number of milliseconds above 0", humantime::format_duration(*.0))]
    NotWholeMillis(Duration),
    #[error("{} is longer than {}", humantime::format_duration(*.0), humantime::format_duration(MAX_DELAY))]
    TooLong(Duration),
    #[error("a schedule has at most {MAX_DELAYS} delays, this one has {0}")]
    TooMany(usize),
}

impl RetrySchedule {
    /// A schedule of these delays, in order. They need not grow.
    pub(crate) fn try_new(delays: Vec<Duration>) -> Result<Self, InvalidSchedule> {
        if delays.len() > MAX_DELAYS {
            return Err(InvalidSchedule::TooMany(delays.len()));
        }
        delays
            .into_iter()
            .map(Tier::try_new)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads delays such as `["1s", "2s", "4s"]`.
    pub(crate) fn parse<T: AsRef<str>>(delays: &[T]) -> Result<Self, InvalidSchedule> {
        if delays.len() > MAX_DELAYS {
            return Err(InvalidSchedule::TooMany(delays.len()));
        }
        delays
            .iter()
            .map(|text| text.as_ref().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The delay after attempt `attempt` (from 1) failed, as a tier; none when it was the last.
    pub(crate) fn tier_after(&self, attempt: u32) -> Option<Tier> {
        let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
        self.0.get(place).copied()
    }

    /// How many attempts there are in all.
    pub(crate) fn attempts(&self) -> usize {
        self.0.len() + 1
    }
}

impl Default for RetrySchedule {
    /// 1 s, 2 s, 4 s.
    fn default() -> Self {
        Self([1, 2, 4].map(|seconds| Tier { ms: seconds * 1_000 }).to_vec())
    }
}

impl TryFrom<Vec<String>> for RetrySchedule {
    type Error = InvalidSchedule;

    fn try_from(delays: Vec<String>) -> Result<Self, InvalidSchedule> {
        Self::parse(&delays)
    }
}

/// One delay topic of the retry chain. Shown as the end of its topic's name: `1s`, `5m`, `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tier {
    ms: u64,
}

impl Tier {
    /// The tier of this delay.
    pub(crate) fn try_new(delay: Duration) -> Result<Self, InvalidSchedule> {
        if delay > MAX_DELAY {
            return Err(InvalidSchedule::TooLong(delay));
        }
        // At most a day of milliseconds: fits.
        let ms = delay.as_millis() as u64;
        if ms == 0 || !delay.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(InvalidSchedule::NotWholeMillis(delay));
        }
        Ok(Self { ms })
    }

    /// Its delay.
    pub(crate) const fn delay(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    /// The tier whose topic is called `topic`, where retry topics begin with `prefix` (`bellwether.retry.`). A name this
    /// program would not give to a tier is none of its topics.
    pub(crate) fn of_topic(topic: &str, prefix: &str) -> Option<Self> {
        let suffix = topic.strip_prefix(prefix)?;
        let tier: Self = suffix.parse().ok()?;
        (tier.to_string() == suffix).then_some(tier)
    }
}

impl fmt::Display for Tier {
    /// Canonical: hours, minutes, seconds, milliseconds, without spaces and without zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.ms / 3_600_000, "h"),
            (self.ms / 60_000 % 60, "m"),
            (self.ms / 1_000 % 60, "s"),
            (self.ms % 1_000, "ms"),
        ];
        parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl FromStr for Tier {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let delay = humantime::parse_duration(text)
            .map_err(|_| InvalidSchedule::NotADelay(text.chars().take(64).collect()))?;
        Self::try_new(delay)
    }
}

/// The tiers that records are published to: the distinct delays of all configured schedules, shortest first.
///
/// Topics of tiers that are no longer configured are still read ([`Tier::of_topic`]), so that they run empty, but nothing
/// new goes there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tiers(Vec<Tier>);

impl Tiers {
    /// The tiers of these schedules.
    pub(crate) fn of<'a>(schedules: impl IntoIterator<Item = &'a RetrySchedule>) -> Self {
        let mut tiers: Vec<Tier> = schedules
            .into_iter()
            .flat_map(|one| one.0.iter().copied())
            .collect();
        tiers.sort_unstable();
        tiers.dedup();
        Self(tiers)
    }

    /// Every tier, shortest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Tier> + '_ {
        self.0.iter().copied()
    }

    /// The tier for a record that is due in `remaining_ms`: the longest whose delay is not longer than that. What is due
    /// sooner than the shortest delay (or overdue, after a crash) goes to the shortest tier, where it waits until due and no
    /// longer: a tier holds records by their due time, its delay is only where a record is put. None when there is no tier.
    pub(crate) fn for_remaining(&self, remaining_ms: i64) -> Option<Tier> {
        let remaining_ms = u64::try_from(remaining_ms).unwrap_or(0);
        self.0
            .iter()
            .rev()
            .find(|tier| tier.ms <= remaining_ms)
            .or(self.0.first())
            .copied()
    }

    /// When a record read from `tier` is to be tried: its due time, unless that is absurd, in which case [`DueTime::clamped`].
    ///
    /// Absurd is more than 1.2 × the next tier's delay after the record was published, because a record due later than that
    /// would have been put on the next tier. After the longest tier the "next delay" is [`MAX_DELAY`]: a `Retry-After` may ask
    /// for so much, and such records wait on the longest tier. It counts from the publication and not from now, so that reading
    /// a record again after a restart does not postpone it again; a publication in the future counts as now.
    pub(crate) fn due_time(&self, tier: Tier, due_at_ms: i64, published_at_ms: i64, now_ms: i64) -> DueTime {
        let next_ms = self
            .0
            .iter()
            .find(|one| **one > tier)
            .map_or(MAX_DELAY.as_millis(), |one| u128::from(one.ms));
        // At most 1.2 days: fits.
        let reach_ms = (next_ms * SLACK.0 / SLACK.1) as i64;
        let latest_ms = published_at_ms.min(now_ms).saturating_add(reach_ms);
        DueTime {
            at_ms: due_at_ms.min(latest_ms),
            clamped: due_at_ms > latest_ms,
        }
    }
}

/// What [`Tiers::due_time`] makes of a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DueTime {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// The record asked for an absurd time and gets an earlier one; to be counted.
    pub(crate) clamped: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(delays: &[&str]) -> RetrySchedule {
        RetrySchedule::parse(delays).expect("a schedule")
    }

    fn tier(text: &str) -> Tier {
        text.parse().expect("a tier")
    }

    #[test]
    fn the_default_schedule_makes_four_attempts() {
        let default = RetrySchedule::default();
        assert_eq!(default, schedule(&["1s", "2s", "4s"]));
        assert_eq!(default.attempts(), 4);
        let delays: Vec<_> = (0..6)
            .map(|n| default.tier_after(n).map(|tier| tier.delay().as_secs()))
            .collect();
        assert_eq!(delays, [None, Some(1), Some(2), Some(4), None, None]);
    }

    #[test]
    fn bad_delays_are_refused_by_name() {
        use InvalidSchedule::*;
        for (text, error) in [
            ("soon", NotADelay("soon".to_owned())),
            ("", NotADelay(String::new())),
            ("1", NotADelay("1".to_owned())),
            ("-1s", NotADelay("-1s".to_owned())),
            ("0s", NotWholeMillis(Duration::ZERO)),
            ("1500us", NotWholeMillis(Duration::from_micros(1_500))),
            ("25h", TooLong(Duration::from_secs(90_000))),
        ] {
            assert_eq!(RetrySchedule::parse(&["1s", text]), Err(error), "{text}");
        }
        assert_eq!(RetrySchedule::parse(&["1s"; 33]), Err(TooMany(33)));
        assert_eq!(
            TooLong(Duration::from_secs(90_000)).to_string(),
            "1day 1h is longer than 1day"
        );
    }

    #[test]
    fn tier_names_are_canonical_and_other_names_are_no_tiers() {
        for (text, name) in [
            ("1s", "1s"),
            ("1000ms", "1s"),
            ("60s", "1m"),
            ("5m", "5m"),
            ("90s", "1m30s"),
            ("1day", "24h"),
            ("1500ms", "1s500ms"),
            ("2h 30m", "2h30m"),
        ] {
            assert_eq!(tier(text).to_string(), name);
            let topic = format!("bellwether.retry.{name}");
            assert_eq!(Tier::of_topic(&topic, "bellwether.retry."), Some(tier(text)));
        }
        for topic in [
            "bellwether.retry.60s",
            "bellwether.retry.",
            "bellwether.retry.x",
            "bellwether.deliveries",
            "x.retry.1s",
        ] {
            assert_eq!(Tier::of_topic(topic, "bellwether.retry."), None, "{topic}");
        }
    }

    #[test]
    fn third_failure_goes_to_the_four_second_tier() {
        let tiers = Tiers::of(&[schedule(&["1s", "2s", "4s"]), schedule(&["2s", "1m", "1m"])]);
        assert_eq!(
            tiers.iter().map(|tier| tier.to_string()).collect::<Vec<_>>(),
            ["1s", "2s", "4s", "1m"]
        );
        for (remaining_ms, name) in [
            (-5, "1s"),
            (0, "1s"),
            (999, "1s"),
            (1_000, "1s"),
            (1_999, "1s"),
            (2_000, "2s"),
            (4_000, "4s"),
            (59_999, "4s"),
            (66_000, "1m"),
            (86_400_000, "1m"),
        ] {
            assert_eq!(
                tiers.for_remaining(remaining_ms),
                Some(tier(name)),
                "{remaining_ms}"
            );
        }
        assert_eq!(Tiers::default().for_remaining(1), None);
    }

    #[test]
    fn a_due_time_past_what_the_tier_explains_is_clamped() {
        let tiers = Tiers::of(&[schedule(&["1s", "2s", "4s"])]);
        let day = 86_400_000;
        for (name, due, published, now, at, clamped) in [
            ("1s", 1_000, 0, 0, 1_000, false),
            ("1s", 2_400, 0, 0, 2_400, false),
            ("1s", 2_401, 0, 0, 2_400, true),
            ("2s", 4_800, 0, 100, 4_800, false),
            ("2s", i64::MAX, 0, 100, 4_800, true),
            ("4s", day, 0, 0, day, false),
            ("4s", 2 * day, 0, 0, day * 6 / 5, true),
            ("1s", i64::MIN, 0, 0, i64::MIN, false),
            // A tier that is no longer configured, and a producer whose clock runs ahead.
            ("1s500ms", 2_400, 0, 0, 2_400, false),
            ("1s", 10_000, 9_000, 0, 2_400, true),
        ] {
            let expected = DueTime { at_ms: at, clamped };
            assert_eq!(
                tiers.due_time(tier(name), due, published, now),
                expected,
                "{name} {due}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_published_to_its_tier_is_never_clamped(delays in proptest::collection::vec(1_u64..86_400_000, 1..8), remaining_ms in 0_i64..=86_400_000, lag_ms in 0_i64..100_000) {
            let schedule = RetrySchedule::try_new(delays.into_iter().map(Duration::from_millis).collect()).expect("a schedule");
            let tiers = Tiers::of([&schedule]);
            let tier = tiers.for_remaining(remaining_ms).expect("a tier");
            let due = tiers.due_time(tier, remaining_ms, 0, lag_ms);
            prop_assert_eq!(due, DueTime { at_ms: remaining_ms, clamped: false });
        }

        #[test]
        fn every_tier_is_read_back_from_its_topic(ms in 1_u64..=86_400_000) {
            let tier = Tier::try_new(Duration::from_millis(ms)).expect("a tier");
            prop_assert_eq!(Tier::of_topic(&format!("p.retry.{tier}"), "p.retry."), Some(tier));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Tier>();
        }
    }
}
