//! One exchange over HTTP/1.1.
//!
//! Written by hand, since hyper writes header names in lower case or in title case and receivers
//! are promised the case of the documents; its reader starts over at each piece of a head and has
//! no bound on interim answers.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::body::BodyReader;
use super::classify::Failure;
use super::exchange::{Answer, MAX_RESPONSE_BYTES};
use super::head::{HeadReader, ResponseHead};
use super::phases::{PhaseInstants, Stage};
use super::pool::{PlainConnection, was_closed_idle};
use crate::clock;
use crate::deliver::request::WebhookRequest;
use crate::domain::attempt::AttemptResult;

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1_024;
/// Most bytes of a body as it comes, with the framing of its chunks.
const MAX_BODY_WIRE_BYTES: usize = 256 * 1_024;

/// The end of an exchange that got no usable answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The endpoint surely or very likely did not process the request: it may be sent again within
    /// the attempt.
    Unprocessed(Failure),
    /// Anything else.
    Failed(Failure),
}

/// Writes a request as bytes; `None` if a name or a value would break the lines.
pub(super) fn request_bytes(request: &WebhookRequest) -> Option<Vec<u8>> {
    let url = request.url.reveal();
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let length: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.reveal().len() + 4)
        .sum();
    let mut bytes = Vec::with_capacity(length + path.len() + host.len() + request.body.len() + 80);
    for part in ["POST ", path, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &request.headers {
        let value = value.reveal();
        let is_token = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        let is_text = |byte: u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
            return None;
        }
        for part in [name, ": ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    if !request.has_own_accept() {
        bytes.extend_from_slice(b"Accept: */*\r\n");
    }
    bytes.extend_from_slice(b"Content-Length: ");
    bytes.extend_from_slice(request.body.len().to_string().as_bytes());
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(&request.body);
    Some(bytes)
}

/// Sends a request and reads the answer, bit by bit, since the deadline may fall anywhere. Returns
/// true if the connection may be used again.
pub(super) async fn exchange(
    connection: &mut PlainConnection,
    request: &[u8],
    instants: &mut PhaseInstants,
    answer: &mut Answer,
) -> Result<bool, Broken> {
    // An endpoint may answer and close before it has read everything: the answer counts.
    let written = async {
        connection.stream.write_all(request).await?;
        connection.stream.flush().await
    }
    .await;
    let mut buffer = vec![0; READ_BYTES];
    let (head, rest) = read_head(connection, &mut buffer, written.err()).await?;
    answer.head_at = Some(clock::monotonic());
    instants.stage = Stage::Body;
    answer.take_head(head.status, head.retry_after.as_deref(), head.date.as_deref());
    let Some(rest) = rest else {
        answer.failure = Some(Failure::head_broke_off());
        return Ok(false);
    };
    Ok(read_body(connection, &head, rest, &mut buffer, answer).await)
}

/// Reads the final head, and returns it with what was read beyond it; without that if the
/// connection ended within the head: the status counts, whatever follows it.
async fn read_head(
    connection: &mut PlainConnection,
    buffer: &mut [u8],
    write_error: Option<io::Error>,
) -> Result<(ResponseHead, Option<Vec<u8>>), Broken> {
    let sent_at = clock::monotonic();
    let mut reader = HeadReader::default();
    loop {
        let error = match connection.stream.read(buffer).await {
            Ok(0) => None,
            Ok(read) => {
                let piece = &buffer[..read];
                match reader.read(piece) {
                    Ok(Some((head, used))) => return Ok((head, Some(piece[used..].to_vec()))),
                    Ok(None) => continue,
                    Err(bad) => {
                        let failure = Failure::new(AttemptResult::Protocol, bad.to_string());
                        return Err(Broken::Failed(failure));
                    }
                }
            }
            Err(error) => Some(error),
        };
        let failure = Failure::ended_early(write_error.as_ref().or(error.as_ref()));
        let was_idle = was_closed_idle(connection.is_reused, sent_at, clock::monotonic());
        if was_idle && reader.is_untouched() {
            return Err(Broken::Unprocessed(failure));
        }
        return match reader.cut_off() {
            Some(head) => Ok((head, None)),
            None => Err(Broken::Failed(failure)),
        };
    }
}

/// Reads as much of the body as is kept. Returns true if the connection may be used again.
async fn read_body(
    connection: &mut PlainConnection,
    head: &ResponseHead,
    rest: Vec<u8>,
    buffer: &mut [u8],
    answer: &mut Answer,
) -> bool {
    let mut reader = BodyReader::new(head.framing());
    let mut on_wire = rest.len();
    let Ok(used) = reader.read(&rest, |content| answer.keep(content)) else {
        answer.failure = Some(Failure::body_broke_off());
        return false;
    };
    let mut has_more = used < rest.len();
    while !reader.has_ended() && answer.body.len() < MAX_RESPONSE_BYTES && on_wire < MAX_BODY_WIRE_BYTES {
        let read = match connection.stream.read(buffer).await {
            Ok(read) if read > 0 => read,
            Ok(_) if reader.ends_with_connection() => return false,
            _ => {
                answer.failure = Some(Failure::body_broke_off());
                return false;
            }
        };
        on_wire += read;
        match reader.read(&buffer[..read], |content| answer.keep(content)) {
            Ok(used) => has_more = used < read,
            Err(_) => {
                answer.failure = Some(Failure::body_broke_off());
                return false;
            }
        }
    }
    // Bytes after the end belong to no request.
    reader.has_ended() && !has_more && head.keeps_connection()
}

const _: () = assert!(MAX_RESPONSE_BYTES < MAX_BODY_WIRE_BYTES);
