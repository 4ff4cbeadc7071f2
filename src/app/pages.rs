//! The pages, before the API on its listener.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;

use super::context::AppContext;
use crate::api::{UNMATCHED, method_word};
use crate::record::pool_shares::PoolShares;
use crate::telemetry::Metrics;
use crate::ui::{self, UiConfig, UiState};

/// The pages with the API behind them: what they do goes through its router.
pub(super) fn router(app: &AppContext, api: Router, shares: PoolShares) -> Router {
    let (http, webhooks) = (&app.config.http, &app.config.webhooks);
    let config = UiConfig {
        public_url: http.public_url.clone(),
        allow_http: webhooks.allow_http,
        max_per_site: webhooks.max_per_site,
        outbound_addresses: webhooks
            .outbound_addresses
            .iter()
            .map(ToString::to_string)
            .collect(),
        retry_schedules: app.schedules.names().into_iter().collect(),
    };
    let state = UiState::new(
        api,
        (app.api_pool.clone(), shares),
        Arc::clone(&app.keyring),
        config,
    );
    let metrics = Arc::clone(&app.metrics);
    ui::router(state).layer(middleware::from_fn(move |request, next| {
        count_unmatched(Arc::clone(&metrics), request, next)
    }))
}

/// Counts requests to paths that neither the pages nor the API have, and with methods that a page
/// does not have. The API counts its own; requests to pages are not counted.
async fn count_unmatched(metrics: Arc<Metrics>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_api = ui::is_api_path(path);
    let is_page = request.extensions().get::<MatchedPath>().is_some();
    let method = method_word(request.method());
    let response = next.run(request).await;
    let status = response.status();
    if !is_api && (!is_page || status == StatusCode::METHOD_NOT_ALLOWED) {
        metrics
            .http_requests
            .with_label_values(&[UNMATCHED, method, status.as_str()])
            .inc();
    }
    response
}
