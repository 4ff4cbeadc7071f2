//! Changes of the registry.

use std::sync::Arc;

use super::Engine;
use crate::detect::site::SiteState;
use crate::detect::site::state_record::{StateRecord, split_key};
use crate::domain::event::SourceClock;
use crate::domain::registry::{Registry, Site};
use crate::domain::site::SiteId;
use crate::domain::trigger::ErrorSettings;

impl Engine {
    /// Adopts the current registry: changed sites are judged by their new settings; deleted ones
    /// are removed and tombstones are written for their state.
    pub(crate) fn set_registry(&mut self, registry: Arc<Registry>) {
        let changed = registry.changed_since(self.registry.version);
        let before = std::mem::replace(&mut self.registry, registry);
        self.claim_states();
        match changed {
            Some(changed) => {
                for site_id in changed {
                    self.bury_earlier(&site_id);
                    self.begin_if_new(&before, &site_id);
                    self.adopt(&site_id);
                }
            }
            None => {
                let known: Vec<SiteId> = self.sites.iter().map(|state| state.id.clone()).collect();
                let begun = self.beginnings.keys().cloned();
                let registry = Arc::clone(&self.registry);
                let all: Vec<SiteId> = known.into_iter().chain(begun).collect();
                for site_id in registry.sites.keys() {
                    self.bury_earlier(site_id);
                    self.begin_if_new(&before, site_id);
                }
                for site_id in all {
                    self.adopt(&site_id);
                }
                self.add_silent_sites();
            }
        }
    }

    /// Adopts a site as the registry has it.
    fn adopt(&mut self, site_id: &SiteId) {
        let registry = Arc::clone(&self.registry);
        let site = registry.sites.get(site_id);
        match (self.find(site_id.as_str()), site) {
            (Some(index), None) => {
                self.others.extend(self.sites[index].tombstones());
                self.remove(index);
            }
            (Some(index), Some(site)) if site.version != self.sites[index].site.version => {
                self.bring_to_present(index);
                let state = &mut self.sites[index];
                let is_changed = state.configure(Arc::clone(site), &mut self.resources.segments);
                let ended = state.take_ended();
                if is_changed {
                    self.mark_dirty(index);
                }
                self.apply(index, ended);
                self.schedule(index);
            }
            (None, Some(site)) if self.is_wanted_silent(site) => self.add_silent(site),
            (None, None) => {
                self.bury_beginning(site_id);
                self.bury_unclaimed(site_id);
            }
            _ => {}
        }
    }

    /// Moves a site that time changes nothing of, and whose clock therefore may stand still for up
    /// to a minute, to where it is: new settings are not judged at a past instant.
    fn bring_to_present(&mut self, index: usize) {
        let state = &self.sites[index];
        let floor = self.moves_on_to(state.clock(), usize::from(state.source));
        if !self.was_rebuilding && floor > state.window.now() && state.is_idle(floor) {
            // Nothing falls due on the way.
            self.sites[index].move_to(floor, None, &mut self.resources);
        }
    }

    /// Writes tombstones for the stored state of a site that was deleted before it was known here.
    fn bury_unclaimed(&mut self, site_id: &SiteId) {
        let keys = self
            .unclaimed
            .keys()
            .filter(|key| split_key(key).0 == site_id.as_str());
        for key in keys.cloned().collect::<Vec<_>>() {
            self.unclaimed.remove(&key);
            self.others
                .push(StateRecord::tombstone(site_id.clone(), split_key(&key).1));
        }
    }

    /// Adds the sites on which something may fire though they never had an event.
    pub(super) fn add_silent_sites(&mut self) {
        let registry = Arc::clone(&self.registry);
        for site in registry.sites.values() {
            if self.is_wanted_silent(site) && self.find(site.id.as_str()).is_none() {
                self.add_silent(site);
            }
        }
    }

    pub(super) fn add_silent(&mut self, site: &Arc<Site>) {
        let mut state = SiteState::new(Arc::clone(site), true, 0, &mut self.resources.segments);
        state.begin_with_webhooks();
        state.is_live_by_default = true;
        self.add_begun(state);
    }

    /// True if something may fire on a site of this partition that never had an event. The events
    /// of logs alone tell the time there, so a live source is needed.
    pub(super) fn is_wanted_silent(&self, site: &Site) -> bool {
        let sources = &self.config.sources;
        let is_wanted = site.webhooks.iter().any(|webhook| {
            let (drop, errors) = (&webhook.triggers.visitor_drop, &webhook.triggers.error_condition);
            let is_silence = |one: &ErrorSettings| matches!(one, ErrorSettings::Silence { .. });
            let waits = drop.is_some_and(|drop| !drop.condition.require_history)
                || errors
                    .as_ref()
                    .is_some_and(|errors| errors.conditions.iter().any(is_silence));
            webhook.enabled && waits
        });
        is_wanted
            && sources.iter().any(|source| source.clock == SourceClock::Live)
            && self.config.is_keyed_here(&site.id)
    }
}

#[cfg(test)]
mod tests;
