//! Commands over the API: sites, webhooks, goals, deliveries, alerts and tokens.
//!
//! In: arguments, and the API of a running service. Out: its answers, as JSON or as a table.
//! Guaranteed: an answer that is no success ends a command with an error. Not here: any rule about
//! fields, all of which the API judges, but that a flag takes words of a closed set only.

mod arguments;
mod failure;
mod origin;
mod client;
mod show;
mod body;
mod table;
mod list;
mod site;
mod webhook;
mod recover;
mod goal;
mod delivery;
mod follow;
mod alert;
pub(super) mod token;

pub(super) use alert::{AlertCommand, run as alert};

pub(super) use arguments::{ApiArgs, ApiGroup, SiteArgs};
pub(super) use body::{BodyArgs, CallBody};
pub(super) use client::ApiClient;
pub(super) use delivery::{DeliveryCommand, run as delivery};
pub(super) use follow::{DeliveryFollower, LOOK_EVERY};
pub(super) use goal::{GoalCommand, run as goal};
pub(super) use site::{SiteCommand, run as site};
pub(super) use webhook::{WebhookCommand, run as webhook};
