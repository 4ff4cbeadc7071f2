//! The beginning of a site that was registered while its partition was read. What came before was
//! passed over, and stays so for whoever reads it again.

/// The position in a partition from which on a site counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// For each source, the offset of the first record that counts.
    pub(crate) offsets: Box<[i64]>,
    /// First second after all that was passed over, by the wall clock; 0 if that is not known.
    pub(crate) live_from: u32,
    /// The same by the clock of logs; 0 if nothing of a log was passed over.
    pub(crate) log_from: u32,
}

impl Beginning {
    /// True if a record was passed over.
    pub(crate) fn is_after(&self, source: usize, offset: i64) -> bool {
        offset < self.offsets[source]
    }

    /// Lets all records of a source count, if it begins beyond an offset. True if it did.
    pub(crate) fn forget_beyond(&mut self, source: usize, end: i64) -> bool {
        let is_beyond = self.offsets[source] > end;
        if is_beyond {
            self.offsets[source] = 0;
        }
        is_beyond
    }
}
