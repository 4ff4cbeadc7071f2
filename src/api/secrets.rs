//! The calls that show and rotate the secret of a webhook.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use serde_json::{Map, Value};

use crate::domain::id::WebhookId;
use crate::domain::secret::Secret;
use crate::record::secrets::{self, SecretError};
use crate::record::webhooks;
use crate::{chance, clock};

use super::answer::{self, time};
use super::body::OptionalJsonBody;
use super::extract::{PathIds, WritableSite};
use super::field_errors::{FieldCode, FieldErrors};
use super::idempotency::{Execution, IdempotencyKey};
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::state::ApiState;
use super::validate::BodyObject;
use super::webhook_answer::{insert_secret, masked, schedule_warning, short_secret_warning, with_warnings};
use super::webhook_input::read_secret;
use super::webhooks::find;

const FIELDS: [&str; 3] = ["secret", "overlap_seconds", "finish"];
/// Up to a week.
pub(super) const OVERLAP_SECONDS: std::ops::RangeInclusive<u32> = 0..=604_800;
pub(super) const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;

/// A change of the secret as it was asked for.
pub(super) enum Rotation {
    /// Ends an overlap.
    Finish,
    Start {
        secret: Secret,
        overlap_seconds: u32,
    },
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/secret`
pub(super) async fn reveal(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let id = ids.webhook()?;
    let mut tx = state.write(&site).await?;
    find(&mut tx, &state.keyring, site.id(), id).await?;
    let stored = secrets::read(&mut tx, &state.keyring, id).await?.at(clock::now());
    site.write_audit(&mut tx, "webhook.reveal_secret", Some(id.to_string()), None)
        .await?;
    tx.commit().await?;
    let mut shown = Map::new();
    insert_secret(&mut shown, &stored.current);
    if let Some(next) = &stored.next {
        let mut other = Map::new();
        insert_secret(&mut other, &next.secret);
        other.insert("from".to_owned(), time(next.from).into());
        shown.insert("next".to_owned(), Value::Object(other));
    }
    Ok(answer::ok(&shown))
}

/// `POST /api/sites/{site_id}/webhooks/{webhook_id}/rotate-secret`
pub(super) async fn rotate(
    State(state): State<ApiState>,
    site: WritableSite,
    ids: PathIds,
    key: IdempotencyKey,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let id = ids.webhook()?;
    let path = format!("{}/webhooks/{id}/rotate-secret", site.path());
    key.run_once(state, site, path, body, move |state, site, body, execution| {
        rotate_once(state, site, id, body, execution).boxed()
    })
    .await
}

async fn rotate_once(
    state: &ApiState,
    site: &WritableSite,
    id: WebhookId,
    body: &Map<String, Value>,
    execution: &Execution,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = state.write(site).await?;
    if !webhooks::lock(&mut tx, site.id(), id).await? {
        return Err(Problem::not_found("webhook"));
    }
    let rotation = read_rotation(&BodyObject::root(body))?;
    let changed = match &rotation {
        Rotation::Finish => secrets::finish(&mut tx, &state.keyring, id).await?,
        Rotation::Start {
            secret,
            overlap_seconds,
        } => {
            let until = overlap_end(*overlap_seconds, now);
            secrets::rotate(&mut tx, &state.keyring, id, secret, until, now).await?;
            true
        }
    };
    if changed {
        site.write_audit(&mut tx, "webhook.rotate_secret", Some(id.to_string()), Some(body))
            .await?;
    }
    let webhook = find(&mut tx, &state.keyring, site.id(), id).await?;
    let mut warnings = schedule_warning(&webhook.settings, &state.config.webhooks);
    if let Rotation::Start { secret, .. } = &rotation {
        warnings.extend(short_secret_warning(secret));
    }
    let mut answered = with_warnings(masked(&webhook), &warnings);
    execution
        .store_answer(&mut tx, StatusCode::OK, None, &Value::Object(answered.clone()))
        .await?;
    tx.commit().await?;
    if let Rotation::Start { secret, .. } = &rotation {
        insert_secret(&mut answered, secret);
    }
    Ok(answer::ok(&answered))
}

/// The end of an overlap; `None` for none.
fn overlap_end(seconds: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (seconds > 0).then(|| now + TimeDelta::seconds(seconds.into()))
}

pub(super) fn read_rotation(body: &BodyObject<'_>) -> Result<Rotation, Problem> {
    let mut errors = FieldErrors::default();
    body.refuse_unknown(&FIELDS, &mut errors);
    let finish = body.boolean("finish", &mut errors).unwrap_or(false);
    let overlap = body.integer("overlap_seconds", OVERLAP_SECONDS, &mut errors);
    let secret = read_secret(body, &mut errors);
    if finish {
        for name in ["secret", "overlap_seconds"] {
            if body.get(name).is_some() {
                let detail = "`finish` ends an overlap and makes no new secret: leave this field out.";
                errors.add(body.pointer_to(name), FieldCode::NotApplicable, detail);
            }
        }
    }
    Problem::check(errors)?;
    Ok(match finish {
        true => Rotation::Finish,
        false => Rotation::Start {
            secret: secret.unwrap_or_else(|| Secret::generate(chance::bytes())),
            overlap_seconds: overlap.unwrap_or(DEFAULT_OVERLAP_SECONDS),
        },
    })
}

/// The problem that a stored secret cannot be read is ours, and logged.
impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Postgres(error) => error.into(),
            error => {
                tracing::error!(%error, "the stored secret of a webhook cannot be read");
                Self::new(
                    ProblemType::Internal,
                    "The stored secret of this webhook cannot be read. The log of the server names the cause.",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rotation(body: Value) -> Result<Rotation, Problem> {
        let body = body.as_object().expect("an object").clone();
        read_rotation(&BodyObject::root(&body))
    }

    #[test]
    fn an_overlap_lasts_a_day_unless_given() {
        for (body, wanted) in [
            (json!({}), DEFAULT_OVERLAP_SECONDS),
            (json!({"overlap_seconds": 0}), 0),
            (json!({"overlap_seconds": 604_800}), 604_800),
        ] {
            match rotation(body) {
                Ok(Rotation::Start { overlap_seconds, .. }) => assert_eq!(overlap_seconds, wanted),
                _ => panic!("no rotation"),
            }
        }
        assert!(rotation(json!({"overlap_seconds": 604_801})).is_err());
        assert!(rotation(json!({"finish": true, "secret": "a-secret-of-mine"})).is_err());
        assert!(matches!(rotation(json!({"finish": true})), Ok(Rotation::Finish)));
    }
}
