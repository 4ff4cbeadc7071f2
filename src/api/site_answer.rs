//! A site in answers.

use serde_json::{Map, Value, json};

use crate::domain::health::CountedState;
use crate::record::sites::{CountedSite, SiteRecord};

use super::answer::{optional_time, time};

/// The answer about a site.
pub(super) fn shown(counted: &CountedSite) -> Value {
    let webhooks: Map<String, Value> = CountedState::ALL
        .into_iter()
        .map(|state| {
            let number = counted.webhooks.get(state.as_str()).and_then(Value::as_i64);
            (state.to_string(), number.unwrap_or(0).into())
        })
        .collect();
    let mut answer = own_fields(&counted.site);
    answer.insert("webhooks".to_owned(), webhooks.into());
    answer.insert("open_episodes".to_owned(), counted.open_episodes.into());
    Value::Object(answer)
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
