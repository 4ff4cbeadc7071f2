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

use tokio::sync::Semaphore;

use super::classify::Failure;
use super::spare_handles::SpareHandles;
use crate::domain::address::{AddressRules, Verdict};
use crate::domain::attempt::AttemptResult;
use crate::domain::site::SiteId;

pub(crate) use dns::{Lookup, LookupLinks, dns_lookup};

/// Names of one site that may be looked up at a time.
const NAMES_PER_SITE: usize = 16;

/// Resolves names for the HTTP client and drops the addresses that may not be called.
pub(super) struct GuardedResolver {
    pub(super) lookup: Lookup,
    pub(super) rules: Arc<AddressRules>,
    spare: SpareHandles,
    names: KeyedShares<(SiteId, String)>,
    sites: KeyedShares<SiteId>,
}

impl GuardedResolver {
    pub(super) fn new(lookup: Lookup, rules: Arc<AddressRules>, spare: SpareHandles) -> Self {
        Self {
            lookup,
            rules,
            spare,
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
        let links = LookupLinks {
            rules: Arc::clone(&self.rules),
            spare: self.spare.clone(),
        };
        (self.lookup)(name.to_owned(), links).await
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

mod dns;
/// A bound on the sockets of DNS queries.
mod sockets;

#[cfg(test)]
mod tests;
