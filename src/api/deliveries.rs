//! The calls that read the history of a webhook.

use std::collections::BTreeSet;
use std::str::FromStr;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::domain::words::UnknownWord;
use crate::record::deliveries_read::{self, LastAttempt};
use crate::record::delivery_pages::{self, AlsoTried, CountUpTo, HistoryQuery};

use super::answer::{self, Page};
use super::delivery_answer::DeliveryAnswer;
use super::extract::{PathIds, ReadableSite};
use super::field_errors::FieldErrors;
use super::parameter::{Parameter, UNDELIVERED};
use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use super::webhooks::check_existed;

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/deliveries?status=&event=&since=&limit=&after=`
pub(super) async fn list(
    State(state): State<ApiState>,
    site: ReadableSite,
    ids: PathIds,
    query: Query,
    count: Option<Extension<CountUpTo>>,
    tried: Option<Extension<AlsoTried>>,
) -> Result<Response, Problem> {
    let webhook = ids.webhook()?;
    let mut errors = query.check_names();
    let mut query = read_query(&query, &mut errors);
    Problem::check(errors)?;
    let mut conn = state.read().await?;
    if let Some(Extension(CountUpTo(limit))) = count {
        query.limit = limit;
        let count = delivery_pages::count(&mut conn, site.id(), webhook, &query).await?;
        return Ok(answer::ok(&json!({"count": count})));
    }
    query.also_tried = tried.is_some();
    // The history of a deleted webhook stays readable until retention removes it.
    let (deliveries, next) = delivery_pages::read(&mut conn, site.id(), webhook, &query).await?;
    if deliveries.is_empty() {
        check_existed(&mut conn, site.id(), webhook).await?;
    }
    let data = deliveries
        .into_iter()
        .map(|(delivery, last)| DeliveryAnswer::new(delivery, last, None))
        .collect();
    let next = next.map(|id| id.to_string());
    Ok(answer::ok(&Page { data, next }))
}

/// `GET /api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}`
pub(super) async fn get(
    State(state): State<ApiState>,
    site: ReadableSite,
    ids: PathIds,
) -> Result<Response, Problem> {
    let webhook = ids.webhook()?;
    let mut conn = state.read().await?;
    let Some((delivery, attempts)) =
        deliveries_read::one(&mut conn, site.id(), webhook, ids.delivery()?).await?
    else {
        check_existed(&mut conn, site.id(), webhook).await?;
        return Err(Problem::not_found("delivery"));
    };
    let last = attempts.last().map(|attempt| LastAttempt {
        result: attempt.result.clone(),
        total_ms: attempt.total_ms,
    });
    let resends = deliveries_read::resends(&mut conn, &delivery).await?;
    let answered = DeliveryAnswer::new(delivery, last, Some(attempts)).with_resends(resends);
    Ok(answer::ok(&answered))
}

fn read_query(query: &Query, errors: &mut FieldErrors) -> HistoryQuery {
    let since = query.time(Parameter::Since, errors);
    HistoryQuery {
        statuses: read_statuses(query, errors),
        events: query
            .many::<EventType>(Parameter::Events, errors)
            .into_iter()
            .collect(),
        since_ms: since.map(|since| since.timestamp_millis()),
        after: query.after(errors),
        limit: query.limit(errors),
        also_tried: false,
    }
}

/// Reads the statuses; `undelivered` stands for those that end without success.
fn read_statuses(query: &Query, errors: &mut FieldErrors) -> BTreeSet<DeliveryStatus> {
    let read: Vec<StatusWord> = query.many(Parameter::Statuses, errors);
    let mut statuses = BTreeSet::new();
    for word in read {
        match word {
            StatusWord::One(status) => statuses.extend([status]),
            StatusWord::Undelivered => statuses.extend([DeliveryStatus::Failed, DeliveryStatus::Cancelled]),
        }
    }
    statuses
}

#[derive(PartialEq)]
enum StatusWord {
    One(DeliveryStatus),
    Undelivered,
}

impl FromStr for StatusWord {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            UNDELIVERED => Ok(Self::Undelivered),
            other => other.parse().map(Self::One),
        }
    }
}
