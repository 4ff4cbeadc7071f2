//! Name servers that are slow, or never answer.
//!
//! A process reads `/etc/resolv.conf`, so it gets one of its own by a mount that only it sees, and
//! the name server is at port 53 of an address of the loopback. Both need the rights of root:
//! without them these tests are passed over. What a look-up gives is also tested in
//! `deliver::http`, for everybody.

use std::io::Write as _;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(90);

/// A name server. Every name has the addresses 127.0.0.1 and ::1, which are kept for a minute; one
/// that begins with `slow` has them after a second, and one that begins with `hung` never.
struct NameServer {
    /// Names that were asked for, with their first label only.
    asked: Arc<Mutex<Vec<String>>>,
    /// Configuration of the resolver that names it.
    configuration: tempfile::NamedTempFile,
}

impl NameServer {
    /// None without the rights of root.
    fn start() -> Option<Self> {
        // An address of its own: port 53 is one for all.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let ip = format!("127.{}.{high}.{low}", 53 + NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = UdpSocket::bind((ip.as_str(), 53)).ok()?;
        let may_mount = std::process::Command::new("unshare")
            .args(["--mount", "true"])
            .status();
        if !may_mount.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut configuration = tempfile::NamedTempFile::new().unwrap();
        writeln!(configuration, "nameserver {ip}").unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&asked);
        thread::spawn(move || serve(&socket, &names));
        Some(Self { asked, configuration })
    }

    /// Lets processes of a deployment ask it.
    fn serves(&self, deployment: &mut Deployment) {
        let file = self.configuration.path().display();
        let mount = format!("mount --bind {file} /etc/resolv.conf");
        deployment.set_launcher(&format!(
            "exec unshare --mount sh -c '{mount} && exec \"$0\" \"$@\"'"
        ));
    }

    fn times_asked(&self, label: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|name| *name == label).count()
    }
}

fn serve(socket: &UdpSocket, asked: &Arc<Mutex<Vec<String>>>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let first = usize::from(query[12]);
        let label = String::from_utf8_lossy(&query[13..13 + first]).into_owned();
        let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap();
        let kind = query[name_end + 2];
        let mut answer = query[..name_end + 5].to_vec();
        // Without an error, and with one record for a minute.
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
        match kind {
            1 => answer.extend_from_slice(&[4, 127, 0, 0, 1]),
            // One that may not be called.
            _ => answer.extend_from_slice(&[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        }
        asked.lock().unwrap().push(label.clone());
        let socket = socket.try_clone().unwrap();
        match label.as_str() {
            label if label.starts_with("hung") => {}
            label if label.starts_with("slow") => {
                thread::spawn(move || {
                    // The server's slowness, which is what is tested.
                    thread::sleep(Duration::from_secs(1));
                    drop(socket.send_to(&answer, from));
                });
            }
            _ => drop(socket.send_to(&answer, from)),
        }
    }
}

async fn set_up() -> Option<(NameServer, Deployment, Process, Receiver)> {
    let Some(names) = NameServer::start() else {
        println!("passed over: it needs port 53 and a mount, and so the rights of root");
        return None;
    };
    let mut deployment = Deployment::create(&[]).await;
    names.serves(&mut deployment);
    let process = deployment.serve(&[]).await;
    Some((names, deployment, process, Receiver::start().await))
}

async fn goal(deployment: &Deployment, site: &str, number: usize) {
    let goal = json!({"site_id": site, "type": "goal", "name": format!("goal {number}")});
    deployment.publish(goal).await;
}

/// Result, error and times of the first attempts of a site, the first one first.
type Attempt = (String, Option<String>, Option<i32>, i64);

async fn attempts(deployment: &Deployment, site: &str) -> Vec<Attempt> {
    let query = "select result, error, dns_ms, (extract(epoch from started_at - due_at) * 1000)::bigint
         from delivery_attempts join deliveries on id = delivery_id
         where site_id = $1 and attempt = 1 order by started_at";
    let rows = sqlx::query_as(query).bind(site);
    rows.fetch_all(&deployment.database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_name_server_harms_its_own_site_only() {
    let Some((names, deployment, process, receiver)) = set_up().await else {
        return;
    };
    for name in ["hung-1", "hung-2", "hung-3"] {
        let url = format!("http://{name}.test:{}/hung", receiver.port);
        deployment.goal_webhook(&process, "hung.example", &url).await;
    }
    let url = format!("http://fine.test:{}/fine", receiver.port);
    deployment.goal_webhook(&process, "fine.example", &url).await;
    deployment.registry_is_read(&process).await;
    const EVENTS: usize = 12;
    for number in 0..EVENTS {
        goal(&deployment, "hung.example", number).await;
        goal(&deployment, "fine.example", number).await;
        // The pace of the load.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    receiver.wait_for("fine", EVENTS).await;
    let fine = eventually("the healthy ones are recorded", TIMEOUT, || async {
        let fine = attempts(&deployment, "fine.example").await;
        (fine.len() == EVENTS).then_some(fine)
    })
    .await;
    let hung = eventually("each name has failed once", TIMEOUT, || async {
        let hung = attempts(&deployment, "hung.example").await;
        (hung.len() >= 3).then_some(hung)
    })
    .await;
    println!("healthy: {fine:?}");
    println!("hung: {hung:?}");
    // A look-up hangs for four seconds. Nobody waits for one.
    for (result, _, _, waited_ms) in &fine {
        assert!(result == "2xx" && *waited_ms < 2_000, "{fine:?}");
    }
    let (repeated,): (i64,) = sqlx::query_as(
        "select count(*) from deliveries where site_id = 'fine.example' and (attempts <> 1 or status <> 'delivered')",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    assert_eq!(repeated, 0);
    assert_eq!(receiver.received("fine").len(), EVENTS);
    assert_eq!(receiver.received("hung").len(), 0);
    // The first of each name has the whole time for its look-up.
    let text = "the host name could not be resolved: the name servers did not answer";
    for (result, error, _, _) in &hung[..3] {
        assert_eq!((result.as_str(), error.as_deref()), ("dns", Some(text)));
    }
    assert!(names.times_asked("hung-1") > 0 && names.times_asked("fine") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_look_up_succeeds_once_and_is_kept() {
    let Some((names, deployment, process, receiver)) = set_up().await else {
        return;
    };
    // Each request needs a connection of its own, and so a look-up.
    receiver.answer("hook", |_| Answer::status(200).with("connection", "close"));
    let url = format!("http://slow.test:{}/hook", receiver.port);
    deployment.goal_webhook(&process, "slow.example", &url).await;
    deployment.registry_is_read(&process).await;
    let mut asked = 0;
    for number in 1..=3 {
        goal(&deployment, "slow.example", number).await;
        let recorded = eventually("it is recorded", TIMEOUT, || async {
            let recorded = attempts(&deployment, "slow.example").await;
            (recorded.len() == number).then_some(recorded)
        })
        .await;
        let (result, error, dns_ms, _) = &recorded[number - 1];
        assert_eq!((result.as_str(), error), ("2xx", &None));
        let dns_ms = dns_ms.unwrap();
        if number == 1 {
            assert!((1_000..4_000).contains(&dns_ms), "{dns_ms}");
            asked = names.times_asked("slow");
        } else {
            assert!(dns_ms < 1_000, "{dns_ms}");
            assert_eq!(names.times_asked("slow"), asked, "it was asked again");
        }
    }
    assert!(asked >= 2, "for each kind of addresses");
}
