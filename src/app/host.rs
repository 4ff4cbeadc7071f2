//! The arrangements of another program that runs the service inside itself.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time for which the API accepts requests after the process was told to stop, so that whoever
/// routes to it has noticed.
const API_CLOSE_DELAY: Duration = Duration::from_secs(5);

/// The program around the service. By default there is none: the service is a process of its own.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Stops the service when it is cancelled.
    pub(crate) stop: CancellationToken,
    /// True if the program watches the signals, and nobody routes requests here.
    pub(crate) is_there: bool,
    pub(crate) admin: Option<StdListener>,
    pub(crate) api: Option<StdListener>,
    /// True if the brokers are [embedded](crate::kafka::embedded): they answer no question about a
    /// topic's settings.
    pub(crate) embedded_kafka: bool,
}

impl Host {
    /// Time for which the API accepts requests after the service was told to stop.
    pub(super) fn api_close_delay(&self) -> Duration {
        if self.is_there {
            Duration::ZERO
        } else {
            API_CLOSE_DELAY
        }
    }
}

/// Listens on the socket that the host gave, or on `address`; `key` is its configuration key.
pub(super) async fn listen(
    key: &str,
    address: SocketAddr,
    given: Option<StdListener>,
) -> anyhow::Result<TcpListener> {
    match given {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(TcpListener::from_std(listener)?)
        }
        None => TcpListener::bind(address)
            .await
            .with_context(|| format!("{key} = {address}")),
    }
}
