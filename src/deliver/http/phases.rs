//! Measures the parts of an exchange, as far as they can be known.
//!
//! The HTTP client says when the whole of connecting ended, and no more. Three hooks say the rest:
//! our resolver, a layer around the client's connector, and rustls asking its session store for a
//! hint, which is the first thing it does for a new connection and so instants the end of the TCP
//! handshake. Each runs inside the exchange's own task and finds the exchange's `PhaseRecorder`
//! there. A connection that another exchange began, or that waited in the pool, runs none of them
//! there: then those phases are unknown, and are left out instead of made up.

use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use tower_layer::Layer;
use tower_service::Service;

use crate::clock;

/// Servers whose TLS sessions are remembered.
const SESSIONS: usize = 1_024;

/// Durations of the parts of an exchange; `None` is unknown or not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Phases {
    /// Name to addresses. None for an address in the URL.
    pub(crate) dns: Option<Duration>,
    /// TCP.
    pub(crate) connect: Option<Duration>,
    /// From TCP to an encrypted connection; none for `http`.
    pub(crate) tls: Option<Duration>,
    /// From a connection to the end of the response's head.
    pub(crate) response: Option<Duration>,
    /// All of it, the body included.
    pub(crate) total: Option<Duration>,
}

/// Instants of one exchange, as the hooks saw them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PhaseInstants {
    look_up_began: Option<Instant>,
    looked_up: Option<Instant>,
    connecting: Option<Instant>,
    tls_began: Option<Instant>,
    connected: Option<Instant>,
    /// Every address to be tried is IPv4; none when no name was resolved.
    pub(crate) only_v4: Option<bool>,
}

impl PhaseInstants {
    /// True if TCP was done and TLS was not.
    pub(crate) fn in_tls(&self) -> bool {
        self.tls_began.is_some() && self.connected.is_none()
    }

    /// True if a look-up was begun and has not ended.
    pub(crate) fn is_resolving(&self) -> bool {
        self.look_up_began.is_some() && self.looked_up.is_none()
    }

    /// True if a connection was begun and is not there yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting.is_some() && self.connected.is_none()
    }

    /// True if this exchange opened a connection of its own.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Computes the phases of an exchange that began at `began`, had the response's head at `head`
    /// and ended at `ended`.
    pub(crate) fn phases(&self, began: Instant, head: Option<Instant>, ended: Instant) -> Phases {
        let between = |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
        let own = self.is_connected();
        Phases {
            dns: between(self.look_up_began, self.looked_up).filter(|_| own || head.is_none()),
            connect: between(
                self.looked_up.or(self.connecting),
                self.tls_began.or(self.connected),
            )
            .filter(|_| own || head.is_none()),
            tls: between(self.tls_began, self.connected),
            response: between(self.connected.or(Some(began)), head),
            total: Some(ended.saturating_duration_since(began)),
        }
    }
}

/// Collects the instants of one exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct PhaseRecorder(Arc<Mutex<PhaseInstants>>);

tokio::task_local! {
    static CURRENT: PhaseRecorder;
}

impl PhaseRecorder {
    /// Runs an exchange so that the hooks find this recorder.
    pub(crate) async fn record<F: Future>(self, exchange: F) -> F::Output {
        CURRENT.scope(self, exchange).await
    }

    /// Finds the recorder of the exchange that runs in this task; outside of one, a recorder that
    /// nobody reads.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    pub(crate) fn instants(&self) -> PhaseInstants {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look_up_begins(&self) {
        self.note(|instants, now| instants.look_up_began = Some(now));
    }

    pub(crate) fn look_up_ends(&self, only_v4: bool) {
        self.note(|instants, now| {
            instants.looked_up = Some(now);
            instants.only_v4 = Some(only_v4);
        });
    }

    fn note(&self, set: impl FnOnce(&mut PhaseInstants, Instant)) {
        let mut instants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set(&mut instants, clock::monotonic());
    }
}

/// Puts a [`RecordingConnector`] around the client's connector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordingLayer;

/// Notes the beginning and the end of connecting.
#[derive(Debug, Clone)]
pub(crate) struct RecordingConnector<S>(S);

impl<S> Layer<S> for RecordingLayer {
    type Service = RecordingConnector<S>;

    fn layer(&self, inner: S) -> RecordingConnector<S> {
        RecordingConnector(inner)
    }
}

impl<S, R> Service<R> for RecordingConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        // A second connection of one exchange (the first one of a pool was found closed) begins
        // anew.
        PhaseRecorder::current().note(|instants, now| {
            *instants = PhaseInstants {
                connecting: Some(now),
                ..PhaseInstants::default()
            };
        });
        let connecting = self.0.call(target);
        Box::pin(async move {
            let connection = connecting.await?;
            // Looked up again: when another connection became free meanwhile, this one is finished
            // by a task of its own and is not the exchange's.
            PhaseRecorder::current().note(|instants, now| instants.connected = Some(now));
            Ok(connection)
        })
    }
}

/// The memory of TLS sessions, which notes the moment it is first asked.
#[derive(Debug)]
pub(crate) struct RecordingSessions(ClientSessionMemoryCache);

impl RecordingSessions {
    pub(crate) fn new() -> Self {
        Self(ClientSessionMemoryCache::new(SESSIONS))
    }
}

impl ClientSessionStore for RecordingSessions {
    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        PhaseRecorder::current().note(|instants, now| instants.tls_began = Some(now));
        self.0.kx_hint(server)
    }

    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server, group);
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.0.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}
