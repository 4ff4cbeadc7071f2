//! In: delivery records, one at a time, with the webhook they are for. Out: one HTTP request, its outcome, and what follows.
//! Guaranteed: every attempt ends within its deadline, its outcome is classified, and whose fault it was is part of it.
//! Not guaranteed: that the endpoint saw a request only once. Limits, queues and circuits are not here yet.
//! A record passes `resume`, `gate`, `request`, `client`, `outcome`, in this order.

/// Going on after a crash: a recorded attempt redoes its publish, never its send.
pub mod resume;
/// Whether a record is still wanted.
pub mod gate;
/// The request of one attempt.
pub mod request;
/// The two kinds of signature.
pub mod signature;
/// Which headers a webhook's owner may add.
pub mod own_headers;
/// Which addresses may be called.
pub mod address;
/// Names to addresses, judged.
pub mod resolver;
/// The HTTP edge.
pub mod client;
/// What an error of the HTTP client means.
mod classify;
/// How long the parts of an exchange took.
pub mod phases;
/// How an attempt ended.
pub mod attempt;
/// What follows an attempt.
pub mod outcome;
/// A record on its way, and the word that it is complete.
pub mod work;
/// The thread that reads records.
pub mod intake;
/// The deliveries this process is busy with.
pub mod under_way;
/// From a record to an outcome.
pub mod task;
/// From an outcome to Postgres, and what follows.
pub mod writer;
/// How webhooks do, written now and then.
pub mod health_notes;
