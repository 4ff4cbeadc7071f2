//! `[detect]`, `[deliver]`, `[shutdown]` and `[telemetry]`

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
    #[serde(deserialize_with = "duration::one")]
    pub(crate) stale_after: Duration,
    /// Time by which a silent site's clock stays behind the wall clock.
    #[serde(deserialize_with = "duration::one")]
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
        problems.check(
            (1..=64).contains(&self.threads),
            "detect.threads",
            self.threads,
            "allowed: 1 to 64",
        );
        problems.check(
            (1_000..=100_000_000).contains(&self.max_visitors_per_site),
            "detect.max_visitors_per_site",
            self.max_visitors_per_site,
            "allowed: 1000 to 100000000",
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
        problems.check(
            (1..=64).contains(&self.threads),
            "deliver.threads",
            self.threads,
            "allowed: 1 to 64",
        );
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// From SIGTERM until requests still under way are given up.
    #[serde(deserialize_with = "duration::one")]
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
        // The next owner may send again whatever we did not finish, so every request must be able
        // to.
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

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Levels of the log, in `tracing`'s filter syntax: `info`, `warn,bellwether::deliver=debug`.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".into(),
            log_format: LogFormat::Auto,
        }
    }
}

impl TelemetryConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for directive in self.log.split(',').map(str::trim) {
            problems.check(
                is_log_directive(directive),
                "telemetry.log",
                format!("\"{directive}\""),
                "allowed: a level (off, error, warn, info, debug, trace), or target=level with the name of a \
                 module, such as bellwether::deliver=debug, of one of these crates: bellwether, librdkafka, sqlx, \
                 reqwest, hyper, hyper_util, h2, rustls, axum, tower, tokio",
            );
        }
    }
}

/// Crates of which something may be logged.
const LOG_TARGETS: &[&str] = &[
    "bellwether",
    "librdkafka",
    "sqlx",
    "reqwest",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "axum",
    "tower",
    "tokio",
];

/// True for a level, and for a known target with a level. A filter takes every other word for the
/// name of a target, and is then silent on all others.
fn is_log_directive(directive: &str) -> bool {
    let is_level = |word: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.iter().any(|level| level.eq_ignore_ascii_case(word))
    };
    match directive.split_once('=') {
        None => is_level(directive),
        Some((target, level)) => {
            let name = target.split("::").next().unwrap_or_default();
            LOG_TARGETS.contains(&name) && is_level(level)
        }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    Auto,
    Human,
    Json,
}
