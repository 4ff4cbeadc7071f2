//! Second copies of events: those of one site, id, own time and name are notified once. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::record::{InspectedRecord, Interpretation, RecordPlace};
use crate::domain::event::EventType;

/// Identity, type and name of what is notified once.
type Subject = (u64, EventType, String);

/// Partition, offset and visitor of the first event of a subject.
type FirstEvent = (i32, i64, Option<u64>);

/// Marks each event that is nothing but what an earlier one of the same id and time is. Records
/// come in the order of their offsets.
pub(super) fn mark_copies(records: &mut [InspectedRecord]) {
    let mut seen: HashMap<Subject, FirstEvent> = HashMap::new();
    for record in records {
        let Interpretation::Understood(event) = &mut record.meaning else {
            continue;
        };
        let Some(identity) = event.identity else {
            continue;
        };
        let (mut original, mut is_new) = (None, false);
        for (kind, name) in &event.subjects {
            match seen.entry((identity, *kind, name.clone())) {
                Entry::Occupied(known) => original = Some(*known.get()),
                Entry::Vacant(free) => {
                    free.insert((record.partition, record.offset, event.visitor));
                    is_new = true;
                }
            }
        }
        let Some((partition, offset, visitor)) = original.filter(|_| !is_new) else {
            continue;
        };
        event.counts_as.push(format!(
            "but by its event_id a second copy of {partition}/{offset}: they are notified once"
        ));
        event.notifies = 0;
        event.copy_of = Some(RecordPlace {
            partition,
            offset,
            of_another_visitor: visitor != event.visitor,
        });
    }
}
