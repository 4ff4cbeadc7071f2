//! The API on a port of its own, over the test's database, and a client for it.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use bellwether::api::{self, AnsweredRequest, ApiConfig, ApiState, WebhookRules};
use bellwether::bounded_listener;
use bellwether::clock;
use bellwether::domain::target::TargetRules;
use bellwether::record::tokens::{self, NewToken, Role, Scope};
use reqwest::header::HeaderMap;
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api_contract::judge;
use crate::record_support::keyring;

/// Route, status and problem type of each request.
type Seen = Vec<(String, u16, Option<&'static str>)>;

pub(crate) struct Api {
    pub(crate) pool: PgPool,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) token: String,
    /// Every request that was answered.
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// Stops at the end of the test.
    _server: JoinSet<()>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) fn config() -> ApiConfig {
    ApiConfig {
        max_per_site: 10,
        webhooks: WebhookRules {
            target: TargetRules::default(),
            retry_schedules: ["default", "patient"].map(str::to_owned).into_iter().collect(),
        },
        partitions: 4,
        requests_per_second: NonZeroU32::new(1_000).expect("not zero"),
        burst: NonZeroU32::new(1_000).expect("not zero"),
        trusted_proxies: Vec::new(),
        public_url: None,
    }
}

impl Api {
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, config()).await
    }

    pub(crate) async fn start_with(pool: PgPool, config: ApiConfig) -> Self {
        // The process has one provider; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let observer = move |answered: AnsweredRequest<'_>| {
            let problem = answered.problem.map(|problem| problem.as_str());
            notes
                .lock()
                .expect("not poisoned")
                .push((answered.route.to_owned(), answered.status, problem));
        };
        let state = ApiState::new(pool.clone(), Arc::new(keyring(&[("a", 1)])), config, observer);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let service = bounded_listener::service(api::router(state));
        let mut server = JoinSet::new();
        let listener = api::answering(listener, 1_000, CancellationToken::new());
        server.spawn(async move { axum::serve(listener, service).await.expect("served") });
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let token = token(&pool, &Scope::Admin, Role::Editor).await;
        Self {
            pool,
            base,
            client,
            token,
            seen,
            _server: server,
        }
    }

    /// A client with another token.
    pub(crate) async fn as_token(&self, scope: &Scope, role: Role) -> Caller<'_> {
        Caller {
            api: self,
            token: token(&self.pool, scope, role).await,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        read(request).await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.base))
    }
}

pub(crate) struct Caller<'a> {
    api: &'a Api,
    pub(crate) token: String,
}

impl Caller<'_> {
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.api.request(method, path).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        read(request).await
    }
}

async fn token(pool: &PgPool, scope: &Scope, role: Role) -> String {
    let mut conn = pool.acquire().await.expect("connection");
    let new = NewToken {
        subject: "a test",
        scope,
        role,
        expires_at: None,
    };
    let (_, token) = tokens::create(&mut conn, new, clock::now())
        .await
        .expect("a token");
    token
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("a body");
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let answer = Answer {
        status,
        headers,
        body,
    };
    judge(method.as_str(), &path, &answer);
    answer
}

impl Answer {
    /// The pointers and codes of the bad fields.
    #[track_caller]
    pub(crate) fn errors(&self) -> Vec<(&str, &str)> {
        assert_eq!(self.status, 422, "{}", self.body);
        self.problem("invalid-fields");
        let errors = self.body["errors"].as_array().expect("errors");
        errors
            .iter()
            .map(|error| (text(&error["pointer"]), text(&error["code"])))
            .collect()
    }

    /// Checks that this is a problem document of this type.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) {
        assert_eq!(
            self.body["type"],
            format!("urn:bellwether:error:{name}"),
            "{} {}",
            self.status,
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], self.status);
        assert!(!text(&self.body["title"]).is_empty() && !text(&self.body["detail"]).is_empty());
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
