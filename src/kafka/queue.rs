//! A queue of librdkafka's that was created here.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka_sys as sys;

use super::member::MemberContext;

/// A queue that is destroyed when it is dropped, and keeps its client alive until then.
pub(super) struct OwnQueue<C: ConsumerContext + 'static = MemberContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Dropped after the queue, since fields are dropped after `Drop::drop`.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ConsumerContext> Send for OwnQueue<C> {}

impl<C: ConsumerContext> OwnQueue<C> {
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka allocates or aborts");
        Self { queue, consumer }
    }

    /// Handle of the queue, valid for as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Handle of the client, valid for as long as `self`.
    pub(super) fn client(&self) -> *mut sys::rd_kafka_t {
        self.consumer.client().native_ptr()
    }
}

impl<C: ConsumerContext> Drop for OwnQueue<C> {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new and given back once; the client is still alive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}
