//! Commands over the API of a running service.

use std::process::Stdio;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::commands::{bellwether, run, said};
use crate::support::app::{Deployment, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, free_port, send_signal};

/// Runs a command over the API of `process`, with `BELLWETHER_API_TOKEN`.
fn over_api(deployment: &Deployment, process: &Process, arguments: &[&str]) -> (i32, String, String) {
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    said(bellwether(arguments, &variables).output().unwrap())
}

/// Runs a command that has to succeed, and returns the JSON that it prints.
fn json_of(deployment: &Deployment, process: &Process, arguments: &[&str]) -> Value {
    let (code, out, err) = over_api(deployment, process, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

#[tokio::test]
async fn sites_webhooks_and_goals_are_managed_over_the_api() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let call = |arguments: &[&str]| json_of(&deployment, &process, arguments);

    let site = call(&[
        "site",
        "create",
        "a/b",
        "--name",
        "Shop",
        "--time-zone",
        "Europe/Berlin",
    ]);
    assert_eq!(
        (&site["name"], &site["time_zone"]),
        (&json!("Shop"), &json!("Europe/Berlin"))
    );
    let (code, _, err) = over_api(&deployment, &process, &["site", "create", "a/b"]);
    assert_eq!(code, 1);
    assert!(err.contains("registered already"), "{err}");
    // What is not given stays.
    let site = call(&["site", "update", "a/b", "--alias", "www.a"]);
    assert_eq!(
        (&site["name"], &site["aliases"]),
        (&json!("Shop"), &json!(["www.a"]))
    );

    let goal = call(&[
        "goal", "create", "--site", "a/b", "--name", "Signup", "--kind", "event", "--event", "signup",
    ]);
    let goal = goal["id"].as_str().unwrap().to_owned();
    let renamed = call(&["goal", "update", &goal, "--site", "a/b", "--name", "Registered"]);
    assert_eq!(
        (&renamed["name"], &renamed["event"]),
        (&json!("Registered"), &json!("signup"))
    );
    assert_eq!(
        call(&["goal", "list", "--site", "a/b"])["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let created = call(&[
        "webhook",
        "create",
        "--site",
        "a/b",
        "--endpoint",
        "https://hooks.example.com/x",
        "--events",
        "visitor_spike,goal_completion",
        "--field",
        "triggers.visitor_spike.threshold=500",
    ]);
    assert!(
        created["secret"].as_str().unwrap().starts_with("whsec_"),
        "{created}"
    );
    assert_eq!(created["triggers"]["visitor_spike"]["threshold"], 500);
    let id = created["id"].as_str().unwrap().to_owned();
    let changed = call(&["webhook", "update", &id, "--site", "a/b", "--enabled", "false"]);
    assert_eq!(changed["health"]["state"], "disabled");
    let (code, table, _) = over_api(&deployment, &process, &["webhook", "list", "--site", "a/b"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((code, lines.len()), (0, 2), "{table}");
    assert!(lines[0].starts_with("ID") && lines[1].starts_with(&id), "{table}");

    for arguments in [["webhook", "delete", &id], ["goal", "delete", &goal]] {
        let (code, out, err) = over_api(
            &deployment,
            &process,
            &[&arguments[..], &["--site", "a/b"]].concat(),
        );
        assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""), "{arguments:?}");
    }
    let (code, _, err) = over_api(&deployment, &process, &["webhook", "get", &id, "--site", "a/b"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "bellwether: There is no such webhook.\n")
    );
}

#[tokio::test]
async fn every_bad_field_of_a_command_is_named() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let create = ["webhook", "create", "--site", "a"];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhook.json");
    std::fs::write(&file, r#"{"url": "ftp://x", "events": ["nothing"]}"#).unwrap();
    let file = file.to_str().unwrap();
    // What a flag says wrongly is a wrong use, and what a file says a failure.
    let site = ["site", "create", "b", "--field"];
    let goal = ["goal", "create", "--site", "a", "--name", "G"];
    for (command, arguments, code, named) in [
        (
            &create[..],
            &["--endpoint", "ftp://x", "--events", "nothing"][..],
            2,
            &["\n  --endpoint: ", "\n  --events: "][..],
        ),
        (&create, &[], 2, &["\n  --endpoint: ", "\n  --events: "]),
        (
            &create,
            &["--endpoint", "https://a.example", "--events", "visitor_spike"],
            2,
            &["--field triggers.visitor_spike.threshold: "],
        ),
        (&create, &["--body", file], 1, &["\n  /url: ", "\n  /events/0: "]),
        (
            &create,
            &["--body", file, "--endpoint", "https://a.example"],
            1,
            &["bellwether: /events/0: "],
        ),
        (&site, &["colour=red"], 2, &["--field colour: "]),
        (&goal, &["--kind", "event"], 2, &["--event: "]),
        (
            &["alert", "list", "--site", "a"],
            &["--after", "x"],
            2,
            &["--after: ", "an earlier page"],
        ),
    ] {
        let all = [command, arguments].concat();
        let (found, out, err) = over_api(&deployment, &process, &all);
        assert_eq!((found, out.as_str()), (code, ""), "{all:?}: {err}");
        for part in named {
            assert!(err.contains(part), "{all:?}: {err}");
        }
        assert!(!err.contains("`errors`"), "{err}");
    }
}

#[test]
fn a_wrong_flag_value_ends_with_2_and_names_what_is_allowed() {
    let (wh, dlv) = ("wh_01jz0000000000000000000000", "dlv_01jz0000000000000000000000");
    let deliveries = ["delivery", "list", "--site", "a", "--webhook", wh];
    let goal = ["goal", "create", "--site", "a"];
    let webhook = ["webhook", "create", "--site", "a"];
    let recover = ["webhook", "recover", wh, "--site", "a"];
    let activity = ["site", "activity", "a"];
    let rotate = ["webhook", "rotate-secret", wh, "--site", "a"];
    for (command, arguments, wanted) in [
        (&deliveries[..], &["--since", "xx"][..], "2026-02-25T12:00:00Z"),
        (&deliveries, &["--status", "nope"], "undelivered"),
        (&deliveries, &["--event", "goal_completion,nope"], "visitor_spike"),
        (&deliveries, &["--limit", "0"], "a whole number from 1 on"),
        (
            &["alert", "list", "--site", "a"],
            &["--event", "nope"],
            "visitor_spike",
        ),
        (
            &["alert", "list", "--site", "a"],
            &["--since", "xx"],
            "2026-02-25T12:00:00Z",
        ),
        (&webhook, &["--format", "xml"], "cloudevents"),
        (&goal, &["--kind", "other"], "event, page, scroll"),
        (&goal, &["--scroll-threshold", "101"], "from 0 to 100"),
        (
            &["site", "create", "a"],
            &["--time-zone", "Mars/X"],
            "Europe/Berlin",
        ),
        (&["site", "create", "a"], &["--alias", ".."], "--alias"),
        (&activity, &["--from", "yesterday"], "2026-02-25T12:00:00Z"),
        (&activity, &["--to", "today"], "2026-02-25T12:00:00Z"),
        (&recover, &["--since", "soon"], "2026-02-25T12:00:00Z"),
        (
            &["webhook", "recovery", wh, "nope", "--site", "a"],
            &[],
            "the id of a job (job_",
        ),
        (
            &["webhook", "get", "nope", "--site", "a"],
            &[],
            "the id of a webhook (wh_",
        ),
        (
            &["delivery", "get", dlv, "--site", "a"],
            &["--webhook", "wh"],
            "the id of a webhook",
        ),
        (&rotate, &["--overlap-seconds", "a day"], "a whole number"),
        (&rotate, &["--secret", "short"], "12 to 64 characters"),
        (
            &["site", "list"],
            &["--url", "nope"],
            "starts with http:// or https://",
        ),
        (&["health"], &["--wait", "x"], "such as 250ms"),
        (
            &["webhook", "update", wh, "--site", "a"],
            &[],
            "nothing to change",
        ),
        (&["site", "update", "a"], &[], "nothing to change"),
        (
            &["token", "create", "--admin"],
            &["--subject", ""],
            "1 to 100 characters",
        ),
        (&["listen"], &["--fail", "x"], "a whole number"),
        (&["listen"], &["--host", "here"], "such as 127.0.0.1"),
    ] {
        let all = [command, arguments].concat();
        let variables = [
            ("BELLWETHER_API_URL", "http://127.0.0.1:1"),
            ("BELLWETHER_API_TOKEN", "bw_x"),
        ];
        let (code, out, err) = run(&all, &variables);
        assert_eq!((code, out.as_str()), (2, ""), "{all:?}: {err}");
        assert!(err.contains(wanted), "{all:?}: {err}");
    }
}

#[test]
fn a_usage_asks_for_nothing_that_the_environment_gives() {
    let variables = [
        ("BELLWETHER_API_URL", "http://127.0.0.1:1"),
        ("BELLWETHER_API_TOKEN", "bw_x"),
        ("BELLWETHER_CONFIG", "x.toml"),
        ("BELLWETHER_ROLES", "api"),
    ];
    for (arguments, wanted) in [
        (
            ["webhook", "get"],
            "Usage: bellwether webhook get [OPTIONS] --site <SITE_ID> <ID>\n",
        ),
        (
            ["token", "create"],
            "Usage: bellwether token create [OPTIONS] <--admin|--site <SITE_ID>>\n",
        ),
        (["replay", "--now"], "Usage: bellwether replay [OPTIONS] <FILE>\n"),
    ] {
        let (code, _, err) = run(&arguments, &variables);
        assert_eq!(code, 2);
        assert!(err.contains(wanted), "{err}");
    }
}

#[test]
fn an_api_that_is_away_is_named_with_its_cause() {
    let port = free_port();
    let refused = format!("http://127.0.0.1:{port}");
    let unknown = "https://nobody.invalid".to_owned();
    // Its backlog takes the connection, and nobody reads the request.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let no_answer = format!("the API at {}: no answer", listener.local_addr().unwrap());
    for (url, wanted) in [
        (&silent, no_answer),
        (
            &refused,
            format!("the API at 127.0.0.1:{port}: connection refused"),
        ),
        (
            &unknown,
            "the API at nobody.invalid:443: the host name is unknown".to_owned(),
        ),
    ] {
        let (code, out, err) = run(
            &["site", "list", "--url", url],
            &[("BELLWETHER_API_TOKEN", "bw_x")],
        );
        assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
        assert!(err.contains(&wanted), "{err}");
    }
    let (code, _, err) = run(&["site", "list"], &[]);
    assert_eq!(code, 2);
    assert!(err.contains("BELLWETHER_API_TOKEN"), "{err}");
    let (code, _, err) = run(
        &["webhook", "get", "wh_1", "--site", "a"],
        &[("BELLWETHER_API_TOKEN", "bw_x")],
    );
    assert_eq!(code, 2, "{err}");
}

#[tokio::test]
async fn site_list_shows_ids_and_open_episodes() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    let (code, _, err) = run(&["site", "create", "a.example", "--name", "A"], &variables);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = run(&["site", "list"], &variables);
    assert_eq!(code, 0, "{err}");
    let columns = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let lines: Vec<Vec<String>> = out.lines().map(columns).collect();
    assert_eq!(lines[1], ["a.example", "A", "UTC", "-", "0"], "{out}");
}

#[tokio::test]
async fn tokens_are_managed_over_the_api_without_postgres() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let call = |arguments: &[&str]| {
        let arguments = [&["token"], arguments, &["--over-api"]].concat();
        over_api(&deployment, &process, &arguments)
    };
    let ends = (Utc::now() + TimeDelta::days(1)).to_rfc3339();
    let site = [
        "create",
        "--site",
        "a.example",
        "--role",
        "viewer",
        "--subject",
        "dashboard",
    ];
    let (code, out, err) = call(&[&site[..], &["--expires-at", &ends]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("bw_") && out.lines().count() == 1, "{out}");
    let (_, out, _) = call(&["list", "--json"]);
    let tokens: Value = serde_json::from_str(&out).unwrap();
    let made = &tokens["data"][0];
    assert_eq!(
        (&made["subject"], &made["sites"], &made["role"], &made["admin"]),
        (
            &json!("dashboard"),
            &json!(["a.example"]),
            &json!("viewer"),
            &json!(false)
        )
    );
    assert!(made["expires_at"].is_string(), "{made}");
    let id = made["id"].as_str().unwrap();
    let (code, out, err) = call(&["list"]);
    assert!(
        code == 0 && out.contains(id) && out.contains("dashboard"),
        "{out}{err}"
    );
    assert_eq!(call(&["revoke", id]), (0, String::new(), String::new()));
    let (code, _, err) = call(&["revoke", id]);
    assert!(code == 1 && err.contains("token"), "{err}");
    let (code, _, err) = call(&["create", "--admin", "--expires-at", "2020-01-01T00:00:00Z"]);
    assert!(code == 2 && err.contains("passed already"), "{err}");
}

#[tokio::test]
async fn a_wrong_token_fails_and_is_not_printed() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "api"]).await;
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", "bw_not-a-token-of-anybody"),
    ];
    let (code, out, err) = run(&["site", "list"], &variables);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("authentication failed") && !err.contains("anybody"),
        "{err}"
    );
}

#[tokio::test]
async fn delivery_list_follow_prints_deliveries_as_they_come() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let webhook = deployment
        .goal_webhook(&process, "a.example", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    let goal = json!({"site_id": "a.example", "type": "goal", "name": "Signup"});
    deployment.publish(goal.clone()).await;
    let id = webhook["id"].as_str().unwrap();
    let list = [
        "delivery",
        "list",
        "--site",
        "a.example",
        "--webhook",
        id,
        "--json",
    ];
    eventually("the first is recorded", Duration::from_secs(30), || async {
        let (_, out, _) = over_api(&deployment, &process, &list);
        out.contains("\"delivered\"").then_some(())
    })
    .await;

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("out");
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    let mut follow = bellwether(&[&list[..], &["--follow"]].concat(), &variables)
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = |count: usize| {
        let log = &log;
        async move {
            eventually("lines are printed", Duration::from_secs(30), || async {
                let text = std::fs::read_to_string(log).unwrap();
                let lines: Vec<Value> = text
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok())
                    .collect();
                (lines.len() >= count).then_some(lines)
            })
            .await
        }
    };
    lines(1).await;
    deployment.publish(goal).await;
    let printed = lines(2).await;
    assert_ne!(printed[0]["id"], printed[1]["id"]);
    send_signal(&follow, "INT");
    assert_eq!(follow.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_retries_and_recoveries_are_asked_for_by_commands() {
    let deployment = Deployment::create(&[("webhooks.retry_schedules", "{default=[\"1s\"]}")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| crate::support::receiver::Answer::status(500));
    let webhook = deployment
        .goal_webhook(&process, "a.example", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    let id = webhook["id"].as_str().unwrap();
    let at = ["--site", "a.example"];
    let test = [&["webhook", "test", id][..], &at].concat();
    let (code, out, err) = over_api(&deployment, &process, &[&test[..], &["--json"]].concat());
    let outcome: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &outcome["response_code"]), (1, &json!(500)), "{err}");
    assert!(err.contains("the test failed"), "{err}");

    for name in ["one", "two"] {
        let goal = json!({"site_id": "a.example", "type": "goal", "name": name});
        deployment.publish(goal).await;
    }
    let list = [
        "delivery",
        "list",
        "--webhook",
        id,
        "--status",
        "failed",
        "--event",
        "goal_completion",
    ];
    let failed = eventually("both have failed", Duration::from_secs(60), || async {
        let page = json_of(&deployment, &process, &[&list[..], &at].concat());
        let data = page["data"].as_array().unwrap().clone();
        (data.len() == 2).then_some(data)
    })
    .await;
    receiver.answer("hook", |_| crate::support::receiver::Answer::status(200));
    let sample = json_of(
        &deployment,
        &process,
        &[&test[..], &["--event", "visitor_spike"]].concat(),
    );
    assert_eq!(sample["status"], "delivered");

    let one = failed[0]["id"].as_str().unwrap();
    let retry = [&["delivery", "retry", one, "--webhook", id][..], &at].concat();
    let again = json_of(&deployment, &process, &retry);
    assert_eq!(again["resend_of"], one);
    let (code, _, err) = over_api(
        &deployment,
        &process,
        &["delivery", "retry", one, "--webhook", id, "--site", "b.example"],
    );
    assert_eq!(code, 1, "{err}");
    receiver.wait_for("hook", 7).await;

    let since = ["--since", "2020-01-01T00:00:00Z"];
    let recover = [&["webhook", "recover", id][..], &at, &since].concat();
    let waited = json_of(&deployment, &process, &[&recover[..], &["--wait"]].concat());
    assert_eq!(
        (
            &waited["status"],
            &waited["total"],
            &waited["sent"],
            &waited["skipped"]
        ),
        (&json!("finished"), &json!(2), &json!(1), &json!(1))
    );
    let begun = json_of(&deployment, &process, &recover);
    let job = begun["id"].as_str().unwrap();
    let recovery = [&["webhook", "recovery", id, job][..], &at].concat();
    assert_eq!(json_of(&deployment, &process, &recovery)["id"], job);
    let (code, out, err) = over_api(&deployment, &process, &[&recovery[..], &["--cancel"]].concat());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
}

#[tokio::test]
async fn listen_site_makes_a_webhook_and_removes_it_at_the_end() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    let mut listen = bellwether(
        &["listen", "--port", "0", "--site", "a.example", "--json"],
        &variables,
    )
    .stdout(std::fs::File::create(&out).unwrap())
    .stderr(std::fs::File::create(&err).unwrap())
    .spawn()
    .unwrap();
    eventually("the webhook is made", Duration::from_secs(30), || async {
        std::fs::read_to_string(&err)
            .unwrap()
            .contains("whose secret is whsec_")
            .then_some(())
    })
    .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    let line = eventually("the request is printed", Duration::from_secs(30), || async {
        serde_json::from_str::<Value>(&std::fs::read_to_string(&out).unwrap()).ok()
    })
    .await;
    assert_eq!(
        (&line["event"], &line["signature_ok"]),
        (&json!("goal_completion"), &json!(true))
    );
    send_signal(&listen, "INT");
    assert_eq!(listen.wait().unwrap().code(), Some(0));
    let left = json_of(&deployment, &process, &["webhook", "list", "--site", "a.example"]);
    assert_eq!(left["data"], json!([]));
}

#[tokio::test]
async fn listen_forward_posts_new_deliveries_signed_again() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let (endpoint, own) = (Receiver::start().await, Receiver::start().await);
    let webhook = deployment
        .goal_webhook(&process, "a.example", &endpoint.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    let folder = tempfile::tempdir().unwrap();
    let err = folder.path().join("err");
    let variables = [
        ("BELLWETHER_API_URL", process.api.as_str()),
        ("BELLWETHER_API_TOKEN", deployment.token.as_str()),
    ];
    let secret = "another-secret-of-mine";
    let mut forward = bellwether(
        &[
            "listen",
            "--forward",
            &own.url("mine"),
            "--site",
            "a.example",
            "--webhook",
            webhook["id"].as_str().unwrap(),
            "--secret",
            secret,
        ],
        &variables,
    )
    .stdout(Stdio::null())
    .stderr(std::fs::File::create(&err).unwrap())
    .spawn()
    .unwrap();
    eventually("it forwards", Duration::from_secs(30), || async {
        std::fs::read_to_string(&err)
            .unwrap()
            .contains("forwarding new deliveries")
            .then_some(())
    })
    .await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    let sent = endpoint.wait_for("hook", 1).await;
    let forwarded = own.wait_for("mine", 1).await;
    assert_eq!(forwarded[0].json(), sent[0].json());
    for name in ["webhook-id", "x-webhook-delivery", "x-webhook-event"] {
        assert_eq!(forwarded[0].header(name), sent[0].header(name), "{name}");
    }
    let agent = concat!("Bellwether/", env!("CARGO_PKG_VERSION"));
    assert_eq!(forwarded[0].header("user-agent"), agent);
    assert_ne!(
        forwarded[0].header("x-webhook-signature"),
        sent[0].header("x-webhook-signature")
    );
    send_signal(&forward, "INT");
    assert_eq!(forward.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn dead_letter_list_shows_what_failed_for_good() {
    let deployment = Deployment::create(&[]).await;
    let (code, out, err) = said(deployment.run(&["dead-letter", "list", "--json"]));
    assert_eq!((code, out.as_str()), (0, "{\"data\":[]}\n"), "{err}");
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| crate::support::receiver::Answer::status(410));
    let webhook = deployment
        .goal_webhook(&process, "a.example", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "a.example", "type": "goal", "name": "Signup"}))
        .await;
    let list = eventually("the dead letter is listed", Duration::from_secs(60), || async {
        let (_, out, _) = said(deployment.run(&["dead-letter", "list", "--json"]));
        let list: Value = serde_json::from_str(&out).unwrap();
        (list["data"] != json!([])).then_some(list)
    })
    .await;
    let letter = &list["data"][0];
    assert_eq!(letter["webhook_id"], webhook["id"]);
    assert_eq!(
        (&letter["reason"], &letter["last_status"], &letter["site_id"]),
        (&json!("gone"), &json!(410), &json!("a.example"))
    );
    let (code, out, _) = said(deployment.run(&["dead-letter", "list", "--site", "b.example"]));
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
}

#[test]
fn signatures_are_made_and_checked_with_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body.json");
    std::fs::write(&body, r#"{"a":1}"#).unwrap();
    let body = body.to_str().unwrap();
    let secret = ["--secret", "a-rather-plain-secret"];
    let (code, out, _) = run(&[&["signature", "sign"][..], &secret, &[body]].concat(), &[]);
    let header = out.trim().strip_prefix("X-Webhook-Signature: ").unwrap();
    assert_eq!(code, 0);
    let verify = |signature: &str, body: &str| {
        run(
            &[
                &["signature", "verify", "--signature", signature][..],
                &secret,
                &[body],
            ]
            .concat(),
            &[],
        )
        .0
    };
    assert_eq!(verify(header, body), 0);
    assert_eq!(verify(&format!("sha256={}", "0".repeat(64)), body), 1);
    assert_eq!(verify(header, "/nowhere"), 1);
    assert_eq!(verify("nonsense", body), 2);
    assert_eq!(verify("v1,AAAA", body), 2);
    assert_eq!(run(&["signature", "sign", "--secret", "short", body], &[]).0, 2);
}
