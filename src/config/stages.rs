//! `[detect]`, `[deliver]` and `[shutdown]`

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::problems::Problems;
use super::webhooks::WebhooksConfig;

/// `[detect]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectConfig {
    /// Live sources: what is older is counted and logged, not sent.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) stale_after: Duration,
    /// Time by which a silent site's clock stays behind the wall clock.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) out_of_order: Duration,
    /// Group members in one process.
    pub(crate) threads: u32,
    /// Visitors held for one site; more are counted as evicted.
    pub(crate) max_visitors_per_site: u32,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self {
            stale_after: Duration::from_secs(900),
            out_of_order: Duration::from_secs(10),
            threads: 1,
            max_visitors_per_site: 2_000_000,
        }
    }
}

impl DetectConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        let second = Duration::from_secs(1);
        problems.check(
            (second..=second * 86_400).contains(&self.stale_after),
            "detect.stale_after",
            humantime::format_duration(self.stale_after),
            "allowed: 1s to 24h",
        );
        problems.check(
            self.out_of_order <= second * 3_600,
            "detect.out_of_order",
            humantime::format_duration(self.out_of_order),
            "allowed: 0s to 1h",
        );
        problems.check_range("detect.threads", self.threads, self.threads);
        problems.check_range(
            "detect.max_visitors_per_site",
            self.max_visitors_per_site,
            self.max_visitors_per_site,
        );
    }
}

/// `[deliver]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverConfig {
    /// Group members in one process.
    pub(crate) threads: u32,
}

impl Default for DeliverConfig {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

impl DeliverConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        problems.check_range("deliver.threads", self.threads, self.threads);
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// From SIGTERM until requests still under way are given up.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(40),
        }
    }
}

impl ShutdownConfig {
    pub(super) fn validate(&self, webhooks: &WebhooksConfig, problems: &mut Problems) {
        // The next owner may send a request again that did not end here.
        let least = webhooks.timeout + Duration::from_secs(10);
        problems.check(
            self.grace >= least,
            "shutdown.grace",
            humantime::format_duration(self.grace),
            &format!(
                "allowed: webhooks.timeout + 10s or more, here {}",
                humantime::format_duration(least)
            ),
        );
    }
}
