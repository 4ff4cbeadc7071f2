//! A webhook's URL.

use std::fmt;

/// A URL that may be called. Its path is a credential at some receivers, so `Debug` shows the masked form only.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(url::Url);

impl TargetUrl {
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
