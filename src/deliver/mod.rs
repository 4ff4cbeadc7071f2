//! In: delivery records, one at a time, with the webhook they are for.
//! Out: one HTTP request, its outcome in Postgres, and the record that follows it.
//! Guaranteed: every attempt ends within its deadline, and its outcome says whose fault it was.
//! Not guaranteed: that the endpoint saw a request only once.
//!
//! A delivery passes `intake`, `deliverer`, `decide`, `lanes`, `send`, `rows`, `writer` and
//! `outcome_publisher`, in this order. What may not be sent for now waits in Postgres, and comes
//! back to the deliverer.

/// The thread that reads delivery records.
pub(crate) mod intake;
/// The loop between reading and sending; it also takes parked deliveries up again.
pub(crate) mod deliverer;
/// Reports to that loop.
pub(crate) mod events;
/// Counts of what waits in Postgres, and the webhooks to look at next.
pub(crate) mod backlog;
/// The state of deliveries in Postgres, read in batches.
pub(crate) mod progress;
/// The decision on one record.
pub(crate) mod decide;
/// The part of it that crashes demand: a recorded attempt redoes its publish, never its send.
pub(crate) mod resume;
/// The part of it that the webhook's settings demand: nothing unwanted is sent.
pub(crate) mod admission;
/// One attempt, from its claim to its outcome.
pub(crate) mod send;
/// One attempt outside of all queues.
pub(crate) mod single_send;
/// The request of one attempt.
pub(crate) mod request;
/// The body in the form that the endpoint takes.
pub(crate) mod formats;
/// Paths taken out of what was decided before their site wanted none named.
mod paths;
/// The two kinds of signature.
pub(crate) mod signature;
/// The HTTP edge.
pub(crate) mod http;
/// Queues, limits and health of endpoints: who is sent next.
pub(crate) mod lanes;
/// The step that follows an attempt: when the next one is due, by the schedule and `Retry-After`.
pub(crate) mod outcome;
/// Conversions between a record at work, an exchange and rows of Postgres.
pub(crate) mod rows;
/// Outcomes on their way to Postgres, in batches.
pub(crate) mod writer;
/// The record that follows a recorded outcome, and the switch-off after 410 Gone.
pub(crate) mod outcome_publisher;
/// The deliveries that this process works on.
pub(crate) mod in_flight;
/// The partitions that this process owns.
pub(crate) mod owned;
/// First attempts that nobody has to be asked about.
pub(crate) mod recent_firsts;
/// The retries that this process has published and not yet read.
pub(crate) mod own_retries;
/// The health of webhooks, on its way to Postgres.
pub(crate) mod health_book;

#[cfg(test)]
pub(crate) mod tests;
