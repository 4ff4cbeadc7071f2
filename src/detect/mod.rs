//! In: events, one partition at a time, and the time. Out: notifications that are due, and the state that must be
//! acknowledged before those of an episode are published.
//! Guaranteed: the same records give the same notifications with the same ids, whenever they are read and however
//! often. Not guaranteed: anything about sites that are not registered.

/// A detector thread: records in, delivery records and states out.
pub mod thread;
/// One source partition: records in, notifications out.
pub mod engine;
/// Everything held of one site.
pub(crate) mod site;
/// Exact distinct visitors over sliding windows.
pub(crate) mod window;
/// Notifications that are due.
pub(crate) mod notification;
/// Paths without what may name a person or open a door.
pub(crate) mod redact;
/// Hashes of an event's texts, keyed by the deployment.
pub(crate) mod keyed_hash;

#[cfg(test)]
mod tests;
