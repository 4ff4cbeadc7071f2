//! In: events, one partition at a time, and the time.
//! Out: notifications that are due, and the states that must be acknowledged before the
//! notifications of episodes are published.
//! Guaranteed: the same records give the same notifications with the same ids, whenever and however
//! often they are read.
//! Not guaranteed: anything about sites that are not registered.

/// A detector thread: records in, delivery records and states out.
pub mod thread;
/// One source partition: records in, notifications out.
pub mod engine;
/// Completeness of what was read of a partition.
pub(crate) mod completeness;
/// The state of one site.
pub(crate) mod site;
/// Exact counts of distinct visitors over sliding windows.
pub(crate) mod window;
/// Visitors that are usual.
pub(crate) mod usual;
/// Rows for Postgres.
pub mod history;
/// The hash table of visitors and of labels.
pub(crate) mod table;
/// Notifications that are due.
pub(crate) mod notification;
/// Silence of whole sources.
pub(crate) mod source_silence;
/// Redaction of paths.
pub(crate) mod redact;
/// Hashes of an event's texts, keyed by the deployment.
pub(crate) mod keyed_hash;

#[cfg(test)]
mod tests;
