//! Requests that are nearly right: each is told what is wrong with it.

use serde_json::json;
use sqlx::PgPool;

use crate::api_history::api_with_webhook;
use crate::api_support::{Api, read, text};

#[sqlx::test]
async fn a_key_given_twice_is_refused_by_its_pointer(pool: PgPool) {
    let api = Api::start(pool).await;
    let body = r#"{"name": "a", "time_zone": "UTC", "name": "b"}"#;
    let answer = read(
        api.request("PUT", "/api/sites/a")
            .bearer_auth(&api.token)
            .header("content-type", "application/json")
            .body(body),
    )
    .await;
    assert_eq!(answer.errors(), [("/name", "duplicate")]);
    assert_eq!(api.get("/api/sites/a").await.status, 404, "nothing was stored");
}

#[sqlx::test]
async fn a_body_may_be_left_out_whatever_the_content_type(pool: PgPool) {
    let api = Api::start(pool).await;
    let webhooks = "/api/sites/a/webhooks";
    let made = api
        .post(
            webhooks,
            json!({"url": "https://example.com/x", "events": ["goal_completion"]}),
        )
        .await;
    let path = format!(
        "{webhooks}/{}/rotate-secret",
        made.body["id"].as_str().expect("an id")
    );
    let chunked =
        || reqwest::Body::wrap_stream(futures_util::stream::empty::<Result<Vec<u8>, std::io::Error>>());
    for (content_type, body) in [
        (None, None),
        (Some("application/json"), None),
        (Some("text/plain"), None),
        (Some("application/json"), Some(chunked())),
    ] {
        let mut request = api.request("POST", &path).bearer_auth(&api.token);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let status = request.send().await.expect("an answer").status();
        assert_eq!(status, 200, "{content_type:?}");
    }
    let request = api.request("POST", &path).bearer_auth(&api.token);
    let text = request.header("content-type", "text/plain").body("{}");
    assert_eq!(text.send().await.expect("an answer").status(), 415);
}

#[sqlx::test]
async fn a_byte_order_mark_is_named(pool: PgPool) {
    let api = Api::start(pool).await;
    let answer = read(
        api.request("PUT", "/api/sites/a")
            .bearer_auth(&api.token)
            .header("content-type", "application/json")
            .body("\u{FEFF}{}"),
    )
    .await;
    assert_eq!(answer.status, 400);
    answer.problem("malformed-json");
    assert!(
        text(&answer.body["detail"]).contains("byte order mark"),
        "{}",
        answer.body
    );
}

#[sqlx::test]
async fn the_document_and_its_page_have_no_parameters(pool: PgPool) {
    let api = Api::start(pool).await;
    for path in ["/api/openapi.json", "/api/docs", "/api/docs.css"] {
        let answer = read(api.request("GET", &format!("{path}?x=1"))).await;
        assert_eq!(answer.errors(), [("/x", "unknown_field")], "{path}");
    }
}

#[sqlx::test]
async fn a_control_character_in_a_query_is_refused(pool: PgPool) {
    let (api, _, deliveries) = api_with_webhook(&pool).await;
    let webhooks = "/api/sites/example.com/webhooks";
    for path in ["/api/sites", "/api/tokens", webhooks, &deliveries] {
        for name in ["q", "after", "limit", "include", "status", "event", "since"] {
            let answer = api.get(&format!("{path}?{name}=a%00")).await;
            let pointers: Vec<&str> = answer.errors().iter().map(|(pointer, _)| *pointer).collect();
            assert_eq!(pointers, [format!("/{name}")], "{path}");
        }
    }
}

#[sqlx::test]
async fn a_trailing_slash_and_an_upper_case_id_are_named(pool: PgPool) {
    let api = Api::start(pool).await;
    let made = api
        .post(
            "/api/sites/a/webhooks",
            json!({"url": "https://example.com/x", "events": ["goal_completion"]}),
        )
        .await;
    let id = text(&made.body["id"]).to_owned();
    for (path, wanted) in [
        ("/api/sites/".to_owned(), "slash"),
        (format!("/api/sites/a/webhooks/{id}/"), "slash"),
        (
            format!("/api/sites/a/webhooks/{}", id.to_uppercase()),
            "lower case",
        ),
        (
            format!("/api/sites/a/webhooks/{}", id.replace("wh_", "WH_")),
            "lower case",
        ),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem("not-found");
        assert!(
            text(&answer.body["detail"]).contains(wanted),
            "{path}: {}",
            answer.body
        );
    }
}

#[sqlx::test]
async fn a_deleted_site_is_gone_at_once_for_everybody(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    api.post(
        "/api/sites/a/webhooks",
        json!({"url": "https://example.com/x", "events": ["goal_completion"]}),
    )
    .await;
    assert_eq!(api.send("DELETE", "/api/sites/a", None).await.status, 204);
    for path in [
        "/api/sites/a",
        "/api/sites/a/webhooks",
        "/api/sites/a/goals",
        "/api/sites/a/status",
    ] {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
    assert_eq!(api.send("DELETE", "/api/sites/a", None).await.status, 404);
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from webhooks) + (select count(*) from webhook_secrets)")
            .fetch_one(&pool)
            .await
            .expect("read");
    assert_eq!(left, 0);
    let logged: i64 =
        sqlx::query_scalar("select count(*) from audit_log where action = 'site.delete' and site_id = 'a'")
            .fetch_one(&pool)
            .await
            .expect("read");
    assert_eq!(logged, 1);
}

/// Sends bytes and reads everything until the connection ends.
async fn exchange(api: &Api, request: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = api.base.strip_prefix("http://").expect("a URL");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let mut received = Vec::new();
    let (mut reading, mut writing) = stream.split();
    // The server may close before it has read everything.
    let (_, _) = tokio::join!(writing.write_all(request), reading.read_to_end(&mut received));
    String::from_utf8(received).expect("text")
}

#[sqlx::test]
async fn what_the_parser_refuses_has_the_form_of_every_error(pool: PgPool) {
    let api = Api::start(pool).await;
    let long = format!(
        "GET /api/sites?q={} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(70_000)
    );
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = format!("GET /api/sites HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    let large = format!(
        "GET /api/sites HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "a".repeat(600_000)
    );
    for (request, status, word) in [
        (long.as_str(), "414", "uri-too-long"),
        (&many, "431", "headers-too-large"),
        (&large, "431", "headers-too-large"),
        (
            "GET /api/sites HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
            "400",
            "malformed-request",
        ),
        (
            "GET /api/sites HTTP/9.9\r\nHost: a\r\n\r\n",
            "400",
            "malformed-request",
        ),
        (
            "G{T /api/sites HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
            "malformed-request",
        ),
        (
            "POST /api/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            "400",
            "malformed-request",
        ),
    ] {
        let answer = exchange(&api, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["type"], format!("urn:bellwether:error:{word}"), "{body}");
        assert_eq!(body["status"].to_string(), status);
    }
}

#[sqlx::test]
async fn the_list_of_sites_goes_on_behind_any_site_id(pool: PgPool) {
    let api = Api::start(pool).await;
    for id in ["a", "c", "e"] {
        let put = api
            .send("PUT", &format!("/api/sites/{id}"), Some(json!({})))
            .await;
        assert_eq!(put.status, 201);
    }
    let listed = async |after: &str| {
        let page = api.get(&format!("/api/sites?after={after}")).await.body;
        let sites = page["data"].as_array().expect("a list");
        sites
            .iter()
            .map(|site| text(&site["site_id"]).to_owned())
            .collect::<String>()
    };
    assert_eq!(listed("a").await, "ce");
    assert_eq!(listed("b").await, "ce", "there is none of this id");
    assert_eq!(api.send("DELETE", "/api/sites/c", None).await.status, 204);
    assert_eq!(listed("c").await, "e", "it is gone");
    assert_eq!(listed("e").await, "");
    for bad in ["%00", "..", &"a".repeat(256)] {
        let refused = api.get(&format!("/api/sites?after={bad}")).await;
        assert_eq!(refused.errors(), [("/after", "invalid")], "{bad}");
    }
}
