//! The addresses of the pages.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower::ServiceExt as _;

use super::assets;
use super::button::Button;
use super::long_address::refuse_long_addresses;
use super::pages::{
    again, alerts, deliveries, delivery, goals, now, recover, secret, settings, sign_in, sites, webhook,
    webhook_edit, webhooks,
};
use super::respond::add_headers;
use super::state::UiState;

/// The pages, and under `/api` the API. Its requests carry `ConnectInfo<SocketAddr>`.
pub fn router(state: UiState) -> Router {
    Router::new()
        .route("/", get(sign_in::root))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/p/{link}", get(sign_in::portal).post(sign_in::open_portal))
        .route("/sites", get(sites::list))
        .nest("/sites/{site_id}", of_site())
        .route("/assets/{name}", get(assets::get))
        .fallback(sign_in::not_found)
        .method_not_allowed_fallback(sign_in::wrong_method)
        .layer(middleware::from_fn(refuse_long_addresses))
        .layer(middleware::from_fn_with_state(state.clone(), add_headers))
        // Outside of that layer: the API has headers of its own.
        .layer(middleware::from_fn_with_state(state.clone(), to_api))
        .with_state(state)
}

/// The pages of one site.
fn of_site() -> Router<UiState> {
    Router::new()
        .route("/", get(now::show))
        .route("/now", get(now::poll))
        .route("/alerts", get(alerts::list))
        .route("/goals", get(goals::list))
        .route("/goals/new", get(goals::new).post(goals::create))
        .route("/goals/{goal_id}/edit", get(goals::edit).post(goals::change))
        .route(
            "/goals/{goal_id}/delete",
            get(goals::ask_delete).post(goals::delete),
        )
        .route("/settings", get(settings::show).post(settings::save))
        .route("/settings/erase", get(settings::ask_erase).post(settings::erase))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/new", get(webhook_edit::new).post(webhook_edit::create))
        .nest("/webhooks/{webhook_id}", of_webhook())
}

/// The pages of one webhook.
fn of_webhook() -> Router<UiState> {
    let pages = Router::new()
        .route("/", get(webhook::show))
        .route("/edit", get(webhook_edit::edit).post(webhook_edit::change))
        .route("/rotate", get(secret::ask_rotate).post(secret::rotate))
        .route("/delete", get(secret::ask_delete).post(secret::delete))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{delivery_id}", get(delivery::show))
        .route("/recover", get(recover::ask_recover).post(recover::recover))
        .route("/recoveries/{job_id}", get(recover::progress).post(recover::stop));
    Button::ALL.into_iter().fold(pages, |pages, button| {
        let (page, pressed) = of_button(button);
        pages.route(&button.action(page), pressed)
    })
}

/// The page on which a button stands, and what it does.
fn of_button(button: Button) -> (&'static str, MethodRouter<UiState>) {
    match button {
        Button::Enable => ("", post(webhook::enable)),
        Button::Disable => ("", post(webhook::disable)),
        Button::Pause => ("", post(webhook::pause)),
        Button::Resume => ("", post(webhook::resume)),
        Button::FinishRotation => ("", post(webhook::finish_rotation)),
        Button::Secret => ("", post(secret::show)),
        Button::Test => ("", post(again::test)),
        Button::Resend => ("/deliveries/{delivery_id}", post(again::resend)),
    }
}

/// True if a path is the API's and not that of a page.
pub(crate) fn is_api_path(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Hands what is the API's to the API.
async fn to_api(State(state): State<UiState>, request: Request, next: middleware::Next) -> Response {
    let path = request.uri().path();
    if is_api_path(path) {
        let Ok(response) = state.api().oneshot(request).await;
        return response;
    }
    next.run(request).await
}
