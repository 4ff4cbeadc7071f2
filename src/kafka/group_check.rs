//! The right to be a member of a group, tried before a member joins: librdkafka only logs that it
//! lacks, once, and goes on trying.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::client::ClientEvents;
use super::rights::{AclOperation, MissingRight};
use super::settings;
use crate::config::KafkaConfig;

/// Longest time that the group's coordinator may take; a group without one is no matter of rights.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks at the events of the client.
const EVENTS_EVERY: Duration = Duration::from_millis(20);

/// Returns the right `operation` on a group, such as `Read` for a member, if this client may not
/// even see the group; every right on it brings that.
pub(crate) async fn find_missing_right(
    config: &KafkaConfig,
    client_events: &ClientEvents,
    operation: AclOperation,
    group: &str,
    topic: &str,
) -> KafkaResult<Option<MissingRight>> {
    let mut client = settings::client(config);
    client.set("group.id", group);
    let consumer: Arc<BaseConsumer<ClientEvents>> =
        Arc::new(client.create_with_context(client_events.apart())?);
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let asker = Arc::clone(&consumer);
    let mut asked = pin!(tokio::task::spawn_blocking(move || {
        asker
            .committed_offsets(list, TIMEOUT)
            .err()
            .and_then(|error| error.rdkafka_error_code())
    }));
    let mut looks = tokio::time::interval(EVENTS_EVERY);
    let refusal = loop {
        tokio::select! {
            answer = &mut asked => break answer.ok().flatten(),
            _ = looks.tick() => {
                // A coordinator that may not be looked up is reported here, and waited for there.
                if let Some(Err(error)) = consumer.poll(Duration::ZERO)
                    && error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
                {
                    break error.rdkafka_error_code();
                }
            }
        }
    };
    let is_refused = refusal == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
    Ok(is_refused.then(|| client_events.missing_right(operation, "group", group)))
}
