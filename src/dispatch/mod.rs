//! In: decided notifications, and deliveries that failed. Out: delivery records on `deliveries`, the tiers and the dead-letter topic.
//! Guaranteed: a record waits until it is due and is tried after that; what is committed was completed.
//! Not guaranteed: order between records, or that a record is there only once.

/// Which offsets may be committed.
pub mod offsets;
/// The delivery record and its form in Kafka.
pub mod record;
/// Retry schedules and the tiers they need.
pub mod schedule;
/// What was read ahead from the tiers.
pub mod tiers;
/// The configured schedules by name.
pub mod schedules;
