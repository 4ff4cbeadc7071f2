//! Delay topics of the retry chain: where a failed delivery waits until its next attempt is due.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest delay of a schedule, and longest `Retry-After` that is honoured. A record must not
/// outlive its topic's retention (7 d) while it waits.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(24 * 3_600);
/// Latest believable due time as a multiple of the next tier's delay: 6/5. Clocks differ, and
/// jitter adds up to a tenth.
const SLACK: (u128, u128) = (6, 5);

/// The error of a delay that cannot be a tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidDelay {
    #[error("`{0}` is not a delay such as 1s, 500ms or 5m")]
    NotADelay(String),
    #[error("{} is not a whole number of milliseconds above 0", humantime::format_duration(*.0))]
    NotWholeMillis(Duration),
    #[error("{} is longer than {}", humantime::format_duration(*.0), humantime::format_duration(MAX_DELAY))]
    TooLong(Duration),
}

/// One delay topic of the retry chain. Shown as the end of its topic's name: `1s`, `5m`, `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tier {
    delay_ms: u64,
}

impl Tier {
    /// Makes the tier of this delay.
    pub(crate) fn try_new(delay: Duration) -> Result<Self, InvalidDelay> {
        if delay > MAX_DELAY {
            return Err(InvalidDelay::TooLong(delay));
        }
        // At most a day of milliseconds: fits.
        let delay_ms = delay.as_millis() as u64;
        if delay_ms == 0 || !delay.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(InvalidDelay::NotWholeMillis(delay));
        }
        Ok(Self { delay_ms })
    }

    /// Makes the tier of a delay that is written in the code.
    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self {
            delay_ms: seconds * 1_000,
        }
    }

    /// Returns how long a record waits there.
    pub(crate) const fn delay(self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// Reads the tier from its topic's name; names of retry topics begin with `prefix`
    /// (`bellwether.retry.`). A name that this program would not give to a tier is none of its
    /// topics.
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
            (self.delay_ms / 3_600_000, "h"),
            (self.delay_ms / 60_000 % 60, "m"),
            (self.delay_ms / 1_000 % 60, "s"),
            (self.delay_ms % 1_000, "ms"),
        ];
        parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl FromStr for Tier {
    type Err = InvalidDelay;

    fn from_str(text: &str) -> Result<Self, InvalidDelay> {
        let delay = humantime::parse_duration(text)
            .map_err(|_| InvalidDelay::NotADelay(text.chars().take(64).collect()))?;
        Self::try_new(delay)
    }
}

/// The tiers that records are published to: the distinct delays of all configured schedules,
/// shortest first.
///
/// Topics of tiers that are no longer configured are still read ([`Tier::of_topic`]), so that they
/// run empty, but nothing new goes there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tiers(Vec<Tier>);

impl FromIterator<Tier> for Tiers {
    fn from_iter<I: IntoIterator<Item = Tier>>(tiers: I) -> Self {
        let mut tiers = Vec::from_iter(tiers);
        tiers.sort_unstable();
        tiers.dedup();
        Self(tiers)
    }
}

impl Tiers {
    /// Returns every tier, shortest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Tier> + '_ {
        self.0.iter().copied()
    }

    /// Chooses the tier for a record that is due in `remaining_ms`: the longest whose delay is not
    /// longer than that; none when there is no tier.
    ///
    /// A record that is due sooner than the shortest delay (or overdue, after a crash) goes to the
    /// shortest tier. It waits there until it is due and no longer: a tier holds records by their
    /// due time, and its delay only says where a record is put.
    pub(crate) fn for_remaining(&self, remaining_ms: i64) -> Option<Tier> {
        let remaining_ms = u64::try_from(remaining_ms).unwrap_or(0);
        self.0
            .iter()
            .rev()
            .find(|tier| tier.delay_ms <= remaining_ms)
            .or(self.0.first())
            .copied()
    }

    /// Returns when a record read from `tier` is to be tried: its due time, unless that is absurd.
    ///
    /// Absurd is more than 1.2 × the next tier's delay after the record was published, because a
    /// record due later than that would have been put on the next tier. After the longest tier the
    /// "next delay" is [`MAX_DELAY`]: a `Retry-After` may ask for so much, and such records wait on
    /// the longest tier. It counts from the publication and not from now, so that reading a record
    /// again after a restart does not postpone it again; a publication in the future counts as now.
    pub(crate) fn due_time(&self, tier: Tier, due_at_ms: i64, published_at_ms: i64, now_ms: i64) -> DueTime {
        let next_ms = self
            .0
            .iter()
            .find(|one| **one > tier)
            .map_or(MAX_DELAY.as_millis(), |one| u128::from(one.delay_ms));
        // At most 1.2 days: fits.
        let reach_ms = (next_ms * SLACK.0 / SLACK.1) as i64;
        let latest_ms = published_at_ms.min(now_ms).saturating_add(reach_ms);
        DueTime {
            at_ms: due_at_ms.min(latest_ms),
            clamped: due_at_ms > latest_ms,
        }
    }
}

/// The due time of a record as [`Tiers::due_time`] accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DueTime {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// The record asked for an absurd time and gets an earlier one; to be counted.
    pub(crate) clamped: bool,
}

#[cfg(test)]
mod tests;
