//! In: records of sources that are not keyed by site. Out: native events with the site's id as key,
//! on `bellwether.events`.
//! Guaranteed: at least once; an event's ids are those of the record it came from, so a second copy
//! notifies nobody twice; no visitor's id leaves here.
//! Not guaranteed: that the site is registered. Events of others are forwarded, too.

/// A consumer thread: records in, keyed events out.
pub(crate) mod thread;
/// A partition of a source and its offsets.
mod partition;
/// The form of a keyed event.
pub(crate) mod record;
/// Progress of the role, for detectors.
pub mod progress;
/// Sites by their aliases.
pub(crate) mod aliases;
