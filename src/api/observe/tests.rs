//! The span of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware;
use axum::routing::get;
use sqlx::postgres::PgPoolOptions;
use tower_service::Service as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::api::caller::Caller;
use crate::api::extract::ReadableSite;
use crate::api::state::ApiConfig;
use crate::api::webhook_input::WebhookRules;
use crate::record::keyring::Keyring;
use crate::record::tokens::{Role, Scope};

use super::*;

/// Collects the fields of all spans, each as `span.field`.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<String, String>>>);

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _context: Context<'_, S>) {
        attributes.record(&mut self.clone());
        self.put("name", attributes.metadata().name().to_owned());
    }

    fn on_record(&self, _id: &Id, values: &Record<'_>, _context: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Spans {
    fn put(&self, name: &str, value: String) {
        self.0
            .lock()
            .expect("not poisoned")
            .insert(name.to_owned(), value);
    }
}

impl Visit for Spans {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

fn state() -> ApiState {
    let pool = PgPoolOptions::new()
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .expect("a URL");
    let keyring = Keyring::parse(&[format!("a:{}", "A".repeat(43) + "=")]).expect("a key");
    let config = ApiConfig {
        max_per_site: 10,
        webhooks: WebhookRules::default(),
        partitions: 1,
        requests_per_second: NonZeroU32::MIN,
        burst: NonZeroU32::MIN,
        trusted_proxies: Vec::new(),
        public_url: None,
    };
    ApiState::new(pool, Arc::new(keyring), config, |_| {})
}

async fn spans_of(path: &str) -> BTreeMap<String, String> {
    let mut router: Router = Router::new()
        .route("/api/sites", get(async || {}))
        .route("/api/sites/{site_id}", get(async |_: ReadableSite| {}))
        .layer(middleware::from_fn_with_state(state(), observe));
    let mut request = Request::builder()
        .uri(path)
        .body(Body::empty())
        .expect("a request");
    request.extensions_mut().insert(Caller::of_test(
        Scope::Sites(vec!["mine".to_owned()]),
        Role::Viewer,
    ));
    let spans = Spans::default();
    let _guard = subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    router.call(request).await.expect("an answer");
    spans.0.lock().expect("not poisoned").clone()
}

#[tokio::test]
async fn a_span_has_route_method_status_and_site() {
    for (path, route, status, site) in [
        ("/api/sites/mine", "/api/sites/{site_id}", "200", Some("mine")),
        ("/api/sites/theirs", "/api/sites/{site_id}", "404", Some("theirs")),
        ("/api/sites", "/api/sites", "200", None),
        ("/elsewhere", "unmatched", "404", None),
    ] {
        let mut wanted = BTreeMap::from(
            [
                ("name", "api.request"),
                ("route", route),
                ("method", "GET"),
                ("status", status),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if let Some(site) = site {
            wanted.insert("site.id".to_owned(), site.to_owned());
        }
        assert_eq!(spans_of(path).await, wanted, "{path}");
    }
}
