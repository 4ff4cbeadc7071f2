//! `bellwether sources inspect`: "I connected my topic and nothing happens".

use std::time::Duration;

use rdkafka::producer::FutureRecord;
use serde_json::{Value, json};

use crate::support::app::Deployment;
use crate::support::eventually;

/// The document of the only source, and whether the command says that all is well.
fn inspect(deployment: &Deployment, arguments: &[&str]) -> (Value, bool) {
    let all = [["sources", "inspect", "--json"].as_slice(), arguments].concat();
    let output = deployment.run(&all);
    let text = String::from_utf8(output.stdout).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (document["sources"][0].clone(), output.status.success())
}

fn text(deployment: &Deployment, arguments: &[&str]) -> String {
    let output = deployment.run(&[["sources", "inspect"].as_slice(), arguments].concat());
    String::from_utf8(output.stdout).unwrap()
}

fn codes(source: &Value) -> Vec<&str> {
    let findings = source["findings"].as_array().unwrap();
    findings.iter().map(|one| one["code"].as_str().unwrap()).collect()
}

/// The codes of what keeps events from their webhooks.
fn problems(source: &Value) -> Vec<&str> {
    let findings = source["findings"].as_array().unwrap();
    let problems = findings.iter().filter(|one| one["severity"] == "problem");
    problems.map(|one| one["code"].as_str().unwrap()).collect()
}

async fn publish_raw(deployment: &Deployment, partition: i32, key: Option<&str>, value: &str) {
    let mut record = FutureRecord::<str, str>::to(&deployment.source)
        .partition(partition)
        .payload(value);
    if let Some(key) = key {
        record = record.key(key);
    }
    deployment
        .producer
        .send(record, Duration::from_secs(10))
        .await
        .unwrap();
}

#[tokio::test]
async fn inspect_explains_each_record_and_names_no_visitor() {
    let deployment = Deployment::create(&[]).await;
    deployment.publish(json!({"site_id": "a.example", "type": "pageview", "visitor_id": "somebody-1", "path": "/pricing?email=x"})).await;
    deployment.publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup", "visitor_id": "somebody-2", "path": "/u/jane@doe.example"})).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "engagement"}))
        .await;
    // Two faults of the record, and a key that is a visitor.
    publish_raw(
        &deployment,
        0,
        Some("somebody-3"),
        r#"{"site_id":"a.example","type":"pageview"}"#,
    )
    .await;
    publish_raw(&deployment, 0, Some("somebody-3"), "not json").await;

    let text = text(&deployment, &[]);
    for words in [
        [
            "a.example pageview /pricing",
            "nothing: its site is not registered",
        ],
        [
            "a.example goal Signup /u/:redacted",
            "nothing: its site is not registered",
        ],
        ["missing_field visitor_id", "`visitor_id` is required"],
        ["not_json", "not JSON"],
        ["a.example", "not registered"],
        ["keyed by site: yes", "3 of 3"],
    ] {
        let found = text
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in:\n{text}");
    }
    let (source, _) = inspect(&deployment, &[]);
    for output in [text, source.to_string()] {
        for hidden in ["somebody", "jane", "email"] {
            assert!(!output.contains(hidden), "{hidden} in:\n{output}");
        }
    }
    assert_eq!(source["records"].as_array().unwrap().len(), 5);
    assert_eq!(source["partitions"], 4);
    assert_eq!(source["sites"][0]["visitors"], 2);
    let (source, _) = inspect(&deployment, &["--last", "1"]);
    // One of each partition that holds any.
    assert_eq!(source["records"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn inspect_shows_refused_values_and_what_may_be_meant() {
    let deployment = Deployment::create(&[]).await;
    for record in [
        r#"{"siteId":"a.example","type":"pageview","visitor_id":"somebody-1"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitorId":"somebody-2"}"#,
        r#"{"site_id":"a.example","type":"page_view","visitor_id":"somebody-3"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-4","timestamp":"yesterday"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-5","source":["somebody-5"]}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-6","path":"https://a.example/x?y"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-7","path":"/\u202e\u2066evil"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-8","historical":"yes"}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-9","revenue":12.5}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-10","props":{"by":"somebody-10","n":1}}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-11","timestamp":{"$date":1}}"#,
        r#"{"site_id":"a.example","type":"pageview","visitor_id":"somebody-12","timestamp":{"by":"somebody-12"}}"#,
    ] {
        publish_raw(&deployment, 0, Some("a.example"), record).await;
    }
    let text = text(&deployment, &[]);
    for words in [
        [
            "missing_field site_id",
            "it has `siteId`: did you mean `site_id`?",
        ],
        [
            "missing_field visitor_id",
            "it has `visitorId`: did you mean `visitor_id`?",
        ],
        ["bad_field type", "it has `page_view`: did you mean `pageview`?"],
        ["bad_field timestamp", "it is \"yesterday\""],
        ["a.example pageview /x", "nothing: its site is not registered"],
        ["bad_field historical", "it is \"yes\""],
        ["bad_field revenue", "it is 12.5"],
        ["bad_field props", "it is {\"n\":1}"],
        ["bad_field timestamp", "it is {\"$date\":1}"],
        ["a.example pageview /\u{fffd}\u{fffd}evil", "not registered"],
    ] {
        let found = text
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in:\n{text}");
    }
    let (source, _) = inspect(&deployment, &[]);
    let rejected = &source["records"][3];
    assert_eq!(
        (&rejected["field"], &rejected["value"]),
        (&json!("timestamp"), &json!("\"yesterday\""))
    );
    assert_eq!(
        source["records"][0]["did_you_mean"],
        json!({"found": "siteId", "meant": "site_id"})
    );
    for output in [text, source.to_string()] {
        assert!(!output.contains("somebody"), "{output}");
    }
}

#[tokio::test]
async fn inspect_names_the_sites_own_goals() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    deployment
        .goal_webhook(&process, "a.example", "http://127.0.0.1:8099/hook")
        .await;
    let (status, answer) = deployment
        .call(
            &process,
            reqwest::Method::POST,
            "/api/sites/a.example/goals",
            Some(json!({"name": "Read the docs", "kind": "page", "path": "/docs/**"})),
        )
        .await;
    assert_eq!(status, 201, "{answer}");
    deployment
        .publish(
            json!({"site_id": "a.example", "type": "pageview", "visitor_id": "v", "path": "/docs/install"}),
        )
        .await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "engagement"}))
        .await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "custom", "name": "Play", "visitor_id": "v"}))
        .await;
    let (source, _) = inspect(&deployment, &[]);
    let counts_as: Vec<&Value> = source["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["counts_as"])
        .collect();
    assert_eq!(
        counts_as,
        [
            &json!(["a visitor", "goal \"Read the docs\""]),
            &json!(["nothing: it has no visitor_id"]),
            &json!(["a visitor", "custom event \"Play\""]),
        ]
    );
    assert_eq!(source["records"][0]["notifies"], 1);
    assert_eq!(source["sites"][0]["webhooks"], 1);
}

#[tokio::test]
async fn inspect_finds_nothing_wrong_where_webhooks_arrive() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = deployment.goal_receiver(&process, "a.example").await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup", "visitor_id": "v"}))
        .await;
    receiver.wait_for("hook", 1).await;
    // The commit that says how far the detector is comes a moment later.
    eventually("nothing is behind", Duration::from_secs(20), || async {
        let (source, is_well) = inspect(&deployment, &[]);
        assert_eq!(problems(&source), Vec::<&str>::new());
        assert!(is_well);
        (codes(&source).is_empty() && source["group"]["members"] == 1).then_some(())
    })
    .await;
    assert!(text(&deployment, &[]).contains("verdict: nothing here keeps events from their webhooks"));
}

#[tokio::test]
async fn inspect_names_webhooks_whose_deliveries_are_held_back() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let until = chrono::Utc::now() + chrono::TimeDelta::days(1);
    let webhook = json!({"name": "goals", "url": "http://127.0.0.1:8099/hook", "events": ["goal_completion"],
                         "paused_until": until.to_rfc3339()});
    let webhook = deployment.create_webhook(&process, "a.example", webhook).await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup", "visitor_id": "v"}))
        .await;
    let said = format!("{} of a.example until", webhook["id"].as_str().unwrap());
    eventually("its delivery waits", Duration::from_secs(20), || async {
        let (source, is_well) = inspect(&deployment, &[]);
        assert_eq!(problems(&source), ["paused"]);
        assert!(!is_well);
        let text = source["findings"][0]["text"].as_str().unwrap();
        assert!(text.contains(&said), "{text}");
        text.contains("1 delivery waits").then_some(())
    })
    .await;
    assert!(text(&deployment, &[]).contains("verdict: this is why"));
}

#[tokio::test]
async fn inspect_says_that_nobody_sends_what_is_decided() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api,detect"]).await;
    deployment
        .goal_webhook(&process, "a.example", "http://127.0.0.1:8099/hook")
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup", "visitor_id": "v"}))
        .await;
    let (source, is_well) = inspect(&deployment, &[]);
    assert_eq!(problems(&source), ["no_deliverer"]);
    assert!(!is_well);
}

#[tokio::test]
async fn inspect_says_that_a_topic_is_missing_or_empty_or_no_source() {
    let deployment = Deployment::create(&[]).await;
    let (source, is_well) = inspect(&deployment, &[]);
    assert_eq!(problems(&source), ["topic_empty", "never_detected"]);
    assert!(!is_well);
    let misspelt = deployment.source.replace("source", "sources");
    let (source, _) = inspect(&deployment, &[&misspelt]);
    assert_eq!(problems(&source), ["topic_missing", "not_a_source"]);
    let said = source["findings"][0]["text"].as_str().unwrap();
    assert!(
        said.contains(&format!("there is {}", deployment.source)),
        "{said}"
    );
    let (source, _) = inspect(&deployment, &["--set", "kafka.partitions=5"]);
    assert_eq!(problems(&source)[0], "partition_count");
    let (source, _) = inspect(&deployment, &["--set", "postgres.url=postgres://x@127.0.0.1:1/x"]);
    assert!(codes(&source).contains(&"postgres_unknown"));
}

#[tokio::test]
async fn inspect_finds_a_site_registered_in_another_spelling() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    deployment
        .goal_webhook(&process, "shop.example", "http://127.0.0.1:8099/hook")
        .await;
    deployment
        .publish(json!({"site_id": "www.Shop.example", "type": "pageview", "visitor_id": "v"}))
        .await;
    let (source, _) = inspect(&deployment, &[]);
    assert_eq!(problems(&source)[0], "no_site_registered");
    let remedy = source["findings"][0]["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("send shop.example instead of www.Shop.example"),
        "{remedy}"
    );
}

#[tokio::test]
async fn inspect_says_in_what_way_events_are_not_keyed_by_site() {
    for (key, said) in [
        (Some("a.example"), "murmur2"),
        (Some("visitor-1"), "something else"),
        (None, "no key"),
    ] {
        let deployment = Deployment::create(&[]).await;
        for partition in 0..4 {
            publish_raw(
                &deployment,
                partition,
                key,
                r#"{"site_id":"a.example","type":"pageview","visitor_id":"v"}"#,
            )
            .await;
        }
        let (source, _) = inspect(&deployment, &[]);
        assert_eq!(source["in_place"], 1);
        let findings = source["findings"].as_array().unwrap();
        let finding = findings
            .iter()
            .find(|one| one["code"] == "not_keyed_by_site")
            .unwrap();
        let text = finding["text"].as_str().unwrap();
        assert!(text.contains("3 of 4") && text.contains(said), "{key:?}: {text}");
    }
}

#[tokio::test]
async fn inspect_says_that_events_are_too_old_by_their_timestamps() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    deployment
        .goal_webhook(&process, "a.example", "http://127.0.0.1:8099/hook")
        .await;
    // An hour behind, as a local time without its zone is.
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup", "timestamp": at.timestamp_millis()}))
        .await;
    let (source, _) = inspect(&deployment, &[]);
    assert_eq!(
        problems(&source),
        ["stale", "never_detected"],
        "the first thing it says"
    );
    let (source, _) = inspect(
        &deployment,
        &[
            "--set",
            &format!("sources=[{{topic=\"{}\", clock=\"log\"}}]", deployment.source),
        ],
    );
    assert_eq!(problems(&source), ["never_detected"]);
}

#[tokio::test]
async fn inspect_says_why_kafka_does_not_answer() {
    let deployment = Deployment::create(&[]).await;
    let output = deployment.run(&["sources", "inspect", "--set", "kafka.brokers=127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("Kafka at 127.0.0.1:1: connection refused"),
        "{said}"
    );
    // The answer is not buried in a client's log.
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn inspect_reads_a_source_as_its_format_and_route_do() {
    let deployment = Deployment::create(&[("sources", "[{topic=\"{source}\", format=\"segment\"}]")]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    deployment
        .goal_webhook(&process, "shop.example", "http://127.0.0.1:8099/hook")
        .await;
    let (status, answer) = deployment
        .call(
            &process,
            reqwest::Method::PUT,
            "/api/sites/shop.example",
            Some(json!({"aliases": ["key-1"]})),
        )
        .await;
    assert!(status.is_success(), "{answer}");
    let page = json!({
        "type": "page", "writeKey": "key-1", "anonymousId": "somebody", "messageId": "m-1",
        "originalTimestamp": chrono::Utc::now().timestamp(), "context": {"page": {"path": "/blog/a"}},
    });
    let identify = json!({"type": "identify", "userId": "somebody"});
    for record in [page, identify, json!({"type": "page"})] {
        publish_raw(&deployment, 1, None, &record.to_string()).await;
    }
    let text = text(&deployment, &[]);
    for words in [
        ["read as segment with clock live", "3"],
        ["key-1 pageview /blog/a", "a visitor"],
        ["passed over", "says nothing about visitors"],
        ["missing_field site_id", "/writeKey"],
        ["key-1", "an alias of shop.example"],
        ["keyed by site: not needed", "route"],
        ["are in seconds and not in milliseconds", "1 of 1 event"],
    ] {
        let found = text
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in:\n{text}");
    }
    assert!(!text.contains("somebody"), "{text}");
    assert!(!text.contains("in another partition"), "it needs no key: {text}");
    let (source, _) = inspect(&deployment, &[]);
    assert_eq!(problems(&source), ["never_detected", "some_rejected"], "{text}");
    assert_eq!(source["keyed"], false);
}

#[tokio::test]
async fn inspect_says_at_what_count_a_webhook_is_notified() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    for (name, pace) in [
        ("counting", json!({"at_least": 3, "within_seconds": 600})),
        ("every", json!({"every": 5})),
    ] {
        let webhook = json!({"name": name, "url": "http://127.0.0.1:8099/hook", "events": ["goal_completion"],
                             "triggers": {"goal_completion": pace}});
        deployment.create_webhook(&process, "a.example", webhook).await;
    }
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    let (source, _) = inspect(&deployment, &[]);
    let record = &source["records"][0];
    assert_eq!(record["notifies"], 0, "by itself it notifies nobody");
    let counts_as = record["counts_as"].to_string();
    let text = text(&deployment, &[]);
    for words in ["at 3 of a name within 600 s", "of one in 5 of a name"] {
        assert!(counts_as.contains(words), "{counts_as}");
        assert!(text.contains(words), "{text}");
    }
    assert!(
        text.contains("any goal, notified at 3"),
        "what the webhooks wait for: {text}"
    );
}
