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

/// Longest time in milliseconds without any partition, as in a rebalance, after which records of
/// before still tell what is to be expected.
const MAX_GAP_MS: i64 = 60_000;

/// The records of one source in the last hour, by minute of the wall clock.
#[derive(Debug, Clone)]
pub(crate) struct SourceSilence {
    counts: [i64; MINUTES],
    /// Minute of the latest count since the Unix epoch.
    minute: i64,
    /// Time of the latest record, or of the beginning.
    last_ms: i64,
    /// Partitions of the source that are read, or were before they were given back.
    partitions: usize,
    /// When they were given back.
    given_back_ms: Option<i64>,
}

/// Records that the brokers hold of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeldRecords {
    pub(crate) last_hour: i64,
    pub(crate) last_minute: i64,
}

impl SourceSilence {
    /// Begins to watch.
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            counts: [0; MINUTES],
            minute: now_ms.div_euclid(MINUTE_MS),
            last_ms: now_ms,
            partitions: 0,
            given_back_ms: None,
        }
    }

    /// True if nothing is known from watching of what is to be expected.
    pub(crate) fn is_new(&self, now_ms: i64) -> bool {
        let is_old = |at: i64| now_ms - at > MAX_GAP_MS;
        self.partitions == 0 || self.given_back_ms.is_some_and(is_old)
    }

    /// Begins to watch partitions of which the brokers hold so many records.
    pub(crate) fn begin(&mut self, partitions: usize, held: HeldRecords, now_ms: i64) {
        *self = Self::new(now_ms);
        self.partitions = partitions;
        self.counts = [held.last_hour / MINUTES as i64; MINUTES];
        self.counts[place_of(self.minute)] += held.last_hour % MINUTES as i64;
        if held.last_minute == 0 {
            self.last_ms = now_ms - MINUTE_MS;
        }
    }

    /// Goes on with another number of partitions: a silence under way is not over by it, and as
    /// many times more records are to be expected.
    pub(crate) fn go_on(&mut self, partitions: usize) {
        if partitions == 0 {
            return;
        }
        self.given_back_ms = None;
        let (new, old) = (partitions as i64, self.partitions.max(1) as i64);
        for count in &mut self.counts {
            *count = count.saturating_mul(new) / old;
        }
        self.partitions = partitions;
    }

    /// Notes that the partitions are given back.
    pub(crate) fn give_back(&mut self, now_ms: i64) {
        self.given_back_ms.get_or_insert(now_ms);
    }

    /// Notes records that came by now.
    pub(crate) fn add(&mut self, records: usize, now_ms: i64) {
        self.move_to(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
        if let Some(count) = self.counts.get_mut(place_of(self.minute)) {
            *count = count.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
        }
    }

    /// Notes a record that is read again, and was written at `at_ms`: it counted before.
    pub(crate) fn note_replayed(&mut self, at_ms: i64, now_ms: i64) {
        self.last_ms = self.last_ms.max(at_ms.min(now_ms));
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
    fn a_rebalance_ends_no_silence() {
        let mut source = SourceSilence::new(NOW);
        source.begin(12, HeldRecords::default(), NOW);
        for second in 0..60 {
            source.add(12, NOW + second * 1_000);
        }
        let silent = NOW + 200_000;
        assert!(source.is_silent(|| 20, silent));
        source.give_back(silent);
        assert!(!source.is_new(silent + 5_000));
        // Two thirds of them are left, so two thirds of the records are to be expected.
        source.go_on(8);
        assert!(source.is_silent(|| 20, silent + 5_000));
        assert_eq!(source.counts.iter().sum::<i64>(), 480);
        source.give_back(silent + 6_000);
        assert!(source.is_new(silent + 70_000), "others had them for long");
    }

    #[test]
    fn a_process_that_starts_in_a_silence_knows_what_to_expect() {
        let held = |last_hour, last_minute| HeldRecords {
            last_hour,
            last_minute,
        };
        let begun = |held| {
            let mut source = SourceSilence::new(NOW);
            source.begin(4, held, NOW);
            source
        };
        assert!(begun(held(3_000, 0)).is_silent(|| 20, NOW));
        assert!(!begun(held(3_000, 1)).is_silent(|| 20, NOW));
        assert!(!begun(held(0, 0)).is_silent(|| 20, NOW + 59_000));
        // What is read again tells when the last one came.
        let mut late = begun(held(60, 0));
        assert!(!late.is_silent(|| 20, NOW));
        assert!(late.is_silent(|| 20, NOW + 14 * MINUTE_MS));
        late.note_replayed(NOW + 5 * MINUTE_MS, NOW + 14 * MINUTE_MS);
        assert!(!late.is_silent(|| 20, NOW + 14 * MINUTE_MS));
    }

    #[test]
    fn a_source_that_never_had_records_is_not_silent() {
        let mut source = SourceSilence::new(NOW);
        assert!(!source.is_silent(|| 1_000, NOW + 10 * MINUTE_MS));
    }
}
