use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::deliver::http::client::ClientOptions;
use crate::deliver::http::resolver::Lookup;
use crate::deliver::request::tests::webhook;
use crate::deliver::tests::Source;
use crate::dispatch::record::NextAttempt;
use crate::domain::attempt::{AttemptResult, Fault};
use crate::record::pool::ConnectionEpoch;
use crate::telemetry::Health;
use crate::telemetry::metrics::Labels;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A sender, the outcomes of its attempts and its reports.
struct Sender {
    sender: Arc<AttemptSender>,
    ended: mpsc::Receiver<Outcome>,
    reported: mpsc::UnboundedReceiver<LaneEvent>,
}

/// A sender whose names are resolved by `lookup`, and the outcomes of its attempts.
fn sender(lookup: Lookup) -> Sender {
    let pool = PgPoolOptions::new()
        .connect_lazy("postgres://nobody@localhost/none")
        .expect("a pool");
    let options = ClientOptions {
        lookup,
        ..ClientOptions::default()
    };
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    let (requeue, _) = mpsc::unbounded_channel();
    let (outcomes, ended) = mpsc::channel(1);
    let (events, reported) = mpsc::unbounded_channel();
    let sender = AttemptSender {
        client: WebhookClient::new(options).expect("a client"),
        pool: pool.clone(),
        monitor: PgMonitor::new(
            "a server".to_owned(),
            Arc::clone(&metrics),
            Arc::new(Health::new(Arc::clone(&metrics), &[])),
            ConnectionEpoch::default(),
            TIMEOUT,
        ),
        schedules: Arc::new(Schedules::parse(&BTreeMap::new()).expect("schedules")),
        in_flight: Arc::new(InFlight::new(pool, requeue)),
        outcomes,
        events,
        metrics,
        tasks: TaskTracker::new(),
        give_up: CancellationToken::new(),
    };
    Sender {
        sender: Arc::new(sender),
        ended,
        reported,
    }
}

const TURN: Turn = Turn {
    is_probe: false,
    waited_for_endpoint: false,
    is_backlog_full: false,
};

/// Makes one attempt for a name that `lookup` fails to resolve, and returns its outcome.
async fn attempt(lookup: Lookup) -> Outcome {
    let Sender {
        sender,
        mut ended,
        mut reported,
    } = sender(lookup);
    let work = sender
        .in_flight
        .admit(Box::new(Source::new().read(1, 1)))
        .expect("admitted");
    sender.start(work, Arc::new(webhook("https://receiver.test/hook")), false, TURN);
    let outcome = tokio::time::timeout(TIMEOUT, ended.recv()).await;
    let reported = tokio::time::timeout(TIMEOUT, reported.recv()).await;
    assert!(matches!(reported, Ok(Some(LaneEvent::Ended { .. }))));
    outcome.expect("in time").expect("an outcome")
}

#[tokio::test]
async fn a_panic_of_our_own_is_an_outcome_and_our_fault() {
    let outcome = attempt(Arc::new(|_, _| panic!("a look-up that panics"))).await;
    let row = outcome.row.attempt.expect("an attempt");
    assert_eq!(
        (row.result, row.fault, row.error.as_deref()),
        (AttemptResult::Internal, Fault::Own, Some("our own code failed"))
    );
    assert!(matches!(
        outcome.next,
        Some(Next::Retry(
            NextAttempt {
                attempt: 2,
                step: 0,
                ..
            },
            _
        ))
    ));
}

#[tokio::test]
async fn an_attempt_whose_partition_was_given_back_is_not_made() {
    let Sender {
        sender,
        mut ended,
        mut reported,
    } = sender(Arc::new(|_, _| panic!("it was made")));
    let mut source = Source::new();
    let work = sender
        .in_flight
        .admit(Box::new(source.read(1, 1)))
        .expect("admitted");
    source.assignment.revoke();
    sender.start(work, Arc::new(webhook("https://receiver.test/hook")), false, TURN);
    assert!(matches!(reported.try_recv(), Ok(LaneEvent::GivenUp { .. })));
    assert!(sender.tasks.is_empty());
    assert!(ended.try_recv().is_err());
    assert_eq!(source.take_completed(), [0_i64; 0]);
}

/// Fields of the spans `deliver.attempt`.
#[derive(Clone, Default)]
struct SpanFields(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Visit for SpanFields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut fields = self.0.lock().expect("not poisoned");
        fields.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "deliver.attempt" {
            attributes.record(&mut self.clone());
        }
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

#[tokio::test]
async fn the_span_of_an_attempt_shows_its_record_and_its_end() {
    let fields = SpanFields::default();
    let subscriber = tracing_subscriber::registry().with(fields.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let outcome = attempt(Arc::new(|_, _| Box::pin(async { Ok(vec![]) }))).await;
    let row = outcome.row.attempt.expect("an attempt");
    assert_eq!(row.result, AttemptResult::Dns);
    let fields = fields.0.lock().expect("not poisoned");
    let names: Vec<&str> = fields.keys().copied().collect();
    assert_eq!(
        names,
        [
            "attempt",
            "delivery.id",
            "duration_ms",
            "error",
            "fault",
            "notification.id",
            "offset",
            "outcome",
            "partition",
            "site.id",
            "topic",
            "webhook.id"
        ]
    );
    for (name, value) in [
        ("site.id", "example.com"),
        ("delivery.id", &outcome.work.record.delivery_id.to_string()),
        ("attempt", "1"),
        ("topic", "\"bellwether.deliveries\""),
        ("outcome", "\"dns\""),
        ("fault", "\"endpoint\""),
        ("error", "\"the host name has no address\""),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
}
