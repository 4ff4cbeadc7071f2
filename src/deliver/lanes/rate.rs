//! A token bucket: as many tokens as come in a second may be taken at once.

use std::time::{Duration, Instant};

/// Tokens that come with time. Without a rate there is always one.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: Option<f64>,
    tokens: f64,
    counted_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(per_second: Option<u32>, now: Instant) -> Self {
        let per_second = per_second.map(f64::from);
        Self {
            per_second,
            tokens: per_second.unwrap_or_default().max(1.0),
            counted_at: now,
        }
    }

    /// Changes the rate. Tokens beyond the new rate's second are lost.
    pub(super) fn set_rate(&mut self, per_second: Option<u32>, now: Instant) {
        self.fill(now);
        let was_unlimited = self.per_second.is_none();
        self.per_second = per_second.map(f64::from);
        if let Some(rate) = self.per_second {
            let most = rate.max(1.0);
            self.tokens = if was_unlimited {
                most
            } else {
                self.tokens.min(most)
            };
        }
    }

    /// The instant of the next token, or none if one is there now.
    pub(super) fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        let rate = self.per_second?;
        if self.tokens >= 1.0 {
            return None;
        }
        // A little more than exact, so that the token is surely there when the time has come.
        Some(now + Duration::from_secs_f64((1.0 - self.tokens) / rate) + Duration::from_micros(1))
    }

    /// True if as many tokens are there as may be.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.per_second.is_none_or(|rate| self.tokens >= rate.max(1.0))
    }

    /// Uses a token that is there.
    pub(super) fn take(&mut self) {
        if self.per_second.is_some() {
            self.tokens -= 1.0;
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.counted_at = self.counted_at.max(now);
        if let Some(rate) = self.per_second {
            self.tokens = (self.tokens + passed * rate).min(rate.max(1.0));
        }
    }
}
