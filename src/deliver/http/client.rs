//! Sends one request within its deadline and reads the answer.
//!
//! No redirect is followed, no body is decoded, no cookie is kept, no proxy is used. Bounds: the
//! whole exchange has one deadline; heads are bounded (`head`); at most `MAX_RESPONSE_BYTES` of a
//! body are read, and the rest is dropped with its connection; connections are bounded and waited
//! for (`pool`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::classify::Failure;
use super::dial::Dialer;
use super::exchange::{Answer, Exchange, verdict};
use super::http1::Broken;
use super::phases::PhaseInstants;
use super::pool::{Origin, PlainConnection, Pool, ReadyConnection};
use super::resolver::{GuardedResolver, Lookup, dns_lookup};
use super::strike::Redactions;
use super::{http1, http2};
use crate::clock;
use crate::deliver::request::WebhookRequest;
use crate::domain::address::{AddressRules, Verdict};
use crate::domain::attempt::AttemptResult;

/// Servers whose TLS sessions are remembered.
const TLS_SESSIONS: usize = 1_024;
/// Most times that one attempt sends a request which the endpoint did not process.
const MAX_SENDS: usize = 6;
/// Sends after which only a new connection will do.
const SENDS_ON_SHARED: usize = 2;

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
    /// Accepts `http` URLs that were stored while they were allowed.
    pub(crate) allow_http: bool,
    /// Connections under way and idle together.
    pub(crate) max_connections: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            rules: AddressRules::default(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            extra_roots_pem: None,
            lookup: dns_lookup(),
            allow_http: false,
            max_connections: 768,
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
}

/// Sends webhook requests. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct WebhookClient {
    dialer: Arc<Dialer>,
    rules: Arc<AddressRules>,
    allow_http: bool,
    timeout: Duration,
}

impl WebhookClient {
    /// Makes a client. Reads the operating system's CA certificates and its settings of the DNS.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let rules = Arc::new(options.rules);
        let pool = Arc::new(Pool::new(options.max_connections));
        let dialer = Dialer {
            resolver: GuardedResolver::new(options.lookup, Arc::clone(&rules), pool.spare_handles()),
            tls: Arc::new(tls_config(options.extra_roots_pem.as_deref())?),
            connect_timeout: options.connect_timeout,
            pool,
        };
        Ok(Self {
            dialer: Arc::new(dialer),
            rules,
            allow_http: options.allow_http,
            timeout: options.timeout,
        })
    }

    /// Returns the deadline of an exchange, counted from its start.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes one attempt. It always ends, at the deadline at the latest; failures are results.
    pub(crate) async fn exchange(&self, request: &WebhookRequest) -> Exchange {
        let mut instants = PhaseInstants::default();
        let started_at_ms = clock::now_ms();
        let began = clock::monotonic();
        let mut answer = Answer::default();
        let sending = self.send(request, &mut instants, &mut answer);
        let in_time = tokio::time::timeout(self.timeout, sending).await.is_ok();
        let ended = clock::monotonic();
        if !in_time {
            answer.failure = Some(Failure::timeout(instants.stage));
        }
        let at_ms = |at: Instant| started_at_ms + elapsed_ms(began, at);
        let phases = instants.phases(began, answer.head_at, ended);
        let keep = may_keep(&self.rules, answer.remote);
        let response = (answer.status.is_some() && keep).then(|| answer.stored_body(|| redactions(request)));
        let (result, error) = verdict(answer.status, answer.failure);
        Exchange {
            started_at_ms,
            headers_at_ms: answer.head_at.map(at_ms),
            ended_at_ms: at_ms(ended),
            result,
            status: answer.status,
            response,
            error,
            phases,
            remote: answer.remote,
            retry_after: answer.retry_after,
        }
    }

    /// Sends the request, again if the endpoint did not process it, and reads the response into
    /// `answer`, bit by bit, since the deadline may fall anywhere.
    async fn send(&self, request: &WebhookRequest, instants: &mut PhaseInstants, answer: &mut Answer) {
        let mut last = match self.refused_url(request) {
            Some(failure) => {
                answer.failure = Some(failure);
                return;
            }
            None => None,
        };
        for sends in 0..MAX_SENDS {
            match self.send_once(request, sends, instants, answer).await {
                Ok(()) => return,
                Err(Broken::Unprocessed(failure)) => last = Some(failure),
                Err(Broken::Failed(failure)) => {
                    answer.failure = Some(failure);
                    return;
                }
            }
        }
        answer.failure = last;
    }

    async fn send_once(
        &self,
        request: &WebhookRequest,
        sends: usize,
        instants: &mut PhaseInstants,
        answer: &mut Answer,
    ) -> Result<(), Broken> {
        let origin = origin_of(request).ok_or_else(unbuildable)?;
        let there = match sends < SENDS_ON_SHARED {
            true => self.dialer.pool.take(&origin),
            // One of HTTP/1.1 that was closed while it was idle has siblings of its age.
            false => None,
        };
        let connection = match there {
            Some(ReadyConnection::Plain(_)) if sends > 0 => None,
            there => there,
        };
        let connection = match connection {
            Some(connection) => {
                instants.reused();
                connection
            }
            None => self
                .connect(&origin, request, instants)
                .await
                .map_err(Broken::Failed)?,
        };
        match connection {
            ReadyConnection::Plain(mut connection) => {
                let bytes = http1::request_bytes(request).ok_or_else(unbuildable)?;
                answer.remote = Some(connection.remote);
                if http1::exchange(&mut connection, &bytes, instants, answer).await? {
                    self.dialer.pool.give_back(origin, connection);
                }
                Ok(())
            }
            ReadyConnection::Shared(lease) => {
                let made = http2::http_request(request).ok_or_else(unbuildable)?;
                answer.remote = Some(lease.connection.remote);
                http2::exchange(lease, (made, request.body.clone()), instants, answer).await
            }
        }
    }

    async fn connect(
        &self,
        origin: &Origin,
        request: &WebhookRequest,
        instants: &mut PhaseInstants,
    ) -> Result<ReadyConnection, Failure> {
        let dialed = self.dialer.dial(origin, &request.site_id, instants).await?;
        if dialed.speaks_http2 {
            let lease = http2::begin(&self.dialer.pool, origin.clone(), dialed).await?;
            return Ok(ReadyConnection::Shared(lease));
        }
        Ok(ReadyConnection::Plain(PlainConnection {
            stream: dialed.stream,
            remote: dialed.remote,
            is_reused: false,
            _handle: dialed.handle,
        }))
    }

    /// Judges what stands in the URL itself: the rules may have changed since it was accepted, and
    /// an address passes no resolver.
    fn refused_url(&self, request: &WebhookRequest) -> Option<Failure> {
        let url = request.url.reveal();
        if url.scheme() != "https" && !self.allow_http {
            return Some(Failure::new(
                AttemptResult::AddressRefused,
                "the endpoint's URL may not be called (http:// is not allowed)",
            ));
        }
        let ip: IpAddr = match url.host()? {
            url::Host::Ipv4(ip) => ip.into(),
            url::Host::Ipv6(ip) => ip.into(),
            url::Host::Domain(_) => return None,
        };
        match self.rules.check(ip) {
            Verdict::Refused(refusal) => Some(Failure::refused(refusal)),
            Verdict::Public | Verdict::AllowedPrivate => None,
        }
    }
}

fn origin_of(request: &WebhookRequest) -> Option<Origin> {
    let url = request.url.reveal();
    Some(Origin {
        is_secure: url.scheme() == "https",
        host: url.host_str()?.to_owned(),
        port: url.port_or_known_default()?,
    })
}

fn unbuildable() -> Broken {
    Broken::Failed(Failure::new(
        AttemptResult::Internal,
        "a header of the request could not be built",
    ))
}

/// True if the response of `remote` may be kept: it comes from a public address, not from an
/// allowed private network and not from an unknown place.
fn may_keep(rules: &AddressRules, remote: Option<SocketAddr>) -> bool {
    remote.is_some_and(|remote| rules.check(remote.ip()) == Verdict::Public)
}

/// Collects what must not be stored of an answer to this request.
fn redactions(request: &WebhookRequest) -> Redactions {
    let secrets = request.secrets.iter().map(|secret| secret.reveal());
    let values = request.own_headers().iter().map(|(_, value)| value.reveal());
    Redactions::new(request.url.reveal(), secrets.chain(values))
}

fn elapsed_ms(from: Instant, to: Instant) -> i64 {
    i64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(i64::MAX)
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
    config.resumption = rustls::client::Resumption::in_memory_sessions(TLS_SESSIONS);
    Ok(config)
}

#[cfg(test)]
mod tests;
