//! Notifications of a site's episodes whose deliveries are not known to be published.

use uuid::Uuid;

use super::state_record::StoredDecision;
use crate::detect::notification::Decision;
use crate::domain::id::NotificationId;
use crate::domain::site::SiteId;

/// The unconfirmed notifications of one site.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    list: Vec<UnconfirmedDecision>,
}

#[derive(Debug)]
struct UnconfirmedDecision {
    episode: Uuid,
    decision: Decision,
    /// Not yet handed out together with the state.
    is_new: bool,
}

impl Unconfirmed {
    /// Restores the notifications of a stored state.
    pub(super) fn restore(stored: Vec<StoredDecision>, site_id: &SiteId) -> Self {
        let list = stored.into_iter().map(|stored| {
            let (episode, decision) = stored.into_decision(site_id.clone());
            UnconfirmedDecision {
                episode,
                decision,
                is_new: false,
            }
        });
        Self { list: list.collect() }
    }

    /// Adds the notification of an episode.
    pub(super) fn push(&mut self, episode: Uuid, decision: Decision) {
        self.list.push(UnconfirmedDecision {
            episode,
            decision,
            is_new: true,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.list.iter().map(|entry| &entry.decision)
    }

    /// Returns all of them as they are stored, and those that are stored for the first time.
    pub(super) fn store(&mut self) -> (Vec<StoredDecision>, Vec<Decision>) {
        let mut new = Vec::new();
        let stored = self.list.iter_mut().map(|entry| {
            if std::mem::take(&mut entry.is_new) {
                new.push(entry.decision.clone());
            }
            StoredDecision::new(entry.episode, &entry.decision)
        });
        (stored.collect(), new)
    }

    /// Removes a notification whose deliveries are published. Returns true if it was there.
    pub(super) fn confirm(&mut self, notification: NotificationId) -> bool {
        let before = self.list.len();
        self.list.retain(|entry| entry.decision.id != notification);
        self.list.len() < before
    }
}
