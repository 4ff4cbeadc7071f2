//! Requests to the API, and their answers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rustls::crypto::ring;
use serde_json::Value;
use url::Url;

use super::arguments::ApiArgs;
use super::body::CallBody;
use super::failure::{CallError, CallRefusal, cause_of};
use super::origin::FieldOrigins;
use crate::cli::exit::UsageError;
use crate::cli::output::note;
use crate::domain::secret::Hidden;
use crate::telemetry::connection::ConnectionCause;

/// Time within which there has to be a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time within which a whole answer has to be there.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time within which an answer has to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a test of a webhook, which answers when the endpoint has, within 30 s.
const TEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Longest answer read: a page of 250 deliveries with their payloads.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Most times that a call waits for its turn.
const MAX_WAITS: u32 = 10;
/// Longest time that a call waits for its turn at once.
const MAX_WAIT_SECONDS: u64 = 30;
/// Everything in a segment of a path that does not stand for itself (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A client of the API with a token.
#[derive(Debug, Clone)]
pub(in crate::cli) struct ApiClient {
    http: Client,
    base: Url,
    token: Hidden,
}

/// An answer of success. Its text is kept as it came, so that payloads stay as they were signed.
#[derive(Debug, Clone)]
pub(in crate::cli) struct ApiAnswer {
    pub(in crate::cli) text: String,
}

impl ApiClient {
    /// A client of the API that the arguments name.
    pub(in crate::cli) fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let token = args.token.clone().filter(|token| !token.reveal().is_empty());
        let token = token.ok_or_else(|| {
            UsageError(
                "there is no API token: set BELLWETHER_API_TOKEN, or give --token (`bellwether token create` makes one)"
                    .to_owned(),
            )
        })?;
        #[expect(
            clippy::disallowed_methods,
            reason = "asks the API that the user names, which may well be at a private address"
        )]
        let http = Client::builder()
            .tls_backend_preconfigured(tls_config()?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .context("setting up the HTTP client")?;
        Ok(Self {
            http,
            base: args.url.clone(),
            token,
        })
    }

    /// Reads what lies at `path`, whose segments are encoded here.
    pub(in crate::cli) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<ApiAnswer> {
        let answer = self.call(Method::GET, path, query, None).await;
        answer.map_err(|error| FieldOrigins::of_query(query).explain(error))
    }

    /// Changes what lies at `path`.
    pub(in crate::cli) async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: &CallBody,
    ) -> anyhow::Result<ApiAnswer> {
        let text = serde_json::to_string(&body.fields)?;
        let answer = self.call(method, path, &[], Some(text)).await;
        answer.map_err(|error| body.origins.explain(error))
    }

    /// Deletes what lies at `path`.
    pub(in crate::cli) async fn delete(&self, path: &[&str]) -> anyhow::Result<()> {
        self.call(Method::DELETE, path, &[], None).await?;
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
    ) -> anyhow::Result<ApiAnswer> {
        let url = self.url(path, query);
        for _ in 0..MAX_WAITS {
            let request = self.request(method.clone(), url.clone(), body.clone());
            let response = self.response(request, path).await?;
            let Some(seconds) = turn_after(&response) else {
                return self.answer(response).await;
            };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        let response = self.response(self.request(method, url, body), path).await?;
        self.answer(response).await
    }

    /// Sends a request, and waits until its answer begins.
    async fn response(&self, request: RequestBuilder, path: &[&str]) -> Result<Response, CallError> {
        let patience = match path.last() {
            Some(&"test") => TEST_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        };
        match tokio::time::timeout(patience, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.unreachable(&error)),
            Err(_) => Err(self.failed(ConnectionCause::NoAnswer)),
        }
    }

    fn request(&self, method: Method, url: Url, body: Option<String>) -> RequestBuilder {
        let request = self.http.request(method, url).bearer_auth(self.token.reveal());
        match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
            None => request,
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        let mut text = url.path().trim_end_matches('/').to_owned();
        text.push_str("/api");
        for segment in path {
            text.push('/');
            text.extend(utf8_percent_encode(segment, SEGMENT));
        }
        url.set_path(&text);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn answer(&self, mut response: Response) -> anyhow::Result<ApiAnswer> {
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            anyhow::ensure!(
                bytes.len() + chunk.len() <= MAX_ANSWER_BYTES,
                "the answer has more than {} MiB",
                MAX_ANSWER_BYTES >> 20
            );
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let is_json = text.is_empty() || serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        if status.is_success() && is_json {
            return Ok(ApiAnswer { text });
        }
        if let Ok(refusal) = serde_json::from_str::<CallRefusal>(&text) {
            return Err(CallError::Refused(refusal).into());
        }
        let (host, port) = self.place();
        Err(CallError::NotTheApi {
            host,
            port,
            status: status.as_u16(),
        }
        .into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        self.failed(cause_of(error))
    }

    fn failed(&self, cause: ConnectionCause) -> CallError {
        let (host, port) = self.place();
        CallError::Unreachable { host, port, cause }
    }

    fn place(&self) -> (String, u16) {
        let host = self.base.host_str().unwrap_or_default().to_owned();
        (host, self.base.port_or_known_default().unwrap_or_default())
    }
}

impl ApiAnswer {
    /// The answer as JSON.
    pub(in crate::cli) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).context("the answer is not JSON")
    }

    /// Writes the warnings of an answer on stderr.
    pub(in crate::cli) fn note_warnings(&self) -> anyhow::Result<()> {
        let answer = self.json()?;
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            if let Some(detail) = warning["detail"].as_str() {
                note(&format!("warning: {detail}"));
            }
        }
        Ok(())
    }
}

/// True if a call was refused because there is nothing of this name.
pub(super) fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(CallError::Refused(refusal)) if refusal.status == 404)
}

/// Seconds after which a call that was one too many may be made again.
fn turn_after(response: &Response) -> Option<u64> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.parse::<u64>().ok()?;
    (seconds <= MAX_WAIT_SECONDS).then_some(seconds.max(1))
}

/// TLS that trusts the issuers that the operating system trusts.
pub(in crate::cli) fn tls_config() -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
        .context("TLS cannot be set up (are the system's CA certificates installed?)")?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
