//! The configuration of the pages.

/// The part of the configuration that the pages follow.
#[derive(Debug, Clone, Default)]
pub struct UiConfig {
    /// URL at which users reach the pages.
    pub public_url: Option<String>,
    /// True if webhooks may have `http` URLs.
    pub allow_http: bool,
    /// Most webhooks of a site.
    pub max_per_site: u32,
    /// Addresses and networks that requests come from.
    pub outbound_addresses: Vec<String>,
    /// Names of the retry schedules that a webhook may choose.
    pub retry_schedules: Vec<String>,
}

impl UiConfig {
    /// True unless users reach the pages by plain `http`.
    pub(super) fn is_secure(&self) -> bool {
        !self.has_scheme("http://")
    }

    /// True if users reach the pages by `https`.
    pub(super) fn is_https(&self) -> bool {
        self.has_scheme("https://")
    }

    fn has_scheme(&self, scheme: &str) -> bool {
        let url = self.public_url.as_deref().unwrap_or_default();
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    }
}
