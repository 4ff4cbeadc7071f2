//! Goals of sites.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::goal::{Goal, GoalKind, GoalRule, GoalSettings};
use crate::domain::id::{GoalId, WebhookId};
use crate::domain::site::SiteId;

use super::unreadable_rows::UnreadableRows;
use super::{goal_names, sites};

/// Most goals of a site.
pub(crate) const MAX_PER_SITE: i64 = 1_000;

/// A goal with the other columns of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoalRecord {
    pub(crate) goal: Goal,
    pub(crate) site_id: String,
    pub(crate) inserted_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Reason why a goal cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum GoalError {
    #[error("the site is not registered")]
    NoSuchSite,
    #[error("the site has no such goal")]
    NoSuchGoal,
    #[error("the site has a goal of this name")]
    DuplicateName,
    #[error("a site has at most {MAX_PER_SITE} goals")]
    LimitReached,
    /// With the names of the webhooks.
    #[error("webhooks are told when the goal is silent")]
    Watched(Vec<String>),
    #[error(transparent)]
    Postgres(sqlx::Error),
}

impl From<sqlx::Error> for GoalError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|error| error.constraint()) {
            Some("goals_name_unique") => Self::DuplicateName,
            _ => Self::Postgres(error),
        }
    }
}

/// Adds a goal to a registered site. Needs a transaction.
pub async fn create(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: GoalId,
    settings: &GoalSettings,
    now: DateTime<Utc>,
) -> Result<(), GoalError> {
    if !sites::lock(conn, site_id).await? {
        return Err(GoalError::NoSuchSite);
    }
    let goals = sqlx::query_scalar!(
        r#"select count(*) as "goals!" from goals where site_id = $1"#,
        site_id.as_str()
    )
    .fetch_one(&mut *conn)
    .await?;
    if goals >= MAX_PER_SITE {
        return Err(GoalError::LimitReached);
    }
    let rule = RuleColumns::from(&settings.rule);
    sqlx::query!(
        "insert into goals (id, site_id, name, kind, event, path, scroll_threshold, props, active_since, inserted_at,
             updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)",
        id.uuid(),
        site_id.as_str(),
        settings.name,
        rule.kind,
        rule.event,
        rule.path,
        rule.scroll_threshold,
        props_to_json(&settings.props),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces a goal's settings. Under another name the webhooks that name it go on with that, and
/// are returned. Needs a transaction.
pub(crate) async fn replace(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: GoalId,
    settings: &GoalSettings,
    now: DateTime<Utc>,
) -> Result<Vec<WebhookId>, GoalError> {
    let before = lock_named(conn, site_id, id)
        .await?
        .ok_or(GoalError::NoSuchGoal)?;
    let rule = RuleColumns::from(&settings.rule);
    sqlx::query!(
        "update goals
         set name = $3, kind = $4, event = $5, path = $6, scroll_threshold = $7, props = $8, updated_at = $9
         where site_id = $1 and id = $2",
        site_id.as_str(),
        id.uuid(),
        settings.name,
        rule.kind,
        rule.event,
        rule.path,
        rule.scroll_threshold,
        props_to_json(&settings.props),
        now
    )
    .execute(&mut *conn)
    .await?;
    match before == settings.name {
        true => Ok(Vec::new()),
        false => Ok(goal_names::follow(conn, site_id, &before, &settings.name, now).await?),
    }
}

/// Deletes a goal, unless a webhook is told when it is silent: it would be for ever. Webhooks that
/// only list its name keep that, and hear of goals that a producer publishes under it. Needs a
/// transaction.
pub async fn delete(conn: &mut PgConnection, site_id: &SiteId, id: GoalId) -> Result<(), GoalError> {
    let name = lock_named(conn, site_id, id)
        .await?
        .ok_or(GoalError::NoSuchGoal)?;
    let watchers = goal_names::watchers(conn, site_id, &name).await?;
    if !watchers.is_empty() {
        return Err(GoalError::Watched(watchers));
    }
    sqlx::query!(
        "delete from goals where site_id = $1 and id = $2",
        site_id.as_str(),
        id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the row of the site, as everybody does who makes a webhook, then that of a goal. Returns
/// the goal's name; `None` if there is none.
async fn lock_named(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: GoalId,
) -> Result<Option<String>, sqlx::Error> {
    if !sites::lock(conn, site_id).await? {
        return Ok(None);
    }
    sqlx::query_scalar!(
        "select name from goals where site_id = $1 and id = $2 for update",
        site_id.as_str(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Reads one goal of a site.
pub(crate) async fn get(
    conn: &mut PgConnection,
    site_id: &SiteId,
    id: GoalId,
) -> Result<Option<GoalRecord>, sqlx::Error> {
    let goals = select(conn, Some(&[site_id.as_str().to_owned()]), Some(id)).await?;
    Ok(goals.into_iter().next())
}

/// Lists the goals of these sites, or of all, oldest first. A row that cannot be read is logged and
/// left out.
pub(crate) async fn list(
    conn: &mut PgConnection,
    site_ids: Option<&[String]>,
) -> Result<Vec<GoalRecord>, sqlx::Error> {
    select(conn, site_ids, None).await
}

/// Finds the `names` that no goal of the site has.
pub(crate) async fn unknown_names(
    conn: &mut PgConnection,
    site_id: &SiteId,
    names: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select wanted.name as "name!" from unnest($2::text[]) as wanted (name)
           where not exists (select from goals where site_id = $1 and goals.name = wanted.name)"#,
        site_id.as_str(),
        names
    )
    .fetch_all(conn)
    .await
}

async fn select(
    conn: &mut PgConnection,
    site_ids: Option<&[String]>,
    id: Option<GoalId>,
) -> Result<Vec<GoalRecord>, sqlx::Error> {
    let rows = sqlx::query_as!(
        GoalRow,
        "select id, site_id, name, kind, event, path, scroll_threshold, props, active_since, inserted_at, updated_at
         from goals
         where ($1::text[] is null or site_id = any($1)) and ($2::uuid is null or id = $2)
         order by id",
        site_ids,
        id.map(GoalId::uuid)
    )
    .fetch_all(conn)
    .await?;
    let mut goals = Vec::with_capacity(rows.len());
    let mut unreadable = UnreadableRows::default();
    for row in rows {
        let id = GoalId::from_uuid(row.id);
        match GoalRecord::try_from(row) {
            Ok(goal) => goals.push(goal),
            Err(UnreadableGoal(part)) => {
                unreadable.note("a stored goal cannot be read", id, format!("its {part}"));
            }
        }
    }
    Ok(goals)
}

struct GoalRow {
    id: Uuid,
    site_id: String,
    name: String,
    kind: String,
    event: Option<String>,
    path: Option<String>,
    scroll_threshold: Option<i16>,
    props: Value,
    active_since: DateTime<Utc>,
    inserted_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A row that cannot be read, with the name of the part at fault.
struct UnreadableGoal(&'static str);

impl TryFrom<GoalRow> for GoalRecord {
    type Error = UnreadableGoal;

    fn try_from(row: GoalRow) -> Result<Self, UnreadableGoal> {
        let threshold = row
            .scroll_threshold
            .and_then(|threshold| u8::try_from(threshold).ok());
        let kind: Option<GoalKind> = row.kind.parse().ok();
        let rule = match (kind, row.event, row.path, threshold) {
            (Some(GoalKind::Event), Some(event), None, None) => GoalRule::Event { event },
            (Some(GoalKind::Page), None, Some(path), None) => GoalRule::Page { path },
            (Some(GoalKind::Scroll), None, Some(path), Some(scroll_threshold)) => GoalRule::Scroll {
                path,
                scroll_threshold,
            },
            _ => return Err(UnreadableGoal("rule")),
        };
        Ok(Self {
            goal: Goal {
                id: GoalId::from_uuid(row.id),
                name: row.name,
                rule,
                props: props_from_json(&row.props).ok_or(UnreadableGoal("props"))?,
                active_since_ms: row.active_since.timestamp_millis(),
            },
            site_id: row.site_id,
            inserted_at: row.inserted_at,
            updated_at: row.updated_at,
        })
    }
}

/// A rule as its columns hold it.
struct RuleColumns<'a> {
    kind: &'static str,
    event: Option<&'a str>,
    path: Option<&'a str>,
    scroll_threshold: Option<i16>,
}

impl<'a> From<&'a GoalRule> for RuleColumns<'a> {
    fn from(rule: &'a GoalRule) -> Self {
        let (event, path, scroll_threshold) = match rule {
            GoalRule::Event { event } => (Some(event.as_str()), None, None),
            GoalRule::Page { path } => (None, Some(path.as_str()), None),
            GoalRule::Scroll {
                path,
                scroll_threshold,
            } => (None, Some(path.as_str()), Some(i16::from(*scroll_threshold))),
        };
        Self {
            kind: rule.kind().as_str(),
            event,
            path,
            scroll_threshold,
        }
    }
}

fn props_to_json(props: &[(String, String)]) -> Value {
    let map: Map<String, Value> = props
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    Value::Object(map)
}

fn props_from_json(props: &Value) -> Option<Vec<(String, String)>> {
    props
        .as_object()?
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
