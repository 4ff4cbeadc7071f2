//! Series that are present at zero from the start, so that a rate is known from the first event on.

use super::{Labels, Metrics};
use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::event::{EventResult, EventType};
use crate::domain::health::{HealthState, ParkReason};
use crate::domain::reject::RejectReason;
use crate::domain::webhook::DisableReason;
use crate::telemetry::words::{
    AttemptKind, BoundedMap, ConnectionState, Group, HistoryTable, KafkaErrorKind, LoudLevel, NoticeOutcome,
    Phase, PostgresErrorKind, PostgresOp, ProcessRole, RateLimit, ReadyCheck, Rebalance, RequestClass,
    SuppressReason, WaitCause, WaitedFor,
};

impl Metrics {
    pub(super) fn put_at_zero(&self, labels: &Labels) {
        self.put_detection_at_zero(labels);
        self.put_kafka_at_zero(labels);
        self.put_delivery_at_zero(labels);
        self.put_process_at_zero();
    }

    fn put_detection_at_zero(&self, labels: &Labels) {
        for source in &labels.sources {
            for result in EventResult::WORDS {
                self.events.with_label_values(&[source.as_str(), result]);
            }
            for reason in RejectReason::WORDS {
                self.rejected_records
                    .with_label_values(&[source.as_str(), reason]);
            }
            self.miskeyed_records.with_label_values(&[source]);
            self.clock_skew.with_label_values(&[source]);
            self.source_silent.with_label_values(&[source]);
            self.records_missed.with_label_values(&[source]);
            self.topic_retention.with_label_values(&[source]);
        }
        for event in EventType::ALL {
            self.notifications.with_label_values(&[event.as_str()]);
            for reason in SuppressReason::WORDS {
                self.suppressed.with_label_values(&[event.as_str(), reason]);
            }
            for status in [
                DeliveryStatus::Delivered,
                DeliveryStatus::Failed,
                DeliveryStatus::Cancelled,
            ] {
                self.deliveries
                    .with_label_values(&[event.as_str(), status.as_str()]);
            }
        }
        for event in EventType::WITH_EPISODES {
            self.episodes.with_label_values(&[event.as_str()]);
        }
        for map in BoundedMap::WORDS {
            self.evictions.with_label_values(&[map]);
        }
    }

    fn put_kafka_at_zero(&self, labels: &Labels) {
        for group in Group::WORDS {
            self.consumer_partitions.with_label_values(&[group]);
            self.consumer_partitions_expected.with_label_values(&[group]);
            self.open_offsets.with_label_values(&[group]);
            self.commit_errors.with_label_values(&[group]);
            self.threads.with_label_values(&[group]);
            self.thread_busy.with_label_values(&[group]);
            self.rebalance_pause.with_label_values(&[group]);
            for event in Rebalance::WORDS {
                self.rebalances.with_label_values(&[group, event]);
            }
        }
        for (group, topic) in &labels.consumed {
            self.consumer_behind.with_label_values(&[group, topic]);
            self.consumer_lag.with_label_values(&[group, topic]);
            self.unreadable_records.with_label_values(&[topic]);
            self.newer_records_held.with_label_values(&[topic]);
            self.topic_retention.with_label_values(&[topic]);
            self.records_missed.with_label_values(&[topic]);
        }
        for kind in KafkaErrorKind::WORDS {
            self.kafka_errors.with_label_values(&[kind]);
        }
        for topic in &labels.produced {
            self.produce.with_label_values(&[topic]);
            self.produce_errors.with_label_values(&[topic]);
        }
    }

    fn put_delivery_at_zero(&self, labels: &Labels) {
        for reason in FailureReason::ALL {
            self.delivery_failures.with_label_values(&[reason.as_str()]);
        }
        for result in AttemptResult::WORDS {
            for fault in Fault::WORDS {
                for kind in AttemptKind::WORDS {
                    self.attempts.with_label_values(&[result, fault, kind]);
                }
            }
        }
        for phase in Phase::WORDS {
            self.attempt_phases.with_label_values(&[phase]);
        }
        for waited in WaitedFor::WORDS {
            self.delivery_start.with_label_values(&[waited]);
        }
        for tier in &labels.tiers {
            self.retry_lateness.with_label_values(&[tier]);
            self.retries_published.with_label_values(&[tier]);
        }
        for reason in DisableReason::WORDS {
            self.webhooks_disabled.with_label_values(&[reason]);
        }
        for outcome in NoticeOutcome::WORDS {
            self.operator_notices.with_label_values(&[outcome]);
        }
        for endpoint in [HealthState::Ok, HealthState::Careful].map(HealthState::as_str) {
            self.in_flight.with_label_values(&[endpoint]);
        }
        for cause in WaitCause::WORDS {
            self.queue_wait.with_label_values(&[cause]);
        }
        for state in HealthState::ALL
            .iter()
            .filter(|state| **state != HealthState::New)
        {
            self.endpoints.with_label_values(&[state.as_str()]);
        }
        for reason in ParkReason::WORDS {
            self.parked.with_label_values(&[reason]);
        }
    }

    fn put_process_at_zero(&self) {
        for role in ProcessRole::WORDS {
            self.roles.with_label_values(&[role]);
        }
        for op in PostgresOp::WORDS {
            self.postgres.with_label_values(&[op]);
            for kind in PostgresErrorKind::WORDS {
                self.postgres_errors.with_label_values(&[op, kind]);
            }
        }
        for state in ConnectionState::WORDS {
            self.postgres_connections.with_label_values(&[state]);
        }
        for table in HistoryTable::WORDS {
            self.postgres_retention_lag.with_label_values(&[table]);
        }
        for class in RequestClass::WORDS {
            self.http_request_duration.with_label_values(&[class]);
        }
        for kind in RateLimit::WORDS {
            self.rate_limited.with_label_values(&[kind]);
        }
        for level in LoudLevel::WORDS {
            self.log_events.with_label_values(&[level]);
        }
        for check in ReadyCheck::WORDS {
            self.ready.with_label_values(&[check]);
        }
    }
}
