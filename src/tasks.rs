//! The supervisor: every task and thread of the process has a name here. When one ends, all stop, and the first cause
//! is the process's error.

use std::future::Future;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tasks of a process.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<(String, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Tasks {
    /// `stop` is cancelled when the first task ends.
    pub fn new(stop: CancellationToken) -> Self {
        Self { running: JoinSet::new(), stop }
    }

    /// Runs a future as a task of this name.
    pub fn spawn(&mut self, name: impl Into<String>, future: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let name = name.into();
        self.running.spawn(async move { (name, future.await) });
    }

    /// Runs a function on a thread of its own, under the same supervision.
    pub fn spawn_thread(&mut self, name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
        let name = name.into();
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || drop(done.send(body())))
            .with_context(|| format!("starting the thread {name}"))?;
        // A dropped sender means that the thread panicked.
        self.spawn(name, async move { ended.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread panicked"))) });
        Ok(())
    }

    /// Waits until all tasks have ended. The first that ends stops the others; an error of it is the answer.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut first_cause = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let (name, result) = ended.unwrap_or_else(|error| ("a task".to_owned(), Err(anyhow::anyhow!("it panicked: {error}"))));
            let on_its_own = !self.stop.is_cancelled();
            match result {
                Ok(()) if on_its_own => tracing::info!(task = name, "ended; everything stops"),
                Ok(()) => tracing::debug!(task = name, "stopped"),
                Err(error) => {
                    tracing::error!(task = name, error = format!("{error:#}"), "failed; everything stops");
                    if first_cause.is_ok() {
                        first_cause = Err(error.context(name));
                    }
                }
            }
            self.stop.cancel();
        }
        first_cause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_stops_all_and_is_the_error() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.spawn("patient", async move {
            stop.cancelled().await;
            anyhow::bail!("a later failure")
        });
        tasks.spawn_thread("thread", || anyhow::bail!("the first failure")).expect("a thread");
        let error = tasks.join().await.expect_err("a failure");
        assert_eq!(format!("{error:#}"), "thread: the first failure");
    }

    #[tokio::test]
    async fn a_panicking_thread_is_a_failure() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn_thread("thread", || panic!("on purpose")).expect("a thread");
        assert!(tasks.join().await.is_err());
    }
}
