//! The topics that there must be, making them and checking them.
//!
//! Equal partition counts are what lets one member own all that belongs together, so a wrong count
//! is refused, never worked around.

/// The topics that the configuration asks for.
mod plan;
/// Making topics, and checking their partitions, copies and settings.
mod admin;

pub(crate) use admin::TopicProblem;
pub use admin::Topics;
pub(crate) use plan::TopicUser;
pub use plan::{TopicPlan, plan};
