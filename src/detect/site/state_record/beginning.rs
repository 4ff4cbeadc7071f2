//! The beginning of a site, as it is stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The position in a partition from which on a site counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredBeginning {
    /// For each source topic, the offset of the first record that counts.
    pub(crate) offsets: BTreeMap<String, i64>,
    /// First second after all that was passed over, by the wall clock.
    pub(crate) live_from: u32,
    /// The same by the clock of logs.
    pub(crate) log_from: u32,
}
