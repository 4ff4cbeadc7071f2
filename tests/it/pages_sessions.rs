//! Signing in, links, and who may send a form.

use bellwether::record::tokens::{Role, Scope};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use crate::pages_support::{Pages, Shown};

async fn two_sites(pool: PgPool) -> Pages {
    let pages = Pages::start(pool).await;
    pages
        .api("PUT", "/api/sites/a.example", json!({"name": "Site A"}))
        .await;
    pages
        .api("PUT", "/api/sites/b.example", json!({"name": "Site B"}))
        .await;
    pages
}

#[sqlx::test]
async fn a_token_signs_in_and_signing_out_ends_the_session(pool: PgPool) {
    let pages = two_sites(pool).await;
    let (_, token) = pages.token(&Scope::Admin, Role::Editor).await;
    let page = pages.get(None, "/sites/a.example/webhooks").await;
    assert_eq!(page.location(), "/sign-in?next=%2Fsites%2Fa.example%2Fwebhooks");
    let refused = pages.enter("/sign-in", &[("secret_token", "bw_wrong")]).await;
    assert_eq!(refused.status, 401);
    refused.has("<title>Error: Sign in");
    refused.lacks("bw_wrong");
    let form = [
        ("secret_token", token.as_str()),
        ("next", "/sites/a.example/webhooks"),
    ];
    let signed_in = pages.enter("/sign-in", &form).await;
    assert_eq!(signed_in.location(), "/sites/a.example/webhooks");
    let cookie = signed_in.headers["set-cookie"].to_str().expect("a text");
    for part in ["bw=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "public_url is http");
    let cookie = signed_in.cookie();
    let page = pages.get(Some(&cookie), "/sites").await;
    page.has("Site A");
    page.has("Site B");
    let (token, once) = page.hidden();
    let out = [("token", token.as_str()), ("once", once.as_str())];
    assert_eq!(
        pages.post(Some(&cookie), "/sign-out", &out).await.location(),
        "/sign-in"
    );
    assert_eq!(pages.get(Some(&cookie), "/sites").await.location(), "/sign-in");
}

#[sqlx::test]
async fn sign_in_leads_to_no_foreign_page(pool: PgPool) {
    let pages = two_sites(pool).await;
    let (_, token) = pages.token(&Scope::Admin, Role::Viewer).await;
    for next in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "",
        "/sign-out",
        "/api/tokens",
        "/sitesx",
    ] {
        let form = [("secret_token", token.as_str()), ("next", next)];
        assert_eq!(pages.enter("/sign-in", &form).await.location(), "/sites");
    }
}

#[sqlx::test]
async fn a_link_is_spent_by_its_button_alone(pool: PgPool) {
    let pages = two_sites(pool).await;
    let link = pages
        .link(&["a.example"], Role::Editor, TimeDelta::minutes(5))
        .await;
    let path = format!("/p/{link}");
    for _ in 0..10 {
        let page = pages.get(None, &path).await;
        assert_eq!(
            (page.status, page.headers["cache-control"].as_bytes()),
            (200, &b"no-store"[..])
        );
        page.has("Open the pages");
    }
    let opened = pages.enter(&path, &[]).await;
    assert_eq!(opened.location(), "/sites");
    assert!(
        opened.headers["set-cookie"]
            .to_str()
            .expect("a text")
            .contains("Max-Age=14400")
    );
    let cookie = opened.cookie();
    assert_eq!(
        pages.get(Some(&cookie), "/sites").await.location(),
        "/sites/a.example/webhooks"
    );
    assert_eq!(
        pages.get(Some(&cookie), "/sites/b.example/webhooks").await.status,
        404
    );
    let again = pages.enter(&path, &[]).await;
    assert_eq!(again.status, 410);
    again.has("This link is over");
    let late = pages
        .link(&["a.example"], Role::Editor, TimeDelta::seconds(-1))
        .await;
    assert_eq!(pages.get(None, &format!("/p/{late}")).await.status, 410);
    assert_eq!(pages.enter(&format!("/p/{late}"), &[]).await.status, 410);
    assert_eq!(pages.get(None, "/p/bwl_unknown").await.status, 404);
}

#[sqlx::test]
async fn a_link_opened_twice_at_once_signs_in_both_times(pool: PgPool) {
    let pages = two_sites(pool).await;
    let link = pages
        .link(&["a.example"], Role::Editor, TimeDelta::minutes(5))
        .await;
    let path = format!("/p/{link}");
    let shown = pages.get(None, &path).await;
    let (browser, token) = (shown.cookie(), shown.value_of("token"));
    let form = [("token", token.as_str())];
    // The browser goes away from the answer to the first click, and never has its cookie.
    let click = async || pages.post(Some(&browser), &path, &form).await;
    let (first, second) = tokio::join!(click(), click());
    for opened in [&first, &second] {
        assert_eq!(opened.location(), "/sites");
        let page = pages.get(Some(&opened.cookie()), "/sites").await;
        assert_eq!(page.location(), "/sites/a.example/webhooks");
    }
    assert_eq!(
        pages.enter(&path, &[]).await.status,
        410,
        "it is over for any other"
    );
    sqlx::query(
        "update api_tokens set inserted_at = inserted_at - interval '31 seconds' where kind = 'session'",
    )
    .execute(&pages.pool)
    .await
    .expect("aged");
    assert_eq!(click().await.status, 410, "it is over after a moment");
}

#[sqlx::test]
async fn a_link_opens_nothing_after_signing_out(pool: PgPool) {
    let pages = two_sites(pool).await;
    let link = pages
        .link(&["a.example"], Role::Editor, TimeDelta::minutes(5))
        .await;
    let path = format!("/p/{link}");
    let shown = pages.get(None, &path).await;
    let form = [("token", &*shown.value_of("token"))];
    let cookie = pages.post(Some(&shown.cookie()), &path, &form).await.cookie();
    let (token, once) = pages
        .get(Some(&cookie), "/sites/a.example/webhooks")
        .await
        .hidden();
    let out = [("token", token.as_str()), ("once", once.as_str())];
    pages.post(Some(&cookie), "/sign-out", &out).await.location();
    let again = pages.post(Some(&shown.cookie()), &path, &form).await;
    assert_eq!(again.status, 410);
}

#[sqlx::test]
async fn a_form_whose_session_ended_shows_what_was_typed(pool: PgPool) {
    let pages = two_sites(pool).await;
    let visitor = pages.visitor(&["a.example"], Role::Editor).await;
    let path = "/sites/a.example/webhooks/new";
    let hidden = visitor.get(path).await.hidden();
    let out = visitor.get("/sites/a.example/webhooks").await.hidden();
    visitor.send("/sign-out", &out, &[]).await.location();
    let fields = [
        ("name", "Team <b>"),
        ("url", "https://hooks.example.com/x"),
        ("custom_event_names", "one\ntwo"),
        ("secret", "a-secret-of-mine"),
        ("header_value_0", "Bearer of-mine"),
    ];
    let ended = visitor.send(path, &hidden, &fields).await;
    assert_eq!(ended.status, 401);
    ended.has("href=\"/sign-in?next=%2Fsites%2Fa.example%2Fwebhooks%2Fnew\"");
    // Signed in again, the old form is no form of the new session's.
    let back = pages.visitor(&["a.example"], Role::Editor).await;
    let stale = back.send(path, &hidden, &fields).await;
    assert_eq!(stale.status, 403);
    stale.has("href=\"/sites/a.example/webhooks/new\"");
    for page in [&ended, &stale] {
        for text in ["Team &lt;b&gt;", "https://hooks.example.com/x", "one\ntwo"] {
            page.has(text);
        }
        page.lacks("of-mine");
        page.lacks(&hidden.0);
    }
    // A button that has no page of its own leads to the page that it stands on.
    let test = "/sites/a.example/webhooks/wh_x/test";
    let pressed = visitor.send(test, &hidden, &[("event", "visitor_spike")]).await;
    pressed.has("href=\"/sign-in?next=%2Fsites%2Fa.example%2Fwebhooks%2Fwh_x\"");
    // A page of another origin is told nothing.
    let foreign = pages
        .form(Some(&visitor.cookie), path, &fields)
        .header("origin", "https://evil.example");
    Shown::read(foreign).await.lacks("Team");
}

#[sqlx::test]
async fn a_form_without_session_needs_its_cookie_and_token(pool: PgPool) {
    let pages = two_sites(pool).await;
    let (_, secret) = pages.token(&Scope::Admin, Role::Editor).await;
    let link = pages
        .link(&["a.example"], Role::Editor, TimeDelta::minutes(5))
        .await;
    let path = format!("/p/{link}");
    for path in ["/sign-in", path.as_str()] {
        let (shown, other) = (pages.get(None, path).await, pages.get(None, path).await);
        let set = shown.headers["set-cookie"].to_str().expect("a text");
        for part in ["bw-form=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=3600"] {
            assert!(set.contains(part), "{set}");
        }
        let (cookie, token) = (shown.cookie(), shown.value_of("token"));
        // The form of a second tab is of the same browser; that of another browser is not.
        let tab = pages.get(Some(&cookie), path).await;
        assert_eq!(tab.value_of("token"), token);
        let foreign = other.value_of("token");
        let cases = [
            (None, Some(token.as_str())),
            (Some(cookie.as_str()), None),
            (Some(cookie.as_str()), Some(foreign.as_str())),
            (Some("bw-form=short"), Some(token.as_str())),
        ];
        for (cookie, token) in cases {
            let mut form = vec![("secret_token", secret.as_str())];
            form.extend(token.map(|token| ("token", token)));
            let refused = pages.post(cookie, path, &form).await;
            assert_eq!(refused.status, 403, "{path} {cookie:?}");
            assert!(!refused.headers.contains_key("set-cookie"));
        }
        let form = [("secret_token", secret.as_str()), ("token", token.as_str())];
        let from_elsewhere = pages
            .form(Some(&cookie), path, &form)
            .header("origin", "https://evil.example");
        assert_eq!(Shown::read(from_elsewhere).await.status, 403);
        pages.post(Some(&cookie), path, &form).await.location();
    }
}

#[sqlx::test]
async fn a_session_ends_with_the_token_of_its_link(pool: PgPool) {
    let pages = two_sites(pool).await;
    let (id, token) = pages.token(&Scope::Admin, Role::Editor).await;
    let made = pages
        .client
        .post(format!("{}/api/sites/a.example/portal-links", pages.base))
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body(json!({"role": "viewer", "expires_in_seconds": 60}).to_string());
    let made = Shown::read(made).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let url: serde_json::Value = serde_json::from_str(&made.text).expect("JSON");
    let url = url["url"].as_str().expect("a text");
    let path = &url[url.find("/p/").expect("a link")..];
    let cookie = pages.enter(path, &[]).await.cookie();
    let page = pages.get(Some(&cookie), "/sites/a.example/webhooks").await;
    page.has("Nothing is sent yet.");
    page.lacks("Add a webhook");
    pages.api("DELETE", &format!("/api/tokens/{id}"), json!({})).await;
    assert_eq!(pages.get(Some(&cookie), "/sites").await.location(), "/sign-in");
}

#[sqlx::test]
async fn a_session_is_no_token_and_is_not_listed(pool: PgPool) {
    let pages = two_sites(pool).await;
    let visitor = pages.visitor(&["a.example"], Role::Editor).await;
    let (_, session) = visitor.cookie.split_once('=').expect("a cookie");
    let as_token = pages
        .client
        .get(format!("{}/api/sites", pages.base))
        .bearer_auth(session);
    assert_eq!(Shown::read(as_token).await.status, 401);
    let listed = pages.api("GET", "/api/tokens", json!({})).await;
    let subjects = listed["data"].as_array().expect("a list");
    assert!(subjects.iter().all(|token| {
        token["prefix"]
            .as_str()
            .is_some_and(|text| !text.starts_with("bws_"))
    }));
}

#[sqlx::test]
async fn only_forms_of_our_own_pages_change_anything(pool: PgPool) {
    let pages = two_sites(pool).await;
    let visitor = pages.visitor(&["a.example"], Role::Editor).await;
    let path = "/sites/a.example/goals/new";
    let (token, once) = visitor.get(path).await.hidden();
    let fields = [("name", "G"), ("kind", "event"), ("event", "g")];
    let mut form = vec![("token", token.as_str()), ("once", once.as_str())];
    form.extend(fields);
    let cookie = Some(visitor.cookie.as_str());
    let sent = |name: &'static str, value: String| pages.form(cookie, path, &form).header(name, value);
    for request in [
        sent("origin", "https://evil.example".to_owned()),
        sent("origin", "null".to_owned()),
        sent("referer", format!("{}{path}", pages.base)),
        sent("origin", pages.base.clone()).header("sec-fetch-site", "cross-site"),
        sent("origin", pages.base.clone()).header("sec-fetch-site", "same-site"),
    ] {
        let refused = Shown::read(request).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
    }
    let foreign_token = ("x".repeat(43), once.clone());
    assert_eq!(visitor.send(path, &foreign_token, &fields).await.status, 403);
    assert_eq!(
        visitor
            .send(path, &(token.clone(), String::new()), &fields)
            .await
            .status,
        403
    );
    assert_eq!(
        pages.api("GET", "/api/sites/a.example/goals", json!({})).await["data"],
        json!([])
    );
    let signed_out = pages.post(None, path, &form).await;
    assert_eq!(signed_out.status, 401);
}

#[sqlx::test]
async fn a_form_sent_twice_counts_once(pool: PgPool) {
    let pages = two_sites(pool).await;
    let visitor = pages.visitor(&["a.example"], Role::Editor).await;
    let path = "/sites/a.example/goals/new";
    let hidden = visitor.get(path).await.hidden();
    let fields = [("name", "Signup"), ("kind", "event"), ("event", "signup")];
    let (one, two) = tokio::join!(
        visitor.send(path, &hidden, &fields),
        visitor.send(path, &hidden, &fields)
    );
    assert_eq!(one.location(), "/sites/a.example/goals");
    assert_eq!(two.location(), one.location());
    let goals = pages.api("GET", "/api/sites/a.example/goals", json!({})).await;
    assert_eq!(goals["data"].as_array().map(Vec::len), Some(1));
    let other = [("name", "Other"), ("kind", "event"), ("event", "signup")];
    assert_eq!(visitor.send(path, &hidden, &other).await.status, 403);
}

#[sqlx::test]
async fn a_viewer_looks_and_changes_nothing(pool: PgPool) {
    let pages = two_sites(pool).await;
    let visitor = pages.visitor(&["a.example", "b.example"], Role::Viewer).await;
    for path in ["webhooks", "goals", "settings", "alerts", ""] {
        let page = visitor
            .get(format!("/sites/a.example/{path}").trim_end_matches('/'))
            .await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(
            page.text.matches("method=\"post\"").count(),
            1,
            "{path}: sign out only"
        );
    }
    for path in ["goals/new", "webhooks/new", "settings", "settings/erase"] {
        let path = format!("/sites/a.example/{path}");
        let refused = pages.post(Some(&visitor.cookie), &path, &[("name", "x")]).await;
        assert_eq!(refused.status, 403, "{path}");
        refused.has("You can look but not change.");
    }
    let page = visitor.get("/sites").await;
    let hidden = page.hidden();
    assert_eq!(
        visitor.send("/sign-out", &hidden, &[]).await.location(),
        "/sign-in"
    );
}

#[sqlx::test]
async fn every_page_has_the_headers_of_the_design(pool: PgPool) {
    let pages = Pages::start_with(pool, |config| {
        config.public_url = Some("https://hooks.example".to_owned());
    })
    .await;
    let page = pages.get(None, "/sign-in").await;
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=(), payment=()",
        ),
        ("strict-transport-security", "max-age=31536000"),
        ("cache-control", "private, no-cache"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    let (_, css) = page.text.split_once("href=\"/assets/app").expect("a style sheet");
    let css = format!("/assets/app{}", css.split('"').next().expect("a name"));
    let style = pages.get(None, &css).await;
    assert_eq!(
        style.headers["cache-control"],
        "public, max-age=31536000, immutable"
    );
    let (_, token) = pages.token(&Scope::Admin, Role::Viewer).await;
    let shown = pages.get(None, "/sign-in").await;
    let set = shown.headers["set-cookie"].to_str().expect("a text");
    assert!(
        set.starts_with("__Host-bw-form=") && set.ends_with("; Secure"),
        "{set}"
    );
    let form = [
        ("token", &*shown.value_of("token")),
        ("secret_token", token.as_str()),
    ];
    let request = pages
        .form(Some(&shown.cookie()), "/sign-in", &form)
        .header("origin", "https://hooks.example");
    let signed_in = Shown::read(request).await;
    let cookie = signed_in.headers["set-cookie"].to_str().expect("a text");
    assert!(
        cookie.starts_with("__Host-bw=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
}
