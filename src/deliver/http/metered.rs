//! The pace at which frames of HTTP/2 are taken from a connection, so that those of one endpoint
//! get no more than a share of the processor.
//!
//! A frame of 9 bytes costs as much as one of a kilobyte, and many kinds of them need no request:
//! an endpoint may send PING, SETTINGS, WINDOW_UPDATE or PRIORITY for ever. So what is bounded are
//! frames and kilobytes, whatever they are for.

use std::time::{Duration, Instant};

use super::paced::Pacing;
use crate::clock;

/// Cost that may come at once: some hundred answers.
const BURST: i64 = 2_048;
/// Cost that becomes possible in each millisecond: 2,000 answers a second of four frames each, or 8
/// MB of bodies.
const PER_MS: i64 = 8;
/// Content that costs as much as a frame.
const BYTES_OF_ONE: usize = 1_024;
/// Bytes of a frame's header (RFC 9113 §4.1).
const HEADER_BYTES: usize = 9;

/// The pace of frames.
#[derive(Debug)]
pub(super) struct FramePace {
    frames: FrameCosts,
    credit: Credit,
}

impl FramePace {
    pub(super) fn new() -> Self {
        Self {
            frames: FrameCosts::default(),
            credit: Credit {
                left: BURST,
                at: clock::monotonic(),
            },
        }
    }
}

impl Pacing for FramePace {
    fn pay(&mut self, bytes: &[u8]) -> Option<Duration> {
        let cost = self.frames.of(bytes);
        self.credit.pay(cost, clock::monotonic())
    }
}

/// Cost that a connection may still make.
#[derive(Debug)]
struct Credit {
    /// Below zero while what has come is paid off.
    left: i64,
    at: Instant,
}

impl Credit {
    /// Pays a cost. Returns the pause before the next read.
    fn pay(&mut self, cost: i64, now: Instant) -> Option<Duration> {
        self.left -= cost;
        if self.left > 0 {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        let earned = i64::try_from(elapsed).unwrap_or(i64::MAX).saturating_mul(PER_MS);
        self.left = self.left.saturating_add(earned).min(BURST);
        self.at = now;
        let owed_ms = 1 - self.left.div_euclid(PER_MS);
        (self.left <= 0).then(|| Duration::from_millis(owed_ms.unsigned_abs()))
    }
}

/// Finds the frames in bytes that come in pieces of any size.
#[derive(Debug, Default)]
struct FrameCosts {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header so far.
    have: usize,
    /// Bytes of content that are still to come.
    content: usize,
}

impl FrameCosts {
    /// Returns the cost of a piece.
    fn of(&mut self, mut piece: &[u8]) -> i64 {
        let mut cost = 0;
        while !piece.is_empty() {
            let taken = if self.content > 0 {
                let taken = self.content.min(piece.len());
                self.content -= taken;
                taken
            } else {
                let taken = (HEADER_BYTES - self.have).min(piece.len());
                self.header[self.have..self.have + taken].copy_from_slice(&piece[..taken]);
                self.have += taken;
                if self.have == HEADER_BYTES {
                    self.have = 0;
                    let [high, middle, low, ..] = self.header;
                    self.content = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                    cost += 1 + (self.content / BYTES_OF_ONE) as i64;
                }
                taken
            };
            piece = &piece[taken..];
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_cost_the_same_in_pieces_of_any_size(
            contents in prop::collection::vec(0_usize..5_000, 0..20),
            step in 1_usize..3_000,
        ) {
            let mut bytes = Vec::new();
            let mut wanted = 0;
            for content in &contents {
                bytes.extend_from_slice(&(*content as u32).to_be_bytes()[1..]);
                bytes.extend_from_slice(&[0xff; HEADER_BYTES - 3]);
                bytes.resize(bytes.len() + content, 0xff);
                wanted += 1 + (content / BYTES_OF_ONE) as i64;
            }
            let mut costs = FrameCosts::default();
            let cost: i64 = bytes.chunks(step).map(|piece| costs.of(piece)).sum();
            prop_assert_eq!(cost, wanted);
        }

        #[test]
        fn no_more_is_taken_than_the_burst_and_the_rate_allow(
            reads in prop::collection::vec((1_i64..2_000, 0_u64..40), 1..200),
        ) {
            let start = clock::monotonic();
            let mut credit = Credit { left: BURST, at: start };
            let (mut now, mut taken) = (start, 0);
            for (cost, idle_ms) in reads {
                let since_ms = now.duration_since(start).as_millis() as i64;
                prop_assert!(taken <= BURST + since_ms * PER_MS, "{taken} after {since_ms} ms");
                taken += cost;
                let pause = credit.pay(cost, now).unwrap_or_default();
                // Who has credit waits for nothing.
                prop_assert!(pause.is_zero() || taken >= BURST, "{taken}");
                now += pause + Duration::from_millis(idle_ms);
            }
        }
    }
}
