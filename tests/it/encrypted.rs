//! Connections over TLS: to Kafka with SASL, to Postgres with its certificate verified.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::support::app::Deployment;
use crate::support::{eventually, kafka};

fn environment(name: &str) -> String {
    std::env::var(name).expect("`make test` starts services that listen encrypted, too")
}

/// A deployment that connects encrypted everywhere; the test's own connections are not encrypted.
async fn encrypted() -> Deployment {
    let mut deployment = Deployment::create(&[]).await;
    let authority = environment("DEV_TLS_CA");
    let plain = deployment.database.url.clone();
    let separator = if plain.contains('?') { '&' } else { '?' };
    deployment.set(
        "postgres.url",
        &format!("{plain}{separator}sslmode=verify-full&sslrootcert={authority}"),
    );
    deployment.set("kafka.brokers", &environment("DEV_KAFKA_TLS"));
    for (key, value) in [
        ("security_protocol", "SASL_SSL"),
        ("sasl_mechanism", "PLAIN"),
        ("sasl_username", "bellwether"),
        ("sasl_password", "bellwether"),
        ("ssl_ca_location", &authority),
        ("compression_type", "zstd"),
    ] {
        deployment.set(&format!("kafka.properties.{key}"), value);
    }
    deployment
}

#[tokio::test]
async fn kafka_and_postgres_over_tls_carry_a_webhook() {
    let deployment = encrypted().await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "a.example").await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    receiver.wait_for("hook", 1).await;
    // Only the test's own connections are not encrypted.
    let (encrypted,): (i64,) = sqlx::query_as(
        "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where datname = current_database() and ssl",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    assert!(encrypted > 0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let mut deployment = encrypted().await;
    // The system's authorities did not sign it.
    deployment.set(
        "postgres.url",
        &format!("{}?sslmode=verify-full", deployment.database.url),
    );
    let output = deployment.run(&["migrate"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("certificate") || said.contains("UnknownIssuer"),
        "{said}"
    );
}

#[tokio::test]
async fn source_records_are_read_with_every_compression() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "a.example").await;
    // A client compresses only a record that is long enough.
    let page = "/page".repeat(300);
    for (place, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka::brokers())
            .set("partitioner", "murmur2_random")
            .set("compression.type", codec)
            .create()
            .unwrap();
        let goal = json!({"site_id": "a.example", "type": "goal", "name": codec, "path": page}).to_string();
        producer
            .send(
                FutureRecord::to(&deployment.source)
                    .key("a.example")
                    .payload(&goal),
                Duration::from_secs(10),
            )
            .await
            .unwrap();
        let received = receiver.wait_for("hook", place + 1).await;
        let name = |body: &serde_json::Value| body["data"]["goal_name"].as_str().unwrap().to_owned();
        assert!(received.iter().any(|one| name(&one.json()) == codec), "{codec}");
    }
    eventually("all are recorded", Duration::from_secs(30), || async {
        let (count,): (i64,) = sqlx::query_as("select count(*) from deliveries where status = 'delivered'")
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
        (count == 5).then_some(())
    })
    .await;
}
