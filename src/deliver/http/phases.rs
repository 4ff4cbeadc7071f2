//! The parts of an exchange, as the client passes them.

use std::time::{Duration, Instant};

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
    /// All of it, the body included, but for the waits for our own file handles.
    pub(crate) total: Option<Duration>,
}

/// The part of an exchange that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Waiting for a file handle of our own.
    #[default]
    Handle,
    Resolving,
    Connecting,
    Tls,
    /// Connected, waiting for the head of the response.
    Head,
    Body,
}

/// Instants of one exchange. A second connection of one exchange begins anew.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PhaseInstants {
    pub(super) stage: Stage,
    /// Time for which file handles were waited for.
    waited: Duration,
    look_up_began: Option<Instant>,
    looked_up: Option<Instant>,
    connecting: Option<Instant>,
    tls_began: Option<Instant>,
    connected: Option<Instant>,
}

impl PhaseInstants {
    /// Notes a wait for file handles.
    pub(super) fn add_wait(&mut self, wait: Duration) {
        self.waited += wait;
    }

    pub(super) fn look_up_begins(&mut self, now: Instant) {
        *self = Self {
            stage: Stage::Resolving,
            look_up_began: Some(now),
            waited: self.waited,
            ..Self::default()
        };
    }

    pub(super) fn look_up_ends(&mut self, now: Instant) {
        self.looked_up = Some(now);
    }

    pub(super) fn connect_begins(&mut self, now: Instant) {
        self.stage = Stage::Connecting;
        self.connecting = Some(now);
    }

    pub(super) fn tls_begins(&mut self, now: Instant) {
        self.stage = Stage::Tls;
        self.tls_began = Some(now);
    }

    /// Notes that a new connection is there.
    pub(super) fn connected(&mut self, now: Instant) {
        self.stage = Stage::Head;
        self.connected = Some(now);
    }

    /// Notes that a connection from the pool is used.
    pub(super) fn reused(&mut self) {
        *self = Self {
            stage: Stage::Head,
            waited: self.waited,
            ..Self::default()
        };
    }

    /// Computes the phases of an exchange that began at `began`, had the response's head at `head`
    /// and ended at `ended`.
    pub(super) fn phases(&self, began: Instant, head: Option<Instant>, ended: Instant) -> Phases {
        let between = |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
        Phases {
            dns: between(self.look_up_began, self.looked_up),
            connect: between(self.connecting, self.tls_began.or(self.connected)),
            tls: between(self.tls_began, self.connected),
            response: between(self.connected.or(Some(began)), head),
            total: Some(ended.saturating_duration_since(began).saturating_sub(self.waited)),
        }
    }
}
