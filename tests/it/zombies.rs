//! Deliverers that were stopped for longer than their session and go on: what another has finished
//! meanwhile is not sent again.
//!
//! `ZOMBIE_ROUNDS=10 make test ARGS="--test it zombies -- --nocapture"` is the long run.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::evidence::{Attempt, attempt_of, recorded_attempts};
use crate::support::load::{Endpoint, Load};
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Endpoints that take so long that deliveries wait for them.
const SLOW: [Endpoint; 2] = [
    Endpoint {
        name: "well",
        fails: 0,
        delay: Duration::from_secs(2),
    },
    Endpoint {
        name: "flaky",
        fails: 1,
        delay: Duration::from_secs(2),
    },
];

async fn holds(process: &Process, partitions: f64) {
    let series = "bellwether_consumer_partitions{group=\"deliver\"}";
    process.metric_is(series, partitions).await;
}

/// Waits until so many deliveries that a process has read wait for their turn.
async fn have_waiting(process: &Process, count: f64) {
    eventually("deliveries wait", TIMEOUT, || async {
        (process.try_metric("bellwether_queued").await? >= count).then_some(())
    })
    .await;
}

/// Requests since an instant of attempts that were recorded before it.
fn known_and_made_again(receiver: &Receiver, era: u32, known: &HashSet<Attempt>) -> Vec<Attempt> {
    let since = receiver.all().into_iter().filter(|one| one.era == era);
    since
        .map(|one| attempt_of(&one))
        .filter(|attempt| known.contains(attempt))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_woken_deliverer_sends_nothing_that_another_finished() {
    let rounds: u32 = std::env::var("ZOMBIE_ROUNDS").map_or(1, |text| text.parse().unwrap());
    let deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let processes = [deployment.serve(&[]).await, deployment.serve(&[]).await];
    holds(&processes[0], 2.0).await;
    let pace = Duration::from_millis(4);
    let load = Load::begin(&deployment, &processes[0], &receiver, &SLOW, pace).await;
    for round in 1..=rounds {
        let [stopped, other] = [0, 1].map(|one| &processes[(round as usize + one) % 2]);
        holds(stopped, 2.0).await;
        have_waiting(stopped, 40.0).await;
        stopped.signal("STOP");
        holds(other, 4.0).await;
        // The other one has sent some of what the stopped one still holds.
        load.goes_on(300).await;
        let known = recorded_attempts(&deployment.database.pool)
            .await
            .into_iter()
            .collect();
        receiver.begin_era();
        stopped.signal("CONT");
        holds(stopped, 2.0).await;
        load.goes_on(100).await;
        let again = known_and_made_again(&receiver, round, &known);
        assert_eq!(
            again,
            Vec::<Attempt>::new(),
            "round {round}: known as finished, and sent again"
        );
    }
    load.quicken(&receiver);
    let tally = load.end(&deployment, &receiver).await;
    println!("{rounds} suspensions: {tally}");
    tally.assert_whole();
}
