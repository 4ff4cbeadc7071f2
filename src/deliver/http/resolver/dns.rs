//! The system's DNS: `/etc/hosts`, and the name servers of `/etc/resolv.conf` with its search list.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, system_conf};

use super::sockets::{self, CountingRuntime};
use crate::deliver::http::spare_handles::SpareHandles;
use crate::domain::address::{AddressRules, Verdict};

/// Longest time for which "there is no such name" is believed: a retry should find a name that
/// was just made.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
/// Longest time for which an address is believed, whatever its record says.
const POSITIVE_TTL: Duration = Duration::from_secs(3_600);
/// Names whose addresses are kept.
const CACHED_NAMES: u64 = 8_192;
/// Time that one kind of addresses has after the other has come. RFC 8305 §3 has 50 ms, since its
/// clients go on listening while they connect.
const RESOLUTION_DELAY: Duration = Duration::from_millis(500);
/// Both kinds of addresses.
const KINDS: [RecordType; 2] = [RecordType::AAAA, RecordType::A];

/// A function that looks a name up: the DNS, except in tests.
pub(crate) type Lookup =
    Arc<dyn Fn(String, LookupLinks) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static>;

/// The client's part in a look-up.
#[derive(Debug, Clone)]
pub(crate) struct LookupLinks {
    /// By them it knows when it has found enough.
    pub(super) rules: Arc<AddressRules>,
    /// Handles for more than one socket a query.
    pub(super) spare: SpareHandles,
}

/// The system's configuration of the DNS. Without a readable one only `/etc/hosts` is known.
pub(crate) fn dns_lookup() -> Lookup {
    let hosts = Hosts::from_system().unwrap_or_else(|error| {
        tracing::warn!(%error, "/etc/hosts cannot be read");
        Hosts::default()
    });
    let settings = system_conf::read_system_conf();
    let dns = match settings.and_then(|(servers, options)| Dns::new(servers, options, Hosts::default())) {
        Ok(dns) => Dns { hosts, ..dns },
        Err(error) => {
            tracing::warn!(%error, "/etc/resolv.conf cannot be used: no name can be resolved but those of /etc/hosts");
            Dns {
                hosts,
                ..Dns::default()
            }
        }
    };
    let dns = Arc::new(dns);
    Arc::new(move |name, links| {
        let dns = Arc::clone(&dns);
        Box::pin(async move { dns.look_up(&name, &links).await })
    })
}

/// Names and their addresses.
#[derive(Default)]
struct Dns {
    hosts: Hosts,
    /// Domains in which names are looked for that are not absolute.
    search: Vec<Name>,
    /// Dots that a name has at least which is first looked for as it stands.
    ndots: usize,
    resolver: Option<Resolver<CountingRuntime>>,
}

impl Dns {
    fn new(servers: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> Result<Self, NetError> {
        options.negative_max_ttl = Some(NEGATIVE_TTL);
        options.positive_max_ttl = Some(POSITIVE_TTL);
        options.cache_size = CACHED_NAMES;
        // Two tries fit within the time that a connection has.
        options.timeout = Duration::from_secs(2);
        // Besides the first.
        options.attempts = 1;
        // They are read here, before any name server is asked.
        options.use_hosts_file = ResolveHosts::Never;
        let (ndots, search) = (options.ndots, servers.domain.iter().chain(&servers.search));
        let search = search.cloned().collect();
        let mut builder = Resolver::builder_with_config(servers, CountingRuntime::default());
        *builder.options_mut() = options;
        Ok(Self {
            hosts,
            search,
            ndots,
            resolver: Some(builder.build()?),
        })
    }

    /// Looks up the addresses of a name. Once there is one that may be called, the other kind of
    /// addresses is waited for only briefly.
    async fn look_up(&self, name: &str, links: &LookupLinks) -> io::Result<Vec<IpAddr>> {
        let may_call = |ip: &IpAddr| !matches!(links.rules.check(*ip), Verdict::Refused(_));
        let candidates = self.candidates(name)?;
        if let Some(found) = candidates.iter().find_map(|name| self.in_hosts(name)) {
            return Ok(found);
        }
        let resolver = self.resolver.as_ref();
        let resolver = resolver.ok_or_else(|| io::Error::other("there is no name server to ask"))?;
        let mut last = Ok(Vec::new());
        for name in candidates {
            let [v6, v4] =
                KINDS.map(|kind| sockets::bounded(links.spare.clone(), ask(resolver, name.clone(), kind)));
            last = both(v6, v4, may_call).await;
            if last.as_ref().is_ok_and(|found| !found.is_empty()) {
                break;
            }
        }
        last
    }

    /// Lists the absolute names that a name may mean, the first choice first.
    ///
    /// Parsed as ASCII: the URL's parser has done what IDNA asks for, and real hosts have names
    /// that it forbids, such as `my_host.example.com`.
    fn candidates(&self, name: &str) -> io::Result<Vec<Name>> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, "it is not a valid host name");
        let mut absolute = Name::from_ascii(name).map_err(invalid)?;
        if absolute.is_fqdn() {
            return Ok(vec![absolute]);
        }
        let mut candidates = Vec::with_capacity(1 + self.search.len());
        for domain in &self.search {
            // One that becomes too long is no name.
            candidates.extend(absolute.clone().append_domain(domain));
        }
        candidates.iter_mut().for_each(|name| name.set_fqdn(true));
        absolute.set_fqdn(true);
        if usize::from(absolute.num_labels()) > self.ndots || absolute.is_localhost() {
            candidates.insert(0, absolute);
        } else {
            candidates.push(absolute);
        }
        Ok(candidates)
    }

    /// Finds a name in `/etc/hosts`. One that has any address there needs no name server.
    fn in_hosts(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let found = KINDS.map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let records = found.iter().flatten().flat_map(|found| found.answers());
        let addresses: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
        (!addresses.is_empty()).then_some(addresses)
    }
}

/// Asks the name servers for one kind of addresses.
async fn ask(resolver: &Resolver<CountingRuntime>, name: Name, kind: RecordType) -> io::Result<Vec<IpAddr>> {
    let found = resolver.lookup(name, kind).await.map_err(lookup_error)?;
    let records = found.answers().iter();
    Ok(records.filter_map(|record| record.data.ip_addr()).collect())
}

/// Waits for the answers for both kinds of addresses. Once one of them has an address that may be
/// called, the other has [`RESOLUTION_DELAY`] left: some name servers never answer for the kind
/// that they do not have.
async fn both(
    first: impl Future<Output = io::Result<Vec<IpAddr>>>,
    second: impl Future<Output = io::Result<Vec<IpAddr>>>,
    may_call: impl Fn(&IpAddr) -> bool,
) -> io::Result<Vec<IpAddr>> {
    match select(pin!(first), pin!(second)).await {
        Either::Left((answer, other)) => joined(answer, other, may_call).await,
        Either::Right((answer, other)) => joined(answer, other, may_call).await,
    }
}

async fn joined(
    answer: io::Result<Vec<IpAddr>>,
    other: impl Future<Output = io::Result<Vec<IpAddr>>>,
    may_call: impl Fn(&IpAddr) -> bool,
) -> io::Result<Vec<IpAddr>> {
    let is_enough = answer.as_ref().is_ok_and(|found| found.iter().any(may_call));
    let other = match is_enough {
        true => tokio::time::timeout(RESOLUTION_DELAY, other).await.ok(),
        false => Some(other.await),
    };
    match (answer, other) {
        (Ok(mut found), Some(Ok(more))) => {
            found.extend(more);
            Ok(found)
        }
        (Ok(found), _) | (Err(_), Some(Ok(found))) => Ok(found),
        // That there is none of one kind says less than that the other is not known.
        (Err(error), Some(Err(other))) if error.kind() == io::ErrorKind::NotFound => Err(other),
        (Err(error), _) => Err(error),
    }
}

/// Words an error of the resolver without the name, which is in the texts of its own.
fn lookup_error(error: NetError) -> io::Error {
    if let NetError::Io(cause) = &error {
        if let Some(code) = cause.raw_os_error() {
            return io::Error::from_raw_os_error(code);
        }
        return io::Error::new(cause.kind(), "the name servers could not be asked");
    }
    let (kind, text) = if error.is_nx_domain() {
        (io::ErrorKind::NotFound, "there is no such name")
    } else if error.is_no_records_found() {
        (io::ErrorKind::NotFound, "the name has no address")
    } else if matches!(error, NetError::Timeout) {
        (io::ErrorKind::TimedOut, "the name servers did not answer")
    } else {
        (io::ErrorKind::Other, "the name servers failed")
    };
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests;
