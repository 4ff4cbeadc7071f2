//! The admin listener: `/metrics`, `/healthz`, `/readyz`. For the operator's network only.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::{Health, Metrics};
use crate::clock;

/// State that the admin listener shows.
#[derive(Debug, Clone)]
pub(crate) struct AdminState {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    /// When the configuration of sites and webhooks was last read, in milliseconds since the Unix
    /// epoch; 0 before that.
    pub(crate) registry_read_at: Arc<AtomicI64>,
}

/// The admin listener's routes.
pub(crate) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> Response {
    // An age is as of now, not as of when somebody last looked.
    let read_at = state.registry_read_at.load(Ordering::Relaxed);
    let age_ms = if read_at == 0 {
        0
    } else {
        clock::now_ms() - read_at
    };
    state.metrics.config_age.set(age_ms.max(0) as f64 / 1_000.0);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
        .into_response()
}

/// Alive: our own threads go round. No store is asked, so a store's failure never restarts a
/// process.
async fn healthz(State(state): State<AdminState>) -> Response {
    let stuck = state.health.stuck_threads(clock::now_ms());
    let status = if stuck.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"alive": stuck.is_empty(), "stuck_threads": stuck})),
    )
        .into_response()
}

async fn readyz(State(state): State<AdminState>) -> Response {
    let readiness = state.health.readiness(clock::now_ms());
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}
