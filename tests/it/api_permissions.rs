//! The matrix of permissions: each call of the table with each kind of token.

use bellwether::api::{Access, CALLS, Call, Method};
use bellwether::clock;
use bellwether::record::tokens::{Role, Scope};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Answer, Api, Caller, text};

/// Ids of a site with one of everything.
struct Things {
    site: &'static str,
    webhook: String,
    goal: String,
}

async fn things(api: &Api, site: &'static str) -> Things {
    let webhook = api
        .post(
            &format!("/api/sites/{site}/webhooks"),
            json!({"url": "https://example.com/x", "events": ["goal_completion"]}),
        )
        .await;
    let goal = api
        .post(
            &format!("/api/sites/{site}/goals"),
            json!({"name": "Signup", "kind": "event", "event": "signup"}),
        )
        .await;
    Things {
        site,
        webhook: text(&webhook.body["id"]).to_owned(),
        goal: text(&goal.body["id"]).to_owned(),
    }
}

impl Things {
    fn path(&self, call: &Call) -> String {
        call.path
            .replace("{site_id}", self.site)
            .replace("{webhook_id}", &self.webhook)
            .replace("{goal_id}", &self.goal)
            .replace("{delivery_id}", "dlv_00000000000000000000000000")
            .replace("{token_id}", "tok_00000000000000000000000000")
            .replace("{job_id}", "job_00000000000000000000000000")
    }
}

/// Calls with a body that is an object and that no call accepts.
async fn call(caller: &Caller<'_>, call: &Call, path: &str) -> Answer {
    let has_body = matches!(call.method, Method::Post | Method::Put | Method::Patch);
    let body: Option<Value> = has_body.then(|| json!({"no_such_field": 1}));
    caller.send(call.method.as_str(), path, body).await
}

#[sqlx::test]
async fn every_call_asks_for_the_rights_of_its_row(pool: PgPool) {
    let api = Api::start(pool).await;
    let (mine, other) = (
        things(&api, "mine.example").await,
        things(&api, "other.example").await,
    );
    let sites = || Scope::Sites(vec!["mine.example".to_owned()]);
    let editor = api.as_token(&sites(), Role::Editor).await;
    let viewer = api.as_token(&sites(), Role::Viewer).await;
    let admin_viewer = api.as_token(&Scope::Admin, Role::Viewer).await;
    for row in &CALLS {
        let path = mine.path(row);
        let name = format!("{} {}", row.method, row.path);
        let changes = row.method != Method::Get;
        let statuses = [
            call(&viewer, row, &path).await.status,
            call(&editor, row, &other.path(row)).await.status,
            call(&admin_viewer, row, &path).await.status,
        ];
        // 404 and 422 say that the call was let through: its ids or its body are wrong.
        let let_through = |status: u16| [200, 404, 422].contains(&status);
        match row.access {
            Access::Scoped => assert_eq!(statuses, [200, 200, 200], "{name}"),
            Access::Viewer => {
                assert!(let_through(statuses[0]), "{name}: {statuses:?}");
                assert_eq!(statuses[1], 404, "{name}: a foreign site");
                assert!(let_through(statuses[2]), "{name}: {statuses:?}");
            }
            Access::Editor => {
                assert_eq!(statuses[0], 403, "{name}: a viewer");
                assert_eq!(statuses[1], 404, "{name}: a foreign site");
                assert_eq!(statuses[2], 403, "{name}: a viewer of all sites");
            }
            Access::Admin => {
                assert_eq!([statuses[0], statuses[1]], [403, 403], "{name}: no admin");
                assert_eq!(statuses[2] == 403, changes, "{name}: {statuses:?}");
            }
        }
    }
}

#[sqlx::test]
async fn every_call_names_a_parameter_it_does_not_have(pool: PgPool) {
    let api = Api::start(pool).await;
    let mine = things(&api, "mine.example").await;
    let admin = api.as_token(&Scope::Admin, Role::Editor).await;
    let stranger = Scope::Sites(vec!["other.example".to_owned()]);
    let stranger = api.as_token(&stranger, Role::Editor).await;
    for row in &CALLS {
        let path = format!("{}?limt=5", mine.path(row));
        let answer = call(&admin, row, &path).await;
        let name = format!("{} {}: {}", row.method, row.path, answer.body);
        assert_eq!(answer.status, 422, "{name}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/limt", "{name}");
        assert_eq!(answer.body["errors"][0]["code"], "unknown_field", "{name}");
        if row.access != Access::Scoped {
            // What they may not use is not explained to them.
            let status = call(&stranger, row, &path).await.status;
            assert!([403, 404].contains(&status), "{name}: {status}");
        }
    }
}

#[sqlx::test]
async fn ids_of_another_site_are_not_found(pool: PgPool) {
    let api = Api::start(pool).await;
    let (mine, other) = (
        things(&api, "mine.example").await,
        things(&api, "other.example").await,
    );
    let editor = api
        .as_token(&Scope::Sites(vec!["mine.example".to_owned()]), Role::Editor)
        .await;
    let mixed = Things {
        site: mine.site,
        webhook: other.webhook,
        goal: other.goal,
    };
    for row in CALLS.iter().filter(|row| row.path.matches('{').count() > 1) {
        let answer = call(&editor, row, &mixed.path(row)).await;
        assert_eq!(answer.status, 404, "{} {}: {}", row.method, row.path, answer.body);
    }
}

#[sqlx::test]
async fn a_token_ends_when_it_expires_or_is_revoked(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let made = api
        .post(
            "/api/tokens",
            json!({"sites": ["mine.example"], "role": "viewer", "subject": "a dashboard",
                   "expires_at": clock::now() + chrono::TimeDelta::hours(1)}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = text(&made.body["id"]).to_owned();
    assert!(id.starts_with("tok_"), "{id}");
    assert_eq!(made.headers["location"], format!("/api/tokens/{id}").as_str());
    let token = text(&made.body["token"]).to_owned();
    let status = async |token: &str| {
        api.request("GET", "/api/sites")
            .bearer_auth(token)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(status(&token).await, 200);
    sqlx::query(
        "update api_tokens set expires_at = now() - interval '1 second' where subject = 'a dashboard'",
    )
    .execute(&pool)
    .await
    .expect("expired");
    assert_eq!(status(&token).await, 401, "expired");
    let listed = api.get("/api/tokens").await;
    assert!(
        listed.body["data"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| one["id"] == id)
    );
    assert!(!listed.body.to_string().contains(&token), "a list shows no token");

    sqlx::query("update api_tokens set expires_at = null")
        .execute(&pool)
        .await
        .expect("valid again");
    assert_eq!(status(&token).await, 200);
    assert_eq!(
        api.send("DELETE", &format!("/api/tokens/{id}"), None)
            .await
            .status,
        204
    );
    assert_eq!(status(&token).await, 401, "revoked");
    assert_eq!(
        api.send("DELETE", &format!("/api/tokens/{id}"), None)
            .await
            .status,
        404
    );
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where object = $1 order by id")
            .bind(&id)
            .fetch_all(&pool)
            .await
            .expect("read");
    assert_eq!(actions, ["token.create", "token.revoke"]);
}

#[sqlx::test]
async fn a_refused_token_names_every_bad_field(pool: PgPool) {
    let api = Api::start(pool).await;
    for (body, wanted) in [
        (
            json!({}),
            vec![
                ("/sites", "required"),
                ("/role", "required"),
                ("/subject", "required"),
            ],
        ),
        (
            json!({"admin": true, "sites": ["a"], "role": "owner", "subject": "x"}),
            vec![("/sites", "not_applicable"), ("/role", "unknown")],
        ),
        (
            json!({"sites": [], "role": "viewer", "subject": ""}),
            vec![("/sites", "empty"), ("/subject", "empty")],
        ),
        (
            json!({"sites": ["a"], "role": "viewer", "subject": "x", "expires_at": "2020-01-01T00:00:00Z"}),
            vec![("/expires_at", "out_of_range")],
        ),
        (
            json!({"sites": ["a", "a", ""], "role": "viewer", "subject": "x", "expires_at": "soon", "id": "tok_1"}),
            vec![
                ("/id", "read_only"),
                ("/sites/1", "duplicate"),
                ("/sites/2", "empty"),
                ("/expires_at", "invalid"),
            ],
        ),
    ] {
        let answer = api.post("/api/tokens", body.clone()).await;
        assert_eq!(answer.errors(), wanted, "{body}");
    }
}

#[sqlx::test]
async fn fifty_creates_at_once_end_at_the_limit(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    let body = json!({"url": "https://example.com/x", "events": ["goal_completion"]});
    let creates = (0..50).map(|_| api.post("/api/sites/busy.example/webhooks", body.clone()));
    let answers = futures_util::future::join_all(creates).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (10, 40));
    let stored: i64 = sqlx::query_scalar("select count(*) from webhooks")
        .fetch_one(&pool)
        .await
        .expect("read");
    assert_eq!(stored, 10);
}
