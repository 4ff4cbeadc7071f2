//! Kafka clients: settings, topics, group members, the producer.
//!
//! In come configuration and records to publish; out go records read and acknowledgements.
//! Guaranteed: rebalance events reach the thread that owns the state, never a callback; a fatal
//! client error ends the process. Not here: the meaning of a record.

pub mod settings;
pub mod topics;
pub(crate) mod diagnosis;
pub(crate) mod error_words;
pub mod client;
pub(crate) mod brokers;
pub(crate) mod client_check;
pub(crate) mod session;
pub(crate) mod cluster;
pub(crate) mod rights;
pub(crate) mod group_check;
pub mod member;
pub(crate) mod commits;
pub mod batch_reader;
pub mod batch_record;
pub mod topic_partition;
mod queue;
pub(crate) mod log_ends;
/// Progress of a group.
pub(crate) mod group_progress;
pub(crate) mod headers;
pub mod producer;
pub(crate) mod unanswered;
pub(crate) mod retrying_publisher;
pub(crate) mod backlog;
pub(crate) mod table;
pub mod murmur2;
pub(crate) mod embedded;
