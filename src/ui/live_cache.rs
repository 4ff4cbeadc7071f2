//! The present of sites for everybody who watches: read once a second, whatever their number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;

use crate::clock;

/// Age up to which an answer is given again.
const FRESH: Duration = Duration::from_secs(1);
/// Most sites that are remembered.
const MAX_SITES: usize = 1_000;

/// One site: the last answer and its time. Whoever comes first reads, the others wait for it.
type Entry = Arc<AsyncMutex<Option<(Instant, Bytes)>>>;

/// The answers by the key of the site.
#[derive(Debug, Default)]
pub(super) struct LiveCache(Mutex<HashMap<String, Entry>>);

impl LiveCache {
    /// The answer for `key`, made by `read` if the last one is older than a second.
    pub(super) async fn get<E>(
        &self,
        key: String,
        read: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Bytes, E> {
        let entry = self.entry(key);
        let mut last = entry.lock().await;
        if let Some((at, answer)) = &*last
            && clock::monotonic().duration_since(*at) < FRESH
        {
            return Ok(answer.clone());
        }
        let answer = read.await?;
        *last = Some((clock::monotonic(), answer.clone()));
        Ok(answer)
    }

    fn entry(&self, key: String) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_SITES && !entries.contains_key(&key) {
            // Everything in it is a second old at most: forgetting costs one reading each.
            entries.clear();
        }
        Arc::clone(entries.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_watch_cost_one_reading() {
        let cache = LiveCache::default();
        let readings = AtomicU32::new(0);
        let read = || async {
            readings.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, ()>(Bytes::from_static(b"now"))
        };
        let watchers = (0..200).map(|_| cache.get("site".to_owned(), read()));
        let answers = futures_util::future::join_all(watchers).await;
        assert!(answers.iter().all(|answer| answer.as_deref() == Ok(b"now")));
        assert_eq!(readings.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let cache = LiveCache::default();
        let failed = cache
            .get("site".to_owned(), async { Err::<Bytes, _>("away") })
            .await;
        assert_eq!(failed, Err("away"));
        let read = cache.get("site".to_owned(), async {
            Ok::<_, &str>(Bytes::from_static(b"now"))
        });
        assert_eq!(read.await.as_deref(), Ok(&b"now"[..]));
    }
}
