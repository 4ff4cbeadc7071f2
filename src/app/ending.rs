//! The log of a process that was told to stop: what it still waits for.

use std::sync::Arc;
use std::time::Duration;

use super::context::AppContext;
use super::lifecycle::FINAL_WRITE_TIMEOUT;
use crate::clock;
use crate::deliver::in_flight::{InFlight, Unfinished};
use crate::tasks::Tasks;

/// Time from the signal to the first line: an ordinary end takes less.
const FIRST_AFTER: Duration = Duration::from_secs(3);
/// Time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Starts the log. Nothing is said while nothing of a delivery is unfinished.
pub(super) fn start(app: &AppContext, in_flight: &Arc<InFlight>, tasks: &mut Tasks) {
    let (in_flight, monitor) = (Arc::clone(in_flight), app.pg_monitor.clone());
    let (stop, finished) = (app.lifecycle.stop.clone(), app.lifecycle.finished.clone());
    let longest = app.config.shutdown.grace + FINAL_WRITE_TIMEOUT;
    let log = async move {
        stop.cancelled().await;
        let told = clock::monotonic();
        let mut pause = FIRST_AFTER;
        loop {
            tokio::time::sleep(pause).await;
            pause = EVERY;
            let now = clock::monotonic();
            let left = longest.saturating_sub(now.saturating_duration_since(told));
            if let Some(awaited) = awaited(&in_flight.unfinished(), monitor.is_answering(now)) {
                tracing::warn!(
                    "stopping: waits for {awaited}, for at most {} s more",
                    left.as_secs()
                );
            }
        }
    };
    tasks.spawn_background("ending", async move {
        finished.run_until_cancelled(log).await;
        Ok(())
    });
}

/// Words what is waited for, if it is anything.
fn awaited(unfinished: &Unfinished, is_postgres_there: bool) -> Option<String> {
    let Unfinished { requests, outcomes } = *unfinished;
    let number = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    let ends = (requests > 0).then(|| format!("the end of {}", number(requests, "request")));
    let records = (outcomes > 0).then(|| {
        let outcomes = number(outcomes, "outcome");
        match is_postgres_there {
            true => format!("{outcomes} to be recorded, and for what follows"),
            false => format!(
                "PostgreSQL, which is away, to record {outcomes} (else what was sent is sent again, as a possible repeat)"
            ),
        }
    });
    let parts: Vec<String> = ends.into_iter().chain(records).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_named() {
        for (requests, outcomes, is_postgres_there, parts) in [
            (1, 0, true, &["the end of 1 request"][..]),
            (
                2,
                3,
                false,
                &[
                    "the end of 2 requests and PostgreSQL, which is away",
                    "record 3 outcomes",
                ],
            ),
            (0, 1, true, &["1 outcome to be recorded"]),
        ] {
            let words = awaited(&Unfinished { requests, outcomes }, is_postgres_there).expect("words");
            assert!(parts.iter().all(|part| words.contains(part)), "{words}");
        }
        let nothing = Unfinished {
            requests: 0,
            outcomes: 0,
        };
        assert_eq!(awaited(&nothing, false), None);
    }
}
