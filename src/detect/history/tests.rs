use super::*;
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
