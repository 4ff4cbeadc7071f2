//! The nouns shared by the stages. Nothing here waits, reads a clock or knows Kafka, Postgres or HTTP.

pub mod delivery;
pub mod event;
pub mod goal;
pub mod id;
pub mod notification;
pub mod registry;
pub mod secret;
pub mod site;
pub mod target;
pub mod texts;
pub mod trigger;
pub mod webhook;
