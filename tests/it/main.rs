//! The whole against real Kafka and real Postgres. `make test` starts both and says where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes, read the environment and look at clocks"
)]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nobody uses this crate"
)]
#![allow(clippy::print_stdout, reason = "a test says its seed and what it counted")]

mod support;
mod record_support;
mod record_schema;
mod record_registry;
mod record_retention;
mod record_rotate;
mod activity_rows;
mod activity_live;
mod alert_rows;
mod api_support;
mod api_contract;
mod api_contract_audit;
mod api_webhooks;
mod api_webhook_changes;
mod api_access;
mod api_permissions;
mod api_secrets;
mod secret_overlap;
mod api_strictness;
mod api_history;
mod api_sites_goals;
mod api_goal_names;
mod api_sites_again;
mod api_sites_at_once;
mod api_idempotency;
mod api_snapshots;
mod api_recoveries;
mod api_shares;
mod pages_support;
mod pages_states;
mod pages_again;
mod pages_browser;
mod pages_conflicts;
mod pages_costs;
mod pages_history;
mod pages_now;
mod pages_sessions;
mod pages_sites;
mod pages_webhooks;
mod spine;
mod route;
mod route_behind;
mod real_input;
mod crash;
mod detect_completeness;
mod detect_replicas;
mod detect_again;
mod detect_suspended;
mod detect_odd_times;
mod detect_takeover;
mod detect_states;
mod detect_leaderless;
mod source_silent;
mod inspect_formats;
mod route_backlog;
mod removed_tier;
mod topics_anew;
mod source_missing;
mod fleet;
mod source_rejects;
mod handover;
mod outages;
mod postgres_crash;
mod operate;
mod odd_records;
mod endpoints;
mod edited_urls;
mod endpoint_rules;
mod name_servers;
mod hostile_receivers;
mod hostile_limits;
mod nginx;
mod lanes_isolation;
mod lanes_health;
mod instance_names;
mod lanes_crash;
mod lanes_cost;
mod cancelling;
mod first_schema;
mod behind;
mod unrecordable;
mod locked_rows;
mod lost_brokers;
mod held_answers;
mod zombies;
mod broker_crash;
mod long_outages;
mod slow_handover;
mod encrypted;
mod acls;
mod acls_lacking;
mod connections;
mod readiness;
mod permits;
mod plants;
mod inspect;
mod demo;
mod commands;
mod commands_api;
mod commands_config;
mod commands_output;
mod commands_replay;
mod commands_topics;
mod snippets;
mod stopping;
mod sending_again;
mod erasure;
mod retention_live;
mod health_notices;
