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
