//! Rules that triggers follow.

/// The spike: fires when the count reaches its threshold.
pub(crate) mod spike;
