//! In: delivery records, one at a time, with the webhook they are for. Out: one HTTP request, its outcome, and what follows.
//! Guaranteed: every attempt ends within its deadline, its outcome is classified, and whose fault it was is part of it.
//! Not guaranteed: that the endpoint saw a request only once. Limits, queues and circuits are not here yet.
//! A record passes `resume`, `gate`, `request`, `client`, `outcome`, in this order.

/// The thread that reads delivery records.
pub(crate) mod intake;
/// From a record to an outcome.
pub(crate) mod deliverer;
/// Going on after a crash: a recorded attempt redoes its publish, never its send.
pub(crate) mod resume;
/// Refusing what is no longer wanted.
pub(crate) mod gate;
/// The request of one attempt.
pub(crate) mod request;
/// The two kinds of signature.
pub(crate) mod signature;
/// The HTTP edge.
pub(crate) mod http;
/// Queues, limits and health of endpoints: who is sent next.
pub mod lanes;
/// The step that follows an attempt.
pub(crate) mod outcome;
/// The deliveries this process is busy with.
pub(crate) mod in_flight;
/// From an outcome to Postgres, and to what follows.
pub(crate) mod writer;
/// The health of webhooks, written now and then.
pub(crate) mod health_notes;
