//! Look-ups of registered ids that need no encryption key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::event::EventType;
use crate::domain::goal::Goal;
use crate::domain::health::HealthState;
use crate::domain::id::WebhookId;
use crate::domain::trigger::Triggers;

use super::goals;
use super::outcomes::word;

/// A registered site.
#[derive(Debug, Clone)]
pub(crate) struct KnownSite {
    pub(crate) site_id: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) goals: Vec<Arc<Goal>>,
    /// Webhooks that are not deleted.
    pub(crate) webhooks: Vec<KnownWebhook>,
}

/// A webhook, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownWebhook {
    pub(crate) id: WebhookId,
    /// False if its owner or Bellwether disabled it.
    pub(crate) enabled: bool,
    pub(crate) triggers: Triggers,
    pub(crate) active_since: DateTime<Utc>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
    pub(crate) health: KnownHealth,
}

/// Health of a webhook's endpoint, as the deliverer last wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownHealth {
    pub(crate) state: HealthState,
    pub(crate) since: DateTime<Utc>,
    /// Deliveries in a row that failed for good.
    pub(crate) consecutive_failures: i32,
    /// While the circuit is open.
    pub(crate) next_probe_at: Option<DateTime<Utc>>,
    /// Deliveries that wait in Postgres.
    pub(crate) waiting: i64,
}

/// Finds the sites that have one of these ids, as their own or as an alias.
pub(crate) async fn sites(conn: &mut PgConnection, ids: &[String]) -> Result<Vec<KnownSite>, sqlx::Error> {
    let rows = sqlx::query!(
        "select site_id, aliases from sites where site_id = any($1::text[]) or aliases && $1::text[] order by site_id",
        ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<String> = rows.iter().map(|row| row.site_id.clone()).collect();
    let webhooks = sqlx::query!(
        r#"select id, site_id, events, triggers, (enabled and disabled_at is null) as "enabled!", active_since,
             paused_until, coalesce(h.state, 'new') as "state!", coalesce(h.since, w.updated_at) as "since!",
             coalesce(h.consecutive_failures, 0) as "consecutive_failures!", h.next_probe_at,
             coalesce(h.waiting, 0) as "waiting!"
           from webhooks w left join webhook_health h on h.webhook_id = w.id
           where deleted_at is null and site_id = any($1::text[]) order by id"#,
        &ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let goals = goals::list(conn, Some(&ids)).await?;
    let mut sites: Vec<KnownSite> = rows
        .into_iter()
        .map(|row| KnownSite {
            site_id: row.site_id,
            aliases: row.aliases,
            goals: Vec::new(),
            webhooks: Vec::new(),
        })
        .collect();
    for site in &mut sites {
        let own = goals.iter().filter(|goal| goal.site_id == site.site_id);
        site.goals = own.map(|goal| Arc::new(goal.goal.clone())).collect();
        for row in webhooks.iter().filter(|row| row.site_id == site.site_id) {
            // A newer version may have written event types that this one does not know.
            let events: Vec<EventType> = row.events.iter().filter_map(|event| event.parse().ok()).collect();
            site.webhooks.push(KnownWebhook {
                id: WebhookId::from_uuid(row.id),
                enabled: row.enabled,
                triggers: Triggers::from_json(&events, &row.triggers).unwrap_or_default(),
                active_since: row.active_since,
                paused_until: row.paused_until,
                health: KnownHealth {
                    state: word(&row.state)?,
                    since: row.since,
                    consecutive_failures: row.consecutive_failures,
                    next_probe_at: row.next_probe_at,
                    waiting: row.waiting,
                },
            });
        }
    }
    Ok(sites)
}
