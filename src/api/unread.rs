//! Answers to requests that the HTTP parser cannot read.
//!
//! hyper writes them itself, past the router and without a body. Such an answer is told by its
//! head, and gets the problem that the API has for its status, so that all errors have one form.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::{Listener, ListenerExt as _, TapIo};
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::problem_type::ProblemType;
use crate::bounded_listener::{BoundedListener, BoundedStream, Peer};

/// Time for which a connection waits for its caller while all are taken: enough for a request to
/// come, and for its answer to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener whose connections answer every request with a body.
pub type AnsweringListener = TapIo<Connections, fn(&mut AnsweringStream<BoundedStream>)>;

/// Makes the listener, which has at most so many connections at a time. Serve it in place of
/// `listener`. Once `ends` is cancelled, no connection waits for its caller for long.
pub fn answering(listener: TcpListener, most: usize, ends: CancellationToken) -> AnsweringListener {
    // Only so is the caller known to `bounded_listener::service`.
    Connections(BoundedListener::new(listener, most, PATIENCE, ends)).tap_io(|_| {})
}

/// The connections of a listener.
#[derive(Debug)]
pub struct Connections(BoundedListener);

impl Listener for Connections {
    type Io = AnsweringStream<BoundedStream>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        let (inner, caller) = self.0.accept().await;
        let unsent = Bytes::new();
        (AnsweringStream { inner, unsent }, caller)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.0.local_addr()
    }
}

/// A connection, seen from the server.
#[derive(Debug)]
pub struct AnsweringStream<S> {
    inner: S,
    /// The rest of an answer that was put in the place of another one.
    unsent: Bytes,
}

impl<S: AsyncWrite + Unpin> AnsweringStream<S> {
    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnsweringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnsweringStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(context))?;
        let Some(answer) = with_problem(bytes) else {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        };
        // The connection is flushed, or shut down, after every answer.
        self.unsent = answer.into();
        if let Poll::Ready(Err(error)) = self.poll_unsent(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(context))?;
        let first = buffers.iter().find(|buffer| !buffer.is_empty());
        match first.filter(|head| with_problem(head).is_some()) {
            Some(head) => self.poll_write(context, head),
            None => Pin::new(&mut self.inner).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// An answer without a body that only the HTTP parser gives, with a problem for its body; `None`
/// for every other piece of an answer.
fn with_problem(answer: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .or(answer.strip_prefix(b"HTTP/1.0 "))?;
    let problem = match status.get(..3)? {
        b"400" => Problem::new(
            ProblemType::MalformedRequest,
            "The request line or a header does not have the form that HTTP/1.1 gives them.",
        ),
        b"414" => Problem::new(ProblemType::UriTooLong, "The URL has more than 65,534 bytes."),
        b"431" => Problem::new(
            ProblemType::HeadersTooLarge,
            "The request has more than 100 headers, or its head has more than 400 KB.",
        ),
        _ => return None,
    };
    let head = str::from_utf8(answer).ok()?.strip_suffix("\r\n\r\n")?;
    let head = format!("{head}\r\n");
    if !head.contains(EMPTY) {
        return None;
    }
    let body = problem.body();
    let head = head.replacen(EMPTY, "", 1);
    let more = "content-type: application/problem+json\r\ncache-control: no-store\r\nx-content-type-options: nosniff";
    let length = body.len();
    let head = format!("{head}{more}\r\ncontent-length: {length}\r\n\r\n");
    Some([head.into_bytes(), body].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BARE: &str =
        "HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    #[test]
    fn only_what_the_parser_answers_itself_gets_a_problem() {
        let answer = with_problem(BARE.as_bytes()).expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with("HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ndate: now\r\n"),
            "{head}"
        );
        assert!(
            head.ends_with(&format!("\r\ncontent-length: {}", body.len())),
            "{head}"
        );
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["type"], "urn:bellwether:error:uri-too-long");
        for other in [
            BARE.replace("414", "404"),
            BARE.replace("414", "200"),
            BARE.replace("content-length: 0", "content-length: 3"),
            format!("{BARE}abc"),
            BARE.trim_end().to_owned(),
            "HTTP/1.1 4".to_owned(),
            String::new(),
        ] {
            assert_eq!(with_problem(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_through_a_narrow_connection() {
        let (inner, mut client) = tokio::io::duplex(7);
        let mut stream = AnsweringStream {
            inner,
            unsent: Bytes::new(),
        };
        let mut received = Vec::new();
        let write = async {
            stream.write_all(BARE.as_bytes()).await?;
            stream.shutdown().await
        };
        let (written, read) = tokio::join!(write, client.read_to_end(&mut received));
        written.expect("written");
        read.expect("read");
        assert_eq!(Some(received), with_problem(BARE.as_bytes()));
    }
}
