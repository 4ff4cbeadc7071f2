//! Sends one request within its deadline and reads the answer.
//!
//! No redirect is followed, no body is decoded, no cookie is kept, no proxy is used. Bounds: the
//! whole exchange has one deadline; at most `MAX_RESPONSE_BYTES` of a body are read, and the rest
//! is dropped with its connection; a response's head is at most 100 headers and what hyper buffers
//! (some 400 KiB over HTTP/1.1, 16 KiB over HTTP/2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::classify::{Failure, classify, timeout_text};
use super::exchange::{Answer, Exchange, verdict};
use super::phases::{PhaseRecorder, RecordingLayer, RecordingSessions};
use super::resolver::{GuardedResolver, Lookup, system_lookup};
use crate::clock;
use crate::deliver::request::WebhookRequest;
use crate::domain::address::{AddressRules, Verdict};
use crate::domain::attempt::AttemptResult;

/// Most bytes of a response's body that are read and kept.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 * 1_024;
/// Longest `Retry-After` kept; an HTTP date has 29 characters.
const MAX_RETRY_AFTER_BYTES: usize = 64;

/// Settings of the client.
#[derive(Clone)]
pub(crate) struct ClientOptions {
    pub(crate) rules: AddressRules,
    /// Deadline of the whole exchange, the response's body included.
    pub(crate) timeout: Duration,
    /// Deadline of name, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Certificates in PEM that are trusted as issuers beside those of the operating system.
    pub(crate) extra_roots_pem: Option<Vec<u8>>,
    pub(crate) lookup: Lookup,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            rules: AddressRules::default(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            extra_roots_pem: None,
            lookup: system_lookup(),
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("rules", &self.rules)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// The error of options that make no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the extra certificates are not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("there is no certificate among the extra ones")]
    NoCertificate,
    #[error("TLS cannot be set up (are the system's CA certificates installed?)")]
    Tls(#[source] rustls::Error),
    #[error("the HTTP client cannot be set up")]
    Http(#[source] reqwest::Error),
}

/// Sends webhook requests. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct WebhookClient {
    http: reqwest::Client,
    rules: Arc<AddressRules>,
    timeout: Duration,
}

impl WebhookClient {
    /// Makes a client. Reads the operating system's CA certificates.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let rules = Arc::new(options.rules);
        let resolver = GuardedResolver {
            lookup: options.lookup,
            rules: Arc::clone(&rules),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one client that calls endpoints"
        )]
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(options.extra_roots_pem.as_deref())?)
            .dns_resolver(resolver)
            .connector_layer(RecordingLayer)
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // An attempt is one request: over HTTP/2 the library would send again by itself what a
            // server says that it has not looked at.
            .retry(reqwest::retry::never())
            // An address behind a proxy cannot be judged.
            .no_proxy()
            .referer(false)
            // As many as a host may have requests: with fewer, a burst would connect anew each
            // time. Many servers (Node) close idle connections after 5 s; a request that is written
            // into a closing one is lost, so our side closes first.
            .pool_max_idle_per_host(64)
            .pool_idle_timeout(Duration::from_secs(4))
            // A shared HTTP/2 connection that went dead is found in 15 s instead of by TCP.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            // We read 16 KiB of a body: there is no use in letting endpoints send ahead by
            // megabytes.
            .http2_initial_stream_window_size(64 * 1_024)
            .http2_initial_connection_window_size(1_024 * 1_024)
            .build()
            .map_err(|error| ClientError::Http(error.without_url()))?;
        Ok(Self {
            http,
            rules,
            timeout: options.timeout,
        })
    }

    /// Returns the deadline of an exchange, counted from its start.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes one attempt. It always ends, at the deadline at the latest; failures are results.
    pub(crate) async fn exchange(&self, request: &WebhookRequest) -> Exchange {
        let phases = PhaseRecorder::default();
        let started_at_ms = clock::now_ms();
        let began = clock::monotonic();
        let mut answer = Answer::default();
        let in_time = match self.refused_literal(request) {
            Some(failure) => {
                answer.failure = Some(failure);
                true
            }
            None => {
                let exchange = self.send(request, &phases, &mut answer);
                tokio::time::timeout(self.timeout, phases.clone().record(exchange))
                    .await
                    .is_ok()
            }
        };
        let ended = clock::monotonic();
        let instants = phases.instants();
        if !in_time {
            let text = timeout_text(&instants, answer.head_at.is_some());
            answer.failure = Some(Failure::new(AttemptResult::Timeout, text));
        }
        let at_ms = |at: Instant| started_at_ms + elapsed_ms(began, at);
        let phases = instants.phases(began, answer.head_at, ended);
        let (result, error) = verdict(answer.status, answer.failure);
        let keep = may_keep(&self.rules, answer.remote);
        Exchange {
            started_at_ms,
            headers_at_ms: answer.head_at.map(at_ms),
            ended_at_ms: at_ms(ended),
            result,
            status: answer.status,
            response: (answer.status.is_some() && keep).then_some(answer.body),
            error,
            phases,
            remote: answer.remote,
            retry_after: answer.retry_after,
            date: answer.date,
        }
    }

    /// Judges an address in the URL itself: it passes no resolver, and the rules may have changed
    /// since it was accepted.
    fn refused_literal(&self, request: &WebhookRequest) -> Option<Failure> {
        let ip: IpAddr = match request.url.reveal().host()? {
            url::Host::Ipv4(ip) => ip.into(),
            url::Host::Ipv6(ip) => ip.into(),
            url::Host::Domain(_) => return None,
        };
        match self.rules.check(ip) {
            Verdict::Refused(refusal) => Some(Failure::refused(refusal)),
            Verdict::Public | Verdict::AllowedPrivate => None,
        }
    }

    /// Sends the request and reads the response into `answer`, bit by bit, since the deadline may
    /// fall anywhere.
    async fn send(&self, request: &WebhookRequest, phases: &PhaseRecorder, answer: &mut Answer) {
        let Some(headers) = header_map(request) else {
            answer.failure = Some(Failure::new(
                AttemptResult::Internal,
                "a header of the request could not be built",
            ));
            return;
        };
        let sent = self
            .http
            .post(request.url.reveal().clone())
            .headers(headers)
            .body(request.body.clone())
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                answer.failure = Some(classify(&error.without_url(), &phases.instants(), false));
                return;
            }
        };
        answer.head_at = Some(clock::monotonic());
        answer.status = Some(response.status().as_u16());
        answer.remote = response.remote_addr();
        let time_header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            let text = value
                .to_str()
                .ok()
                .filter(|text| text.len() <= MAX_RETRY_AFTER_BYTES)?;
            Some(text.to_owned())
        };
        answer.retry_after = time_header(RETRY_AFTER);
        answer.date = time_header(DATE);
        while answer.body.len() < MAX_RESPONSE_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => keep(&mut answer.body, &chunk),
                Ok(None) => break,
                Err(error) => {
                    answer.failure = Some(classify(&error.without_url(), &phases.instants(), true));
                    break;
                }
            }
        }
    }
}

/// True if the response of `remote` may be kept: it comes from a public address, not from an
/// allowed private network and not from an unknown place.
fn may_keep(rules: &AddressRules, remote: Option<SocketAddr>) -> bool {
    remote.is_some_and(|remote| rules.check(remote.ip()) == Verdict::Public)
}

fn keep(body: &mut Vec<u8>, chunk: &Bytes) {
    let room = MAX_RESPONSE_BYTES - body.len();
    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

fn elapsed_ms(from: Instant, to: Instant) -> i64 {
    i64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(i64::MAX)
}

fn header_map(request: &WebhookRequest) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value.reveal()).ok()?;
        value.set_sensitive(true);
        map.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(map)
}

fn tls_config(extra_roots_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra_roots = match extra_roots_pem {
        None => vec![],
        Some(pem) => {
            let roots = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(ClientError::Pem)?;
            if roots.is_empty() {
                return Err(ClientError::NoCertificate);
            }
            roots
        }
    };
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))
            .map_err(ClientError::Tls)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::store(Arc::new(RecordingSessions::new()));
    Ok(config)
}

#[cfg(test)]
mod tests;
