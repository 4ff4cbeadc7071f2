//! Rules whose visitors or events are not known from some second on.

use super::SiteTriggers;
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::drop::DropRule;

/// A second that is not known yet, and later than all.
pub(crate) const NOT_KNOWN: u32 = u32::MAX;

/// The second of a site whose clock has not begun.
const BEFORE_CLOCK: u32 = 0;

impl SiteTriggers {
    /// Notes that the clock of a site begins at a second: from then on its latest visitors are
    /// known. On a live site they were known since a trigger was made, and there were none.
    pub(crate) fn begin_clock(&mut self, second: u32, is_live: bool) {
        for rule in self.drops_known_since(BEFORE_CLOCK) {
            rule.known_since = match is_live {
                true => rule.active_since,
                false => second,
            };
        }
    }

    /// True if the latest visitors are not known of some trigger.
    pub(crate) fn lack_latest(&self) -> bool {
        let mut rules = self.list.iter().map(|trigger| &trigger.rule);
        rules.any(
            |rule| matches!(rule, Rule::Drop(drop) if drop.length.is_none() && drop.known_since == NOT_KNOWN),
        )
    }

    /// Notes that the events until now were missed.
    pub(crate) fn miss_events(&mut self) {
        for trigger in &mut self.list {
            match &mut trigger.rule {
                Rule::Drop(rule) => rule.known_since = NOT_KNOWN,
                Rule::Silence(rule) => (rule.last, rule.watched_from) = (None, None),
                Rule::Spike(_) | Rule::Count(_) => {}
            }
        }
    }

    /// Notes that from a second on the latest visitors are known of every trigger.
    pub(crate) fn end_lack(&mut self, from: u32) {
        for rule in self.drops_known_since(NOT_KNOWN) {
            rule.known_since = from;
        }
    }

    fn drops_known_since(&mut self, second: u32) -> impl Iterator<Item = &mut DropRule> {
        self.list
            .iter_mut()
            .filter_map(move |trigger| match &mut trigger.rule {
                Rule::Drop(rule) if rule.known_since == second => Some(rule),
                _ => None,
            })
    }
}
