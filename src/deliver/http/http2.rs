//! One exchange over HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{ACCEPT, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, Version};

use super::classify::Failure;
use super::dial::Dialed;
use super::exchange::{Answer, MAX_RESPONSE_BYTES};
use super::head::{BadHead, MAX_HEAD_BYTES, MAX_HEAD_LINES, MAX_INTERIM};
use super::http1::Broken;
use super::metered::FramePace;
use super::paced::PacedStream;
use super::phases::{PhaseInstants, Stage};
use super::pool::{NewShared, Origin, Pool, StreamLease, was_closed_idle};
use crate::clock;
use crate::deliver::request::WebhookRequest;
use crate::domain::attempt::AttemptResult;

/// Bytes that a response's body may be ahead of us. We read 16 KiB of it: there is no use in
/// letting endpoints send by megabytes.
const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 1_024 * 1_024;

/// Begins HTTP/2 on a new connection and shares it.
pub(super) async fn begin(pool: &Arc<Pool>, origin: Origin, dialed: Dialed) -> Result<StreamLease, Failure> {
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .enable_push(false)
        // Until the server has said how many streams it allows.
        .initial_max_send_streams(1)
        .handshake(PacedStream::new(dialed.stream, FramePace::new()))
        .await;
    let (sender, driver): (SendRequest<Bytes>, _) = handshake.map_err(|error| failure_of(&error))?;
    Ok(pool.share(
        origin,
        NewShared {
            sender,
            driver,
            remote: dialed.remote,
            last_read: dialed.last_read,
            handle: dialed.handle,
        },
    ))
}

/// Makes the request; `None` if a header cannot be sent.
pub(super) fn http_request(request: &WebhookRequest) -> Option<Request<()>> {
    let mut made = Request::new(());
    *made.method_mut() = Method::POST;
    *made.version_mut() = Version::HTTP_2;
    *made.uri_mut() = request.url.reveal().as_str().parse().ok()?;
    let headers = made.headers_mut();
    *headers = header_map(request)?;
    if !request.has_own_accept() {
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    Some(made)
}

pub(super) fn header_map(request: &WebhookRequest) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(request.headers.len() + 2);
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value.reveal()).ok()?;
        value.set_sensitive(true);
        map.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(map)
}

/// Sends a request and reads the answer, bit by bit, since the deadline may fall anywhere.
pub(super) async fn exchange(
    lease: StreamLease,
    (request, body): (Request<()>, Bytes),
    instants: &mut PhaseInstants,
    answer: &mut Answer,
) -> Result<(), Broken> {
    let sent_at = clock::monotonic();
    let mut sender = lease.connection.sender.clone();
    let sent = sender.send_request(request, body.is_empty());
    // What the connection does not take was not sent.
    let (response, mut stream) = sent.map_err(|error| Broken::Unprocessed(failure_of(&error)))?;
    if !body.is_empty() {
        // An error of the stream comes with the response, too.
        drop(stream.send_data(body, true));
    }
    let response = match final_response(response).await {
        Ok(response) => response,
        Err(NoResponse::Bad(bad)) => {
            lease.settle();
            return Err(Broken::Failed(Failure::new(
                AttemptResult::Protocol,
                bad.to_string(),
            )));
        }
        Err(NoResponse::Error(error)) => return Err(broken(lease, &error, sent_at)),
    };
    answer.head_at = Some(clock::monotonic());
    instants.stage = Stage::Body;
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    answer.take_head(response.status().as_u16(), text(RETRY_AFTER), text(DATE));
    read_body(response.into_body(), answer).await;
    lease.settle();
    Ok(())
}

enum NoResponse {
    Bad(BadHead),
    Error(h2::Error),
}

/// Waits for the final response, counting interim ones.
async fn final_response(mut response: ResponseFuture) -> Result<Response<RecvStream>, NoResponse> {
    let mut interim = 0;
    let head = poll_fn(|cx| {
        while let Poll::Ready(Some(one)) = response.poll_informational(cx) {
            interim += 1;
            if let Err(error) = one {
                return Poll::Ready(Err(NoResponse::Error(error)));
            }
            if interim > MAX_INTERIM {
                return Poll::Ready(Err(NoResponse::Bad(BadHead::TooManyInterim)));
            }
        }
        Pin::new(&mut response).poll(cx).map_err(NoResponse::Error)
    })
    .await?;
    match head.headers().len() {
        lines if lines > MAX_HEAD_LINES => Err(NoResponse::Bad(BadHead::TooManyLines)),
        _ => Ok(head),
    }
}

/// Judges an error that came instead of a response.
///
/// A stream above the last one that GOAWAY names, whatever its code, and one that was refused, were
/// surely not processed (RFC 9113 §6.8, §8.7); h2 reports a GOAWAY of the endpoint to no other
/// streams. A connection that others used before and that ended soon is like an idle one of
/// HTTP/1.1 that was closed.
fn broken(lease: StreamLease, error: &h2::Error, sent_at: Instant) -> Broken {
    let failure = failure_of(error);
    let reason = error.reason();
    let went_away = error.is_go_away() && error.is_remote();
    let was_refused = error.is_reset() && error.is_remote() && reason == Some(Reason::REFUSED_STREAM);
    let was_idle = error.is_io() && was_closed_idle(lease.is_reused, sent_at, clock::monotonic());
    if error.is_reset() {
        // Only this stream ended; the connection is good.
        lease.settle();
    } else {
        lease.connection.retire();
    }
    if went_away || was_refused || was_idle {
        Broken::Unprocessed(failure)
    } else {
        Broken::Failed(failure)
    }
}

fn failure_of(error: &h2::Error) -> Failure {
    if error.is_library() {
        return Failure::new(AttemptResult::Protocol, "the endpoint's answer is not HTTP/2");
    }
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => {
            Failure::new(AttemptResult::Reset, "the endpoint refused the request")
        }
        Some(_) if error.is_reset() => Failure::new(AttemptResult::Reset, "the endpoint reset the request"),
        Some(_) => Failure::new(AttemptResult::Reset, "the endpoint ended the connection"),
        None => Failure::ended_early(error.get_io()),
    }
}

/// Reads as much of the body as is kept; the rest is dropped with its stream.
async fn read_body(mut body: RecvStream, answer: &mut Answer) {
    while answer.body.len() < MAX_RESPONSE_BYTES {
        match body.data().await {
            Some(Ok(piece)) => {
                answer.keep(&piece);
                // Refused only when the stream has ended, as the next read will say.
                drop(body.flow_control().release_capacity(piece.len()));
            }
            Some(Err(_)) => {
                answer.failure = Some(Failure::body_broke_off());
                return;
            }
            None => return,
        }
    }
}
