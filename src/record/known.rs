//! Look-ups of registered ids that need no encryption key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::event::EventType;
use crate::domain::goal::Goal;
use crate::domain::trigger::Triggers;

use super::goals;

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
    /// False if its owner or Bellwether disabled it.
    pub(crate) enabled: bool,
    pub(crate) triggers: Triggers,
    pub(crate) active_since: DateTime<Utc>,
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
        r#"select site_id, events, triggers, (enabled and disabled_at is null) as "enabled!", active_since
           from webhooks where deleted_at is null and site_id = any($1::text[]) order by id"#,
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
                enabled: row.enabled,
                triggers: Triggers::from_json(&events, &row.triggers).unwrap_or_default(),
                active_since: row.active_since,
            });
        }
    }
    Ok(sites)
}
