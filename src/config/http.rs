//! `[http]` and `[admin]`

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;

use super::problems::Problems;

/// `[http]`: the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    pub(crate) listen: SocketAddr,
    /// Requests a second each token may make, on average.
    pub(crate) requests_per_second: u32,
    /// Requests a token may make at once.
    pub(crate) burst: u32,
    /// URL at which users reach this service: the base of links, and the origin of forms.
    pub(crate) public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            requests_per_second: 20,
            burst: 100,
            public_url: None,
            trusted_proxies: Vec::new(),
        }
    }
}

impl HttpConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        problems.check_range(
            "http.requests_per_second",
            self.requests_per_second,
            self.requests_per_second,
        );
        problems.check_range("http.burst", self.burst, self.burst);
        if let Some(text) = &self.public_url {
            let ok = url::Url::parse(text)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            problems.check(
                ok,
                "http.public_url",
                format!("\"{text}\""),
                "allowed: an http or https URL",
            );
        }
    }
}

/// `[admin]`: metrics and health.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    pub(crate) listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
        }
    }
}

/// Refuses one port for the API and the admin listener.
pub(super) fn validate_together(http: &HttpConfig, admin: &AdminConfig, problems: &mut Problems) {
    let (api, admin) = (http.listen, admin.listen);
    let is_one_address = api.ip() == admin.ip() || api.ip().is_unspecified() || admin.ip().is_unspecified();
    problems.check(
        api.port() == 0 || api.port() != admin.port() || !is_one_address,
        "http.listen and admin.listen",
        format!("{api} and {admin}"),
        "allowed: different ports",
    );
}
