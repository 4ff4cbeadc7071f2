//! The webhook of `listen --site`, which is there as long as the receiver is.

use std::net::SocketAddr;

use anyhow::Context as _;
use reqwest::Method;

use super::options::{ListenOptions, TemporaryArgs};
use crate::cli::calls::{ApiClient, CallBody};
use crate::cli::output::{complain, note};
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;

/// A webhook that was made for this receiver.
pub(super) struct TemporaryWebhook {
    api: ApiClient,
    site: SiteId,
    id: String,
    pub(super) secret: Secret,
}

impl TemporaryWebhook {
    /// Makes the webhook for a receiver at `address`, if the arguments ask for one.
    pub(super) async fn create(options: &ListenOptions, address: SocketAddr) -> anyhow::Result<Option<Self>> {
        let TemporaryArgs { site, .. } = &options.temporary;
        let (Some(site), None) = (site, &options.forward.forward) else {
            return Ok(None);
        };
        let api = ApiClient::new(&options.api)?;
        let body = fields(options, address)?;
        let path = ["sites", site.as_str(), "webhooks"];
        let made = api
            .send(Method::POST, &path, &body)
            .await
            .context("making a temporary webhook")?;
        let answer = made.json()?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let (id, secret) = (text("id"), text("secret"));
        note(&format!("made webhook {id} of {site}, whose secret is {secret}"));
        made.note_warnings()?;
        Ok(Some(Self {
            api,
            site: site.clone(),
            id,
            secret: Secret::from_stored(secret),
        }))
    }

    /// Removes the webhook, or says that it is left.
    pub(super) async fn remove(self) {
        let path = ["sites", self.site.as_str(), "webhooks", &self.id];
        match self.api.delete(&path).await {
            Ok(()) => note(&format!("removed webhook {}", self.id)),
            Err(error) => complain(&format!(
                "webhook {} of {} is left, delete it: {error:#}",
                self.id, self.site
            )),
        }
    }
}

fn fields(options: &ListenOptions, address: SocketAddr) -> anyhow::Result<CallBody> {
    let args = &options.temporary;
    let url = args
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}/"));
    let secret = options.secrets.first();
    args.fields.build([
        ("name", "--field name", Some("bellwether listen".into())),
        ("url", "--public-url", Some(url.into())),
        ("events", "--events", Some(args.events.clone().into())),
        ("secret", "--secret", secret.map(|secret| secret.reveal().into())),
    ])
}
