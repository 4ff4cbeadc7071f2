//! The api role: the REST API on its listener.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::AppContext;
use super::{deliver, pages};
use crate::api::{self, ApiConfig, ApiState, ProblemType, TestRequest, TestSender, TestShares, WebhookRules};
use crate::bounded_listener;
use crate::clock;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::request::AttemptFacts;
use crate::deliver::single_send::SingleSender;
use crate::domain::event::EventType;
use crate::domain::target::TargetRules;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::words::{RateLimit, RequestClass};

/// Serves the API on `listener`, and for `close_delay` after the process was told to stop.
pub(super) fn start(
    app: &AppContext,
    listener: TcpListener,
    close_delay: Duration,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "the API is open");
    let state = api_state(app)?;
    let shares = state.shares();
    let router = pages::router(app, api::router(state), shares);
    let (stop, give_up) = (app.lifecycle.stop.clone(), app.lifecycle.give_up.clone());
    let most_callers = app.files.of_callers;
    tasks.spawn("api", async move {
        let service = bounded_listener::service(router);
        let ends = CancellationToken::new();
        let listener = api::answering(listener, most_callers, ends.clone());
        let until = async move {
            stop.cancelled().await;
            tokio::time::sleep(close_delay).await;
            ends.cancel();
        };
        let served = axum::serve(listener, service).with_graceful_shutdown(until);
        tokio::select! {
            result = served.into_future() => Ok(result?),
            // Someone sends a request byte by byte, or does not read the answer.
            () = give_up.cancelled() => Ok(()),
        }
    });
    Ok(())
}

/// The way of tests to endpoints, with a client of its own: no test takes a connection from
/// deliveries.
fn test_sender(app: &AppContext) -> anyhow::Result<TestSender> {
    let options = ClientOptions {
        max_connections: app.files.to_tested,
        ..deliver::client_options(app)?
    };
    let client = WebhookClient::new(options).context("starting the HTTP client of tests")?;
    let timeout = client.timeout();
    let sender = SingleSender::new(client);
    let send = move |request: TestRequest| {
        let sender = sender.clone();
        let send = async move {
            let facts = AttemptFacts {
                delivery_id: request.delivery_id,
                notification_id: request.notification_id,
                event: EventType::Test.as_str(),
                attempt: 1,
                now_ms: clock::now_ms(),
                body: request.body,
            };
            sender.send(&request.webhook, facts).await
        };
        send.boxed()
    };
    Ok(TestSender {
        send: Arc::new(send),
        links: app.config.sites.link_template(),
        timeout,
        tasks: TaskTracker::new(),
        shares: TestShares::of(app.files.to_tested),
    })
}

/// Shows the series of the answers that requests usually get.
fn show_calls_at_zero(metrics: &Metrics) {
    for (route, method, status) in api::usual_answers() {
        metrics
            .http_requests
            .with_label_values(&[route, method, &status.to_string()]);
    }
}

/// Settings of the API, and the observer that counts its requests.
fn api_state(app: &AppContext) -> anyhow::Result<ApiState> {
    let (http, webhooks) = (&app.config.http, &app.config.webhooks);
    let config = ApiConfig {
        max_per_site: webhooks.max_per_site,
        webhooks: WebhookRules {
            target: TargetRules {
                allow_http: webhooks.allow_http,
                addresses: deliver::address_rules(app),
            },
            retry_schedules: app.schedules.names().into_iter().collect(),
        },
        partitions: app.config.kafka.partitions,
        requests_per_second: NonZeroU32::new(http.requests_per_second).context("http.requests_per_second")?,
        burst: NonZeroU32::new(http.burst).context("http.burst")?,
        trusted_proxies: http.trusted_proxies.clone(),
        public_url: http.public_url.clone(),
    };
    show_calls_at_zero(&app.metrics);
    let metrics = Arc::clone(&app.metrics);
    let observer = move |answered: api::AnsweredRequest<'_>| {
        metrics
            .http_requests
            .with_label_values(&[answered.route, answered.method, &answered.status.to_string()])
            .inc();
        let class = if answered.is_read {
            RequestClass::Read
        } else {
            RequestClass::Write
        };
        metrics
            .http_request_duration
            .with_label_values(&[class.as_str()])
            .observe(answered.took.as_secs_f64());
        match answered.problem {
            Some(ProblemType::Unauthenticated) => metrics.auth_failures.inc(),
            Some(ProblemType::RateLimited) => metrics
                .rate_limited
                .with_label_values(&[RateLimit::Token.as_str()])
                .inc(),
            Some(ProblemType::TooManyFailedLogins) => metrics
                .rate_limited
                .with_label_values(&[RateLimit::Login.as_str()])
                .inc(),
            _ => {}
        }
    };
    let metrics = Arc::clone(&app.metrics);
    let state = ApiState::new(app.api_pool.clone(), Arc::clone(&app.keyring), config, observer);
    let state = state.sending_tests(test_sender(app)?);
    Ok(state.timed(move |op, took| {
        let seconds = took.as_secs_f64();
        metrics
            .postgres
            .with_label_values(&[op.as_str()])
            .observe(seconds);
    }))
}
