//! A site in answers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::domain::health::CountedState;
use crate::record::sites::SiteRecord;
use crate::record::{episodes, health};

use super::answer::{optional_time, time};

/// Webhooks and open episodes of some sites.
pub(super) struct SiteCounts {
    webhooks: HashMap<(String, CountedState), i64>,
    open_episodes: HashMap<String, i64>,
}

impl SiteCounts {
    pub(super) async fn read(
        conn: &mut PgConnection,
        sites: &[SiteRecord],
        now: DateTime<Utc>,
    ) -> Result<Self, sqlx::Error> {
        let ids: Vec<String> = sites.iter().map(|site| site.site_id.clone()).collect();
        let webhooks = health::count_by_site(conn, &ids, now).await?;
        let open_episodes = episodes::count_open(conn, &ids).await?;
        Ok(Self {
            webhooks: webhooks
                .into_iter()
                .map(|(site, state, count)| ((site, state), count))
                .collect(),
            open_episodes: open_episodes.into_iter().collect(),
        })
    }

    /// The answer about one of these sites.
    pub(super) fn answer(&self, site: &SiteRecord) -> Value {
        let count = |state: CountedState| {
            let key = (site.site_id.clone(), state);
            self.webhooks.get(&key).copied().unwrap_or(0)
        };
        let webhooks: Map<String, Value> = CountedState::ALL
            .into_iter()
            .map(|state| (state.to_string(), count(state).into()))
            .collect();
        let mut answer = own_fields(site);
        answer.insert("webhooks".to_owned(), webhooks.into());
        let open_episodes = self.open_episodes.get(&site.site_id).copied().unwrap_or(0);
        answer.insert("open_episodes".to_owned(), open_episodes.into());
        Value::Object(answer)
    }
}

/// Fields of the site's own row.
pub(super) fn own_fields(site: &SiteRecord) -> Map<String, Value> {
    let fields = json!({
        "site_id": site.site_id,
        "name": site.name,
        "time_zone": site.time_zone,
        "aliases": site.aliases,
        "include_paths": site.include_paths,
        "first_event_at": optional_time(site.first_event_at),
        "last_event_at": optional_time(site.last_event_at),
        "inserted_at": time(site.inserted_at),
        "updated_at": time(site.updated_at),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
