//! A form that was sent: from one of our pages, by a visitor who may change things, once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::failure::PageFailure;
use super::form::{Form, MAX_FORM_BYTES};
use super::origin;
use super::reply::Reply;
use super::respond::{page, see_other};
use super::session::{PageVisit, original_uri};
use super::shown_before::ShownBefore;
use super::state::UiState;
use crate::record::idempotency::{self, Claimed, KeyClaim, ScopedKey, StoredAnswer};
use crate::{chance, clock};

/// Most bytes of a form that is too large of which the input is shown again.
const MAX_KEPT_BYTES: usize = 1024 * 1024;
/// Most bytes that are read of it.
const MAX_READ_BYTES: usize = 16 * 1024 * 1024;
/// Time between two looks at the first of two same forms.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks until a second form is told to come back.
const LOOKS: u32 = 600;
/// Time between two looks at the first of two same calls of the API, and their number: longer than
/// a test usually takes.
const API_LOOK_EVERY: Duration = Duration::from_millis(200);
const API_LOOKS: u32 = 200;
/// Longest that a form may be worked on: each of its calls of the API has a bound of its own.
const LONGEST_WORK: Duration = Duration::from_secs(120);

/// A form of a visitor who may change things.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) visit: PageVisit,
    pub(super) form: Form,
    path: String,
    hash: [u8; 32],
}

impl FromRequest<UiState> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &UiState) -> Result<Self, Response> {
        let public_url = state.config().public_url.as_deref();
        if !origin::is_own(request.headers(), public_url) {
            return Err(PageFailure::foreign_form().into_response());
        }
        let (mut parts, body) = request.into_parts();
        let visit =
            <PageVisit as axum::extract::FromRequestParts<UiState>>::from_request_parts(&mut parts, state)
                .await;
        let path = original_uri(&parts).path().to_owned();
        let visit = match visit {
            Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => {
                let form = Form::parse(&read_form(body, &path).await?);
                return Err(PageFailure::signed_out().with_form(&path, &form).into_response());
            }
            visit => visit?,
        };
        if !visit.is_editor() && path != SIGN_OUT {
            return Err(PageFailure::look_only().into_response());
        }
        let body = read_form(body, &path).await?;
        let form = Form::parse(&body);
        let is_once_valid = |once: &str| once.len() == 32 && once.bytes().all(|one| one.is_ascii_hexdigit());
        if !visit.is_own_token(form.text("token")) || !is_once_valid(form.text("once")) {
            return Err(PageFailure::foreign_form()
                .with_form(&path, &form)
                .into_response());
        }
        Ok(Self {
            visit,
            form,
            path,
            hash: Sha256::digest(&body).into(),
        })
    }
}

/// Reads the form that was sent to `path`. One that is too large is read as far as its input can be
/// shown again, and then to its end: a browser that cannot send it all shows no answer.
async fn read_form(body: Body, path: &str) -> Result<Bytes, Response> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut read) = (BytesMut::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return Err(PageFailure::broken_form().into_response());
        };
        read = read.saturating_add(chunk.len());
        let room = MAX_KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if read > MAX_READ_BYTES {
            break;
        }
    }
    match read > MAX_FORM_BYTES {
        true => {
            let form = Form::parse(&kept);
            Err(PageFailure::too_large().with_form(path, &form).into_response())
        }
        false => Ok(kept.freeze()),
    }
}

/// The one form that a viewer may send.
pub(super) const SIGN_OUT: &str = "/sign-out";

impl Posted {
    /// The number of the form's showing, as an `Idempotency-Key`.
    pub(super) fn once(&self) -> &str {
        self.form.text("once")
    }

    /// Carries the form out once. The same form sent again gets the same answer, without what was
    /// secret in it; another form under the same number is refused. A form that was refused may be
    /// corrected.
    ///
    /// It is carried out in a task of its own, which ends and keeps its answer although the browser
    /// goes away.
    pub(super) async fn run_once<F>(self, run: impl FnOnce(Arc<Self>) -> F) -> Result<Response, PageFailure>
    where
        F: Future<Output = Result<Response, PageFailure>> + Send + 'static,
    {
        let state = self.visit.state.clone();
        let mut looks = 0;
        let claim = loop {
            let mut conn = state.connection_of(&self.visit.token).await?;
            match self.claim(&mut conn).await? {
                Claimed::Ours(claim) => break claim,
                Claimed::OtherRequest => {
                    return Err(PageFailure::foreign_form().with_form(&self.path, &self.form));
                }
                Claimed::Answered(answer) => return Ok(self.replay(answer)),
                Claimed::InFlight if looks >= LOOKS => return Err(PageFailure::still_at_work()),
                Claimed::InFlight => {}
            }
            drop(conn);
            looks += 1;
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let posted = Arc::new(self);
        let shown = Arc::clone(&posted);
        let work = run(Arc::clone(&posted));
        let task = state.tasks().spawn(async move {
            let result = tokio::time::timeout(LONGEST_WORK, work).await;
            let result = result.unwrap_or_else(|_| Err(PageFailure::still_at_work()));
            let answer = result.as_ref().ok().and_then(stored_answer);
            posted.settle(&claim, answer).await;
            result
        });
        let result = task.await;
        let result = result.unwrap_or_else(|error| Err(PageFailure::internal(&error)));
        result.map_err(|failure| failure.with_form(&shown.path, &shown.form))
    }

    /// Waits until no other form that was sent to the same address is being worked on here.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.visit.state.turns().take(&self.path).await
    }

    /// Calls the API under the number of the form, and waits while the same form is being worked
    /// on: the second of two has the outcome of the first.
    pub(super) async fn send_once(&self, path: &str, body: &Value) -> Result<Reply, PageFailure> {
        for _ in 0..API_LOOKS {
            let api = &self.visit.api;
            let reply = api
                .send(Method::POST, path, Some(body), Some(self.once()))
                .await?;
            if reply.problem_type() != "idempotency-key-in-flight" {
                return Ok(reply);
            }
            tokio::time::sleep(API_LOOK_EVERY).await;
        }
        Err(PageFailure::still_at_work())
    }

    async fn claim(&self, conn: &mut sqlx::PgConnection) -> Result<Claimed, sqlx::Error> {
        let key = ScopedKey {
            token_id: self.visit.token.id.uuid(),
            path: self.path.clone(),
            key: self.once().to_owned(),
        };
        let holder = uuid::Builder::from_random_bytes(chance::bytes()).into_uuid();
        let state = &self.visit.state;
        idempotency::claim(conn, state.keyring(), key, &self.hash, holder, clock::now()).await
    }

    /// Keeps the answer of a form that was carried out, and releases the number of one that was
    /// not.
    async fn settle(&self, claim: &KeyClaim, answer: Option<StoredAnswer>) {
        let settled = async {
            let mut conn = self.visit.state.connection_of(&self.visit.token).await?;
            match answer {
                Some(answer) => idempotency::keep(&mut conn, claim, &answer).await.map(drop),
                None => idempotency::release(&mut conn, claim).await,
            }
        };
        if let Err(error) = settled.await {
            tracing::warn!(%error, "the answer to a form could not be kept: sent again, it is worked on again");
        }
    }

    fn replay(&self, answer: StoredAnswer) -> Response {
        match answer.location {
            Some(path) => see_other(&path),
            None => {
                let back = self.path.rsplit_once('/').map_or("/sites", |(back, _)| back);
                page(
                    StatusCode::OK,
                    &ShownBefore::new(self.visit.layout("Shown before"), back),
                )
            }
        }
    }
}

/// The answer of a form that was carried out, without its page.
fn stored_answer(response: &Response) -> Option<StoredAnswer> {
    let status = response.status();
    if status != StatusCode::SEE_OTHER && status != StatusCode::OK {
        return None;
    }
    let location = response.headers().get(header::LOCATION);
    Some(StoredAnswer {
        status: status.as_u16(),
        location: location.and_then(|path| path.to_str().ok()).map(str::to_owned),
        body: "{}".to_owned(),
    })
}
