//! `Idempotency-Key`: a POST that is sent twice takes effect once.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tracing::Instrument as _;

use crate::record::idempotency::{self, Claimed, KeyClaim, ScopedKey, StoredAnswer};
use crate::telemetry::throttle::SharedThrottle;
use crate::{chance, clock};

use super::answer::{add_location, json_text};
use super::connection_share::with_own_share;
use super::extract::MayWrite;
use super::problem::Problem;
use super::problem_type::ProblemType;
use super::sites;
use super::state::ApiState;

/// Log lines about keys that could not be released.
static UNRELEASED: SharedThrottle = SharedThrottle::new();

const HEADER: &str = "idempotency-key";
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
pub(super) const MAX_KEY_BYTES: usize = 255;

/// The request's key, if it has one.
#[derive(Debug)]
pub(super) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read(&parts.headers).map(Self)
    }
}

fn read(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let (Some(key), None) = (given.next(), given.next()) else {
        return match headers.contains_key(HEADER) {
            true => Err(invalid()),
            false => Ok(None),
        };
    };
    let bytes = key.as_bytes();
    let ok = (1..=MAX_KEY_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match key.to_str() {
        Ok(text) if ok => Ok(Some(text.to_owned())),
        _ => Err(invalid()),
    }
}

fn invalid() -> Problem {
    Problem::new(
        ProblemType::InvalidIdempotencyKey,
        format!(
            "Send one Idempotency-Key header with 1 to {MAX_KEY_BYTES} visible ASCII characters and no spaces."
        ),
    )
}

/// The way on for a request.
enum Admission {
    Execute(Execution),
    /// The answer that the same request got before.
    Replay(Response),
}

/// A request that is carried out, with the claim on its key if it has one.
#[derive(Debug, Clone)]
pub(super) struct Execution(Option<KeyClaim>);

impl IdempotencyKey {
    /// Carries out a request once: a repetition gets the answer of the first.
    ///
    /// `path` is the path of the call, escaped by us rather than as the caller wrote it. `execute`
    /// stores its answer by [`Execution::store_answer`], in its own transaction. A request with a
    /// key is carried out in a task of its own, so that it ends and stores its answer although its
    /// caller hangs up.
    pub(super) async fn run_once<P: MayWrite + Send + Sync + 'static>(
        self,
        state: ApiState,
        proof: P,
        path: String,
        body: Map<String, Value>,
        execute: impl for<'a> FnOnce(
            &'a ApiState,
            &'a P,
            &'a Map<String, Value>,
            &'a Execution,
        ) -> BoxFuture<'a, Result<Response, Problem>>
        + Send
        + 'static,
    ) -> Result<Response, Problem> {
        let execution = match self.admit(&state, &proof, path, &body).await? {
            Admission::Replay(response) => return Ok(response),
            Admission::Execute(execution) => execution,
        };
        if execution.0.is_none() {
            return execute(&state, &proof, &body, &execution).await;
        }
        let (tasks, limit) = (state.tasks.clone(), state.longest_request());
        let work = async move {
            let work = execute(&state, &proof, &body, &execution);
            let result = tokio::time::timeout(limit, work).await;
            let result = result.unwrap_or_else(|_| Err(Problem::given_up(limit)));
            execution.release_on_failure(&state, result).await
        };
        let task = tasks.spawn(with_own_share(work).in_current_span());
        // Only a panic ends the task otherwise.
        task.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    async fn admit(
        self,
        state: &ApiState,
        proof: &impl MayWrite,
        path: String,
        body: &Map<String, Value>,
    ) -> Result<Admission, Problem> {
        let Some(key) = self.0 else {
            return Ok(Admission::Execute(Execution(None)));
        };
        let key = ScopedKey {
            token_id: proof.caller().token_id(),
            path,
            key,
        };
        // The parsed body is hashed: spaces and the order of fields make no difference.
        let text = serde_json::to_vec(body).expect("JSON always becomes JSON");
        let hash: [u8; 32] = Sha256::digest(&text).into();
        let holder = uuid::Builder::from_random_bytes(chance::bytes()).into_uuid();
        let mut conn = state.claims().await?;
        let claimed = idempotency::claim(&mut conn, &state.keyring, key, &hash, holder, clock::now()).await?;
        match claimed {
            Claimed::Ours(claim) => Ok(Admission::Execute(Execution(Some(claim)))),
            Claimed::Answered(answer) => {
                // Keys of a deleted site are erased by a job, a moment later than the site is gone.
                if let Some(site_id) = proof.changed_site() {
                    sites::find(&mut conn, site_id).await?;
                }
                Ok(Admission::Replay(replay(answer)))
            }
            Claimed::InFlight => Err(in_flight()),
            Claimed::OtherRequest => Err(Problem::new(
                ProblemType::IdempotencyKeyReused,
                "This Idempotency-Key was sent with another body. A new request needs a new key.",
            )),
        }
    }
}

impl Execution {
    /// Stores the answer for a repetition. `body` holds no secret, as it is shown again.
    pub(super) async fn store_answer(
        &self,
        conn: &mut PgConnection,
        status: StatusCode,
        location: Option<&str>,
        body: &Value,
    ) -> Result<(), Problem> {
        let Some(claim) = &self.0 else { return Ok(()) };
        let result = StoredAnswer {
            status: status.as_u16(),
            location: location.map(str::to_owned),
            body: body.to_string(),
        };
        if idempotency::keep(conn, claim, &result).await? {
            Ok(())
        } else {
            // This request took so long that another one took over its key.
            Err(in_flight())
        }
    }

    /// Releases the key of a request that failed, which the caller may correct and send again.
    async fn release_on_failure(
        self,
        state: &ApiState,
        result: Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        if let (Err(_), Some(claim)) = (&result, &self.0) {
            let released = async {
                let mut conn = state.claims().await?;
                Ok::<_, Problem>(idempotency::release(&mut conn, claim).await?)
            };
            if released.await.is_err()
                && let Some(suppressed) = UNRELEASED.admit()
            {
                tracing::warn!(
                    suppressed,
                    "an idempotency key could not be released; it is free again in {} minutes",
                    idempotency::IN_FLIGHT.num_minutes()
                );
            }
        }
        result
    }
}

fn in_flight() -> Problem {
    Problem::new(
        ProblemType::IdempotencyKeyInFlight,
        "A request with this Idempotency-Key is still in progress. Try again in a moment.",
    )
    .retry_after_seconds(1)
}

fn replay(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = json_text(status, answer.body);
    if let Some(location) = &answer.location {
        add_location(&mut response, location);
    }
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_given_once() {
        let given = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value).expect("a header"));
            }
            read(&headers).map_err(|problem| problem.problem_type())
        };
        assert_eq!(given(&[]), Ok(None));
        let longest = [b'k'; 255];
        for good in [b"a".as_slice(), b"\"8e03978e-40d5\"", b"!~", &longest] {
            let text = std::str::from_utf8(good).expect("text").to_owned();
            assert_eq!(given(&[good]), Ok(Some(text)));
        }
        for bad in [b"".as_slice(), b"a b", b"a\tb", "ü".as_bytes(), &[b'k'; 256]] {
            assert_eq!(given(&[bad]), Err(ProblemType::InvalidIdempotencyKey), "{bad:?}");
        }
        assert_eq!(given(&[b"a", b"a"]), Err(ProblemType::InvalidIdempotencyKey));
    }
}
