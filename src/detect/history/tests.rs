use super::*;
use crate::domain::event::EventType;
use crate::domain::time::from_ms;
use crate::telemetry::metrics::Labels;

fn queue() -> HistoryQueue {
    HistoryQueue::new(Arc::new(Metrics::new(&Labels::default())))
}

fn key(site: &str, hour: u32) -> HourKey {
    (site.parse().expect("a site id"), hour)
}

fn hour(minute: usize, visitors: u32) -> SiteHour {
    let mut hour = SiteHour::default();
    hour.set(minute, visitors);
    hour
}

#[test]
fn an_hour_that_waits_is_merged() {
    let queue = queue();
    queue.add_hours(vec![(key("s", 1), hour(0, 5))]);
    queue.add_hours(vec![(key("s", 1), hour(1, 6)), (key("s", 2), hour(0, 7))]);
    let batch = queue.take();
    let merged = &batch.hours[&key("s", 1)];
    assert_eq!((merged.minute(0), merged.minute(1)), (Some(5), Some(6)));
    assert_eq!(batch.hours.len(), 2);
    assert!(queue.take().is_empty());
}

#[test]
fn beyond_the_bound_hours_are_counted_and_not_held() {
    let queue = queue();
    let hours = |from: u32, count: usize| {
        (from..)
            .take(count)
            .map(|at| (key("s", at), hour(0, 1)))
            .collect()
    };
    queue.add_hours(hours(0, MAX_HOURS));
    queue.add_hours(hours(MAX_HOURS as u32 - 2, 5));
    assert_eq!(queue.lock().hours.len(), MAX_HOURS);
    assert_eq!(queue.metrics.evictions.with_label_values(&["history"]).get(), 3);
}

#[test]
fn a_batch_is_bounded_and_questions_come_after_rows() {
    let queue = queue();
    let (answer_to, _answers) = std::sync::mpsc::channel();
    let question = |site: usize| HistoryQuestion {
        partition: 0,
        site: format!("site {site}").parse().expect("a site id"),
        zone: Tz::UTC,
        hour: 1,
        wants_rates: false,
        answer_to: answer_to.clone(),
    };
    assert!(
        queue
            .ask((0..QUESTIONS_BATCH + 1).map(question).collect())
            .is_empty()
    );
    queue.add_hours((0..=BATCH as u32).map(|at| (key("s", at), hour(0, 1))).collect());
    let batch = queue.take();
    assert_eq!((batch.hours.len(), batch.questions.len()), (BATCH, 0));
    let batch = queue.take();
    assert_eq!((batch.hours.len(), batch.questions.len()), (1, QUESTIONS_BATCH));
    assert_eq!(queue.take().questions.len(), 1);
}

fn episode(number: usize) -> EpisodeEntry {
    EpisodeEntry {
        id: Uuid::from_u128(number as u128),
        site_id: "s".parse().expect("a site id"),
        event: EventType::VisitorSpike,
        trigger: serde_json::Value::Null,
        webhooks: Vec::new(),
        started_at: from_ms(0),
        ended_at: None,
        peak: 1,
        threshold: None,
        expected: None,
        score: None,
        notification: None,
    }
}

#[test]
fn beyond_the_bound_rows_of_episodes_are_given_back() {
    let queue = queue();
    let (report_to, _saved) = std::sync::mpsc::channel();
    let origin = RowOrigin {
        partition: 3,
        report_to,
    };
    let rows = |numbers: std::ops::Range<usize>| numbers.map(episode).collect::<Vec<_>>();
    assert!(queue.add_episodes(rows(0..MAX_EPISODES), &origin).is_empty());
    let refused = queue.add_episodes(rows(MAX_EPISODES - 2..MAX_EPISODES + 2), &origin);
    assert_eq!(refused, rows(MAX_EPISODES..MAX_EPISODES + 2));
    assert_eq!(queue.metrics.evictions.with_label_values(&["history"]).get(), 0);
    let batch = queue.take();
    assert_eq!((batch.episodes.len(), batch.origins.len()), (BATCH, BATCH));
}
