//! Decides what follows an attempt: nothing, the next attempt, or the end.

use std::time::{Duration, UNIX_EPOCH};

use crate::dispatch::record::NextAttempt;
use crate::dispatch::schedule::RetrySchedule;
use crate::dispatch::tier::{MAX_DELAY, Tier, Tiers};
use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::FailureReason;
use crate::domain::health::ParkReason;

/// Shortest delay that gets jitter: below it a delay is too short to gather a crowd, and its
/// lateness is measured.
const JITTER_FROM: Duration = Duration::from_secs(30);
/// Delay after a fault of our own with a schedule that has no delay.
const OWN_FAULT_DELAY: Duration = Duration::from_secs(1);

/// An attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedAttempt<'a> {
    /// From 1.
    pub(crate) attempt: u32,
    /// Delays of the schedule that lie behind.
    pub(crate) step: u32,
    pub(crate) result: AttemptResult,
    /// The response's `Retry-After`: seconds, or the date of an answer that had no `Date`, which is
    /// read by our clock.
    pub(crate) retry_after: Option<&'a str>,
    /// Milliseconds since the Unix epoch, cut and not rounded; delays count from here.
    pub(crate) ended_at_ms: i64,
    /// The one request that an open circuit allowed.
    pub(crate) is_probe: bool,
    /// When the attempt was due.
    pub(crate) due_at_ms: i64,
    /// It came from a row of `parked`.
    pub(crate) is_row: bool,
    /// The webhook has another URL by now.
    pub(crate) is_of_old_url: bool,
}

/// Continuation of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Delivered,
    /// The attempt is to be made at its due time, and waits on `tier` until then.
    Retry(NextAttempt, Tier),
    /// The same, but it waits in Postgres.
    Park(NextAttempt, ParkReason),
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
///
/// That an old URL is gone does not end the delivery: it has not been sent to the present one.
///
/// A fault of our own and a failed probe leave the step as it is, so that they use nothing up.
pub(crate) fn next(ended: &EndedAttempt<'_>, schedule: &RetrySchedule, tiers: &Tiers, chance: f64) -> Next {
    let reason = match ended.is_of_old_url {
        true => FailureReason::Exhausted,
        false => ended.result.failure_reason(),
    };
    let failed = Next::Failed { reason };
    match ended.result {
        AttemptResult::Success => return Next::Delivered,
        AttemptResult::Gone if !ended.is_of_old_url => return failed,
        _ => {}
    }
    let is_own_fault = ended.result.fault() == Fault::Own;
    let (delay_ms, step) = if is_own_fault {
        let delay = schedule
            .current_delay(ended.step)
            .map_or(OWN_FAULT_DELAY, Tier::delay);
        (with_jitter(delay, chance), ended.step)
    } else if ended.is_probe {
        (0, ended.step)
    } else if let Some(tier) = schedule.delay_at(ended.step) {
        (with_jitter(tier.delay(), chance), ended.step.saturating_add(1))
    } else {
        return failed;
    };
    let asked_ms = ended
        .retry_after
        .and_then(|text| retry_after_ms(text, ended.ended_at_ms))
        .unwrap_or(0);
    let wait_ms = delay_ms.max(asked_ms);
    // The end was cut to whole milliseconds: one more, so that nothing is early.
    let due_at_ms = ended.ended_at_ms.saturating_add(1).saturating_add(wait_ms);
    let mut following = NextAttempt {
        attempt: ended.attempt.saturating_add(1),
        step,
        due_at_ms,
    };
    if ended.is_probe && wait_ms == 0 {
        // It stays the oldest that waits; the circuit holds it back.
        following.due_at_ms = ended.due_at_ms;
    }
    match tiers.fitting(wait_ms) {
        None => Next::Park(following, ParkReason::FarDue),
        Some(_) if ended.is_probe => Next::Park(following, ParkReason::Circuit),
        // Nothing may lie between its row and a publication, so the row gets the new due time. That
        // is what it waits for now, whatever it waited for before.
        Some(_) if ended.is_row => Next::Park(following, ParkReason::FarDue),
        Some(tier) => Next::Retry(following, tier),
    }
}

fn with_jitter(delay: Duration, chance: f64) -> i64 {
    let delay_ms = to_millis(delay);
    if delay < JITTER_FROM {
        return delay_ms;
    }
    delay_ms + (delay_ms as f64 * 0.1 * chance.clamp(0.0, 1.0)) as i64
}

/// Reads `Retry-After` (RFC 9110 §10.2.3: seconds or an HTTP date) as milliseconds to wait, at most
/// [`MAX_DELAY`]; none when it cannot be read. Fractions of a second, which some servers send, are
/// rounded up. If the answer had a `Date`, the HTTP client has already turned the date into
/// seconds.
fn retry_after_ms(text: &str, now_ms: i64) -> Option<i64> {
    let text = text.trim();
    let wait_ms = match seconds_ms(text) {
        Some(ms) => ms,
        None => {
            let at_ms = http_date_ms(text)?;
            at_ms.saturating_sub(now_ms)
        }
    };
    Some(wait_ms.clamp(0, to_millis(MAX_DELAY)))
}

/// Reads seconds such as `3` or `2.5` as milliseconds, rounded up.
fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    // Only too many digits can fail here, and they mean a very long time.
    let whole_ms = whole.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000);
    let (millis, rest) = fraction.split_at(fraction.len().min(3));
    let millis: i64 = format!("{millis:0<3}").parse().unwrap_or(0);
    let more = i64::from(rest.bytes().any(|byte| byte != b'0'));
    Some(whole_ms.saturating_add(millis + more))
}

fn http_date_ms(text: &str) -> Option<i64> {
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    Some(to_millis(at.duration_since(UNIX_EPOCH).ok()?))
}

fn to_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
