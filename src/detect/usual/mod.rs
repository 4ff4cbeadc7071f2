//! Visitors that are usual on a site, learned from its own hours.
//!
//! In: the count of visitors at the end of each minute of the site's clock, and the hours of the
//! last 28 days. Out: hours to be kept, and the comparison of the present with what is usual.
//! Guaranteed: the same samples give the same comparison, live and later. Not here: reading and
//! writing.

/// Samples by the minute, gathered into hours.
pub(crate) mod samples;
/// Expectation by the hour of the week.
pub(crate) mod baseline;

/// Events that are usual in an hour.
pub(crate) mod rates;

/// The past of one site.
pub(crate) mod past;

/// Seconds of an hour.
pub(crate) const HOUR_SECONDS: u32 = 3_600;
