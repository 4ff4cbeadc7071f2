//! In: events, one partition at a time, and the time. Out: notifications that are due, and the state that must be
//! acknowledged before those of an episode are published.
//! Guaranteed: the same records give the same notifications with the same ids, whenever they are read and however
//! often. Not guaranteed: anything about sites that are not registered.

/// Visitors by hash: the table behind a window.
mod visitors;
/// How far back a restart must read.
mod segments;
/// Exact distinct visitors over sliding windows.
mod window;
/// Names of sources and pages as small numbers.
mod labels;
/// When a spike fires, and when it may fire again.
pub mod trigger;
/// Page patterns with stars.
pub mod pattern;
/// Which goals an event completes.
pub mod goals;
/// Paths without what may name a person or open a door.
pub mod redact;
/// When an event happened.
pub mod time;
/// Notifications that are due.
pub mod decision;
/// Notifications of single events.
mod singles;
/// The sources and pages most visitors have.
mod tops;
/// The triggers of one site.
mod triggers;
/// The record of a site's episodes on the state topic.
pub mod stored;
/// Everything held of one site.
mod site_state;
/// What goes into an engine, and what it says of itself.
pub mod contract;
/// Where each site's state is, and asking memory for it ahead of time.
mod places;
/// What an event's texts hash to.
mod hashes;
/// A look ahead at events.
pub mod glimpse;
/// One source partition: records in, decisions out.
pub mod engine;
/// What an engine leaves behind, and takes over.
mod recovery;

/// What a thread counts.
pub mod counts;
/// A partition number that a thread owns.
pub mod owned;
/// Where a thread begins on partitions it was assigned.
mod restore;
/// The thread: records in, delivery records and states out.
pub mod task;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod singles_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod crash_tests;
