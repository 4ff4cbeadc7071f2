//! `listen --forward`: new deliveries of a webhook, read from the API, signed again and posted to a
//! server on this machine.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::options::{ForwardArgs, ListenOptions};
use crate::app::{Lifecycle, SecondSignal};
use crate::cli::calls::{ApiClient, DeliveryFollower, LOOK_EVERY, SiteArgs};
use crate::cli::local_http;
use crate::cli::output::{note, print_json, wants_colours, write};
use crate::cli::text::{paint, printable};
use crate::clock;
use crate::deliver::{request, signature};
use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::time::{from_ms, rfc3339};

/// Time within which the server has to answer, as for an endpoint.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Forwards one webhook's deliveries.
struct Forwarder {
    http: Client,
    to: Url,
    secret: Secret,
    json: bool,
    colours: bool,
}

/// A delivery in a list of the API.
#[derive(Deserialize)]
struct Forwarded {
    id: String,
    notification_id: String,
    event_type: String,
    /// Null if it is kept no more.
    payload: Option<Box<RawValue>>,
}

/// One line for scripts. Keys are stable.
#[derive(Serialize)]
struct ForwardLine<'a> {
    forwarded_at_ms: i64,
    delivery_id: &'a str,
    notification_id: &'a str,
    event: &'a str,
    status: Option<u16>,
    error: Option<String>,
    latency_ms: i64,
}

/// Forwards new deliveries until a signal says to stop, or until nobody reads the output.
pub(super) async fn run(options: &ListenOptions, args: &ForwardArgs) -> anyhow::Result<ExitCode> {
    let (Some(to), Some(webhook), Some(site)) = (&args.forward, args.webhook, &options.temporary.site) else {
        anyhow::bail!("--forward needs --site and --webhook");
    };
    let site = SiteArgs { site: site.clone() };
    let api = ApiClient::new(&options.api)?;
    let secret = match options.secrets.first() {
        Some(secret) => secret.clone(),
        None => read_secret(&api, &site, webhook).await?,
    };
    let forwarder = Forwarder {
        http: local_http::client()?,
        to: to.clone(),
        secret,
        json: options.json,
        colours: wants_colours(),
    };
    let mut follower = DeliveryFollower::new(api, &site, webhook, Vec::new());
    follower.begin(0).await?;
    note(&format!(
        "forwarding new deliveries of {webhook} to {to}; Ctrl-C ends it"
    ));
    let lifecycle = Lifecycle::default();
    let stop = lifecycle.stop.clone();
    tokio::select! {
        followed = forwarder.follow(follower) => followed?,
        watched = lifecycle.watch_signals(SecondSignal::IsIgnored) => watched?,
        () = stop.cancelled() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the secret that the webhook is signed with.
async fn read_secret(api: &ApiClient, site: &SiteArgs, webhook: WebhookId) -> anyhow::Result<Secret> {
    let path = [
        "sites",
        site.site.as_str(),
        "webhooks",
        &webhook.to_string(),
        "secret",
    ];
    let answer = api
        .get(&path, &[])
        .await
        .context("reading the webhook's secret (or give it with --secret)")?
        .json()?;
    let secret = answer["secret"].as_str().context("the answer has no secret")?;
    Ok(Secret::from_stored(secret.to_owned()))
}

impl Forwarder {
    async fn follow(&self, mut follower: DeliveryFollower) -> anyhow::Result<()> {
        loop {
            for row in follower.next().await? {
                let delivery: Forwarded = serde_json::from_str(row.get())?;
                match &delivery.payload {
                    Some(payload) => {
                        let body = Bytes::copy_from_slice(payload.get().as_bytes());
                        let line = self.forward(&delivery, body).await?;
                        if self.json {
                            print_json(&line)?;
                        } else {
                            write(format!("{line}\n").as_bytes())?;
                        }
                    }
                    None => note(&format!("{} has no payload any more", delivery.id)),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Posts one delivery, and returns a line about it.
    async fn forward(&self, delivery: &Forwarded, body: Bytes) -> anyhow::Result<String> {
        let now_ms = clock::now_ms();
        let mut post = self.http.post(self.to.clone()).timeout(TIMEOUT);
        for (name, value) in self.headers(delivery, &body, now_ms.div_euclid(1_000)) {
            post = post.header(name, value);
        }
        let sent = post.body(body).send().await;
        let latency_ms = clock::now_ms() - now_ms;
        let (status, error) = match sent {
            Ok(response) => (Some(response.status().as_u16()), None),
            Err(error) => (None, Some(failure(&error, &self.to))),
        };
        if self.json {
            return Ok(serde_json::to_string(&ForwardLine {
                forwarded_at_ms: now_ms,
                delivery_id: &delivery.id,
                notification_id: &delivery.notification_id,
                event: &delivery.event_type,
                status,
                error,
                latency_ms,
            })?);
        }
        let at = rfc3339(from_ms(now_ms));
        let colour = if status.is_some_and(|status| status < 300) {
            "32"
        } else {
            "31"
        };
        let outcome = match (status, error) {
            (Some(status), _) => status.to_string(),
            (None, error) => error.unwrap_or_default(),
        };
        Ok(format!(
            "{} {} {} -> {}, {latency_ms} ms",
            paint(self.colours, "2", &at),
            paint(self.colours, "1", &printable(&delivery.event_type)),
            printable(&delivery.id),
            paint(self.colours, colour, &outcome),
        ))
    }

    /// The headers of a first attempt that is made at `now`, in seconds since the Unix epoch.
    fn headers(&self, delivery: &Forwarded, body: &[u8], now: i64) -> [(&'static str, String); 8] {
        let id = &delivery.notification_id;
        [
            ("Content-Type", "application/json".to_owned()),
            (request::SIGNATURE, signature::plain(&self.secret, body)),
            (request::STANDARD_ID, id.clone()),
            (request::STANDARD_TIMESTAMP, now.to_string()),
            (
                request::STANDARD_SIGNATURE,
                signature::standard(&self.secret, id, now, body),
            ),
            (request::EVENT, delivery.event_type.clone()),
            (request::DELIVERY, delivery.id.clone()),
            (request::ATTEMPT, "1".to_owned()),
        ]
    }
}

fn failure(error: &reqwest::Error, to: &Url) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", TIMEOUT.as_secs())
    } else if error.is_connect() {
        let port = to.port_or_known_default().unwrap_or_default();
        format!("nothing listens on {}:{port}", to.host_str().unwrap_or_default())
    } else {
        "the answer broke off".to_owned()
    }
}
