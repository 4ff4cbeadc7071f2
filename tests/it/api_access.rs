//! Tokens, their scope, role and rate; paths and bodies that are refused.

use std::num::NonZeroU32;

use bellwether::domain::id::TokenId;
use bellwether::record::tokens::{self, Role, Scope};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Api, config, read, text};

fn webhook() -> Value {
    json!({"url": "https://example.com/x", "events": ["goal_completion"]})
}

fn sites(ids: &[&str]) -> Scope {
    Scope::Sites(ids.iter().map(|id| (*id).to_owned()).collect())
}

#[sqlx::test]
async fn every_call_without_a_valid_token_answers_401(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for path in [
        "/api/sites",
        "/api/sites/example.com",
        "/api/sites/example.com/webhooks",
        "/api/sites/a/goals",
    ] {
        let none = read(api.request("GET", path)).await;
        assert_eq!(none.status, 401);
        assert_eq!(none.headers["www-authenticate"], "Bearer");
        none.problem("unauthenticated");
    }
    for wrong in [
        "bw_wrong",
        "",
        "bw_",
        &api.token[3..],
        &api.token[..40],
        &format!("{}x", api.token),
    ] {
        assert_eq!(
            read(api.request("GET", "/api/sites").bearer_auth(wrong))
                .await
                .status,
            401,
            "{wrong}"
        );
    }
    assert_eq!(
        read(
            api.request("GET", "/api/sites")
                .basic_auth("bw", Some(&api.token))
        )
        .await
        .status,
        401
    );

    assert_eq!(api.get("/api/sites").await.status, 200);
    let id: uuid::Uuid = sqlx::query_scalar("select id from api_tokens")
        .fetch_one(&pool)
        .await
        .expect("one token");
    let id = TokenId::from_uuid(id);
    let mut conn = pool.acquire().await.expect("connection");
    assert!(
        tokens::revoke(&mut conn, id, bellwether::clock::now())
            .await
            .expect("revoked")
    );
    assert_eq!(
        api.get("/api/sites").await.status,
        401,
        "a revoked token is refused at once"
    );
}

#[sqlx::test]
async fn the_token_itself_is_stored_nowhere(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    assert!(
        api.token.starts_with("bw_") && api.token.len() >= 3 + 43,
        "{}",
        api.token
    );
    api.get("/api/sites").await;
    let rows: Vec<String> = sqlx::query_scalar("select api_tokens::text || prefix from api_tokens")
        .fetch_all(&pool)
        .await
        .expect("read");
    assert!(!rows[0].contains(&api.token[9..]), "{}", rows[0]);
    let used: Option<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("select last_used_at from api_tokens")
            .fetch_one(&pool)
            .await
            .expect("read");
    assert!(used.is_some());
}

#[sqlx::test]
async fn an_alias_outside_the_scope_reveals_no_site(pool: PgPool) {
    let api = Api::start(pool).await;
    for (site, aliases) in [("theirs", json!(["www.theirs"])), ("mine", json!(["given"]))] {
        let path = format!("/api/sites/{site}");
        let put = api.send("PUT", &path, Some(json!({"aliases": aliases})));
        assert_eq!(put.await.status, 201);
    }
    let scoped = api
        .as_token(&sites(&["mine", "also-mine", "taken"]), Role::Editor)
        .await;
    let put = async |aliases: Value| {
        scoped
            .send("PUT", "/api/sites/mine", Some(json!({"aliases": aliases})))
            .await
    };
    let refused = put(json!(["also-mine", "theirs", "given", "www.theirs", "nobodys"])).await;
    let wanted = ["/aliases/1", "/aliases/3", "/aliases/4"].map(|pointer| (pointer, "out_of_scope"));
    assert_eq!(refused.errors(), wanted);
    let details: Vec<&Value> = refused.body["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| &error["detail"])
        .collect();
    assert!(details.iter().all(|detail| *detail == details[0]), "{details:?}");
    // The alias is named beside the other bad fields, with its place in the list.
    let several = json!({"time_zone": "Mars", "aliases": [5, "nobodys"]});
    let several = scoped.send("PUT", "/api/sites/mine", Some(several)).await;
    let wanted = [
        ("/time_zone", "unknown"),
        ("/aliases/0", "wrong_type"),
        ("/aliases/1", "out_of_scope"),
    ];
    assert_eq!(several.errors(), wanted);
    // Present aliases stay and aliases in scope are added. Nothing of the refused request was
    // stored.
    let kept = put(json!(["given", "also-mine"])).await;
    assert_eq!(
        (kept.status, &kept.body["aliases"]),
        (200, &json!(["given", "also-mine"]))
    );
    assert_eq!(put(json!([])).await.status, 200);
    assert_eq!(
        put(json!(["given"])).await.errors(),
        [("/aliases/0", "out_of_scope")]
    );
    // An admin may add any id that is free.
    let admin = api.send("PUT", "/api/sites/mine", Some(json!({"aliases": ["nobodys"]})));
    assert_eq!(admin.await.status, 200);
    api.send("PUT", "/api/sites/taken", Some(json!({}))).await;
    assert_eq!(put(json!(["taken"])).await.errors(), [("/aliases/0", "taken")]);
    // The taken id is in the caller's scope, so the answer may name it, too.
    let both = put(json!(["theirs", "taken"])).await;
    assert_eq!(
        both.errors(),
        [("/aliases/0", "out_of_scope"), ("/aliases/1", "taken")]
    );
}

#[sqlx::test]
async fn a_site_outside_the_scope_is_answered_as_if_it_did_not_exist(pool: PgPool) {
    let api = Api::start(pool).await;
    let path = {
        let created = api.post("/api/sites/theirs/webhooks", webhook()).await;
        created.headers["location"].to_str().expect("text").to_owned()
    };
    let mine = api.as_token(&sites(&["mine"]), Role::Editor).await;
    let goal = json!({"name": "g", "kind": "event", "event": "e"});
    for (method, path, body) in [
        ("GET", "/api/sites/theirs", None),
        ("PUT", "/api/sites/theirs", Some(json!({}))),
        ("GET", "/api/sites/theirs/webhooks", None),
        ("POST", "/api/sites/theirs/webhooks", Some(webhook())),
        ("POST", "/api/sites/theirs/webhooks", Some(json!({"colour": 1}))),
        ("GET", path.as_str(), None),
        ("PATCH", path.as_str(), Some(json!({"name": "x"}))),
        ("DELETE", path.as_str(), None),
        ("GET", &format!("{path}/deliveries"), None),
        (
            "GET",
            &format!("{path}/deliveries/dlv_01h455vb4pex5vsknk084sn02q"),
            None,
        ),
        ("GET", "/api/sites/theirs/goals", None),
        ("POST", "/api/sites/theirs/goals", Some(goal)),
        (
            "GET",
            "/api/sites/theirs/goals/goal_01h455vb4pex5vsknk084sn02q",
            None,
        ),
    ] {
        let theirs = mine.send(method, path, body.clone()).await;
        assert_eq!(theirs.status, 404, "{method} {path}");
        let nobodys = mine.send(method, &path.replace("theirs", "nobodys"), body).await;
        assert_eq!(theirs.body, nobodys.body, "{method} {path}");
    }
    assert_eq!(
        mine.send("POST", "/api/sites/mine/webhooks", Some(webhook()))
            .await
            .status,
        201
    );
    let listed = mine.send("GET", "/api/sites", None).await;
    assert_eq!(listed.body["data"].as_array().expect("a list").len(), 1);
    assert_eq!(listed.body["data"][0]["site_id"], "mine");
}

#[sqlx::test]
async fn a_viewer_may_look_but_not_change(pool: PgPool) {
    let api = Api::start(pool).await;
    let created = api.post("/api/sites/mine/webhooks", webhook()).await;
    let path = created.headers["location"].to_str().expect("text");
    for scope in [sites(&["mine"]), Scope::Admin] {
        let viewer = api.as_token(&scope, Role::Viewer).await;
        for path in [
            "/api/sites",
            "/api/sites/mine",
            "/api/sites/mine/webhooks",
            path,
            "/api/sites/mine/goals",
        ] {
            assert_eq!(viewer.send("GET", path, None).await.status, 200, "{path}");
        }
        for (method, path) in [
            ("PUT", "/api/sites/mine"),
            ("POST", "/api/sites/mine/webhooks"),
            ("PATCH", path),
            ("DELETE", path),
            ("POST", "/api/sites/mine/goals"),
            ("PUT", "/api/sites/mine/goals/goal_01h455vb4pex5vsknk084sn02q"),
            ("DELETE", "/api/sites/mine/goals/goal_01h455vb4pex5vsknk084sn02q"),
        ] {
            let answer = viewer.send(method, path, Some(webhook())).await;
            assert_eq!(answer.status, 403, "{method} {path}");
            answer.problem("forbidden");
        }
    }
    let other = api.as_token(&sites(&["other"]), Role::Viewer).await;
    assert_eq!(
        other.send("DELETE", path, None).await.status,
        404,
        "the scope is checked before the role"
    );
}

#[sqlx::test]
async fn a_token_that_is_used_too_often_has_to_wait(pool: PgPool) {
    let few = |n| NonZeroU32::new(n).expect("not zero");
    let api = Api::start_with(
        pool,
        bellwether::api::ApiConfig {
            requests_per_second: few(1),
            burst: few(3),
            ..config()
        },
    )
    .await;
    let left: Vec<String> = {
        let mut left = Vec::new();
        for _ in 0..3 {
            let answer = api.get("/api/sites").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["ratelimit-policy"], "\"token\";q=3;w=3");
            left.push(answer.headers["ratelimit"].to_str().expect("text").to_owned());
        }
        left
    };
    assert_eq!(
        left,
        ["\"token\";r=2;t=1", "\"token\";r=1;t=2", "\"token\";r=0;t=3"]
    );
    let refused = api.get("/api/sites").await;
    assert_eq!(
        (
            refused.status,
            refused.headers["retry-after"].to_str().expect("text")
        ),
        (429, "1")
    );
    assert_eq!(refused.headers["ratelimit"], "\"token\";r=0;t=3");
    refused.problem("rate-limited");
    let other = api.as_token(&Scope::Admin, Role::Viewer).await;
    assert_eq!(
        other.send("GET", "/api/sites", None).await.status,
        200,
        "each token has its own"
    );
    assert!(api.seen.lock().expect("not poisoned").contains(&(
        "/api/sites".to_owned(),
        429,
        Some("rate-limited")
    )));
}

#[sqlx::test]
async fn the_eleventh_failed_login_of_an_address_has_to_wait(pool: PgPool) {
    let api = Api::start(pool).await;
    for n in 0..12 {
        let answer = read(
            api.request("GET", "/api/sites")
                .bearer_auth(format!("bw_wrong-{n}")),
        )
        .await;
        if n < 10 {
            assert_eq!(answer.status, 401);
        } else {
            assert_eq!(answer.status, 429);
            answer.problem("too-many-failed-logins");
            let wait: u32 = answer.headers["retry-after"]
                .to_str()
                .expect("text")
                .parse()
                .expect("seconds");
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
    assert_eq!(
        api.get("/api/sites").await.status,
        200,
        "a valid token is still accepted"
    );
}

#[sqlx::test]
async fn a_wrong_path_or_method_is_a_problem(pool: PgPool) {
    let api = Api::start(pool).await;
    for path in [
        "/",
        "/api",
        "/api/nothing",
        "/api/sites/",
        "/api/sites/a/webhooks/",
        "/api/sites//webhooks",
        "/api/sites/a/b/webhooks",
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem("not-found");
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/sites/a/webhooks", "GET,HEAD,POST"),
        ("POST", "/api/sites/a", "GET,HEAD,PUT,DELETE"),
        ("PUT", "/api/sites/a/webhooks/wh_1", "GET,HEAD,PATCH,DELETE"),
        ("POST", "/api/sites/a/webhooks/wh_1/deliveries", "GET,HEAD"),
    ] {
        let answer = api.send(method, path, Some(json!({}))).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        answer.problem("method-not-allowed");
        assert_eq!(answer.headers["allow"], allowed);
    }
    let seen = api.seen.lock().expect("not poisoned").clone();
    assert!(
        seen.contains(&("unmatched".to_owned(), 404, Some("not-found"))),
        "{seen:?}"
    );
}

#[sqlx::test]
async fn a_body_is_json_of_the_right_type_and_size(pool: PgPool) {
    let api = Api::start(pool).await;
    let send = async |kind: Option<&str>, body: Vec<u8>| {
        let mut request = api
            .request("POST", "/api/sites/a/webhooks")
            .bearer_auth(&api.token)
            .body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        read(request).await
    };
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/merge-patch+json"),
        Some("application/json; charset=latin1"),
        Some("application/json;charset=\"utf-16\""),
    ] {
        let answer = send(kind, b"{}".to_vec()).await;
        assert_eq!(answer.status, 415, "{kind:?}");
        answer.problem("unsupported-media-type");
    }
    for kind in ["application/json;charset=\"UTF-8\"", "application/json; v=1"] {
        assert_eq!(send(Some(kind), b"{}".to_vec()).await.status, 422, "{kind}");
    }
    let json = Some("application/json; charset=utf-8");
    let deep = "[".repeat(10_000);
    for bad in [
        "",
        "{",
        "{\"name\":}",
        "nonsense",
        "{\"name\":\"\\ud800\"}",
        "{} {}",
        &deep,
    ] {
        let answer = send(json, bad.as_bytes().to_vec()).await;
        assert_eq!(answer.status, 400, "{bad}");
        answer.problem("malformed-json");
    }
    assert_eq!(send(json, b"{\"name\":\"\xff\"}".to_vec()).await.status, 400);
    for (bad, pointer) in [("[]", ""), ("null", ""), ("5", ""), ("\"{}\"", "")] {
        assert_eq!(
            send(json, bad.as_bytes().to_vec()).await.errors(),
            [(pointer, "wrong_type")],
            "{bad}"
        );
    }
    for (size, status) in [(65_536, 422), (65_537, 413), (500_000, 413), (3_000_000, 413)] {
        let padded = format!("{{\"name\":\"{}\"}}", "x".repeat(size - 11));
        assert_eq!(padded.len(), size);
        assert_eq!(send(json, padded.into_bytes()).await.status, status, "{size}");
    }
}

#[sqlx::test]
async fn every_answer_forbids_caching(pool: PgPool) {
    let api = Api::start(pool).await;
    for (method, path) in [
        ("GET", "/api/sites"),
        ("GET", "/nothing"),
        ("PATCH", "/api/sites"),
    ] {
        let answer = api.send(method, path, None).await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let created = api.post("/api/sites/a/webhooks", webhook()).await;
    assert!(text(&created.body["secret"]).starts_with("whsec_"));
    assert_eq!(created.headers["cache-control"], "no-store");
}

#[sqlx::test]
async fn answers_are_json_whatever_is_accepted(pool: PgPool) {
    let api = Api::start(pool).await;
    for accept in [
        "text/html",
        "application/xml;q=0.9",
        "image/*",
        "*/*;q=0",
        "nonsense",
    ] {
        let request = api.request("GET", "/api/sites").bearer_auth(&api.token);
        let answer = read(request.header("accept", accept)).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.headers["content-type"], "application/json", "{accept}");
    }
}
