//! The part of an event in the ids of its notifications.

use crate::domain::event::Event;

/// Greatest distance in milliseconds of an event's own time from its record's, at which it becomes
/// part of ids: rows of ids that lie further back would be removed at once.
const MAX_ID_DISTANCE_MS: i64 = 24 * 3_600 * 1_000;

/// The part of an event in the ids of its notifications.
pub(super) struct EventIds {
    /// Milliseconds since the Unix epoch: the event's own time if it has an id, so that a second
    /// copy that its producer writes later is known by it.
    pub(super) ms: i64,
    /// True if a second copy has another id, because the record's time is part of it.
    pub(super) is_copy_another: bool,
}

impl EventIds {
    pub(super) fn of(event: &Event<'_>, record_ms: i64) -> Self {
        let own = event.timestamp_ms.filter(|_| event.event_id.is_some());
        let ms = own
            .filter(|own| own.abs_diff(record_ms) <= MAX_ID_DISTANCE_MS.unsigned_abs())
            .unwrap_or(record_ms);
        Self {
            ms,
            is_copy_another: event.timestamp_ms.is_some_and(|own| own != ms),
        }
    }
}
