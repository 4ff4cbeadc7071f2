//! Commands as a user runs them: the binary, its exit code, what it says on stdout and what on stderr.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Deployment, KEY};
use crate::support::database::Database;
use crate::support::receiver::Receiver;
use crate::support::{eventually, free_port, kafka, unique};

const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with these variables and none that the machine happens to have.
fn bellwether(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BELLWETHER_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Exit code, stdout and stderr.
fn said(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    said(bellwether(arguments, variables).output().unwrap())
}

fn check_config(toml: &str) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellwether.toml");
    std::fs::write(&file, toml).unwrap();
    run(&["check-config", "--config", file.to_str().unwrap()], &[])
}

#[test]
fn keys_generate_prints_a_key_and_nothing_else() {
    let (code, out, err) = run(&["keys", "generate"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (id, key) = out.strip_suffix('\n').unwrap().split_once(':').unwrap();
    assert!(id.starts_with('k') && id.len() == 9, "{id}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(key).unwrap();
    assert_eq!(bytes.len(), 32);
    let (_, other, _) = run(&["keys", "generate", "--id", "mine"], &[]);
    assert!(other.starts_with("mine:") && !other.contains(key));
    // It is what the configuration takes.
    let (code, out, err) = check_config(&format!("[encryption]\nkeys = [\"{}\"]", other.trim()));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (code, out, err) = run(&["keys", "generate", "--id", "not an id"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("letters, digits"), "{err}");
}

#[test]
fn check_config_says_that_a_configuration_is_valid() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/bellwether.example.toml");
    let (code, out, err) = run(&["check-config", "--config", example], &[]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("the configuration is valid (1 sources, hash "),
        "{out}"
    );
    assert!(
        err.contains("no encryption key"),
        "the example has none, and `serve` needs one: {err}"
    );
    let (code, out, err) = run(&["check-config", "--config", "/not/there.toml"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("/not/there.toml cannot be read"), "{err}");
}

#[test]
fn check_config_refuses_what_serve_would_with_key_value_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (no_key, no_pem) = (text("keys", "mine:hunter2"), text("ca.pem", "no certificate"));
    let good = KEY.split_once(':').unwrap().1;
    for (toml, wanted) in [
        (
            "[kafka]\npartition = 3".to_owned(),
            vec!["kafka.partition", "`partitions`"],
        ),
        (
            "[kafka]\npartitions = 0".into(),
            vec!["kafka.partitions = 0", "1 to 10000"],
        ),
        (
            "[kafka]\npartitions = \"many\"".into(),
            vec!["kafka.partitions", "many", "i32"],
        ),
        (
            "[kafka.properties]\n\"sasl.pasword\" = \"hunter2\"".into(),
            vec!["kafka.properties.\"sasl.pasword\""],
        ),
        (
            "[encryption]\nkeys = [\"mine:hunter2\"]".into(),
            vec!["encryption.keys[0]", "base64 of 32 bytes"],
        ),
        (
            "[encryption]\nkeys = [\"mine:aHVudGVyMg==\"]".into(),
            vec!["encryption.keys[0]", "base64 of 32 bytes"],
        ),
        (
            format!("[encryption]\nkeys = [\"mine:{good}\", \"mine:{good}\"]"),
            vec!["encryption.keys[1] = \"mine:…\"", "twice"],
        ),
        (
            "[encryption]\nkey_files = [\"/not/there\"]".into(),
            vec![
                "encryption.key_files[0] = \"/not/there\"",
                "cannot be read",
                "readable",
            ],
        ),
        (
            format!("[encryption]\nkey_files = [\"{no_key}\"]"),
            vec!["encryption.key_files[0], line 1 of ", "base64 of 32 bytes"],
        ),
        (
            "[webhooks]\nca_file = \"/not/there.pem\"".into(),
            vec!["webhooks.ca_file = \"/not/there.pem\"", "cannot be read", "PEM"],
        ),
        (
            format!("[webhooks]\nca_file = \"{no_pem}\""),
            vec!["webhooks.ca_file = \"", "no certificate", "PEM"],
        ),
        (
            "[postgres]\nurl = \"postgres://u:hunter2@host:port/db\"".into(),
            vec![
                "postgres.url = \"…\"",
                "postgres://user:password@host:port/database",
            ],
        ),
        (
            "[webhooks.retry_schedules]\nodd = [\"1s500us\"]".into(),
            vec![
                "webhooks.retry_schedules.odd = [\"1s500us\"]",
                "whole milliseconds",
            ],
        ),
        (
            "[shutdown]\ngrace = \"30s\"".into(),
            vec!["shutdown.grace = 30s", "webhooks.timeout + 10s"],
        ),
    ] {
        let path = text("bellwether.toml", &toml);
        let (code, out, err) = run(&["check-config", "--config", &path], &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{toml}: {err}");
        for part in wanted {
            assert!(err.contains(part), "{toml}: {err} lacks {part}");
        }
        assert!(!err.contains("hunter2") && !err.contains(good), "{err}");
        // The same words from `serve`, before it has asked anybody anything.
        assert_eq!(run(&["serve", "--config", &path], &[]).2, err);
    }
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let (code, _, err) =
        check_config("colour = 1\n[http]\nlisten = \"nowhere\"\nburst = 0\n[[sources]]\nformat = \"xml\"");
    assert_eq!(code, 1);
    for wanted in [
        "colour: ",
        "http.listen: ",
        "http.burst = 0",
        "sources.0.format: ",
    ] {
        assert!(err.contains(wanted), "{err} lacks {wanted}");
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellwether.toml");
    std::fs::write(&file, "[webhooks]\nmax_per_site = 0\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = ("BELLWETHER_WEBHOOKS__MAX_PER_SITE", "1001");
    let flag = ["--set", "webhooks.max_per_site=1002"];
    for (arguments, variables, holds) in [
        (vec!["check-config", "--config", file], vec![], "= 0:"),
        (vec!["check-config"], vec![("BELLWETHER_CONFIG", file)], "= 0:"),
        (
            vec!["check-config", "--config", file],
            vec![environment],
            "= 1001:",
        ),
        (
            vec!["check-config", "--config", file, flag[0], flag[1]],
            vec![environment],
            "= 1002:",
        ),
    ] {
        let (code, _, err) = run(&arguments, &variables);
        assert_eq!(code, 1);
        assert!(err.contains(&format!("webhooks.max_per_site {holds}")), "{err}");
    }
    let good = [
        "check-config",
        "--config",
        file,
        "--set",
        "webhooks.max_per_site=7",
    ];
    assert_eq!(run(&good, &[environment]).0, 0);
    // What Kubernetes sets beside a Service of our name is nobody's setting; a misspelt one is.
    let links = [
        ("BELLWETHER_PORT", "tcp://10.0.0.1:8080"),
        ("BELLWETHER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("BELLWETHER_SERVICE_HOST", "10.0.0.1"),
        ("BELLWETHER_SERVICE_PORT_HTTP", "8080"),
    ];
    assert_eq!(run(&["check-config"], &links).0, 0);
    let (code, _, err) = run(&["check-config"], &[("BELLWETHER_KAFKA_BROKERS", "a:1")]);
    assert_eq!(code, 1);
    assert!(err.contains("kafka_brokers"), "{err}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_there_is() {
    for (arguments, wanted) in [
        (["serve", "--roles", "sender"].as_slice(), "detect, deliver, api"),
        (&["token", "create", "--role", "owner"], "viewer, editor"),
        (&["token", "create", "--admin", "--site", "a"], "--site"),
        (&["nonsense"], "unrecognized"),
        (&["replay", "x", "--speed=-1"], "0 or a positive number"),
    ] {
        let (code, out, err) = run(arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(wanted), "{err} lacks {wanted}");
    }
    let (code, out, _) = run(&["--version"], &[]);
    assert_eq!(
        (code, out),
        (0, format!("bellwether {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_log_is_for_people_on_a_terminal_and_json_elsewhere() {
    // It says that it starts, and then that it cannot: nobody listens there.
    let variables = [
        ("BELLWETHER_ENCRYPTION__KEYS", KEY),
        ("BELLWETHER_HTTP__LISTEN", "192.0.2.1:1"),
        ("BELLWETHER_ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let (code, _, err) = run(&["serve", "--roles", "api"], &variables);
    assert_eq!(code, 1);
    let line: Value = serde_json::from_str(err.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["msg"], &line["level"], &line["role"]),
        (&json!("starting"), &json!("info"), &json!("api"))
    );
    assert!(err.contains("bellwether: http.listen = 192.0.2.1:1"), "{err}");

    let Ok(output) = on_a_terminal(&["serve", "--roles", "api"], &variables) else {
        println!("skipped: script is not there (Debian: bsdutils)");
        return;
    };
    let (code, shown, _) = said(output);
    assert_eq!(code, 1, "{shown}");
    let line = shown.lines().find(|line| line.contains("starting")).unwrap();
    assert!(line.contains("INFO") && !line.starts_with('{'), "{line}");
}

/// What the binary shows on a terminal.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> std::io::Result<Output> {
    let binary = bellwether(arguments, variables);
    let mut script = Command::new("script");
    let line = format!("{} {}", env!("CARGO_BIN_EXE_bellwether"), arguments.join(" "));
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.output()
}

#[tokio::test]
async fn migrating_twice_is_the_same_as_once() {
    let database = Database::create().await;
    let variables = [("BELLWETHER_POSTGRES__URL", database.url.as_str())];
    let (code, out, _) = run(&["migrate"], &variables);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("the schema is current; ") && !out.contains(" 0 migrations"),
        "{out}"
    );
    let (code, out, _) = run(&["migrate"], &variables);
    assert_eq!(
        (code, out.as_str()),
        (0, "the schema is current; 0 migrations were applied\n")
    );
    let nobody = format!("postgres://nobody@127.0.0.1:{}/none", free_port());
    let (code, out, err) = run(&["migrate"], &[("BELLWETHER_POSTGRES__URL", nobody.as_str())]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
}

#[tokio::test]
async fn token_create_prints_a_token_and_nothing_else() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    for (arguments, own, others, may_write) in [
        (["--admin"].as_slice(), 200, 200, true),
        (&["--site", "a.example", "--site", "b.example"], 200, 404, true),
        (&["--site", "a.example", "--role", "viewer"], 200, 404, false),
    ] {
        let all = [["token", "create"].as_slice(), arguments].concat();
        let (code, out, err) = said(deployment.run(&all));
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        let token = out.strip_suffix('\n').unwrap();
        assert!(token.starts_with("bw_") && token.len() == 46 && !token.contains(char::is_whitespace));
        let ask = async |method: Method, site: &str| {
            let request = crate::support::http()
                .request(method, format!("{}/api/sites/{site}", process.api))
                .bearer_auth(token)
                .header("content-type", "application/json")
                .body("{}");
            request.send().await.unwrap().status().as_u16()
        };
        for site in ["a.example", "c.example"] {
            deployment
                .call(
                    &process,
                    Method::PUT,
                    &format!("/api/sites/{site}"),
                    Some(json!({})),
                )
                .await;
        }
        assert_eq!(ask(Method::GET, "a.example").await, own);
        assert_eq!(ask(Method::GET, "c.example").await, others);
        let written = ask(Method::PUT, "a.example").await;
        assert_eq!(written, if may_write { 200 } else { 403 }, "{arguments:?}");
    }
    let (code, out, err) = said(deployment.run(&["token", "create"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("--admin, or --site"), "{err}");
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap()
}

#[tokio::test]
async fn topics_create_makes_what_is_missing_and_twice_is_the_same_as_once() {
    let mut deployment = Deployment::create(&[]).await;
    let prefix = unique("cmd");
    deployment.set("kafka.topic_prefix", &prefix);
    deployment.set("sources", &format!("[{{topic=\"{prefix}.source\"}}]"));
    let (code, out, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!((code, out.as_str()), (1, ""));
    for name in [
        "source",
        "deliveries",
        "retry.1s",
        "dead-letter",
        "rejected",
        "detector-state",
    ] {
        assert!(
            err.contains(&format!("{prefix}.{name}: there is no such topic")),
            "{err}"
        );
    }
    assert!(err.contains("`bellwether topics create`"), "{err}");

    let (code, out, _) = said(deployment.run(&["topics", "create"]));
    assert_eq!((code, out.lines().count()), (0, 8), "{out}");
    assert!(out.lines().all(|line| line.starts_with("created  ")), "{out}");
    let (code, out, _) = said(deployment.run(&["topics", "create"]));
    assert_eq!((code, out.lines().count()), (0, 8), "{out}");
    assert!(out.lines().all(|line| line.starts_with("exists  ")), "{out}");
    let (code, out, _) = said(deployment.run(&["topics", "check"]));
    assert_eq!((code, out.as_str()), (0, "all 8 topics are as they must be\n"));

    deployment.set("kafka.partitions", "8");
    let (code, _, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!(code, 1);
    let wanted = format!("{prefix}.deliveries: it has 4 partitions, kafka.partitions says 8");
    assert!(err.contains(&wanted) && !err.contains("topics create"), "{err}");
}

#[tokio::test]
async fn topics_check_names_topic_setting_and_both_values() {
    let mut deployment = Deployment::create(&[]).await;
    let mut changes: Vec<(String, &str, &str)> = Vec::new();
    for (topic, setting, value) in [
        ("deliveries", "retention.ms", "3600000"),
        ("dead-letter", "retention.ms", "-1"),
        ("rejected", "cleanup.policy", "compact,delete"),
        ("detector-state", "segment.bytes", "1073741824"),
        ("detector-state", "min.cleanable.dirty.ratio", "0.5"),
        ("detector-state", "max.compaction.lag.ms", "86400000"),
        ("retry.1s", "retention.ms", "1209600000"),
    ] {
        changes.push((deployment.topic(topic), setting, value));
    }
    let mut altered: std::collections::BTreeMap<&str, AlterConfig<'_>> = Default::default();
    for (topic, setting, value) in &changes {
        let change = altered
            .remove(topic.as_str())
            .unwrap_or_else(|| AlterConfig::new(ResourceSpecifier::Topic(topic)));
        altered.insert(topic, change.set(setting, value));
    }
    let results = admin()
        .alter_configs(altered.values(), &AdminOptions::new())
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");

    let wanted = [
        "deliveries: retention.ms is `3600000`, it must be at least `604800000`",
        "rejected: cleanup.policy is `compact,delete`, it must be `delete`",
        "detector-state: segment.bytes is `1073741824`, it must be at most `33554432`",
        "detector-state: min.cleanable.dirty.ratio is `0.5`, it must be at most `0.1`",
        "detector-state: max.compaction.lag.ms is `86400000`, it must be at most `600000`",
    ];
    // `alter_configs` sets all of a topic's settings, so what it does not name is as the broker has it by default.
    let also = ["detector-state: cleanup.policy is `delete`, it must be `compact`"];
    let (code, err) = eventually("the broker tells of the changes", PATIENCE, || async {
        let (code, _, err) = said(deployment.run(&["topics", "check"]));
        (err.lines().count() >= wanted.len() + also.len()).then_some((code, err))
    })
    .await;
    assert_eq!(code, 1);
    for line in wanted.iter().chain(&also) {
        assert!(err.contains(&deployment.topic(line)), "{err} lacks {line}");
    }
    let lines = err.lines().filter(|line| !line.starts_with('{'));
    assert_eq!(
        lines.count(),
        wanted.len() + also.len(),
        "more generous retention is fine: {err}"
    );
    // A start says the same.
    assert!(
        deployment
            .refused(&[])
            .await
            .contains("segment.bytes is `1073741824`")
    );

    // Copies and acknowledgements: the broker is alone, and one that is asked for two has too few.
    deployment.set("kafka.replication_factor", "3");
    let (_, _, err) = said(deployment.run(&["topics", "check"]));
    let copies = format!(
        "{}: it has 1 copies of a partition, kafka.replication_factor says 3",
        deployment.topic("deliveries")
    );
    let in_sync = format!(
        "{}: min.insync.replicas is `1`, it must be at least `2`",
        deployment.topic("deliveries")
    );
    assert!(err.contains(&copies) && err.contains(&in_sync), "{err}");
    assert!(
        !err.contains(&format!("{}: ", deployment.source)),
        "the producer's topic is the producer's: {err}"
    );
}

#[tokio::test]
async fn a_tier_that_is_no_longer_configured_has_to_have_as_many_partitions() {
    let deployment = Deployment::create(&[]).await;
    let old = deployment.topic("retry.5m");
    let new = NewTopic::new(&old, 3, TopicReplication::Fixed(1));
    admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
    let wanted = format!("{old}: it has 3 partitions, kafka.partitions says 4");
    eventually("the topic is known and refused", PATIENCE, || async {
        let (code, _, err) = said(deployment.run(&["topics", "check"]));
        (code == 1 && err.contains(&wanted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn health_waits_until_it_is_ready_and_no_longer_than_told() {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("admin.listen", &format!("127.0.0.1:{}", free_port()));
    let begun = Instant::now();
    let (code, out, err) = said(deployment.run(&["health", "--ready", "--wait", "1s"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("admin.listen"), "{err}");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let process = deployment.spawn(&[]);
    deployment.set("admin.listen", process.admin.trim_start_matches("http://"));
    let (code, out, err) = said(deployment.run(&["health", "--ready", "--wait", "60s"]));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&answer["ready"], &answer["checks"]["kafka"]),
        (&json!(true), &json!("ok"))
    );
    let (code, out, _) = said(deployment.run(&["health"]));
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["alive"], true);
}

fn write_events(path: &Path, times: &[&str]) {
    let mut lines: Vec<String> = times
        .iter()
        .enumerate()
        .map(|(n, at)| {
            json!({"site_id": "a.example", "type": "goal", "name": format!("goal {n}"), "timestamp": at})
                .to_string()
        })
        .collect();
    lines.insert(1, String::new());
    lines.insert(1, "{\"site_id\": \"a.example\"}".to_owned());
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[tokio::test]
async fn replay_publishes_json_lines_at_the_pace_it_is_told() {
    let deployment = Deployment::create(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    write_events(
        &file,
        &[
            "2026-02-25T12:00:00Z",
            "2026-02-25T12:00:01Z",
            "2026-02-25T12:00:04Z",
        ],
    );
    let path = file.to_str().unwrap();
    let begun = Instant::now();
    let (code, out, err) = said(deployment.run(&["replay", path, "--speed", "2"]));
    let took = begun.elapsed();
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        format!(
            "published 3 events to {}; not published: 1 unreadable\n",
            deployment.source
        )
    );
    assert!(err.contains("line 2 is not published"), "{err}");
    assert!(
        took >= Duration::from_secs(2),
        "four seconds, twice as fast: {took:?}"
    );
    let records = kafka::read_all(&deployment.source);
    let names: Vec<Value> = records
        .iter()
        .map(|one| {
            assert_eq!(one.key(), Some(b"a.example".as_slice()));
            serde_json::from_slice::<Value>(one.payload().unwrap()).unwrap()["name"].take()
        })
        .collect();
    assert_eq!(names, ["goal 0", "goal 1", "goal 2"]);

    let begun = Instant::now();
    let topic = deployment.topic("rejected");
    let (code, out, _) = said(deployment.run(&["replay", path, "--speed", "0", "--topic", &topic]));
    assert_eq!(code, 0);
    assert!(out.contains(&format!("3 events to {topic}")), "{out}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let (code, out, err) = said(deployment.run(&["replay", "/not/there", "--speed", "0"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("/not/there cannot be read"), "{err}");
}

#[tokio::test]
async fn listen_fails_as_it_is_told_and_verifies_what_comes() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let secret = "a-secret-for-this-test-only";
    let mut listen = bellwether(
        &[
            "listen", "--port", "0", "--json", "--fail", "2", "--status", "503", "--secret", secret,
        ],
        &[],
    )
    .stdout(std::fs::File::create(&out).unwrap())
    .stderr(std::fs::File::create(&err).unwrap())
    .spawn()
    .unwrap();
    let address = eventually("it says where it listens", PATIENCE, || async {
        let text = std::fs::read_to_string(&err).unwrap();
        let rest = text.strip_prefix("listening on ")?;
        Some(rest.split_once(", verifying with 1 secret")?.0.to_owned())
    })
    .await;
    let body = json!({"url": format!("{address}/hook"), "secret": secret, "events": ["goal_completion"]});
    deployment.create_webhook(&process, "a.example", body).await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    let delivered: i32 = eventually("the third attempt is taken", PATIENCE, || async {
        sqlx::query_scalar("select attempts from deliveries where status = 'delivered'")
            .fetch_optional(&deployment.database.pool)
            .await
            .unwrap()
    })
    .await;
    assert_eq!(delivered, 3);
    let terminated = Command::new("kill")
        .arg(listen.id().to_string())
        .status()
        .unwrap();
    assert!(terminated.success());
    assert!(listen.wait().unwrap().success());
    let lines: Vec<Value> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let attempts: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["attempt"].as_u64().unwrap(),
                line["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(attempts, [(1, 503), (2, 503), (3, 200)]);
    for line in &lines {
        assert_eq!(
            (
                &line["signature_ok"],
                &line["standard_signature_ok"],
                &line["repeated"]
            ),
            (&json!(true), &json!(true), &json!(false))
        );
        assert_eq!(
            (&line["event"], &line["path"]),
            (&json!("goal_completion"), &json!("/hook"))
        );
    }
    let said = std::fs::read_to_string(&err).unwrap();
    assert!(
        said.contains("requests 3, deliveries 1, repeated 0, bad signatures 0"),
        "{said}"
    );
}

#[tokio::test]
async fn a_change_made_through_one_process_is_in_force_in_another_within_a_second() {
    let deployment = Deployment::create(&[]).await;
    let api = deployment.serve(&["--roles", "api"]).await;
    let worker = deployment.serve(&["--roles", "detect,deliver"]).await;
    let receiver = Receiver::start().await;
    for n in 1..=3 {
        let site = format!("{n}.example");
        let webhook = deployment
            .goal_webhook(&api, &site, &receiver.url(&format!("hook-{n}")))
            .await;
        // Until then an event of this site is one that nobody registered.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let age = worker.metric("bellwether_config_age_seconds").await;
        assert!(age < 2.0, "the other process last looked {age} s ago");
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": "Signup"}))
            .await;
        receiver.wait_for(&format!("hook-{n}"), 1).await;
        // And what is switched off is off.
        let path = format!("/api/sites/{site}/webhooks/{}", webhook["id"].as_str().unwrap());
        let off = deployment
            .call(&api, Method::PATCH, &path, Some(json!({"enabled": false})))
            .await;
        assert_eq!(off.0, StatusCode::OK);
        tokio::time::sleep(Duration::from_secs(1)).await;
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": "After"}))
            .await;
    }
    let series = format!(
        "bellwether_events_total{{result=\"counted\",source=\"{}\"}}",
        deployment.source
    );
    worker.metric_is(&series, 6.0).await;
    assert_eq!(receiver.all().len(), 3);
}
