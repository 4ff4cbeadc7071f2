//! Records that Kafka removed, by retention or a deletion, before they were read.

use super::Intake;

impl Intake {
    /// Passes over what was removed, and tells of it on `/readyz`. Called once a second.
    pub(super) fn pass_over_removed(&mut self, now_ms: i64) {
        let (member, metrics) = (self.session.member(), &self.links.metrics);
        for (at, partition) in &mut self.partitions {
            partition.pass_over_removed(*at, member, metrics);
        }
        self.missed_told.resize(self.settings.topics.len(), 0);
        for (topic, told) in self.settings.topics.iter().zip(&mut self.missed_told) {
            let missed = metrics.records_missed.with_label_values(&[topic]).get();
            if missed > std::mem::replace(told, missed) {
                let text = format!(
                    "{missed} records of {topic} were removed by Kafka before they were read; what was to be sent \
                     again is taken up by `recover` an hour after its due time"
                );
                self.links.health.notice(&format!("missed {topic}"), text, now_ms);
            }
        }
    }
}
