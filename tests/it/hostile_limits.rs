//! Limits of our own: they make requests wait, and fail none.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::app::Deployment;
use crate::support::eventually;

const TIMEOUT: Duration = Duration::from_secs(90);

/// Number in a variable of the environment, for the long run:
/// `LIMITS_ORIGINS=1000 LIMITS_FILES=1024 LIMITS_ROUNDS=3 make test ARGS="--test it more_origins"`.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Answers every request with 200 and keeps each connection open.
async fn keep_alive(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream));
    }
}

async fn answer_all(mut stream: TcpStream) {
    let mut buffer = [0; 8_192];
    // A small request comes in one piece.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
        let sent = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        if sent.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_origins_than_file_handles_fail_no_delivery() {
    let (origins, rounds) = (number("LIMITS_ORIGINS", 400), number("LIMITS_ROUNDS", 2));
    let mut deployment = Deployment::create(&[
        ("webhooks.max_per_site", "1000"),
        ("http.requests_per_second", "1000"),
        ("http.burst", "1000"),
    ])
    .await;
    // Half of it is for connections to endpoints: a third of the origins at a time.
    deployment.set_open_files(number("LIMITS_FILES", 256) as u32);
    let process = deployment.serve(&[]).await;
    for _ in 0..origins {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(keep_alive(listener));
        deployment.goal_webhook(&process, "example.com", &url).await;
    }
    deployment.registry_is_read(&process).await;
    for round in 0..rounds {
        let name = format!("Signup {round}");
        deployment
            .publish(json!({"site_id": "example.com", "type": "goal", "name": name}))
            .await;
    }
    let all = i64::try_from(origins * rounds).unwrap();
    eventually("every delivery has ended", TIMEOUT, || async {
        let delivered: i64 = sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
        (delivered == all).then_some(())
    })
    .await;
    let attempts: Vec<(String, i64)> =
        sqlx::query_as("select result, count(*) from delivery_attempts group by 1")
            .fetch_all(&deployment.database.pool)
            .await
            .unwrap();
    println!("{origins} origins, {rounds} rounds: {attempts:?}");
    assert_eq!(attempts, [("2xx".to_owned(), all)]);
}

/// Most requests of a process that may open 256 files and is configured as usual.
const MOST_REQUESTS: f64 = 77.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_endpoints_and_callers_leave_files_to_others() {
    let mut deployment = Deployment::create(&[("webhooks.timeout", "5s")]).await;
    deployment.set_open_files(256);
    let process = deployment.serve(&[]).await;
    let shortage = "may open 256 files, and its configuration needs 836: at most 77 requests";
    let (_, readiness) = process.readyz().await.unwrap();
    assert!(readiness["notices"].to_string().contains(shortage), "{readiness}");
    assert!(process.log_text().contains(shortage));
    assert_eq!(process.metric("bellwether_in_flight_limit").await, MOST_REQUESTS);

    // Each a host and a site of its own, so that only the process's limits hold.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let site = |number: u32| format!("hung-{number}.example");
    for number in 1..=120 {
        let url = format!("http://127.0.1.{number}:{port}/hook");
        deployment.goal_webhook(&process, &site(number), &url).await;
    }
    let receiver = deployment.goal_receiver(&process, "healthy.example").await;
    // They come to the API and to the admin listener, and say nothing.
    let addresses = [&process.api, &process.admin].map(|url| url.strip_prefix("http://").unwrap());
    let callers = addresses
        .iter()
        .flat_map(|address| (0..140).map(move |_| TcpStream::connect(address)));
    let _callers = futures_util::future::try_join_all(callers).await.unwrap();
    let goal = |site: String| json!({"site_id": site, "type": "goal", "name": "Signup"});
    for number in 1..=120 {
        deployment.publish(goal(site(number))).await;
    }
    process
        .metric_is("bellwether_endpoints{state=\"careful\"}", 120.0)
        .await;
    let began = std::time::Instant::now();
    for _ in 0..20 {
        deployment.publish(goal("healthy.example".to_owned())).await;
    }
    receiver.wait_for("hook", 20).await;
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "{took:?}: they waited for the hung ones"
    );
    let careful = process.metric("bellwether_in_flight{endpoint=\"careful\"}").await;
    assert!(careful <= MOST_REQUESTS / 2.0, "{careful}");
    println!("{} files are open", process.open_files());
    let short = sqlx::query_scalar::<_, i64>(
        "select count(*) from delivery_attempts where error like '%file handle%'",
    );
    assert_eq!(short.fetch_one(&deployment.database.pool).await.unwrap(), 0);
}
