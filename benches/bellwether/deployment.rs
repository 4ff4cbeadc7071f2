//! The service as its users run it: a database, topics, the binary as a process, webhooks made by
//! the API.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether::domain::id::WebhookId;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::options::Options;
use super::receiver::Receiver;
use super::{events, kafka, machine};

const BINARY: &str = env!("CARGO_BIN_EXE_bellwether");
/// Encrypts invented data, so it need not be secret.
const KEY: &str = "bench:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Time after which a run is given up.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A deployment with nothing in it but an admin token.
pub struct Deployment {
    pub source: String,
    pub pool: PgPool,
    prefix: String,
    token: String,
    settings: Vec<(&'static str, String)>,
    logs: tempfile::TempDir,
    http: reqwest::Client,
    postmaster: u32,
}

/// A process of a deployment; killed when it is dropped.
pub struct Process {
    child: Child,
    api: String,
    admin: String,
    log: PathBuf,
}

impl Process {
    /// The URL of its API.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Its memory in RAM, in bytes: its own, and with what it maps of files.
    pub fn memory(&self) -> (u64, u64) {
        machine::memory_of(self.child.id())
    }
}

impl Deployment {
    pub async fn create(options: &Options) -> anyhow::Result<Self> {
        let prefix = kafka::unique("bench");
        let source = format!("{prefix}.source");
        let (url, pool) = create_database(&prefix).await?;
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&pool)
            .await?;
        let postmaster = u32::try_from(backend).ok().and_then(machine::parent_of);
        let settings = vec![
            ("KAFKA__BROKERS", kafka::brokers()?),
            ("KAFKA__TOPIC_PREFIX", prefix.clone()),
            ("KAFKA__PARTITIONS", options.partitions.to_string()),
            ("KAFKA__REPLICATION_FACTOR", "1".to_owned()),
            ("SOURCES", format!("[{{topic=\"{source}\"}}]")),
            ("POSTGRES__URL", url),
            ("ENCRYPTION__KEYS", KEY.to_owned()),
            ("WEBHOOKS__ALLOW_HTTP", "true".to_owned()),
            ("WEBHOOKS__ALLOW_NETWORKS", "[\"127.0.0.0/8\"]".to_owned()),
            ("HTTP__REQUESTS_PER_SECOND", "10000".to_owned()),
            ("HTTP__BURST", "10000".to_owned()),
        ];
        // The crate has no default TLS provider; whoever needs one first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut this = Self {
            source,
            pool,
            prefix,
            token: String::new(),
            settings,
            logs: tempfile::tempdir()?,
            http: reqwest::Client::new(),
            postmaster: postmaster.context("which process Postgres is")?,
        };
        this.run(&["migrate"])?;
        this.run(&["topics", "create"])?;
        this.token = this.run(&["token", "create", "--admin"])?.trim().to_owned();
        Ok(this)
    }

    /// Changes a setting of the processes that are started from now on.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// Makes something by the API and returns the answer.
    pub async fn call(&self, process: &Process, path: &str, body: &Value) -> anyhow::Result<Value> {
        let response = self
            .http
            .post(format!("{}{path}", process.api))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await?;
        let (status, text) = (response.status(), response.text().await?);
        anyhow::ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The name of one of this deployment's topics.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BELLWETHER_")) {
            command.env_remove(name);
        }
        for (key, value) in &self.settings {
            command.env(format!("BELLWETHER_{key}"), value);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end and returns what it printed.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "bellwether {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the service with these roles.
    pub fn spawn(&self, roles: &str) -> anyhow::Result<Process> {
        let (api, admin) = (free_port()?, free_port()?);
        let log = self.logs.path().join(kafka::unique("log"));
        let child = self
            .command(&["serve", "--roles", roles])
            .env("BELLWETHER_HTTP__LISTEN", format!("127.0.0.1:{api}"))
            .env("BELLWETHER_ADMIN__LISTEN", format!("127.0.0.1:{admin}"))
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Process {
            child,
            api: format!("http://127.0.0.1:{api}"),
            admin: format!("http://127.0.0.1:{admin}"),
            log,
        })
    }

    /// Starts the service, the API among its roles, and waits until it is ready.
    pub async fn serve(&self, roles: &str) -> anyhow::Result<Process> {
        let process = self.spawn(roles)?;
        let ready = format!("{}/readyz", process.admin);
        // The API is the last role that opens.
        let api = format!("{}/api/sites", process.api);
        eventually(&process, async || {
            let response = self.http.get(&ready).send().await.ok()?;
            self.http.get(&api).send().await.ok()?;
            response.status().is_success().then_some(())
        })
        .await?;
        Ok(process)
    }

    /// Makes a webhook for goals on each of the first sites, and waits until `process` knows them.
    pub async fn register(
        &self,
        process: &Process,
        receiver: &Receiver,
        webhooks: u32,
    ) -> anyhow::Result<Vec<WebhookId>> {
        let mut ids = Vec::new();
        for number in 0..webhooks {
            let id = self
                .webhook_for_goals(process, number.into(), &receiver.url(number))
                .await?;
            ids.push(id);
        }
        self.follows(process).await?;
        Ok(ids)
    }

    /// Makes a webhook for the goals of a site.
    pub async fn webhook_for_goals(
        &self,
        process: &Process,
        site: u64,
        url: &str,
    ) -> anyhow::Result<WebhookId> {
        let request = json!({
            "name": "bench", "url": url, "events": ["goal_completion"],
            // A limit of the rate would be measured instead of the speed.
            "rate_limit_per_second": null,
        });
        let path = format!("/api/sites/{}/webhooks", events::site_id(site));
        let answer = self.call(process, &path, &request).await?;
        Ok(answer["id"].as_str().context("a webhook's id")?.parse()?)
    }

    /// Waits until the process knows everything that is in Postgres now.
    pub async fn follows(&self, process: &Process) -> anyhow::Result<()> {
        let written = Instant::now();
        eventually(process, async || {
            // Before the question: its answer takes a while, and the age is as of within it.
            let since_written = written.elapsed().as_secs_f64();
            let age = self.metric(process, "bellwether_config_age_seconds").await.ok()?;
            (age < since_written).then_some(())
        })
        .await
    }

    /// The value of a metric's series, which is given as its line begins.
    pub async fn metric(&self, process: &Process, series: &str) -> anyhow::Result<f64> {
        let response = self.http.get(format!("{}/metrics", process.admin)).send().await?;
        let text = response.text().await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .with_context(|| format!("there is no series {series}"))?;
        Ok(value.parse()?)
    }

    /// Waits until so many requests have come and so many deliveries are in Postgres as delivered.
    pub async fn all_recorded(
        &self,
        process: &Process,
        receiver: &Receiver,
        requests: u64,
        deliveries: u64,
    ) -> anyhow::Result<()> {
        // The receiver is asked first, because it costs nothing; the metrics are a page of text.
        eventually(process, async || (receiver.received() >= requests).then_some(())).await?;
        let series = r#"bellwether_deliveries_total{event="goal_completion",status="delivered"}"#;
        eventually(process, async || {
            let delivered = self.metric(process, series).await.ok()?;
            (delivered >= deliveries as f64).then_some(())
        })
        .await
    }

    /// Checks that Postgres holds each delivery once, as delivered. Then removes everything.
    pub async fn finish(self, process: Process, deliveries: u64) -> anyhow::Result<()> {
        let (rows, delivered): (i64, i64) =
            sqlx::query_as("select count(*), count(*) filter (where status = 'delivered') from deliveries")
                .fetch_one(&self.pool)
                .await?;
        anyhow::ensure!(
            u64::try_from(rows) == Ok(deliveries) && rows == delivered,
            "{deliveries} deliveries were made, {rows} are recorded, {delivered} as delivered"
        );
        self.remove(process).await
    }

    /// Answer of a GET of the API: status and body.
    pub async fn get(&self, process: &Process, path: &str) -> anyhow::Result<(u16, String)> {
        let request = self
            .http
            .get(format!("{}{path}", process.api))
            .bearer_auth(&self.token);
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Removes everything, so that the next run has the machine for itself.
    pub async fn remove(self, process: Process) -> anyhow::Result<()> {
        drop(process);
        kafka::delete_topics(&self.prefix).await?;
        self.pool.close().await;
        // Postgres waits for the killed service's connections to end, and ends its own autovacuum
        // worker, which `with (force)` may not do for a role that is no superuser. The name
        // consists of letters and digits.
        let statement = format!("drop database {}", self.prefix);
        sqlx::raw_sql(&statement).execute(&server().await?).await?;
        Ok(())
    }

    /// Processor time of every process so far.
    pub fn costs(&self, process: &Process) -> Costs {
        Costs {
            service: machine::cpu_of(process.child.id()),
            kafka: machine::broker().map_or(Duration::ZERO, machine::cpu_of),
            postgres: machine::cpu_of_family(self.postmaster),
            receiver: machine::own_cpu(),
        }
    }
}

/// Processor time by process; the receiver's is that of the whole benchmark, its publisher
/// included.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub service: Duration,
    pub kafka: Duration,
    pub postgres: Duration,
    pub receiver: Duration,
}

impl Costs {
    /// Processor time of all processes together since `before`.
    pub fn all_since(self, before: Self) -> Duration {
        let sum = |one: Self| one.service + one.kafka + one.postgres + one.receiver;
        sum(self).saturating_sub(sum(before))
    }

    /// Microseconds for each of `count` since `before`.
    pub fn each_since(self, before: Self, count: u64) -> CostsEach {
        let each =
            |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() * 1e6 / count as f64;
        CostsEach {
            service: each(self.service, before.service),
            kafka: each(self.kafka, before.kafka),
            postgres: each(self.postgres, before.postgres),
            receiver: each(self.receiver, before.receiver),
        }
    }
}

/// Microseconds of processor time for one delivery.
#[derive(Debug, Clone, Copy)]
pub struct CostsEach {
    pub service: f64,
    pub kafka: f64,
    pub postgres: f64,
    pub receiver: f64,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks repeatedly until there is an answer.
pub async fn eventually<T>(process: &Process, mut ask: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            let log = std::fs::read_to_string(&process.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            anyhow::bail!(
                "nothing came in {TIMEOUT:?}; the last log lines:\n{}",
                tail.join("\n")
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn server_url() -> anyhow::Result<String> {
    std::env::var("BELLWETHER_POSTGRES__URL")
        .context("BELLWETHER_POSTGRES__URL is not set: `make bench` starts Postgres and sets it")
}

async fn server() -> anyhow::Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(1);
    Ok(options.connect(&server_url()?).await?)
}

async fn create_database(name: &str) -> anyhow::Result<(String, PgPool)> {
    // The name consists of letters and digits.
    sqlx::raw_sql(&format!("create database {name}"))
        .execute(&server().await?)
        .await?;
    let mut url = url::Url::parse(&server_url()?)?;
    url.set_path(name);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(url.as_str())
        .await?;
    Ok((url.to_string(), pool))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
