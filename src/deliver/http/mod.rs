//! One HTTP exchange: names resolved and judged, a request sent, the answer read and classified.

/// The client.
pub(crate) mod client;
/// One attempt as it went over HTTP.
pub(crate) mod exchange;
/// Names to addresses, judged.
pub(crate) mod resolver;
/// Durations of the parts of an exchange.
pub(crate) mod phases;
/// Results from errors of the HTTP client.
pub(crate) mod classify;
