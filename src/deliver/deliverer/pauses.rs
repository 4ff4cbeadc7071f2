//! Marking what waits for a paused webhook, whatever it waited for before: the time of a pause does
//! not count as its age, and retention keeps it until the pause has ended. After that it waits for
//! something else, and grows older.

use std::collections::HashSet;

use super::Deliverer;
use crate::clock;
use crate::deliver::decide::WebhookState;
use crate::deliver::events::{LaneEvent, PauseChange};
use crate::domain::health::WaitingWebhook;
use crate::domain::id::WebhookId;
use crate::domain::time::from_ms;
use crate::record::pauses;
use crate::telemetry::words::PostgresOp;

impl Deliverer {
    /// Marks the rows of the webhooks that a look has found, once for each pause, and ends the
    /// marking once. What is parked later is marked when it is parked; if it is not, because its
    /// attempt began before the pause, the webhook's rows are looked at once more.
    pub(super) fn mark_paused(&mut self, found: &[WaitingWebhook]) {
        if self.looks.is_marking {
            return;
        }
        let waiting: HashSet<WebhookId> = found.iter().map(|one| one.webhook_id).collect();
        self.looks.marked.retain(|id, _| waiting.contains(id));
        self.looks.ended.retain(|id, _| waiting.contains(id));
        let now_ms = clock::now_ms();
        let change = |id: WebhookId| {
            let WebhookState::There(webhook) = self.snapshot(id).webhook else {
                return None;
            };
            Some((id, self.looks.pause_change(&webhook, now_ms)?))
        };
        let changes: Vec<_> = waiting.into_iter().filter_map(change).collect();
        if changes.is_empty() {
            return;
        }
        self.looks.begin_marking(&changes);
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let (events, give_up) = (self.links.events.clone(), self.links.give_up.clone());
        self.links.tasks.spawn(async move {
            let mut done = Vec::new();
            let mark = async {
                for (id, change) in changes {
                    let mut after = None;
                    loop {
                        let page = monitor.once(PostgresOp::Unpark, async {
                            let mut connection = pool.acquire().await?;
                            match change {
                                PauseChange::Mark { until_ms } => {
                                    pauses::mark_paused(&mut connection, id, from_ms(until_ms), after).await
                                }
                                PauseChange::End { ended_ms, .. } => {
                                    pauses::end_pause(&mut connection, id, from_ms(ended_ms), after).await
                                }
                            }
                        });
                        // After an error the next look tries again.
                        let Ok(next) = page.await else { return };
                        after = next;
                        if after.is_none() {
                            break;
                        }
                    }
                    done.push((id, change));
                }
            };
            give_up.run_until_cancelled(Box::pin(mark)).await;
            drop(events.send(LaneEvent::PausesChanged(done)));
        });
    }
}
