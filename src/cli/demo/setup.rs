//! Setting the service up as its owner would: a token, then sites, goals and webhooks over the API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use sqlx::PgPool;

use super::postgres::PrivatePostgres;
use super::receiver::Receiver;
use super::sites::{DemoSite, SITES};
use crate::cli::loopback::{self, Ask};
use crate::config::{Clock, Config, Source};
use crate::domain::secret::Secret;
use crate::kafka::embedded::EmbeddedKafka;
use crate::record::keyring;
use crate::record::tokens::{self, Role, Scope};
use crate::{chance, clock};

/// Of every topic. Few: the embedded broker looks through all batches of a partition at every fetch.
const PARTITIONS: i32 = 3;
/// How long the service may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// What was set up, as far as it is shown.
pub(super) struct SetUp {
    pub(super) token: String,
    pub(super) site_id: &'static str,
    /// A webhook of that site.
    pub(super) webhook: String,
}

/// The service's configuration.
pub(super) fn config(
    database: &PrivatePostgres,
    kafka: &EmbeddedKafka,
    api: SocketAddr,
    admin: SocketAddr,
) -> Config {
    let mut config = Config::default();
    config.kafka.brokers = kafka.bootstrap().to_owned();
    config.kafka.partitions = PARTITIONS;
    config.kafka.replication_factor = 1;
    // The embedded broker answers an empty fetch only when all of this has passed, even if records come meanwhile; and it walks
    // through all batches that it holds, so what is published together should be one.
    for (key, value) in [("fetch.wait.max.ms", "8"), ("linger.ms", "1")] {
        config.kafka.properties.insert(key.into(), value.into());
    }
    config.sources.0 = vec![Source {
        clock: Clock::Log,
        ..Source::default()
    }];
    config.postgres.url = database.url();
    config.postgres.migrate_on_start = true;
    config.http.listen = api;
    config.admin.listen = admin;
    if let Ok(key) = keyring::generate_key("demo", chance::bytes()) {
        config.encryption.keys = vec![key];
    }
    config.webhooks.allow_http = true;
    config.webhooks.allow_networks = vec![ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into()];
    config.telemetry.log = "warn".into();
    config
}

/// Waits until the service is ready and makes what the demo needs in it.
pub(super) async fn set_up(
    config: &Config,
    pool: &PgPool,
    receiver: &Receiver,
    receiver_address: SocketAddr,
) -> anyhow::Result<SetUp> {
    wait_until_ready(config.admin.listen).await?;
    let mut connection = pool.acquire().await?;
    let token = tokens::create(&mut connection, "demo", &Scope::Admin, Role::Editor, clock::now())
        .await
        .context("making a token")?;
    drop(connection);
    let api = Api {
        address: config.http.listen,
        token: &token,
    };
    let mut shown = String::new();
    for site in &SITES {
        let ids = api.make_site(site, receiver, receiver_address).await?;
        if site.id == SHOWN_SITE {
            shown = ids.into_iter().next().unwrap_or_default();
        }
    }
    Ok(SetUp {
        token,
        site_id: SHOWN_SITE,
        webhook: shown,
    })
}

/// The site whose only webhook takes spikes and more.
const SHOWN_SITE: &str = "docs.example";

/// Deliveries that are neither delivered nor given up.
pub(super) async fn open_deliveries(pool: &PgPool) -> anyhow::Result<i64> {
    // Not checked at compile time: it is the demo's question, not the service's.
    let open = sqlx::query_scalar("select count(*) from deliveries where status in ('pending', 'retrying')")
        .fetch_one(pool)
        .await?;
    Ok(open)
}

async fn wait_until_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let deadline = clock::monotonic() + READY;
    loop {
        let answer = loopback::ask(admin, Ask::get("/readyz")).await;
        match answer {
            Ok((200, _)) => return Ok(()),
            answer if clock::monotonic() > deadline => {
                let (_, body) = answer?;
                anyhow::bail!("the service is not ready: {body}");
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

struct Api<'a> {
    address: SocketAddr,
    token: &'a str,
}

impl Api<'_> {
    /// Returns the webhooks' ids.
    async fn make_site(
        &self,
        site: &DemoSite,
        receiver: &Receiver,
        receiver_address: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        let path = format!("/api/sites/{}", site.id);
        self.call("PUT", &path, &site.settings()).await?;
        if let Some(goal) = site.goal() {
            self.call("POST", &format!("{path}/goals"), &goal).await?;
        }
        let mut ids = Vec::new();
        for webhook in site.webhooks {
            let body = site.webhook(webhook, receiver_address);
            let made = self.call("POST", &format!("{path}/webhooks"), &body).await?;
            let text = |key: &str| {
                made[key]
                    .as_str()
                    .with_context(|| format!("the answer to a create has no {key}"))
            };
            receiver.expect(webhook.slug, Secret::parse(text("secret")?)?);
            ids.push(text("id")?.to_owned());
        }
        Ok(ids)
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = body.to_string();
        let ask = Ask {
            method,
            path,
            token: Some(self.token),
            body: Some(&body),
        };
        let (status, answer) = loopback::ask(self.address, ask).await?;
        ensure!(
            (200..300).contains(&status),
            "{method} {path} answered {status}: {answer}"
        );
        Ok(serde_json::from_str(&answer)?)
    }
}
