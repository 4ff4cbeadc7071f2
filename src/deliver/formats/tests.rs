use serde_json::{Value, json};

use super::*;
use crate::domain::hidden::is_hidden;

/// Texts that would mention, link, format or end something at one of the services.
const HOSTILE: &str = "<!channel> <@U1> @everyone @here <at>Bob</at> *b* _i_ `c` [x](https://evil.example) <https://evil.example|y> || > # & \" \\ \n\u{202e}";

fn canonical(event: &str, data: Value) -> Bytes {
    json!({
        "id": "evt_01jz0000000000000000000000", "event": event, "site_id": "example.com", "site_name": "Example",
        "link": "https://stats.example/example.com?a=1&b=2", "timestamp": "2026-02-25T12:00:00Z", "data": data,
    })
    .to_string()
    .into()
}

fn visitors() -> Value {
    json!({"current_visitors": 512, "threshold": 500, "window_seconds": 300,
           "baseline": {"status": "ready", "expected": 41.3, "change_percent": 410, "score": 1.9, "samples": 4},
           "top_sources": [{"source": "Hacker News", "visitors": 300}], "top_pages": [{"path": "/welcome", "visitors": 90}],
           "started_at": "2026-02-25T11:58:00Z"})
}

fn with(mut data: Value, more: Value) -> Value {
    let (Value::Object(all), Value::Object(more)) = (&mut data, more) else {
        panic!("objects");
    };
    all.extend(more);
    data
}

/// Every event type with the words that a reader needs.
fn samples() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        (
            "goal_completion",
            json!({"goal_name": "Signup", "visitor_count": 1, "path": "/signup",
                   "revenue": {"amount": "12.50", "currency": "EUR"}, "props": {"plan": "pro"}}),
            &["Signup", "Example", "/signup", "12.50 EUR", "plan = pro"],
        ),
        (
            "goal_completion",
            json!({"goal_name": "Signup", "visitor_count": 30, "count": 37, "path": "/signup"}),
            &["37 times", "30", "Signup"],
        ),
        (
            "visitor_spike",
            visitors(),
            &[
                "512 visitors",
                "5 minutes",
                "500",
                "41.3",
                "Hacker News (300)",
                "/welcome (90)",
                "2026-02-25 11:58:00 UTC",
            ],
        ),
        (
            "visitor_spike",
            with(visitors(), json!({"reminder": 2})),
            &["goes on", "512"],
        ),
        (
            "visitor_drop",
            with(visitors(), json!({"current_visitors": 3})),
            &["drop", "3 visitors", "500"],
        ),
        (
            "visitor_spike_resolved",
            with(
                visitors(),
                json!({"ended_at": "2026-02-25T12:30:00Z", "peak": 900}),
            ),
            &["is over", "900", "2026-02-25 12:30:00 UTC"],
        ),
        (
            "visitor_drop_resolved",
            with(visitors(), json!({"ended_at": "2026-02-25T12:30:00Z", "peak": 1})),
            &["drop", "is over"],
        ),
        (
            "custom_event",
            json!({"name": "Outbound", "path": "/x", "visitor_count": 1}),
            &["Outbound", "/x"],
        ),
        (
            "error_condition",
            json!({"kind": "silence", "count": 0, "window_seconds": 900, "expected": 31.5, "detail": "no event for 15 minutes",
                   "started_at": "2026-02-25T11:58:00Z", "last_event_at": "2026-02-25T11:43:00Z"}),
            &[
                "No events",
                "0 within 15 minutes",
                "31.5",
                "no event for 15 minutes",
                "2026-02-25 11:58:00 UTC",
                "2026-02-25 11:43:00 UTC",
            ],
        ),
        (
            "error_condition",
            json!({"kind": "rejected_events", "count": 12, "threshold": 10, "window_seconds": 300, "detail": "missing field",
                   "started_at": "2026-02-25T11:58:00Z", "reminder": 1}),
            &[
                "still rejected",
                "12 within 5 minutes",
                "Threshold",
                "10",
                "missing field",
                "2026-02-25 11:58:00 UTC",
            ],
        ),
        (
            "error_condition",
            json!({"kind": "error_events", "count": 91, "threshold": 73, "window_seconds": 60, "detail": "errors",
                   "started_at": "2026-02-25T11:58:00Z"}),
            &[
                "Errors on Example",
                "91 within 1 minute",
                "Threshold",
                "73",
                "2026-02-25 11:58:00 UTC",
            ],
        ),
        (
            "visitor_drop",
            with(visitors(), json!({"suspected_cause": "source_silent"})),
            &["Likely cause", "delivers nothing"],
        ),
        (
            "custom_event",
            json!({"name": "Outbound", "visitor_count": 30, "count": 37}),
            &["Outbound", "37 times"],
        ),
        (
            "test",
            json!({"message": "A test", "sample": {"event": "visitor_spike", "data": visitors()}}),
            &["Test message", "A test", "512 visitors", "500"],
        ),
        (
            "webhook_failing",
            json!({"webhook_id": "wh_1", "name": "Prod", "reason": "timeouts", "since": "2026-02-25T11:00:00Z", "waiting": 7}),
            &[
                "Prod",
                "is failing",
                "timeouts",
                "7 deliveries",
                "2026-02-25 11:00:00 UTC",
            ],
        ),
        (
            "webhook_recovered",
            json!({"name": "Prod", "since": "2026-02-25T11:00:00Z"}),
            &["works again", "Failing since", "2026-02-25 11:00:00 UTC"],
        ),
        (
            "webhook_disabled",
            json!({"name": "Prod", "reason": "open_too_long"}),
            &["switched off", "open too long"],
        ),
        ("something_new", json!({}), &["something new on Example"]),
    ]
}

fn rendered(format: Format, canonical: &Bytes) -> Value {
    let body = render(format, canonical);
    assert_eq!(body.content_type, "application/json");
    serde_json::from_slice(&body.body).expect("JSON")
}

const CHATS: [Format; 3] = [Format::Slack, Format::Discord, Format::Teams];

/// Every text in a message, without escapes of Markdown.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{}\n", text.replace('\\', "")),
        Value::Array(all) => all.iter().map(texts).collect(),
        Value::Object(all) => all.values().map(texts).collect(),
        _ => String::new(),
    }
}

#[test]
fn every_event_type_says_what_how_much_since_when_and_where() {
    for (event, data, words) in samples() {
        let body = canonical(event, data);
        for format in CHATS {
            let message = rendered(format, &body);
            let texts = texts(&message);
            for word in words {
                assert!(texts.contains(word), "{event} {format} {word}: {texts}");
            }
            let link = texts.replace("&amp;", "&");
            assert!(
                link.contains("https://stats.example/example.com?a=1&b=2"),
                "{event} {format}"
            );
            check_limits(format, &message);
        }
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

/// The limits that the services publish.
fn check_limits(format: Format, message: &Value) {
    let size = message.to_string().len();
    match format {
        Format::Slack => {
            assert!(length(&message["text"]) <= 40_000 && length(&message["text"]) > 0);
            let blocks = message["blocks"].as_array().expect("blocks");
            assert!((1..=50).contains(&blocks.len()));
            for block in blocks {
                match block["type"].as_str() {
                    Some("header") => {
                        assert!((1..=150).contains(&length(&block["text"]["text"])));
                        assert_eq!(block["text"]["type"], "plain_text");
                    }
                    Some("section") => {
                        assert!(length(&block["text"]["text"]) <= 3_000);
                        let fields = block["fields"].as_array().cloned().unwrap_or_default();
                        assert!(fields.len() <= 10);
                        assert!(
                            fields
                                .iter()
                                .all(|field| (1..=2_000).contains(&length(&field["text"])))
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        Format::Discord => {
            let embeds = message["embeds"].as_array().expect("embeds");
            assert_eq!(embeds.len(), 1);
            let embed = &embeds[0];
            assert!((1..=256).contains(&length(&embed["title"])));
            let fields = embed["fields"].as_array().expect("fields");
            assert!(fields.len() <= 25);
            let mut together = length(&embed["title"]);
            for field in fields {
                assert!((1..=256).contains(&length(&field["name"])));
                assert!((1..=1_024).contains(&length(&field["value"])));
                together += length(&field["name"]) + length(&field["value"]);
            }
            assert!(together <= 6_000, "{together}");
            assert_eq!(message["allowed_mentions"], json!({"parse": []}));
        }
        Format::Teams => {
            assert!(size <= 28 * 1_024, "{size}");
            let attachment = &message["attachments"][0];
            assert_eq!(message["type"], "message");
            assert_eq!(
                attachment["contentType"],
                "application/vnd.microsoft.card.adaptive"
            );
            assert_eq!(attachment["content"]["type"], "AdaptiveCard");
        }
        Format::Json | Format::CloudEvents => {}
    }
}

#[test]
fn texts_of_others_mention_nobody_and_format_nothing() {
    let data = json!({"goal_name": HOSTILE, "visitor_count": 1, "path": HOSTILE, "props": {"x": HOSTILE}});
    let mut body: Value = serde_json::from_slice(&canonical("goal_completion", data)).expect("JSON");
    body["site_name"] = HOSTILE.into();
    let body = Bytes::from(body.to_string());
    let slack = rendered(Format::Slack, &body);
    for block in slack["blocks"].as_array().expect("blocks") {
        if let Some(text) = block["text"]["text"].as_str() {
            let text = match block["text"]["type"] == "mrkdwn" {
                // The one link of our own.
                true => text.trim_start_matches('<').trim_end_matches('>'),
                false => text,
            };
            assert!(!text.contains(['<', '>']), "{text}");
        }
        for field in block["fields"].as_array().into_iter().flatten() {
            assert_eq!(field["type"], "plain_text");
            assert!(!field["text"].as_str().expect("text").contains(['<', '>']));
        }
    }
    assert!(!slack["text"].as_str().expect("text").contains(['<', '>', '@']));
    let discord = rendered(Format::Discord, &body);
    let title = discord["embeds"][0]["title"].as_str().expect("a title");
    for special in ["<", ">", "@", "*", "_", "`", "[", "]", "(", "|", "#", "~"] {
        for (at, _) in title.match_indices(special) {
            assert!(title[..at].ends_with('\\'), "{special} in {title}");
        }
    }
    let teams = rendered(Format::Teams, &body).to_string();
    assert!(
        !teams.contains(['<', '>']) && !teams.contains("\"TextBlock\""),
        "{teams}"
    );
    for format in CHATS {
        assert!(!rendered(format, &body).to_string().contains('\u{202e}'));
    }
}

#[test]
fn long_texts_stay_within_the_limits_of_each_service() {
    for filler in ["a", "&", "*", "é", "\"", "\u{1f600}"] {
        let long = filler.repeat(2_000);
        let pages: Vec<Value> = (0..3).map(|_| json!({"path": long, "visitors": 3})).collect();
        let props: serde_json::Map<String, Value> =
            (0..30).map(|n| (format!("p{n}"), long.clone().into())).collect();
        let data = with(
            visitors(),
            json!({"path": long, "top_pages": pages, "props": props, "detail": long, "reason": long, "goal_name": long}),
        );
        for event in ["visitor_spike", "goal_completion", "error_condition"] {
            let body = canonical(event, data.clone());
            for format in CHATS {
                check_limits(format, &rendered(format, &body));
            }
        }
    }
}

#[test]
fn cloudevents_has_the_attributes_and_the_same_data() {
    let data = "{\"b\": 1.50,  \"a\": 2}";
    let body = format!(
        "{{\"id\":\"evt_1\",\"event\":\"visitor_spike\",\"site_id\":\"a/b c\",\"timestamp\":\"2026-02-25T12:00:00Z\",\"data\":{data}}}"
    );
    let rendered = render(Format::CloudEvents, &body.into());
    assert_eq!(rendered.content_type, "application/cloudevents+json");
    let text = String::from_utf8(rendered.body.to_vec()).expect("text");
    assert!(text.ends_with(&format!("\"data\":{data}}}")), "{text}");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value.as_object_mut().expect("an object").remove("data");
    assert_eq!(
        value,
        json!({"specversion": "1.0", "id": "evt_1", "source": "/sites/a%2Fb%20c", "type": "bellwether.visitor_spike",
               "time": "2026-02-25T12:00:00Z", "datacontenttype": "application/json"})
    );
}

#[test]
fn json_is_the_canonical_body_and_so_is_what_cannot_be_read() {
    let body = canonical("visitor_spike", visitors());
    assert_eq!(render(Format::Json, &body).body, body);
    for junk in ["", "{}", "[1]", "not json", "{\"event\":1}"] {
        let junk = Bytes::from(junk);
        assert_eq!(render(Format::CloudEvents, &junk).body, junk);
        for format in CHATS {
            rendered(format, &junk);
        }
    }
}

#[test]
fn joiners_of_words_and_of_emoji_stay_in_messages() {
    let texts_of_others = [
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
        "می\u{200c}خواهم",
        "क्\u{200d}ष",
    ];
    for text in texts_of_others {
        let data = json!({"goal_name": text, "visitor_count": 1, "path": "/x"});
        let body = canonical("goal_completion", data);
        for format in CHATS {
            let message = texts(&rendered(format, &body));
            assert!(message.contains(text), "{format} {text}: {message}");
        }
    }
}

#[test]
fn nothing_hidden_is_left_in_any_message() {
    let hidden: String = ('\0'..=char::MAX).filter(|one| is_hidden(*one)).collect();
    let data = json!({"goal_name": format!("a{hidden}b"), "visitor_count": 1, "path": format!("/{hidden}")});
    let body = canonical("goal_completion", data);
    for format in CHATS {
        let message = texts(&rendered(format, &body));
        assert!(!message.contains(|one| is_hidden(one) && one != '\n'), "{format}");
    }
}
