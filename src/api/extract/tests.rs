//! Sites in paths, by role and scope of the caller.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use chrono::DateTime;
use tower_service::Service as _;

use crate::record::sites::SiteRecord;
use crate::record::tokens::{Role, Scope};

use super::*;

#[test]
fn a_site_id_is_one_segment_of_a_location() {
    let path = |id: &str| site_path(&id.parse().expect("a site id"));
    assert_eq!(path("example.com"), "/api/sites/example.com");
    assert_eq!(path("a/b ü?#"), "/api/sites/a%2Fb%20%C3%BC%3F%23");
}

async fn status(method: &str, path: &str, caller: Option<(Scope, Role)>) -> StatusCode {
    let mut router: Router = Router::new()
        .route("/read/{site_id}", get(|_: ReadableSite| async {}))
        .route("/write/{site_id}", post(|_: WritableSite| async {}))
        .route("/register/{site_id}", put(|_: RegistrableSite| async {}));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .expect("a request");
    if let Some((scope, role)) = caller {
        request.extensions_mut().insert(Caller::of_test(scope, role));
    }
    router.call(request).await.expect("an answer").status()
}

#[tokio::test]
async fn a_site_is_handed_out_by_scope_and_role() {
    let mine = || Scope::Sites(vec!["mine".to_owned()]);
    for (scope, role, site, read, write) in [
        (Scope::Admin, Role::Editor, "mine", 200, 200),
        (Scope::Admin, Role::Viewer, "mine", 200, 403),
        (mine(), Role::Editor, "mine", 200, 200),
        (mine(), Role::Viewer, "mine", 200, 403),
        (mine(), Role::Editor, "theirs", 404, 404),
        (mine(), Role::Viewer, "theirs", 404, 404),
    ] {
        for (method, call, wanted) in [
            ("GET", "read", read),
            ("POST", "write", write),
            ("PUT", "register", write),
        ] {
            let path = format!("/{call}/{site}");
            let status = status(method, &path, Some((scope.clone(), role))).await;
            assert_eq!(status.as_u16(), wanted, "{scope:?} {role:?} {path}");
        }
    }
}

/// A site as a page has read it.
fn of_page(site_id: &str) -> Arc<SiteOfPage> {
    Arc::new(SiteOfPage {
        site: SiteRecord {
            site_id: site_id.to_owned(),
            name: None,
            time_zone: "UTC".to_owned(),
            aliases: Vec::new(),
            include_paths: false,
            first_event_at: None,
            last_event_at: None,
            inserted_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        },
        now: None,
        webhooks: Vec::new(),
    })
}

#[tokio::test]
async fn what_a_page_has_read_gives_no_rights() {
    let is_known = async |site: ReadableSite| site.of_page().is_some().to_string();
    let mut router: Router = Router::new().route("/{site_id}", get(is_known));
    let scope = Scope::Sites(vec!["mine".to_owned(), "other".to_owned()]);
    for (asked, has_read, wanted) in [
        ("mine", "mine", Some("true")),
        ("mine", "other", Some("false")),
        ("theirs", "theirs", None),
        ("theirs", "mine", None),
    ] {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("/{asked}").parse().expect("a path");
        let caller = Caller::of_test(scope.clone(), Role::Viewer);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(of_page(has_read));
        let response = router.call(request).await.expect("an answer");
        let is_found = response.status() == StatusCode::OK;
        let text = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .expect("a body");
        let told = is_found.then(|| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(told.as_deref(), wanted, "{asked}, read {has_read}");
    }
}

#[tokio::test]
async fn a_route_without_a_caller_is_closed() {
    for (method, path) in [("GET", "/read/a"), ("POST", "/write/a"), ("PUT", "/register/a")] {
        assert_eq!(
            status(method, path, None).await,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
}

#[tokio::test]
async fn only_a_call_that_registers_explains_a_bad_site_id() {
    let too_long = "x".repeat(256);
    for bad in ["%00", too_long.as_str()] {
        for (method, call, wanted) in [
            ("GET", "read", 404),
            ("POST", "write", 404),
            ("PUT", "register", 422),
        ] {
            let path = format!("/{call}/{bad}");
            let status = status(method, &path, Some((Scope::Admin, Role::Editor))).await;
            assert_eq!(status.as_u16(), wanted, "{path}");
        }
    }
}
