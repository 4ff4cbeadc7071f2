use serde_json::json;

use super::*;

const PIPED: Style = Style {
    width: None,
    colours: false,
};

fn screen(width: usize) -> Style {
    Style {
        width: Some(width),
        colours: false,
    }
}

fn arrival(event: &str, data: Value) -> Arrival {
    Arrival {
        event: event.to_owned(),
        site_id: "blog.example".to_owned(),
        at_ms: 1_771_834_443_000,
        data,
        signature_ok: true,
        attempt: 1,
        after_ms: 9,
        status: 200,
        whole: WholeRequest::default(),
    }
}

fn spike() -> Arrival {
    arrival(
        "visitor_spike",
        json!({"current_visitors": 104, "threshold": 100, "top_sources": [{"source": "Hacker News", "visitors": 80}]}),
    )
}

/// Arrivals whose lines are as long as lines get.
fn longest() -> Vec<Arrival> {
    let order = json!({"goal_name": "Order", "path": "/cart/done", "revenue": {"amount": "149.90", "currency": "EUR"}});
    let subscribed = json!({"name": "Subscribed", "path": "/posts/why-we-moved-to-another-house-last-week"});
    [
        spike(),
        arrival("goal_completion", order),
        arrival("custom_event", subscribed),
    ]
    .into_iter()
    .flat_map(|arrival| {
        [(true, 503), (false, 401)].map(|(signature_ok, status)| Arrival {
            signature_ok,
            status,
            attempt: 3,
            after_ms: 4_123,
            ..arrival.clone()
        })
    })
    .collect()
}

#[test]
fn a_wide_line_says_everything_in_words() {
    assert_eq!(
        arrival_line(&spike(), PIPED),
        "08:14:03 spike blog.example 104 visitors, threshold 100 (Hacker News)   signature ok  attempt 1    9 ms  200"
    );
    let order = Arrival {
        status: 503,
        ..arrival(
            "goal_completion",
            json!({"goal_name": "Order", "path": "/cart/done", "revenue": {"amount": "49.90", "currency": "EUR"}}),
        )
    };
    assert_eq!(
        arrival_line(&order, screen(120)),
        "08:14:03 goal  blog.example Order, 49.90 EUR                            signature ok  attempt 1    9 ms  503 on purpose"
    );
}

#[test]
fn a_narrow_line_says_the_same_in_few_words() {
    assert_eq!(
        arrival_line(&spike(), screen(80)),
        "08:14:03 spike blog.example 104 visitors, threshold 100    ok  #1    9 ms  200"
    );
}

#[test]
fn no_line_is_as_wide_as_the_screen() {
    for width in [120, 100, 80, 60, 40] {
        for arrival in longest() {
            let line = arrival_line(&arrival, screen(width));
            assert!(line.chars().count() < width, "{width}: {line}");
            let status = arrival.status.to_string();
            assert!(width < 80 || line.contains(&status), "{width}: {line}");
        }
        let mut headers = axum::http::HeaderMap::new();
        let signature = format!("sha256={}", "0".repeat(64));
        headers.insert("x-webhook-signature", signature.parse().expect("a value"));
        let whole = WholeRequest {
            path: "/blog".to_owned(),
            headers,
            body: bytes::Bytes::from_static(b"{\"id\":\"evt_01jz5d1q5kf3m8x2v9r7t6w4ya\"}"),
        };
        let text = whole_request(&whole, screen(width));
        assert!(text.lines().all(|line| line.chars().count() < width), "{text}");
        assert!(width < 80 || text.contains(&signature), "{text}");
        let counts = std::array::from_fn(|_| vec![10_000; PICTURE]);
        let now = TrafficSnapshot {
            now_ms: 1_771_834_443_000,
            visitors: [10_000; SITES.len()],
            events_per_second: 100_000,
        };
        let tally = ArrivalTally {
            requests: 10_000,
            retries: 1_000,
            failed: 1_000,
            bad_signatures: 0,
        };
        let lines = live_lines(&now, &counts, &[Some(10_000); 3], &tally, 240.0, screen(width));
        assert!(
            lines.iter().all(|line| line.chars().count() < width),
            "{lines:#?}"
        );
        assert!(width < 80 || lines.concat().contains("every signature ok"));
    }
}

#[test]
fn a_signature_that_is_wrong_is_seen() {
    let forged = Arrival {
        signature_ok: false,
        status: 401,
        ..arrival("custom_event", json!({"name": "Subscribed", "path": "/about"}))
    };
    assert!(arrival_line(&forged, PIPED).contains("Subscribed on /about"));
    assert!(arrival_line(&forged, PIPED).contains("signature BAD"));
    assert!(arrival_line(&forged, screen(80)).contains("BAD"));
}

fn drawn(counts: &[usize], threshold: Option<u32>) -> String {
    picture(counts, threshold, PICTURE)
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn a_picture_is_as_wide_whatever_it_shows() {
    assert_eq!(drawn(&[0, 74, 75, 100, 900], Some(100)).trim_start(), "▁▅▅▇█");
    for counts in [vec![1; PICTURE], vec![], vec![5; 3]] {
        for threshold in [Some(100), None] {
            assert_eq!(drawn(&counts, threshold).chars().count(), PICTURE);
        }
    }
    let newest = picture(&[0, 0, 100], Some(100), 2);
    assert_eq!(newest.into_iter().map(|(_, text)| text).collect::<String>(), "▁▇");
}

#[test]
fn counts_at_the_threshold_stand_out() {
    let parts = picture(&[100, 1], Some(100), 2);
    assert!(
        parts.ends_with(&[("33", "▇".to_owned()), ("", "▁".to_owned())]),
        "{parts:?}"
    );
}

#[test]
fn the_threshold_that_is_shown_is_the_one_in_force() {
    let now = TrafficSnapshot {
        now_ms: 1_771_834_443_000,
        visitors: [12; SITES.len()],
        events_per_second: 5,
    };
    let counts = std::array::from_fn(|_| vec![12]);
    let thresholds = [Some(150), None, Some(10)];
    let tally = ArrivalTally::default();
    let lines = live_lines(&now, &counts, &thresholds, &tally, 60.0, screen(80));
    let shown = |site: &str| {
        lines
            .iter()
            .find(|line| line.contains(site))
            .cloned()
            .unwrap_or_default()
    };
    assert!(shown("shop.example").contains("12 of 150"), "{lines:#?}");
    assert!(shown("blog.example").contains("12 of -"), "{lines:#?}");
    assert!(shown("docs.example").contains("12 of 10 "), "{lines:#?}");
    assert!(snapshot_line(&now, &thresholds).contains("docs.example 12 of 10, 5 events/s"));
}
