//! The rows of the registry, decrypted and grouped by site.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::domain::id::WebhookId;
use crate::domain::link_template::LinkTemplate;
use crate::domain::registry::Site;
use crate::domain::secret::Secret;
use crate::domain::site::SiteId;
use crate::domain::webhook::{NextSecret, Webhook};

use super::keyring::{Keyring, OpenError};
use super::unreadable_rows::{RowName, UnreadableRows};
use super::webhook_row::{SecretRole, WebhookRow, secret_place, secret_row};
use super::{goals, webhooks};

/// Rows of some sites, all of one snapshot.
pub(super) struct Rows {
    sites: Vec<SiteRow>,
    goals: Vec<goals::GoalRecord>,
    webhooks: Vec<WebhookRow>,
    secrets: Vec<SecretRow>,
}

/// A site, and its webhooks as the deliverer needs them.
#[derive(Debug)]
pub(super) struct SiteContents {
    pub(super) site: Site,
    pub(super) webhooks: Vec<Arc<Webhook>>,
    /// Webhooks that cannot be sent to by this process.
    pub(super) sealed: Vec<WebhookId>,
}

impl SiteContents {
    fn of(site: Site) -> Self {
        Self {
            site,
            webhooks: Vec::new(),
            sealed: Vec::new(),
        }
    }
}

struct SiteRow {
    site_id: String,
    name: Option<String>,
    time_zone: String,
    aliases: Vec<String>,
    include_paths: bool,
    inserted_at: DateTime<Utc>,
}

struct SecretRow {
    webhook_id: Uuid,
    role: String,
    secret: Vec<u8>,
}

impl Rows {
    /// Reads the rows of these sites, or of all.
    pub(super) async fn read(
        conn: &mut PgConnection,
        site_ids: Option<&[String]>,
    ) -> Result<Self, sqlx::Error> {
        let mut tx = conn
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        let sites = sqlx::query_as!(
            SiteRow,
            "select site_id, name, time_zone, aliases, include_paths, inserted_at from sites where $1::text[] is null or site_id = any($1)",
            site_ids
        )
        .fetch_all(&mut *tx)
        .await?;
        let goals = goals::list(&mut tx, site_ids).await?;
        let webhooks = webhooks::select(&mut tx, site_ids, None).await?;
        let secrets = sqlx::query_as!(
            SecretRow,
            "select s.webhook_id, s.role, s.secret
         from webhook_secrets s join webhooks w on w.id = s.webhook_id
         where w.deleted_at is null and ($1::text[] is null or w.site_id = any($1))",
            site_ids
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Self {
            sites,
            goals,
            webhooks,
            secrets,
        })
    }

    /// Decrypts and groups by site. What cannot be read is logged.
    pub(super) fn into_sites(
        self,
        keyring: &Keyring,
        links: Option<&LinkTemplate>,
    ) -> HashMap<SiteId, SiteContents> {
        let mut unreadable = UnreadableRows::default();
        let mut sites: HashMap<SiteId, SiteContents> = self
            .sites
            .into_iter()
            .filter_map(|row| row.into_site(links, &mut unreadable))
            .map(|site| (site.id.clone(), SiteContents::of(site)))
            .collect();
        for record in self.goals {
            if let Some(contents) = sites.get_mut(record.site_id.as_str()) {
                contents.site.goals.push(Arc::new(record.goal));
            }
        }
        let mut secrets: Secrets = self
            .secrets
            .into_iter()
            .map(|row| ((row.webhook_id, row.role), row.secret))
            .collect();
        for row in self.webhooks {
            let Some(contents) = sites.get_mut(row.site_id.as_str()) else {
                continue;
            };
            let id = WebhookId::from_uuid(row.id);
            match row.subscription() {
                Ok(subscription) => contents.site.webhooks.push(Arc::new(subscription)),
                Err(_) => contents.site.unreadable.push(id),
            }
            match open_webhook(row, &contents.site, &mut secrets, keyring, &mut unreadable) {
                Some(webhook) => contents.webhooks.push(Arc::new(webhook)),
                None => contents.sealed.push(id),
            }
        }
        sites
    }
}

/// Ciphertexts of secrets by webhook and role.
type Secrets = HashMap<(Uuid, String), Vec<u8>>;

impl SiteRow {
    /// The site without goals and webhooks; `None` if it cannot be read.
    fn into_site(self, links: Option<&LinkTemplate>, unreadable: &mut UnreadableRows) -> Option<Site> {
        let id = match self.site_id.parse::<SiteId>() {
            Ok(id) => id,
            Err(error) => {
                unreadable.note("a stored site cannot be read", RowName::site(self.site_id), error);
                return None;
            }
        };
        Some(Site {
            time_zone: zone_of(&self.site_id, &self.time_zone, unreadable),
            link: links.map(|template| template.link_to(&id)),
            id,
            registered_ms: self.inserted_at.timestamp_millis(),
            name: self.name,
            include_paths: self.include_paths,
            aliases: self.aliases,
            goals: Vec::new(),
            webhooks: Vec::new(),
            unreadable: Vec::new(),
            version: 0,
        })
    }
}

/// Decrypts a webhook with its secrets; `None` if a part cannot be read, which is logged.
fn open_webhook(
    row: WebhookRow,
    site: &Site,
    secrets: &mut Secrets,
    keyring: &Keyring,
    unreadable: &mut UnreadableRows,
) -> Option<Webhook> {
    let record = row
        .into_record(keyring)
        .map_err(|webhook| unreadable.note_webhook(&webhook))
        .ok()?;
    let overlap_until = record.secret_overlap_until;
    let mut secret = |role: SecretRole| {
        let sealed = secrets.remove(&(record.id.uuid(), role.to_string()))?;
        Some(open_secret(keyring, record.id, role, &sealed))
    };
    let (current, next) = (secret(SecretRole::Current), secret(SecretRole::Next));
    match (current, next.transpose()) {
        (Some(Ok(current)), Ok(next)) => {
            // Both are of one snapshot, in which a next secret has an end.
            let next = next.zip(overlap_until).map(|(secret, overlap_until)| NextSecret {
                secret,
                overlap_until,
            });
            Some(record.into_webhook(site.id.clone(), site.include_paths, current, next))
        }
        (None, _) => {
            unreadable.note(
                "a stored webhook has no secret",
                record.id,
                "its secret is missing",
            );
            None
        }
        (Some(Err(error)), _) | (_, Err(error)) => {
            unreadable.note("the secret of a stored webhook cannot be read", record.id, error);
            None
        }
    }
}

/// The zone of this name; UTC if this build does not know it.
fn zone_of(site_id: &str, name: &str, unreadable: &mut UnreadableRows) -> Tz {
    name.parse().unwrap_or_else(|_| {
        let site = RowName::site(site_id.to_owned());
        unreadable.note("a stored time zone is unknown; UTC is used", site, name);
        Tz::UTC
    })
}

fn open_secret(
    keyring: &Keyring,
    id: WebhookId,
    role: SecretRole,
    sealed: &[u8],
) -> Result<Secret, OpenError> {
    keyring
        .open_text(secret_place(&secret_row(id.uuid(), role)), sealed)
        .map(Secret::from_stored)
}
