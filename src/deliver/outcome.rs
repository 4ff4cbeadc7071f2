//! Decides what follows an attempt: nothing, the next attempt, or the end.

use std::time::{Duration, UNIX_EPOCH};

use crate::dispatch::schedule::RetrySchedule;
use crate::dispatch::tier::{MAX_DELAY, Tier, Tiers};
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::FailureReason;

/// Shortest delay that gets jitter: below it a delay is too short to gather a crowd, and its
/// lateness is measured.
const JITTER_FROM: Duration = Duration::from_secs(30);

/// An attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedAttempt<'a> {
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) result: AttemptResult,
    /// The response's `Retry-After`, as it came.
    pub(crate) retry_after: Option<&'a str>,
    /// Milliseconds since the Unix epoch; delays count from here.
    pub(crate) ended_at_ms: i64,
}

/// Continuation of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Delivered,
    /// `attempt` is to be made at `due_at_ms` (milliseconds since the Unix epoch), and waits on
    /// `tier` until then.
    Retry {
        attempt: u32,
        due_at_ms: i64,
        tier: Tier,
    },
    Failed {
        reason: FailureReason,
    },
}

/// Decides what follows. `chance` is in `0.0..1.0`.
///
/// The next attempt is due at the later of two times. One is the schedule's delay, with up to a
/// tenth more from 30 s on. The other is what the endpoint asked for with `Retry-After`, on any
/// kind of failure; it gets no jitter, because the endpoint named a time. A `Retry-After` makes no
/// attempt more than the schedule has.
pub(crate) fn next(ended: &EndedAttempt<'_>, schedule: &RetrySchedule, tiers: &Tiers, chance: f64) -> Next {
    match ended.result {
        AttemptResult::Success => return Next::Delivered,
        AttemptResult::Gone => {
            return Next::Failed {
                reason: FailureReason::Gone,
            };
        }
        _ => {}
    }
    let (Some(tier), Some(attempt)) = (schedule.tier_after(ended.attempt), ended.attempt.checked_add(1))
    else {
        return Next::Failed {
            reason: FailureReason::Exhausted,
        };
    };
    let mut wait_ms = to_millis(tier.delay());
    if tier.delay() >= JITTER_FROM {
        wait_ms += (wait_ms as f64 * 0.1 * chance.clamp(0.0, 1.0)) as i64;
    }
    if let Some(asked_ms) = ended
        .retry_after
        .and_then(|text| retry_after_ms(text, ended.ended_at_ms))
    {
        wait_ms = wait_ms.max(asked_ms);
    }
    Next::Retry {
        attempt,
        due_at_ms: ended.ended_at_ms.saturating_add(wait_ms),
        tier: tiers.for_remaining(wait_ms).unwrap_or(tier),
    }
}

/// Reads `Retry-After` (RFC 9110 §10.2.3: whole seconds or an HTTP date) as milliseconds to wait,
/// at most [`MAX_DELAY`]; none when it cannot be read. A date is read by our clock.
fn retry_after_ms(text: &str, now_ms: i64) -> Option<i64> {
    let text = text.trim();
    let wait_ms = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Only too many digits can fail here, and they mean a very long time.
        text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000)
    } else {
        let at = httpdate::parse_http_date(text).ok()?;
        to_millis(at.duration_since(UNIX_EPOCH).ok()?).saturating_sub(now_ms)
    };
    Some(wait_ms.clamp(0, to_millis(MAX_DELAY)))
}

fn to_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
