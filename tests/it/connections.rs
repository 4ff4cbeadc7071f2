//! Servers that cannot be used: the one line about it names host, port and cause, as soon as it is
//! certain.

use std::fs::File;
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::commands::said;
use crate::support::app::Deployment;
use crate::support::kafka;

/// Long before any timeout of a client.
const SOON: Duration = Duration::from_secs(8);

fn environment(name: &str) -> String {
    std::env::var(name).expect("`make test` starts services that listen encrypted, too")
}

fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a command said that failed soon, which is one line.
fn failed_soon(run: impl FnOnce() -> Output) -> String {
    let begun = Instant::now();
    let (code, out, err) = said(run());
    let took = begun.elapsed();
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(took < SOON, "{took:?}: {err}");
    for hidden in ["transport failure", "pool timed out", "hunter2", "at line"] {
        assert!(!err.contains(hidden), "{err}");
    }
    err.trim_end().trim_start_matches("bellwether: ").to_owned()
}

/// Says what a start says that ends by itself, and how long it took.
async fn refused_start(deployment: &Deployment) -> (String, Duration) {
    let begun = Instant::now();
    let log = deployment.refused(&[]).await;
    (log, begun.elapsed())
}

/// Settings of a client that speaks TLS and SASL, with a password.
fn encrypt(deployment: &mut Deployment, password: &str) {
    deployment.set("kafka.brokers", &environment("DEV_KAFKA_TLS"));
    for (key, value) in [
        ("security_protocol", "SASL_SSL"),
        ("sasl_mechanism", "PLAIN"),
        ("sasl_username", "bellwether"),
        ("sasl_password", password),
        ("ssl_ca_location", &environment("DEV_TLS_CA")),
    ] {
        deployment.set(&format!("kafka.properties.{key}"), value);
    }
}

#[tokio::test]
async fn a_closed_port_of_kafka_is_named_by_every_command() {
    let mut deployment = Deployment::create(&[]).await;
    let brokers = format!("127.0.0.1:{}", closed_port());
    deployment.set("kafka.brokers", &brokers);
    let events = tempfile::NamedTempFile::new().unwrap();
    let events = events.path().to_str().unwrap().to_owned();
    for command in [
        ["topics", "check"].as_slice(),
        &["topics", "create"],
        &["sources", "inspect"],
        &["replay", &events],
    ] {
        assert_eq!(
            failed_soon(|| deployment.run(command)),
            format!("Kafka at {brokers}: connection refused, nothing listens there"),
            "{command:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_host_of_kafka_is_named() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.brokers", "kafka.invalid:9092");
    assert_eq!(
        failed_soon(|| deployment.run(&["topics", "check"])),
        "Kafka at kafka.invalid:9092: the host name is unknown"
    );
}

/// Number of lines that say so; each says how many were left out before it.
fn tries_again(log: &str, cause: &str) -> usize {
    let said = format!("{cause}; trying again");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&said)).collect();
    let counted = lines.iter().filter(|line| line.contains("\"suppressed\":"));
    assert_eq!(counted.count(), lines.len(), "{log}");
    lines.len()
}

#[tokio::test]
async fn a_start_tries_kafka_again_and_ends_with_the_cause() {
    let mut deployment = Deployment::create(&[]).await;
    let brokers = format!("127.0.0.1:{}", closed_port());
    deployment.set("kafka.brokers", &brokers);
    let (log, took) = refused_start(&deployment).await;
    let cause = format!("Kafka at {brokers}: connection refused, nothing listens there");
    let tries = tries_again(&log, &cause);
    assert!((20..=32).contains(&tries), "{tries} lines in {took:?}");
    assert!(log.lines().last().unwrap().contains(&cause), "{log}");
}

#[tokio::test]
async fn a_tls_listener_spoken_to_in_plain_text_is_named() {
    let mut deployment = Deployment::create(&[]).await;
    let brokers = environment("DEV_KAFKA_TLS");
    deployment.set("kafka.brokers", &brokers);
    assert_eq!(
        failed_soon(|| deployment.run(&["topics", "check"])),
        format!(
            "Kafka at {brokers}: the first request in plain text closed the connection, as with a TLS listener; \
             check kafka.properties.\"security.protocol\""
        )
    );
}

#[tokio::test]
async fn a_plain_listener_spoken_to_in_tls_is_named() {
    let mut deployment = Deployment::create(&[]).await;
    let brokers = kafka::brokers();
    deployment.set("kafka.properties.security_protocol", "SSL");
    assert_eq!(
        failed_soon(|| deployment.run(&["topics", "check"])),
        format!(
            "Kafka at {brokers}: the server does not speak TLS; check kafka.properties.\"security.protocol\""
        )
    );
}

#[tokio::test]
async fn a_wrong_password_for_kafka_ends_a_start_at_once() {
    let mut deployment = Deployment::create(&[]).await;
    encrypt(&mut deployment, "hunter2");
    let cause = format!(
        "Kafka at {}: authentication failed, Invalid username or password; check the kafka.properties that \
         begin with \"sasl.\"",
        environment("DEV_KAFKA_TLS")
    );
    assert_eq!(failed_soon(|| deployment.run(&["topics", "check"])), cause);
    let (log, took) = refused_start(&deployment).await;
    assert!(took < SOON, "{took:?}");
    let last = log.lines().last().unwrap();
    assert!(last.contains("authentication failed, Invalid username"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("trying again"), "{log}");
}

#[tokio::test]
async fn a_broker_of_an_unknown_authority_is_named() {
    let mut deployment = Deployment::create(&[]).await;
    encrypt(&mut deployment, "bellwether");
    deployment.set("kafka.properties.ssl_ca_location", "probe");
    let brokers = environment("DEV_KAFKA_TLS");
    assert_eq!(
        failed_soon(|| deployment.run(&["topics", "check"])),
        format!(
            "Kafka at {brokers}: TLS failed, the broker's certificate could not be verified: it is of another \
             authority than those of ssl.ca.location, or for another host than 127.0.0.1; check \
             kafka.properties.\"ssl.ca.location\" and kafka.brokers"
        )
    );
}

/// OpenSSL's words are those about an unknown authority.
/// A deployment with the encrypted listener by a name that its certificate does not have.
async fn by_another_name() -> (Deployment, String) {
    let mut deployment = Deployment::create(&[]).await;
    encrypt(&mut deployment, "bellwether");
    let brokers = environment("DEV_KAFKA_TLS").replace("127.0.0.1", "127.1");
    deployment.set("kafka.brokers", &brokers);
    (deployment, brokers)
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_blamed_on_the_ca() {
    let (deployment, brokers) = by_another_name().await;
    let said = failed_soon(|| deployment.run(&["topics", "check"]));
    assert!(
        said.starts_with(&format!("Kafka at {brokers}: TLS failed")),
        "{said}"
    );
    assert!(
        said.contains("or for another host than 127.1;") && said.contains("kafka.brokers"),
        "{said}"
    );
}

/// Threads of librdkafka that still spoke TLS made one in a hundred such processes crash at its end.
#[tokio::test]
async fn commands_that_fail_over_tls_end_with_their_code() {
    let (deployment, _) = by_another_name().await;
    let run = || deployment.run(&["topics", "check"]).status.code();
    let codes: Vec<_> = std::thread::scope(|scope| {
        let runner = || (0..25).map(|_| run()).collect::<Vec<_>>();
        let runners: Vec<_> = (0..4).map(|_| scope.spawn(runner)).collect();
        runners.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(codes, vec![Some(1); 100]);
}

/// The server's address, and its URL with another user, password and database.
fn postgres(deployment: &Deployment, credentials: &str, database: &str) -> (String, String) {
    let url = url::Url::parse(&deployment.database.url).unwrap();
    let address = format!("127.0.0.1:{}", url.port().unwrap());
    let other = format!("postgres://{credentials}@{address}/{database}");
    (address, other)
}

#[tokio::test]
async fn a_postgres_that_cannot_be_used_is_named_with_its_cause() {
    let mut deployment = Deployment::create(&[]).await;
    let closed = closed_port();
    let (address, wrong_password) = postgres(&deployment, "guarded:hunter2", "bellwether");
    let (_, no_database) = postgres(&deployment, "bellwether", "nowhere");
    for (url, cause) in [
        (
            format!("postgres://user:hunter2@127.0.0.1:{closed}/x"),
            format!("Postgres at 127.0.0.1:{closed}: connection refused, nothing listens there"),
        ),
        (
            "postgres://user:hunter2@postgres.invalid/x".to_owned(),
            "Postgres at postgres.invalid:5432: the host name is unknown".to_owned(),
        ),
        (
            wrong_password,
            format!("Postgres at {address}: authentication failed, the user or the password is wrong"),
        ),
        (
            no_database,
            format!("Postgres at {address}: database \"nowhere\" does not exist"),
        ),
        (
            "postgres://user@localhost/x?host=/nosuch".to_owned(),
            "Postgres at socket /nosuch/.s.PGSQL.5432: not reachable (No such file or directory (os error 2))"
                .to_owned(),
        ),
    ] {
        deployment.set("postgres.url", &url);
        for command in [["migrate"].as_slice(), &["token", "create", "--admin"]] {
            assert_eq!(failed_soon(|| deployment.run(command)), cause, "{command:?}");
        }
    }
}

#[tokio::test]
async fn a_start_ends_at_once_where_postgres_refuses_the_login() {
    let mut deployment = Deployment::create(&[]).await;
    let (address, wrong_password) = postgres(&deployment, "guarded:hunter2", "bellwether");
    let (_, no_database) = postgres(&deployment, "bellwether", "nowhere");
    for (url, cause) in [
        (
            wrong_password,
            "authentication failed, the user or the password is wrong",
        ),
        (no_database, "database \\\"nowhere\\\" does not exist"),
    ] {
        deployment.set("postgres.url", &url);
        let (log, took) = refused_start(&deployment).await;
        assert!(took < SOON, "{took:?}");
        let cause = format!("Postgres at {address}: {cause}");
        assert_eq!(log.matches(&cause).count(), 1, "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test]
async fn a_start_tries_postgres_again_and_ends_with_the_cause() {
    let mut deployment = Deployment::create(&[]).await;
    let port = closed_port();
    deployment.set(
        "postgres.url",
        &format!("postgres://user:hunter2@127.0.0.1:{port}/x"),
    );
    let (log, took) = refused_start(&deployment).await;
    let cause = format!("Postgres at 127.0.0.1:{port}: connection refused, nothing listens there");
    let tries = tries_again(&log, &cause);
    assert!((20..=32).contains(&tries), "{tries} lines in {took:?}");
    assert!(log.lines().last().unwrap().contains(&cause), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn the_first_line_of_a_start_names_what_is_connected_to() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "detect,api"]).await;
    let log = process.log_text();
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let url = url::Url::parse(&deployment.database.url).unwrap();
    let database = format!("127.0.0.1:{}{}", url.port().unwrap(), url.path());
    for (field, value) in [
        ("msg", "starting"),
        ("roles", "detect,api"),
        ("brokers", &kafka::brokers()),
        ("prefix", &deployment.prefix),
        ("sources", &deployment.source),
        ("database", &database),
    ] {
        assert_eq!(first[field], value, "{first}");
    }
}

#[tokio::test]
async fn a_start_whose_stderr_is_full_ends_without_a_panic() {
    for format in ["human", "json"] {
        let mut deployment = Deployment::create(&[("telemetry.log_format", format)]).await;
        let (_, wrong_password) = postgres(&deployment, "guarded:hunter2", "bellwether");
        deployment.set("postgres.url", &wrong_password);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = deployment.command(&["serve"]).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{format}");
    }
}
