//! The triggers of one site: their subscribers, their states, and the effects of events and of
//! time.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::rules::spike::{Episode, Observation, Spike, Transition, TriggerState};
use super::state_record::{StoredEpisode, StoredTrigger};
use crate::detect::notification::RecordOrigin;
use crate::detect::window::SlidingWindow;
use crate::domain::event::EventType;
use crate::domain::id::{WebhookId, derive_episode};
use crate::domain::registry::Site;
use crate::domain::site_now::{TriggerNow, TriggerPhase};
use crate::domain::time::from_ms;
use crate::domain::trigger::{DEFAULT_WINDOW_SECONDS, SpikeSettings};

/// All triggers of a site. Equal settings of several webhooks are one trigger.
#[derive(Debug)]
pub(crate) struct SiteTriggers {
    list: Vec<Trigger>,
    /// Below it nothing fires.
    lowest_threshold: u32,
    /// Number of triggers that are firing.
    firing: u32,
}

#[derive(Debug)]
struct Trigger {
    spike: Spike,
    /// Index of its window length among the site's.
    length: usize,
    subscribers: Vec<Subscriber>,
}

/// A webhook that asks for a trigger.
#[derive(Debug, Clone, Copy)]
struct Subscriber {
    webhook: WebhookId,
    /// Earlier records do not notify it; milliseconds since the Unix epoch.
    since_ms: i64,
}

/// An episode whose notification is due.
#[derive(Debug)]
pub(crate) struct Fired {
    pub(crate) settings: SpikeSettings,
    pub(crate) episode: Episode,
    pub(crate) observation: Observation,
    pub(crate) webhooks: Vec<WebhookId>,
}

/// The effect of an event on a site's triggers.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    /// The state is to be written.
    pub(crate) changed: bool,
    pub(crate) fired: Vec<Fired>,
    /// Notifications withheld because they lie too far in the past.
    pub(crate) stale: u32,
}

impl SiteTriggers {
    /// Makes an empty list.
    pub(crate) fn none() -> Self {
        Self {
            list: Vec::new(),
            lowest_threshold: u32::MAX,
            firing: 0,
        }
    }

    /// Makes the triggers that were stored, which are all firing. [`Self::configure`] must follow.
    pub(crate) fn restore(stored: Vec<StoredTrigger>) -> Self {
        Self {
            list: stored.into_iter().map(from_stored).collect(),
            ..Self::none()
        }
    }

    /// Adopts the settings that the site's webhooks ask for. `window` has the lengths of
    /// [`window_lengths`]; `counted` is false while its counts are still to be rebuilt.
    pub(crate) fn configure(&mut self, site: &Site, window: &SlidingWindow, counted: bool) {
        let old = std::mem::take(&mut self.list);
        let lengths = window_lengths(site);
        for (settings, subscribers) in subscribers_by_settings(site) {
            let is_own = |seconds: &u32| *seconds == settings.window_seconds;
            let length = lengths.iter().position(is_own).unwrap_or_default();
            let same = old.iter().find(|old| old.spike.settings == settings);
            let edited = || {
                let mut webhooks = subscribers.iter().map(|subscriber| subscriber.webhook);
                webhooks.find_map(|webhook| episode_of(&old, webhook))
            };
            let spike = match (same, window.now()) {
                (Some(same), _) => same.spike,
                (None, now) => match edited() {
                    None => Spike::armed(settings),
                    // Counts that are still to be rebuilt do not show that it is calm.
                    Some(episode) if !counted => Spike::edited(settings, episode, now, u32::MAX),
                    Some(episode) => Spike::edited(settings, episode, now, window.count(length)),
                },
            };
            self.list.push(Trigger {
                spike,
                length,
                subscribers,
            });
        }
        let thresholds = self.list.iter().map(|trigger| trigger.spike.settings.threshold);
        self.lowest_threshold = thresholds.min().unwrap_or(u32::MAX);
        self.count_firing();
    }

    fn count_firing(&mut self) {
        // A site has nowhere near 2³² triggers.
        self.firing = self.firing().count() as u32;
    }

    fn firing(&self) -> impl Iterator<Item = &Trigger> {
        self.list.iter().filter(|trigger| trigger.spike.is_firing())
    }

    /// Number of episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.firing
    }

    /// The next instant at which a trigger's state may change without an event.
    pub(crate) fn next_due(&self, window: &SlidingWindow) -> Option<u32> {
        self.firing()
            .filter_map(|trigger| match trigger.spike.due() {
                Some(due) => Some(due),
                // After a loss of records the count may be low without having fallen in steps.
                None if window.count(trigger.length) <= trigger.spike.settings.rearm_level() => {
                    Some(window.now())
                }
                None => window.next_fall(trigger.length),
            })
            .min()
    }

    /// Moves the triggers to an instant at which something is due. Returns true if a state changed.
    pub(crate) fn pass(&mut self, now: u32, window: &SlidingWindow) -> bool {
        let mut changed = false;
        for trigger in &mut self.list {
            changed |= trigger.spike.pass(now, window.count(trigger.length));
        }
        if changed {
            self.count_firing();
        }
        changed
    }

    /// Judges every trigger on the event that came from `origin` and is counted in `window`.
    pub(crate) fn judge(
        &mut self,
        site_id: &str,
        window: &SlidingWindow,
        origin: RecordOrigin<'_>,
        fresh: bool,
    ) -> Evaluation {
        let mut evaluation = Evaluation::default();
        // No length counts more than the longest one: at nearly every event nothing more is looked
        // at.
        if self.firing == 0 && window.live() < self.lowest_threshold {
            return evaluation;
        }
        for trigger in &mut self.list {
            let settings = trigger.spike.settings;
            let is_active = |subscriber: &&Subscriber| subscriber.since_ms <= origin.record_ms;
            let has_active = trigger.subscribers.iter().any(|one| is_active(&one));
            // A trigger acts on events from its creation on.
            if !has_active && !trigger.spike.is_firing() {
                continue;
            }
            let observation = Observation {
                now: window.now(),
                count: window.count(trigger.length),
                record_ms: origin.record_ms,
                fresh: fresh && has_active,
            };
            let new_id = || episode_id(site_id, settings, origin);
            match trigger.spike.judge(observation, new_id) {
                Transition::Same => continue,
                Transition::Changed => {}
                Transition::Stale => evaluation.stale += 1,
                Transition::Fires(episode) => evaluation.fired.push(Fired {
                    settings,
                    episode,
                    observation,
                    webhooks: trigger
                        .subscribers
                        .iter()
                        .filter(is_active)
                        .map(|subscriber| subscriber.webhook)
                        .collect(),
                }),
            }
            evaluation.changed = true;
        }
        if evaluation.changed {
            self.count_firing();
        }
        evaluation
    }

    /// The state of each webhook's trigger.
    pub(crate) fn phases(&self) -> Vec<TriggerNow> {
        let one = |trigger: &Trigger, subscriber: &Subscriber| TriggerNow {
            webhook_id: subscriber.webhook,
            event: EventType::VisitorSpike,
            state: match trigger.spike.is_firing() {
                true => TriggerPhase::Firing,
                false => TriggerPhase::Armed,
            },
            since: match trigger.spike.state {
                TriggerState::Firing { episode, .. } => Some(from_ms(i64::from(episode.started_at) * 1_000)),
                TriggerState::Armed => None,
            },
            threshold: Some(trigger.spike.settings.threshold),
        };
        let triggers = self.list.iter();
        triggers
            .flat_map(|trigger| {
                trigger
                    .subscribers
                    .iter()
                    .map(move |subscriber| one(trigger, subscriber))
            })
            .collect()
    }

    /// The triggers that are to be stored: those that are firing.
    pub(crate) fn stored(&self) -> Vec<StoredTrigger> {
        self.list.iter().filter_map(to_stored).collect()
    }
}

/// The window lengths that a site needs, in seconds: first that of current visitors, then those of
/// its triggers.
pub(crate) fn window_lengths(site: &Site) -> Vec<u32> {
    let mut lengths = vec![DEFAULT_WINDOW_SECONDS];
    for settings in subscribers_by_settings(site).keys() {
        if !lengths.contains(&settings.window_seconds) {
            lengths.push(settings.window_seconds);
        }
    }
    lengths
}

/// The settings that a site's enabled webhooks ask for, with the webhooks that ask for each.
fn subscribers_by_settings(site: &Site) -> BTreeMap<SpikeSettings, Vec<Subscriber>> {
    let mut subscribers = BTreeMap::<_, Vec<_>>::new();
    for webhook in site.webhooks.iter().filter(|webhook| webhook.enabled) {
        if let Some(settings) = webhook.triggers.visitor_spike {
            subscribers.entry(settings).or_default().push(Subscriber {
                webhook: webhook.id,
                since_ms: webhook.active_since_ms,
            });
        }
    }
    subscribers
}

/// Derives an episode's id from the facts of its decision, so that the same decision made twice has
/// the same id.
fn episode_id(site_id: &str, settings: SpikeSettings, origin: RecordOrigin<'_>) -> Uuid {
    derive_episode(
        origin.record_ms,
        &[
            EventType::VisitorSpike.as_str().as_bytes(),
            site_id.as_bytes(),
            &settings.threshold.to_be_bytes(),
            &settings.window_seconds.to_be_bytes(),
            origin.topic.as_bytes(),
            &origin.partition.to_be_bytes(),
            &origin.offset.to_be_bytes(),
        ],
    )
}

/// The episode of the firing trigger to which a webhook subscribed.
fn episode_of(triggers: &[Trigger], webhook: WebhookId) -> Option<Episode> {
    triggers
        .iter()
        .filter(|trigger| trigger.subscribers.iter().any(|one| one.webhook == webhook))
        .find_map(|trigger| match trigger.spike.state {
            TriggerState::Firing { episode, .. } => Some(episode),
            TriggerState::Armed => None,
        })
}

fn to_stored(trigger: &Trigger) -> Option<StoredTrigger> {
    let TriggerState::Firing { episode, calm_since } = trigger.spike.state else {
        return None;
    };
    Some(StoredTrigger {
        event: EventType::VisitorSpike,
        threshold: trigger.spike.settings.threshold,
        window_seconds: trigger.spike.settings.window_seconds,
        webhooks: trigger.subscribers.iter().map(|one| one.webhook).collect(),
        calm_since,
        episode: StoredEpisode {
            id: episode.id,
            started_at: episode.started_at,
            decided_at_ms: episode.decided_at_ms,
        },
    })
}

fn from_stored(stored: StoredTrigger) -> Trigger {
    let settings = SpikeSettings {
        threshold: stored.threshold,
        window_seconds: stored.window_seconds,
    };
    let episode = Episode {
        id: stored.episode.id,
        started_at: stored.episode.started_at,
        decided_at_ms: stored.episode.decided_at_ms,
    };
    let subscribers = stored
        .webhooks
        .into_iter()
        .map(|webhook| Subscriber { webhook, since_ms: 0 });
    Trigger {
        spike: Spike {
            settings,
            state: TriggerState::Firing {
                episode,
                calm_since: stored.calm_since,
            },
        },
        length: 0,
        subscribers: subscribers.collect(),
    }
}
