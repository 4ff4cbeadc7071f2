//! The notifications of episodes, and their entries in the history of alerts.

use uuid::Uuid;

use super::condition::Condition;
use super::labels::SiteLabels;
use super::rules::machine::Notice;
use super::top::{top_pages, top_sources};
use super::triggers::evaluation::{EpisodeChange, EpisodeNews, EpisodeNotice};
use crate::detect::notification::{Decision, body};
use crate::detect::window::SlidingWindow;
use crate::domain::episode::EpisodeEntry;
use crate::domain::event::EventType;
use crate::domain::id::{NotificationId, NotificationKind};
use crate::domain::notification::{NotificationData, SuspectedCause, VisitorsData};
use crate::domain::registry::Site;
use crate::domain::site_now::Baseline;
use crate::domain::time::from_second;
use crate::domain::trigger::{ErrorSettings, LONGEST_SHORT_WINDOW_SECONDS};

/// The parts of a site's state that its notifications show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpisodeView<'a> {
    pub(crate) site: &'a Site,
    pub(crate) window: &'a SlidingWindow,
    pub(crate) labels: &'a SiteLabels,
    pub(crate) baseline: Option<Baseline>,
}

/// Builds the notification of an episode of visitors or errors; `None` for an episode of single
/// events, whose notification shows the event. `record` is the deciding record's source and offset.
pub(crate) fn episode_notification(
    view: EpisodeView<'_>,
    notice: EpisodeNotice,
    record: Option<(usize, i64)>,
) -> Option<Decision> {
    let site = view.site;
    let (threshold, window_seconds) = match &notice.condition {
        Condition::VisitorSpike(spike) => (spike.threshold, spike.window_seconds),
        Condition::VisitorDrop(drop) => (drop.threshold, drop.window_seconds),
        Condition::Errors(_) => (0, 0),
        Condition::GoalCompletion(_) | Condition::CustomEvent(_) => return None,
    };
    let data = match &notice.condition {
        Condition::Errors(errors) => error_data(errors, &notice),
        _ => NotificationData::Visitors(visitors_data(view, &notice, threshold, window_seconds)),
    };
    let (kind, event) = match notice.news {
        EpisodeNews::Begins => (NotificationKind::Start, notice.condition.event()),
        EpisodeNews::Lasts(_) => (NotificationKind::Reminder, notice.condition.event()),
        EpisodeNews::Ends => (NotificationKind::Resolved, notice.condition.resolved_event()?),
    };
    let (at, number) = (
        notice.at.to_be_bytes(),
        reminder(notice.news).unwrap_or(0).to_be_bytes(),
    );
    let episode = notice.episode.id;
    let mut keys: Vec<&[u8]> = match notice.news {
        EpisodeNews::Begins => vec![episode.as_bytes()],
        EpisodeNews::Lasts(_) => vec![episode.as_bytes(), &number, &at],
        EpisodeNews::Ends => vec![episode.as_bytes(), &at],
    };
    // It goes on under several settings, and each tells its own.
    let facts = notice.condition.facts();
    if notice.episode.is_shared {
        keys.push(&facts);
    }
    let id = NotificationId::derive(notice.at_ms, site.id.as_str(), event.as_str(), kind, &keys);
    Some(Decision {
        id,
        event,
        site_id: site.id.clone(),
        body: body(site, id, event, i64::from(notice.at) * 1_000, data),
        webhooks: notice.webhooks,
        created_at_ms: notice.created_at_ms,
        record,
        episode: Some(episode),
    })
}

/// An episode as the history of alerts has it.
pub(crate) fn history_entry(site: &Site, change: EpisodeChange, baseline: Option<Baseline>) -> EpisodeEntry {
    let EpisodeChange {
        condition,
        episode,
        webhooks,
        ended_at,
    } = change;
    let event = condition.event();
    let notification = match (episode.notice, &condition) {
        // Their notification shows the event that decided, and is added where that is known.
        (_, Condition::GoalCompletion(_) | Condition::CustomEvent(_)) => None,
        (Notice::Decided { at_ms, .. }, _) => Some(start_id(site, event, at_ms, episode.id)),
        (Notice::Withheld | Notice::Suppressed, _) => None,
    };
    let is_of_visitors = matches!(condition, Condition::VisitorSpike(_) | Condition::VisitorDrop(_));
    let usual = baseline
        .filter(|_| is_of_visitors)
        .map(|baseline| baseline.expected);
    EpisodeEntry {
        id: episode.id,
        site_id: site.id.clone(),
        event,
        trigger: condition.to_json(),
        webhooks,
        started_at: from_second(episode.started_at),
        ended_at: ended_at.map(from_second),
        peak: episode.peak,
        threshold: condition.threshold().map(f64::from),
        expected: usual.or(episode.expected.map(to_tenth)),
        score: None,
        notification,
    }
}

/// The id of the notification of an episode's beginning.
fn start_id(site: &Site, event: EventType, at_ms: i64, episode: Uuid) -> NotificationId {
    let keys: &[&[u8]] = &[episode.as_bytes()];
    NotificationId::derive(
        at_ms,
        site.id.as_str(),
        event.as_str(),
        NotificationKind::Start,
        keys,
    )
}

fn to_tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn visitors_data(
    view: EpisodeView<'_>,
    notice: &EpisodeNotice,
    threshold: u32,
    window_seconds: u32,
) -> VisitorsData {
    let has_ended = notice.news == EpisodeNews::Ends;
    // Pages and sources of a long window are not kept: those of the visitors of now are told.
    let listed_seconds = match window_seconds > LONGEST_SHORT_WINDOW_SECONDS {
        true => view.window.first_length(),
        false => window_seconds,
    };
    let visitors = || view.window.within(listed_seconds);
    VisitorsData {
        current_visitors: notice.count,
        threshold,
        window_seconds,
        baseline: view.baseline,
        top_sources: top_sources(visitors(), view.labels),
        top_pages: match view.site.include_paths {
            true => top_pages(visitors(), view.labels),
            false => Vec::new(),
        },
        started_at: from_second(notice.episode.started_at),
        reminder: reminder(notice.news),
        ended_at: has_ended.then(|| from_second(notice.at)),
        peak: has_ended.then_some(notice.episode.peak),
        suspected_cause: suspected_cause(notice),
    }
}

fn error_data<'a>(errors: &'a ErrorSettings, notice: &EpisodeNotice) -> NotificationData<'a> {
    let (goal, window_seconds, detail) = match errors {
        ErrorSettings::ErrorEvents {
            event,
            window_seconds,
            ..
        } => {
            let what = match event {
                None => "error events".to_owned(),
                Some(name) => format!("`{name}` events"),
            };
            let detail = format!("{} {what} within {window_seconds} s", notice.count);
            (None, *window_seconds, detail)
        }
        ErrorSettings::RejectedEvents { window_seconds, .. } => {
            let detail = format!(
                "{} records of the site could not be read within {window_seconds} s",
                notice.count
            );
            (None, *window_seconds, detail)
        }
        ErrorSettings::Silence { goal } => {
            let seconds = notice.silent_seconds.unwrap_or(0);
            let what = match goal {
                None => "event".to_owned(),
                Some(goal) => format!("completion of `{goal}`"),
            };
            let detail = format!("no {what} for {seconds} s{}", in_words(notice));
            (goal.as_deref(), seconds, detail)
        }
    };
    let silent = notice.silent_seconds;
    NotificationData::ErrorCondition {
        kind: errors.kind(),
        goal,
        count: notice.count,
        threshold: errors.count(),
        window_seconds,
        expected: notice.episode.expected.map(to_tenth),
        detail,
        started_at: from_second(notice.episode.started_at),
        last_event_at: silent
            .and_then(|seconds| notice.at.checked_sub(seconds))
            .map(from_second),
        reminder: reminder(notice.news),
        suspected_cause: suspected_cause(notice),
    }
}

/// Events that were expected during a silence, for the end of a sentence.
fn in_words(notice: &EpisodeNotice) -> String {
    match (notice.episode.expected, notice.news) {
        (Some(expected), EpisodeNews::Begins) => format!(", in which {expected:.1} were expected"),
        // Since then it has become longer.
        (Some(expected), _) => format!("; the alert began when {expected:.1} had been expected"),
        (None, _) => String::new(),
    }
}

fn reminder(news: EpisodeNews) -> Option<u32> {
    match news {
        EpisodeNews::Lasts(number) => Some(number),
        EpisodeNews::Begins | EpisodeNews::Ends => None,
    }
}

fn suspected_cause(notice: &EpisodeNotice) -> Option<SuspectedCause> {
    notice.is_source_silent.then_some(SuspectedCause::SourceSilent)
}
