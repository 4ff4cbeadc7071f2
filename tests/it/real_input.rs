//! An access log, replayed, against a brute-force count by a program in another language that
//! shares no code.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::Receiver;

/// A number below `bound`.
fn next(rng: &mut TestRng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

const SECRET: &str = "a-secret-for-this-test-only";

/// Two days of a made-up site: quiet, with bursts; lines out of order by up to ten minutes, a few
/// by hours; assets, failures and robots among them.
fn access_log() -> String {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut log = String::new();
    let mut second = 0_u64;
    for _ in 0..3_000 {
        let burst = second / 3_600 % 5 == 2;
        second += if burst {
            next(&mut rng, 12)
        } else {
            next(&mut rng, 110)
        };
        let back = match next(&mut rng, 50) {
            0 => next(&mut rng, 20_000),
            1..=15 => next(&mut rng, 600),
            _ => 0,
        };
        let at = second.saturating_sub(back);
        let (day, hour, minute, rest) = (1 + at / 86_400, at / 3_600 % 24, at / 60 % 60, at % 60);
        let host = next(&mut rng, if burst { 60 } else { 25 });
        let agent = next(&mut rng, 3);
        let request = match next(&mut rng, 12) {
            0 => "GET /style.css HTTP/1.1",
            1 => "POST /blog/1 HTTP/1.1",
            2 => "GET /robots.txt HTTP/1.1",
            3..=5 => "GET /blog/first?from=news HTTP/1.1",
            6 => "GET /docs/start HTTP/1.1",
            _ => "GET / HTTP/1.1",
        };
        let status = [200, 200, 200, 304, 404][next(&mut rng, 5) as usize];
        writeln!(
            log,
            "10.0.0.{host} - - [{day:02}/Mar/2024:{hour:02}:{minute:02}:{rest:02} +0100] \"{request}\" {status} 512 \"-\" \"Browser/{agent}\""
        )
        .unwrap();
    }
    log
}

#[tokio::test]
async fn a_replayed_log_gives_what_brute_force_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    std::fs::write(&file, access_log()).unwrap();
    let oracle = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/oracle/expected_notifications.py"
        ))
        .arg(&file)
        .args(["--thresholds", "8,12,20,30", "--goals", "/blog*,/docs/*"])
        .output()
        .unwrap();
    assert!(
        oracle.status.success(),
        "{}",
        String::from_utf8_lossy(&oracle.stderr)
    );
    let expected: Value = serde_json::from_slice(&oracle.stdout).unwrap();

    let deployment = Deployment::create(&[("sources", "[{topic=\"{source}\", clock=\"log\"}]")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let mut wanted = Vec::new();
    for (threshold, count) in expected["spikes"].as_object().unwrap() {
        let body = json!({
            "name": threshold, "url": receiver.url(&format!("spike-{threshold}")), "secret": SECRET, "events": ["visitor_spike"],
            "triggers": {"visitor_spike": {"threshold": threshold.parse::<u32>().unwrap()}},
        });
        deployment.create_webhook(&process, "site", body).await;
        wanted.push((format!("spike-{threshold}"), count.as_u64().unwrap()));
    }
    let goals = expected["goals"].as_object().unwrap();
    for (path, count) in goals {
        let name = path.trim_matches(['/', '*']);
        let goal = json!({"name": name, "kind": "page", "path": path});
        let (status, answer) = deployment
            .call(
                &process,
                reqwest::Method::POST,
                "/api/sites/site/goals",
                Some(goal),
            )
            .await;
        assert_eq!(status, 201, "{answer}");
        let body = json!({
            "name": name, "url": receiver.url(name), "secret": SECRET, "events": ["goal_completion"],
            "triggers": {"goal_completion": {"goals": [name]}},
        });
        deployment.create_webhook(&process, "site", body).await;
        wanted.push((name.to_owned(), count.as_u64().unwrap()));
    }
    deployment
        .goal_webhook(&process, "site", &receiver.url("every"))
        .await;
    wanted.push((
        "every".to_owned(),
        goals.values().map(|count| count.as_u64().unwrap()).sum(),
    ));
    assert!(
        wanted.iter().all(|(_, count)| *count > 0),
        "a count of nothing shows nothing: {wanted:?}"
    );
    deployment.registry_is_read(&process).await;

    let replay = deployment.run(&["replay", file.to_str().unwrap(), "--site", "site", "--speed", "0"]);
    assert!(
        replay.status.success(),
        "{}",
        String::from_utf8_lossy(&replay.stderr)
    );
    let pageviews = expected["pageviews"].as_f64().unwrap();
    let series = format!(
        "bellwether_events_total{{result=\"counted\",source=\"{}\"}}",
        deployment.source
    );
    eventually("every event is counted", Duration::from_secs(60), || async {
        (process.metric(&series).await >= pageviews).then_some(())
    })
    .await;
    assert_eq!(process.metric(&series).await, pageviews);
    let total: u64 = wanted.iter().map(|(_, count)| count).sum();
    eventually("every delivery is recorded", Duration::from_secs(120), || async {
        let recorded: i64 = sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
        (recorded.unsigned_abs() >= total).then_some(())
    })
    .await;
    for (path, count) in wanted {
        assert_eq!(receiver.received(&path).len() as u64, count, "{path}");
    }
}
