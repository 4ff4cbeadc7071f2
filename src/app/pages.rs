//! The pages, before the API on its listener.

use std::sync::Arc;

use axum::Router;

use super::context::AppContext;
use crate::record::pool_shares::PoolShares;
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
    ui::router(state)
}
