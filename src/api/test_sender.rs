//! The way from the API to an endpoint: a test is sent by the process that answers the call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::link_template::LinkTemplate;
use crate::domain::webhook::Webhook;
use crate::record::outcomes::AttemptRow;

/// A test notification to be sent.
#[derive(Debug)]
pub(crate) struct TestRequest {
    pub(crate) webhook: Webhook,
    pub(crate) delivery_id: DeliveryId,
    pub(crate) notification_id: NotificationId,
    /// The canonical body.
    pub(crate) body: Bytes,
}

/// Makes one attempt, which always ends.
pub(crate) type SendTest = dyn Fn(TestRequest) -> BoxFuture<'static, AttemptRow> + Send + Sync;

/// Sends tests, each in a task that goes on when its caller hangs up.
#[derive(Clone)]
pub(crate) struct TestSender {
    pub(crate) send: Arc<SendTest>,
    pub(crate) links: Option<LinkTemplate>,
    /// Longest time of an attempt.
    pub(crate) timeout: Duration,
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for TestSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSender")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
