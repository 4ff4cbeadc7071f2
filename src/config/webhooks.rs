//! `[webhooks]`

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::duration;
use super::problems::Problems;

/// `[webhooks]`: what webhooks may be and how they are called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    pub(crate) max_per_site: u32,
    /// Requests under way at once, in one process.
    pub(crate) max_in_flight: u32,
    /// For a whole exchange, body included.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) timeout: Duration,
    /// To connect, TLS included.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) connect_timeout: Duration,
    /// Accepts `http` URLs, for development.
    pub(crate) allow_http: bool,
    /// Networks that may be called although they are not public.
    pub(crate) allow_networks: Vec<IpNet>,
    /// Networks that may never be called.
    pub(crate) deny_networks: Vec<IpNet>,
    /// Certificates (PEM) trusted besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Addresses and networks that requests come from, as owners are told for their firewalls.
    pub(crate) outbound_addresses: Vec<AddressOrNetwork>,
    /// Named lists of delays; `default` always exists.
    pub(crate) retry_schedules: BTreeMap<String, Vec<String>>,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            max_per_site: 10,
            max_in_flight: 512,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            allow_http: false,
            allow_networks: Vec::new(),
            deny_networks: Vec::new(),
            ca_file: None,
            outbound_addresses: Vec::new(),
            retry_schedules: default_schedules(),
        }
    }
}

fn default_schedules() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([(
        DEFAULT_SCHEDULE.to_owned(),
        ["1s", "2s", "4s"].map(str::to_owned).to_vec(),
    )])
}

/// An address or a network, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AddressOrNetwork(String);

impl TryFrom<String> for AddressOrNetwork {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_one = text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok();
        match is_one {
            true => Ok(Self(text)),
            false => Err("allowed: IP addresses such as \"192.0.2.7\", networks such as \"2001:db8::/48\""),
        }
    }
}

impl fmt::Display for AddressOrNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The schedule of webhooks that choose none.
pub(crate) const DEFAULT_SCHEDULE: &str = "default";

impl WebhooksConfig {
    /// A file that names schedules of its own keeps the default one unless it says otherwise.
    pub(super) fn add_default_schedule(&mut self) {
        for (name, delays) in default_schedules() {
            self.retry_schedules.entry(name).or_insert(delays);
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        problems.check_range("webhooks.max_per_site", self.max_per_site, self.max_per_site);
        problems.check_range("webhooks.max_in_flight", self.max_in_flight, self.max_in_flight);
        let second = Duration::from_secs(1);
        for (key, value) in [
            ("webhooks.timeout", self.timeout),
            ("webhooks.connect_timeout", self.connect_timeout),
        ] {
            problems.check(
                (second..=second * 120).contains(&value),
                key,
                humantime::format_duration(value),
                "allowed: 1s to 2m",
            );
        }
        for (name, delays) in &self.retry_schedules {
            let key = format!("webhooks.retry_schedules.{name}");
            // Others could be chosen by no webhook.
            problems.check(
                (1..=100).contains(&name.chars().count()),
                &key,
                format!("{name:?}"),
                "allowed: names of 1 to 100 characters",
            );
            problems.check(
                (1..=20).contains(&delays.len()),
                &key,
                format!("{delays:?}"),
                "allowed: 1 to 20 delays",
            );
            for delay in delays {
                match duration::parse(delay) {
                    Err(wrong) => problems.add(&key, format!("{delays:?}"), &wrong),
                    Ok(value) => {
                        problems.check(
                            (second..=second * 86_400).contains(&value),
                            &key,
                            format!("{delays:?}"),
                            "allowed: delays from 1s to 24h",
                        );
                    }
                }
            }
        }
    }
}
