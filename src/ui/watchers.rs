//! Sessions of those whose pages ask for a site's present: one statement a second checks them all,
//! whatever their number.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::record::sessions::SessionRecord;
use crate::record::tokens::TokenHash;

/// Age up to which a check is good enough.
const FRESH: Duration = Duration::from_secs(1);
/// Time after its last question for which a session is checked with the others.
const WATCHES: Duration = Duration::from_secs(15);
/// Time between two extensions of a cookie.
const EXTEND_EVERY: Duration = Duration::from_secs(60);
/// Most sessions that are remembered; others are looked up one by one.
const MAX_WATCHERS: usize = 10_000;

/// Sessions by the hash of their text.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<HashMap<TokenHash, Watcher>>);

#[derive(Debug)]
struct Watcher {
    session: SessionRecord,
    asked_at: Instant,
    checked_at: Instant,
    extended_at: Instant,
}

impl Watchers {
    /// The session of a watcher, if it was valid within the last second. `check` gives those of
    /// several sessions that are valid; whoever comes first asks for all, the others wait. `None`
    /// if it is not known here.
    pub(super) async fn find<E>(
        &self,
        hash: &TokenHash,
        now: Instant,
        check: impl AsyncFnOnce(Vec<TokenHash>) -> Result<HashSet<TokenHash>, E>,
    ) -> Result<Option<SessionRecord>, E> {
        let mut watchers = self.0.lock().await;
        let Some(own) = watchers.get_mut(hash) else {
            return Ok(None);
        };
        own.asked_at = own.asked_at.max(now);
        if now.saturating_duration_since(own.checked_at) >= FRESH {
            watchers.retain(|_, one| now.saturating_duration_since(one.asked_at) < WATCHES);
            let valid = check(watchers.keys().copied().collect()).await?;
            watchers.retain(|hash, _| valid.contains(hash));
            watchers.values_mut().for_each(|one| one.checked_at = now);
        }
        let Some(own) = watchers.get_mut(hash) else {
            return Ok(None);
        };
        let is_due = now.saturating_duration_since(own.extended_at) >= EXTEND_EVERY;
        if is_due {
            own.extended_at = now;
        }
        Ok(Some(SessionRecord {
            is_extended: is_due && !own.session.is_of_link,
            ..own.session.clone()
        }))
    }

    /// Remembers a session that was looked up at `now`.
    pub(super) async fn note(&self, hash: TokenHash, session: SessionRecord, now: Instant) {
        let mut watchers = self.0.lock().await;
        if watchers.len() < MAX_WATCHERS || watchers.contains_key(&hash) {
            let watcher = Watcher {
                session,
                asked_at: now,
                checked_at: now,
                extended_at: now,
            };
            watchers.insert(hash, watcher);
        }
    }
}

#[cfg(test)]
mod tests;
