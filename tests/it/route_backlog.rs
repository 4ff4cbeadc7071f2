//! The role `route` while the brokers acknowledge nothing that it publishes: it stops reading, and
//! goes on.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::faults::Wire;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(120);
/// Far more than may be on their way at once.
const RECORDS: usize = 60_000;
/// As many make the backlog crowded.
const CROWDED: f64 = 20_000.0;

/// Publishes unkeyed events of a site that nobody has registered: they are routed all the same.
fn publish(deployment: &Deployment, records: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    for n in 0..records {
        let event =
            json!({"site_id": "a.example", "type": "pageview", "visitor_id": n.to_string(), "path": "/"});
        let value = event.to_string();
        let record = BaseRecord::<str, str>::to(&deployment.source)
            .partition((n % 4) as i32)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        if n % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(TIMEOUT).unwrap();
}

/// Records that were read, once it reads no more.
async fn read_at_last(process: &Process, series: &str) -> f64 {
    let mut before = -1.0;
    loop {
        let read = process.metric(series).await;
        if read >= CROWDED && read == before {
            return read;
        }
        before = read;
        // Time has to pass: nothing else tells that nothing happens.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn route_stops_reading_while_nothing_is_acknowledged() {
    let wire = Wire::to_kafka().await;
    let sources = "[{topic=\"{source}\", clock=\"live\", keyed=false}]";
    let mut deployment = Deployment::create(&[("sources", sources)]).await;
    deployment.set("kafka.brokers", &wire.address());
    let process = deployment.serve(&["--roles", "route"]).await;
    let read = format!(
        "bellwether_events_total{{result=\"unregistered\",source=\"{}\"}}",
        deployment.source
    );
    publish(&deployment, 1);
    process.metric_is(&read, 1.0).await;
    let events = deployment.topic("events");
    eventually("the first is routed", TIMEOUT, || async {
        (kafka::read_all(&events).len() == 1).then_some(())
    })
    .await;

    // Of its connections only the producer's names the topic of what is routed.
    wire.hold_answers_to(&events);
    publish(&deployment, RECORDS);
    let stopped = tokio::time::timeout(TIMEOUT, read_at_last(&process, &read)).await;
    let stopped = stopped.expect("it stops");
    assert!(
        stopped < 0.75 * RECORDS as f64,
        "{stopped} of {RECORDS} were read"
    );
    let (status, _) = process.readyz().await.expect("it answers");
    println!("route stopped after {stopped} of {RECORDS} records, readyz {status}");

    wire.hold_answers_to("what nobody asks for");
    wire.cut();
    wire.mend();
    process.metric_is(&read, RECORDS as f64 + 1.0).await;
    let group = deployment.topic("route");
    eventually("all is routed and committed", TIMEOUT, || async {
        (kafka::uncommitted(&group, &deployment.source) == 0).then_some(())
    })
    .await;
    // At least once: a broker may have had what it never acknowledged.
    assert!(kafka::read_all(&events).len() > RECORDS);
}
