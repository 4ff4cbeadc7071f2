//! The nouns shared by the stages. Nothing here waits, reads a clock or knows Kafka, Postgres or
//! HTTP.

/// Closed sets of words.
pub(crate) mod words;
/// Words that are meant by misspelled ones.
pub(crate) mod near_words;
pub(crate) mod hidden;
pub mod time;
pub mod id;
pub mod event;
pub mod site;
pub mod link_template;
pub mod goal;
pub(crate) mod goal_renames;
pub mod trigger;
pub mod webhook;
pub(crate) mod notification;
pub(crate) mod sample;
pub(crate) mod operator;
pub mod delivery;
pub mod health;
pub(crate) mod attempt;
pub(crate) mod reject;
pub mod secret;
pub mod target;
pub(crate) mod address;
pub(crate) mod own_headers;
pub mod registry;
pub mod activity;
pub mod episode;
pub mod site_now;
pub mod texts;
