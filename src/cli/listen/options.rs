//! The arguments of `listen`.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use url::Url;

use crate::cli::calls::{ApiArgs, BodyArgs};
use crate::cli::exit::UsageError;
use crate::cli::values::{duration, secret, whole};
use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;

/// A local receiver that verifies and prints webhooks.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct ListenOptions {
    /// Secret to verify signatures with; may be given more than once
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    pub(super) secrets: Vec<Secret>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = address)]
    pub(super) host: IpAddr,
    /// Port to listen on; 0 takes a free one and names it on stderr
    #[arg(long, default_value_t = 9000, value_parser = whole(0..=u16::MAX))]
    pub(super) port: u16,
    /// Fail the first N attempts of every delivery (with --status, else 500) and accept later ones
    #[arg(long, value_name = "N", value_parser = whole(0_u32..))]
    pub(super) fail: Option<u32>,
    /// Fail the first N requests of all, and accept later ones
    #[arg(long, value_name = "N", value_parser = whole(0_u64..))]
    pub(super) fail_first: Option<u64>,
    /// Answer with this status: failed requests with --fail or --fail-first, every request without
    #[arg(long, value_name = "CODE", value_parser = whole(200..=599_u16))]
    pub(super) status: Option<u16>,
    /// Add this Retry-After header to answers that are not 2xx
    #[arg(long, value_name = "VALUE")]
    pub(super) retry_after: Option<HeaderValue>,
    /// Wait this long before every answer, as in 250ms or 40s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub(super) delay: Duration,
    /// Print one JSON object a line for scripts
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) temporary: TemporaryArgs,
    #[command(flatten)]
    pub(super) forward: ForwardArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// The webhook that is made for this receiver.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Webhooks of a running service")]
pub(in crate::cli) struct TemporaryArgs {
    /// Make a webhook of this site over the API, and remove it at the end
    #[arg(long, value_name = "SITE_ID")]
    pub(super) site: Option<SiteId>,
    /// Event types of that webhook, with commas between them
    #[arg(
        long,
        value_name = "TYPES",
        value_delimiter = ',',
        default_value = "goal_completion",
        requires = "site"
    )]
    pub(super) events: Vec<String>,
    /// URL at which the service reaches this receiver; by default the address it listens on
    #[arg(long, value_name = "URL", requires = "site")]
    pub(super) public_url: Option<String>,
    #[command(flatten)]
    pub(super) fields: BodyArgs,
}

/// The webhook whose deliveries are handed on.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct ForwardArgs {
    /// Listen on no port: post new deliveries of --webhook to this server, signed again
    #[arg(
        long,
        value_name = "URL",
        requires_all = ["site", "webhook"],
        conflicts_with_all = [
            "host", "port", "fail", "fail_first", "status", "retry_after", "delay", "events", "public_url",
        ],
        value_parser = plain_url
    )]
    pub(super) forward: Option<Url>,
    /// Webhook whose deliveries are forwarded
    #[arg(long, value_name = "WEBHOOK_ID", requires = "forward")]
    pub(super) webhook: Option<WebhookId>,
}

impl ListenOptions {
    /// Refuses arguments that would do nothing, as far as the parser cannot tell.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        let makes_webhook = self.temporary.site.is_some() && self.forward.forward.is_none();
        let refused = if self.temporary.fields.is_given() && !makes_webhook {
            "--body and --field are fields of the webhook that --site makes; with --forward, or without --site, there is none"
        } else if self.forward.forward.is_some() && self.secrets.len() > 1 {
            "--forward signs with one --secret"
        } else {
            return Ok(());
        };
        Err(UsageError(refused.to_owned()))
    }
}

/// Reads the URL of a server on this machine.
fn plain_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("allowed: an http URL, such as http://localhost:3000/hook".to_owned()),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "allowed: an IP address, such as 127.0.0.1, or 0.0.0.0 for every one".to_owned())
}
