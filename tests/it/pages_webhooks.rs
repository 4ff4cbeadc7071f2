//! Webhooks in pages: forms, errors at their fields, secrets, states.

use bellwether::domain::id::WebhookId;
use bellwether::record::tokens::Role;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::pages_states::{Written, set_health};
use crate::pages_support::{Pages, Visitor};

const SITE: &str = "/sites/shop.example";

async fn shop(pool: PgPool) -> Pages {
    let pages = Pages::start(pool).await;
    let zone = json!({"name": "Shop", "time_zone": "Europe/Berlin"});
    pages.api("PUT", "/api/sites/shop.example", zone).await;
    pages
}

/// Sends the form of a new webhook.
async fn add(visitor: &Visitor<'_>, fields: &[(&str, &str)]) -> crate::pages_support::Shown {
    let path = format!("{SITE}/webhooks/new");
    visitor.submit(&path, &path, fields).await
}

const GOOD: [(&str, &str); 5] = [
    ("name", "Production"),
    ("url", "https://hooks.example.com/in/abcd9f2c"),
    ("goal_completion", "on"),
    ("visitor_spike", "on"),
    ("visitor_spike_threshold", "300"),
];

/// Adds the webhook [`GOOD`], and returns its id.
async fn added(pages: &Pages, visitor: &Visitor<'_>) -> String {
    assert_eq!(add(visitor, &GOOD).await.status, 200);
    let id = &only_webhook(pages).await["id"];
    id.as_str().expect("an id").to_owned()
}

async fn only_webhook(pages: &Pages) -> Value {
    let listed = pages
        .api("GET", "/api/sites/shop.example/webhooks", json!({}))
        .await;
    listed["data"][0].clone()
}

#[sqlx::test]
async fn a_webhook_is_added_and_its_secret_shown(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    visitor
        .get(&format!("{SITE}/webhooks"))
        .await
        .has("Nothing is sent yet. A webhook tells your server");
    let page = visitor.get(&format!("{SITE}/webhooks/new")).await;
    let hidden = page.hidden();
    let path = format!("{SITE}/webhooks/new");
    let added = visitor.send(&path, &hidden, &GOOD).await;
    assert_eq!(
        (added.status, added.headers["cache-control"].as_bytes()),
        (200, &b"no-store"[..])
    );
    added.has("Copy your secret.");
    added.has("whsec_");
    assert!(!added.headers.contains_key("content-encoding"));
    let again = visitor.send(&path, &hidden, &GOOD).await;
    assert_eq!(again.status, 200);
    again.lacks("whsec_");
    let webhook = only_webhook(&pages).await;
    assert_eq!(
        webhook["triggers"]["visitor_spike"],
        json!({"threshold": 300, "window_seconds": 300})
    );
    assert_eq!(webhook["rate_limit_per_second"], 50);
    let list = visitor.get(&format!("{SITE}/webhooks")).await;
    for text in [
        "1 of 10 used",
        "Production",
        "https://hooks.example.com/…9f2c",
        "No event sent yet.",
    ] {
        list.has(text);
    }
    list.lacks("abcd9f2c");
    let one = visitor
        .get(&format!(
            "{SITE}/webhooks/{}",
            webhook["id"].as_str().expect("an id")
        ))
        .await;
    one.has("Spike at 300 visitors");
    one.lacks("abcd9f2c");
    one.lacks("whsec_");
}

#[sqlx::test]
async fn errors_stand_at_their_fields_and_keep_the_input(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let fields = [
        ("name", "Mine \"<b>\u{202E}"),
        ("url", "ftp://x"),
        ("visitor_spike", "on"),
        ("secret_choice", "own"),
        ("secret", "too-short"),
        ("rate_limit", "many"),
    ];
    let refused = add(&visitor, &fields).await;
    assert_eq!(refused.status, 422);
    for text in [
        "<title>Error: Add a webhook",
        "There is a problem",
        "tabindex=\"-1\" autofocus",
        "<a href=\"#url\">Enter an address that starts with https://</a>",
        "<a href=\"#visitor_spike_threshold\">You ticked More visitors: enter a number</a>",
        "aria-describedby=\"url-hint url-error\"",
        "value=\"ftp://x\"",
        "value=\"Mine &quot;&lt;b&gt;\u{202E}\"",
        "href=\"#secret\"",
        "href=\"#rate_limit\"",
        "<details open>",
    ] {
        refused.has(text);
    }
    refused.lacks("too-short");
    let nothing = add(&visitor, &[("url", "https://hooks.example.com/x")]).await;
    // Below the question and above the boxes, not at the one for goals.
    let (_, question) = nothing
        .text
        .split_once("What should we tell you about?")
        .expect("a question");
    let (_, objection) = question
        .split_once("Tick at least one thing to be told about")
        .expect("an objection");
    assert!(objection.contains("id=\"goal_completion\""), "{objection}");
}

#[sqlx::test]
async fn a_header_value_without_a_name_is_refused(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let mut fields = GOOD.to_vec();
    fields.extend([
        ("header_value_0", "Bearer of-mine"),
        ("header_name_1", "x-fine"),
        ("header_value_1", "1"),
        ("header_value_2", "Bearer of-mine"),
    ]);
    let refused = add(&visitor, &fields).await;
    assert_eq!(refused.status, 422);
    for row in [1, 3] {
        let field = row - 1;
        refused.has(&format!(
            "<a href=\"#header_name_{field}\">Header {row} has a value but no name. Enter both</a>"
        ));
    }
    refused.has("<a href=\"#header_value_0\">Enter the value of header 1 again: it is not shown</a>");
    refused.lacks("of-mine");
    refused.lacks("#header_name_1\"");
    assert_eq!(only_webhook(&pages).await, Value::Null);
    let id = added(&pages, &visitor).await;
    let edit = format!("{SITE}/webhooks/{id}/edit");
    let fields = [&GOOD[..], &[("header_value_0", "Bearer of-mine")]].concat();
    let refused = visitor.submit(&edit, &edit, &fields).await;
    refused.has("<a href=\"#header_name_0\">Header 1 has a value but no name. Enter both</a>");
}

#[sqlx::test]
async fn states_say_what_is_so_however_much_waits(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let id = added(&pages, &visitor).await;
    let webhook = id.parse::<WebhookId>().expect("an id").uuid();
    let mut written = Written {
        webhook,
        site: "shop.example",
        event: "goal_completion",
        data: json!({"goal_name": "Signup"}),
        status: "failed",
        result: Some("5xx"),
        code: Some(500),
        parked: None,
        attempts: 4,
        response: "",
        at: Utc::now() - TimeDelta::minutes(30),
    };
    written.write(&pages.pool, 1).await;
    let (list, href) = (format!("{SITE}/webhooks"), format!("{SITE}/webhooks/{id}"));
    // Switched on again after 410: what was sent before was sent.
    set_health(&pages.pool, webhook, "disabled", 0, 0, TimeDelta::minutes(5)).await;
    // The list leaves tests out.
    for (path, what) in [(&list, "No event"), (&href, "Nothing")] {
        let page = visitor.get(path).await;
        page.has(&format!("{what} sent since it was switched on."));
        page.lacks("sent yet");
    }
    (written.status, written.attempts, written.code) = ("pending", 0, None);
    (written.parked, written.at) = (Some("circuit"), Utc::now());
    for number in 2..30 {
        written.write(&pages.pool, number).await;
    }
    set_health(&pages.pool, webhook, "open", 3, 28, TimeDelta::minutes(5)).await;
    for path in [&list, &href] {
        let page = visitor.get(path).await;
        page.has("Your server has answered HTTP 500</strong>");
        page.lacks("has not answered");
    }
}

#[sqlx::test]
async fn a_masked_address_is_kept_by_an_empty_field(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    assert_eq!(add(&visitor, &GOOD).await.status, 200);
    let webhook = only_webhook(&pages).await;
    let href = format!("{SITE}/webhooks/{}", webhook["id"].as_str().expect("an id"));
    let edit = format!("{href}/edit");
    let form = visitor.get(&edit).await;
    form.has("Now <bdi>https://hooks.example.com/…9f2c</bdi>. Leave empty to keep it.");
    form.has(
        "name=\"url\" type=\"text\" inputmode=\"url\" autocomplete=\"off\" spellcheck=\"false\" value=\"\"",
    );
    let fields = [
        ("name", "Renamed"),
        ("url", ""),
        ("goal_completion", "on"),
        ("goal_completion_names", "Signup\r\nPaid"),
        ("format", "json"),
        ("header_name_0", "X-Key"),
        ("header_value_0", "hidden-value"),
        ("rate_limit", ""),
        ("max_concurrency", "4"),
        ("failure_threshold", "3"),
        ("retry_schedule", "patient"),
        ("max_age", ""),
    ];
    assert_eq!(visitor.submit(&edit, &edit, &fields).await.location(), href);
    let webhook = only_webhook(&pages).await;
    assert_eq!(webhook["name"], "Renamed");
    assert_eq!(webhook["url"], "https://hooks.example.com/…9f2c");
    assert_eq!(webhook["events"], json!(["goal_completion"]));
    assert_eq!(
        webhook["triggers"],
        json!({"goal_completion": {"goals": ["Signup", "Paid"]}})
    );
    assert_eq!(webhook["rate_limit_per_second"], Value::Null);
    assert_eq!(webhook["headers"], json!({"X-Key": "********"}));
    assert_eq!(webhook["retry_schedule"], "patient");
    let form = visitor.get(&edit).await;
    form.has("Remove <bdi>X-Key</bdi>, whose value is not shown");
    form.lacks("hidden-value");
    form.lacks("********");
}

#[sqlx::test]
async fn the_list_tells_the_newest_outcomes_but_tests(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Viewer).await;
    let list = format!("{SITE}/webhooks");
    let body = json!({"url": "https://hooks.example.com/in/abcd9f2c", "events": ["goal_completion"]});
    let made = pages.api("POST", "/api/sites/shop.example/webhooks", body).await;
    visitor.get(&list).await.lacks("last ");
    let webhook = made["id"].as_str().expect("an id");
    let webhook = webhook.parse::<WebhookId>().expect("an id").uuid();
    let statuses = [
        ("delivered", Some("2xx"), Some(200)),
        ("failed", Some("5xx"), Some(500)),
        ("retrying", Some("timeout"), None),
    ];
    for number in 0..25 {
        let (status, result, code) = statuses[if number < 3 { number } else { 0 }];
        let event = if (3..6).contains(&number) {
            "test"
        } else {
            "goal_completion"
        };
        let written = Written {
            webhook,
            site: "shop.example",
            event,
            data: json!({"goal_name": "Signup"}),
            status,
            result,
            code,
            parked: None,
            attempts: 1,
            response: "",
            at: Utc::now() - TimeDelta::minutes(number as i64),
        };
        written.write(&pages.pool, number as u64).await;
    }
    set_health(&pages.pool, webhook, "ok", 0, 0, TimeDelta::minutes(9)).await;
    let page = visitor.get(&list).await;
    page.has("last 20: 18 delivered, 1 not delivered, 1 on the way");
    page.has("last delivered 2 min ago, HTTP 200, 84 ms");
    page.has("…9f2c</bdi> · goals · last 20");
    let path = "/api/sites/shop.example/webhooks";
    let plain = pages.api("GET", path, json!({})).await;
    assert_eq!(plain["data"][0]["recent"], Value::Null);
    let told = pages
        .api("GET", &format!("{path}?include=recent"), json!({}))
        .await;
    let recent = told["data"][0]["recent"].as_array().expect("a list");
    assert_eq!(recent.len(), 20);
    assert!(
        recent
            .iter()
            .all(|one| one["payload"].is_null() && one["event_type"] != "test")
    );
    assert_eq!(recent[1]["response_code"], 500);
    assert!(recent.is_sorted_by(|one, next| one["id"].as_str() > next["id"].as_str()));
}

#[sqlx::test]
async fn goals_are_chosen_by_boxes_and_others_by_name(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    for name in ["Signup", "Paid & \"more\""] {
        let goal = json!({"name": name, "kind": "event", "event": "x"});
        pages.api("POST", "/api/sites/shop.example/goals", goal).await;
    }
    let fields = [
        GOOD.as_slice(),
        &[
            ("goal", "Paid & \"more\""),
            ("goal_completion_names", "Elsewhere"),
        ],
    ];
    assert_eq!(add(&visitor, &fields.concat()).await.status, 200);
    let webhook = only_webhook(&pages).await;
    assert_eq!(
        webhook["triggers"]["goal_completion"]["goals"],
        json!(["Paid & \"more\"", "Elsewhere"])
    );
    let href = format!("{SITE}/webhooks/{}", webhook["id"].as_str().expect("an id"));
    let form = visitor.get(&format!("{href}/edit")).await;
    form.has("value=\"Paid &amp; &quot;more&quot;\" checked>");
    form.has("value=\"Signup\"><label");
    form.has(">\nElsewhere</textarea>");
}

#[sqlx::test]
async fn a_tracking_problem_is_watched_for_by_its_box(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let new = format!("{SITE}/webhooks/new");
    let fields = [
        ("name", "Watcher"),
        ("url", "https://hooks.example.com/in/abcd9f2c"),
        ("error_condition", "on"),
    ];
    let form = visitor.get(&new).await;
    form.has("aria-describedby=\"error_condition-hint\"");
    form.has(
        "id=\"error_condition-hint\">No event for longer than is plausible; and within 5 minutes 50 errors",
    );
    assert_eq!(visitor.submit(&new, &new, &fields).await.status, 200);
    let made = only_webhook(&pages).await;
    assert_eq!(made["events"], json!(["error_condition"]));
    let all = json!({"error_events": 50, "rejected_events": 100, "silence": true});
    let triggers = &made["triggers"]["error_condition"];
    for (option, wanted) in all.as_object().expect("options") {
        assert_eq!(&triggers[option], wanted, "{triggers}");
    }
    // What another way has set stays when the form is saved.
    let href = format!(
        "/api/sites/shop.example/webhooks/{}",
        made["id"].as_str().expect("an id")
    );
    let only = json!({"triggers": {"error_condition": {"rejected_events": null, "silence": null}}});
    pages.api("PATCH", &href, only).await;
    let before = only_webhook(&pages).await;
    let edit = format!("{SITE}/webhooks/{}/edit", made["id"].as_str().expect("an id"));
    visitor.submit(&edit, &edit, &[fields[0], fields[2]]).await;
    assert_eq!(only_webhook(&pages).await["triggers"], before["triggers"]);
}

#[sqlx::test]
async fn options_that_the_form_cannot_show_stay(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let body = json!({"url": "https://hooks.example.com/in/abcd9f2c", 
        "events": ["goal_completion", "visitor_spike", "visitor_drop"],
        "triggers": {"goal_completion": {"every": 10}, "visitor_spike": {"threshold": 300, "repeat_after_seconds": 3600},
            "visitor_drop": {"threshold": 10}}});
    pages.api("POST", "/api/sites/shop.example/webhooks", body).await;
    let before = only_webhook(&pages).await;
    let href = format!("{SITE}/webhooks/{}", before["id"].as_str().expect("an id"));
    let edit = format!("{href}/edit");
    let fields = [
        ("name", "Renamed"),
        ("visitor_drop", "on"),
        ("visitor_drop_threshold", "10"),
        ("visitor_drop_window", "43200"),
        ("goal_completion", "on"),
        ("goal_completion_names", ""),
        ("visitor_spike", "on"),
        ("visitor_spike_threshold", "300"),
        ("visitor_spike_window", "300"),
    ];
    assert_eq!(visitor.submit(&edit, &edit, &fields).await.location(), href);
    let after = only_webhook(&pages).await;
    assert_eq!(
        (&after["name"], &after["triggers"]),
        (&json!("Renamed"), &before["triggers"])
    );
    let mut emptied = fields;
    emptied[2].1 = "";
    let refused = visitor.submit(&edit, &edit, &emptied).await;
    assert_eq!(refused.status, 422);
    refused.has("You ticked Fewer visitors: enter a number");
}

#[sqlx::test]
async fn secrets_are_rotated_and_shown_on_purpose(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let id = added(&pages, &visitor).await;
    let href = format!("{SITE}/webhooks/{id}");
    let rotate = format!("{href}/rotate");
    let rotated = visitor.submit(&rotate, &rotate, &[("overlap", "86400")]).await;
    assert_eq!(rotated.status, 200);
    rotated.has("whsec_");
    let page = visitor.get(&href).await;
    page.has("Two secrets are valid until");
    let shown = visitor.submit(&href, &format!("{href}/secret"), &[]).await;
    assert_eq!(shown.headers["cache-control"], "no-store");
    assert_eq!(shown.text.matches("whsec_").count(), 2);
    // The end of the overlap, as the page of the webhook tells it.
    let (_, until) = page
        .text
        .split_once("Two secrets are valid until")
        .expect("an overlap");
    let (_, until) = until.split_once("<time ").expect("a time");
    let until = until.split_once("</time>").expect("a time").0;
    shown.has(&format!(
        "Both are valid until <time {until}</time>. From then on only this one is."
    ));
    let finished = visitor
        .submit(&href, &format!("{href}/finish-rotation"), &[])
        .await;
    assert_eq!(finished.location(), href);
    visitor.get(&href).await.lacks("Two secrets are valid");
    let wrong = visitor
        .submit(
            &rotate,
            &rotate,
            &[("overlap", "0"), ("secret_choice", "own"), ("secret", "short")],
        )
        .await;
    assert_eq!(wrong.status, 422);
    wrong.has("href=\"#secret\"");
    let audited: i64 =
        sqlx::query_scalar("select count(*) from audit_log where action = 'webhook.reveal_secret'")
            .fetch_one(&pages.pool)
            .await
            .expect("a count");
    assert_eq!(audited, 1);
}

#[sqlx::test]
async fn a_webhook_is_paused_switched_off_and_deleted(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let id = added(&pages, &visitor).await;
    let href = format!("{SITE}/webhooks/{id}");
    let act = async |action: &str, fields: &[(&str, &str)]| {
        let done = visitor.submit(&href, &format!("{href}/{action}"), fields).await;
        assert_eq!(done.location(), href);
        visitor.get(&href).await
    };
    act("pause", &[("hours", "8")]).await.has("Paused until");
    act("resume", &[]).await.lacks("Paused until");
    let off = act("disable", &[]).await;
    off.has("<strong>Off.</strong> Nothing is sent and nothing is kept for later.");
    off.has("Switch on");
    act("enable", &[]).await.lacks("Nothing is kept for later");
    let delete = format!("{href}/delete");
    visitor.get(&delete).await.has("This cannot be undone.");
    assert_eq!(
        visitor.submit(&delete, &delete, &[]).await.location(),
        "/sites/shop.example/webhooks"
    );
    assert_eq!(visitor.get(&href).await.status, 404);
    assert_eq!(visitor.get(&format!("{href}/deliveries")).await.status, 200);
}

#[sqlx::test]
async fn names_of_others_are_shown_and_never_markup(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let name = "<script>alert(1)</script>\u{202E}🦌 שלום \"'&";
    let webhook = json!({"name": name, "url": "https://hooks.example.com/x", "events": ["goal_completion"]});
    pages
        .api("POST", "/api/sites/shop.example/webhooks", webhook)
        .await;
    let goal = json!({"name": name, "kind": "event", "event": name});
    pages.api("POST", "/api/sites/shop.example/goals", goal).await;
    let settings = json!({"name": name, "time_zone": "UTC"});
    pages.api("PUT", "/api/sites/shop.example", settings).await;
    let id = only_webhook(&pages).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for path in [
        format!("{SITE}/webhooks"),
        format!("{SITE}/webhooks/{id}"),
        format!("{SITE}/webhooks/{id}/edit"),
        format!("{SITE}/webhooks/{id}/rotate"),
        format!("{SITE}/webhooks/{id}/delete"),
        format!("{SITE}/webhooks/{id}/deliveries"),
        format!("{SITE}/goals"),
        format!("{SITE}/settings"),
        format!("{SITE}/alerts"),
        SITE.to_owned(),
    ] {
        let page = visitor.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        page.lacks("<script>alert");
        page.has("&lt;script&gt;alert(1)&lt;/script&gt;⟦U+202E⟧🦌 שלום");
    }
}

#[sqlx::test]
async fn a_full_site_says_how_to_go_on(pool: PgPool) {
    let pages = Pages::start_with(pool, |config| config.max_per_site = 1).await;
    pages.api("PUT", "/api/sites/shop.example", json!({})).await;
    let webhook = json!({"url": "https://hooks.example.com/x", "events": ["goal_completion"]});
    pages
        .api("POST", "/api/sites/shop.example/webhooks", webhook)
        .await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let list = visitor.get(&format!("{SITE}/webhooks")).await;
    list.has("1 of 1 used. Delete one to add another.");
    list.lacks("Add a webhook");
    list.has("No events from <bdi>shop.example</bdi> yet. Webhooks have nothing to report.");
    // No form is filled in for nothing.
    let new = visitor.get(&format!("{SITE}/webhooks/new")).await;
    assert_eq!(new.location(), format!("{SITE}/webhooks"));
}

#[sqlx::test]
async fn owners_are_told_the_addresses_that_requests_come_from(pool: PgPool) {
    let pages = Pages::start_with(pool, |config| {
        config.outbound_addresses = vec!["192.0.2.7".to_owned(), "2001:db8::/48".to_owned()];
    })
    .await;
    let site = json!({"name": "Shop"});
    pages.api("PUT", "/api/sites/shop.example", site).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    assert_eq!(add(&visitor, &GOOD).await.status, 200);
    let id = only_webhook(&pages).await["id"].as_str().unwrap().to_owned();
    let page = visitor.get(&format!("{SITE}/webhooks/{id}")).await;
    page.has("Requests come from");
    page.has("192.0.2.7, 2001:db8::/48");
}
