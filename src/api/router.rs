//! The routes.

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get, put};

use super::auth;
use super::observe::observe;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::ApiState;
use super::{deliveries, goals, sites, webhooks};

/// The API under `/api`. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`:
/// without the addresses, all failed logins count for one.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::authenticate))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

fn routes() -> [(&'static str, MethodRouter<ApiState>); 8] {
    [
        ("/api/sites", get(sites::list)),
        ("/api/sites/{site_id}", put(sites::put).get(sites::get)),
        (
            "/api/sites/{site_id}/webhooks",
            get(webhooks::list).post(webhooks::create),
        ),
        (
            "/api/sites/{site_id}/webhooks/{webhook_id}",
            get(webhooks::get)
                .patch(webhooks::change)
                .delete(webhooks::delete),
        ),
        (
            "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries",
            get(deliveries::list),
        ),
        (
            "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}",
            get(deliveries::get),
        ),
        ("/api/sites/{site_id}/goals", get(goals::list).post(goals::create)),
        (
            "/api/sites/{site_id}/goals/{goal_id}",
            get(goals::get).put(goals::replace).delete(goals::delete),
        ),
    ]
}

/// Every call: method, route, and the status of its success.
pub(crate) const CALLS: [(&str, &str, u16); 15] = [
    ("GET", "/api/sites", 200),
    ("GET", "/api/sites/{site_id}", 200),
    ("PUT", "/api/sites/{site_id}", 200),
    ("GET", "/api/sites/{site_id}/webhooks", 200),
    ("POST", "/api/sites/{site_id}/webhooks", 201),
    ("GET", "/api/sites/{site_id}/webhooks/{webhook_id}", 200),
    ("PATCH", "/api/sites/{site_id}/webhooks/{webhook_id}", 200),
    ("DELETE", "/api/sites/{site_id}/webhooks/{webhook_id}", 204),
    (
        "GET",
        "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries",
        200,
    ),
    (
        "GET",
        "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}",
        200,
    ),
    ("GET", "/api/sites/{site_id}/goals", 200),
    ("POST", "/api/sites/{site_id}/goals", 201),
    ("GET", "/api/sites/{site_id}/goals/{goal_id}", 200),
    ("PUT", "/api/sites/{site_id}/goals/{goal_id}", 200),
    ("DELETE", "/api/sites/{site_id}/goals/{goal_id}", 204),
];

async fn not_found() -> Problem {
    Problem::not_found("path")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemType::MethodNotAllowed,
        "The Allow header lists the methods of this path.",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_among_the_calls() {
        let routes: BTreeSet<&str> = routes().iter().map(|(path, _)| *path).collect();
        let called: BTreeSet<&str> = CALLS.iter().map(|(_, path, _)| *path).collect();
        assert_eq!(routes, called);
    }
}
