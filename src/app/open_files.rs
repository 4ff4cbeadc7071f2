//! The process's limit on open files, and the share of it that connections to endpoints may have.

/// Files that are kept free for Kafka, Postgres, listeners and the callers of the API.
const RESERVED: u64 = 256;
/// Most connections to endpoints, however many files are allowed: each costs memory, too.
const MOST_CONNECTIONS: u64 = 16_384;

/// Raises the limit to the highest one that is allowed, and returns it.
pub(super) fn raise_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1_024, |(soft, _)| soft);
            tracing::warn!(%error, limit, "the limit on open files could not be raised");
            limit
        }
    }
}

/// Computes how many connections to endpoints may be open at a time, under way and idle.
pub(super) fn max_connections(limit: u64) -> usize {
    let connections = limit - RESERVED.min(limit / 2);
    usize::try_from(connections.min(MOST_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Computes how many requests may be under way at a time: as many as configured, if there are files
/// for them all and for their look-ups. So those that hang leave files to the others.
pub(super) fn max_in_flight(configured: u32) -> u32 {
    in_flight_of(configured, max_connections(raise_limit()))
}

fn in_flight_of(configured: u32, connections: usize) -> u32 {
    let requests = u32::try_from(connections - connections / 4).unwrap_or(u32::MAX);
    configured.min(requests.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (limit, connections) in [
            (64, 32),
            (256, 128),
            (1_024, 768),
            (65_536, 16_384),
            (u64::MAX, 16_384),
        ] {
            assert_eq!(max_connections(limit), connections, "{limit}");
        }
    }

    #[test]
    fn no_more_requests_are_sent_than_there_are_files_for() {
        for (limit, configured, requests) in [
            (64, 512, 24),
            (256, 512, 96),
            (256, 8, 8),
            (1_024, 512, 512),
            (1_024, 65_536, 576),
            (u64::MAX, 4_096, 4_096),
        ] {
            assert_eq!(
                in_flight_of(configured, max_connections(limit)),
                requests,
                "{limit}"
            );
        }
    }
}
