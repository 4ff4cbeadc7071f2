//! The end of the deliverer: what is under way ends, and nothing begins.

use std::pin::pin;

use tokio::sync::mpsc;

use super::{DOWN_POLL, Deliverer};
use crate::clock;
use crate::deliver::events::LaneEvent;

impl Deliverer {
    /// Lets what is under way end. Nothing begins any more: the partitions were given back. While
    /// Postgres is away, only requests are waited for: what it would be asked is of no more use,
    /// and what it would be told is found again by the next owner.
    pub(super) async fn finish(mut self, mut events: mpsc::UnboundedReceiver<LaneEvent>) {
        let (attempts, tasks) = (self.links.attempts.tasks.clone(), self.links.tasks.clone());
        attempts.close();
        tasks.close();
        let (monitor, give_up) = (self.links.monitor.clone(), self.links.give_up.clone());
        let mut in_vain = pin!(async {
            attempts.wait().await;
            while monitor.is_answering(clock::monotonic()) {
                tokio::time::sleep(DOWN_POLL).await;
            }
        });
        loop {
            tokio::select! {
                // Before the end of the tasks, of which the last may have sent one.
                biased;
                Some(event) = events.recv() => match event {
                    LaneEvent::Ended { webhook, end, .. } => {
                        self.ended(webhook, end);
                        self.show_in_flight();
                    }
                    // Claimed too late: the next owner need not wait for the claim's end.
                    LaneEvent::Taken { rows, .. }
                    | LaneEvent::Cancelled(rows)
                    | LaneEvent::Waiting { ended: rows, .. } => {
                        self.clean_up(rows.given_back(), Vec::new());
                    }
                    _ => {}
                },
                () = async { tokio::join!(attempts.wait(), tasks.wait()); } => {
                    break tracing::info!("every request has ended");
                }
                () = &mut in_vain => break tracing::warn!(
                    questions = tasks.len(),
                    "every request has ended; what Postgres would be asked is left to the next owner"
                ),
                () = give_up.cancelled() => break tracing::warn!(
                    requests = attempts.len(),
                    "requests that still ran were given up at the end of the grace period"
                ),
            }
        }
    }
}
