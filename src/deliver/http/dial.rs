//! Makes connections: a name resolved and judged, TCP, TLS.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::classify::{Failure, is_short_of_handles};
use super::paced::{LastRead, PacedStream, ReadPace};
use super::phases::{PhaseInstants, Stage};
use super::pool::{ByteStream, Handle, Origin, Pool};
use super::resolver::GuardedResolver;
use crate::clock;
use crate::domain::attempt::AttemptResult;
use crate::domain::site::SiteId;

/// Time that an address has for itself before the next one is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// Sockets of a look-up: it asks for both kinds of addresses at once.
const LOOKUP_HANDLES: u32 = 2;
/// Pause before a connection is tried again for which the system had no handle left.
const HANDLE_PAUSE: Duration = Duration::from_millis(50);

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolver: GuardedResolver,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// For name, TCP and TLS together. Waiting for a handle is not part of it.
    pub(super) connect_timeout: Duration,
    pub(super) pool: Arc<Pool>,
}

/// A new connection.
pub(super) struct Dialed {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) remote: SocketAddr,
    pub(super) speaks_http2: bool,
    pub(super) last_read: LastRead,
    pub(super) handle: Handle,
}

impl Dialer {
    /// Connects to an origin for a site.
    pub(super) async fn dial(
        &self,
        origin: &Origin,
        site: &SiteId,
        instants: &mut PhaseInstants,
    ) -> Result<Dialed, Failure> {
        let mut left = self.connect_timeout;
        let addresses = self.addresses(origin, site, &mut left, instants).await?;
        let (stream, handle) = self.connect(&addresses, &mut left, instants).await?;
        let remote = stream
            .peer_addr()
            .map_err(|error| Failure::ended_early(Some(&error)))?;
        // Small writes leave at once; a socket that refuses the option still works.
        drop(stream.set_nodelay(true));
        let last_read = LastRead::default();
        let stream = PacedStream::new(stream, ReadPace::new(last_read.clone()));
        let (stream, speaks_http2) = match origin.is_secure {
            true => self.encrypt(stream, origin, left, instants).await?,
            false => (Box::new(stream) as Box<dyn ByteStream>, false),
        };
        instants.connected(clock::monotonic());
        Ok(Dialed {
            stream,
            remote,
            speaks_http2,
            last_read,
            handle,
        })
    }

    async fn addresses(
        &self,
        origin: &Origin,
        site: &SiteId,
        left: &mut Duration,
        instants: &mut PhaseInstants,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => self.look_up(host, site, left, instants).await?,
        };
        let allowed = self.resolver.judge(&found)?;
        let to_address = |ip| SocketAddr::new(ip, origin.port);
        Ok(interleave(allowed).into_iter().map(to_address).collect())
    }

    async fn look_up(
        &self,
        host: &str,
        site: &SiteId,
        left: &mut Duration,
        instants: &mut PhaseInstants,
    ) -> Result<Vec<IpAddr>, Failure> {
        loop {
            let _handles = self.handles(LOOKUP_HANDLES, instants).await;
            instants.look_up_begins(clock::monotonic());
            let found = within(left, self.resolver.resolve(host, site))
                .await
                .ok_or_else(|| Failure::timeout(Stage::Resolving))?;
            instants.look_up_ends(clock::monotonic());
            match found {
                Ok(found) => return Ok(found),
                Err(error) if is_short_of_handles(&error) => self.wait_for_handle(instants).await,
                Err(error) => return Err(Failure::lookup(&error)),
            }
        }
    }

    /// Waits for handles of the pool.
    async fn handles(&self, count: u32, instants: &mut PhaseInstants) -> Handle {
        instants.stage = Stage::Handle;
        let began = clock::monotonic();
        let handle = self.pool.handles(count).await;
        instants.add_wait(clock::monotonic().saturating_duration_since(began));
        handle
    }

    /// Waits until the system may have a handle again. The deadline of the whole exchange ends it.
    async fn wait_for_handle(&self, instants: &mut PhaseInstants) {
        instants.stage = Stage::Handle;
        self.pool.close_one_idle();
        tokio::time::sleep(HANDLE_PAUSE).await;
        instants.add_wait(HANDLE_PAUSE);
    }

    async fn connect(
        &self,
        addresses: &[SocketAddr],
        left: &mut Duration,
        instants: &mut PhaseInstants,
    ) -> Result<(TcpStream, Handle), Failure> {
        let only_v4 = addresses.iter().all(SocketAddr::is_ipv4);
        loop {
            let handle = self.handles(1, instants).await;
            instants.connect_begins(clock::monotonic());
            let connected = within(left, self.first_to_connect(addresses))
                .await
                .ok_or_else(|| Failure::timeout(Stage::Connecting))?;
            match connected {
                Ok(stream) => return Ok((stream, handle)),
                Err(error) if is_short_of_handles(&error) => {
                    drop(handle);
                    self.wait_for_handle(instants).await;
                }
                Err(error) => return Err(Failure::connect(&error, only_v4)),
            }
        }
    }

    /// Connects to the addresses in turn, the next one beside the last when that is slow and a
    /// handle is free. The first connection wins; the error is that of the last address.
    async fn first_to_connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().collect();
        let mut trying = FuturesUnordered::new();
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        loop {
            if trying.is_empty() {
                match waiting.pop_front() {
                    Some(address) => trying.push(connect_to(address, None)),
                    None => return Err(last_error),
                }
            }
            tokio::select! {
                Some(result) = trying.next() => match result {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last_error = error,
                },
                () = tokio::time::sleep(STAGGER), if trying.len() == 1 && !waiting.is_empty() => {
                    if let Some(spare) = self.pool.spare_handle()
                        && let Some(address) = waiting.pop_front()
                    {
                        trying.push(connect_to(address, Some(spare)));
                    }
                }
            }
        }
    }

    async fn encrypt(
        &self,
        stream: PacedStream<TcpStream, ReadPace>,
        origin: &Origin,
        mut left: Duration,
        instants: &mut PhaseInstants,
    ) -> Result<(Box<dyn ByteStream>, bool), Failure> {
        instants.tls_begins(clock::monotonic());
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .map_err(|_| Failure::new(AttemptResult::Tls, "the host name cannot be in a certificate"))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = within(&mut left, connector.connect(name, stream))
            .await
            .ok_or_else(|| Failure::timeout(Stage::Tls))?
            .map_err(|error| Failure::tls(&error))?;
        let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), speaks_http2))
    }
}

async fn connect_to(address: SocketAddr, _spare: Option<Handle>) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Runs a future within the time that is left, and takes its time off.
async fn within<F: Future>(left: &mut Duration, future: F) -> Option<F::Output> {
    let began = clock::monotonic();
    let output = tokio::time::timeout(*left, future).await.ok();
    *left = left.saturating_sub(clock::monotonic().saturating_duration_since(began));
    output
}

/// Orders addresses so that the kinds take turns, IPv6 first (RFC 8305 §4).
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let total = addresses.len();
    let (v6, v4): (VecDeque<IpAddr>, VecDeque<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let mut kinds = [v6, v4];
    (0..2 * total)
        .filter_map(|turn| kinds[turn % 2].pop_front())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_addresses_take_turns_and_none_is_lost() {
        let ips = |texts: &[&str]| -> Vec<IpAddr> {
            texts
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect()
        };
        for (given, ordered) in [
            (&["1.1.1.1"][..], &["1.1.1.1"][..]),
            (&["1.1.1.1", "1.0.0.1"], &["1.1.1.1", "1.0.0.1"]),
            (
                &["1.1.1.1", "1.0.0.1", "2606::1", "1.2.3.4"],
                &["2606::1", "1.1.1.1", "1.0.0.1", "1.2.3.4"],
            ),
            (
                &["2606::1", "2606::2", "1.1.1.1"],
                &["2606::1", "1.1.1.1", "2606::2"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(interleave(ips(given)), ips(ordered));
        }
    }
}
