//! In: delivery records, one at a time, with the webhook they are for. Out: one HTTP request, its outcome, and what follows.
//! Guaranteed: every attempt ends within its deadline, its outcome is classified, and whose fault it was is part of it.
//! Not guaranteed: that the endpoint saw a request only once. Limits, queues and circuits are not here yet.

/// Which addresses may be called.
pub mod address;
/// Which headers a webhook's owner may add.
pub mod own_headers;
/// The request of one attempt.
pub mod request;
/// The two kinds of signature.
pub mod signature;
/// What came of an attempt and what follows.
pub mod outcome;
/// Going on after a crash: a recorded attempt redoes its publish, never its send.
pub mod resume;
/// What an error of the HTTP client means.
mod classify;
/// The HTTP edge.
pub mod client;
/// How long the parts of an exchange took.
pub mod phases;
/// Names to addresses, judged.
pub mod resolver;
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
