//! Everything in Postgres.

pub mod outcomes;
