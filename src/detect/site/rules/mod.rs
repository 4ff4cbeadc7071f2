//! Rules that triggers follow: each says how near its site is to a breach, and when that may change
//! without an event. The state machine over them is the same for all.

/// The facts on which rules are judged, and their answers.
pub(crate) mod reading;
/// The state machine: armed, firing, armed again.
pub(crate) mod machine;
/// The spike: too many visitors.
pub(crate) mod spike;
/// The drop: too few visitors.
pub(crate) mod drop;
/// The count: too many events of one kind.
pub(crate) mod count;
/// The silence: no events for longer than is plausible.
pub(crate) mod silence;

use count::CountRule;
use drop::DropRule;
use reading::{Level, Occasion, SiteReading};
use silence::SilenceRule;
use spike::SpikeRule;

/// A rule with what it keeps beside the site's windows.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Spike(SpikeRule),
    Drop(DropRule),
    Count(CountRule),
    Silence(SilenceRule),
}

impl Rule {
    /// The occasion on which it may fire.
    pub(crate) fn fires_on(&self) -> Occasion {
        match self {
            Self::Spike(_) | Self::Count(_) => Occasion::Event,
            Self::Drop(_) | Self::Silence(_) => Occasion::Timer,
        }
    }

    /// The distance of the site from a breach. `started_at` is the second at which the episode
    /// began, if one is going on.
    pub(crate) fn level(&self, started_at: Option<u32>, reading: SiteReading<'_>) -> Level {
        match self {
            Self::Spike(rule) => rule.level(reading),
            Self::Drop(rule) => rule.level(reading),
            Self::Count(rule) => rule.level(reading),
            Self::Silence(rule) => rule.level(started_at, reading),
        }
    }

    /// The earliest instant at which the level may change without an event, or at which the rule
    /// has something to forget.
    pub(crate) fn next_change(&self, is_firing: bool, reading: SiteReading<'_>) -> Option<u32> {
        match self {
            Self::Spike(rule) => rule.next_change(is_firing, reading),
            Self::Drop(rule) => rule.next_change(is_firing, reading),
            Self::Count(rule) => rule.next_change(is_firing, reading),
            Self::Silence(rule) => rule.next_change(is_firing, reading),
        }
    }

    /// The instant from which on the count of an episode going on is more than a lower bound.
    pub(crate) fn exact_from(&self, reading: SiteReading<'_>) -> u32 {
        match self {
            Self::Drop(rule) => rule.exact_from(reading),
            Self::Spike(_) | Self::Count(_) | Self::Silence(_) => 0,
        }
    }

    /// True if enough is known for it to fire.
    pub(crate) fn knows_enough(&self, reading: SiteReading<'_>) -> bool {
        match self {
            Self::Drop(rule) => rule.knows_enough(reading),
            Self::Silence(rule) => rule.knows_enough(reading),
            Self::Spike(_) | Self::Count(_) => true,
        }
    }

    /// The count that a notification shows.
    pub(crate) fn count(&self, reading: SiteReading<'_>) -> u32 {
        match self {
            Self::Spike(rule) => rule.count(reading),
            Self::Drop(rule) => rule.count(reading),
            Self::Count(rule) => rule.window.count(),
            Self::Silence(_) => 0,
        }
    }

    /// The more extreme of two counts of an episode.
    pub(crate) fn peak(&self, one: u32, other: u32) -> u32 {
        match self {
            Self::Spike(_) | Self::Count(_) => one.max(other),
            Self::Drop(_) | Self::Silence(_) => one.min(other),
        }
    }
}
