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

async fn not_found() -> Problem {
    Problem::not_found("path")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemType::MethodNotAllowed,
        "The Allow header lists the methods of this path.",
    )
}
