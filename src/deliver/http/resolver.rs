//! Resolves names to addresses and judges these by the address rules.
//!
//! The addresses that are judged here are the very ones that are connected to, so a name that
//! answers differently a moment later (DNS rebinding) gains nothing. A connection that a pool keeps
//! was judged when it was made.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::phases::PhaseRecorder;
use crate::domain::address::{AddressRules, Refusal, Verdict};

/// A function that looks a name up: the system's resolver, except in tests.
pub(crate) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static>;

/// The system's resolver. It runs on a thread of tokio's blocking pool, which goes on for a while
/// after the caller has given up.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Resolves names for the HTTP client and drops the addresses that may not be called.
pub(crate) struct GuardedResolver {
    pub(crate) lookup: Lookup,
    pub(crate) rules: Arc<AddressRules>,
}

/// The error of a name that cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the look-up failed")]
    Lookup(#[source] io::Error),
    #[error("the name has no address")]
    NoAddress,
    /// Every address is refused; this is the reason of the first.
    #[error("no address of the name may be called")]
    Refused(Refusal),
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looking = (self.lookup)(name.as_str().to_owned());
        let rules = Arc::clone(&self.rules);
        let phases = PhaseRecorder::current();
        phases.look_up_begins();
        Box::pin(async move {
            let found = looking.await.map_err(ResolveError::Lookup)?;
            let allowed = judge(&rules, &found)?;
            phases.look_up_ends(allowed.iter().all(IpAddr::is_ipv4));
            // Port 0 is replaced by the URL's.
            let addresses = allowed.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Keeps the addresses that may be called, in the order they came.
///
/// An answer with both kinds is used without the refused ones: it may be an honest mistake, and
/// what is dropped is not called.
fn judge(rules: &AddressRules, found: &[IpAddr]) -> Result<Vec<IpAddr>, ResolveError> {
    let mut refusal = None;
    let mut allowed = Vec::with_capacity(found.len());
    for ip in found {
        match rules.check(*ip) {
            Verdict::Public | Verdict::AllowedPrivate => allowed.push(*ip),
            Verdict::Refused(why) => refusal = refusal.or(Some(why)),
        }
    }
    match (allowed.is_empty(), refusal) {
        (false, _) => Ok(allowed),
        (true, Some(why)) => Err(ResolveError::Refused(why)),
        (true, None) => Err(ResolveError::NoAddress),
    }
}

#[cfg(test)]
mod tests;
