//! A webhook's URL.

use std::fmt;

use ipnet::IpNet;

/// Longest URL, in characters.
pub const MAX_URL_CHARS: usize = 500;

/// What an operator allows beyond HTTPS to public addresses.
#[derive(Debug, Clone, Default)]
pub struct TargetRules {
    pub allow_http: bool,
    pub allow_networks: Vec<IpNet>,
    pub deny_networks: Vec<IpNet>,
}

/// Why a text is not a URL that may be called. Never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("a URL has at most {MAX_URL_CHARS} characters")]
    TooLong,
    #[error("not an absolute URL with a host")]
    NotAUrl,
    #[error("must start with https://")]
    Scheme,
    #[error("must not hold a user name or password")]
    Credentials,
}

/// A URL that may be called. Its path is a credential at some receivers, so `Debug` shows the masked form only.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(url::Url);

impl TargetUrl {
    /// Reads a URL that a user gave.
    pub fn parse(text: &str, rules: &TargetRules) -> Result<Self, InvalidTarget> {
        if text.chars().count() > MAX_URL_CHARS {
            return Err(InvalidTarget::TooLong);
        }
        let url = url::Url::parse(text).map_err(|_| InvalidTarget::NotAUrl)?;
        if !(url.scheme() == "https" || rules.allow_http && url.scheme() == "http") {
            return Err(InvalidTarget::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidTarget::Credentials);
        }
        url.host_str().ok_or(InvalidTarget::NotAUrl)?;
        Ok(Self(url))
    }

    /// Reads a URL that was checked before it was stored.
    pub fn from_trusted(text: &str) -> Result<Self, InvalidTarget> {
        url::Url::parse(text).map(Self).map_err(|_| InvalidTarget::NotAUrl)
    }

    /// The URL itself. Never log it.
    pub fn reveal(&self) -> &url::Url {
        &self.0
    }

    /// Scheme, host and the last 4 characters: what logs, errors and lists may show.
    pub fn masked(&self) -> String {
        let text = self.0.as_str();
        let tail: String = text
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        format!(
            "{}://{}/…{tail}",
            self.0.scheme(),
            self.0.host_str().unwrap_or_default()
        )
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
