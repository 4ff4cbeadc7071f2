//! One trigger of a site: its rule, its state, its webhooks, and what they are notified of.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::evaluation::{EpisodeChange, EpisodeNews, EpisodeNotice, Evaluation};
use super::subscriber::Subscriber;
use crate::detect::notification::RecordOrigin;
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::machine::{Episode, Evidence, Notice, Transition, TriggerState};
use crate::detect::site::rules::reading::{Occasion, SiteReading};
use crate::domain::id::{WebhookId, derive_episode};
use crate::domain::site_now::TriggerPhase;
use crate::domain::time::from_second;
use crate::telemetry::words::SuppressReason;

/// A condition with its state, shared by every webhook that asks for it.
#[derive(Debug)]
pub(crate) struct Trigger {
    pub(super) condition: Condition,
    pub(super) rule: Rule,
    pub(super) state: TriggerState,
    pub(super) subscribers: Vec<Subscriber>,
    /// Marked to be judged at the next instant.
    pub(super) is_due: bool,
    /// True if the row of its episode has an earlier peak.
    pub(super) is_peak_untold: bool,
    /// True if a newer version has stored a condition of its type that is not known here.
    pub(super) is_held: bool,
    /// A state that a newer version wrote: it is passed on as it is, and the trigger is not judged.
    pub(super) foreign: Option<Box<RawValue>>,
}

/// The cause of an evaluation, with the facts that name what it decides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause<'a> {
    Record(RecordOrigin<'a>),
    /// An instant at which something fell due.
    Timer {
        /// Time that becomes part of ids, in milliseconds since the Unix epoch.
        at_ms: i64,
        /// True if the site's source has fallen silent, which may be the only reason.
        is_source_silent: bool,
    },
}

impl Cause<'_> {
    fn occasion(&self) -> Occasion {
        match self {
            Self::Record(_) => Occasion::Event,
            Self::Timer { .. } => Occasion::Timer,
        }
    }

    /// Time that becomes part of ids, in milliseconds since the Unix epoch.
    pub(crate) fn at_ms(&self) -> i64 {
        match self {
            Self::Record(origin) => origin.id_ms,
            Self::Timer { at_ms, .. } => *at_ms,
        }
    }

    /// Time by which it is judged if a webhook was there already.
    fn active_ms(&self) -> i64 {
        match self {
            Self::Record(origin) => origin.record_ms,
            Self::Timer { at_ms, .. } => *at_ms,
        }
    }
}

/// The input of an evaluation of a site's triggers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TriggerInput<'a> {
    pub(crate) site_id: &'a str,
    pub(crate) reading: SiteReading<'a>,
    pub(crate) cause: Cause<'a>,
    /// True if the site's clock is recent enough for a notification.
    pub(crate) is_fresh: bool,
}

impl Trigger {
    /// True if its episode is none of these webhooks', as all that it is of are gone, and none of
    /// those only cannot be read.
    pub(super) fn is_of_others(&self, subscribers: &[Subscriber], unreadable: &[WebhookId]) -> bool {
        let is_there = |one: &Subscriber| {
            unreadable.contains(&one.webhook) || subscribers.iter().any(|other| other.webhook == one.webhook)
        };
        self.state.is_firing()
            && !self.subscribers.is_empty()
            && !subscribers.is_empty()
            && !self.subscribers.iter().any(is_there)
    }

    /// Judges the trigger.
    pub(super) fn judge(&mut self, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        let occasion = input.cause.occasion();
        let is_firing = self.state.is_firing();
        if self.is_passed_on() || (!is_firing && self.rule.fires_on() != occasion) {
            return;
        }
        let active_ms = input.cause.active_ms();
        let has_active = self.subscribers.iter().any(|one| one.since_ms <= active_ms);
        // A trigger acts on what comes from its creation on.
        if !has_active && !is_firing {
            return;
        }
        let reading = input.reading;
        let count = self.rule.count(reading);
        let started_at = self.state.episode().map(|episode| episode.started_at);
        evaluation.has_grown |= self.note_peak(reading);
        let evidence = Evidence {
            level: self.rule.level(started_at, reading),
            now: reading.now(),
            count,
            may_fire: self.rule.fires_on() == occasion,
            is_fresh: input.is_fresh && has_active,
        };
        let condition = &self.condition;
        match self.state.judge(evidence, || episode_id(condition, input)) {
            Transition::Same => return,
            Transition::Changed => {}
            Transition::Withheld => {
                let withheld = (self.condition.event(), SuppressReason::Stale);
                evaluation.withheld.push(withheld);
                self.note_expected(reading);
                self.add_change(evaluation);
            }
            Transition::Fires => {
                self.note_expected(reading);
                self.notify_beginning(input, evaluation);
                self.add_change(evaluation);
            }
            Transition::Arms(episode) => self.notify_end(episode, input, evaluation),
        }
        evaluation.changed = true;
    }

    /// Notes how many events were expected during the silence that is to be told. What was noted
    /// before stays while no rate is known, after a restart.
    fn note_expected(&mut self, reading: SiteReading<'_>) {
        if let (Rule::Silence(rule), Some(episode)) = (&self.rule, self.state.episode_mut()) {
            episode.expected = rule.expected(reading).or(episode.expected);
        }
    }

    /// Adds the episode going on to the history of alerts.
    fn add_change(&mut self, evaluation: &mut Evaluation) {
        self.is_peak_untold = false;
        evaluation.episodes.extend(self.running());
    }

    fn entry(&self, episode: Episode) -> EpisodeChange {
        EpisodeChange {
            condition: self.condition.clone(),
            episode,
            webhooks: self.subscribers.iter().map(|one| one.webhook).collect(),
            ended_at: None,
        }
    }

    /// The episode going on, as far as its state tells of it.
    pub(super) fn running(&self) -> Option<EpisodeChange> {
        self.state.episode().map(|episode| self.entry(*episode))
    }

    /// Decides who is notified of the episode's beginning.
    fn notify_beginning(&mut self, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        let (now, active_ms) = (input.reading.now(), input.cause.active_ms());
        let Some(episode) = self.state.episode_mut() else {
            return;
        };
        let mut webhooks = Vec::new();
        for subscriber in &mut self.subscribers {
            (subscriber.is_notified, subscriber.reminders) = (false, 0);
            if subscriber.since_ms > active_ms {
                continue;
            }
            if subscriber.is_too_soon(episode.started_at) {
                let withheld = (self.condition.event(), SuppressReason::MinInterval);
                evaluation.withheld.push(withheld);
                continue;
            }
            subscriber.is_notified = true;
            subscriber.notified_at = Some(episode.started_at);
            webhooks.push(subscriber.webhook);
        }
        if webhooks.is_empty() {
            episode.notice = Notice::Suppressed;
            return;
        }
        episode.notice = Notice::Decided {
            at_ms: input.cause.at_ms(),
            at: now,
        };
        let episode = *episode;
        let notice = self.notice(EpisodeNews::Begins, episode, webhooks, input);
        evaluation.notices.push(notice);
    }

    /// Notifies those who want to know of the end of an episode whose beginning they know of.
    fn notify_end(&mut self, episode: Episode, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        if !episode.is_shared {
            evaluation.episodes.push(EpisodeChange {
                ended_at: Some(input.reading.now()),
                ..self.entry(episode)
            });
        }
        let resolved = self.condition.resolved_event();
        let mut webhooks = Vec::new();
        for subscriber in &mut self.subscribers {
            let was_notified = std::mem::take(&mut subscriber.is_notified);
            if was_notified && subscriber.options.notify_resolved {
                webhooks.push(subscriber.webhook);
            }
        }
        let Some(event) = resolved.filter(|_| !webhooks.is_empty()) else {
            return;
        };
        if !input.is_fresh {
            evaluation.withheld.push((event, SuppressReason::Stale));
            return;
        }
        let notice = self.notice(EpisodeNews::Ends, episode, webhooks, input);
        evaluation.notices.push(notice);
    }

    /// Sends the reminders that have fallen due, one notification for all webhooks with the same
    /// number. Of several that a webhook has missed it gets the last.
    pub(super) fn remind(&mut self, input: &TriggerInput<'_>, evaluation: &mut Evaluation) {
        let now = input.reading.now();
        let Some((episode, at)) = self.notified_episode() else {
            return;
        };
        if self.is_passed_on() || now < self.rule.exact_from(input.reading) {
            return;
        }
        let mut due: Vec<(u32, Vec<WebhookId>)> = Vec::new();
        for subscriber in &mut self.subscribers {
            if subscriber.next_reminder(at).is_none_or(|next| next > now) {
                continue;
            }
            subscriber.skip_reminders(at, now);
            match due.iter_mut().find(|(number, _)| *number == subscriber.reminders) {
                Some((_, webhooks)) => webhooks.push(subscriber.webhook),
                None => due.push((subscriber.reminders, vec![subscriber.webhook])),
            }
        }
        for (number, webhooks) in due {
            evaluation.changed = true;
            if input.is_fresh {
                let notice = self.notice(EpisodeNews::Lasts(number), episode, webhooks, input);
                evaluation.notices.push(notice);
            } else {
                let withheld = (self.condition.event(), SuppressReason::Stale);
                evaluation.withheld.push(withheld);
            }
        }
    }

    /// Counts the reminders up to an instant as given. Returns how many there are.
    pub(super) fn skip_reminders(&mut self, until: u32) -> u32 {
        let Some((_, at)) = self.notified_episode() else {
            return 0;
        };
        let notified = self.subscribers.iter_mut().filter(|one| one.is_notified);
        let skipped = notified.map(|subscriber| {
            let before = subscriber.reminders;
            subscriber.skip_reminders(at, until);
            subscriber.reminders - before
        });
        skipped.sum()
    }

    /// The episode whose beginning was notified, and the second at which it was.
    fn notified_episode(&self) -> Option<(Episode, u32)> {
        let episode = *self.state.episode()?;
        match episode.notice {
            Notice::Decided { at, .. } => Some((episode, at)),
            Notice::Withheld | Notice::Suppressed => None,
        }
    }

    fn notice(
        &self,
        news: EpisodeNews,
        episode: Episode,
        webhooks: Vec<WebhookId>,
        input: &TriggerInput<'_>,
    ) -> EpisodeNotice {
        let reading = input.reading;
        let (silent_seconds, visitors) = match &self.rule {
            Rule::Silence(rule) => (
                rule.last
                    .or_else(|| rule.silent_from(reading))
                    .map(|last| reading.now().saturating_sub(last)),
                0,
            ),
            Rule::Count(rule) => (None, rule.window.visitors()),
            Rule::Spike(_) | Rule::Drop(_) => (None, 0),
        };
        let is_source_silent = match input.cause {
            Cause::Record(_) => false,
            Cause::Timer { is_source_silent, .. } => is_source_silent,
        };
        EpisodeNotice {
            news,
            condition: self.condition.clone(),
            episode,
            at: reading.now(),
            count: self.rule.count(reading),
            silent_seconds,
            visitors,
            at_ms: input.cause.at_ms(),
            created_at_ms: input.cause.active_ms(),
            is_source_silent: is_source_silent && news == EpisodeNews::Begins,
            webhooks,
        }
    }

    /// The next instant at which the trigger is to be looked at without an event.
    pub(super) fn due(&self, reading: SiteReading<'_>) -> Option<u32> {
        if self.is_passed_on() || (reading.is_log && self.condition.is_of_rejects()) {
            return None;
        }
        let is_firing = self.state.is_firing();
        let change = self.rule.next_change(is_firing, reading);
        if !is_firing {
            return change;
        }
        let started_at = self.state.episode().map(|episode| episode.started_at);
        let arms = self
            .state
            .arms_at(self.rule.level(started_at, reading), reading.now());
        let reminder = self.notified_episode().and_then(|(_, at)| {
            let next = self
                .subscribers
                .iter()
                .filter_map(|one| one.next_reminder(at))
                .min()?;
            Some(next.max(self.rule.exact_from(reading)))
        });
        [change, arms, reminder].into_iter().flatten().min()
    }

    /// True if it is not judged here, as only a newer version knows all of it.
    pub(super) fn is_passed_on(&self) -> bool {
        self.foreign.is_some() || self.is_held
    }

    /// Its state, and when that began.
    pub(super) fn phase(&self, reading: SiteReading<'_>) -> (TriggerPhase, Option<DateTime<Utc>>) {
        match self.state.episode() {
            Some(episode) => {
                let since = from_second(episode.started_at);
                (TriggerPhase::Firing, Some(since))
            }
            None if self.is_passed_on() || !self.rule.knows_enough(reading) => (TriggerPhase::Waiting, None),
            None => (TriggerPhase::Armed, None),
        }
    }

    /// True if it is armed and fires by a timer.
    pub(super) fn waits_for_timer(&self) -> bool {
        !self.state.is_firing() && self.rule.fires_on() == Occasion::Timer
    }
}

/// Derives an episode's id from the facts of its decision, so that the same decision made twice has
/// the same id.
fn episode_id(condition: &Condition, input: &TriggerInput<'_>) -> Uuid {
    let (event, facts) = (condition.event(), condition.facts());
    let mut all: Vec<&[u8]> = vec![event.as_str().as_bytes(), input.site_id.as_bytes(), &facts];
    let (partition, offset, at);
    match input.cause {
        Cause::Record(origin) => {
            partition = origin.partition.to_be_bytes();
            offset = origin.offset.to_be_bytes();
            all.extend([origin.topic.as_bytes(), &partition, &offset]);
        }
        Cause::Timer { .. } => {
            at = input.reading.now().to_be_bytes();
            all.extend([b"timer".as_slice(), &at]);
        }
    }
    derive_episode(input.cause.at_ms(), &all)
}
