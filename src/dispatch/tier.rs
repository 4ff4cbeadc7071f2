//! Delay topics of the retry chain: where a failed delivery waits until its next attempt is due.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest delay of a schedule, and longest `Retry-After` that is honoured. A record must not
/// outlive its topic's retention (7 d) while it waits.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(24 * 3_600);
/// Latest due time of what is published to a tier, as a multiple of its delay: jitter adds up to a
/// tenth.
const PUBLISHED: (i64, i64) = (11, 10);
/// Latest due time of what is read from a tier and held for it. Clocks differ.
const READ: (i64, i64) = (6, 5);

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

    /// True if a record read from the tier, due in `remaining_ms`, is to wait for that in memory;
    /// another is parked, because it would keep the place of records that are due.
    pub(crate) fn may_hold(self, remaining_ms: i64) -> bool {
        self.holds(remaining_ms, READ)
    }

    fn holds(self, remaining_ms: i64, (numerator, denominator): (i64, i64)) -> bool {
        // At most a day of milliseconds: fits.
        remaining_ms.saturating_mul(denominator) <= self.delay_ms as i64 * numerator
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

    /// Chooses the tier for a record that is due in `remaining_ms`: the shortest that holds such a
    /// record; none when even the longest does not.
    ///
    /// A tier holds what is due within its own delay and a tenth more, for jitter. So nothing waits
    /// on a tier for long, and what is due later is parked in Postgres.
    pub(crate) fn fitting(&self, remaining_ms: i64) -> Option<Tier> {
        self.0
            .iter()
            .copied()
            .find(|tier| tier.holds(remaining_ms, PUBLISHED))
    }

    /// Returns the tier with the longest delay; none when there is no tier.
    pub(crate) fn longest(&self) -> Option<Tier> {
        self.0.last().copied()
    }
}

/// Returns when a record published at `published_at_ms` is to be tried: its due time, unless that
/// is absurd.
///
/// Absurd is more than 1.2 × [`MAX_DELAY`] after the record was published, because nothing is due
/// later. It counts from the publication and not from now, so that reading a record again after a
/// restart does not postpone it again; a publication in the future counts as now.
pub(crate) fn due_time(due_at_ms: i64, published_at_ms: i64, now_ms: i64) -> DueTime {
    // 1.2 days: fits.
    let reach_ms = MAX_DELAY.as_millis() as i64 * READ.0 / READ.1;
    let latest_ms = published_at_ms.min(now_ms).saturating_add(reach_ms);
    DueTime {
        at_ms: due_at_ms.min(latest_ms),
        clamped: due_at_ms > latest_ms,
    }
}

/// The due time of a record as [`due_time`] accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DueTime {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// The record asked for an absurd time and gets an earlier one; to be counted.
    pub(crate) clamped: bool,
}

#[cfg(test)]
mod tests;
