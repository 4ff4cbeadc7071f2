//! The present of a site in pages: what the script is told, and how old it is.

use bellwether::record::tokens::Role;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::pages_states::set_now;
use crate::pages_support::{Pages, Visitor};

const SITE: &str = "shop.example";

/// A site that is counted, with a webhook that tells of a spike.
async fn counted(pool: PgPool) -> Pages {
    let pages = Pages::start(pool).await;
    let body = json!({"name": "Team", "url": "https://hooks.example.com/x", "events": ["visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 300}}});
    let made = pages
        .api("POST", &format!("/api/sites/{SITE}/webhooks"), body)
        .await;
    set_now(&pages.pool, SITE, made["id"].as_str().expect("an id")).await;
    pages
}

async fn polled(visitor: &Visitor<'_>) -> Value {
    let answer = visitor.get(&format!("/sites/{SITE}/now")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(&answer.text).expect("JSON")
}

async fn execute(pages: &Pages, statement: &str) {
    sqlx::query(statement).execute(&pages.pool).await.expect("done");
}

#[sqlx::test]
async fn the_chart_of_the_last_hours_is_polled_with_its_table(pool: PgPool) {
    let pages = counted(pool).await;
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let page = visitor.get(&format!("/sites/{SITE}")).await;
    let before = polled(&visitor).await;
    for path in ["a", "u", "t", "v"] {
        let drawn = before["paths"][path].as_str().expect("a path");
        assert!(drawn.starts_with('M'), "{path}: {drawn}");
        page.has(&format!("class=\"{path}\" d=\"{drawn}\""));
    }
    for text in before["texts"].as_array().expect("texts") {
        page.has(&format!(">{}</text>", text.as_str().expect("a text")));
    }
    assert_eq!(
        before["finding"],
        "At most 512 visitors at once, 2 alerts. A spike begins at 300."
    );
    execute(
        &pages,
        "update site_now set current_visitors = 812, as_of = as_of + interval '1 minute'",
    )
    .await;
    let after =
        crate::support::eventually("a later answer", std::time::Duration::from_secs(10), async || {
            let after = polled(&visitor).await;
            (after["visitors"] == "812").then_some(after)
        })
        .await;
    assert_ne!(after["paths"]["v"], before["paths"]["v"]);
    assert_ne!(after["rows"], before["rows"]);
    assert_eq!(
        after["finding"],
        "At most 812 visitors at once, 2 alerts. A spike begins at 300."
    );
}

#[sqlx::test]
async fn the_table_misses_no_peak_of_the_chart(pool: PgPool) {
    let pages = counted(pool).await;
    let as_of: DateTime<Utc> = sqlx::query_scalar("select as_of from site_now")
        .fetch_one(&pages.pool)
        .await
        .expect("a time");
    // A minute that no row begins with, within the last two hours and counted.
    let peak = [67, 64, 73]
        .into_iter()
        .map(|ago| as_of - TimeDelta::minutes(ago))
        .find(|at| !(20..24).contains(&at.minute()));
    let peak = peak.expect("a minute");
    sqlx::query("update site_activity set minutes = set_byte(minutes, $2, 127) where hour = date_trunc('hour', $1::timestamptz)")
        .bind(peak)
        .bind(peak.minute() as i32)
        .execute(&pages.pool)
        .await
        .expect("a peak");
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let page = visitor.get(&format!("/sites/{SITE}")).await;
    let (_, table) = page.text.split_once("<summary>As a table").expect("a table");
    let quarter = peak - TimeDelta::minutes(i64::from(peak.minute() % 15));
    let row = format!("{}</time>", quarter.format("%H:%M"));
    let (_, row) = table.split_once(&row).expect("a row");
    let (row, _) = row.split_once("</tr>").expect("its end");
    assert!(row.ends_with("<td>127</td>"), "{row}");
}

#[sqlx::test]
async fn what_is_old_is_not_called_live(pool: PgPool) {
    let pages = counted(pool).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let path = format!("/sites/{SITE}");
    let fresh = visitor.get(&path).await;
    fresh.has(">Live.</span>");
    execute(
        &pages,
        "update site_now set as_of = now() - interval '250 seconds'",
    )
    .await;
    let old = visitor.get(&path).await;
    old.has(">Nothing newer yet.</span>");
    old.has(">4 min ago</span>");
    old.lacks("Live.");
    // Neither is it called the present where a number is to be chosen.
    let new = visitor.get(&format!("{path}/webhooks/new")).await;
    new.has(": 512. Most in 28 days: 512.");
    new.lacks("Now: 512.");
}

#[sqlx::test]
async fn a_number_is_chosen_beside_the_present_and_the_past(pool: PgPool) {
    let pages = counted(pool).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let new = visitor.get(&format!("/sites/{SITE}/webhooks/new")).await;
    // Ways to decide come later: their list has its place and the one that there is.
    new.has("<legend>When?</legend>");
    new.has("at a number</label>");
    new.has("Now: 512. Most in 28 days: 512.");
    new.has("Now: 512. Fewest in 28 days: 60.");
}
