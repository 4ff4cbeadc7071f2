//! In: events, one partition at a time, and the time. Out: notifications that are due, and the state that must be
//! acknowledged before those of an episode are published.
//! Guaranteed: the same records give the same notifications with the same ids, whenever they are read and however
//! often. Not guaranteed: anything about sites that are not registered.

/// What goes into an engine, and what it says of itself.
pub mod contract;
/// Notifications that are due.
pub mod decision;
/// One source partition: records in, decisions out.
pub mod engine;
/// The thread: records in, delivery records and states out.
pub mod task;
/// A partition number that a thread owns.
pub mod owned;
/// Where a thread begins on partitions it was assigned.
mod restore;
/// What a thread counts.
pub mod counts;
/// Which goals an event completes.
pub mod goals;
/// Names of sources and pages as small numbers.
mod labels;
/// Page patterns with stars.
pub mod pattern;
/// What an engine leaves behind, and takes over.
mod recovery;
/// Paths without what may name a person or open a door.
pub mod redact;
/// How far back a restart must read.
mod segments;
/// Notifications of single events.
mod singles;
/// Everything held of one site.
mod site_state;
/// The record of a site's episodes on the state topic.
pub mod stored;
/// When an event happened.
pub mod time;
/// The sources and pages most visitors have.
mod tops;
/// When a spike fires, and when it may fire again.
pub mod trigger;
/// The triggers of one site.
mod triggers;
/// Visitors by hash: the table behind a window.
mod visitors;
/// Exact distinct visitors over sliding windows.
mod window;
