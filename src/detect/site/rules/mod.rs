//! The rules that triggers follow.

/// When a spike fires, and when it may fire again.
pub(crate) mod spike;
