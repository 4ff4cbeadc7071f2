//! The end of a process: signals, the grace period, the time after which nothing is waited for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::last_exit::end_process;
use crate::telemetry::Health;

/// Time from the end of the grace period until the process ends, whatever is left to write.
pub(super) const FINAL_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The three steps of a process's end, in order; each token is cancelled when its step begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// Nothing new is taken in.
    pub(crate) stop: CancellationToken,
    /// The grace period is over: requests in flight are given up.
    pub(crate) give_up: CancellationToken,
    /// All work has ended; the tasks that served it end too.
    pub(crate) finished: CancellationToken,
}

/// The effect of a signal that comes after the one that stopped the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondSignal {
    /// The process ends at once, with exit code 1.
    Exits,
    /// Nothing: an end in the middle would leave something behind on the machine.
    IsIgnored,
}

impl Lifecycle {
    /// A process that stops when `stop` is cancelled, by a signal or by another program.
    pub(crate) fn stopped_by(stop: CancellationToken) -> Self {
        Self {
            stop,
            ..Self::default()
        }
    }

    /// Cancels `stop` on SIGTERM, SIGINT and SIGHUP. Returns when all work has ended.
    pub(crate) async fn watch_signals(self, second: SecondSignal) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut hang_up = hang_up_signal()?;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = next(&mut hang_up) => "SIGHUP",
                () = self.finished.cancelled() => return Ok(()),
            };
            if !self.stop.is_cancelled() {
                tracing::info!(signal = name, "told to stop");
                self.stop.cancel();
            } else if second == SecondSignal::Exits {
                tracing::warn!(signal = name, "told to stop a second time; ending at once");
                end_process(1);
            }
        }
    }

    /// Makes the process unready when it stops, and cancels `give_up` when `grace` is over.
    pub(crate) async fn limit_grace(self, grace: Duration, health: Arc<Health>) -> anyhow::Result<()> {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.finished.cancelled() => return Ok(()),
        }
        health.stop();
        tokio::select! {
            () = tokio::time::sleep(grace) => self.give_up.cancel(),
            () = self.finished.cancelled() => {}
        }
        self.finished.cancelled().await;
        Ok(())
    }

    /// Returns when the process has been stopping for longer than `grace` and the last writes may
    /// take, with that time.
    pub(crate) async fn overdue(&self, grace: Duration) -> Duration {
        let longest = grace + FINAL_WRITE_TIMEOUT;
        self.stop.cancelled().await;
        tokio::time::sleep(longest).await;
        longest
    }
}

/// SIGHUP as a signal to listen for; `None` where the process was started to outlive its terminal,
/// as by `nohup`.
fn hang_up_signal() -> anyhow::Result<Option<Signal>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if ignores_hang_up(&status) {
        return Ok(None);
    }
    let hang_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    Ok(Some(hang_up))
}

/// True if `status`, as in `/proc/self/status`, says that SIGHUP (the first bit of the mask) is
/// ignored.
fn ignores_hang_up(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
