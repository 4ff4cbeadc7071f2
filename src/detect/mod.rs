//! In: events, one partition at a time, and the time. Out: notifications that are due, and the state that must be
//! acknowledged before those of an episode are published.
//! Guaranteed: the same records give the same notifications with the same ids, whenever they are read and however
//! often. Not guaranteed: anything about sites that are not registered.

/// Which goals an event completes.
pub mod goals;
/// Names of sources and pages as small numbers.
mod labels;
/// Page patterns with stars.
pub mod pattern;
/// Paths without what may name a person or open a door.
pub mod redact;
/// How far back a restart must read.
mod segments;
/// When a spike fires, and when it may fire again.
pub mod trigger;
/// Visitors by hash: the table behind a window.
mod visitors;
/// Exact distinct visitors over sliding windows.
mod window;
