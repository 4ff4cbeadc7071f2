//! HTTP requests to the service's own listeners on this machine, which the webhook client refuses
//! as it should.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, RequestBuilder, StatusCode};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Time within which a whole answer has to be there.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A client that goes straight to the address it is given.
pub(super) fn client() -> anyhow::Result<Client> {
    // Never used, and without it the client looks for a provider that nobody has installed.
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    #[expect(
        clippy::disallowed_methods,
        reason = "asks listeners of this machine and nobody else's"
    )]
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build();
    client.context("setting up the HTTP client")
}

/// Sends a request; returns the status and the body, without blanks around it.
pub(super) async fn send(request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
    let (client, request) = request.build_split();
    let request = request?;
    let url = request.url().clone();
    let exchange = async {
        let mut response = client.execute(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            let room = MAX_ANSWER_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok((response.status(), body))
    };
    let (status, body) = exchange.await.map_err(|error: reqwest::Error| {
        let place = format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        if error.is_timeout() {
            anyhow::anyhow!("no answer from {url} within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            anyhow::anyhow!("nothing listens on {place}")
        } else {
            anyhow::Error::from(error)
        }
    })?;
    Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
}
