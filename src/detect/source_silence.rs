//! Silence of a whole source: no record of any site, where there should be some. It is more likely
//! the producer's fault than that of every site at once.

/// Sites with events in the last hour, from which on a silence is told.
const MIN_SITES: usize = 20;
/// Shortest silence, in milliseconds.
const MIN_SILENCE_MS: i64 = 60_000;
/// Records whose absence is no chance.
const MIN_RECORDS: i64 = 14;
const MINUTE_MS: i64 = 60_000;
const MINUTES: usize = 60;

/// The records of one source in the last hour, by minute of the wall clock.
#[derive(Debug, Clone)]
pub(crate) struct SourceSilence {
    counts: [i64; MINUTES],
    /// Minute of the latest count since the Unix epoch.
    minute: i64,
    /// Time of the latest record, or of the beginning.
    last_ms: i64,
}

impl SourceSilence {
    /// Begins to watch.
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            counts: [0; MINUTES],
            minute: now_ms.div_euclid(MINUTE_MS),
            last_ms: now_ms,
        }
    }

    /// Notes records that came by now.
    pub(crate) fn add(&mut self, records: usize, now_ms: i64) {
        self.move_to(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
        if let Some(count) = self.counts.get_mut(place_of(self.minute)) {
            *count = count.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
        }
    }

    /// True if so many records were expected since the last one, in the last hour, that their
    /// absence is no chance. `sites` gives the number of sites with events of the source in that
    /// hour, and is asked only where the rest is met.
    pub(crate) fn is_silent(&mut self, sites: impl FnOnce() -> usize, now_ms: i64) -> bool {
        self.move_to(now_ms);
        let hour: i64 = self
            .counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count));
        let silent_ms = now_ms - self.last_ms;
        // Of the hour, the records came in the time before the silence.
        let heard_ms = (MINUTES as i64 * MINUTE_MS - silent_ms).max(1);
        silent_ms >= MIN_SILENCE_MS
            && hour.saturating_mul(silent_ms) >= MIN_RECORDS.saturating_mul(heard_ms)
            && sites() >= MIN_SITES
    }

    /// Time of the latest record, or of the beginning, in milliseconds since the Unix epoch.
    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Forgets the minutes that are over an hour old.
    fn move_to(&mut self, now_ms: i64) {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let passed = (minute - self.minute).clamp(0, MINUTES as i64);
        for ago in 0..passed {
            self.counts[place_of(minute - ago)] = 0;
        }
        self.minute = self.minute.max(minute);
    }
}

fn place_of(minute: i64) -> usize {
    // Below sixty.
    minute.rem_euclid(MINUTES as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_020_800_000;

    /// A source with so many records in each of the last sixty minutes, the last one at `NOW`.
    fn steady(records: usize) -> SourceSilence {
        let mut source = SourceSilence::new(NOW - 60 * MINUTE_MS);
        for minute in (0..60).rev() {
            source.add(records, NOW - minute * MINUTE_MS);
        }
        source
    }

    #[test]
    fn a_busy_source_is_silent_after_a_minute() {
        let mut source = steady(1_000);
        assert!(!source.is_silent(|| 20, NOW + 59_999));
        assert!(source.is_silent(|| 20, NOW + 60_000));
        assert!(!source.is_silent(|| 19, NOW + 60_000), "too few sites");
        source.add(1, NOW + 61_000);
        assert!(!source.is_silent(|| 20, NOW + 62_000));
    }

    #[test]
    fn a_quiet_source_is_silent_when_fourteen_were_expected() {
        let mut source = steady(1);
        assert!(!source.is_silent(|| 20, NOW + 10 * MINUTE_MS));
        assert!(source.is_silent(|| 20, NOW + 14 * MINUTE_MS));
    }

    #[test]
    fn an_hour_of_nothing_is_no_silence_any_more() {
        let mut source = steady(1_000);
        assert!(
            !source.is_silent(|| 20, NOW + 61 * MINUTE_MS),
            "nothing is expected"
        );
    }

    #[test]
    fn a_source_that_never_had_records_is_not_silent() {
        let mut source = SourceSilence::new(NOW);
        assert!(!source.is_silent(|| 1_000, NOW + 10 * MINUTE_MS));
    }
}
