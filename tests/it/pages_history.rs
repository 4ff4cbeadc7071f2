//! What pages tell of the past of webhooks: deleted ones, what was missed, tests, alerts.

use bellwether::domain::id::WebhookId;
use bellwether::record::tokens::Role;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::pages_states::{Written, set_health, set_now};
use crate::pages_support::Pages;

const SITE: &str = "shop.example";

async fn webhook(pages: &Pages, name: &str) -> (String, Uuid) {
    let body = json!({"name": name, "url": "https://hooks.example.com/x", "events": ["visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 300}}});
    pages.add_webhook(SITE, body).await
}

fn written(webhook: Uuid, status: &'static str, minutes_ago: i64) -> Written<'static> {
    let attempts = i32::from(status != "cancelled");
    Written {
        webhook,
        site: SITE,
        event: "visitor_spike",
        data: json!({"current_visitors": 512, "threshold": 300}),
        status,
        result: (attempts > 0).then_some("5xx"),
        code: (attempts > 0).then_some(500),
        parked: None,
        attempts,
        response: "",
        at: Utc::now() - TimeDelta::minutes(minutes_ago),
    }
}

#[sqlx::test]
async fn the_history_of_a_deleted_webhook_is_found(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages, "Team <b>").await;
    let delivery = written(uuid, "failed", 1_600).write(&pages.pool, 1).await;
    let (other, _) = webhook(&pages, "Long gone").await;
    let api = format!("/api/sites/{SITE}/webhooks");
    for id in [&id, &other] {
        pages.api("DELETE", &format!("{api}/{id}"), json!({})).await;
    }
    sqlx::query("update webhooks set deleted_at = now() - interval '31 days' where id = $1")
        .bind(other.parse::<WebhookId>().expect("an id").uuid())
        .execute(&pages.pool)
        .await
        .expect("long ago");
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let list = visitor.get(&format!("/sites/{SITE}/webhooks")).await;
    let href = format!("/sites/{SITE}/webhooks/{id}");
    let history = format!("{href}/deliveries?since=30d");
    list.has("Deleted in the last 30 days");
    list.has("Team &lt;b&gt;");
    list.has(&format!("href=\"{history}\""));
    list.lacks("Long gone");
    let history = visitor.get(&history).await;
    history.has("Deliveries of <bdi>Team &lt;b&gt;</bdi>");
    history.has(&format!("href=\"{href}/deliveries/{delivery}\""));
    let one = visitor.get(&format!("{href}/deliveries/{delivery}")).await;
    one.has("It did not arrive");
    for page in [&history, &one] {
        // Its page is gone.
        page.lacks(&format!("href=\"{href}\""));
        page.lacks(">Send again</button>");
    }
    let hidden = list.hidden();
    let again = visitor
        .send(&format!("{href}/deliveries/{delivery}/resend"), &hidden, &[])
        .await;
    assert!((400..500).contains(&again.status), "{}", again.status);
    // Who has an old bookmark is led there.
    let gone = visitor.get(&href).await;
    assert_eq!(gone.status, 404);
    gone.has(&format!("href=\"{href}/deliveries?since=30d\""));
    // A site of somebody else's tells nothing of it.
    pages.api("PUT", "/api/sites/other.example", json!({})).await;
    let other = pages.visitor(&["other.example"], Role::Editor).await;
    let list = other.get("/sites/other.example/webhooks").await;
    list.lacks("Deleted in the last 30 days");
}

#[sqlx::test]
async fn what_was_missed_is_counted_alike_everywhere(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages, "Team").await;
    // Those before it worked last are told by nobody.
    for (number, (status, ago)) in [
        ("cancelled", 1),
        ("cancelled", 2),
        ("failed", 3),
        ("failed", 4),
        ("failed", 5),
        ("cancelled", 50),
        ("failed", 51),
    ]
    .into_iter()
    .enumerate()
    {
        written(uuid, status, ago).write(&pages.pool, number as u64).await;
    }
    set_health(&pages.pool, uuid, "open", 3, 0, TimeDelta::minutes(5)).await;
    let off = "update webhooks set disabled_at = now(), disabled_reason = 'gone'";
    sqlx::query(off).execute(&pages.pool).await.expect("off");
    sqlx::query("update webhook_health set last_success_at = now() - interval '20 minutes'")
        .execute(&pages.pool)
        .await
        .expect("worked");
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let href = format!("/sites/{SITE}/webhooks/{id}");
    visitor.get(&href).await.has("5 were not delivered since ");
    let recover = visitor.get(&format!("{href}/recover")).await;
    recover.has("5 were not delivered since then");
    recover.lacks("of them not sent");
}

#[sqlx::test]
async fn tests_alone_are_not_called_nothing(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, uuid) = webhook(&pages, "Team").await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let href = format!("/sites/{SITE}/webhooks/{id}");
    let list = format!("/sites/{SITE}/webhooks");
    visitor.get(&href).await.has("Nothing sent yet.");
    let mut test = written(uuid, "failed", 0);
    test.event = "test";
    test.write(&pages.pool, 1).await;
    let tested = visitor.get(&href).await;
    tested.has("Nothing but tests sent yet.</strong> The last one did not arrive.");
    tested.lacks("Nothing sent yet");
    visitor.get(&list).await.lacks("Nothing sent yet");
}

#[sqlx::test]
async fn the_filter_of_alerts_offers_what_can_be_there(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (id, _) = webhook(&pages, "Team").await;
    set_now(&pages.pool, SITE, &id).await;
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let path = format!("/sites/{SITE}/alerts");
    let alerts = visitor.get(&path).await;
    for word in ["visitor_spike", "visitor_drop", "error_condition"] {
        alerts.has(&format!("<option value=\"{word}\">"));
    }
    for word in ["goal_completion", "custom_event", "test"] {
        alerts.lacks(&format!("<option value=\"{word}\">"));
    }
    // Goals that are counted lead to alerts.
    let body = json!({"url": "https://hooks.example.com/y", "events": ["goal_completion"],
        "triggers": {"goal_completion": {"at_least": 3, "within_seconds": 60}}});
    pages
        .api("POST", &format!("/api/sites/{SITE}/webhooks"), body)
        .await;
    visitor.get(&path).await.has("<option value=\"goal_completion\">");
}
