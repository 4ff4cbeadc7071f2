//! How often a caller may call.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

/// Failed logins an address may have in a [`LOGIN_SPAN`].
pub(super) const MAX_FAILED_LOGINS: u32 = 10;
const LOGIN_SPAN: Duration = Duration::from_secs(60);
/// Addresses remembered at most.
const MAX_ADDRESSES: usize = 10_000;

type PerToken = RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>;

/// A token bucket for each API token. It holds as many as there are valid tokens in use, since nothing else is
/// counted here.
#[derive(Debug)]
pub(super) struct TokenRate {
    limiter: PerToken,
    per_second: u32,
    burst: u32,
}

/// What a token has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(crate) remaining: u32,
    /// Seconds until the next request is allowed; 0 while some remain.
    pub(crate) retry_after_seconds: u64,
}

impl TokenRate {
    /// `per_second` requests on average, `burst` at once.
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let limiter = RateLimiter::keyed(quota).with_middleware();
        Self {
            limiter,
            per_second: per_second.get(),
            burst: burst.get(),
        }
    }

    /// Counts a request. `Err` refuses it.
    pub(super) fn take(&self, token: Uuid) -> Result<Allowance, Allowance> {
        match self.limiter.check_key(&token) {
            Ok(left) => Ok(Allowance {
                remaining: left.remaining_burst_capacity(),
                retry_after_seconds: 0,
            }),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                Err(Allowance {
                    remaining: 0,
                    retry_after_seconds: whole_seconds(wait),
                })
            }
        }
    }

    /// Writes `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): the bucket's size and the
    /// seconds in which it fills, what is left and the seconds until it is full.
    pub(super) fn describe(&self, allowance: Allowance, headers: &mut HeaderMap) {
        let seconds_for = |requests: u32| requests.div_ceil(self.per_second).max(1);
        let policy = format!("\"token\";q={};w={}", self.burst, seconds_for(self.burst));
        let missing = self.burst.saturating_sub(allowance.remaining);
        let left = format!("\"token\";r={};t={}", allowance.remaining, seconds_for(missing));
        for (name, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Failed logins by address: 10 a minute, counted from the first of them.
///
/// A valid token is never refused for what others at its address do, since many callers may share one.
#[derive(Debug, Default)]
pub(super) struct FailedLogins(Mutex<HashMap<IpAddr, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    failures: u32,
}

impl FailedLogins {
    /// Counts a failed login at `now`. `Err` holds the seconds to wait once there are too many.
    pub(super) fn note(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = owner_of(address);
        if windows.len() >= MAX_ADDRESSES && !windows.contains_key(&address) {
            windows.retain(|_, window| now.saturating_duration_since(window.began) < LOGIN_SPAN);
            if windows.len() >= MAX_ADDRESSES {
                // Guessing from this many places at once is not slowed down by counting; memory stays bounded.
                windows.clear();
            }
        }
        let window = windows.entry(address).or_insert(Window {
            began: now,
            failures: 0,
        });
        let age = now.saturating_duration_since(window.began);
        if age >= LOGIN_SPAN {
            *window = Window {
                began: now,
                failures: 0,
            };
        }
        window.failures = window.failures.saturating_add(1);
        if window.failures > MAX_FAILED_LOGINS {
            Err(whole_seconds(LOGIN_SPAN.saturating_sub(age)))
        } else {
            Ok(())
        }
    }
}

/// An IPv6 host chooses the lower half of its address as it likes.
fn owner_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// Rounded up, at least one.
fn whole_seconds(span: Duration) -> u64 {
    span.as_millis()
        .div_ceil(1_000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_failure_in_a_minute_is_refused_and_a_minute_later_none_is() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..10 {
            assert_eq!(
                logins.note(address("192.0.2.1"), start + Duration::from_secs(n)),
                Ok(())
            );
        }
        assert_eq!(
            logins.note(address("192.0.2.1"), start + Duration::from_secs(30)),
            Err(30)
        );
        assert_eq!(
            logins.note(address("192.0.2.2"), start + Duration::from_secs(30)),
            Ok(())
        );
        assert_eq!(
            logins.note(address("192.0.2.1"), start + Duration::from_secs(60)),
            Ok(())
        );
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..10 {
            assert_eq!(logins.note(address(&format!("2001:db8::{n}")), start), Ok(()));
        }
        assert!(logins.note(address("2001:db8::ffff"), start).is_err());
        assert_eq!(logins.note(address("2001:db8:0:1::1"), start), Ok(()));
        for _ in 0..10 {
            assert_eq!(logins.note(address("::ffff:192.0.2.1"), start), Ok(()));
        }
        assert!(logins.note(address("192.0.2.1"), start).is_err());
    }

    #[test]
    fn addresses_remembered_are_bounded() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..30_000_u32 {
            let _ = logins.note(IpAddr::from(n.to_be_bytes()), start);
        }
        assert!(logins.0.lock().expect("not poisoned").len() <= MAX_ADDRESSES);
    }

    #[test]
    fn a_token_has_its_burst_and_then_waits() {
        let rate = TokenRate::new(NonZeroU32::MIN, NonZeroU32::new(3).expect("not zero"));
        let token = Uuid::nil();
        let left: Vec<u32> = (0..3)
            .map(|_| rate.take(token).expect("allowed").remaining)
            .collect();
        assert_eq!(left, [2, 1, 0]);
        assert_eq!(
            rate.take(token),
            Err(Allowance {
                remaining: 0,
                retry_after_seconds: 1
            })
        );
        assert!(rate.take(Uuid::max()).is_ok());
        let mut headers = HeaderMap::new();
        rate.describe(
            Allowance {
                remaining: 1,
                retry_after_seconds: 0,
            },
            &mut headers,
        );
        assert_eq!(headers["ratelimit-policy"], "\"token\";q=3;w=3");
        assert_eq!(headers["ratelimit"], "\"token\";r=1;t=2");
    }
}
