//! The router, made of the table of calls.

use axum::extract::Request;
use axum::middleware;
use axum::routing::get;
use axum::{Extension, Router};

use super::auth;
use super::calls::CALLS;
use super::observe::observe;
use super::openapi;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::query::AllowedParameters;
use super::reference;
use super::state::ApiState;

/// The API under `/api`. Its requests carry `ConnectInfo<SocketAddr>`, as those of [`service`] do:
/// without the addresses, all failed logins count for one.
///
/// [`service`]: crate::bounded_listener::service
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for call in CALLS {
        let handler = (call.handler)().route_layer(Extension(AllowedParameters(call.query)));
        router = router.route(call.path, handler);
    }
    router
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::authenticate))
        .route(openapi::PATH, get(reference::document))
        .route(openapi::PAGE_PATH, get(reference::page))
        .route(reference::STYLE_PATH, get(reference::style))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn not_found(request: Request) -> Problem {
    let path = request.uri().path();
    if path.len() > 1 && path.ends_with('/') {
        let detail = "The path ends with a slash. Paths of this API do not: leave it out.";
        return Problem::new(ProblemType::NotFound, detail);
    }
    Problem::not_found("path")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemType::MethodNotAllowed,
        "The Allow header lists the methods of this path.",
    )
}
