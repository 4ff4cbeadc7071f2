//! Resolves names to addresses and judges these by the address rules.
//!
//! The addresses that are judged here are the very ones that are connected to, so a name that
//! answers differently a moment later (DNS rebinding) gains nothing. A connection that a pool keeps
//! was judged when it was made.
//!
//! The resolver is asynchronous, so a name server that never answers holds no thread. It reads
//! `/etc/hosts` and `/etc/resolv.conf` (with its search list) at the start, and keeps answers for
//! as long as their records say. A site looks a name up once at a time, and at most
//! `NAMES_PER_SITE` names at once: so the names of one site never stand in another's way.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::{NetError, runtime::TokioRuntimeProvider};
use tokio::sync::Semaphore;

use super::classify::Failure;
use crate::domain::address::{AddressRules, Verdict};
use crate::domain::attempt::AttemptResult;
use crate::domain::site::SiteId;

/// Names of one site that may be looked up at a time.
const NAMES_PER_SITE: usize = 16;
/// Longest time for which "there is no such name" is believed: a retry should find a name that
/// was just made.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
/// Longest time for which an address is believed, whatever its record says.
const POSITIVE_TTL: Duration = Duration::from_secs(3_600);
/// Names whose addresses are kept.
const CACHED_NAMES: u64 = 8_192;

/// A function that looks a name up: the DNS, except in tests.
pub(crate) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static>;

/// The system's configuration of the DNS. Without a readable one only `/etc/hosts` is known.
pub(crate) fn dns_lookup() -> Lookup {
    let resolver = match build(TokioResolver::builder_tokio()) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            tracing::warn!(%error, "/etc/resolv.conf cannot be used: no name can be resolved but those of /etc/hosts");
            let hosts_only = ResolverConfig::from_parts(None, vec![], vec![]);
            let builder = TokioResolver::builder_with_config(hosts_only, TokioRuntimeProvider::default());
            build(Ok(builder)).ok()
        }
    };
    Arc::new(move |name| {
        let resolver = resolver.clone();
        Box::pin(async move {
            let resolver = resolver.ok_or_else(|| io::Error::other("there is no resolver"))?;
            match resolver.lookup_ip(name).await {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) => Err(lookup_error(error)),
            }
        })
    })
}

type Builder = hickory_resolver::ResolverBuilder<TokioRuntimeProvider>;

fn build(builder: Result<Builder, NetError>) -> Result<TokioResolver, NetError> {
    let mut builder = builder?;
    adjust(builder.options_mut());
    builder.build()
}

fn adjust(options: &mut ResolverOpts) {
    options.negative_max_ttl = Some(NEGATIVE_TTL);
    options.positive_max_ttl = Some(POSITIVE_TTL);
    options.cache_size = CACHED_NAMES;
    // Two tries fit within the time that a connection has.
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
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

/// Resolves names for the HTTP client and drops the addresses that may not be called.
pub(super) struct GuardedResolver {
    pub(super) lookup: Lookup,
    pub(super) rules: Arc<AddressRules>,
    names: KeyedShares<(SiteId, String)>,
    sites: KeyedShares<SiteId>,
}

impl GuardedResolver {
    pub(super) fn new(lookup: Lookup, rules: Arc<AddressRules>) -> Self {
        Self {
            lookup,
            rules,
            names: KeyedShares::new(1),
            sites: KeyedShares::new(NAMES_PER_SITE),
        }
    }

    /// Looks up a name for a site. The caller bounds the time.
    pub(super) async fn resolve(&self, name: &str, site: &SiteId) -> io::Result<Vec<IpAddr>> {
        // In this order, so that who waits for a name takes no share of the site's other names.
        let name_share = self.names.of(&(site.clone(), name.to_owned()));
        let _name = name_share.acquire().await;
        let site_share = self.sites.of(site);
        let _site = site_share.acquire().await;
        (self.lookup)(name.to_owned()).await
    }

    /// Keeps the addresses that may be called, in the order they came.
    ///
    /// An answer with both kinds is used without the refused ones: it may be an honest mistake, and
    /// what is dropped is not called.
    pub(super) fn judge(&self, found: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
        let mut refusal = None;
        let mut allowed = Vec::with_capacity(found.len());
        for ip in found {
            match self.rules.check(*ip) {
                Verdict::Public | Verdict::AllowedPrivate => allowed.push(*ip),
                Verdict::Refused(why) => refusal = refusal.or(Some(why)),
            }
        }
        match (allowed.is_empty(), refusal) {
            (false, _) => Ok(allowed),
            (true, Some(why)) => Err(Failure::refused(why)),
            (true, None) => Err(Failure::new(AttemptResult::Dns, "the host name has no address")),
        }
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Semaphores by key, each kept only while somebody uses it.
struct KeyedShares<K> {
    size: usize,
    by_key: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Hash + Eq + Clone> KeyedShares<K> {
    fn new(size: usize) -> Self {
        Self {
            size,
            by_key: Mutex::default(),
        }
    }

    fn of(&self, key: &K) -> Arc<Semaphore> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = by_key.get(key).and_then(Weak::upgrade) {
            return share;
        }
        by_key.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.size));
        by_key.insert(key.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests;
