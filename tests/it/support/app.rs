//! The service as its users run it: the binary, a process, configured by its environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::producer::FutureProducer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api_support::read;

use super::database::Database;
use super::receiver::Receiver;
use super::{eventually, free_port, http, kafka, send_signal, unique};

const BINARY: &str = env!("CARGO_BIN_EXE_bellwether");
/// What a deployment encrypts with.
pub(crate) const KEY: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A deployment: a database, topics, settings, and any number of processes.
pub(crate) struct Deployment {
    pub(crate) database: Database,
    pub(crate) prefix: String,
    pub(crate) source: String,
    pub(crate) token: String,
    pub(crate) producer: FutureProducer,
    /// The brokers themselves, whatever way to them the processes have.
    pub(crate) brokers: String,
    settings: BTreeMap<String, String>,
    /// Shell by which its processes are started, if not by themselves: words before the program.
    launcher: Option<String>,
    logs: tempfile::TempDir,
}

/// One process of a deployment.
pub(crate) struct Process {
    child: Child,
    pub(crate) api: String,
    pub(crate) admin: String,
    pub(crate) log: PathBuf,
}

impl Deployment {
    /// Migrated, with topics of 4 partitions and an admin token. `settings` are keys such as
    /// `webhooks.timeout`.
    pub(crate) async fn create(settings: &[(&str, &str)]) -> Self {
        Self::create_in(Database::create().await, settings).await
    }

    /// The same in an empty database.
    pub(crate) async fn create_in(database: Database, settings: &[(&str, &str)]) -> Self {
        Self::create_on(kafka::brokers(), database, settings).await
    }

    /// The same on a cluster of the test's own.
    pub(crate) async fn create_on(brokers: String, database: Database, settings: &[(&str, &str)]) -> Self {
        let prefix = unique("bw");
        let source = format!("{prefix}.source");
        let sources = format!("[{{topic=\"{source}\", clock=\"live\"}}]");
        let defaults = [
            ("kafka.brokers", brokers.as_str()),
            ("kafka.topic_prefix", &prefix),
            ("kafka.partitions", "4"),
            ("kafka.replication_factor", "1"),
            ("sources", &sources),
            ("postgres.url", &database.url),
            ("encryption.keys", KEY),
            ("webhooks.allow_http", "true"),
            ("webhooks.allow_networks", "[\"127.0.0.0/8\"]"),
            ("http.requests_per_second", "10000"),
            ("http.burst", "10000"),
            ("telemetry.log", "info,bellwether=debug"),
        ];
        let mut all = BTreeMap::from(defaults.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let given = |(key, value): &(&str, &str)| ((*key).to_owned(), value.replace("{source}", &source));
        all.extend(settings.iter().map(given));
        let logs = tempfile::tempdir().unwrap();
        let producer = kafka::producer(&brokers);
        let mut this = Self {
            database,
            prefix,
            source,
            token: String::new(),
            producer,
            brokers,
            settings: all,
            launcher: None,
            logs,
        };
        this.token = this.make_schema_topics_and_token();
        this
    }

    /// Returns the token. Kafka makes the topics while Postgres does the rest.
    fn make_schema_topics_and_token(&self) -> String {
        // A broker makes the topics of one after those of another, and a command waits 15 s for it.
        static TURN: Mutex<()> = Mutex::new(());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                self.succeed(&["topics", "create"]);
            });
            self.succeed(&["migrate"]);
            self.succeed(&["token", "create", "--admin"]).trim().to_owned()
        })
    }

    /// Runs a command that has to succeed, and returns what it printed.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes a setting for processes that start from now on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Limits the open files of processes that start from now on.
    pub(crate) fn set_open_files(&mut self, limit: u32) {
        self.set_launcher(&format!("ulimit -n {limit} && exec"));
    }

    /// Starts processes from now on by these words of the shell, which the program follows.
    pub(crate) fn set_launcher(&mut self, words: &str) {
        self.launcher = Some(words.to_owned());
    }

    /// Gives the topics another prefix; they are not made.
    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        self.prefix = prefix.to_owned();
        self.set("kafka.topic_prefix", prefix);
    }

    /// Reads another source, which is not made.
    pub(crate) fn set_source(&mut self, topic: &str) {
        self.source = topic.to_owned();
        self.set("sources", &format!("[{{topic=\"{topic}\", clock=\"live\"}}]"));
    }

    /// A command with this deployment's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.launcher {
            None => Command::new(BINARY),
            Some(words) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("{words} \"$0\" \"$@\""), BINARY]);
                shell
            }
        };
        // Only what is set here may count, not what the shell or the harness happens to hold.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BELLWETHER_")) {
            command.env_remove(name);
        }
        for (key, value) in &self.settings {
            command.env(
                format!("BELLWETHER_{}", key.replace('.', "__").to_uppercase()),
                value,
            );
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a process and waits until it is ready.
    pub(crate) async fn serve(&self, arguments: &[&str]) -> Process {
        let mut process = self.spawn(arguments);
        process.ready().await;
        process
    }

    /// Starts a process that is to end by itself, with an error, and returns what it said.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let mut process = self.spawn(arguments);
        let status = process.ended(Duration::from_secs(60)).await;
        assert_eq!(status.code(), Some(1), "{}", process.log_text());
        process.log_text()
    }

    /// Starts a process.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        let (api, admin) = (free_port(), free_port());
        let log = self.logs.path().join(unique("log"));
        let child = self
            .command(&[["serve"].as_slice(), arguments].concat())
            .env("BELLWETHER_HTTP__LISTEN", format!("127.0.0.1:{api}"))
            .env("BELLWETHER_HTTP__PUBLIC_URL", format!("http://127.0.0.1:{api}"))
            .env("BELLWETHER_ADMIN__LISTEN", format!("127.0.0.1:{admin}"))
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process {
            child,
            api: format!("http://127.0.0.1:{api}"),
            admin: format!("http://127.0.0.1:{admin}"),
            log,
        }
    }

    /// A request to the API of `process`, whose answer is one that the API's document describes.
    pub(crate) async fn call(
        &self,
        process: &Process,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let client = http();
        let mut request = client
            .request(method, format!("{}{path}", process.api))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = read(request).await;
        (StatusCode::from_u16(answer.status).unwrap(), answer.body)
    }

    /// Creates a webhook and returns the API's answer.
    pub(crate) async fn create_webhook(&self, process: &Process, site: &str, body: Value) -> Value {
        let (status, answer) = self
            .call(
                process,
                Method::POST,
                &format!("/api/sites/{site}/webhooks"),
                Some(body),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer
    }

    /// A webhook for every goal, and nothing else.
    pub(crate) async fn goal_webhook(&self, process: &Process, site: &str, url: &str) -> Value {
        self.create_webhook(
            process,
            site,
            json!({"name": "goals", "url": url, "events": ["goal_completion"]}),
        )
        .await
    }

    /// A receiver of every goal of a site, at `hook`, that the process knows of.
    pub(crate) async fn goal_receiver(&self, process: &Process, site: &str) -> Receiver {
        let receiver = Receiver::start().await;
        self.goal_webhook(process, site, &receiver.url("hook")).await;
        self.registry_is_read(process).await;
        receiver
    }

    /// Publishes an event to the source, keyed by its site as a good producer does.
    pub(crate) async fn publish(&self, event: Value) {
        self.publish_to(&self.source, event).await;
    }

    /// Publishes an event to one of several sources.
    pub(crate) async fn publish_to(&self, topic: &str, event: Value) {
        let site = event["site_id"].as_str().unwrap().to_owned();
        kafka::publish(&self.producer, topic, &site, event.to_string()).await;
    }

    /// Waits until a process has read what the API has just written: at most a second, usually some
    /// milliseconds.
    pub(crate) async fn registry_is_read(&self, process: &Process) {
        let written = std::time::Instant::now();
        eventually("the registry is read", Duration::from_secs(10), || async {
            // Before the question: its answer takes a while, and the age is as of within it.
            let since_written = written.elapsed().as_secs_f64();
            let age = process.metric("bellwether_config_age_seconds").await;
            (age < since_written).then_some(())
        })
        .await;
    }

    /// The name of one of this deployment's topics.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

impl Process {
    /// Waits until `/readyz` says yes.
    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self
            .readyz()
            .await
            .is_none_or(|(status, _)| status != StatusCode::OK)
        {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the process has ended: {ended:?}");
            assert!(Instant::now() < deadline, "not ready within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What `/readyz` answers; `None` while the listener is not there.
    pub(crate) async fn readyz(&self) -> Option<(StatusCode, Value)> {
        let response = http().get(format!("{}/readyz", self.admin)).send().await.ok()?;
        let status = response.status();
        Some((status, serde_json::from_str(&response.text().await.ok()?).ok()?))
    }

    /// The value of a metric's series, as its line begins: `bellwether_x{label="y"}`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let value = self.try_metric(series).await;
        value.unwrap_or_else(|| panic!("there is no series {series}"))
    }

    /// The same; `None` while the listener is not there or the series is not.
    pub(crate) async fn try_metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics().await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// What `/metrics` answers; `None` while the listener is not there.
    pub(crate) async fn metrics(&self) -> Option<String> {
        let response = http().get(format!("{}/metrics", self.admin)).send().await;
        response.ok()?.text().await.ok()
    }

    /// How many files it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; does not wait.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(&self.child, name);
    }

    /// Waits until the process has ended, and says how.
    pub(crate) async fn ended(&mut self, patience: Duration) -> std::process::ExitStatus {
        let child = Mutex::new(&mut self.child);
        eventually("the process ends", patience, || async {
            child.lock().unwrap().try_wait().unwrap()
        })
        .await
    }

    /// Waits until a counter or gauge is as it should be.
    pub(crate) async fn metric_is(&self, series: &str, value: f64) {
        let mut last = None;
        let deadline = Instant::now() + Duration::from_secs(60);
        while last != Some(value) {
            assert!(Instant::now() < deadline, "{series} is {last:?} and not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            last = self.try_metric(series).await;
        }
    }

    /// What it logged.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

#[expect(clippy::print_stderr, reason = "whoever reads a failed test wants the log")]
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let text = self.log_text();
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            eprintln!("--- the end of {} ---", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
