//! The registry: sites with their goals and webhooks, as one immutable snapshot the stages read
//! from.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono_tz::Tz;
use rpds::{HashTrieMapSync, HashTrieSetSync};

use super::goal::Goal;
use super::id::WebhookId;
use super::site::SiteId;
use super::webhook::{Subscription, Webhook};

/// A registered site with everything that decides what its events mean.
#[derive(Debug, Clone)]
pub struct Site {
    pub id: SiteId,
    /// When it was registered, in milliseconds since the Unix epoch: one that is deleted and
    /// registered again is another site.
    pub registered_ms: i64,
    /// Shown in notifications when set.
    pub name: Option<String>,
    /// The operator's page of the site, to which notifications link.
    pub link: Option<String>,
    /// True if notifications may name paths of pages.
    pub include_paths: bool,
    /// Other ids that mean the site, on sources that are keyed by `route`.
    pub aliases: Vec<String>,
    /// The zone of its hours and days.
    pub time_zone: Tz,
    pub goals: Vec<Arc<Goal>>,
    /// Webhooks that are not deleted; disabled ones are among them, and such as this process cannot
    /// decrypt.
    pub webhooks: Vec<Arc<Subscription>>,
    /// Webhooks of which not even the triggers can be read here: they are of a newer version.
    pub unreadable: Vec<WebhookId>,
    /// Grows whenever the site, one of its goals or one of its webhooks changes; what is derived
    /// from a site is rebuilt when it does.
    pub version: u64,
}

impl Site {
    /// The ids of its webhooks.
    pub(crate) fn webhook_ids(&self) -> impl Iterator<Item = WebhookId> + '_ {
        let readable = self.webhooks.iter().map(|webhook| webhook.id);
        readable.chain(self.unreadable.iter().copied())
    }
}

/// Most changes of which a registry knows the sites.
const MAX_CHANGES: usize = 1_024;

/// Everything registered, as of one look at Postgres. Cheap to share and to copy: two copies share
/// what is the same in both.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub sites: HashTrieMapSync<SiteId, Arc<Site>>,
    /// Webhooks that this process can send to.
    pub webhooks: HashTrieMapSync<WebhookId, Arc<Webhook>>,
    /// Webhooks that are stored, and to which this process cannot send: a key may be missing here,
    /// or they may be of a newer version.
    pub unreadable: HashTrieSetSync<WebhookId>,
    /// The highest version given to a change.
    pub version: u64,
    /// Sites that changed last, each with the version of the change, the earliest first.
    pub(crate) changes: VecDeque<(u64, SiteId)>,
}

impl Registry {
    /// Notes that a site changed, was added or was deleted. Returns the version of the change.
    pub(crate) fn note_change(&mut self, site_id: SiteId) -> u64 {
        self.version += 1;
        self.changes.push_back((self.version, site_id));
        if self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
        }
        self.version
    }

    /// The sites that changed since `version`, each once; `None` if that is not known, and every
    /// site may have.
    pub(crate) fn changed_since(&self, version: u64) -> Option<Vec<SiteId>> {
        let first = self.changes.front()?.0;
        if version == 0 || first > version + 1 {
            return None;
        }
        let changed = self.changes.iter().filter(|(at, _)| *at > version);
        let mut sites: Vec<SiteId> = changed.map(|(_, site_id)| site_id.clone()).collect();
        sites.sort_unstable();
        sites.dedup();
        Some(sites)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SiteId {
        format!("site {number}").parse().expect("a site id")
    }

    #[test]
    fn changes_are_known_as_far_back_as_they_are_kept() {
        let mut registry = Registry::default();
        assert_eq!(registry.changed_since(0), None);
        for number in 0..5 {
            registry.note_change(id(number));
        }
        registry.note_change(id(4));
        assert_eq!(registry.changed_since(0), None, "the reader has seen nothing yet");
        assert_eq!(registry.changed_since(3), Some(vec![id(3), id(4)]));
        assert_eq!(registry.changed_since(6), Some(vec![]));
        for number in 0..MAX_CHANGES as u64 {
            registry.note_change(id(number));
        }
        assert_eq!(registry.changed_since(5), None);
        assert_eq!(
            registry.changed_since(6).map(|sites| sites.len()),
            Some(MAX_CHANGES)
        );
    }
}
