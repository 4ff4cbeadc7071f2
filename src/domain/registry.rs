//! The registry: sites with their goals and webhooks, as one immutable snapshot the stages read
//! from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono_tz::Tz;

use super::goal::Goal;
use super::id::WebhookId;
use super::site::SiteId;
use super::webhook::Webhook;

/// A registered site with everything that decides what its events mean.
#[derive(Debug, Clone)]
pub struct Site {
    pub id: SiteId,
    /// Shown in notifications when set.
    pub name: Option<String>,
    /// The operator's page of the site, to which notifications link.
    pub link: Option<String>,
    /// Other ids that mean the site, on sources that are keyed by `route`.
    pub aliases: Vec<String>,
    /// The zone of its hours and days.
    pub time_zone: Tz,
    pub goals: Vec<Arc<Goal>>,
    /// Webhooks that are not deleted; disabled ones are among them.
    pub webhooks: Vec<Arc<Webhook>>,
    /// Webhooks that are stored and cannot be read here.
    pub unreadable: Vec<WebhookId>,
    /// Grows whenever the site, one of its goals or one of its webhooks changes; what is derived
    /// from a site is rebuilt when it does.
    pub version: u64,
}

/// Everything registered, as of one look at Postgres. Cheap to share, replaced whole.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub sites: HashMap<SiteId, Arc<Site>>,
    pub webhooks: HashMap<WebhookId, Arc<Webhook>>,
    /// Webhooks that are stored, and that this process cannot read: a key may be missing here, or
    /// they may be of a newer version.
    pub unreadable: HashSet<WebhookId>,
}
