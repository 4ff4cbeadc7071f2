//! The routes.

use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, put};

use crate::clock;

use super::problem::{Kind, Problem};
use super::{Answered, ApiState, auth, deliveries, goals, sites, webhooks};

/// Longest a request may take: a database that has stopped answering holds nothing for longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The API under `/api`. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, or every failed login
/// counts for the same address.
pub fn router(state: ApiState) -> Router {
    let webhook = "/api/sites/{site_id}/webhooks/{webhook_id}";
    let routes: [(String, MethodRouter<ApiState>); 8] = [
        ("/api/sites".to_owned(), get(sites::list)),
        ("/api/sites/{site_id}".to_owned(), put(sites::put).get(sites::get)),
        (
            "/api/sites/{site_id}/webhooks".to_owned(),
            get(webhooks::list).post(webhooks::create),
        ),
        (
            webhook.to_owned(),
            get(webhooks::get)
                .patch(webhooks::change)
                .delete(webhooks::delete),
        ),
        (format!("{webhook}/deliveries"), get(deliveries::list)),
        (
            format!("{webhook}/deliveries/{{delivery_id}}"),
            get(deliveries::get),
        ),
        (
            "/api/sites/{site_id}/goals".to_owned(),
            get(goals::list).post(goals::create),
        ),
        (
            "/api/sites/{site_id}/goals/{goal_id}".to_owned(),
            get(goals::get).put(goals::replace).delete(goals::delete),
        ),
    ];
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router.route(&path, methods);
    }
    router
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::authenticate))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn not_found() -> Problem {
    Problem::not_found("page")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "The Allow header says which methods this path has.",
    )
}

/// Tells who counts, and adds what every answer carries: none may be kept by a cache or guessed at by a browser.
async fn observe(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let began = clock::monotonic();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let is_read = request.method().is_safe();
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::Unavailable, "This took too long and was given up.").into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    (state.observer)(Answered {
        route: route.as_ref().map_or("unmatched", MatchedPath::as_str),
        status: response.status().as_u16(),
        is_read,
        took: clock::monotonic().saturating_duration_since(began),
        problem: response.extensions().get::<Kind>().copied(),
    });
    response
}
