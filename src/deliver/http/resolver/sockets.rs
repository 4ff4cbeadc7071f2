//! A bound on the sockets of DNS queries.
//!
//! A query that is not answered is asked again from another socket, and another server beside the
//! first, so that a name whose servers are dead would soon hold a dozen. Each query has a right to
//! one socket; it gets more only while there are plenty of handles.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider, TokioTime};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::deliver::http::spare_handles::SpareHandles;

tokio::task_local! {
    static QUERY: QuerySockets;
}

/// Rights of a query to sockets.
#[derive(Clone)]
struct QuerySockets {
    own: Arc<Semaphore>,
    spare: SpareHandles,
}

impl QuerySockets {
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        let own = || Arc::clone(&self.own);
        match own().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => match self.spare.take() {
                Some(permit) => Some(permit),
                None => own().acquire_owned().await.ok(),
            },
        }
    }
}

/// Runs a query with a socket of its own and with spare handles.
pub(super) async fn bounded<T>(spare: SpareHandles, query: impl Future<Output = T>) -> T {
    let own = Arc::new(Semaphore::new(1));
    QUERY.scope(QuerySockets { own, spare }, query).await
}

/// Tokio's runtime, with sockets that are counted.
#[derive(Clone, Default)]
pub(super) struct CountingRuntime(TokioRuntimeProvider);

/// A socket that counts until it is dropped.
pub(super) struct CountedSocket {
    socket: UdpSocket,
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
            let permit = match query {
                Some(query) => query.acquire().await,
                None => None,
            };
            let socket = bind.await?;
            Ok(CountedSocket {
                socket,
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
        DnsUdpSocket::poll_recv_from(&self.socket, context, buffer)
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
