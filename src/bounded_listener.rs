//! A bound on the connections of a listener: however many callers there are, files are left for
//! deliveries.
//!
//! Whoever comes while all are taken waits in the listener's queue. Meanwhile a connection gives
//! way that has waited for its caller for a while: since it was accepted, or since its last request
//! was answered. Bytes that come or go one by one change nothing, so callers who are asleep, send a
//! request piece by piece or do not read their answers lock nobody out.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::telemetry::throttle::SharedThrottle;

/// Looks at a connection while it may wait for its caller.
const LOOKS: u32 = 5;

/// A listener with a bounded number of connections.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    room: Arc<Room>,
}

/// The room that the connections of a listener share.
#[derive(Debug)]
struct Room {
    most: usize,
    permits: Arc<Semaphore>,
    /// Time for which a connection may wait for its caller while all are taken, or at the end.
    patience: Duration,
    /// Cancelled when the listener ends.
    ends: CancellationToken,
    logged: SharedThrottle,
}

/// A caller: its address, and the work of its connection.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    attention: Arc<Mutex<Attention>>,
}

/// The work of a connection: answering, or waiting for its caller.
#[derive(Debug)]
struct Attention {
    /// Requests that are being answered.
    requests: u32,
    /// When it was accepted, or the last request was answered.
    waits_since: Instant,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
struct Attended(Peer);

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub struct BoundedStream {
    stream: TcpStream,
    peer: Peer,
    room: Arc<Room>,
    _permit: OwnedSemaphorePermit,
    next_look: Pin<Box<Sleep>>,
}

impl BoundedListener {
    /// Allows so many connections at a time. While all are taken, one that has waited for its
    /// caller for longer than `patience` gives way; once `ends` is cancelled, every such one ends.
    pub(crate) fn new(
        listener: TcpListener,
        most: usize,
        patience: Duration,
        ends: CancellationToken,
    ) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let room = Room {
            most,
            permits: Arc::new(Semaphore::new(most)),
            patience,
            ends,
            logged: SharedThrottle::new(),
        };
        Self {
            listener,
            room: Arc::new(room),
        }
    }
}

/// Makes the service of a listener whose addresses are peers. Its requests carry
/// `ConnectInfo<SocketAddr>`.
pub fn service(router: Router) -> IntoMakeServiceWithConnectInfo<Router, Peer> {
    router
        .layer(middleware::from_fn(attend))
        .into_make_service_with_connect_info()
}

/// Holds the connection while a request is being answered, and tells the address of its caller.
async fn attend(ConnectInfo(caller): ConnectInfo<Peer>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(ConnectInfo(caller.address));
    let _attended = caller.attend();
    next.run(request).await
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (BoundedStream, Peer) {
        let permit = Arc::clone(&self.room.permits).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let peer = Peer::new(address);
        let stream = BoundedStream {
            stream,
            peer: peer.clone(),
            room: Arc::clone(&self.room),
            _permit: permit,
            next_look: Box::pin(tokio::time::sleep(self.room.patience)),
        };
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.listener.local_addr().map(Peer::new)
    }
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        let attention = Attention {
            requests: 0,
            waits_since: clock::monotonic(),
        };
        Self {
            address,
            attention: Arc::new(Mutex::new(attention)),
        }
    }

    /// Notes that a request is being answered.
    fn attend(self) -> Attended {
        self.attention().requests += 1;
        Attended(self)
    }

    fn attention(&self) -> MutexGuard<'_, Attention> {
        self.attention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time for which its connection has waited for it.
    fn keeps_waiting(&self, now: Instant) -> Duration {
        let attention = self.attention();
        match attention.requests {
            0 => now.saturating_duration_since(attention.waits_since),
            _ => Duration::ZERO,
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        let mut attention = self.0.attention();
        attention.requests -= 1;
        attention.waits_since = clock::monotonic();
    }
}

impl BoundedStream {
    /// True if the connection is to end now, for another one or with the listener.
    fn poll_gives_way(&mut self, context: &mut Context<'_>) -> bool {
        while self.next_look.as_mut().poll(context).is_ready() {
            let now = clock::monotonic();
            let patience = self.room.patience;
            if self.peer.keeps_waiting(now) >= patience {
                if self.room.ends.is_cancelled() {
                    return true;
                }
                if self.room.permits.available_permits() == 0 {
                    self.room.log(self.peer.address);
                    return true;
                }
            }
            let next_look = tokio::time::Instant::from_std(now + patience / LOOKS);
            self.next_look.as_mut().reset(next_look);
        }
        false
    }

    /// Ends a write for another connection.
    fn or_gives_way<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match written.is_pending() && self.poll_gives_way(context) {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => written,
        }
    }
}

impl Room {
    fn log(&self, address: SocketAddr) {
        if let Some(suppressed) = self.logged.admit() {
            tracing::warn!(
                connections = self.most,
                %address,
                suppressed,
                "all connections of callers are taken: one that waits for its caller gives way to another"
            );
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = pin!(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() && self.poll_gives_way(context) {
            // As if the caller had closed it.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write(context, bytes);
        self.or_gives_way(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write_vectored(context, buffers);
        self.or_gives_way(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(75);
    const SHORT: Duration = Duration::from_millis(10);

    async fn listener(most: usize, patience: Duration) -> (BoundedListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (
            BoundedListener::new(listener, most, patience, CancellationToken::new()),
            address,
        )
    }

    async fn accepted(listener: &mut BoundedListener, to: SocketAddr) -> (TcpStream, BoundedStream, Peer) {
        let client = TcpStream::connect(to).await.expect("connected");
        let (stream, peer) = listener.accept().await;
        (client, stream, peer)
    }

    /// True if a read goes on for longer than any look at the connection takes.
    async fn is_kept(stream: &mut BoundedStream) -> bool {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(20 * SHORT, stream.read(&mut byte));
        read.await.is_err()
    }

    #[tokio::test]
    async fn a_caller_waits_until_another_one_has_gone() {
        let (mut listener, address) = listener(2, LONG).await;
        let (_client, first, _) = accepted(&mut listener, address).await;
        let _second = accepted(&mut listener, address).await;
        let _third = TcpStream::connect(address).await.expect("connected");
        assert!(listener.accept().now_or_never().is_none());
        drop(first);
        listener.accept().await;
    }

    #[tokio::test]
    async fn who_is_waited_for_gives_way_only_if_all_are_taken() {
        let (mut listener, address) = listener(2, SHORT).await;
        let (_silent, mut stream, _) = accepted(&mut listener, address).await;
        assert!(is_kept(&mut stream).await, "there is room for one more");
        let _other = accepted(&mut listener, address).await;
        let mut byte = [0; 1];
        assert_eq!(stream.read(&mut byte).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn who_is_waited_for_does_not_hold_up_the_end() {
        let (mut listener, address) = listener(2, SHORT).await;
        let (_silent, mut stream, _) = accepted(&mut listener, address).await;
        assert!(is_kept(&mut stream).await);
        listener.room.ends.cancel();
        let mut byte = [0; 1];
        assert_eq!(stream.read(&mut byte).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn a_request_that_is_being_answered_keeps_its_connection() {
        let (mut listener, address) = listener(1, SHORT).await;
        let (_client, mut stream, peer) = accepted(&mut listener, address).await;
        let attended = peer.attend();
        assert!(is_kept(&mut stream).await);
        drop(attended);
        let mut byte = [0; 1];
        assert_eq!(stream.read(&mut byte).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn bytes_one_by_one_keep_no_connection() {
        let (mut listener, address) = listener(1, SHORT).await;
        let (mut dripping, mut stream, _) = accepted(&mut listener, address).await;
        let drip = async {
            while dripping.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        };
        let read_all = async { while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {} };
        tokio::select! {
            () = drip => panic!("it was cut off"),
            () = read_all => {}
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_keeps_no_connection() {
        let (mut listener, address) = listener(1, SHORT).await;
        let (_deaf, mut stream, _) = accepted(&mut listener, address).await;
        let answer = vec![b'x'; 1 << 26];
        let error = stream.write_all(&answer).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
