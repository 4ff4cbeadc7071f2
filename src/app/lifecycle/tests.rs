use super::*;
use crate::clock;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Labels;

#[test]
fn a_hang_up_that_nohup_ignores_is_left_ignored() {
    let status = |mask: &str| format!("Name:\tbellwether\nSigBlk:\t0000000000000000\nSigIgn:\t{mask}\n");
    assert!(ignores_hang_up(&status("0000000000001001")));
    assert!(!ignores_hang_up(&status("0000000000001000")));
    assert!(!ignores_hang_up(""));
}

#[tokio::test]
async fn requests_are_given_up_when_the_grace_is_over() {
    let health = Arc::new(Health::new(Arc::new(Metrics::new(&Labels::default())), &[]));
    let lifecycle = Lifecycle::default();
    let grace = Duration::from_millis(20);
    let stopped = async {
        tokio::task::yield_now().await;
        assert!(health.readiness(0).ready && !lifecycle.give_up.is_cancelled());
        let told = clock::monotonic();
        lifecycle.stop.cancel();
        lifecycle.give_up.cancelled().await;
        assert!(clock::monotonic().duration_since(told) >= grace);
        assert!(!health.readiness(0).ready);
        lifecycle.finished.cancel();
    };
    let limit = lifecycle.clone().limit_grace(grace, Arc::clone(&health));
    let (limited, ()) = tokio::join!(limit, stopped);
    limited.expect("no failure");
}
