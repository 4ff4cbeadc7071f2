//! What an operator meets: starts that are refused and say why, probes, metrics, and what is said
//! of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::Message as _;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::{Deployment, KEY};
use crate::support::database::Database;
use crate::support::{eventually, free_port, http, kafka, unique};

const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_start_without_its_topics_names_the_command_that_makes_them() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.topic_prefix", &unique("other"));
    let said = deployment.refused(&[]).await;
    assert!(said.contains("bellwether topics create"), "{said}");
    assert!(said.contains(".deliveries: there is no such topic"), "{said}");
}

#[tokio::test]
async fn a_start_with_another_partition_count_names_topic_and_counts() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.partitions", "8");
    let said = deployment.refused(&[]).await;
    let finding = format!(
        "{}: it has 4 partitions, kafka.partitions says 8",
        deployment.source
    );
    assert!(said.contains(&finding), "{said}");
}

#[tokio::test]
async fn a_start_with_a_missing_or_a_wrong_encryption_key_is_refused() {
    let mut deployment = Deployment::create(&[]).await;
    // Whoever starts first writes with the first key.
    let mut process = deployment.serve(&[]).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    let other = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for (keys, words) in [
        ("[]".to_owned(), "keys generate"),
        (format!("new:{other}"), "lacks key `test`"),
        (format!("test:{other}"), "another key under the id `test`"),
    ] {
        deployment.set("encryption.keys", &keys);
        let said = deployment.refused(&[]).await;
        assert!(
            said.contains("encryption.keys") && said.contains(words),
            "{keys}: {said}"
        );
        assert!(!said.contains(other));
    }
    // None of that has left anything: with the right key it starts.
    deployment.set("encryption.keys", KEY);
    deployment.serve(&[]).await;
}

#[tokio::test]
async fn a_start_without_the_schema_names_the_command_that_makes_it() {
    let mut deployment = Deployment::create(&[]).await;
    let empty = Database::empty().await;
    deployment.set("postgres.url", &empty.url);
    let said = deployment.refused(&[]).await;
    assert!(said.contains("`bellwether migrate`"), "{said}");
    deployment.set("postgres.migrate_on_start", "true");
    deployment.serve(&[]).await;
}

#[tokio::test]
async fn probes_say_whether_it_is_alive_and_ready() {
    let mut deployment = Deployment::create(&[]).await;
    let port = free_port();
    deployment.set("admin.listen", &format!("127.0.0.1:{port}"));
    let nobody = deployment.run(&["health"]);
    assert_eq!(nobody.status.code(), Some(1));
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert!(text.contains("admin.listen"), "{text}");

    let process = deployment.serve(&[]).await;
    let (_, ready) = process.readyz().await.unwrap();
    assert_eq!(
        ready,
        json!({"ready": true, "standby": false, "notices": [],
               "checks": {"postgres": "ok", "kafka": "ok", "assignment": "ok", "schema": "ok", "keys": "ok"}})
    );
    let alive = http()
        .get(format!("{}/healthz", process.admin))
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    assert_eq!(
        alive.text().await.unwrap(),
        r#"{"alive":true,"stuck_threads":[]}"#
    );
    deployment.set("admin.listen", process.admin.trim_start_matches("http://"));
    for arguments in [["health"].as_slice(), &["health", "--ready"]] {
        let asked = deployment.run(arguments);
        assert!(asked.status.success(), "{arguments:?}");
        assert!(!asked.stdout.is_empty() && asked.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_process_without_a_partition_is_ready_and_a_standby() {
    let deployment = Deployment::create(&[]).await;
    let mut processes = Vec::new();
    for _ in 0..5 {
        processes.push(deployment.serve(&["--roles", "deliver"]).await);
    }
    eventually("one of five has none of four partitions", TIMEOUT, || async {
        let mut standby = 0;
        for process in &processes {
            let (status, answer) = process.readyz().await?;
            standby += u32::from(status == StatusCode::OK && answer["standby"] == true);
        }
        (standby == 1).then_some(())
    })
    .await;
}

/// Every family whose stage there is, with the names of its labels.
const FAMILIES: &str = "
    events_total{result,source} rejected_records_total{reason,source} miskeyed_records_total{source}
    clock_skew_total{source} source_silent{source} sites visitors episodes{event} evictions_total{map} notifications_total{event}
    suppressed_total{event,reason} detect_latency_seconds consumer_behind_seconds{group,topic}
    consumer_lag_records{group,topic} consumer_partitions{group} consumer_partitions_expected{group}
    open_offsets{group} commit_errors_total{group} rebalances_total{event,group} rebalance_pause_seconds{group}
    replay_remaining_records records_missed_total{topic} topic_retention_seconds{topic}
    last_poll_timestamp_seconds{role} threads{role} thread_busy_seconds_total{role} kafka_errors_total{kind}
    produce_seconds{topic} produce_errors_total{topic} produce_queue_bytes produce_oldest_seconds
    unreadable_records_total{topic} newer_records_held{topic} deliveries_total{event,status} delivery_failures_total{reason}
    attempts_total{fault,kind,result} attempt_seconds{phase} delivery_start_seconds{waited}
    retry_lateness_seconds{tier} retries_published_total{tier} due_clamped_total possible_repeats_total
    dead_letters_total webhooks_disabled_total{reason} operator_notices_total{outcome} in_flight{endpoint} in_flight_limit queued
    queue_wait_seconds{cause} outcomes_unwritten outcomes_unwritten_seconds postgres_seconds{op}
    postgres_errors_total{kind,op} postgres_up postgres_connections{state} postgres_connections_max
    postgres_partition_horizon_seconds postgres_retention_lag_seconds{table} parked{reason}
    parked_oldest_seconds endpoints{state} rejects_dropped_total partitions_incomplete partitions_unrestored
    proven_end_age_seconds
    config_age_seconds webhooks_unreadable clock_offset_seconds http_requests_total{method,route,status}
    http_request_seconds{class} auth_failures_total rate_limited_total{kind} log_events_total{level} ready{check}
    roles{role} memory_limit_bytes build_info{librdkafka,revision,version} config_info{hash}";

#[tokio::test]
async fn unknown_paths_and_refused_methods_are_counted() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let count = async |route: &str, method: &str, status: u16| {
        let labels = format!("{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}");
        let text = process.metrics().await.unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("bellwether_http_requests_total{labels} ")));
        line.map(|count| count.parse::<u64>().unwrap())
    };
    let all = async || {
        let text = process.metrics().await.unwrap();
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("bellwether_http_requests_total{"));
        lines
            .filter_map(|line| line.split_once("} "))
            .map(|(labels, _)| labels.to_owned())
            .collect::<BTreeSet<_>>()
    };
    // What is sent, and the method and route that it is counted for.
    let asked = [
        ("GET", "/api/nothing", "GET", "unmatched", 404),
        ("HEAD", "/api/nothing", "HEAD", "unmatched", 404),
        ("TRACE", "/nothing", "OTHER", "unmatched", 404),
        ("POST", "/nothing", "POST", "unmatched", 404),
        ("DELETE", "/sites", "DELETE", "unmatched", 405),
        ("HEAD", "/api/sites", "HEAD", "/api/sites", 401),
        ("PATCH", "/api/sites", "OTHER", "/api/sites", 405),
        ("OPTIONS", "/api/sites", "OTHER", "/api/sites", 405),
        ("GET", "/api/docs", "GET", "/api/docs", 200),
        ("HEAD", "/api/docs", "HEAD", "/api/docs", 200),
        ("GET", "/api/docs.css", "GET", "/api/docs.css", 200),
        ("GET", "/api/openapi.json", "GET", "/api/openapi.json", 200),
        ("GET", "/api/openapi.json?x=1", "GET", "/api/openapi.json", 422),
        ("POST", "/api/openapi.json", "OTHER", "/api/openapi.json", 405),
    ];
    for (_, path, method, route, status) in asked {
        eventually(path, TIMEOUT, || async { count(route, method, status).await }).await;
        assert_eq!(count(route, method, status).await, Some(0), "{method} {path}");
    }
    let from_the_start = all().await;
    for (sent, path, method, route, status) in asked {
        let before = count(route, method, status).await.unwrap();
        let sent = reqwest::Method::from_bytes(sent.as_bytes()).unwrap();
        let url = format!("{}{path}", process.api);
        let answer = http().request(sent.clone(), url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{sent} {path}");
        let after = count(route, method, status).await;
        assert_eq!(after, Some(before + 1), "{sent} {path}");
    }
    assert_eq!(all().await, from_the_start, "series that came later");
}

/// The families of an exposition, with the names of their labels as `FAMILIES` has them, and how
/// many series there are.
fn families(text: &str) -> (BTreeMap<String, String>, usize) {
    let (mut found, mut series) = (BTreeMap::new(), 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        series += 1;
        let name = line.split(['{', ' ']).next().unwrap();
        let labels: BTreeSet<&str> = match line.split_once('{') {
            None => BTreeSet::new(),
            Some((_, rest)) => rest
                .rsplit_once('}')
                .unwrap()
                .0
                .split("\",")
                .filter_map(|label| label.split_once('='))
                .map(|(label, _)| label)
                .filter(|label| *label != "le")
                .collect(),
        };
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let family = histogram.unwrap_or(name).to_owned();
        let labels: Vec<&str> = labels.into_iter().collect();
        found.insert(family, labels.join(","));
    }
    (found, series)
}

#[tokio::test]
async fn metrics_are_sound_complete_and_few() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let _receiver = deployment.goal_receiver(&process, "example.com").await;
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "Signup"}))
        .await;
    process
        .metric_is(
            "bellwether_deliveries_total{event=\"goal_completion\",status=\"delivered\"}",
            1.0,
        )
        .await;
    for op in ["outcomes", "config", "api_write"] {
        let series = format!("bellwether_postgres_seconds_count{{op=\"{op}\"}}");
        assert!(process.metric(&series).await >= 1.0, "{op}");
    }
    let text = process.metrics().await.unwrap();
    let (found, series) = families(&text);
    let wanted: BTreeMap<String, String> = FAMILIES
        .split_whitespace()
        .map(|family| {
            let (name, labels) = family.split_once('{').unwrap_or((family, "}"));
            (
                format!("bellwether_{name}"),
                labels.trim_end_matches('}').to_owned(),
            )
        })
        .collect();
    let own: BTreeMap<String, String> = found
        .iter()
        .filter(|(name, _)| name.starts_with("bellwether_"))
        .map(|(name, labels)| (name.clone(), labels.clone()))
        .collect();
    assert_eq!(own, wanted);
    for name in [
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(found.contains_key(name), "{name}");
    }
    assert!(series <= 1_200, "{series} series");
    // Nothing of one customer is in a label.
    assert!(!text.contains("example.com") && !text.contains("127.0.0.1") && !text.contains("wh_"));
    check_with_promtool(&text);
}

fn check_with_promtool(text: &str) {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: promtool is not there (Debian: prometheus)");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[tokio::test]
async fn an_unreadable_event_is_rejected_with_its_reason() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "example.com").await;
    let long = format!(
        r#"{{"site_id":"example.com","type":"goal","name":"{}"}}"#,
        "x".repeat(200)
    );
    let bad: [(&[u8], &str); 5] = [
        (b"{", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        (br#"{"type":"goal","name":"x"}"#, "missing_field"),
        (br#"{"site_id":"example.com","type":"sale"}"#, "bad_field"),
        (long.as_bytes(), "over_limit"),
    ];
    for (value, _) in &bad {
        kafka::publish(&deployment.producer, &deployment.source, "example.com", value).await;
    }
    deployment
        .publish(json!({"site_id": "example.com", "type": "goal", "name": "after"}))
        .await;
    receiver.wait_for("hook", 1).await;
    for (_, reason) in &bad {
        let series = format!(
            "bellwether_rejected_records_total{{reason=\"{reason}\",source=\"{}\"}}",
            deployment.source
        );
        process.metric_is(&series, 1.0).await;
    }
    let topic = deployment.topic("rejected");
    let rejected = eventually("they are on the rejected topic", TIMEOUT, || async {
        let all = kafka::read_all(&topic);
        (all.len() == bad.len()).then_some(all)
    })
    .await;
    for (value, reason) in &bad {
        let one = rejected.iter().find(|one| one.payload() == Some(value)).unwrap();
        assert_eq!(kafka::header(one, "bw-reason"), Some(*reason));
        assert_eq!(
            kafka::header(one, "bw-original-topic"),
            Some(deployment.source.as_str())
        );
        assert_eq!(one.key(), Some(b"example.com".as_slice()));
    }
    let places: BTreeSet<_> = rejected
        .iter()
        .map(|one| {
            let place = ["bw-original-partition", "bw-original-offset"];
            place.map(|name| kafka::header(one, name).unwrap().parse::<i64>().unwrap())
        })
        .collect();
    assert_eq!(places.len(), bad.len());
    // Committed: none of it is read again.
    process
        .metric_is(
            &format!(
                "bellwether_consumer_lag_records{{group=\"detect\",topic=\"{}\"}}",
                deployment.source
            ),
            0.0,
        )
        .await;
}

#[tokio::test]
async fn a_mis_keyed_source_is_reported_with_topic_key_and_remedy() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "example.com").await;
    // Keyed by visitor, as it happens: some of these lie elsewhere.
    for n in 0..8 {
        let visitor = format!("visitor-{n}");
        let event = json!({"site_id": "example.com", "type": "goal", "name": format!("goal {n}"), "visitor_id": visitor});
        kafka::publish(
            &deployment.producer,
            &deployment.source,
            &visitor,
            event.to_string(),
        )
        .await;
    }
    receiver.wait_for("hook", 8).await;
    let notice = eventually("readyz says so", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        assert_eq!(status, StatusCode::OK, "it goes on all the same");
        Some(answer["notices"][0].as_str()?.to_owned())
    })
    .await;
    for words in [
        &deployment.source,
        "the event's visitor_id as key",
        "site `example.com`",
        "murmur2_random",
    ] {
        assert!(notice.contains(words), "{notice}");
    }
    let series = format!(
        "bellwether_miskeyed_records_total{{source=\"{}\"}}",
        deployment.source
    );
    assert!(process.metric(&series).await >= 1.0);
    let log = process.log_text();
    assert!(log.contains("is not keyed by site"));
    // A visitor's id is told to nobody.
    assert!(!notice.contains("visitor-") && !log.contains("visitor-"));
}

#[tokio::test]
async fn a_partition_with_a_newer_state_waits_and_readyz_says_why() {
    let deployment = Deployment::create(&[]).await;
    let states = deployment.topic("detector-state");
    for value in [r#"{"v":99}"#, "no state at all"] {
        kafka::publish(&deployment.producer, &states, "example.com", value).await;
    }
    let process = deployment.spawn(&["--roles", "detect"]);
    let reason = eventually("readyz says why", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        let notices = answer["notices"].to_string();
        notices.contains("waits").then_some(notices)
    })
    .await;
    for words in [" waits: ", &states, "finish the upgrade", "version 99"] {
        assert!(reason.contains(words), "{reason}");
    }
    // The other partitions go on.
    let (status, _) = process.readyz().await.unwrap();
    assert_eq!(status, StatusCode::OK);
    process.metric_is("bellwether_partitions_unrestored", 1.0).await;
    let series = format!("bellwether_unreadable_records_total{{topic=\"{states}\"}}");
    assert!(process.metric(&series).await >= 1.0);
}

#[tokio::test]
async fn source_records_that_go_while_it_reads_are_counted_as_missed() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "example.com").await;
    let publish = async |n: u32| {
        deployment
            .publish(json!({"site_id": "example.com", "type": "goal", "name": format!("goal {n}")}))
            .await;
    };
    publish(0).await;
    receiver.wait_for("hook", 1).await;
    process.signal("STOP");
    // Its last fetch, which waits at the broker for up to 100 ms, must be answered with nothing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for n in 1..6 {
        publish(n).await;
    }
    let partition = kafka::read_all(&deployment.source)[0].partition();
    kafka::delete_before(&deployment.source, partition, 4).await;
    process.signal("CONT");
    receiver.wait_for("hook", 3).await;
    let series = format!(
        "bellwether_records_missed_total{{topic=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&series, 3.0).await;
    assert!(
        process
            .log_text()
            .contains("records were removed before they were read")
    );
}
