//! Everything in Postgres.
//!
//! In: configuration from the API and the command line, outcomes from the deliverer. Out: the registry that every
//! stage reads, and the history that the API shows. Guaranteed: what is secret is encrypted before it is written,
//! and a committed change of configuration is seen by every reader at its next look. Not here: deciding and sending.

pub mod keyring;
pub(crate) mod pool;
pub mod migrate;
pub mod partitions;
pub mod keys;
pub mod sites;
pub(crate) mod known;
pub mod goals;
mod webhook_row;
pub mod webhooks;
pub mod registry;
pub mod follow;
pub mod tokens;
pub mod idempotency;
pub(crate) mod audit;
pub mod outcomes;
pub(crate) mod pg_monitor;
pub(crate) mod deliveries_read;
