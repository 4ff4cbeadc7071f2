//! A thread's work of each second, and the answers to the questions it asks then.

use super::notices::cause;
use super::{Detector, owned_mut};
use crate::clock;
use crate::kafka::topic_partition::TopicPartition;

impl Detector {
    /// Advances silent sites, asks for ends and shows gauges, once a second.
    pub(super) fn tick(&mut self) {
        let now = clock::monotonic();
        if !self.session.due_tick(now) {
            return;
        }
        let now_ms = clock::now_ms();
        self.watch_sources(now_ms);
        let routed_until_ms = self.links.routed_until.ms();
        for owned in self.owned.iter_mut().flatten() {
            owned.tick(now_ms);
            owned.note_questions(now_ms, routed_until_ms);
        }
        let topic = self.state_topic();
        let partitions = self.owned.iter().flatten().flat_map(|owned| {
            let partition = owned.partition;
            let states = TopicPartition { topic, partition };
            owned.partitions().chain([states])
        });
        let partitions: Vec<TopicPartition> = partitions.collect();
        self.log_ends.ask(partitions, now_ms);
        self.retry_unrestored();
        self.write_lost_states();
        self.flush();
        self.hand_over_history(false);
        self.report_engine_counters();
        self.session.show_last_poll(now_ms);
        self.show_gauges(now_ms);
        self.report_replay(now);
        self.report_active_sites(now);
        self.show_notices(now_ms);
    }

    /// Number of the state topic, which follows those of the sources.
    fn state_topic(&self) -> usize {
        self.settings.engine.sources.len()
    }

    /// Hands the ends that brokers have answered to the partitions.
    pub(super) fn receive_ends(&mut self) {
        let state_topic = self.state_topic();
        for answer in self.log_ends.receive() {
            let at = answer.at;
            match (answer.end, owned_mut(&mut self.owned, at.partition)) {
                (Ok(end), Some(owned)) if at.topic == state_topic => {
                    owned.state_log.prove_end(end, answer.asked_ms);
                }
                // `/readyz` names the topic if it is missing.
                (Err(_), Some(owned)) if at.topic == state_topic => owned.state_log.forget_question(),
                (Ok(end), Some(owned)) => owned.prove_end(at.topic, end, answer.asked_ms),
                (Err(code), Some(owned)) => {
                    owned.forget_question(at.topic, code, clock::now_ms());
                    self.links.client_events.note(Some(code));
                    if let Some(suppressed) = self.links.client_events.admit(Some(code)) {
                        tracing::warn!(
                            topic = self.counts.source(at.topic),
                            partition = at.partition,
                            error = cause(code),
                            suppressed,
                            "the end of a partition is not known, and its silent sites wait"
                        );
                    }
                }
                (_, None) => {}
            }
        }
    }
}
