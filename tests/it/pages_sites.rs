//! Sites, goals, settings, alerts, deliveries and the present in pages.

use bellwether::record::tokens::Role;
use serde_json::json;
use sqlx::PgPool;

use crate::pages_support::Pages;

async fn shop(pool: PgPool) -> Pages {
    let pages = Pages::start(pool).await;
    pages
        .api("PUT", "/api/sites/shop.example", json!({"name": "Shop"}))
        .await;
    pages
}

#[sqlx::test]
async fn sites_are_found_by_a_part_of_their_name(pool: PgPool) {
    let pages = Pages::start(pool).await;
    for number in 0..52 {
        let path = format!("/api/sites/s{number:02}.example");
        pages
            .api("PUT", &path, json!({"name": format!("Number {number}")}))
            .await;
    }
    let ids: Vec<String> = (0..52).map(|number| format!("s{number:02}.example")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let visitor = pages.visitor(&ids, Role::Viewer).await;
    let all = visitor.get("/sites").await;
    assert_eq!(all.text.matches("<li><h2>").count(), 50);
    all.has("/sites?after=s49.example");
    assert_eq!(
        visitor
            .get("/sites?after=s49.example")
            .await
            .text
            .matches("<li><h2>")
            .count(),
        2
    );
    let beyond = visitor.get("/sites?after=zzz").await;
    beyond.has("There are no more sites. <a href=\"/sites\">Show all</a>");
    beyond.lacks("There is no site yet");
    let found = visitor.get("/sites?q=nUMBER+51").await;
    assert_eq!(found.text.matches("<li><h2>").count(), 1);
    found.has("s51.example");
    visitor
        .get("/sites?q=%3Cb%3E")
        .await
        .has("No site has “<bdi>&lt;b&gt;</bdi>” in its name.");
    let found = visitor.get("/sites?q=%00number%0051%00").await;
    assert_eq!(found.text.matches("<li><h2>").count(), 0);
    assert_eq!(
        visitor
            .get("/sites?q=%0051%00")
            .await
            .text
            .matches("<li><h2>")
            .count(),
        1
    );
}

#[sqlx::test]
async fn goals_are_added_changed_and_deleted(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let base = "/sites/shop.example/goals";
    visitor.get(base).await.has("There is no goal yet.");
    let new = format!("{base}/new");
    let wrong = visitor
        .submit(&new, &new, &[("name", ""), ("kind", "page"), ("path", "")])
        .await;
    assert_eq!(wrong.status, 422);
    wrong.has("<a href=\"#name\">Enter a name</a>");
    wrong.has("<a href=\"#path\">Enter a path, such as /welcome</a>");
    let unequal = [
        ("name", "Paid"),
        ("kind", "event"),
        ("event", "paid"),
        ("props", "pro"),
    ];
    let wrong = visitor.submit(&new, &new, &unequal).await;
    wrong.has("<a href=\"#props\">Write each property as name=value</a>");
    let fields = [
        ("name", "Read"),
        ("kind", "scroll"),
        ("path", "/blog/*"),
        ("scroll", "75"),
    ];
    assert_eq!(visitor.submit(&new, &new, &fields).await.location(), base);
    let list = visitor.get(base).await;
    list.has("Scrolling /blog/* to 75 %");
    let twice = visitor.submit(&new, &new, &fields).await;
    assert_eq!(twice.status, 409);
    twice.has("Another goal of this site has this name");
    let goals = pages.api("GET", "/api/sites/shop.example/goals", json!({})).await;
    let edit = format!("{base}/{}/edit", goals["data"][0]["id"].as_str().expect("an id"));
    let fields = [
        ("name", "Paid"),
        ("kind", "event"),
        ("event", "paid"),
        ("props", "plan=pro\r\nterm = year"),
    ];
    assert_eq!(visitor.submit(&edit, &edit, &fields).await.location(), base);
    visitor.get(base).await.has("The event paid, with 2 properties");
    let webhook = json!({"name": "Team", "url": "https://hooks.example.com/x", "events": ["goal_completion"],
        "triggers": {"goal_completion": {"goals": ["Paid"]}}});
    pages
        .api("POST", "/api/sites/shop.example/webhooks", webhook)
        .await;
    let delete = edit.replace("/edit", "/delete");
    visitor.get(&delete).await.has("<li><bdi>Team</bdi></li>");
    assert_eq!(visitor.submit(&delete, &delete, &[]).await.location(), base);
    visitor.get(base).await.has("There is no goal yet.");
}

#[sqlx::test]
async fn settings_are_saved_and_a_site_is_erased_by_its_id(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let path = "/sites/shop.example/settings";
    let fields = [("name", ""), ("time_zone", "Mars/Base"), ("aliases", "")];
    let wrong = visitor.submit(path, path, &fields).await;
    wrong.has("<a href=\"#time_zone\">Enter a time zone such as UTC or Europe/Berlin</a>");
    let fields = [("name", "New"), ("time_zone", "Asia/Kolkata"), ("aliases", "")];
    assert_eq!(visitor.submit(path, path, &fields).await.location(), path);
    let page = visitor.get(path).await;
    page.has("Asia/Kolkata (UTC+5:30)");
    page.has("?tz=utc");
    visitor
        .get(&format!("{path}?tz=utc"))
        .await
        .has("show the site’s time");
    let erase = format!("{path}/erase");
    let wrong = visitor.submit(&erase, &erase, &[("confirm", "shop")]).await;
    assert_eq!(wrong.status, 422);
    wrong.has("Type the site’s id exactly as it stands above");
    let erased = visitor
        .submit(&erase, &erase, &[("confirm", "shop.example")])
        .await;
    assert_eq!(erased.location(), "/sites");
    assert_eq!(visitor.get(path).await.status, 404);
}

#[sqlx::test]
async fn empty_pages_say_what_is_missing_and_what_to_do(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let site = "/sites/shop.example";
    visitor
        .get(&format!("{site}/alerts?since=24h"))
        .await
        .has("Nothing fired in 24 hours. <a href=");
    let now = visitor.get(site).await;
    now.has("Nothing has been counted yet.");
    now.has("Learning what is usual here: 0 of 21 days.");
    now.has("Nothing was counted in these hours.");
    sqlx::query("update sites set first_event_at = now() - interval '9 days'")
        .execute(&pages.pool)
        .await
        .expect("a site");
    visitor
        .get(site)
        .await
        .has("Learning what is usual here: 9 of 21 days.");
    now.has("No webhook watches the number of visitors.");
    sqlx::query(
        "insert into site_now (site_id, current_visitors, as_of, triggers, source_silent_since, updated_at)
         values ('shop.example', 3, now(), '[]', '2026-02-25T12:00:00Z', now())",
    )
    .execute(&pages.pool)
    .await
    .expect("the present");
    let silent = visitor.get(site).await;
    silent.has("No events from any site since");
    silent.has("Drops wait.");
    let poll = visitor.get(&format!("{site}/now")).await;
    assert_eq!(poll.status, 200);
    let tag = poll.headers["etag"].to_str().expect("a tag").to_owned();
    let request = pages
        .client
        .get(format!("{}{site}/now", pages.base))
        .header("cookie", &visitor.cookie)
        .header("if-none-match", tag);
    assert_eq!(crate::pages_support::Shown::read(request).await.status, 304);
    assert_eq!(visitor.get("/sites/other.example").await.status, 404);
    let lost = visitor.get("/nowhere").await;
    assert_eq!(lost.status, 404);
    lost.has("name this request: <code>");
}

#[sqlx::test]
async fn every_refusal_of_an_address_is_a_page(pool: PgPool) {
    let pages = Pages::start(pool).await;
    pages.api("PUT", "/api/sites/shop.example", json!({})).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let webhook = "/sites/shop.example/webhooks/wh_01h455vb4pex5vsknk084sn02q";
    for (path, status, words) in [
        (format!("{webhook}/secret"), 405, "use the button"),
        (format!("{webhook}/test"), 405, "use the button"),
        ("/sign-out".to_owned(), 405, "use the button"),
        ("/sites/%ff/webhooks".to_owned(), 404, "There is no such page"),
        ("/sites/shop.example/".to_owned(), 404, "There is no such page"),
        ("/sites?q=a&q=b".to_owned(), 400, "cannot be read"),
        (format!("/sites?q={}", "a".repeat(60_000)), 414, "use fewer words"),
        (
            format!("{webhook}/deliveries?show=&show=moving"),
            400,
            "cannot be read",
        ),
        (
            format!("{webhook}/deliveries?event=junk&after=junk"),
            400,
            "cannot be read",
        ),
        (
            "/sites/shop.example/alerts?event=junk&after=junk".to_owned(),
            400,
            "cannot be read",
        ),
    ] {
        let shown = visitor.get(&path).await;
        assert_eq!(shown.status, status, "{path}");
        assert_eq!(
            shown.headers["content-type"], "text/html; charset=utf-8",
            "{path}"
        );
        assert!(shown.headers.contains_key("content-security-policy"), "{path}");
        shown.has(words);
        assert_eq!(status == 405, shown.headers.contains_key("allow"), "{path}");
    }
}
