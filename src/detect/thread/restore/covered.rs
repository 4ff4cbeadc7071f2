//! Offsets that stored states account for, compared with what the brokers know.

use super::lookup::Lookup;
use super::reports::report_lost_commit;
use crate::detect::thread::DetectSettings;
use crate::detect::thread::partition::OwnedPartition;

/// Compares what the loaded states account for with what the brokers know. With a topic that is
/// deleted the group's commits of it go too: a source without one that had one, or of which states
/// account for records, may be another topic by now, and has missed what was written to the old
/// one.
pub(super) fn settle_covered(owned: &mut OwnedPartition, lookup: &Lookup, settings: &DetectSettings) {
    let partition = owned.partition;
    let uncommitted = lookup.uncommitted.iter().filter(|at| at.partition == partition);
    for at in uncommitted {
        if lookup.lost.contains(at) || owned.engine.completeness().is_covered(at.topic) {
            report_lost_commit(&settings.engine.sources[at.topic].topic, partition);
            owned.engine.completeness_mut().open_gap(at.topic);
        }
    }
    let ends = lookup.ends.iter().filter(|(at, _)| at.partition == partition);
    for (at, end) in ends {
        match lookup.made_anew.contains(at) {
            true => owned.engine.forget_covered(at.topic),
            false => owned.engine.forget_covered_beyond(at.topic, *end),
        }
    }
}
