//! A webhook receiver that remembers every request and answers as it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// How often [`Receiver::begin_era`] had been called.
    pub(crate) era: u32,
    pub(crate) at: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.header("x-webhook-attempt").parse().unwrap()
    }
}

/// How a path answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) delay: Duration,
    /// It is held back until this is cancelled.
    pub(crate) held: Option<CancellationToken>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            delay: Duration::ZERO,
            held: None,
            body: format!("answered {status}"),
        }
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Holds the answer back until `end` is cancelled.
    pub(crate) fn held_until(mut self, end: &CancellationToken) -> Self {
        self.held = Some(end.clone());
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Rule = Arc<dyn Fn(u32) -> Answer + Send + Sync>;

#[derive(Clone, Default)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    era: Arc<AtomicU32>,
    rules: Arc<Mutex<HashMap<String, Rule>>>,
}

/// Listens on 127.0.0.1 until it is dropped.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    shared: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let shared = Shared::default();
        let app = Router::new()
            .route("/{*path}", axum::routing::any(receive))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, shared, task }
    }

    /// The URL of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// From now on `path` answers by the request's attempt number. Unless told, it answers 200.
    pub(crate) fn answer(&self, path: &str, rule: impl Fn(u32) -> Answer + Send + Sync + 'static) {
        self.shared
            .rules
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::new(rule));
    }

    /// What comes from now on is told apart from what came before.
    pub(crate) fn begin_era(&self) {
        self.shared.era.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything received at all paths.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Everything a path has received.
    pub(crate) fn received(&self, path: &str) -> Vec<Received> {
        self.shared
            .received
            .lock()
            .unwrap()
            .iter()
            .filter(|one| one.path == path)
            .cloned()
            .collect()
    }

    /// Waits until a path has received `count` requests, and returns all it has.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        super::eventually(
            &format!(
                "{count} requests at /{path}, there are {}",
                self.received(path).len()
            ),
            Duration::from_secs(30),
            || async {
                let received = self.received(path);
                (received.len() >= count).then_some(received)
            },
        )
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    let received = Received {
        path: path.clone(),
        era: shared.era.load(Ordering::SeqCst),
        at: Instant::now(),
        headers,
        body,
    };
    let attempt = received
        .headers
        .get("x-webhook-attempt")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    shared.received.lock().unwrap().push(received);
    let rule = shared.rules.lock().unwrap().get(&path).cloned();
    let answer = rule.map_or_else(|| Answer::status(200), |rule| rule(attempt));
    tokio::time::sleep(answer.delay).await;
    if let Some(held) = answer.held {
        held.cancelled().await;
    }
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
