//! `bellwether replay`: what it publishes, and what it refuses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rdkafka::Message as _;
use serde_json::{Value, json};

use crate::commands::said;
use crate::support::app::Deployment;
use crate::support::faults::Wire;
use crate::support::{eventually, kafka, send_signal, within};

/// Two lines of an access log of long ago: a page, and a part of it.
const ACCESS_LOG: &str = "\
::1 - - [17/May/2015:10:05:03 +0000] \"GET /blog HTTP/1.1\" 200 512 \"-\" \"Browser/1\"
::1 - - [17/May/2015:10:05:04 +0000] \"GET /a.css HTTP/1.1\" 200 512 \"-\" \"Browser/1\"
";

/// A deployment whose source holds logs.
async fn log_deployment() -> Deployment {
    Deployment::create(&[("sources", "[{topic=\"{source}\", clock=\"log\"}]")]).await
}

fn file(folder: &tempfile::TempDir, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn replay(deployment: &Deployment, path: &Path, arguments: &[&str]) -> (i32, String, String) {
    let all = [["replay", path.to_str().unwrap()].as_slice(), arguments].concat();
    said(deployment.run(&all))
}

/// Replays standard input.
fn replay_stdin(deployment: &Deployment, input: &[u8], arguments: &[&str]) -> (i32, String, String) {
    let mut child = deployment
        .command(&[["replay", "-"].as_slice(), arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output: Output = child.wait_with_output().unwrap();
    said(output)
}

/// The values of a topic's records.
fn values(topic: &str) -> Vec<Value> {
    let records = kafka::read_all(topic);
    let values = records.iter().map(|one| one.payload().unwrap());
    values
        .map(|value| serde_json::from_slice(value).unwrap())
        .collect()
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
    let deployment = log_deployment().await;
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
    let topic = &deployment.source;
    let (code, out, _) = said(deployment.run(&["replay", path, "--speed", "0", "--topic", topic]));
    assert_eq!(code, 0);
    assert!(out.contains(&format!("3 events to {topic}")), "{out}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let (code, out, err) = said(deployment.run(&["replay", "/not/there", "--speed", "0"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("/not/there cannot be read"), "{err}");
}

#[tokio::test]
async fn replay_refuses_events_of_the_past_for_a_live_source() {
    let deployment = Deployment::create(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, ACCESS_LOG);
    let (code, out, err) = replay(&deployment, &path, &["--site", "a.example"]);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in [
        "line 1 of ",
        &deployment.source,
        "clock = \"live\"",
        "2015-05-17T10:05:03Z",
        "clock = \"log\"",
        "--now",
    ] {
        assert!(err.contains(part), "{err} lacks {part}");
    }
    assert_eq!(values(&deployment.source), [json!(null); 0]);
}

/// Another configuration may call the topic live (issue 10, number 3).
#[tokio::test]
async fn replay_to_a_topic_that_is_no_source_needs_now() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, ACCESS_LOG);
    let topic = Deployment::create(&[]).await.source;
    let arguments = ["--site", "a.example", "--speed", "0", "--topic", &topic];
    let (code, out, err) = replay(&deployment, &path, &arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for part in [
        &topic,
        "is no source of the configuration",
        &deployment.source,
        "--now",
    ] {
        assert!(err.contains(part), "{err} lacks {part}");
    }
    assert_eq!(kafka::read_all(&topic).len(), 0);
    let (code, out, err) = replay(&deployment, &path, &[arguments.as_slice(), &["--now"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("published 1 event to {topic}")), "{out}");
}

#[tokio::test]
async fn replay_of_a_file_packed_otherwise_says_what_is_read() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    for (bytes, kind) in [
        (b"BZh91AY&SY".as_slice(), "bzip2"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"PK\x03\x04\x14\0", "zip"),
    ] {
        let (code, out, err) = replay(&deployment, &file(&folder, bytes), &["--site", "a.example"]);
        assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
        assert!(
            err.contains(&format!("packed with {kind}")) && err.contains("plain text and gzip"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn replay_refuses_bellwethers_own_topics() {
    let deployment = Deployment::create(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, ACCESS_LOG);
    for name in [
        "deliveries",
        "rejected",
        "dead-letter",
        "detector-state",
        "retry.1s",
    ] {
        let topic = deployment.topic(name);
        let (code, out, err) = replay(&deployment, &path, &["--site", "a.example", "--topic", &topic]);
        assert_eq!((code, out.as_str()), (1, ""), "{topic}");
        assert!(err.contains("one of Bellwether's own topics"), "{err}");
        assert_eq!(kafka::read_all(&topic).len(), 0, "{topic}");
    }
}

#[tokio::test]
async fn replay_now_publishes_the_past_as_the_present() {
    let deployment = Deployment::create(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "");
    write_events(&path, &["2015-05-17T10:05:03Z", "2015-05-17T10:05:23Z"]);
    let before = chrono::Utc::now().timestamp_millis();
    let (code, out, err) = replay(&deployment, &path, &["--now", "--speed", "10"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("published 2 events"), "{out}");
    let times: Vec<i64> = values(&deployment.source)
        .iter()
        .map(|event| event["timestamp"].as_i64().unwrap())
        .collect();
    let [first, second] = times[..] else {
        panic!("{times:?}")
    };
    assert!(first >= before && first <= before + 30_000, "{first} is not now");
    assert_eq!(second - first, 2_000, "20 s, ten times faster");
}

#[tokio::test]
async fn an_access_log_without_a_site_is_a_wrong_use() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    for bytes in [ACCESS_LOG.as_bytes().to_vec(), gzip(ACCESS_LOG)] {
        let (code, out, err) = replay(&deployment, &file(&folder, bytes), &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(
            err.contains("is an access log") && err.contains("--site"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn replay_of_nothing_readable_fails() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    for (text, wanted) in [
        ("", "nothing was published"),
        ("hello\nworld\n", "2 unreadable"),
        ("{\"site_id\": \"a\"}\n", "line 1 is not published"),
    ] {
        let (code, out, err) = replay(&deployment, &file(&folder, text), &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{text}");
        assert!(err.contains(wanted), "{text}: {err} lacks {wanted}");
    }
    let css = ACCESS_LOG.lines().nth(1).unwrap();
    let (code, _, err) = replay(&deployment, &file(&folder, css), &["--site", "a.example"]);
    assert_eq!(code, 1);
    assert!(err.contains("1 of assets"), "{err}");
}

#[tokio::test]
async fn replay_reads_gzip_and_stdin() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--site", "a.example", "--speed", "0"];
    let wanted = format!(
        "published 1 event to {}; not published: 1 of assets\n",
        deployment.source
    );
    for ended in [
        replay(&deployment, &file(&folder, gzip(ACCESS_LOG)), &arguments),
        replay_stdin(&deployment, ACCESS_LOG.as_bytes(), &arguments),
        replay_stdin(&deployment, &gzip(ACCESS_LOG), &arguments),
    ] {
        assert_eq!((ended.0, &ended.1), (0, &wanted), "{}", ended.2);
    }
    let paths: Vec<Value> = values(&deployment.source)
        .iter_mut()
        .map(|event| event["path"].take())
        .collect();
    assert_eq!(paths, [json!("/blog"), json!("/blog"), json!("/blog")]);
    let cut = gzip(ACCESS_LOG)[..40].to_vec();
    let (code, _, err) = replay(&deployment, &file(&folder, cut), &arguments);
    assert_eq!(code, 1);
    assert!(err.contains("cannot be read"), "{err}");
}

#[tokio::test]
async fn replay_without_a_broker_ends_and_names_it() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, ACCESS_LOG);
    let begun = Instant::now();
    let (code, out, err) = replay(
        &deployment,
        &path,
        &["--site", "a.example", "--set", "kafka.brokers=127.0.0.1:1"],
    );
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("127.0.0.1:1") && err.contains("refused"), "{err}");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let (code, _, err) = replay(
        &deployment,
        &path,
        &["--site", "a.example", "--topic", "not.there", "--now"],
    );
    assert_eq!(code, 1);
    assert!(err.contains("there is no topic not.there"), "{err}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_a_log_line() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&["--roles", "detect"]).await;
    deployment
        .publish(
            json!({"site_id": "a.example", "type": "goal", "name": "x", "timestamp": "2015-05-17T10:05:03Z"}),
        )
        .await;
    eventually("the line is there", Duration::from_secs(30), || async {
        let log = process.log_text();
        let line = log.lines().find(|line| line.contains("more than a day"))?;
        let line: Value = serde_json::from_str(line).unwrap();
        (line["topic"] == json!(deployment.source) && line["level"] == "warn").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_paced_replay_ends_when_its_brokers_go_away() {
    let mut deployment = log_deployment().await;
    let wire = Wire::to_kafka().await;
    deployment.set("kafka.brokers", &wire.address());
    deployment.set("telemetry.log", "info");
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "");
    write_events(
        &path,
        &[
            "2026-02-25T12:00:00Z",
            "2026-02-25T12:00:30Z",
            "2026-02-25T13:00:00Z",
        ],
    );
    let log = folder.path().join("err");
    let mut child = deployment
        .command(&["replay", path.to_str().unwrap(), "--speed", "2"])
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    // Kafka has an event before its answer arrives.
    eventually(
        "the first event is acknowledged",
        Duration::from_secs(30),
        || async {
            let err = std::fs::read_to_string(&log).unwrap();
            let mut lines = err
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines
                .any(|line| line["published"] == 1 && line["waiting"] == 0)
                .then_some(())
        },
    )
    .await;
    wire.cut();
    let cut = Instant::now();
    let told = within(Duration::from_secs(60), || async {
        let err = std::fs::read_to_string(&log).unwrap();
        err.contains("acknowledged nothing").then_some(())
    })
    .await;
    if told.is_none() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(cut.elapsed() > Duration::from_secs(30), "{:?}", cut.elapsed());
    let err = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(
        err.contains("acknowledged nothing for 30 s") && err.contains("acknowledged before: 1, waiting: 1"),
        "{err}"
    );
    // And until then it does not call published what it has only handed over.
    let lines: Vec<Value> = err
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["msg"] == "replaying")
        .collect();
    let last = lines.last().expect("a line about the progress");
    assert_eq!(
        (&last["published"], &last["waiting"]),
        (&json!(1), &json!(1)),
        "{last}"
    );
    assert!(last["percent"].as_u64().unwrap() < 80, "{last}");
}

#[tokio::test]
async fn a_replay_that_a_signal_stops_says_how_far_it_came() {
    let deployment = log_deployment().await;
    let event = |at: &str| {
        let event = json!({"site_id": "a.example", "type": "goal", "name": "x", "timestamp": at});
        format!("{event}\n")
    };
    let an_hour_apart = event("2026-02-25T12:00:00Z") + &event("2026-02-25T13:00:00Z");
    // Waiting for the time of an event, and for a line of a pipe that stays open.
    for (input, speed, told) in [
        (
            &an_hour_apart,
            "1",
            "stopped by a signal after line 1 of stdin: 1 event published to",
        ),
        (
            &event("2026-02-25T12:00:00Z"),
            "0",
            "stopped by a signal; events acknowledged by then: ",
        ),
    ] {
        let before = kafka::read_all(&deployment.source).len();
        let mut child = deployment
            .command(&["replay", "-", "--speed", speed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        eventually("the first event is there", Duration::from_secs(30), || async {
            (kafka::read_all(&deployment.source).len() > before).then_some(())
        })
        .await;
        send_signal(&child, "TERM");
        let (code, out, err) = said(child.wait_with_output().unwrap());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(told), "{err}");
        drop(stdin);
    }
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
async fn replay_draws_no_bar_on_a_dumb_terminal() {
    let deployment = log_deployment().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_events(&path, &["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]);
    let command = deployment.command(&["replay", path.to_str().unwrap(), "--speed", "1"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let written = |term: &str| {
        let output = std::process::Command::new("script")
            .args(["-qec", &words.join(" "), "/dev/null"])
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TERM", term)
            .stdin(Stdio::null())
            .output();
        output
            .ok()
            .map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Some(drawn) = written("xterm") else {
        println!("skipped: script is not there (Debian: bsdutils)");
        return;
    };
    assert!(drawn.contains("\u{1b}["), "{drawn:?}");
    let plain = written("dumb").unwrap();
    assert!(plain.contains("published 2 events"), "{plain:?}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
}
