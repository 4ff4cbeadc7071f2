use std::net::TcpListener;

use super::*;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

#[test]
fn brokers_are_read_as_hosts_and_ports() {
    for (brokers, wanted) in [
        ("a:9093", vec![("a", 9093)]),
        ("a", vec![("a", 9092)]),
        ("ssl://a:1, b:2", vec![("a", 1), ("b", 2)]),
        ("[::1]:3", vec![("[::1]", 3)]),
    ] {
        let wanted: Vec<(String, u16)> = wanted
            .into_iter()
            .map(|(host, port)| (host.to_owned(), port))
            .collect();
        assert_eq!(addresses(brokers), wanted, "{brokers}");
    }
}

fn cluster(brokers: String) -> Cluster {
    let config = KafkaConfig {
        brokers,
        ..KafkaConfig::default()
    };
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    Cluster::new(&config, &client_events).expect("a client")
}

#[test]
fn a_closed_port_is_reported_long_before_the_timeout() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let error = runtime.block_on(async {
        cluster(format!("127.0.0.1:{port}"))
            .topics(Duration::from_secs(60))
            .await
            .expect_err("nobody listens")
    });
    // librdkafka goes on waiting on its thread.
    runtime.shutdown_background();
    assert_eq!(error.cause, ConnectionCause::Refused);
    assert_eq!((error.host.as_str(), error.port), ("127.0.0.1", port));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_reported_at_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let error = cluster(address.to_string())
        .topics(Duration::from_millis(500))
        .await
        .expect_err("nobody answers");
    assert_eq!(
        (error.port, error.cause),
        (address.port(), ConnectionCause::NoAnswer)
    );
}
