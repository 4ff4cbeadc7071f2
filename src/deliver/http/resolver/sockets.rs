//! A bound on the sockets of DNS queries.
//!
//! A query that is not answered is asked again from another socket, and another server beside the
//! first, so that a name whose servers are dead would soon hold a dozen. Each query has a right to
//! one socket; it gets more only while there are plenty of handles. While there are not, its
//! servers have it in turn, so that a dead one does not keep the next from being asked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider, TokioTime};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::clock;
use crate::deliver::http::spare_handles::SpareHandles;

tokio::task_local! {
    static QUERY: QuerySockets;
}

/// Time that a server has to answer while another one waits for the query's only socket: most
/// answer sooner, and two seconds are all that a try has.
const TURN: Duration = Duration::from_millis(300);

/// Rights of a query to sockets.
#[derive(Clone)]
struct QuerySockets {
    own: Arc<OwnSocket>,
    spare: SpareHandles,
}

/// The right of a query to one socket.
struct OwnSocket {
    permits: Arc<Semaphore>,
    /// Servers that wait for it.
    waiting: Mutex<Vec<SocketAddr>>,
}

/// The use of a query's only socket for a server.
struct SocketTurn {
    own: Arc<OwnSocket>,
    server: SocketAddr,
    ends: Mutex<Pin<Box<Sleep>>>,
}

/// A server that waits for a query's only socket, until it is dropped.
struct WaitingServer<'o>(&'o OwnSocket, SocketAddr);

impl QuerySockets {
    /// Acquires the right to a socket for a server; with a turn if it is the query's own.
    async fn acquire(&self, server: SocketAddr) -> (Option<OwnedSemaphorePermit>, Option<SocketTurn>) {
        let permits = || Arc::clone(&self.own.permits);
        let permit = match permits().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => match self.spare.take() {
                Some(spare) => return (Some(spare), None),
                None => {
                    let _waiting = WaitingServer::begin(&self.own, server);
                    permits().acquire_owned().await.ok()
                }
            },
        };
        let turn = SocketTurn {
            own: Arc::clone(&self.own),
            server,
            ends: Mutex::new(Box::pin(tokio::time::sleep(TURN))),
        };
        (permit, Some(turn))
    }
}

impl OwnSocket {
    fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(1)),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'o> WaitingServer<'o> {
    fn begin(own: &'o OwnSocket, server: SocketAddr) -> Self {
        own.waiting().push(server);
        Self(own, server)
    }
}

impl Drop for WaitingServer<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if let Some(place) = waiting.iter().position(|server| *server == self.1) {
            waiting.swap_remove(place);
        }
    }
}

impl SocketTurn {
    /// True if its time is over and another server waits for the socket. Who is asked again waits,
    /// too, and does not count.
    fn poll_ended(&self, context: &mut Context<'_>) -> bool {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        while ends.as_mut().poll(context).is_ready() {
            if self.own.waiting().iter().any(|server| *server != self.server) {
                return true;
            }
            ends.as_mut().reset(Instant::from_std(clock::monotonic() + TURN));
        }
        false
    }
}

/// Runs a query with a socket of its own and with spare handles.
pub(super) async fn bounded<T>(spare: SpareHandles, query: impl Future<Output = T>) -> T {
    let own = Arc::new(OwnSocket::new());
    QUERY.scope(QuerySockets { own, spare }, query).await
}

/// Tokio's runtime, with sockets that are counted.
#[derive(Clone, Default)]
pub(super) struct CountingRuntime(TokioRuntimeProvider);

/// A socket that counts until it is dropped.
pub(super) struct CountedSocket {
    socket: UdpSocket,
    /// Present if the query has no other socket.
    turn: Option<SocketTurn>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl RuntimeProvider for CountingRuntime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = TokioTime;
    type Udp = CountedSocket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        // Shared by the queries to a server.
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        let query = QUERY.try_with(Clone::clone).ok();
        let bind = self.0.bind_udp(local, server);
        Box::pin(async move {
            let (permit, turn) = match query {
                Some(query) => query.acquire(server).await,
                None => (None, None),
            };
            let socket = bind.await?;
            Ok(CountedSocket {
                socket,
                turn,
                _permit: permit,
            })
        })
    }
}

impl DnsUdpSocket for CountedSocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let received = DnsUdpSocket::poll_recv_from(&self.socket, context, buffer);
        let is_over = |turn: &SocketTurn| turn.poll_ended(context);
        match received.is_pending() && self.turn.as_ref().is_some_and(is_over) {
            // The resolver goes on with the server that waits.
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => received,
        }
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        buffer: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        DnsUdpSocket::poll_send_to(&self.socket, context, buffer, target)
    }
}
