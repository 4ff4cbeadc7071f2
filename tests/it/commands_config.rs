//! The configuration as a user gives it: what `check-config` says of it, which source wins, and how
//! logs look.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::{bellwether, run, said};
use crate::support::app::{Deployment, KEY};
use crate::support::eventually;

/// What `check-config` says of a file: exit code, stdout and stderr.
pub(crate) fn check_config(toml: &str) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellwether.toml");
    std::fs::write(&file, toml).unwrap();
    run(&["check-config", "--config", file.to_str().unwrap()], &[])
}

#[test]
fn check_config_says_that_a_configuration_is_valid() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/bellwether.example.toml");
    let (code, out, err) = run(&["check-config", "--config", example], &[]);
    assert_eq!((code, out.as_str()), (1, ""), "`serve` needs a key");
    assert!(
        err.contains("encryption.keys = []: no encryption key is configured"),
        "{err}"
    );
    let key = format!("encryption.keys=[\"{KEY}\"]");
    let (code, out, err) = run(&["check-config", "--config", example, "--set", &key], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let wanted = format!("the configuration is valid: configuration file {example}; 1 source, hash ");
    assert!(out.starts_with(&wanted), "{out}");
    let (code, out, err) = run(&["check-config", "--config", "/not/there.toml"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("/not/there.toml cannot be read"), "{err}");
}

#[test]
fn check_config_says_that_it_read_no_file() {
    let key = format!("encryption.keys=[\"{KEY}\"]");
    let (code, out, _) = run(&["check-config", "--set", &key], &[]);
    assert_eq!(code, 0);
    assert!(
        out.contains("no configuration file") && out.contains("BELLWETHER_CONFIG"),
        "{out}"
    );
}

#[test]
fn check_config_refuses_what_serve_would() {
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
            vec!["kafka.partitions", "many", "whole number"],
        ),
        (
            "[kafka.properties]\n\"sasl.pasword\" = \"hunter2\"".into(),
            vec!["kafka.properties.\"sasl.pasword\""],
        ),
        (
            "[kafka.properties]\nisolation_level = \"read_uncommitted\"".into(),
            vec!["kafka.properties.\"isolation.level\" = \"…\"", "not allowed"],
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
            "[encryption]\nkey_files = [\"hunter2\"]".into(),
            vec!["encryption.key_files[0] = \"…\"", "cannot be read", "readable"],
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
        let human = ("BELLWETHER_TELEMETRY__LOG_FORMAT", "human");
        assert_eq!(run(&["serve", "--config", &path], &[human]).2, err);
    }
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let (code, _, err) = check_config(
        "colour = 1\n[http]\nlisten = \"nowhere\"\nburst = 0\n[[sources]]\nformat = \"xml\"\n\
         [encryption]\nkeys = [\"hunter2\"]\nkey_files = 5\n[webhooks]\nca_file = \"/not/there.pem\"\n\
         retry_schedules.odd = [\"soon\"]\nretry_schedules.odder = [\"1s500us\"]",
    );
    assert_eq!(code, 1);
    let wanted = [
        "colour: ",
        "http.listen = \"nowhere\": allowed: an IP address and a port",
        "http.burst = 0",
        "sources[0].format = \"xml\": ",
        "encryption.keys[0] = ",
        "encryption.key_files = \"…\": allowed: a list of texts",
        "webhooks.ca_file = ",
        "webhooks.retry_schedules.odd = ",
        "webhooks.retry_schedules.odder = ",
    ];
    for wanted in wanted {
        assert_eq!(err.matches(wanted).count(), 1, "{err} lacks {wanted}");
    }
    assert_eq!(err.lines().count(), 1 + wanted.len(), "{err}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
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
        // A wrong flag is a wrong use.
        let wanted = if arguments.contains(&flag[0]) { 2 } else { 1 };
        assert_eq!(code, wanted, "{err}");
        assert!(err.contains(&format!("webhooks.max_per_site {holds}")), "{err}");
    }
    let good = [
        "check-config",
        "--config",
        file,
        "--set",
        "webhooks.max_per_site=7",
    ];
    let keys = format!("[\"{KEY}\"]");
    let key = ("BELLWETHER_ENCRYPTION__KEYS", keys.as_str());
    assert_eq!(run(&good, &[environment, key]).0, 0);
    // What Kubernetes sets beside a Service of our name is nobody's setting; a misspelt one is.
    let links = [
        ("BELLWETHER_PORT", "tcp://10.0.0.1:8080"),
        ("BELLWETHER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("BELLWETHER_SERVICE_HOST", "10.0.0.1"),
        ("BELLWETHER_SERVICE_PORT_HTTP", "8080"),
        ("BELLWETHER_POSTGRES_SERVICE_HOST", "10.0.0.2"),
        ("BELLWETHER_POSTGRES_PORT", "tcp://10.0.0.2:5432"),
        key,
    ];
    assert_eq!(run(&["check-config"], &links).0, 0);
    for (given, meant) in [
        ("BELLWETHER_KAFKA_BROKERS", "BELLWETHER_KAFKA__BROKERS"),
        ("BELLWETHER_POSTGRES_PORT", "allowed: "),
        (
            "BELLWETHER_KAFKA_PROPERTIES_SASL_PASSWORD",
            "BELLWETHER_KAFKA__PROPERTIES__SASL_PASSWORD",
        ),
    ] {
        let (code, _, err) = run(&["check-config"], &[(given, "hunter2"), key]);
        assert_eq!(code, 1);
        let name = given["BELLWETHER_".len()..].to_lowercase();
        assert!(err.contains(&name) && err.contains(meant), "{err}");
        assert!(!err.contains("hunter2"), "{err}");
    }
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
    let last: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    let error = last["error"].as_str().unwrap();
    assert!(
        last["level"] == "error" && error.starts_with("http.listen = 192.0.2.1:1"),
        "{err}"
    );

    let Ok(output) = on_a_terminal(&["serve", "--roles", "api"], &variables) else {
        println!("skipped: script is not there (Debian: bsdutils)");
        return;
    };
    let (code, shown, _) = said(output);
    assert_eq!(code, 1, "{shown}");
    let line = shown.lines().find(|line| line.contains("starting")).unwrap();
    assert!(line.contains("INFO") && !line.starts_with('{'), "{line}");
}

#[test]
fn a_wrong_configuration_ends_serve_with_a_json_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellwether.toml");
    let path = file.to_str().unwrap();
    let json = "[telemetry]\nlog_format = \"json\"\nlog = \"off\"\n[http]\nburst = 0";
    for (toml, variables, has_json) in [
        ("[http]\nburst = 0", vec![], true),
        ("[http]\nburst = \"x\"", vec![], true),
        ("[http", vec![], true),
        ("[telemetry]\nlog_format = \"xml\"", vec![], true),
        (json, vec![], true),
        (json, vec![("BELLWETHER_TELEMETRY__LOG_FORMAT", "human")], false),
        (
            "[http",
            vec![("BELLWETHER_TELEMETRY__LOG_FORMAT", "human")],
            false,
        ),
        (
            "[telemetry]\nlog_format = \"human\"\n[http]\nburst = 0",
            vec![],
            false,
        ),
    ] {
        std::fs::write(&file, toml).unwrap();
        let (code, out, err) = run(&["serve", "--roles", "api", "--config", path], &variables);
        assert_eq!((code, out.as_str()), (1, ""), "{toml}: {err}");
        let prefix = "{\"ts\":\"";
        assert_eq!(err.starts_with(prefix), has_json, "{toml}: {err}");
        if has_json {
            assert_eq!(err.lines().count(), 1, "{toml}: {err}");
            let keys = [
                "\"ts\":",
                "\"level\":\"error\"",
                "\"msg\":\"ending with an error\"",
            ];
            let places = keys.map(|key| err.find(key).unwrap_or_else(|| panic!("{key}: {err}")));
            assert!(places.is_sorted() && places[2] < 100, "{err}");
            let line: Value = serde_json::from_str(&err).unwrap();
            assert!(line["error"].as_str().unwrap().contains("configuration"), "{err}");
        }
        // People read the answers of a command.
        let (_, _, err) = run(&["check-config", "--config", path], &variables);
        assert!(err.starts_with("bellwether: "), "{err}");
    }
    let (code, _, err) = run(&["serve", "--config", "/not/there.toml"], &[]);
    assert!(code == 1 && err.starts_with("{\"ts\":"), "{err}");
    // A flag that cannot be one is a wrong use, in whatever form that is said.
    assert_eq!(run(&["serve", "--set", "nothing"], &[]).0, 2);
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
async fn a_retry_schedule_that_vanished_is_warned_of_at_start() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let said = "a retry schedule that webhooks name is not configured";
    let body = json!({"url": "https://example.com/x", "events": ["goal_completion"]});
    deployment.create_webhook(&process, "a.example", body).await;
    assert!(!process.log_text().contains(said));
    drop(process);
    sqlx::query("update webhooks set retry_schedule = 'patient'")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
    let process = deployment.serve(&["--roles", "api"]).await;
    eventually("the start says so", Duration::from_secs(20), || async {
        let log = process.log_text();
        (log.contains(said) && log.contains("patient")).then_some(())
    })
    .await;
}
