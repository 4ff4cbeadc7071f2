//! Numbers of deliveries that cost no scan: beyond a thousand nothing is counted.

use super::failure::PageFailure;
use super::model::{DeliveryView, Listed};
use super::paths::query;
use super::session::PageVisit;
use super::times::count;

/// Most deliveries that are counted.
const MOST: usize = 1_000;
/// Deliveries of one page of the API.
const PAGE: usize = 250;

/// A number of deliveries up to a thousand, or more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedUpTo {
    Exactly(usize),
    More,
}

impl CountedUpTo {
    /// Counts the deliveries of the webhook at `api` that `filter` selects.
    pub(super) async fn read(visit: &PageVisit, api: &str, filter: &str) -> Result<Self, PageFailure> {
        let mut number = 0;
        let mut after = String::new();
        while number < MOST {
            let path = format!(
                "{api}/deliveries?{filter}&limit={PAGE}&{}",
                query(&[("after", &after)])
            );
            let listed: Listed<DeliveryView> = visit.api.get(&path).await?;
            number += listed.data.len();
            match listed.next {
                Some(next) => after = next,
                None => return Ok(Self::Exactly(number)),
            }
        }
        Ok(Self::More)
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
            Self::More => format!("More than {}", count(MOST as u64)),
        }
    }
}
