//! The pages on a port of their own, over the test's database, and a browser without a screen.

use std::net::SocketAddr;
use std::sync::Arc;

use bellwether::api::{self, ApiState};
use bellwether::clock;
use bellwether::domain::id::WebhookId;
use bellwether::record::portal_links::{self, NewLink};
use bellwether::record::tokens::{self, NewToken, Role, Scope};
use bellwether::ui::{self, UiConfig, UiState};
use chrono::TimeDelta;
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api_support::config;
use crate::record_support::keyring;

pub(crate) struct Pages {
    pub(crate) pool: PgPool,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    _server: JoinSet<()>,
}

/// A visitor with a session.
pub(crate) struct Visitor<'a> {
    pages: &'a Pages,
    pub(crate) cookie: String,
}

pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Pages {
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, |_| {}).await
    }

    pub(crate) async fn start_with(pool: PgPool, change: impl FnOnce(&mut UiConfig)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let keyring = Arc::new(keyring(&[("a", 1)]));
        let state = ApiState::new(pool.clone(), Arc::clone(&keyring), config(), |_| {});
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let mut pages = UiConfig {
            public_url: Some(base.clone()),
            allow_http: false,
            max_per_site: 10,
            outbound_addresses: Vec::new(),
            retry_schedules: vec!["default".to_owned(), "patient".to_owned()],
        };
        change(&mut pages);
        let shared = (pool.clone(), state.shares());
        let state = UiState::new(api::router(state), shared, keyring, pages);
        let service = ui::router(state).into_make_service_with_connect_info::<SocketAddr>();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, service).await.expect("served") });
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            pool,
            base,
            client,
            _server: server,
        }
    }

    pub(crate) async fn token(&self, scope: &Scope, role: Role) -> (String, String) {
        let mut conn = self.pool.acquire().await.expect("connection");
        let new = NewToken {
            subject: "a test",
            scope,
            role,
            expires_at: None,
        };
        let (id, token) = tokens::create(&mut conn, new, clock::now())
            .await
            .expect("a token");
        (id.to_string(), token)
    }

    /// Somebody who arrived by a link to these sites.
    pub(crate) async fn visitor(&self, sites: &[&str], role: Role) -> Visitor<'_> {
        let link = self.link(sites, role, TimeDelta::minutes(5)).await;
        let opened = self.enter(&format!("/p/{link}"), &[]).await;
        assert_eq!(opened.status, 303, "{}", opened.text);
        Visitor {
            pages: self,
            cookie: opened.cookie(),
        }
    }

    pub(crate) async fn link(&self, sites: &[&str], role: Role, life: TimeDelta) -> String {
        let mut conn = self.pool.acquire().await.expect("connection");
        let sites: Vec<String> = sites.iter().map(|site| (*site).to_owned()).collect();
        let new = NewLink {
            parent: None,
            subject: "a test",
            sites: &sites,
            role,
            expires_at: clock::now() + life,
        };
        portal_links::create_link(&mut conn, new, clock::now())
            .await
            .expect("a link")
    }

    /// A call of the API with an admin's token.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Value) -> Value {
        let (_, token) = self.token(&Scope::Admin, Role::Editor).await;
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_string());
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a text");
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Adds a webhook to a site by the API; returns its id as the API writes it, and as its rows do.
    pub(crate) async fn add_webhook(&self, site: &str, body: Value) -> (String, Uuid) {
        let path = format!("/api/sites/{site}/webhooks");
        let made = self.api("POST", &path, body).await;
        let id = made["id"].as_str().expect("an id").to_owned();
        let uuid = id.parse::<WebhookId>().expect("an id").uuid();
        (id, uuid)
    }

    pub(crate) async fn get(&self, cookie: Option<&str>, path: &str) -> Shown {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        Shown::read(request).await
    }

    pub(crate) async fn post(&self, cookie: Option<&str>, path: &str, form: &[(&str, &str)]) -> Shown {
        Shown::read(self.form(cookie, path, form).header("origin", &self.base)).await
    }

    /// Sends a form that needs no session, as a browser does that was shown it.
    pub(crate) async fn enter(&self, path: &str, form: &[(&str, &str)]) -> Shown {
        let shown = self.get(None, "/sign-in").await;
        let token = shown.value_of("token");
        let form = [&[("token", token.as_str())], form].concat();
        self.post(Some(&shown.cookie()), path, &form).await
    }

    /// A form without the header that names its origin.
    pub(crate) fn form(
        &self,
        cookie: Option<&str>,
        path: &str,
        form: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        request
    }
}

impl Visitor<'_> {
    pub(crate) async fn get(&self, path: &str) -> Shown {
        self.pages.get(Some(&self.cookie), path).await
    }

    /// Opens `page`, fills its form and sends it to `action`.
    pub(crate) async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Shown {
        let hidden = self.get(page).await.hidden();
        self.send(action, &hidden, fields).await
    }

    /// Sends a form with these hidden fields.
    pub(crate) async fn send(
        &self,
        action: &str,
        hidden: &(String, String),
        fields: &[(&str, &str)],
    ) -> Shown {
        let mut form = vec![("token", hidden.0.as_str()), ("once", hidden.1.as_str())];
        form.extend_from_slice(fields);
        self.pages.post(Some(&self.cookie), action, &form).await
    }
}

impl Shown {
    pub(crate) async fn read(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a text"),
        }
    }

    #[track_caller]
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.headers[SET_COOKIE].to_str().expect("a text");
        cookie.split(';').next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().expect("a text")
    }

    /// The form token and the number of the showing.
    #[track_caller]
    pub(crate) fn hidden(&self) -> (String, String) {
        (self.value_of("token"), self.value_of("once"))
    }

    /// The value of a hidden field.
    #[track_caller]
    pub(crate) fn value_of(&self, name: &str) -> String {
        let (_, rest) = self
            .text
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap_or_else(|| panic!("no {name} in {} {}", self.status, self.text));
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn has(&self, text: &str) {
        assert!(
            self.text.contains(text),
            "no `{text}` in {} {}",
            self.status,
            self.text
        );
    }

    #[track_caller]
    pub(crate) fn lacks(&self, text: &str) {
        assert!(
            !self.text.contains(text),
            "`{text}` in {} {}",
            self.status,
            self.text
        );
    }
}
