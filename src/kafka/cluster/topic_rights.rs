//! Rights on topics, as the brokers list them for the client that asks (KIP-430); `rdkafka` does
//! not wrap this request.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as sys;

use crate::clock;
use crate::kafka::brokers::answering_broker;
use crate::kafka::queue::OwnQueue;
use crate::kafka::rights::AclOperation;

/// Time that the client has to report that a request was not answered in time.
const REPORT_SLACK: Duration = Duration::from_millis(500);

/// The cluster's answer about the rights on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TopicRights {
    /// This client may not even see it.
    Hidden,
    /// It may do these.
    Allowed(Vec<AclOperation>),
    /// There is no such topic, or the brokers list no rights.
    Unknown,
}

impl TopicRights {
    /// The operations among `needed` that are not allowed.
    pub(super) fn lacking(&self, needed: &[AclOperation]) -> Vec<AclOperation> {
        let is_lacking = |operation: &&AclOperation| match self {
            Self::Hidden => true,
            Self::Allowed(allowed) => !allowed.contains(operation),
            Self::Unknown => false,
        };
        needed.iter().filter(is_lacking).copied().collect()
    }
}

/// Asks for the rights on `topics`, none named twice, and blocks until the answer, which is in the
/// same order.
pub(super) fn ask<C: ConsumerContext + 'static>(
    client: &Arc<BaseConsumer<C>>,
    topics: &[&str],
    within: Duration,
) -> KafkaResult<Vec<TopicRights>> {
    let until = clock::monotonic() + within;
    let Some(topic) = topics.first() else {
        return Ok(Vec::new());
    };
    let broker = answering_broker(client.client(), Some(topic), within)?;
    let within = until.saturating_duration_since(clock::monotonic());
    let names: Result<Vec<CString>, _> = topics.iter().map(|topic| CString::new(*topic)).collect();
    let names = names.map_err(|_| KafkaError::Subscription("a topic's name holds NUL".into()))?;
    let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let queue = OwnQueue::new(Arc::clone(client));
    let timeout_ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: client, queue and names outlive the calls; librdkafka copies the names, the
    // collection and the options; the collection and the options are destroyed once each.
    unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = sys::rd_kafka_AdminOptions_new(queue.client(), operation);
        // Neither can fail: the values are in range, and the options are those of this question.
        drop_error(sys::rd_kafka_AdminOptions_set_include_authorized_operations(
            options, 1,
        ));
        sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms(within), ptr::null_mut(), 0);
        if let Some(broker) = broker {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        }
        sys::rd_kafka_DescribeTopics(queue.client(), collection, options, queue.as_ptr());
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(collection);
    }
    // SAFETY: the queue is alive; the event is ours, and is destroyed once, after it was read.
    unsafe {
        let event = sys::rd_kafka_queue_poll(queue.as_ptr(), timeout_ms(within + REPORT_SLACK));
        let event = NonNull::new(event).ok_or(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))?;
        let answer = read(event, topics.len());
        sys::rd_kafka_event_destroy(event.as_ptr());
        answer
    }
}

/// # Safety
/// `event` is alive.
unsafe fn read(event: NonNull<sys::rd_kafka_event_t>, count: usize) -> KafkaResult<Vec<TopicRights>> {
    // SAFETY: as the caller promises; the descriptions belong to the event, and are as many as it
    // says.
    unsafe {
        let error = sys::rd_kafka_event_error(event.as_ptr());
        if error.is_error() {
            return Err(KafkaError::AdminOp(error.into()));
        }
        let mut rights = vec![TopicRights::Unknown; count];
        let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            return Ok(rights);
        }
        let mut found = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut found);
        for (index, rights) in rights.iter_mut().enumerate().take(found) {
            // A topic that the broker left out has no description; its rights stay unknown.
            let description = *descriptions.add(index);
            if !description.is_null() {
                *rights = rights_of(description);
            }
        }
        Ok(rights)
    }
}

/// # Safety
/// `description` is alive.
unsafe fn rights_of(description: *const sys::rd_kafka_TopicDescription_t) -> TopicRights {
    use sys::rd_kafka_AclOperation_t as Acl;

    // SAFETY: as the caller promises; the operations belong to the description, and are as many as
    // it says.
    let operations = unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            let code: RDKafkaErrorCode = sys::rd_kafka_error_code(error).into();
            return match code {
                RDKafkaErrorCode::TopicAuthorizationFailed => TopicRights::Hidden,
                _ => TopicRights::Unknown,
            };
        }
        let mut count = 0;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(description, &raw mut count);
        if operations.is_null() {
            return TopicRights::Unknown;
        }
        std::slice::from_raw_parts(operations, count)
    };
    let known = operations.iter().filter_map(|operation| match operation {
        Acl::RD_KAFKA_ACL_OPERATION_CREATE => Some(AclOperation::Create),
        Acl::RD_KAFKA_ACL_OPERATION_DESCRIBE => Some(AclOperation::Describe),
        Acl::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Some(AclOperation::DescribeConfigs),
        Acl::RD_KAFKA_ACL_OPERATION_READ => Some(AclOperation::Read),
        Acl::RD_KAFKA_ACL_OPERATION_WRITE => Some(AclOperation::Write),
        _ => None,
    });
    TopicRights::Allowed(known.collect())
}

/// # Safety
/// `error` is null, or ours.
unsafe fn drop_error(error: *mut sys::rd_kafka_error_t) {
    if !error.is_null() {
        // SAFETY: as the caller promises.
        unsafe { sys::rd_kafka_error_destroy(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_lacks_what_the_brokers_do_not_allow() {
        use AclOperation::{Describe, Read, Write};
        for (rights, lacking) in [
            (TopicRights::Hidden, vec![Read, Write]),
            (TopicRights::Allowed(vec![Describe, Write]), vec![Read]),
            (TopicRights::Allowed(vec![Read, Write]), vec![]),
            (TopicRights::Unknown, vec![]),
        ] {
            assert_eq!(rights.lacking(&[Read, Write]), lacking, "{rights:?}");
        }
    }
}
