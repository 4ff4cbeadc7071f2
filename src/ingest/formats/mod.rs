//! The formats a source topic may be in. Each of them yields the same events and the same rejects.

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::reject::{Reject, RejectReason};

/// The native format.
pub(crate) mod native;
/// The fields of a record as they were found.
mod fields;
/// A scanner for the JSON that nearly every producer writes.
mod scan;
/// The positions of a record's quotes.
pub mod quotes;
/// Values of the wrong type, kept instead of refused.
mod loose;
/// Limits of an event's fields, the same for every format.
mod limits;

/// Largest record that is read, in bytes: 1 MiB.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;

/// Format of a source's records, chosen per topic in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// Bellwether's own: one JSON object an event.
    #[default]
    Native,
}

/// Reads one record. Pure and total over every byte string, which also makes it the entry for a
/// fuzzer.
pub fn read(format: RecordFormat, bytes: &[u8]) -> Result<Event<'_>, Reject> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(Reject {
            reason: RejectReason::TooLarge,
            field: None,
            detail: format!(
                "the record has {} bytes, at most {MAX_RECORD_BYTES} are read",
                bytes.len()
            ),
            site_id: None,
        });
    }
    match format {
        RecordFormat::Native => native::read(bytes),
    }
}
