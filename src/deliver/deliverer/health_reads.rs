//! Reads of the health that other owners have stored: one for each assignment, one after the other.

/// Assignments, by generation, whose health was asked for and read.
#[derive(Debug, Default)]
pub(super) struct HealthReads {
    asked: u64,
    read: u64,
}

impl HealthReads {
    /// True if a read for this assignment is to begin now: an answer without the sends that a dead
    /// owner had noted must not overtake the one that has them.
    pub(super) fn begin(&mut self, generation: u64) -> bool {
        let may_begin = self.asked != generation && self.asked == self.read;
        if may_begin {
            self.asked = generation;
        }
        may_begin
    }

    /// Notes the answer of a read.
    pub(super) fn answered(&mut self, generation: u64) {
        self.read = self.read.max(generation);
    }

    /// True if the health of this assignment is read.
    pub(super) fn has(&self, generation: u64) -> bool {
        self.read == generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_of_health_is_under_way_at_a_time() {
        let mut reads = HealthReads::default();
        assert!(!reads.begin(0), "nothing is assigned");
        assert!(reads.begin(1));
        assert!(!reads.begin(1), "it is asked for");
        assert!(!reads.begin(3), "the first is not answered");
        reads.answered(1);
        assert!(reads.has(1) && !reads.has(3));
        assert!(reads.begin(3) && !reads.begin(4));
        reads.answered(3);
        assert!(reads.has(3) && reads.begin(4));
    }
}
