use futures_util::FutureExt as _;
use sqlx::postgres::PgPoolOptions;

use super::*;
use crate::record::pool::ConnectionEpoch;
use crate::telemetry::metrics::Labels;
use crate::telemetry::{Health, Metrics};

#[tokio::test]
async fn nobody_is_answered_once_all_work_has_finished() {
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    let (answer_to, answers) = std::sync::mpsc::channel();
    let question = HistoryQuestion {
        partition: 0,
        site: "a.example".parse().expect("a site id"),
        zone: chrono_tz::Tz::UTC,
        hour: 1,
        wants_rates: false,
        answer_to,
    };
    let queue = Arc::new(HistoryQueue::new(Arc::clone(&metrics)));
    assert!(queue.ask(vec![question]).is_empty());
    let writer = HistoryWriter {
        queue,
        pool: PgPoolOptions::new()
            .connect_lazy("postgres://nobody@127.0.0.1:1/none")
            .expect("a pool"),
        monitor: PgMonitor::new(
            "a server".to_owned(),
            Arc::clone(&metrics),
            Arc::new(Health::new(metrics, &[])),
            ConnectionEpoch::default(),
            Duration::from_secs(1),
        ),
    };
    let finished = CancellationToken::new();
    finished.cancel();
    // With a question it would wait for Postgres.
    assert!(writer.run(finished).now_or_never().is_some());
    assert!(answers.recv().is_err());
}
