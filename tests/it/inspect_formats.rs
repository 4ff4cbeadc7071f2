//! `bellwether sources inspect` reads every format that a source may have.

use serde_json::{Value, json};

use crate::detect_completeness::create_topic;
use crate::support::app::Deployment;
use crate::support::kafka;

/// Pointers of a mapped source.
const MAPPING: &str = "mapping={site_id=\"/site\", visitor_id=\"/who\", type=\"/kind\", path=\"/page\", \
                       timestamp=\"/at\", types={view=\"pageview\"}}";

/// A pageview of `/blog/a` by somebody on a.example, in each format.
fn views() -> [(&'static str, Value); 7] {
    let now = chrono::Utc::now();
    let (ms, spaced) = (
        now.timestamp_millis(),
        now.format("%Y-%m-%d %H:%M:%S").to_string(),
    );
    let native = json!({"site_id": "a.example", "type": "pageview", "visitor_id": "somebody",
                        "path": "/blog/a", "timestamp": ms});
    let envelope = json!({"specversion": "1.0", "id": "e-1", "source": "/tracker", "type": "pageview",
                          "datacontenttype": "application/json", "data": native});
    [
        ("native", native),
        (
            "umami",
            json!({"website_id": "a.example", "session_id": "somebody", "url_path": "/blog/a",
                   "event_type": 1, "event_id": "e-1", "created_at": spaced}),
        ),
        (
            "plausible",
            json!({"site_id": "a.example", "name": "pageview", "pathname": "/blog/a", "user_id": "somebody",
                   "timestamp": spaced}),
        ),
        (
            "posthog",
            json!({"uuid": "e-1", "team_id": "a.example", "event": "$pageview", "distinct_id": "somebody",
                   "timestamp": spaced, "properties": "{\"$pathname\":\"/blog/a\"}"}),
        ),
        (
            "segment",
            json!({"type": "page", "writeKey": "a.example", "anonymousId": "somebody", "messageId": "m-1",
                   "originalTimestamp": now.to_rfc3339(), "context": {"page": {"path": "/blog/a"}}}),
        ),
        ("cloudevents", envelope),
        (
            "mapped",
            json!({"site": "a.example", "who": "somebody", "kind": "view", "page": "/blog/a", "at": ms}),
        ),
    ]
}

#[tokio::test]
async fn inspect_reads_every_format() {
    let mut deployment = Deployment::create(&[]).await;
    for (format, view) in views() {
        let mapping = match format {
            "mapped" => format!(", {MAPPING}"),
            _ => String::new(),
        };
        let topic = format!("{}.{format}", deployment.prefix);
        create_topic(&topic, 4).await;
        let source = format!("[{{topic=\"{topic}\", format=\"{format}\"{mapping}}}]");
        deployment.set("sources", &source);
        for value in [view.to_string(), "no event".to_owned()] {
            kafka::publish(&deployment.producer, &topic, "a.example", value).await;
        }
        let output = deployment.run(&["sources", "inspect"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let read_as = format!("read as {format} with clock live");
        for words in [
            [read_as.as_str(), "2 records held"],
            ["a.example pageview /blog/a", "its site is not registered"],
            ["not_json", "not JSON"],
            ["a.example      1 record", "1 visitor"],
        ] {
            let found = text
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            assert!(found, "{words:?} in:\n{text}");
        }
        assert!(!text.contains("somebody"), "{text}");
    }
}
