//! `Idempotency-Key`: a POST that is sent twice is done once.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::record::idempotency::{self, Claim, Claimed, Key, Retained};
use crate::{chance, clock};

use super::ApiState;
use super::answer;
use super::auth::Caller;
use super::problem::{Kind, Problem};

const HEADER: &str = "idempotency-key";
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_BYTES: usize = 255;

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
        Kind::InvalidIdempotencyKey,
        format!(
            "Idempotency-Key must be there once, with 1 to {MAX_KEY_BYTES} visible ASCII characters and no spaces."
        ),
    )
}

/// What may be done with a request.
enum Turn {
    Do(Work),
    /// It was done before.
    Done(Response),
}

/// A request that is being done; with its claim, if it has a key.
#[derive(Debug)]
pub(super) struct Work(Option<Claim>);

impl IdempotencyKey {
    /// Does a request, or answers as when it was done. [`Work::keep`] belongs into the transaction of `make`.
    pub(super) async fn once(
        self,
        state: &ApiState,
        caller: &Caller,
        path: &str,
        body: &Map<String, Value>,
        make: impl AsyncFnOnce(&Work) -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        match self.take(state, caller, path, body).await? {
            Turn::Done(response) => Ok(response),
            Turn::Do(work) => {
                let result = make(&work).await;
                work.settle(state, result).await
            }
        }
    }

    /// Whether the request is to be done. `path` is the call's, in the one way that we write it.
    async fn take(
        self,
        state: &ApiState,
        caller: &Caller,
        path: &str,
        body: &Map<String, Value>,
    ) -> Result<Turn, Problem> {
        let Some(key) = self.0 else {
            return Ok(Turn::Do(Work(None)));
        };
        let key = Key {
            token_id: caller.token_id(),
            path: path.to_owned(),
            key,
        };
        // Of what was read, so that spaces and the order of fields do not matter.
        let text = serde_json::to_vec(body).expect("JSON always becomes JSON");
        let hash: [u8; 32] = Sha256::digest(&text).into();
        let holder = uuid::Builder::from_random_bytes(chance::bytes()).into_uuid();
        let mut conn = state.pool.acquire().await?;
        let claimed = idempotency::claim(&mut conn, &state.keyring, key, &hash, holder, clock::now()).await?;
        match claimed {
            Claimed::Ours(claim) => Ok(Turn::Do(Work(Some(claim)))),
            Claimed::Answered(kept) => Ok(Turn::Done(replayed(kept))),
            Claimed::InFlight => Err(in_flight()),
            Claimed::OtherRequest => Err(Problem::new(
                Kind::IdempotencyKeyReused,
                "This Idempotency-Key was sent with another body. A new request needs a new key.",
            )),
        }
    }
}

impl Work {
    /// Keeps the answer. `body` is what may be shown again: nothing secret.
    pub(super) async fn keep(
        &self,
        conn: &mut PgConnection,
        location: &str,
        body: &Value,
    ) -> Result<(), Problem> {
        let Some(claim) = &self.0 else { return Ok(()) };
        let result = Retained {
            status: StatusCode::CREATED.as_u16(),
            location: Some(location.to_owned()),
            body: body.to_string(),
        };
        if idempotency::keep(conn, claim, &result).await? {
            Ok(())
        } else {
            // This one took so long that another took over.
            Err(in_flight())
        }
    }

    /// Gives the key back if nothing came of the request: it may be corrected, and tried again.
    async fn settle(self, state: &ApiState, result: Result<Response, Problem>) -> Result<Response, Problem> {
        if let (Err(_), Some(claim)) = (&result, &self.0) {
            let released = async {
                let mut conn = state.pool.acquire().await?;
                idempotency::release(&mut conn, claim).await
            };
            if let Err(error) = released.await {
                tracing::warn!(%error, "an idempotency key could not be given back; it is free again in a minute");
            }
        }
        result
    }
}

fn in_flight() -> Problem {
    Problem::new(
        Kind::IdempotencyKeyInFlight,
        "A request with this Idempotency-Key is being worked on. Try again in a moment.",
    )
    .retry_after(1)
}

fn replayed(kept: Retained) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = answer::json_text(status, kept.body);
    if let Some(location) = &kept.location {
        answer::add_location(&mut response, location);
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
    fn a_key_is_visible_ascii_and_there_once() {
        let given = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value).expect("a header"));
            }
            read(&headers).map_err(|problem| problem.kind())
        };
        assert_eq!(given(&[]), Ok(None));
        let longest = [b'k'; 255];
        for good in [b"a".as_slice(), b"\"8e03978e-40d5\"", b"!~", &longest] {
            let text = std::str::from_utf8(good).expect("text").to_owned();
            assert_eq!(given(&[good]), Ok(Some(text)));
        }
        for bad in [b"".as_slice(), b"a b", b"a\tb", "ü".as_bytes(), &[b'k'; 256]] {
            assert_eq!(given(&[bad]), Err(Kind::InvalidIdempotencyKey), "{bad:?}");
        }
        assert_eq!(given(&[b"a", b"a"]), Err(Kind::InvalidIdempotencyKey));
    }
}
