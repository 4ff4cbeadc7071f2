//! The deliveries that a webhook missed: one count for its state and for the page that sends them.
//! Beyond a thousand nothing is counted, so that no number costs a scan.

use chrono::{DateTime, Utc};

use super::times::count;

/// Most deliveries that are counted.
pub(super) const MOST_MISSED: u32 = 1_000;

/// The number of deliveries that did not arrive since some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissedCount {
    pub(super) since: DateTime<Utc>,
    /// Above [`MOST_MISSED`] it means more than that.
    pub(super) number: usize,
}

impl MissedCount {
    pub(super) fn is_none(self) -> bool {
        self.number == 0
    }

    pub(super) fn is_one(self) -> bool {
        self.number == 1
    }

    /// `37 were not delivered since`, which a time or `then` ends.
    pub(super) fn words(self) -> String {
        match self.number {
            0 => "Nothing was missed since".to_owned(),
            1 => "1 was not delivered since".to_owned(),
            number if number > MOST_MISSED as usize => {
                format!(
                    "More than {} were not delivered since",
                    count(u64::from(MOST_MISSED))
                )
            }
            number => format!("{} were not delivered since", count(number as u64)),
        }
    }
}
