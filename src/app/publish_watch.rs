//! A watch over what Kafka acknowledges. Brokers that answer every other request may acknowledge
//! nothing, and then nothing else tells of it.

use std::sync::Arc;

use crate::clock;
use crate::kafka::client::ClientEvents;
use crate::telemetry::Health;
use crate::telemetry::throttle::Throttle;

/// Key of the notice on `/readyz`.
const NOTICE: &str = "unacknowledged";

/// Looks at what waits for an acknowledgement.
pub(super) struct PublishWatch {
    pub(super) client_events: ClientEvents,
    pub(super) health: Arc<Health>,
    pub(super) lines: Throttle,
}

impl PublishWatch {
    /// Shows how long the oldest record has waited. The error is that none at all is acknowledged;
    /// while others are, a notice names the topic.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let (now, records) = (clock::monotonic(), self.client_events.unanswered());
        let oldest = records.oldest(now).as_secs_f64();
        self.client_events.metrics().produce_oldest_seconds.set(oldest);
        let Some(stall) = records.stall(now) else {
            self.health.end_notice(NOTICE);
            return Ok(());
        };
        let (topic, seconds) = (stall.topic, stall.age.as_secs());
        let text = match stall.is_total {
            true => format!(
                "no broker has acknowledged what was published for {seconds} s (topic {topic}); what follows from it \
                 waits"
            ),
            false => format!(
                "a record for the topic {topic} has waited {seconds} s for its acknowledgement, and what follows from \
                 it waits: look at the leaders and the in-sync replicas of its partitions"
            ),
        };
        if let Some(suppressed) = self.lines.admit(now) {
            tracing::warn!(topic, seconds, suppressed, "{text}");
        }
        if stall.is_total {
            self.health.end_notice(NOTICE);
            return Err(text);
        }
        self.health.notice(NOTICE, text, clock::now_ms());
        Ok(())
    }
}
