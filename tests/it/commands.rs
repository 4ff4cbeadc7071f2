//! Commands as a user runs them: the binary, its exit code, what it says on stdout and what on
//! stderr.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::commands_config::check_config;
use crate::support::app::Deployment;
use crate::support::database::Database;
use crate::support::receiver::Receiver;
use crate::support::{eventually, free_port, send_signal};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The binary with these variables and none that the machine happens to have.
pub(crate) fn bellwether(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
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
pub(crate) fn said(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    said(bellwether(arguments, variables).output().unwrap())
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
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("letters, digits"), "{err}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_there_is() {
    for (arguments, wanted) in [
        ([].as_slice(), "Usage"),
        (&["nonsense"], "unrecognized"),
        (&["topics"], "Usage"),
        (&["serve", "--roles", "sender"], "route, detect, deliver, api"),
        (&["serve", "--set", "kafka.partitions"], "key=value"),
        (&["demo", "--set", "kafka.partitions=1"], "--set"),
        (&["demo", "--speed", "0"], "1 to 240"),
        (&["keys", "generate", "--config", "x"], "--config"),
        (&["token", "create"], "--admin|--site"),
        (&["token", "create", "--role", "owner"], "viewer, editor"),
        (&["token", "create", "--admin", "--site", "a"], "--site"),
        (&["health", "--wait", "soon"], "--wait"),
        (&["listen", "--status", "99"], "--status"),
        (&["replay", "x", "--speed=-1"], "0 or a positive number"),
        (&["replay", "x", "--speed", "-1"], "0 or a positive number"),
        (&["dead-letter", "list", "--last", "-1"], "from 1 to 100000"),
        (&["keys", "generate", "--id", ""], "allowed: 1 to 64 letters"),
        (&["replay", "x", "--format", "access-log"], "--site"),
    ] {
        let (code, out, err) = run(arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(wanted), "{arguments:?}: {err} lacks {wanted}");
    }
}

#[tokio::test]
async fn migrating_twice_is_the_same_as_once() {
    let database = Database::empty().await;
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
}

#[tokio::test]
async fn token_list_has_the_same_json_as_the_api() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let (_, own) = deployment.call(&process, Method::GET, "/api/tokens", None).await;
    let (code, out, err) = said(deployment.run(&["token", "list", "--json"]));
    assert_eq!(code, 0, "{err}");
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed["data"], own["data"]);
    let used = listed["data"][0]["last_used_at"].as_str().unwrap();
    assert_eq!("2026-11-29T15:43:59.172Z".len(), used.len(), "{used}");
    let (_, out, _) = said(deployment.run(&["token", "list"]));
    assert!(out.contains(used), "{out}");
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
    let address = eventually("it says where it listens", TIMEOUT, || async {
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
    let delivered: i32 = eventually("the third attempt is taken", TIMEOUT, || async {
        sqlx::query_scalar("select attempts from deliveries where status = 'delivered'")
            .fetch_optional(&deployment.database.pool)
            .await
            .unwrap()
    })
    .await;
    assert_eq!(delivered, 3);
    send_signal(&listen, "TERM");
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
        assert_eq!(
            (&line["method"], &line["headers"]["x-webhook-event"]),
            (&json!("POST"), &json!("goal_completion"))
        );
    }
    let said = std::fs::read_to_string(&err).unwrap();
    assert!(
        said.contains("requests 3, deliveries 1, repeated 0, wrong signatures 0, unsigned 0"),
        "{said}"
    );
}

#[tokio::test]
async fn a_change_is_in_force_in_every_process_within_a_second() {
    let deployment = Deployment::create(&[]).await;
    let api = deployment.serve(&["--roles", "api"]).await;
    let worker = deployment.serve(&["--roles", "detect,deliver"]).await;
    let receiver = Receiver::start().await;
    for n in 1..=3 {
        let site = format!("{n}.example");
        let webhook = deployment
            .goal_webhook(&api, &site, &receiver.url(&format!("hook-{n}")))
            .await;
        // The second is the claim: until then an event of this site is one that nobody registered.
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
        // Again the second is the claim.
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
