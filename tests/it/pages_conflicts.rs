//! Forms that come too late or are too large: nothing is undone in silence, and no input is lost.

use bellwether::record::tokens::Role;
use serde_json::json;
use sqlx::PgPool;

use crate::pages_support::{Pages, Shown, Visitor};

const SITE: &str = "/sites/shop.example";

async fn shop(pool: PgPool) -> Pages {
    let pages = Pages::start(pool).await;
    pages.api("PUT", "/api/sites/shop.example", json!({})).await;
    pages
}

/// The hidden fields of the last form of a page.
fn hidden(page: &Shown) -> Vec<(String, String)> {
    let (_, form) = page.text.rsplit_once("<form method=\"post\"").expect("a form");
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let mut parts = input.split('"');
            let name = parts.next().expect("a name");
            (name.to_owned(), parts.nth(1).expect("a value").to_owned())
        })
        .collect()
}

/// Sends the form of a page that was opened before, with these fields.
async fn send(visitor: &Visitor<'_>, page: &Shown, action: &str, fields: &[(&str, &str)]) -> Shown {
    let hidden = hidden(page);
    let of = |name: &str| {
        let found = hidden.iter().find(|(one, _)| one == name);
        found.expect("a field").1.clone()
    };
    let rest: Vec<(&str, &str)> = hidden
        .iter()
        .filter(|(name, _)| name != "token" && name != "once")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let fields = [&rest[..], fields].concat();
    visitor.send(action, &(of("token"), of("once")), &fields).await
}

/// Two tabs save the same form: the second is told, keeps its input, and may save it on purpose.
async fn second_tab(visitor: &Visitor<'_>, path: &str, what: &str, base: &[(&str, &str)]) {
    let with = |name: &'static str| [&[("name", name)], base].concat();
    let (first, second) = (visitor.get(path).await, visitor.get(path).await);
    send(visitor, &first, path, &with("One")).await.location();
    let late = send(visitor, &second, path, &with("Two")).await;
    assert_eq!(late.status, 409, "{path}");
    late.has(&format!("Somebody changed {what} since you opened this page"));
    late.has("<title>Error: ");
    late.has("value=\"Two\"");
    let (_, now) = late.text.split_once("As it is now").expect("the present");
    let (now, _) = now.split_once("</section>").expect("its end");
    assert!(now.contains("One") && !now.contains("Two"), "{now}");
    send(visitor, &late, path, &with("Two")).await.location();
    visitor.get(path).await.has("value=\"Two\"");
}

#[sqlx::test]
async fn a_second_tab_undoes_nothing_in_silence(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let webhook = json!({"name": "Old", "url": "https://hooks.example.com/x", "events": ["goal_completion"]});
    let webhook = pages
        .api("POST", "/api/sites/shop.example/webhooks", webhook)
        .await;
    let webhook = webhook["id"].as_str().expect("an id");
    let goal = json!({"name": "Old", "kind": "event", "event": "signup"});
    let goal = pages.api("POST", "/api/sites/shop.example/goals", goal).await;
    let goal = goal["id"].as_str().expect("an id");
    let edit = format!("{SITE}/webhooks/{webhook}/edit");
    let path = format!("{SITE}/goals/{goal}/edit");
    second_tab(&visitor, &edit, "this webhook", &[("goal_completion", "on")]).await;
    second_tab(
        &visitor,
        &path,
        "this goal",
        &[("kind", "event"), ("event", "signup")],
    )
    .await;
    let zone = [("time_zone", "UTC")];
    second_tab(&visitor, &format!("{SITE}/settings"), "these settings", &zone).await;
    // Of two that come at once, one is told.
    let open = [visitor.get(&edit).await, visitor.get(&edit).await];
    let fields = |name| [("name", name), ("goal_completion", "on")];
    let (three, four) = (fields("Three"), fields("Four"));
    let (one, other) = tokio::join!(
        send(&visitor, &open[0], &edit, &three),
        send(&visitor, &open[1], &edit, &four)
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409]);
    // A pause is none of what the form shows.
    let open = visitor.get(&edit).await;
    let href = format!("{SITE}/webhooks/{webhook}");
    visitor
        .submit(&href, &format!("{href}/pause"), &[("hours", "1")])
        .await
        .location();
    send(&visitor, &open, &edit, &fields("Five")).await.location();
}

#[sqlx::test]
async fn a_form_that_is_too_large_keeps_its_input(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let path = format!("{SITE}/goals/new");
    let hidden = visitor.get(&path).await.hidden();
    for length in [300 * 1024, 3 * 1024 * 1024] {
        let props = "x".repeat(length);
        let fields = [
            ("name", "My <goal>"),
            ("kind", "event"),
            ("props", props.as_str()),
        ];
        let refused = visitor.send(&path, &hidden, &fields).await;
        assert_eq!(refused.status, 413);
        refused.has("The form is too large");
        refused.has("value=\"My &lt;goal&gt;\"");
        refused.has(&format!("href=\"{path}\""));
        refused.has("xxxxxxxxxx");
        refused.lacks(&hidden.0);
    }
}

#[sqlx::test]
async fn what_is_gone_meanwhile_leaves_the_input(pool: PgPool) {
    let pages = shop(pool).await;
    let visitor = pages.visitor(&["shop.example"], Role::Editor).await;
    let goal = json!({"name": "Old", "kind": "event", "event": "signup"});
    let goal = pages.api("POST", "/api/sites/shop.example/goals", goal).await;
    let goal = goal["id"].as_str().expect("an id");
    let path = format!("{SITE}/goals/{goal}/edit");
    let open = visitor.get(&path).await;
    let api = format!("/api/sites/shop.example/goals/{goal}");
    pages.api("DELETE", &api, json!({})).await;
    let lost = send(
        &visitor,
        &open,
        &path,
        &[("name", "My <goal>"), ("kind", "event")],
    )
    .await;
    assert_eq!(lost.status, 404);
    lost.has("value=\"My &lt;goal&gt;\"");
}
