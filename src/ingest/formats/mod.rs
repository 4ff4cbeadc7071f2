//! The formats a source topic may be in. Every one of them yields the same event or the same reject.

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::reject::{Reject, RejectReason};

/// The limits of an event's fields, the same for every format.
mod limits;
/// Values of the wrong type, kept instead of refused.
mod loose;
/// The JSON that nearly every producer writes.
mod scan;
/// The native format.
pub(crate) mod native;
mod quotes;
/// Points in time as producers write them.
mod time;

/// Largest record that is read, in bytes: 1 MiB.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;

/// How the records of a source are written; chosen per topic in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Bellwether's own: one JSON object an event.
    #[default]
    Native,
}

/// Reads one record. Pure and total over every byte string, which also makes it the entry for a fuzzer.
pub fn read(format: Format, bytes: &[u8]) -> Result<Event<'_>, Reject> {
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
        Format::Native => native::read(bytes),
    }
}
