//! Kafka clients: settings, topics, group members, the producer.
//!
//! In come configuration and records to publish; out go records read and acknowledgements. Guaranteed: rebalance events
//! reach the thread that owns the state, never a callback; a fatal client error ends the process. Not here: what a record means.

pub mod settings;
pub mod topics;
pub mod client;
pub mod member;
pub mod topic_partition;
pub(crate) mod commits;
mod queue;
pub mod batch_reader;
pub(crate) mod backlog;
pub mod producer;
pub(crate) mod table;
pub mod murmur2;
pub(crate) mod embedded;
