//! The calls that send again what a webhook has missed, show how far that has come, and cancel it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::domain::id::{JobId, WebhookId};
use crate::record::jobs::{self, NewRecovery, RecoveryRecord};
use crate::{chance, clock};

use super::answer::{self, optional_time, time};
use super::body::JsonBody;
use super::extract::{PathIds, ReadableSite, WritableSite};
use super::field_errors::{FieldCode, FieldErrors};
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::resend::check_webhook;
use super::state::ApiState;
use super::validate::BodyObject;
use super::webhooks::check_existed;

/// Most recoveries of a webhook that run at the same time.
const MAX_RUNNING: i64 = 10;

/// A recovery in answers.
#[derive(Debug, Serialize)]
struct RecoveryAnswer {
    id: JobId,
    status: String,
    since: Option<String>,
    until: Option<String>,
    total: i32,
    sent: i64,
    skipped: i32,
    inserted_at: String,
    ended_at: Option<String>,
}

impl From<RecoveryRecord> for RecoveryAnswer {
    fn from(record: RecoveryRecord) -> Self {
        Self {
            id: record.id,
            status: record.status,
            since: optional_time(record.since),
            until: optional_time(record.until),
            total: record.total,
            sent: record.sent,
            skipped: record.skipped,
            inserted_at: time(record.inserted_at),
            ended_at: optional_time(record.ended_at),
        }
    }
}

/// `POST /api/sites/{site_id}/webhooks/{webhook_id}/recover`
pub(super) async fn begin(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let webhook = ids.webhook()?;
    let path = format!("{}/webhooks/{webhook}/recover", site.path());
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        begin_once(state, site, webhook, body, execution).boxed()
    })
    .await
}

async fn begin_once(
    state: &ApiState,
    site: &WritableSite,
    webhook: WebhookId,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = state.write(site).await?;
    let sendable = check_webhook(&mut tx, site, webhook).await;
    if sendable.as_ref().is_err_and(Problem::is_not_found) {
        return sendable.map(|()| answer::no_content());
    }
    let (since, until) = read_span(&BodyObject::root(body), now)?;
    sendable?;
    check_running(&mut tx, webhook).await?;
    let id = JobId::new_v7(now.timestamp_millis(), chance::bytes());
    let new = NewRecovery {
        id,
        site_id: site.id(),
        webhook,
        since,
        until,
    };
    jobs::begin_recovery(&mut tx, new, now).await?;
    site.write_audit(&mut tx, "webhook.recover", Some(webhook.to_string()), Some(body))
        .await?;
    let begun = jobs::recovery(&mut tx, webhook, id).await?;
    let begun = begun.map(RecoveryAnswer::from);
    let answered = serde_json::to_value(begun).unwrap_or_default();
    let location = format!("{}/webhooks/{webhook}/recoveries/{id}", site.path());
    execution
        .store_answer(&mut tx, StatusCode::ACCEPTED, Some(&location), &answered)
        .await?;
    tx.commit().await?;
    Ok(answer::accepted(&location, &answered))
}

/// Refuses another recovery of a webhook that has many running. Its row is locked.
async fn check_running(conn: &mut PgConnection, webhook: WebhookId) -> Result<(), Problem> {
    if jobs::running_recoveries(conn, webhook).await? < MAX_RUNNING {
        return Ok(());
    }
    let detail = format!(
        "{MAX_RUNNING} recoveries of this webhook are running. Wait until one has ended, or cancel one."
    );
    Err(Problem::new(ProblemType::RecoveryLimit, detail))
}

/// Reads the span, of which the end may be left out.
pub(super) fn read_span(
    body: &BodyObject<'_>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
    let mut errors = FieldErrors::default();
    body.refuse_unknown(&["since", "until"], &mut errors);
    body.require(
        "since",
        "the time from which on notifications are sent again",
        &mut errors,
    );
    let since = body.time("since", &mut errors);
    let until = body.time("until", &mut errors).unwrap_or(now);
    if let Some(since) = since
        && since > until
    {
        let detail = "The span ends before it begins: `since` must not be later than `until`, nor than now.";
        errors.add("/since", FieldCode::OutOfRange, detail);
    }
    match since {
        Some(since) if errors.is_empty() => Ok((since, until)),
        _ => Err(Problem::invalid(errors)),
    }
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/recoveries/{job_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    site: ReadableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let webhook = ids.webhook()?;
    let mut conn = state.read().await?;
    check_existed(&mut conn, site.id(), webhook).await?;
    let found = jobs::recovery(&mut conn, webhook, ids.job()?).await?;
    let found = found.ok_or_else(|| Problem::not_found("recovery"))?;
    Ok(answer::ok(&RecoveryAnswer::from(found)))
}

/// `DELETE /api/sites/{site_id}/webhooks/{webhook_id}/recoveries/{job_id}`
pub(super) async fn cancel(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let webhook = ids.webhook()?;
    let now = clock::now();
    let mut tx = state.write(&site).await?;
    check_existed(&mut tx, site.id(), webhook).await?;
    let id = ids.job()?;
    if jobs::recovery(&mut tx, webhook, id).await?.is_none() {
        return Err(Problem::not_found("recovery"));
    }
    let withdraw = JobId::new_v7(now.timestamp_millis(), chance::bytes());
    if jobs::cancel_recovery(&mut tx, id, withdraw, now).await? {
        site.write_audit(&mut tx, "recovery.cancel", Some(id.to_string()), None)
            .await?;
    }
    tx.commit().await?;
    Ok(answer::no_content())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_span_ends_now_unless_given_and_not_before_it_begins() {
        let now: DateTime<Utc> = "2026-02-25T12:00:00Z".parse().expect("a time");
        let read = |body: Value| {
            let body = body.as_object().expect("an object").clone();
            read_span(&BodyObject::root(&body), now).is_ok()
        };
        for (body, wanted) in [
            (json!({"since": "2026-02-25T11:00:00Z"}), true),
            (json!({"since": "2026-02-25T12:00:00Z", "until": null}), true),
            (json!({"since": "2026-02-25T13:00:00Z"}), false),
            (
                json!({"since": "2026-02-25T11:00:00Z", "until": "2026-02-25T10:00:00Z"}),
                false,
            ),
            (
                json!({"since": "2026-02-25T11:00:00Z", "until": "2027-01-01T00:00:00Z"}),
                true,
            ),
            (json!({"until": "2026-02-25T11:00:00Z"}), false),
            (json!({"since": "yesterday"}), false),
        ] {
            assert_eq!(read(body.clone()), wanted, "{body}");
        }
    }
}
