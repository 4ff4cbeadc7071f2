//! The admin listener, which lives as long as the process.

use std::sync::Arc;
use std::time::Duration;

use super::context::Foundation;
use super::host::listen;
use crate::bounded_listener::BoundedListener;
use crate::tasks::Tasks;
use crate::telemetry::admin::{self, AdminState};

/// Time for which an open connection may hold up the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Most connections at a time: probes and scrapes need a few.
const MOST_CONNECTIONS: usize = 16;
/// Time for which a connection waits for its caller while all are taken: longer than an answer
/// takes, and so short that a probe comes through a crowd of silent callers.
const PATIENCE: Duration = Duration::from_millis(300);

/// Serves metrics and probes on `admin.listen`, or on the socket that the host gave.
pub(super) async fn start(
    foundation: &Foundation,
    given: Option<std::net::TcpListener>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let listener = listen("admin.listen", foundation.config.admin.listen, given).await?;
    tracing::info!(address = %listener.local_addr()?, "the admin listener is open");
    let listener = BoundedListener::new(
        listener,
        MOST_CONNECTIONS,
        PATIENCE,
        foundation.lifecycle.finished.clone(),
    );
    let router = admin::router(AdminState {
        registry_read_at: Arc::clone(&foundation.registry_read_at),
        metrics: Arc::clone(&foundation.metrics),
        health: Arc::clone(&foundation.health),
    });
    let finished = foundation.lifecycle.finished.clone();
    tasks.spawn_background("admin", async move {
        let end = async {
            finished.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let served = axum::serve(listener, router).with_graceful_shutdown(finished.clone().cancelled_owned());
        tokio::select! {
            result = served.into_future() => Ok(result?),
            () = end => Ok(()),
        }
    });
    Ok(())
}
