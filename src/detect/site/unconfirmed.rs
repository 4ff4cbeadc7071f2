//! Notifications of a site that depend on its state, and whose deliveries are not known to be
//! published.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::state_record::StoredDecision;
use crate::detect::notification::Decision;
use crate::domain::id::NotificationId;
use crate::domain::site::SiteId;

/// The unconfirmed notifications of one site.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    list: Vec<UnconfirmedDecision>,
    /// Notifications of a newer version, passed on as they are.
    foreign: Vec<Box<RawValue>>,
}

#[derive(Debug)]
struct UnconfirmedDecision {
    episode: Uuid,
    decision: Decision,
    /// Part of a state that was handed out to be written.
    is_stored: bool,
}

impl Unconfirmed {
    /// Restores the notifications of a stored state.
    pub(super) fn restore(stored: Vec<Box<RawValue>>, site_id: &SiteId) -> Self {
        let mut foreign = Vec::new();
        let known = stored.into_iter().filter_map(|raw| {
            let decision = StoredDecision::read(&raw);
            if decision.is_none() {
                foreign.push(raw);
            }
            decision
        });
        let list = known.map(|stored| {
            let (episode, decision) = stored.into_decision(site_id.clone());
            UnconfirmedDecision {
                episode,
                decision,
                is_stored: true,
            }
        });
        Self {
            list: list.collect(),
            foreign,
        }
    }

    /// Adds the notification of an episode.
    pub(super) fn push(&mut self, episode: Uuid, decision: Decision) {
        self.list.push(UnconfirmedDecision {
            episode,
            decision,
            is_stored: false,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.list.iter().map(|entry| &entry.decision)
    }

    /// Returns all of them as they are stored, and those that are stored for the first time.
    pub(super) fn store(&mut self) -> (Vec<Box<RawValue>>, Vec<Decision>) {
        let mut new = Vec::new();
        let stored = self.list.iter_mut().map(|entry| {
            if !std::mem::replace(&mut entry.is_stored, true) {
                new.push(entry.decision.clone());
            }
            StoredDecision::new(entry.episode, &entry.decision).to_raw()
        });
        let stored = stored.chain(self.foreign.iter().cloned()).collect();
        (stored, new)
    }

    /// Removes a notification whose deliveries are published. Returns true if a state that was
    /// handed out has it.
    pub(super) fn confirm(&mut self, notification: NotificationId) -> bool {
        let mut was_stored = false;
        self.list.retain(|entry| {
            let is_it = entry.decision.id == notification;
            was_stored |= is_it && entry.is_stored;
            !is_it
        });
        was_stored
    }
}
