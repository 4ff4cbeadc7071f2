//! Sending again from pages: one delivery, and everything that was missed.

use std::time::Duration;

use bellwether::clock;
use bellwether::domain::id::WebhookId;
use bellwether::record::idempotency::{self, Claimed, ScopedKey, StoredAnswer};
use bellwether::record::tokens::Role;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use crate::pages_states::{Written, set_health};
use crate::pages_support::Pages;
use crate::record_support::keyring;
use crate::support::eventually;

const SITE: &str = "shop.example";

/// A site with a webhook and a delivery of it that failed, both by their ids.
async fn missed(pages: &Pages) -> (String, String) {
    let body = json!({"name": "Team", "url": "https://hooks.example.com/x", "events": ["goal_completion"]});
    let (id, webhook) = pages.add_webhook(SITE, body).await;
    let written = Written {
        webhook,
        site: SITE,
        event: "goal_completion",
        data: json!({"goal_name": "Signup", "z": 1, "a": 2}),
        status: "failed",
        result: Some("5xx"),
        code: Some(500),
        parked: None,
        attempts: 4,
        response: "sorry\u{202E}",
        at: Utc::now() - TimeDelta::minutes(30),
    };
    let delivery = written.write(&pages.pool, 1).await;
    (id, delivery)
}

#[sqlx::test]
async fn what_waits_says_until_when_and_why(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (webhook, _) = missed(&pages).await;
    let written = Written {
        webhook: webhook.parse::<WebhookId>().expect("an id").uuid(),
        site: SITE,
        event: "goal_completion",
        data: json!({"goal_name": "Signup"}),
        status: "pending",
        result: None,
        code: None,
        parked: Some("rate"),
        attempts: 0,
        response: "",
        at: Utc::now(),
    };
    let delivery = written.write(&pages.pool, 2).await;
    let circuit = Written {
        parked: Some("circuit"),
        ..written
    };
    let held = circuit.write(&pages.pool, 3).await;
    set_health(&pages.pool, circuit.webhook, "open", 3, 2, TimeDelta::minutes(1)).await;
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let href = format!("/sites/{SITE}/webhooks/{webhook}/deliveries");
    visitor
        .get(&format!("{href}/{held}"))
        .await
        .has("your server is failing; we try now and then, next at <time ");
    let one = visitor.get(&format!("{href}/{delivery}")).await;
    one.has("It waits until <time ");
    one.has("</time>: your limit of requests a second is reached.");
    visitor
        .get(&href)
        .await
        .has("your limit of requests a second is reached");
}

#[sqlx::test]
async fn a_delivery_is_shown_with_its_tries_and_sent_again(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (webhook, delivery) = missed(&pages).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let list = format!("/sites/{SITE}/webhooks/{webhook}/deliveries");
    let history = visitor.get(&format!("{list}?show=undelivered&since=1h")).await;
    for text in ["Goal: Signup", "Failed", "HTTP 500, 4 tries", "84 ms"] {
        history.has(text);
    }
    visitor
        .get(&format!("{list}?show=delivered"))
        .await
        .has("None delivered in 24 hours. <a href=");
    let href = format!("{list}/{delivery}");
    let one = visitor.get(&href).await;
    for text in [
        "It did not arrive: every try failed: HTTP 500.",
        "Try 4: Your server failed: HTTP 500.",
        "We were late by",
        "Your server took",
        "name 1 ms, connection 12 ms, encryption 20 ms, reply 51 ms",
        "sorry⟦U+202E⟧",
        "&quot;goal_name&quot;: &quot;Signup&quot;",
    ] {
        one.has(text);
    }
    let webhook_path = format!("/api/sites/{SITE}/webhooks/{webhook}");
    pages.api("PATCH", &webhook_path, json!({"enabled": false})).await;
    let off = visitor.submit(&href, &format!("{href}/resend"), &[]).await;
    assert_eq!(off.status, 409);
    off.has("This webhook is off, so that nothing is sent. Switch it on, and send this again.");
    off.has(&format!(
        "<a class=\"go\" href=\"/sites/{SITE}/webhooks/{webhook}\">"
    ));
    pages.api("PATCH", &webhook_path, json!({"enabled": true})).await;
    let (hidden, resend) = (one.hidden(), format!("{href}/resend"));
    let again = visitor.send(&resend, &hidden, &[]).await.location().to_owned();
    assert_ne!(again, href);
    assert_eq!(
        visitor.send(&resend, &hidden, &[]).await.location(),
        again,
        "sent twice, done once"
    );
    let queued = visitor.get(&again).await;
    queued.has("Queued. It goes out beside what is new.");
    queued.has(&delivery);
    visitor.get(&href).await.has(&again);
    let rows: i64 = sqlx::query_scalar("select count(*) from deliveries")
        .fetch_one(&pages.pool)
        .await
        .expect("a count");
    assert_eq!(rows, 2);
    let viewer = pages.visitor(&[SITE], Role::Viewer).await;
    viewer.get(&href).await.lacks("Send again");
}

#[sqlx::test]
async fn what_was_missed_is_sent_and_can_be_stopped(pool: PgPool) {
    let pages = Pages::start(pool).await;
    let (webhook, _) = missed(&pages).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let href = format!("/sites/{SITE}/webhooks/{webhook}");
    let recover = format!("{href}/recover");
    let asked = visitor.get(&recover).await;
    asked.has("1 was not delivered since then. It is sent once more, beside what is new;");
    let wrong = visitor
        .submit(&recover, &recover, &[("since", ""), ("until", "soon")])
        .await;
    assert_eq!(wrong.status, 422);
    wrong.has("<a href=\"#since\">Enter the time from which on to send again</a>");
    wrong.has("<a href=\"#until\">Enter a time, or leave it empty for now</a>");
    let since = (Utc::now() - TimeDelta::hours(1))
        .format("%Y-%m-%dT%H:%M")
        .to_string();
    let begun = visitor
        .submit(&recover, &recover, &[("since", since.as_str()), ("until", "")])
        .await;
    let job = begun.location().to_owned();
    assert!(job.starts_with(&format!("{href}/recoveries/job_")), "{job}");
    let progress = visitor.get(&job).await;
    progress.has("Stop");
    assert_eq!(visitor.send(&job, &progress.hidden(), &[]).await.location(), job);
    visitor.get(&job).await.has("Stopped");
    pages
        .api(
            "PATCH",
            &format!("/api/sites/{SITE}/webhooks/{webhook}"),
            json!({"enabled": false}),
        )
        .await;
    let times = [("since", since.as_str()), ("until", "")];
    let off = visitor.send(&recover, &asked.hidden(), &times).await;
    assert_eq!(off.status, 409);
    off.has("This webhook is off. The button switches it on and sends what was missed");
    off.has(&format!("value=\"{since}\""));
    off.lacks("PATCH");
    let shown = visitor.get(&recover).await;
    shown.has("This webhook is off: it is switched on first.");
    let mut reversed = vec![("since", since.as_str()), ("until", "2020-01-01T00:00")];
    reversed.push(("switch_on", "1"));
    let reversed = visitor.submit(&recover, &recover, &reversed).await;
    reversed.has("<a href=\"#since\">The time must lie before the end, and before now</a>");
    visitor.get(&href).await.has("<strong>Off.</strong>");
    let wrong = [("since", ""), ("until", ""), ("switch_on", "1")];
    assert_eq!(visitor.submit(&recover, &recover, &wrong).await.status, 422);
    visitor.get(&href).await.has("<strong>Off.</strong>");
    let on = [times[0], times[1], ("switch_on", "1")];
    let begun = visitor.submit(&recover, &recover, &on).await;
    assert!(begun.location().starts_with(&format!("{href}/recoveries/job_")));
    visitor.get(&href).await.lacks("<strong>Off.</strong>");
}

#[sqlx::test]
async fn the_present_is_told_against_what_is_usual(pool: PgPool) {
    let pages = Pages::start(pool).await;
    pages
        .api(
            "PUT",
            &format!("/api/sites/{SITE}"),
            json!({"time_zone": "Europe/Berlin"}),
        )
        .await;
    let (webhook, _) = missed(&pages).await;
    crate::pages_states::set_now(&pages.pool, SITE, &webhook).await;
    let visitor = pages.visitor(&[SITE], Role::Viewer).await;
    let now = visitor.get(&format!("/sites/{SITE}")).await;
    for text in [
        ">512</span>",
        "Spike now. A spike begins at 300.",
        "Usual for ",
        ":00: 80.",
        "Spike (Team) firing since ",
        "<svg class=\"chart\" ",
        "At most 512 visitors at once, 2 alerts. A spike begins at 300.",
    ] {
        now.has(text);
    }
    // The switch of the zone keeps what was asked for, and holds for the pages that follow.
    let list = format!("/sites/{SITE}/webhooks/{webhook}/deliveries?show=undelivered&since=1h");
    let switch = list.replace('&', "&amp;");
    let here = visitor.get(&list).await;
    here.has(&format!("href=\"{switch}&amp;tz=utc\">show UTC"));
    here.lacks("?tz=utc\"><time");
    let utc = visitor.get(&format!("{list}&tz=utc")).await;
    utc.has(&format!("href=\"{switch}\">show the site’s time"));
    for kept in [
        "?tz=utc\"><time",
        "/webhooks?tz=utc\"",
        "name=\"tz\" value=\"utc\"",
    ] {
        utc.has(kept);
    }
    let alerts = visitor.get(&format!("/sites/{SITE}/alerts")).await;
    alerts.has("<option value=\"visitor_drop\">");
    alerts.lacks("<option value=\"test\">");
    for text in [
        "up to 512, fires at 300",
        "still on after 4 min",
        ", 41 min",
        "told Team",
    ] {
        alerts.has(text);
    }
}

#[sqlx::test]
async fn a_test_sent_twice_waits_for_the_first(pool: PgPool) {
    let pages = Pages::start(pool.clone()).await;
    let (webhook, _) = missed(&pages).await;
    let visitor = pages.visitor(&[SITE], Role::Editor).await;
    let href = format!("/sites/{SITE}/webhooks/{webhook}");
    let hidden = visitor.get(&href).await.hidden();
    let token_id = sqlx::query_scalar("select id from api_tokens where kind = 'session'")
        .fetch_one(&pool)
        .await
        .expect("the session");
    let key = ScopedKey {
        token_id,
        path: format!("/api{href}/test"),
        key: hidden.1.clone(),
    };
    // The first of the two is being worked on.
    let mut conn = pool.acquire().await.expect("a connection");
    let hash: [u8; 32] = Sha256::digest(b"{}").into();
    let keys = keyring(&[("a", 1)]);
    let claimed = idempotency::claim(&mut conn, &keys, key, &hash, token_id, clock::now())
        .await
        .expect("claimed");
    let Claimed::Ours(claim) = claimed else {
        panic!("{claimed:?}")
    };
    let path = format!("{href}/test");
    let second = visitor.send(&path, &hidden, &[]);
    let first = async {
        // The second has found the claim of the first.
        let looked = "select count(*) from pg_stat_activity
            where datname = current_database() and query like '%from idempotency_keys%' and pid <> pg_backend_pid()
                and query not like '%pg_stat_activity%'";
        eventually("a look", Duration::from_secs(20), async || {
            let looks: i64 = sqlx::query_scalar(looked)
                .fetch_one(&pool)
                .await
                .expect("a count");
            (looks > 0).then_some(())
        })
        .await;
        let outcome = json!({"delivery_id": "dlv_01h455vb4pex5vsknk084sn02q", "status": "delivered",
            "response_code": 200, "result": "2xx", "error": null, "latency_ms": 84, "response": "fine"});
        let result = StoredAnswer {
            status: 200,
            location: None,
            body: outcome.to_string(),
        };
        assert!(idempotency::keep(&mut conn, &claim, &result).await.expect("kept"));
    };
    let (second, ()) = tokio::join!(second, first);
    assert_eq!(second.status, 200, "{}", second.text);
    second.has("Arrived: HTTP 200 after 84 ms.");
}
