//! See ARCHITECTURE.md.

/// A local receiver that verifies and prints webhooks.
pub mod listen;
mod listen_print;
