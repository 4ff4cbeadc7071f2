//! In: delivery records, one at a time, with the webhook they are for.
//! Out: one HTTP request, its outcome in Postgres, and the record that follows it.
//! Guaranteed: every attempt ends within its deadline, and its outcome says whose fault it was.
//! Not guaranteed: that the endpoint saw a request only once. Limits, queues and circuits are not
//! here yet.
//!
//! A delivery passes `intake`, `deliverer`, `decide`, `send`, `rows`, `writer` and
//! `outcome_publisher`, in this order.

/// The thread that reads delivery records.
pub(crate) mod intake;
/// The loop over batches of records: who is asked about, who waits, who is sent.
pub(crate) mod deliverer;
/// The state of deliveries in Postgres, read in batches.
pub(crate) mod progress;
/// The decision on one record.
pub(crate) mod decide;
/// The part of it that crashes demand: a recorded attempt redoes its publish, never its send.
pub(crate) mod resume;
/// The part of it that the webhook demands: nothing unwanted is sent.
pub(crate) mod gate;
/// One attempt, from its claim to its outcome.
pub(crate) mod send;
/// The request of one attempt.
pub(crate) mod request;
/// The body in the form that the endpoint takes.
pub(crate) mod formats;
/// The two kinds of signature.
pub(crate) mod signature;
/// The HTTP edge.
pub(crate) mod http;
/// The step that follows an attempt.
pub(crate) mod outcome;
/// Conversions between a record at work, an exchange and rows of Postgres.
pub(crate) mod rows;
/// Outcomes on their way to Postgres, in batches.
pub(crate) mod writer;
/// The record that follows a recorded outcome.
pub(crate) mod outcome_publisher;
/// The deliveries that this process works on.
pub(crate) mod in_flight;
/// The health of webhooks, written once a second.
pub(crate) mod health_notes;

#[cfg(test)]
pub(crate) mod tests;
