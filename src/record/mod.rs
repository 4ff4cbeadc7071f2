//! Everything in Postgres.
//!
//! In: configuration from the API and the command line, outcomes from the deliverer. Out: the
//! registry that every stage reads, and the history that the API shows. Guaranteed: secrets are
//! encrypted before they are written, and a committed change of configuration is seen by every
//! reader at its next look. Not here: deciding and sending.

pub mod keyring;
pub(crate) mod connect;
pub(crate) mod postgres_url;
pub(crate) mod pool;
pub mod pool_shares;
pub mod migrate;
pub mod partitions;
pub mod retention;
pub mod keys;
pub mod rotate;
pub mod sites;
pub(crate) mod known;
pub mod goals;
pub(crate) mod goal_names;
mod webhook_row;
mod unreadable_rows;
pub mod webhooks;
pub(crate) mod secrets;
mod registry_rows;
pub mod registry;
pub mod follow;
pub mod tokens;
pub mod sessions;
pub mod portal_links;
pub mod idempotency;
pub mod audit;
pub mod jobs;
pub(crate) mod erasure;
pub mod outcomes;
pub(crate) mod instance;
pub(crate) mod parked;
/// Rows of `parked` whose webhooks are paused.
pub(crate) mod pauses;
pub(crate) mod send_notes;
pub(crate) mod resends;
pub(crate) mod notices;
pub(crate) mod cancelling;
pub(crate) mod test_limit;
pub mod health;
pub(crate) mod pg_monitor;
pub(crate) mod deliveries_read;
pub(crate) mod delivery_pages;
pub mod activity;
pub mod episodes;
pub(crate) mod plans;
pub mod site_now;

use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::{DeliveryStatus, Origin};
use crate::domain::goal::GoalKind;
use crate::domain::health::{HealthReason, HealthState, ParkReason};

/// Closed sets of words by the check constraint that repeats them.
pub fn closed_words() -> [(&'static str, &'static [&'static str]); 13] {
    [
        ("api_tokens_kind", sessions::TokenKind::WORDS),
        ("api_tokens_role", tokens::Role::WORDS),
        ("deliveries_origin", Origin::WORDS),
        ("deliveries_status", DeliveryStatus::WORDS),
        ("delivery_attempts_fault", Fault::WORDS),
        ("delivery_attempts_result", AttemptResult::WORDS),
        ("goals_rule", GoalKind::WORDS),
        ("jobs_kind", jobs::JobKind::WORDS),
        ("jobs_status", jobs::JobStatus::WORDS),
        ("parked_reason", ParkReason::WORDS),
        ("webhook_health_reason", HealthReason::WORDS),
        ("webhook_health_state", HealthState::WORDS),
        ("webhook_secrets_role", webhook_row::SecretRole::WORDS),
    ]
}

#[cfg(test)]
mod rows_read;
