//! The pages in a browser: every page and state in every look, and the way of a new owner.
//!
//! Chromium, playwright-core, axe-core and the Nu HTML checker come by `scripts/install-deps
//! browser`. Without a browser the tests say so loudly and check nothing; in CI that is a failure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether::record::tokens::Role;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::pages_states::{Written, set_health, set_now};
use crate::pages_support::Pages;
use crate::support::app::Deployment;
use crate::support::receiver::{Answer, Receiver};

/// A browser and the modules that drive it.
struct Browser {
    chromium: String,
    modules: PathBuf,
}

impl Browser {
    fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = root.join(".local/browser");
        let chromium = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| {
                let found = Command::new("sh")
                    .args(["-c", &format!("command -v {name}")])
                    .output();
                found.is_ok_and(|found| found.status.success())
            });
        match chromium {
            Some(chromium) if modules.join("node_modules/playwright-core").is_dir() => {
                let found = Command::new("sh")
                    .args(["-c", &format!("command -v {chromium}")])
                    .output();
                let path = found.expect("a shell").stdout;
                let chromium = String::from_utf8(path).expect("a path").trim().to_owned();
                Some(Self { chromium, modules })
            }
            _ => {
                println!("SKIPPED: NO BROWSER. Run `scripts/install-deps browser` to test the pages in one.");
                assert!(
                    std::env::var_os("CI").is_none(),
                    "CI tests the pages in a browser"
                );
                None
            }
        }
    }

    /// Runs a script of `tests/browser` with a plan and returns the faults that it reports.
    fn run(&self, script: &str, mut plan: Value, out: &Path) -> Vec<String> {
        std::fs::create_dir_all(out).expect("a folder");
        plan["chromium"] = json!(self.chromium);
        plan["modules"] = json!(self.modules);
        plan["out"] = json!(out);
        let file = out.join(format!("{script}.json"));
        std::fs::write(&file, plan.to_string()).expect("a file");
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/browser")
            .join(script);
        let output = Command::new("node")
            .arg(path)
            .arg(&file)
            .output()
            .expect("node runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}");
        let faults = String::from_utf8_lossy(&output.stdout);
        faults.lines().map(str::to_owned).collect()
    }

    /// Checks the HTML in a folder.
    fn check_html(&self, out: &Path) -> Vec<String> {
        let jar = self.modules.join("node_modules/vnu-jar/build/dist/vnu.jar");
        let output = Command::new("java")
            .arg("-jar")
            .arg(jar)
            .args(["--Werror", "--skip-non-html"])
            .arg(out)
            .output()
            .expect("java runs");
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines().map(str::to_owned).collect()
    }
}

fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages").join(name)
}

/// The site that has everything.
const SITE: &str = "shop.example";

async fn webhook(pages: &Pages, name: &str) -> (String, Uuid) {
    let body = json!({"name": name, "url": "https://hooks.example.com/in/abcd9f2c",
        "events": ["goal_completion", "visitor_spike"], "triggers": {"visitor_spike": {"threshold": 300}}});
    pages.add_webhook(SITE, body).await
}

/// Deliveries of every kind for a webhook; the ids of one of each.
async fn deliveries(pool: &PgPool, webhook: Uuid) -> Vec<(&'static str, String)> {
    let now = Utc::now();
    let spike = json!({"current_visitors": 512, "threshold": 300, "window_seconds": 300});
    let hostile = json!({"goal_name": "<img src=x onerror=alert(1)>\u{202E}\"' 🦌 שלום", "path": "/x"});
    let long = "long ".repeat(3_000);
    let huge = format!("\0{}", "<b>\u{202E}\"🦌 ".repeat(64 * 1024 / 13));
    let huge = json!({"goal_name": huge, "path": format!("/{}", "a".repeat(2_000))});
    let kinds = [
        ("delivered", "delivered", Some("2xx"), Some(200), None, 1, "ok"),
        (
            "failed",
            "failed",
            Some("5xx"),
            Some(500),
            None,
            4,
            "<script>alert(1)</script>\u{202E}",
        ),
        ("hung", "retrying", Some("timeout"), None, None, 1, ""),
        ("waiting", "pending", None, None, Some("circuit"), 0, ""),
        ("cancelled", "cancelled", None, None, None, 0, ""),
        ("long", "failed", Some("4xx"), Some(401), None, 1, long.as_str()),
        ("huge", "delivered", Some("2xx"), Some(200), None, 2, "\0ok\u{7}"),
    ];
    let mut ids = Vec::new();
    for (number, (name, status, result, code, parked, attempts, response)) in kinds.into_iter().enumerate() {
        let written = Written {
            webhook,
            site: SITE,
            event: if number % 2 == 0 && name != "huge" {
                "visitor_spike"
            } else {
                "goal_completion"
            },
            data: match (name, number % 2) {
                ("huge", _) => huge.clone(),
                (_, 0) => spike.clone(),
                _ => hostile.clone(),
            },
            status,
            result,
            code,
            parked,
            attempts,
            response,
            at: now - TimeDelta::minutes(number as i64 * 7),
        };
        ids.push((name, written.write(pool, number as u64).await));
    }
    ids
}

/// A site with a webhook in every state, and the pages to look at.
async fn every_page(pages: &Pages) -> Vec<Value> {
    let site = json!({"name": "Shop", "time_zone": "Europe/Berlin"});
    pages.api("PUT", &format!("/api/sites/{SITE}"), site).await;
    pages.api("PUT", "/api/sites/empty.example", json!({})).await;
    let name =
        "<b>bold</b> \u{202E}gnorw 🦌 שלום \"'& and a name that goes on for a hundred characters or so";
    let hostile = json!({"name": name.chars().take(100).collect::<String>(), "time_zone": "UTC"});
    pages.api("PUT", "/api/sites/hostile.example", hostile).await;
    let goal = json!({"name": name, "kind": "page", "path": format!("/{}*", "very-long-path".repeat(12))});
    pages.api("POST", "/api/sites/hostile.example/goals", goal).await;
    let goal = json!({"name": "Signup", "kind": "event", "event": "signup"});
    let goal = pages.api("POST", &format!("/api/sites/{SITE}/goals"), goal).await;
    let goal = goal["id"].as_str().expect("an id");

    let site = format!("/sites/{SITE}");
    let mut shown = Vec::new();
    let mut add = |name: &str, path: String| shown.push(json!({"name": name, "path": path}));
    let pool = &pages.pool;
    let minutes = TimeDelta::minutes;
    let (id, uuid) = webhook(pages, "Gone <b>for good</b>").await;
    for (kind, delivery) in deliveries(pool, uuid).await {
        let path = format!("{site}/webhooks/{id}/deliveries/{delivery}");
        if kind == "failed" {
            add("delivery-deleted", path);
        }
    }
    let api = format!("/api/sites/{SITE}/webhooks/{id}");
    pages.api("DELETE", &api, json!({})).await;
    add("deliveries-deleted", format!("{site}/webhooks/{id}/deliveries"));
    let deleted = format!("{site}/webhooks/{id}");
    let states = [
        ("working", "ok", 0, 0),
        ("new", "new", 0, 0),
        ("failing", "ok", 2, 0),
        ("careful", "careful", 1, 0),
        ("open", "open", 3, 312),
        ("draining", "ok", 0, 1_204),
        ("full", "ok", 0, 100_000),
        ("paused", "ok", 0, 41),
        ("off", "ok", 0, 0),
        ("gone", "ok", 0, 0),
    ];
    for (name, state, failures, waiting) in states {
        let (id, uuid) = webhook(pages, &format!("Production ({name})")).await;
        let written = deliveries(pool, uuid).await;
        set_health(pool, uuid, state, failures, waiting, minutes(15)).await;
        let api = format!("/api/sites/{SITE}/webhooks/{id}");
        match name {
            "working" => {
                set_now(pool, SITE, &id).await;
                pages
                    .api("POST", &format!("{api}/rotate-secret"), json!({}))
                    .await;
                for (kind, delivery) in &written {
                    add(
                        &format!("delivery-{kind}"),
                        format!("{site}/webhooks/{id}/deliveries/{delivery}"),
                    );
                }
                for page in ["edit", "rotate", "delete", "recover", "deliveries"] {
                    add(page, format!("{site}/webhooks/{id}/{page}"));
                }
                let job = pages
                    .api(
                        "POST",
                        &format!("{api}/recover"),
                        json!({"since": Utc::now() - TimeDelta::hours(3)}),
                    )
                    .await;
                let job = job["id"].as_str().expect("an id");
                add("recovery", format!("{site}/webhooks/{id}/recoveries/{job}"));
                add(
                    "deliveries-none",
                    format!("{site}/webhooks/{id}/deliveries?event=custom_event"),
                );
            }
            "new" => {
                sqlx::query("delete from deliveries where webhook_id = $1")
                    .bind(uuid)
                    .execute(pool)
                    .await
                    .expect("gone");
            }
            "paused" => {
                let until = json!({"paused_until": Utc::now() + TimeDelta::hours(20)});
                pages.api("PATCH", &api, until).await;
            }
            "off" => drop(pages.api("PATCH", &api, json!({"enabled": false})).await),
            "gone" => {
                sqlx::query(
                    "update webhooks set disabled_at = now(), disabled_reason = 'gone' where id = $1",
                )
                .bind(uuid)
                .execute(pool)
                .await
                .expect("switched off");
            }
            _ => {}
        }
        if name == "open" {
            add("delete-waiting", format!("{site}/webhooks/{id}/delete"));
        }
        add(&format!("webhook-{name}"), format!("{site}/webhooks/{id}"));
    }
    for (name, path) in [
        ("now", ""),
        ("webhooks", "/webhooks"),
        ("alerts", "/alerts"),
        ("goals", "/goals"),
        ("goal-new", "/goals/new"),
        ("settings", "/settings"),
        ("erase", "/settings/erase"),
    ] {
        add(name, format!("{site}{path}"));
        add(
            &format!("{name}-hostile"),
            format!("/sites/hostile.example{path}"),
        );
    }
    add("webhook-new", "/sites/empty.example/webhooks/new".to_owned());
    add("webhooks-empty", "/sites/empty.example/webhooks".to_owned());
    add("alerts-empty", "/sites/empty.example/alerts".to_owned());
    add("goals-empty", "/sites/empty.example/goals".to_owned());
    add("now-empty", "/sites/empty.example".to_owned());
    add("goal-delete", format!("{site}/goals/{goal}/delete"));
    add("goal-edit", format!("{site}/goals/{goal}/edit"));
    add("sites", "/sites".to_owned());
    add("sites-none", "/sites?q=nothing".to_owned());
    let working = shown.iter().find(|page| page["name"] == "webhook-working");
    let working = working.expect("a webhook")["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    shown.push(json!({"name": "webhook-deleted", "path": deleted, "status": 404}));
    for (name, path) in [
        ("edit-changed", format!("{working}/edit")),
        ("goal-changed", format!("{site}/goals/{goal}/edit")),
        ("settings-changed", format!("{site}/settings")),
    ] {
        let page = json!({"name": name, "path": path, "press": "Save", "spoil": "seen", "status": 409});
        shown.push(page);
    }
    for (name, path, press, status) in [
        ("secret", working.clone(), "Show the secret", 200),
        (
            "webhook-error",
            "/sites/empty.example/webhooks/new".to_owned(),
            "Add webhook",
            422,
        ),
        ("goal-error", format!("{site}/goals/new"), "Save", 422),
        (
            "erase-error",
            format!("{site}/settings/erase"),
            "Erase this site",
            422,
        ),
        ("sign-in-error", "/sign-in".to_owned(), "Sign in", 422),
    ] {
        let is_out = name == "sign-in-error";
        shown.push(
            json!({"name": name, "path": path, "press": press, "status": status, "signed_out": is_out}),
        );
    }
    shown.push(json!({"name": "webhook-viewer", "path": format!("{site}/webhooks"), "as": "viewer"}));
    shown.push(json!({"name": "settings-viewer", "path": format!("{site}/settings"), "as": "viewer"}));
    shown.push(
        json!({"name": "forbidden", "path": format!("{site}/webhooks/new"), "as": "viewer", "status": 403}),
    );
    shown.push(json!({"name": "not-found", "path": "/sites/other.example", "status": 404}));
    shown.push(json!({"name": "sign-in", "path": "/sign-in", "signed_out": true}));
    let link = pages.link(&[SITE], Role::Editor, TimeDelta::hours(1)).await;
    shown.push(json!({"name": "portal", "path": format!("/p/{link}"), "signed_out": true}));
    shown.push(json!({"name": "portal-over", "path": "/p/bwl_x", "signed_out": true, "status": 404}));
    shown
}

#[sqlx::test]
async fn every_page_holds_in_every_look(pool: PgPool) {
    let Some(browser) = Browser::find() else { return };
    let pages = Pages::start(pool).await;
    let shown = every_page(&pages).await;
    let sites = [SITE, "empty.example", "hostile.example"];
    let cookie = async |role| {
        let visitor = pages.visitor(&sites, role).await;
        visitor.cookie.split_once('=').expect("a cookie").1.to_owned()
    };
    let cookies = json!({"editor": cookie(Role::Editor).await, "viewer": cookie(Role::Viewer).await});
    let folder = out("looks");
    let list = shown.iter().find(|page| page["name"] == "deliveries");
    let list = list.expect("a list")["path"].clone();
    let plan = json!({"base": pages.base, "cookies": cookies, "pages": shown, "list": list,
        "path": format!("/sites/{SITE}")});
    let where_to = folder.clone();
    let faults = tokio::task::spawn_blocking(move || {
        let mut faults = browser.run("look.mjs", plan.clone(), &where_to);
        faults.extend(browser.run("live.mjs", plan, &where_to));
        faults.extend(browser.check_html(&where_to));
        faults
    });
    let faults = faults.await.expect("a browser");
    println!("screenshots: {}", folder.display());
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Lets a journey break and mend the endpoint at `hook`, and reach a goal of its site.
fn stage(deployment: &Arc<Deployment>, receiver: &Receiver, sites: [&'static str; 2]) {
    let is_broken = Arc::new(AtomicBool::new(false));
    for (path, breaks) in [("break", true), ("mend", false)] {
        let is_broken = Arc::clone(&is_broken);
        receiver.answer(path, move |_| {
            is_broken.store(breaks, Ordering::SeqCst);
            Answer::status(204)
        });
    }
    receiver.answer("hook", move |_| {
        Answer::status(if is_broken.load(Ordering::SeqCst) {
            500
        } else {
            200
        })
    });
    for (number, site) in sites.into_iter().enumerate() {
        let (deployment, runtime) = (Arc::clone(deployment), tokio::runtime::Handle::current());
        receiver.answer(&format!("reach-{number}"), move |_| {
            let deployment = Arc::clone(&deployment);
            runtime.spawn(async move {
                let event = json!({"site_id": site, "type": "custom", "name": "signup", "visitor_id": "v"});
                deployment.publish(event).await;
            });
            Answer::status(204)
        });
    }
}

#[tokio::test]
async fn an_owner_finds_the_way_without_script_and_by_keyboard() {
    let Some(browser) = Browser::find() else { return };
    let schedule = [("webhooks.retry_schedules", "{default=[\"1s\"]}")];
    let deployment = Arc::new(Deployment::create(&schedule).await);
    let process = deployment.serve(&["--roles", "detect,deliver,api"]).await;
    let receiver = Receiver::start().await;
    let sites = ["plain.example", "keys.example"];
    stage(&deployment, &receiver, sites);
    let mut links = Vec::new();
    for site in sites {
        let path = format!("/api/sites/{site}");
        deployment
            .call(&process, reqwest::Method::PUT, &path, Some(json!({})))
            .await;
        let path = format!("{path}/portal-links");
        let (_, made) = deployment
            .call(&process, reqwest::Method::POST, &path, None)
            .await;
        links.push(made["url"].clone());
    }
    let plan = json!({"links": links, "receiver": receiver.url("hook"), "stage": receiver.url("")});
    let folder = out("journey");
    let where_to = folder.clone();
    let faults = tokio::task::spawn_blocking(move || browser.run("journey.mjs", plan, &where_to));
    let faults = faults.await.expect("a browser");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let requests = receiver.received("hook");
    let tests = requests
        .iter()
        .filter(|request| request.header("x-webhook-event") == "test");
    assert_eq!(tests.count(), 2, "one test of each journey");
    let written = |name: &str| -> Vec<String> {
        let text = std::fs::read(folder.join(name)).expect("a file");
        serde_json::from_slice(&text).expect("JSON")
    };
    let of_connection = ["accept", "content-length", "host"];
    let sent: BTreeSet<&str> = requests
        .iter()
        .flat_map(|request| request.headers.keys())
        .map(reqwest::header::HeaderName::as_str)
        .filter(|name| !of_connection.contains(name) && *name != "x-webhook-signature-next")
        .collect();
    assert_eq!(written("headers.json"), sent.into_iter().collect::<Vec<_>>());
    let secrets = written("secrets.json");
    assert!(secrets.len() >= 4, "{}", secrets.len());
    let log = process.log_text();
    let links = links.iter().filter_map(|link| link.as_str()?.split("/p/").nth(1));
    for secret in secrets.iter().map(String::as_str).chain(links) {
        assert!(!log.contains(secret), "the log has a secret");
    }
}
