//! Reading a site from a request's body.

use std::collections::HashSet;

use serde_json::Value;

use crate::domain::site::{MAX_ALIASES, MAX_SITE_ID_BYTES, SiteId, SiteSettings};

use super::field_errors::{FieldCode, FieldErrors};
use super::validate::BodyObject;

/// Read-only fields that change without the owner of the site.
pub(super) const MOVING: [&str; 5] = [
    "first_event_at",
    "last_event_at",
    "updated_at",
    "webhooks",
    "open_episodes",
];
pub(super) const MAX_NAME_CHARS: usize = 100;
pub(super) const MAX_TIME_ZONE_CHARS: usize = 100;
const DEFAULT_TIME_ZONE: &str = "UTC";
const FIELDS: [&str; 4] = ["name", "time_zone", "aliases", "include_paths"];
pub(super) const READ_ONLY: [&str; 7] = [
    "site_id",
    "first_event_at",
    "last_event_at",
    "inserted_at",
    "updated_at",
    "webhooks",
    "open_episodes",
];

/// The settings of a site as they were given, each alias with its index in the list.
pub(super) struct SiteInput {
    name: Option<String>,
    time_zone: String,
    pub(super) aliases: Vec<(usize, SiteId)>,
    include_paths: bool,
}

impl SiteInput {
    pub(super) fn settings(&self) -> SiteSettings {
        SiteSettings {
            name: self.name.clone(),
            time_zone: self.time_zone.clone(),
            aliases: self.aliases.iter().map(|(_, alias)| alias.to_string()).collect(),
            include_paths: self.include_paths,
        }
    }
}

/// Reads the settings in a body. A missing field has its default, since the call replaces.
pub(super) fn read_settings(site_id: &SiteId, body: &BodyObject<'_>, errors: &mut FieldErrors) -> SiteInput {
    body.refuse_other_fields(&FIELDS, &READ_ONLY, errors);
    let time_zone = body
        .text("time_zone", MAX_TIME_ZONE_CHARS, errors)
        .unwrap_or(DEFAULT_TIME_ZONE);
    if time_zone.parse::<chrono_tz::Tz>().is_err() {
        errors.add(
            "/time_zone",
            FieldCode::Unknown,
            "This is not an IANA time zone, such as UTC or Europe/Berlin.",
        );
    }
    SiteInput {
        name: body.text("name", MAX_NAME_CHARS, errors).map(str::to_owned),
        time_zone: time_zone.to_owned(),
        aliases: read_aliases(site_id, body, errors),
        include_paths: body.boolean("include_paths", errors).unwrap_or(true),
    }
}

fn read_aliases(site_id: &SiteId, body: &BodyObject<'_>, errors: &mut FieldErrors) -> Vec<(usize, SiteId)> {
    let Some(list) = body.list("aliases", errors) else {
        return Vec::new();
    };
    if list.len() > MAX_ALIASES {
        let count = list.len();
        let detail = format!("A site may have at most {MAX_ALIASES} aliases; these are {count}.");
        errors.add("/aliases", FieldCode::TooMany, detail);
    }
    let mut seen = HashSet::new();
    let mut aliases = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let pointer = format!("/aliases/{index}");
        let Value::String(text) = value else {
            let allowed = format!("text of 1 to {MAX_SITE_ID_BYTES} bytes");
            errors.add_wrong_type(pointer, value, &allowed);
            continue;
        };
        match text.parse::<SiteId>() {
            Err(error) => errors.add(pointer, FieldCode::Invalid, error.to_string()),
            Ok(alias) if alias == *site_id => {
                errors.add(
                    pointer,
                    FieldCode::Duplicate,
                    "This is the id of the site itself.",
                );
            }
            Ok(_) if !seen.insert(text) => {
                errors.add(pointer, FieldCode::Duplicate, "This alias is in the list twice.");
            }
            Ok(alias) => aliases.push((index, alias)),
        }
    }
    aliases
}
