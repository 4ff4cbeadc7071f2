//! In: records of the source topics. Out: events, or rejects that say exactly what is wrong.
//! Guaranteed: an event that leaves here is within every limit of the format; no input panics or
//! stops the stream.
//! Not guaranteed: that the site is registered or the time plausible; `detect` decides that.

/// Sources that are not keyed by site, keyed anew.
pub mod route;
/// Records for the rejected topic.
pub(crate) mod reject_record;
/// Publishing to the rejected topic.
pub(crate) mod reject_publisher;
/// Hashes of visitors, keyed by the deployment.
pub(crate) mod visitor_hash;
/// Formats of records: each record becomes one event or one reject.
pub mod formats;
/// Lines of a web server's access log, for `replay`.
pub(crate) mod access_log;
/// Lines of a file that `replay` publishes.
pub(crate) mod replay_file;
