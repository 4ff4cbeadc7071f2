//! One HTTP exchange: names resolved and judged, a request sent, the answer read and classified.
//!
//! A request comes in, an exchange comes out (`client::WebhookClient::exchange`); nothing else of
//! this room is used outside of it.

/// The client.
pub(crate) mod client;
/// One attempt as it went over HTTP.
pub(crate) mod exchange;
/// New connections: name, TCP, TLS.
mod dial;
/// Names to addresses, judged.
pub(crate) mod resolver;
/// Idle and shared connections, and the file handles of all.
mod pool;
/// Handles for what a request can do without.
mod spare_handles;
/// A connection that is read at a bounded rate.
mod paced;
/// The pace of frames.
mod metered;
/// One exchange over HTTP/1.1.
mod http1;
/// The head of a response.
mod head;
/// The body of a response.
mod body;
/// One exchange over HTTP/2.
mod http2;
/// Escapes read, with where they were written.
mod unescape;
/// Credentials struck out of an answer.
mod strike;
/// Durations of the parts of an exchange.
mod phases;
/// Results and texts of failures.
mod classify;
