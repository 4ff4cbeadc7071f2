//! In: decided notifications, and deliveries that failed.
//! Out: the records on `deliveries`, on the retry tiers and on the dead-letter topic, and the
//! offsets that may be committed.
//! Guaranteed: no record is tried before it is due, and no commit passes an open record.
//! Not guaranteed: an order between records, or that a record is there only once.

/// The delivery record and its form in Kafka.
pub mod record;
/// Retry schedules, by name.
pub(crate) mod schedule;
/// Delay topics of the retry chain.
pub(crate) mod tier;
/// Records read ahead from the tiers, by due time.
pub(crate) mod read_ahead;
/// Offsets that complete out of order, and those that may be committed.
pub(crate) mod offsets;
