//! The triggers of one site: who asked for which, where each stands, what an event or the passing of time does to
//! them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::rules::spike::{Episode, Observation, Spike, State, Transition};
use super::state_record::{StoredEpisode, StoredTrigger};
use crate::detect::notification::Origin;
use crate::detect::window::Window;
use crate::domain::event::EventType;
use crate::domain::id::{WebhookId, derive_episode};
use crate::domain::registry::Site;
use crate::domain::trigger::{DEFAULT_WINDOW_SECONDS, SpikeSettings};

/// All triggers of a site. Equal settings of several webhooks are one.
#[derive(Debug)]
pub(crate) struct Triggers {
    list: Vec<Trigger>,
    /// The lowest threshold: below it nothing fires.
    alarm: u32,
    firing: u32,
}

#[derive(Debug)]
struct Trigger {
    spike: Spike,
    /// Its window's place among the site's.
    span: usize,
    takers: Vec<Taker>,
}

/// A webhook that asked for a trigger.
#[derive(Debug, Clone, Copy)]
struct Taker {
    webhook: WebhookId,
    /// It acts on records from then on, milliseconds since the Unix epoch.
    since_ms: i64,
}

/// An episode whose notification is due.
#[derive(Debug)]
pub(crate) struct Fired {
    pub(crate) settings: SpikeSettings,
    pub(crate) episode: Episode,
    pub(crate) moment: Observation,
    pub(crate) webhooks: Vec<WebhookId>,
}

/// What an event did to a site's triggers.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    /// The state is to be written.
    pub(crate) changed: bool,
    pub(crate) fired: Vec<Fired>,
    /// Notifications withheld because they lie too far in the past.
    pub(crate) stale: u32,
}

impl Triggers {
    /// No trigger at all.
    pub(crate) fn none() -> Self {
        Self {
            list: Vec::new(),
            alarm: u32::MAX,
            firing: 0,
        }
    }

    /// Those that were stored, all of them firing; what the site asks for now is for [`Self::configure`].
    pub(crate) fn restore(stored: Vec<StoredTrigger>) -> Self {
        Self {
            list: stored.into_iter().map(restored).collect(),
            ..Self::none()
        }
    }

    /// Takes over what the site's webhooks ask for. `window` has the lengths of [`lengths`] already; `counted` says
    /// that its counts are not yet to come.
    pub(crate) fn configure(&mut self, site: &Site, window: &Window, counted: bool) {
        let old = std::mem::take(&mut self.list);
        let lengths = lengths(site);
        for (settings, takers) in asked(site) {
            let length = |length: &u32| *length == settings.window_seconds;
            let span = lengths.iter().position(length).unwrap_or_default();
            let same = old.iter().find(|old| old.spike.settings == settings);
            let edited = || takers.iter().find_map(|taker| episode_of(&old, taker.webhook));
            let spike = match (same, window.now()) {
                (Some(same), _) => same.spike,
                (None, now) => match edited() {
                    None => Spike::armed(settings),
                    // Counts that are yet to come cannot say that it is calm.
                    Some(episode) if !counted => Spike::edited(settings, episode, now, u32::MAX),
                    Some(episode) => Spike::edited(settings, episode, now, window.count(span)),
                },
            };
            self.list.push(Trigger { spike, span, takers });
        }
        let thresholds = self.list.iter().map(|trigger| trigger.spike.settings.threshold);
        self.alarm = thresholds.min().unwrap_or(u32::MAX);
        self.count_firing();
    }

    fn count_firing(&mut self) {
        // A site has nowhere near 2³² triggers.
        self.firing = self.firing().count() as u32;
    }

    fn firing(&self) -> impl Iterator<Item = &Trigger> {
        self.list.iter().filter(|trigger| trigger.spike.is_firing())
    }

    /// Episodes going on.
    pub(crate) fn episodes(&self) -> u32 {
        self.firing
    }

    /// The next instant at which time alone changes a trigger's state, or may be about to.
    pub(crate) fn next_due(&self, window: &Window) -> Option<u32> {
        self.firing()
            .filter_map(|trigger| match trigger.spike.due() {
                Some(due) => Some(due),
                // After a loss of records the count may be found low without having been seen to fall.
                None if window.count(trigger.span) <= trigger.spike.settings.rearm_level() => {
                    Some(window.now())
                }
                None => window.next_fall(trigger.span),
            })
            .min()
    }

    /// Time has come to an instant at which something is due. Says whether a state changed.
    pub(crate) fn pass(&mut self, now: u32, window: &Window) -> bool {
        let mut changed = false;
        for trigger in &mut self.list {
            changed |= trigger.spike.pass(now, window.count(trigger.span));
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
        window: &Window,
        origin: Origin<'_>,
        fresh: bool,
    ) -> Evaluation {
        let mut judgement = Evaluation::default();
        // No window counts more than the longest does: this ends it for nearly every event.
        if self.firing == 0 && window.live() < self.alarm {
            return judgement;
        }
        for trigger in &mut self.list {
            let settings = trigger.spike.settings;
            let active = |taker: &&Taker| taker.since_ms <= origin.record_ms;
            let is_active = trigger.takers.iter().any(|taker| active(&taker));
            // A trigger acts on events from its creation on.
            if !is_active && !trigger.spike.is_firing() {
                continue;
            }
            let moment = Observation {
                now: window.now(),
                count: window.count(trigger.span),
                record_ms: origin.record_ms,
                fresh: fresh && is_active,
            };
            let new_id = || episode_id(site_id, settings, origin);
            match trigger.spike.judge(moment, new_id) {
                Transition::Same => continue,
                Transition::Changed => {}
                Transition::Stale => judgement.stale += 1,
                Transition::Fires(episode) => judgement.fired.push(Fired {
                    settings,
                    episode,
                    moment,
                    webhooks: trigger
                        .takers
                        .iter()
                        .filter(active)
                        .map(|taker| taker.webhook)
                        .collect(),
                }),
            }
            judgement.changed = true;
        }
        if judgement.changed {
            self.count_firing();
        }
        judgement
    }

    /// Those that are to be stored.
    pub(crate) fn stored(&self) -> Vec<StoredTrigger> {
        self.list.iter().filter_map(stored).collect()
    }
}

/// The window lengths a site needs, in seconds: first that of current visitors, then what its triggers ask for.
pub(crate) fn lengths(site: &Site) -> Vec<u32> {
    let mut lengths = vec![DEFAULT_WINDOW_SECONDS];
    for settings in asked(site).keys() {
        if !lengths.contains(&settings.window_seconds) {
            lengths.push(settings.window_seconds);
        }
    }
    lengths
}

/// What the webhooks of a site that are switched on ask for.
fn asked(site: &Site) -> BTreeMap<SpikeSettings, Vec<Taker>> {
    let mut asked = BTreeMap::<_, Vec<_>>::new();
    for webhook in site.webhooks.iter().filter(|webhook| webhook.enabled) {
        if let Some(settings) = webhook.triggers.visitor_spike {
            asked.entry(settings).or_default().push(Taker {
                webhook: webhook.id,
                since_ms: webhook.active_since_ms,
            });
        }
    }
    asked
}

/// An episode's id: the facts of its decision, so that deciding it twice names it the same.
fn episode_id(site_id: &str, settings: SpikeSettings, origin: Origin<'_>) -> Uuid {
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

/// The episode of the firing trigger that a webhook had.
fn episode_of(triggers: &[Trigger], webhook: WebhookId) -> Option<Episode> {
    triggers
        .iter()
        .filter(|trigger| trigger.takers.iter().any(|taker| taker.webhook == webhook))
        .find_map(|trigger| match trigger.spike.state {
            State::Firing { episode, .. } => Some(episode),
            State::Armed => None,
        })
}

fn stored(trigger: &Trigger) -> Option<StoredTrigger> {
    let State::Firing { episode, calm_since } = trigger.spike.state else {
        return None;
    };
    Some(StoredTrigger {
        event: EventType::VisitorSpike,
        threshold: trigger.spike.settings.threshold,
        window_seconds: trigger.spike.settings.window_seconds,
        webhooks: trigger.takers.iter().map(|taker| taker.webhook).collect(),
        calm_since,
        episode: StoredEpisode {
            id: episode.id,
            started_at: episode.started_at,
            decided_at_ms: episode.decided_at_ms,
        },
    })
}

fn restored(stored: StoredTrigger) -> Trigger {
    let settings = SpikeSettings {
        threshold: stored.threshold,
        window_seconds: stored.window_seconds,
    };
    let episode = Episode {
        id: stored.episode.id,
        started_at: stored.episode.started_at,
        decided_at_ms: stored.episode.decided_at_ms,
    };
    let takers = stored
        .webhooks
        .into_iter()
        .map(|webhook| Taker { webhook, since_ms: 0 });
    Trigger {
        spike: Spike {
            settings,
            state: State::Firing {
                episode,
                calm_since: stored.calm_since,
            },
        },
        span: 0,
        takers: takers.collect(),
    }
}
