//! Limits on the number of requests: by token, and of failed logins by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::clock;

/// Failed logins an address may have within a [`LOGIN_SPAN`].
const MAX_FAILED_LOGINS: u32 = 10;
const LOGIN_SPAN: Duration = Duration::from_secs(60);
/// Addresses remembered at most.
const MAX_ADDRESSES: usize = 10_000;

type PerToken = RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, ProcessClock, StateInformationMiddleware>;

/// The process's monotonic clock, for the token buckets.
#[derive(Debug, Clone)]
struct ProcessClock;

impl Clock for ProcessClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        clock::monotonic()
    }
}

/// A token bucket for each API token. Only valid tokens are counted, so their number bounds it.
#[derive(Debug)]
pub(super) struct TokenRate {
    limiter: PerToken,
    per_second: u32,
    burst: u32,
}

/// The requests that a token has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    remaining: u32,
    /// Seconds until the next request is allowed; 0 while some remain.
    pub(super) retry_after_seconds: u64,
}

impl TokenRate {
    /// `per_second` requests on average, `burst` at once.
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let store = DefaultKeyedStateStore::default();
        let limiter = PerToken::new(quota, store, ProcessClock);
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

    /// Writes `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): the size
    /// of the bucket and the seconds in which it fills, the requests left and the seconds until it
    /// is full.
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
/// A valid token is never refused for failed logins at its address, which many callers may share.
#[derive(Debug, Default)]
pub(super) struct FailedLogins(Mutex<HashMap<IpAddr, FailureCount>>);

/// Failed logins within one [`LOGIN_SPAN`].
#[derive(Debug, Clone, Copy)]
struct FailureCount {
    began: Instant,
    failures: u32,
}

impl FailedLogins {
    /// The seconds for which the address has to wait, if too many of its logins have failed.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&network_of(address))?;
        let left = LOGIN_SPAN.checked_sub(now.saturating_duration_since(count.began))?;
        (count.failures >= MAX_FAILED_LOGINS && !left.is_zero()).then(|| whole_seconds(left))
    }

    /// Counts a failed login at `now`. `Err` holds the seconds to wait once there are too many.
    pub(super) fn count(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network_of(address);
        if counts.len() >= MAX_ADDRESSES && !counts.contains_key(&address) {
            counts.retain(|_, count| now.saturating_duration_since(count.began) < LOGIN_SPAN);
            if counts.len() >= MAX_ADDRESSES {
                // Counting does not slow down an attack from so many addresses; memory stays
                // bounded.
                counts.clear();
            }
        }
        let count = counts.entry(address).or_insert(FailureCount {
            began: now,
            failures: 0,
        });
        let age = now.saturating_duration_since(count.began);
        if age >= LOGIN_SPAN {
            *count = FailureCount {
                began: now,
                failures: 0,
            };
        }
        count.failures = count.failures.saturating_add(1);
        if count.failures > MAX_FAILED_LOGINS {
            Err(whole_seconds(LOGIN_SPAN.saturating_sub(age)))
        } else {
            Ok(())
        }
    }
}

/// The address, or for IPv6 its /64 network: a host chooses the lower half of its address itself.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// The seconds of `span`, rounded up, at least one.
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

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_failed_login_within_a_minute_is_refused() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..10 {
            assert_eq!(
                logins.count(address("192.0.2.1"), start + Duration::from_secs(n)),
                Ok(())
            );
        }
        let wait = |seconds| logins.wait(address("192.0.2.1"), start + Duration::from_secs(seconds));
        assert_eq!((wait(20), wait(60)), (Some(40), None));
        assert_eq!(logins.wait(address("192.0.2.2"), start), None);
        assert_eq!(
            logins.count(address("192.0.2.1"), start + Duration::from_secs(30)),
            Err(30)
        );
        assert_eq!(
            logins.count(address("192.0.2.2"), start + Duration::from_secs(30)),
            Ok(())
        );
        assert_eq!(
            logins.count(address("192.0.2.1"), start + Duration::from_secs(60)),
            Ok(())
        );
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..10 {
            assert_eq!(logins.count(address(&format!("2001:db8::{n}")), start), Ok(()));
        }
        assert!(logins.count(address("2001:db8::ffff"), start).is_err());
        assert_eq!(logins.count(address("2001:db8:0:1::1"), start), Ok(()));
        for _ in 0..10 {
            assert_eq!(logins.count(address("::ffff:192.0.2.1"), start), Ok(()));
        }
        assert!(logins.count(address("192.0.2.1"), start).is_err());
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let logins = FailedLogins::default();
        let start = clock::monotonic();
        for n in 0..30_000_u32 {
            let _ = logins.count(IpAddr::from(n.to_be_bytes()), start);
        }
        assert!(logins.0.lock().expect("not poisoned").len() <= MAX_ADDRESSES);
    }

    #[test]
    fn a_token_waits_after_its_burst() {
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
