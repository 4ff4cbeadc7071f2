//! Connections between requests, and the file handles that all connections share.
//!
//! A connection of HTTP/1.1 is one request's at a time; of HTTP/2, many requests share one. Every
//! connection, under way or idle, holds a handle of a bounded number. When none is left an idle one
//! is closed for it, and if none is idle the request waits: being short of handles fails no
//! request.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::paced::LastRead;
use super::spare_handles::SpareHandles;
use crate::clock;

/// Idle connections kept of one origin: as many as a host may have requests, for a burst.
const IDLE_PER_ORIGIN: usize = 64;
/// Longest time that a connection is kept idle. Many servers (Node) close theirs after 5 s; a
/// request that is written into a closing one is lost, so our side closes first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest time from a request to the news that its connection was closed while it was idle: a way
/// there and back, and a busy machine. What ends later may end because of the request.
const IDLE_CLOSE_NEWS: Duration = Duration::from_millis(500);
/// Pause between two looks for connections that were idle too long.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Longest silence of a shared connection with requests under way, after which new requests get
/// another one: it may be dead, which TCP takes minutes to notice.
const LONGEST_SILENCE_MS: i64 = 5_000;

/// The part of a URL that a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

/// A stream of bytes both ways, encrypted or not.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// The right to one file handle.
pub(super) type Handle = OwnedSemaphorePermit;

/// A connection of HTTP/1.1.
pub(super) struct PlainConnection {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) remote: SocketAddr,
    /// True once a request has been answered on it.
    pub(super) is_reused: bool,
    pub(super) _handle: Handle,
}

/// A connection of HTTP/2.
pub(super) struct SharedConnection {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) remote: SocketAddr,
    last_read: LastRead,
    streams: AtomicUsize,
    idle_since: Mutex<Instant>,
    /// True once it takes no more requests.
    is_retired: AtomicBool,
    /// Ends the connection at once.
    close: CancellationToken,
}

/// A request's place on a shared connection. A request that is given up before its end leaves the
/// connection retired: it may be the connection that hangs.
pub(super) struct StreamLease {
    pub(super) connection: Arc<SharedConnection>,
    /// True if other requests were on it before.
    pub(super) is_reused: bool,
    is_settled: bool,
}

/// A connection that is ready for a request.
pub(super) enum ReadyConnection {
    Plain(PlainConnection),
    Shared(StreamLease),
}

/// The connections of a client.
pub(super) struct Pool {
    handles: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
    shelves: Mutex<Shelves>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Shelves {
    by_origin: HashMap<Origin, Shelf>,
    is_swept: bool,
}

#[derive(Default)]
struct Shelf {
    /// Idle ones, the latest last.
    plain: Vec<(PlainConnection, Instant)>,
    shared: Vec<Arc<SharedConnection>>,
}

impl Pool {
    pub(super) fn new(max_connections: usize) -> Self {
        let most = max_connections.max(4);
        Self {
            handles: Arc::new(Semaphore::new(most)),
            most,
            waiting: AtomicUsize::new(0),
            shelves: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Acquires `count` handles, for which idle connections are closed; waits while there are none.
    pub(super) async fn handles(&self, count: u32) -> Handle {
        let _waiting = HandleWait::begin(&self.waiting);
        loop {
            if let Ok(handle) = Arc::clone(&self.handles).try_acquire_many_owned(count) {
                return handle;
            }
            if self.close_one_idle() {
                // Its handle is given back by the task that drives it, or at once.
                tokio::task::yield_now().await;
                continue;
            }
            if let Ok(handle) = Arc::clone(&self.handles).acquire_many_owned(count).await {
                return handle;
            }
        }
    }

    /// Acquires a handle if there is one.
    pub(super) fn spare_handle(&self) -> Option<Handle> {
        Arc::clone(&self.handles).try_acquire_owned().ok()
    }

    /// Returns the handles for what a request can do without.
    pub(super) fn spare_handles(&self) -> SpareHandles {
        SpareHandles::new(Arc::clone(&self.handles), self.most / 2)
    }

    /// Picks a connection that is there.
    pub(super) fn take(&self, origin: &Origin) -> Option<ReadyConnection> {
        loop {
            let now = clock::monotonic();
            let (mut connection, since) = {
                let mut shelves = self.lock();
                let shelf = shelves.by_origin.get_mut(origin)?;
                if let Some(lease) = shelf.shared.iter().find_map(SharedConnection::lease) {
                    return Some(ReadyConnection::Shared(lease));
                }
                shelf.plain.pop()?
            };
            if now.saturating_duration_since(since) < IDLE_TIMEOUT && is_alive(&mut connection) {
                connection.is_reused = true;
                return Some(ReadyConnection::Plain(connection));
            }
        }
    }

    /// Keeps a connection for another request, unless somebody waits for its handle.
    pub(super) fn give_back(self: &Arc<Self>, origin: Origin, connection: PlainConnection) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return;
        }
        let mut shelves = self.lock();
        let shelf = shelves.by_origin.entry(origin).or_default();
        if shelf.plain.len() < IDLE_PER_ORIGIN {
            shelf.plain.push((connection, clock::monotonic()));
        }
        self.start_sweeping(&mut shelves);
    }

    /// Shares a new connection of HTTP/2, which `driver` serves, and takes the first place on it.
    pub(super) fn share<D>(self: &Arc<Self>, origin: Origin, new: NewShared<D>) -> StreamLease
    where
        D: Future<Output = Result<(), h2::Error>> + Send + 'static,
    {
        let connection = Arc::new(SharedConnection {
            sender: new.sender,
            remote: new.remote,
            last_read: new.last_read,
            streams: AtomicUsize::new(1),
            idle_since: Mutex::new(clock::monotonic()),
            is_retired: AtomicBool::new(false),
            close: CancellationToken::new(),
        });
        connection.last_read.set_ms(clock::now_ms());
        let (weak, close) = (Arc::downgrade(&connection), connection.close.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // Its requests hear of the cause themselves.
                _ = new.driver => {}
                () = close.cancelled() => {}
            }
            if let Some(connection) = weak.upgrade() {
                connection.retire();
            }
            drop(new.handle);
        });
        let mut shelves = self.lock();
        let shelf = shelves.by_origin.entry(origin).or_default();
        shelf.shared.push(Arc::clone(&connection));
        self.start_sweeping(&mut shelves);
        StreamLease {
            connection,
            is_reused: false,
            is_settled: false,
        }
    }

    /// Closes the connection that has been idle longest. Returns false if none is idle.
    pub(super) fn close_one_idle(&self) -> bool {
        let mut shelves = self.lock();
        let plain = shelves
            .by_origin
            .iter()
            .filter_map(|(origin, shelf)| Some((shelf.plain.first()?.1, origin)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, origin)| origin.clone());
        if let Some(shelf) = plain.and_then(|origin| shelves.by_origin.get_mut(&origin)) {
            shelf.plain.remove(0);
            return true;
        }
        let idle = |shelf: &mut Shelf| shelf.shared.iter().position(|one| one.is_idle());
        for shelf in shelves.by_origin.values_mut() {
            if let Some(at) = idle(shelf) {
                shelf.shared.remove(at).close();
                return true;
            }
        }
        false
    }

    fn start_sweeping(self: &Arc<Self>, shelves: &mut Shelves) {
        if std::mem::replace(&mut shelves.is_swept, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        self.tasks.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_PAUSE).await;
                if !Weak::upgrade(&pool).is_some_and(|pool| pool.sweep(clock::monotonic())) {
                    return;
                }
            }
        });
    }

    /// Closes what was idle too long, or is idle while somebody waits for a handle. Returns false
    /// if nothing is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut shelves = self.lock();
        let is_awaited = self.waiting.load(Ordering::Acquire) > 0;
        let too_old = |since: Instant| is_awaited || now.saturating_duration_since(since) >= IDLE_TIMEOUT;
        shelves.by_origin.retain(|_, shelf| {
            shelf.plain.retain(|(_, since)| !too_old(*since));
            shelf.shared.retain(|one| {
                let ends = one.is_idle() && (one.has_retired() || too_old(one.idle_since()));
                if ends {
                    one.close();
                }
                !ends && !one.has_retired()
            });
            !shelf.plain.is_empty() || !shelf.shared.is_empty()
        });
        shelves.is_swept = !shelves.by_origin.is_empty();
        shelves.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}

/// A connection of HTTP/2 as it was made.
pub(super) struct NewShared<D> {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) driver: D,
    pub(super) remote: SocketAddr,
    pub(super) last_read: LastRead,
    pub(super) handle: Handle,
}

impl SharedConnection {
    /// Reserves a place for one more request, if there is one.
    fn lease(self: &Arc<Self>) -> Option<StreamLease> {
        let streams = self.streams.load(Ordering::Acquire);
        let silence_ms = clock::now_ms() - self.last_read.get_ms();
        let is_silent = streams > 0 && silence_ms > LONGEST_SILENCE_MS;
        if self.has_retired() || is_silent || streams >= self.sender.current_max_send_streams() {
            return None;
        }
        if streams == 0 {
            self.last_read.set_ms(clock::now_ms());
        }
        self.streams.fetch_add(1, Ordering::AcqRel);
        Some(StreamLease {
            connection: Arc::clone(self),
            is_reused: true,
            is_settled: false,
        })
    }

    fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Acquire) == 0
    }

    fn idle_since(&self) -> Instant {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// Lets it take no more requests; those on it go on.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    fn close(&self) {
        self.retire();
        self.close.cancel();
    }
}

impl StreamLease {
    /// Notes that the request ended by itself.
    pub(super) fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let connection = &self.connection;
        *connection
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = clock::monotonic();
        if !self.is_settled {
            connection.retire();
        }
        let was_last = connection.streams.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last && connection.has_retired() {
            connection.close();
        }
    }
}

/// A caller that waits for handles, counted while it does.
struct HandleWait<'a>(&'a AtomicUsize);

impl<'a> HandleWait<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(waiting)
    }
}

impl Drop for HandleWait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// True if a connection on which a request was sent at `sent_at`, and that ends now, was closed
/// while it was idle: the request came too late, and was not processed.
pub(super) fn was_closed_idle(is_reused: bool, sent_at: Instant, now: Instant) -> bool {
    is_reused && now.saturating_duration_since(sent_at) <= IDLE_CLOSE_NEWS
}

/// True if an idle connection is still open and has nothing to say: an answer to no request would
/// be taken for the next one's.
fn is_alive(connection: &mut PlainConnection) -> bool {
    connection.stream.read(&mut [0; 1]).now_or_never().is_none()
}
