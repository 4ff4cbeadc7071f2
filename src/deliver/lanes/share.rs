//! Requests in flight of sites or hosts, and the endpoints that wait for one of them to end.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::domain::id::WebhookId;

/// Counts and waiting endpoints by site or host. What has neither is not held.
#[derive(Debug)]
pub(super) struct Shares<K>(HashMap<K, Share>);

#[derive(Debug, Default)]
struct Share {
    in_flight: u32,
    /// Endpoints that wait for a place within the share.
    waiting: VecDeque<WebhookId>,
    /// Endpoints with nothing in flight, which need no place within the share, and wait for the
    /// site's upper bound.
    first_waiting: VecDeque<WebhookId>,
}

impl Share {
    fn waiting(&mut self, is_first: bool) -> &mut VecDeque<WebhookId> {
        if is_first {
            &mut self.first_waiting
        } else {
            &mut self.waiting
        }
    }
}

impl<K: Hash + Eq + Clone> Shares<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn in_flight(&self, key: &K) -> u32 {
        self.0.get(key).map_or(0, |share| share.in_flight)
    }

    pub(super) fn started(&mut self, key: &K) {
        self.0.entry(key.clone()).or_default().in_flight += 1;
    }

    /// Counts a request that ended.
    pub(super) fn ended(&mut self, key: &K) {
        if let Some(share) = self.0.get_mut(key) {
            share.in_flight = share.in_flight.saturating_sub(1);
            self.drop_unused(key);
        }
    }

    /// Removes the endpoint that has waited longest. `is_first`: among those with nothing in
    /// flight.
    pub(super) fn next_waiting(&mut self, key: &K, is_first: bool) -> Option<WebhookId> {
        let next = self.0.get_mut(key)?.waiting(is_first).pop_front();
        self.drop_unused(key);
        next
    }

    pub(super) fn wait(&mut self, key: &K, endpoint: WebhookId, is_first: bool) {
        let share = self.0.entry(key.clone()).or_default();
        share.waiting(is_first).push_back(endpoint);
    }

    /// Forgets an endpoint that waits no longer.
    pub(super) fn forget(&mut self, key: &K, endpoint: WebhookId) {
        if let Some(share) = self.0.get_mut(key) {
            for waiting in [&mut share.waiting, &mut share.first_waiting] {
                waiting.retain(|waiting| *waiting != endpoint);
            }
            self.drop_unused(key);
        }
    }

    fn drop_unused(&mut self, key: &K) {
        let is_unused = |share: &Share| {
            share.in_flight == 0 && share.waiting.is_empty() && share.first_waiting.is_empty()
        };
        if self.0.get(key).is_some_and(is_unused) {
            self.0.remove(key);
        }
    }
}
