//! The arguments of `listen`.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;

use crate::domain::secret::{InvalidSecret, Secret};

/// A local receiver that verifies and prints webhooks.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct ListenOptions {
    /// Secret to verify signatures with; may be given more than once
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    pub(super) secrets: Vec<Secret>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(super) host: IpAddr,
    /// Port to listen on; 0 takes a free one and names it on stderr
    #[arg(long, default_value_t = 9000)]
    pub(super) port: u16,
    /// Fail the first N attempts of every delivery (with --status, else 500) and accept later ones
    #[arg(long, value_name = "N")]
    pub(super) fail: Option<u32>,
    /// Fail the first N requests of all, and accept later ones
    #[arg(long, value_name = "N")]
    pub(super) fail_first: Option<u64>,
    /// Answer with this status: failed requests with --fail or --fail-first, every request without
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(super) status: Option<u16>,
    /// Add this Retry-After header to answers that are not 2xx
    #[arg(long, value_name = "VALUE")]
    pub(super) retry_after: Option<HeaderValue>,
    /// Wait this long before every answer, as in 250ms or 40s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(super) delay: Duration,
    /// Print one JSON object a line for scripts
    #[arg(long)]
    pub(super) json: bool,
}

fn secret(text: &str) -> Result<Secret, InvalidSecret> {
    Secret::parse(text)
}
