//! Numbers of deliveries that cost no scan: beyond a thousand nothing is counted.

use super::failure::PageFailure;
use super::session::PageVisit;
use super::times::count;

/// Most deliveries that are counted.
const MOST: u32 = 1_000;

/// A number of deliveries up to a thousand, or more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedUpTo {
    Exactly(usize),
    More,
}

impl CountedUpTo {
    /// Counts the deliveries of the webhook at `api` that `filter` selects.
    pub(super) async fn read(visit: &PageVisit, api: &str, filter: &str) -> Result<Self, PageFailure> {
        let path = format!("{api}/deliveries?{filter}");
        let number = visit.api.count(&path, MOST).await?;
        Ok(match number > MOST as usize {
            true => Self::More,
            false => Self::Exactly(number),
        })
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::Exactly(0)
    }

    pub(super) fn is_one(self) -> bool {
        self == Self::Exactly(1)
    }

    /// `37`, or `More than 1,000`.
    pub(super) fn words(self) -> String {
        match self {
            Self::Exactly(number) => count(number as u64),
            Self::More => format!("More than {}", count(u64::from(MOST))),
        }
    }
}
