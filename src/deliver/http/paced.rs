//! A connection that hands its bytes on at a bounded number of reads a second, so that the tiny
//! packets of one endpoint get no more than a share of the processor.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::clock;

/// Reads that may follow each other at once.
const BURST: u32 = 64;
/// Reads that become possible in each millisecond: at some 3 µs each, under 1 % of a core.
const READS_PER_MS: u32 = 2;
/// Pause of a connection without credit. Packets that do not fit into the socket's buffer meanwhile
/// hold their sender back.
const PAUSE: Duration = Duration::from_millis(5);

/// Decides when a connection may be read again.
pub(super) trait Pacing {
    /// Pays for what a read brought. Returns the pause before the next one.
    fn pay(&mut self, bytes: &[u8]) -> Option<Duration>;

    /// Notes that a pause is over.
    fn resume(&mut self) {}
}

/// A connection that is read at a bounded rate. While it waits, the sender fills the socket's
/// buffer, and the next read takes more at once.
#[derive(Debug)]
pub(super) struct PacedStream<S, P> {
    inner: S,
    pace: P,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S, P> PacedStream<S, P> {
    pub(super) const fn new(inner: S, pace: P) -> Self {
        Self {
            inner,
            pace,
            pause: None,
        }
    }
}

/// The pace of reads, whatever they bring.
#[derive(Debug)]
pub(super) struct ReadPace {
    credit: u32,
    credited_at: Instant,
    last_read_ms: LastRead,
}

/// Time of the last bytes that came, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct LastRead(Arc<AtomicI64>);

impl LastRead {
    pub(super) fn get_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_ms(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl ReadPace {
    pub(super) fn new(last_read_ms: LastRead) -> Self {
        Self {
            credit: BURST,
            credited_at: clock::monotonic(),
            last_read_ms,
        }
    }
}

impl Pacing for ReadPace {
    fn pay(&mut self, _bytes: &[u8]) -> Option<Duration> {
        self.last_read_ms.set_ms(clock::now_ms());
        self.credit -= 1;
        if self.credit > 0 {
            return None;
        }
        let now = clock::monotonic();
        let elapsed = now.saturating_duration_since(self.credited_at).as_millis();
        let earned = u32::try_from(elapsed)
            .unwrap_or(u32::MAX)
            .saturating_mul(READS_PER_MS);
        self.credit = earned.min(BURST);
        self.credited_at = now;
        if self.credit > 0 {
            return None;
        }
        self.credit = READS_PER_MS;
        Some(PAUSE)
    }

    fn resume(&mut self) {
        self.credited_at = clock::monotonic();
    }
}

impl<S: AsyncRead + Unpin, P: Pacing + Unpin> AsyncRead for PacedStream<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.pace.resume();
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        let pause = self.pace.pay(&buf.filled()[before..]);
        self.pause = pause.map(|pause| Box::pin(tokio::time::sleep(pause)));
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for PacedStream<S, P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
