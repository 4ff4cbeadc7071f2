//! The watch over sources, once a second: which deliver nothing though they should.

use super::Detector;
use crate::detect::source_silence::SourceSilence;
use crate::domain::event::SourceClock;

/// Seconds for which a site's latest event speaks for its source.
const ACTIVE_SECONDS: i64 = 3_600;

impl Detector {
    /// Finds out which sources are silent, tells the operator, and lets the engines hold back what
    /// is decided by the absence of events. Only live sources can be silent: what a log holds may
    /// end.
    pub(super) fn watch_sources(&mut self, now_ms: i64) {
        let since = u32::try_from(now_ms / 1_000 - ACTIVE_SECONDS).unwrap_or(0);
        let sources = &self.settings.engine.sources;
        let mut silent = vec![false; sources.len()];
        for (index, source) in sources.iter().enumerate() {
            let is_live = source.clock == SourceClock::Live;
            let owned = self.owned.iter().flatten();
            let active_sites = || owned.map(|owned| owned.engine.active_sites(index, since)).sum();
            silent[index] = is_live && self.silences[index].is_silent(active_sites, now_ms);
            let topic = &*source.topic;
            let gauge = self.links.metrics.source_silent.with_label_values(&[topic]);
            self.session.show_sum(&gauge, i64::from(silent[index]));
            let was_silent = self.silent[index];
            if silent[index] {
                let text = format!(
                    "{topic} has delivered no record of any site for a while, though it should: is its producer \
                     dead? Drops and silences of its sites are held back for up to 15 minutes"
                );
                if !was_silent {
                    tracing::warn!(topic, "{text}");
                }
                self.links.health.notice(&format!("silent {topic}"), text, now_ms);
            } else if was_silent {
                tracing::info!(topic, "the source delivers records again");
            }
        }
        let since_ms: Vec<Option<i64>> = silent
            .iter()
            .zip(&self.silences)
            .map(|(is_silent, source)| is_silent.then(|| source.last_ms()))
            .collect();
        for owned in self.owned.iter_mut().flatten() {
            owned.engine.set_silent_sources(&since_ms);
        }
        self.silent = silent;
    }

    /// Begins to watch the sources anew: with other partitions, other records are to be expected.
    pub(super) fn restart_watch(&mut self, now_ms: i64) {
        for silence in &mut self.silences {
            *silence = SourceSilence::new(now_ms);
        }
    }
}
