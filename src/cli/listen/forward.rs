//! `listen --forward`: new deliveries of a webhook, read from the API, signed again and posted to a
//! server on this machine.

use anyhow::Context as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::options::{ForwardArgs, ListenOptions};
use crate::app::{Lifecycle, SecondSignal};
use crate::cli::calls::{ApiClient, DeliveryFollower, LOOK_EVERY, SiteArgs};
use crate::cli::exit::ExitCode;
use crate::cli::output::{note, print_json, wants_colours, write};
use crate::cli::text::paint;
use crate::clock;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::request::{AttemptFacts, WebhookRequest};
use crate::domain::address::AddressRules;
use crate::domain::attempt::AttemptResult;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId, WebhookId};
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::target::TargetUrl;
use crate::domain::time::{from_ms, rfc3339};
use crate::domain::webhook::{Format, Webhook};

/// Forwards one webhook's deliveries.
struct Forwarder {
    http: WebhookClient,
    webhook: Webhook,
    json: bool,
    colours: bool,
}

/// A delivery in a list of the API.
#[derive(Deserialize)]
struct Forwarded {
    id: DeliveryId,
    notification_id: NotificationId,
    event_type: EventType,
    /// Null if it is kept no more.
    payload: Option<Box<RawValue>>,
}

/// One line for scripts. Keys are stable.
#[derive(Serialize)]
struct ForwardLine<'a> {
    forwarded_at_ms: i64,
    delivery_id: DeliveryId,
    notification_id: NotificationId,
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
    let format = read_format(&api, &site, webhook).await?;
    let forwarder = Forwarder {
        http: client()?,
        webhook: forwarded_webhook(&site.site, webhook, to, secret, format)?,
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

/// Reads the format of the webhook's requests.
async fn read_format(api: &ApiClient, site: &SiteArgs, webhook: WebhookId) -> anyhow::Result<Format> {
    let path = ["sites", site.site.as_str(), "webhooks", &webhook.to_string()];
    let answer = api.get(&path, &[]).await.context("reading the webhook")?.json()?;
    let format = answer["format"].as_str().context("the answer has no format")?;
    Ok(format.parse()?)
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
        let facts = AttemptFacts {
            delivery_id: delivery.id,
            notification_id: delivery.notification_id,
            event: delivery.event_type.as_str(),
            attempt: 1,
            now_ms: clock::now_ms(),
            body,
        };
        let now_ms = facts.now_ms;
        let exchange = self
            .http
            .exchange(&WebhookRequest::build(&self.webhook, &facts))
            .await;
        let latency_ms = exchange.ended_at_ms - exchange.started_at_ms;
        let (status, error) = match exchange.status {
            Some(status) => (Some(status), None),
            None => (None, Some(self.failure(exchange.result, exchange.error))),
        };
        if self.json {
            return Ok(serde_json::to_string(&ForwardLine {
                forwarded_at_ms: now_ms,
                delivery_id: delivery.id,
                notification_id: delivery.notification_id,
                event: delivery.event_type.as_str(),
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
            paint(self.colours, "1", delivery.event_type.as_str()),
            delivery.id,
            paint(self.colours, colour, &outcome),
        ))
    }

    fn failure(&self, result: AttemptResult, error: Option<String>) -> String {
        let to = self.webhook.url.reveal();
        match result {
            AttemptResult::Timeout => format!("no answer within {} s", self.http.timeout().as_secs()),
            AttemptResult::Connect => {
                let port = to.port_or_known_default().unwrap_or_default();
                format!("nothing listens on {}:{port}", to.host_str().unwrap_or_default())
            }
            _ => error.unwrap_or_else(|| "the answer broke off".to_owned()),
        }
    }
}

/// A client that goes to any address: the developer names it.
fn client() -> anyhow::Result<WebhookClient> {
    let any = ["0.0.0.0/0", "::/0"]
        .map(str::parse)
        .into_iter()
        .collect::<Result<_, _>>()?;
    let options = ClientOptions {
        rules: AddressRules {
            allow: any,
            deny: Vec::new(),
        },
        allow_http: true,
        ..ClientOptions::default()
    };
    WebhookClient::new(options).context("setting up the HTTP client")
}

/// The webhook as it stands, but with the developer's server for its endpoint.
fn forwarded_webhook(
    site: &SiteId,
    id: WebhookId,
    to: &Url,
    secret: Secret,
    format: Format,
) -> anyhow::Result<Webhook> {
    // Values of its own headers are masked in answers.
    let url = TargetUrl::from_trusted(to.as_str())?;
    Ok(Webhook::without_row(id, site.clone(), url, secret, format))
}
