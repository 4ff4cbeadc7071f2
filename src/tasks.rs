//! The supervisor: every task and thread of the process has a name here. When one ends, all stop,
//! and the first cause is the process's error.

use std::future::Future;

use anyhow::Context as _;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

type Ended = (String, anyhow::Result<()>);

/// The tasks of a process: those that do its work, and those in the background that serve them
/// until all work has ended.
#[derive(Debug)]
pub(crate) struct Tasks {
    work: JoinSet<Ended>,
    background: JoinSet<Ended>,
    stop: CancellationToken,
    finished: CancellationToken,
}

impl Tasks {
    /// `stop` is cancelled when the first task ends; `finished` when all work has.
    pub(crate) fn new(stop: CancellationToken, finished: CancellationToken) -> Self {
        Self {
            work: JoinSet::new(),
            background: JoinSet::new(),
            stop,
            finished,
        }
    }

    /// Runs a future that ends by itself after `stop`.
    pub(crate) fn spawn(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let name = name.into();
        self.work.spawn(async move { (name, future.await) });
    }

    /// Runs a future that ends by itself after `finished`.
    pub(crate) fn spawn_background(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let name = name.into();
        self.background.spawn(async move { (name, future.await) });
    }

    /// Runs a function on a thread of its own, under the same supervision.
    pub(crate) fn spawn_thread(
        &mut self,
        name: impl Into<String>,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let name = name.into();
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || drop(done.send(body())))
            .with_context(|| format!("starting the thread {name}"))?;
        // A dropped sender means that the thread panicked.
        self.spawn(name, async move {
            ended
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread panicked")))
        });
        Ok(())
    }

    /// Waits until all tasks have ended. The first that ends stops the others; an error of it is
    /// the answer.
    pub(crate) async fn join(mut self) -> anyhow::Result<()> {
        let mut first_cause = Ok(());
        while !self.work.is_empty() {
            let ended = tokio::select! {
                Some(ended) = self.work.join_next() => ended,
                Some(ended) = self.background.join_next() => ended,
                else => break,
            };
            self.record_end(ended, &mut first_cause);
            self.stop.cancel();
        }
        self.finished.cancel();
        while let Some(ended) = self.background.join_next().await {
            self.record_end(ended, &mut first_cause);
        }
        first_cause
    }

    fn record_end(&self, ended: Result<Ended, JoinError>, first_cause: &mut anyhow::Result<()>) {
        let (name, result) =
            ended.unwrap_or_else(|error| ("a task".to_owned(), Err(anyhow::anyhow!("it panicked: {error}"))));
        match result {
            Ok(()) if !self.stop.is_cancelled() => tracing::info!(task = name, "ended; everything stops"),
            Ok(()) => tracing::debug!(task = name, "stopped"),
            Err(error) => {
                tracing::error!(
                    task = name,
                    error = format!("{error:#}"),
                    "failed; everything stops"
                );
                if first_cause.is_ok() {
                    *first_cause = Err(error.context(name));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
