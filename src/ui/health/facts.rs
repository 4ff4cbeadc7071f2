//! The facts from which the states of a webhook are told, and a state as it is shown.

use crate::ui::html::Html;
use crate::ui::missed::MissedCount;
use crate::ui::model::{DeliveryView, TriggerView, WebhookView};
use crate::ui::times::Zone;

/// Something that an editor can do about a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Remedy {
    Resume,
    Enable,
    Recover,
    FinishRotation,
}

/// One state, of which a webhook may have several.
#[derive(Debug)]
pub(in crate::ui) struct StateBox {
    pub(in crate::ui) shape: &'static str,
    pub(in crate::ui) class: &'static str,
    pub(in crate::ui) words: Html,
    pub(in crate::ui) remedies: Vec<Remedy>,
}

/// The facts from which states are told.
#[derive(Debug)]
pub(in crate::ui) struct HealthFacts<'a> {
    pub(in crate::ui) webhook: &'a WebhookView,
    /// The newest deliveries, newest first.
    pub(in crate::ui) newest: &'a [DeliveryView],
    pub(in crate::ui) triggers: &'a [TriggerView],
    /// Visitors of the site now, if they were counted.
    pub(in crate::ui) visitors: Option<u64>,
    pub(in crate::ui) zone: &'a Zone,
    /// The deliveries that it missed, if we have switched it off.
    pub(in crate::ui) missed: Option<MissedCount>,
    /// True if tests are among the newest deliveries.
    pub(in crate::ui) knows_tests: bool,
}

pub(super) fn state(shape: &'static str, class: &'static str, words: Html) -> StateBox {
    StateBox {
        shape,
        class,
        words,
        remedies: Vec::new(),
    }
}

impl StateBox {
    pub(super) fn with(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }
}

pub(super) fn is_real(delivery: &&DeliveryView) -> bool {
    delivery.event_type != "test"
}

/// The last delivery with a try of this outcome.
pub(super) fn last_tried<'a>(
    facts: &HealthFacts<'a>,
    is_wanted: impl Fn(&DeliveryView) -> bool,
) -> Option<&'a DeliveryView> {
    let tried = facts.newest.iter().filter(is_real).filter(|one| one.attempts > 0);
    tried.into_iter().find(|one| is_wanted(one))
}
