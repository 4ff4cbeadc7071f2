//! Names of goals in the triggers of webhooks, which name goals and not their ids: a name may also
//! be that of goals which a producer publishes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;

/// Gives a goal its new name in every webhook of the site that names it, and in the hours in which
/// it was counted. Returns these webhooks. Needs a transaction, which holds the row of the site: no
/// webhook is made meanwhile.
pub(crate) async fn follow(
    conn: &mut PgConnection,
    site_id: &SiteId,
    before: &str,
    after: &str,
    now: DateTime<Utc>,
) -> Result<Vec<WebhookId>, sqlx::Error> {
    // What a change of a webhook has written, and not yet committed, is waited for.
    sqlx::query!(
        "select id from webhooks where site_id = $1 and deleted_at is null order by id for no key update",
        site_id.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let changed = sqlx::query_scalar!(
        r#"with listed as (
               select id, case when jsonb_typeof(triggers #> '{goal_completion,goals}') = 'array'
                       and triggers #> '{goal_completion,goals}' ? $2
                   then jsonb_set(triggers, '{goal_completion,goals}', (
                       select jsonb_agg(name order by place) from (
                           select case name when $2 then $3 else name end as name, min(place) as place
                           from jsonb_array_elements_text(triggers #> '{goal_completion,goals}')
                                with ordinality as named (name, place)
                           group by 1
                       ) names
                   ))
                   else triggers end as triggers
               from webhooks where site_id = $1 and deleted_at is null
           ), followed as (
               select id, case triggers #>> '{error_condition,silence,goal}'
                   when $2 then jsonb_set(triggers, '{error_condition,silence,goal}', to_jsonb($3::text))
                   else triggers end as triggers
               from listed
           )
           update webhooks set triggers = followed.triggers, updated_at = $4
           from followed where webhooks.id = followed.id and webhooks.triggers <> followed.triggers
           returning webhooks.id"#,
        site_id.as_str(),
        before,
        after,
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    rename_in_hours(conn, site_id, before, after).await?;
    Ok(changed.into_iter().map(WebhookId::from_uuid).collect())
}

/// Gives a goal its new name in the hours of its site. They are locked in the order in which those
/// are that write them.
async fn rename_in_hours(
    conn: &mut PgConnection,
    site_id: &SiteId,
    before: &str,
    after: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with counted as (
             select hour from site_activity where site_id = $1 and goals ? $2 order by hour for no key update
         )
         update site_activity
         set goals = goals - $2 || jsonb_build_object($3::text,
                 coalesce((goals ->> $3)::numeric, 0) + (goals ->> $2)::numeric)
         from counted where site_id = $1 and site_activity.hour = counted.hour",
        site_id.as_str(),
        before,
        after
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists the names of the webhooks that are told when a goal of this name is silent.
pub(crate) async fn watchers(
    conn: &mut PgConnection,
    site_id: &SiteId,
    name: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select name from webhooks
         where site_id = $1 and deleted_at is null and triggers #>> '{error_condition,silence,goal}' = $2
         order by id",
        site_id.as_str(),
        name
    )
    .fetch_all(conn)
    .await
}
