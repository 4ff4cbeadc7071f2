//! The registered sites that the records are of. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::detect::site::goals::GoalIndex;
use crate::detect::site::matches::subscription;
use crate::domain::event::EventType;
use crate::domain::trigger::NoticePace;
use crate::record::known::KnownSite;

/// Sites by their ids and aliases.
#[derive(Debug, Default)]
pub(super) struct IndexedSites {
    by_id: HashMap<String, Arc<IndexedSite>>,
    by_alias: HashMap<String, Arc<IndexedSite>>,
}

/// A registered site, with its goals made to be found.
#[derive(Debug)]
pub(super) struct IndexedSite {
    pub(super) site: KnownSite,
    pub(super) goals: GoalIndex,
}

impl IndexedSites {
    pub(super) fn new(sites: Vec<KnownSite>) -> Self {
        let mut this = Self::default();
        for site in sites {
            let indexed = Arc::new(IndexedSite {
                goals: GoalIndex::new(site.goals.iter().cloned()),
                site,
            });
            for alias in &indexed.site.aliases {
                this.by_alias.insert(alias.clone(), Arc::clone(&indexed));
            }
            this.by_id.insert(indexed.site.site_id.clone(), indexed);
        }
        this
    }

    /// The site of this id; true beside it if the id is only an alias.
    pub(super) fn find(&self, id: &str) -> Option<(&IndexedSite, bool)> {
        let own = self.by_id.get(id).map(|site| (&**site, false));
        own.or_else(|| self.by_alias.get(id).map(|site| (&**site, true)))
    }
}

/// The webhooks that a single event concerns.
#[derive(Debug, Default)]
pub(super) struct ConcernedWebhooks {
    /// Number of those that are notified of it.
    pub(super) notified: usize,
    /// Number of those that would be, had they been made or switched on before it.
    pub(super) younger: usize,
    /// Paces of those that only count it, in words.
    pub(super) counting: BTreeSet<String>,
}

impl IndexedSite {
    /// The webhooks that a single event of this type and name concerns, whose record was written at
    /// `record_ms`.
    pub(super) fn concerned(&self, event: EventType, name: &str, record_ms: i64) -> ConcernedWebhooks {
        let mut concerned = ConcernedWebhooks::default();
        for webhook in &self.site.webhooks {
            let is_younger = webhook.active_since.timestamp_millis() > record_ms;
            let Some(trigger) = subscription(&webhook.triggers, event, name).filter(|_| webhook.enabled)
            else {
                continue;
            };
            match trigger.pace {
                _ if is_younger => concerned.younger += 1,
                NoticePace::Each => concerned.notified += 1,
                pace => {
                    concerned
                        .counting
                        .insert(format!("one that a webhook counts: it is notified {pace}"));
                }
            }
        }
        concerned
    }
}
