//! The way from the API to an endpoint: a test is sent by the process that answers the call.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::link_template::LinkTemplate;
use crate::domain::site::SiteId;
use crate::domain::webhook::Webhook;
use crate::record::outcomes::AttemptRow;

/// A test notification to be sent.
#[derive(Debug)]
pub(crate) struct TestRequest {
    pub(crate) webhook: Webhook,
    pub(crate) delivery_id: DeliveryId,
    pub(crate) notification_id: NotificationId,
    /// The canonical body.
    pub(crate) body: Bytes,
}

/// Makes one attempt, which always ends.
pub(crate) type SendTest = dyn Fn(TestRequest) -> BoxFuture<'static, AttemptRow> + Send + Sync;

/// Most tests of one site under way in a process, however many connections there are.
const MOST_OF_SITE: usize = 32;
/// Sites whose tests may all hang while those of others still find a connection.
const HUNG_SITES: usize = 4;

/// Numbers of tests under way, by site: endpoints that hang take no place from those of others.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TestShares {
    most_of_site: usize,
    numbers: Arc<Mutex<HashMap<SiteId, usize>>>,
}

/// The place of a test under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct TestShare {
    shares: TestShares,
    site: SiteId,
}

impl TestShares {
    /// Divides so many connections.
    pub(crate) fn of(connections: usize) -> Self {
        Self {
            // A test holds two while it looks a name up.
            most_of_site: (connections / (2 * HUNG_SITES)).clamp(1, MOST_OF_SITE),
            numbers: Arc::default(),
        }
    }

    /// A place for one more test of the site; none while as many are under way as may be.
    pub(crate) fn take(&self, site: &SiteId) -> Option<TestShare> {
        let mut numbers = self.lock();
        let number = numbers.entry(site.clone()).or_default();
        if *number >= self.most_of_site {
            return None;
        }
        *number += 1;
        Some(TestShare {
            shares: self.clone(),
            site: site.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteId, usize>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestShare {
    fn drop(&mut self) {
        let mut numbers = self.shares.lock();
        if let Some(number) = numbers.get_mut(&self.site) {
            *number -= 1;
            if *number == 0 {
                numbers.remove(&self.site);
            }
        }
    }
}

/// Needs of a test: `webhook_test` sends each in a task of `tasks`, which goes on when its caller
/// hangs up.
#[derive(Clone)]
pub(crate) struct TestSender {
    pub(crate) send: Arc<SendTest>,
    pub(crate) links: Option<LinkTemplate>,
    /// Longest time of an attempt.
    pub(crate) timeout: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) shares: TestShares,
}

impl fmt::Debug for TestSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSender")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_its_share_of_tests_and_no_more() {
        let shares = TestShares::of(48);
        let (one, other): (SiteId, SiteId) = ("one".parse().expect("an id"), "other".parse().expect("an id"));
        let mut taken: Vec<_> = (0..6).map(|_| shares.take(&one).expect("a place")).collect();
        assert!(shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        taken.pop();
        assert!(shares.take(&one).is_some());
        taken.clear();
        assert!(shares.lock().is_empty());
        let most = [8, 256, 8_192].map(|connections| TestShares::of(connections).most_of_site);
        assert_eq!(most, [1, MOST_OF_SITE, MOST_OF_SITE]);
    }
}
