//! A bound on the connections of a listener: however many callers there are, files are left for
//! deliveries.
//!
//! Whoever comes while all are taken waits in the listener's queue. Meanwhile a connection on which
//! nothing moves is closed, so that callers who went to sleep lock nobody out.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::clock;

/// Looks at a connection that waits, within the time after which it may be closed.
const LOOKS: u32 = 15;

/// A listener with a bounded number of connections.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    idle_timeout: Duration,
    look_every: Duration,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub struct BoundedStream {
    stream: TcpStream,
    permits: Arc<Semaphore>,
    _permit: OwnedSemaphorePermit,
    /// When a byte last came or went.
    moved: Instant,
    idle_timeout: Duration,
    look_every: Duration,
    next_look: Pin<Box<Sleep>>,
}

impl BoundedListener {
    /// Allows so many connections at a time. One on which nothing has moved for `idle_timeout` may
    /// be closed for another one.
    pub(crate) fn new(listener: TcpListener, most: usize, idle_timeout: Duration) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))),
            idle_timeout,
            look_every: idle_timeout / LOOKS,
        }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let stream = BoundedStream {
            stream,
            permits: Arc::clone(&self.permits),
            _permit: permit,
            moved: clock::monotonic(),
            idle_timeout: self.idle_timeout,
            look_every: self.look_every,
            next_look: Box::pin(tokio::time::sleep(self.look_every)),
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl BoundedStream {
    /// True if the connection is to end now, for another one.
    fn poll_gives_way(&mut self, context: &mut Context<'_>) -> bool {
        while self.next_look.as_mut().poll(context).is_ready() {
            let now = clock::monotonic();
            let is_idle = now.saturating_duration_since(self.moved) >= self.idle_timeout;
            if is_idle && self.permits.available_permits() == 0 {
                return true;
            }
            let next_look = tokio::time::Instant::from_std(now + self.look_every);
            self.next_look.as_mut().reset(next_look);
        }
        false
    }

    fn note<T>(&mut self, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.moved = clock::monotonic();
        }
        moved
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
        self.note(read)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write_vectored(context, buffers);
        self.note(written)
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
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

    async fn listener(most: usize) -> (BoundedListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (BoundedListener::new(listener, most, IDLE_TIMEOUT), address)
    }

    #[tokio::test]
    async fn a_caller_waits_until_another_one_has_gone() {
        let (mut listener, address) = listener(2).await;
        let callers = [(); 3].map(|()| TcpStream::connect(address));
        let _callers = futures_util::future::try_join_all(callers)
            .await
            .expect("connected");
        let (first, _) = listener.accept().await;
        let (_second, _) = listener.accept().await;
        assert!(listener.accept().now_or_never().is_none());
        drop(first);
        listener.accept().await;
    }

    #[tokio::test]
    async fn who_is_silent_gives_way_only_if_all_are_taken() {
        let (mut listener, address) = listener(2).await;
        (listener.idle_timeout, listener.look_every) = (Duration::ZERO, Duration::from_millis(1));
        let _silent = TcpStream::connect(address).await.expect("connected");
        let (mut stream, _) = listener.accept().await;
        let mut byte = [0; 1];
        let alone = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte));
        assert!(alone.await.is_err(), "there is room for one more");
        let _other = TcpStream::connect(address).await.expect("connected");
        let (_other, _) = listener.accept().await;
        assert_eq!(stream.read(&mut byte).await.expect("an end"), 0);
        // Who spoke just now keeps his place.
        stream.idle_timeout = IDLE_TIMEOUT;
        let kept = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte));
        assert!(kept.await.is_err());
    }
}
