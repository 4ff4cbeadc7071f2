//! Setting the service up as its owner would: a token, then sites, goals and webhooks over the API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use sqlx::PgPool;

use super::postgres::PrivatePostgres;
use super::receiver::DemoReceiver;
use super::sites::{DemoSite, SITES, Thresholds};
use crate::cli::local_http;
use crate::config::{Config, Source};
use crate::domain::event::SourceClock;
use crate::domain::secret::Secret;
use crate::kafka::embedded::EmbeddedKafka;
use crate::record::portal_links::{self, NewLink};
use crate::record::tokens::{self, NewToken, Role, Scope};
use crate::record::{keyring, known};
use crate::{chance, clock};

/// Partitions of every topic. Few: the embedded broker looks through all batches of a partition at
/// every fetch.
const PARTITIONS: i32 = 3;
/// Time within which the service has to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The parts of the set-up that are shown.
pub(super) struct SetUp {
    pub(super) token: String,
    /// Text of a link that opens the pages of all sites.
    pub(super) link: String,
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
    // The embedded broker answers an empty fetch only when all of this has passed, even if records
    // come meanwhile; and it walks through all batches that it holds, so what is published together
    // should be one.
    for (key, value) in [("fetch.wait.max.ms", "8"), ("linger.ms", "1")] {
        config.kafka.properties.insert(key.into(), value.into());
    }
    config.sources.0 = vec![Source {
        clock: SourceClock::Log,
        ..Source::default()
    }];
    config.postgres.url = database.url();
    config.postgres.migrate_on_start = true;
    config.http.listen = api;
    config.http.public_url = Some(format!("http://{api}"));
    config.admin.listen = admin;
    if let Ok(key) = keyring::generate_key("demo", chance::bytes()) {
        config.encryption.keys = vec![key];
    }
    config.webhooks.allow_http = true;
    config.webhooks.allow_networks = vec![ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into()];
    config.telemetry.log = "warn".into();
    config
}

/// Reads the thresholds that the sites' webhooks have now, the lowest of each site.
pub(super) async fn thresholds(pool: &PgPool) -> anyhow::Result<Thresholds> {
    let ids = SITES.map(|site| site.id.to_owned());
    let mut connection = pool.acquire().await?;
    let known = known::sites(&mut connection, &ids).await?;
    Ok(SITES.map(|site| {
        let own = known.iter().find(|known| known.site_id == site.id);
        let webhooks = own.iter().flat_map(|known| &known.webhooks);
        let spikes = webhooks
            .filter(|webhook| webhook.enabled)
            .filter_map(|webhook| webhook.triggers.visitor_spike);
        spikes.map(|spike| spike.condition.threshold).min()
    }))
}

/// Waits until the service is ready and makes what the demo needs in it.
pub(super) async fn set_up(
    config: &Config,
    pool: &PgPool,
    receiver: &DemoReceiver,
    receiver_address: SocketAddr,
) -> anyhow::Result<SetUp> {
    let client = local_http::client()?;
    wait_until_ready(&client, config.admin.listen).await?;
    let mut connection = pool.acquire().await?;
    let new = NewToken {
        subject: "demo",
        scope: &Scope::Admin,
        role: Role::Editor,
        expires_at: None,
    };
    let (_, token) = tokens::create(&mut connection, new, clock::now())
        .await
        .context("making a token")?;
    let sites = SITES.map(|site| site.id.to_owned());
    let link = NewLink {
        parent: None,
        subject: "demo",
        sites: &sites,
        role: Role::Editor,
        // Until somebody looks at the terminal again.
        expires_at: clock::now() + TimeDelta::days(7),
    };
    let link = portal_links::create_link(&mut connection, link, clock::now())
        .await
        .context("making a link")?;
    drop(connection);
    let api = Api {
        client: &client,
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
        link,
        site_id: SHOWN_SITE,
        webhook: shown,
    })
}

/// The site whose only webhook takes spikes and more.
const SHOWN_SITE: &str = "docs.example";

/// Counts deliveries that are neither delivered nor given up.
pub(super) async fn open_deliveries(pool: &PgPool) -> anyhow::Result<i64> {
    // Not checked at compile time: it is the demo's question, not the service's.
    let open = sqlx::query_scalar("select count(*) from deliveries where status in ('pending', 'retrying')")
        .fetch_one(pool)
        .await?;
    Ok(open)
}

async fn wait_until_ready(client: &Client, admin: SocketAddr) -> anyhow::Result<()> {
    let deadline = clock::monotonic() + READY_TIMEOUT;
    loop {
        let answer = local_http::send(client.get(format!("http://{admin}/readyz"))).await;
        match answer {
            Ok((StatusCode::OK, _)) => return Ok(()),
            answer if clock::monotonic() > deadline => {
                let (_, body) = answer?;
                anyhow::bail!("the service is not ready: {body}");
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

struct Api<'a> {
    client: &'a Client,
    address: SocketAddr,
    token: &'a str,
}

impl Api<'_> {
    /// Makes a site with its goal and webhooks; returns the webhooks' ids.
    async fn make_site(
        &self,
        site: &DemoSite,
        receiver: &DemoReceiver,
        receiver_address: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        let path = format!("/api/sites/{}", site.id);
        self.call(Method::PUT, &path, &site.settings()).await?;
        if let Some(goal) = site.goal() {
            self.call(Method::POST, &format!("{path}/goals"), &goal).await?;
        }
        let mut ids = Vec::new();
        for webhook in site.webhooks {
            let body = site.webhook(webhook, receiver_address);
            let made = self
                .call(Method::POST, &format!("{path}/webhooks"), &body)
                .await?;
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

    async fn call(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self
            .client
            .request(method.clone(), format!("http://{}{path}", self.address))
            .bearer_auth(self.token)
            .header("content-type", "application/json")
            .body(body.to_string());
        let (status, answer) = local_http::send(request).await?;
        ensure!(status.is_success(), "{method} {path} answered {status}: {answer}");
        Ok(serde_json::from_str(&answer)?)
    }
}
