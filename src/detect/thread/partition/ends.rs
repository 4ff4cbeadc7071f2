//! Questions for the ends of a partition's sources, and the answers.

use rdkafka::error::RDKafkaErrorCode;

use super::OwnedPartition;
use crate::detect::thread::end_question::AnsweredEnd;
use crate::detect::thread::position::UnknownEnd;
use crate::kafka::topic_partition::TopicPartition;

impl OwnedPartition {
    /// Notes that the ends of all sources and of the states are asked for. A question that is still
    /// open is not asked again. What was published before `routed_until_ms` to other sources has
    /// been routed.
    pub(crate) fn note_questions(&mut self, asked_ms: i64, routed_until_ms: Option<i64>) {
        let routed = self.engine.routed_source();
        for source in 0..self.sources.len() {
            let next = self.completeness().next(source);
            let proves_ms = match routed == Some(source) {
                true => routed_until_ms.map(|until_ms| until_ms.min(asked_ms)),
                false => Some(asked_ms),
            };
            if let (Some(state), Some(next)) = (&mut self.sources[source], next)
                && state.end_question.ask(asked_ms, next)
            {
                state.proves_ms = proves_ms;
            }
        }
        self.state_log.note_question(asked_ms);
    }

    /// Notes that the question for a source's end has failed.
    pub(crate) fn forget_question(&mut self, source: usize, code: RDKafkaErrorCode, now_ms: i64) {
        if let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) {
            state.end_question.forget();
            let since_ms = state.unknown_end.map_or(now_ms, |unknown| unknown.since_ms);
            state.unknown_end = Some(UnknownEnd { since_ms, code });
        }
    }

    /// Partitions whose ends cannot be learned.
    pub(crate) fn unknown_ends(&self) -> impl Iterator<Item = (TopicPartition, UnknownEnd)> {
        let sources = self.sources.iter().enumerate();
        sources.filter_map(|(topic, source)| Some((self.at(topic), source.as_ref()?.unknown_end?)))
    }

    /// Notes the end of a source's partition, as it was answered to a request of `asked_ms`.
    ///
    /// An end before what had been read by then is short. What was read since says nothing: the
    /// answer is older.
    pub(crate) fn prove_end(&mut self, source: usize, end: i64, asked_ms: i64) {
        let Some(state) = self.sources.get_mut(source).and_then(Option::as_mut) else {
            return;
        };
        state.unknown_end = None;
        let proves_ms = match state.end_question.answer(end, asked_ms) {
            AnsweredEnd::Whole => state.proves_ms,
            AnsweredEnd::Unasked if self.engine.routed_source() == Some(source) => None,
            AnsweredEnd::Unasked => Some(asked_ms),
            AnsweredEnd::Short => return,
            AnsweredEnd::GoneBack { .. } => {
                self.is_back(source, end);
                return;
            }
        };
        self.engine.completeness_mut().prove_end(source, end, proves_ms);
    }
}
