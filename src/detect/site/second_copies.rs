//! Second copies of events, known by their ids.

use super::recent_ids::IdResult;
use super::{PartitionResources, SiteState};
use crate::detect::window::segments::Segment;

/// The answer if an event is a second copy, once it was asked for: its id is taken up only once.
#[derive(Debug, Default)]
pub(crate) struct SecondCopy(Option<bool>);

impl SiteState {
    /// True if an event of this id was counted in the latest minutes.
    pub(super) fn is_known(
        &mut self,
        event_id: Option<u64>,
        segment: Segment,
        resources: &mut PartitionResources,
        refused: &mut u64,
        copy: &mut SecondCopy,
    ) -> bool {
        let Some(id) = event_id else {
            return false;
        };
        *copy
            .0
            .get_or_insert_with(|| self.is_second_copy(id, segment, resources, refused))
    }

    /// Remembers an id; true if it was counted in the latest minutes. One that is read again may
    /// have come when the wall clock had moved the site on.
    pub(crate) fn is_second_copy(
        &mut self,
        id: u64,
        segment: Segment,
        resources: &mut PartitionResources,
        refused: &mut u64,
    ) -> bool {
        let moved_to = if self.live { resources.inherited_floor } else { 0 };
        let now = self.window.now().max(moved_to);
        match self.recent_ids.add(id, now, segment, &mut resources.segments) {
            IdResult::New => false,
            IdResult::NewForAnother => {
                *refused += 1;
                false
            }
            IdResult::Known => true,
        }
    }
}
