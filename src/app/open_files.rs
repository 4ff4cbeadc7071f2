//! The process's limit on open files, and the shares of it: connections to endpoints, to Postgres
//! and Kafka, and of the API's callers.

use super::roles::Roles;
use super::settings;
use crate::config::Config;
use crate::telemetry::words::ProcessRole;

/// Files of everything but Postgres, endpoints and callers: the clients of Kafka have some twelve
/// a broker, and there are listeners, 16 connections to the admin listener, tests of webhooks, the
/// operator's webhook, name servers.
const OWN: u64 = 96;
/// Least connections of the API's callers.
const FEWEST_CALLERS: u64 = 32;
/// Most connections of the API's callers.
const MOST_CALLERS: u64 = 8_192;
/// Least connections to endpoints that are tested.
const FEWEST_TESTED: u64 = 8;
/// Most connections to endpoints that are tested.
const MOST_TESTED: u64 = 256;
/// Least connections to endpoints.
const FEWEST_CONNECTIONS: u64 = 8;
/// Most connections to endpoints, if requests need no more, however many files are allowed: each
/// costs memory, too.
const MOST_CONNECTIONS: u64 = 16_384;

/// Division of the files that the process may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileShares {
    limit: u64,
    /// Limit with which nothing would be less than configured.
    needed: u64,
    /// `webhooks.max_in_flight`; 0 if the process does not deliver.
    configured: u32,
    /// Requests under way at a time: as many as configured, if there are files for them all and for
    /// their look-ups. So those that hang leave files to the others.
    pub(super) max_in_flight: u32,
    /// Connections to endpoints, under way and idle.
    pub(super) to_endpoints: usize,
    /// Connections to endpoints that are tested.
    pub(super) to_tested: usize,
    /// Connections of the API's callers.
    pub(super) of_callers: usize,
}

impl FileShares {
    /// Raises the limit to the highest one that is allowed, and divides it.
    pub(super) fn of_process(config: &Config, roles: &Roles) -> Self {
        let configured = match roles.has(ProcessRole::Deliver) {
            true => config.webhooks.max_in_flight,
            false => 0,
        };
        let own = OWN + u64::from(settings::most_connections(config, roles));
        Self::divide(raise_limit(), configured, own)
    }

    /// Divides a limit. `own` are the files that neither endpoints nor callers have. The requests
    /// that are configured come first; of what is left, callers have half.
    fn divide(limit: u64, configured: u32, own: u64) -> Self {
        let wanted = connections_for(configured);
        let rest = limit.saturating_sub(own);
        let of_callers = (rest.saturating_sub(wanted) / 2).clamp(FEWEST_CALLERS, MOST_CALLERS);
        let to_tested = (of_callers / 4).clamp(FEWEST_TESTED, MOST_TESTED);
        let connections = rest
            .saturating_sub(of_callers + to_tested)
            .max(FEWEST_CONNECTIONS)
            .min(wanted.max(MOST_CONNECTIONS));
        let to_endpoints = if configured == 0 { 0 } else { connections };
        let requests = u32::try_from(connections - connections / 4).unwrap_or(u32::MAX);
        Self {
            limit,
            needed: own + wanted + FEWEST_CALLERS + FEWEST_TESTED,
            configured,
            max_in_flight: configured.min(requests),
            to_endpoints: count(to_endpoints),
            to_tested: count(to_tested),
            of_callers: count(of_callers),
        }
    }

    /// Words what the limit does not allow; `None` if it allows all that is configured.
    pub(super) fn shortage(&self) -> Option<String> {
        let Self { limit, needed, .. } = self;
        if limit >= needed {
            return None;
        }
        let effect = match self.max_in_flight < self.configured {
            true => format!(
                "at most {} requests are under way at a time, and not webhooks.max_in_flight = {}",
                self.max_in_flight, self.configured
            ),
            false => "connections may have to wait for each other".to_owned(),
        };
        Some(format!(
            "the process may open {limit} files, and its configuration needs {needed}: {effect}; \
             raise the limit (`ulimit -n`, `LimitNOFILE`)"
        ))
    }
}

/// Computes the fewest connections of which three quarters are for so many requests: the rest is
/// for look-ups.
fn connections_for(requests: u32) -> u64 {
    let requests = u64::from(requests);
    requests + requests.saturating_sub(1) / 3
}

fn count(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX)
}

fn raise_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1_024, |(soft, _)| soft);
            tracing::warn!(%error, limit, "the limit on open files could not be raised");
            limit
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Files of a process with the default configuration.
    const OWN_BY_DEFAULT: u64 = OWN + 18;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (limit, endpoints, tested, callers) in [
            (64, 8, 8, 32),
            (256, 102, 8, 32),
            (1_024, 768, 28, 114),
            (4_096, 2_076, 256, 1_650),
            (65_536, 16_384, 256, 8_192),
            (u64::MAX, 16_384, 256, 8_192),
        ] {
            let shares = FileShares::divide(limit, 512, OWN_BY_DEFAULT);
            assert_eq!(
                (shares.to_endpoints, shares.to_tested, shares.of_callers),
                (endpoints, tested, callers),
                "{limit}"
            );
        }
    }

    #[test]
    fn no_more_requests_are_sent_than_there_are_files_for() {
        for (limit, configured, requests) in [
            (64, 512, 6),
            (256, 512, 77),
            (256, 8, 8),
            (1_024, 512, 512),
            (1_024, 65_536, 653),
            (65_536, 65_536, 49_037),
            (u64::MAX, 65_536, 65_536),
            (1_024, 0, 0),
        ] {
            let shares = FileShares::divide(limit, configured, OWN_BY_DEFAULT);
            assert_eq!(shares.max_in_flight, requests, "{limit}");
        }
    }

    #[test]
    fn connections_to_postgres_are_no_connections_to_endpoints() {
        let shares = FileShares::divide(1_024, 512, OWN + 800);
        assert_eq!((shares.to_endpoints, shares.max_in_flight), (88, 66));
    }

    #[test]
    fn a_shortage_names_what_is_allowed_and_what_is_needed() {
        let shortage = FileShares::divide(256, 512, OWN_BY_DEFAULT).shortage();
        let shortage = shortage.expect("a shortage");
        for part in [
            "open 256 files",
            "needs 836",
            "at most 77 requests",
            "max_in_flight = 512",
        ] {
            assert!(shortage.contains(part), "{shortage}");
        }
        let shortage = FileShares::divide(64, 0, OWN_BY_DEFAULT).shortage();
        assert!(shortage.is_some_and(|text| text.contains("needs 154")));
    }

    proptest! {
        #[test]
        fn what_is_needed_is_enough_and_one_file_less_is_not(
            configured in 1_u32..=65_536, own in 60_u64..2_000,
        ) {
            let needed = FileShares::divide(0, configured, own).needed;
            let enough = FileShares::divide(needed, configured, own);
            prop_assert_eq!((enough.max_in_flight, enough.shortage()), (configured, None));
            let less = FileShares::divide(needed - 1, configured, own);
            prop_assert!(less.shortage().is_some());
            let all = enough.to_endpoints + usize::try_from(own).unwrap_or(0);
            prop_assert!(all as u64 + FEWEST_CALLERS <= needed);
        }

        #[test]
        fn with_more_files_nobody_has_fewer(
            limit in 0_u64..100_000, more in 0_u64..10_000, configured in 0_u32..=65_536, own in 60_u64..2_000,
        ) {
            let shares = FileShares::divide(limit, configured, own);
            let larger = FileShares::divide(limit + more, configured, own);
            prop_assert!(larger.of_callers >= shares.of_callers);
            prop_assert!(larger.to_tested >= shares.to_tested);
            prop_assert!(larger.to_endpoints >= shares.to_endpoints);
            let taken = (shares.of_callers + shares.to_tested + shares.to_endpoints) as u64;
            prop_assert!(taken + own <= limit.max(own + FEWEST_CALLERS + FEWEST_TESTED + FEWEST_CONNECTIONS));
        }
    }
}
