//! In: decided notifications, and deliveries that failed. Out: delivery records on `deliveries`, the tiers and the dead-letter topic.
//! Guaranteed: a record waits until it is due and is tried after that; what is committed was completed.
//! Not guaranteed: order between records, or that a record is there only once.

/// The delivery record and its form in Kafka.
pub mod record;
/// Retry schedules and the tiers they need.
pub(crate) mod schedule;
/// The configured schedules by name.
pub(crate) mod schedules;
/// Records read ahead from the tiers, by due time.
pub(crate) mod read_ahead;
/// Offsets that complete out of order, and those that may be committed.
pub(crate) mod offsets;
