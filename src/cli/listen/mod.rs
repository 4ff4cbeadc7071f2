//! `listen`: a receiver for trying webhooks out.
//!
//! In come requests of any kind; out goes what each was, verified, and an answer as the arguments
//! say. Nothing is kept.

mod options;
mod received;
mod receiver;
mod print;
mod temporary;
mod forward;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};

use self::print::{block, json_line};
use self::receiver::{Incoming, ListenReceiver};
use self::temporary::TemporaryWebhook;
use super::output::{StdoutLost, check_open, note, print_json, wants_colours, write};
use crate::app::{Lifecycle, SecondSignal};
use crate::cli::exit::ExitCode;
use crate::clock;

pub(super) use options::ListenOptions;

/// Largest body taken; Bellwether's own are far smaller.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The receiver and its output.
struct Listener {
    receiver: ListenReceiver,
    colours: bool,
    /// The first failure to write: nobody reads the output any more.
    lost: Mutex<Option<StdoutLost>>,
    /// Told of it.
    unread: Notify,
}

/// Listens until a signal says to stop, or until nobody reads the output, and prints a summary on
/// stderr.
pub(super) async fn run(mut options: ListenOptions) -> anyhow::Result<ExitCode> {
    check_open()?;
    options.check()?;
    if options.forward.forward.is_some() {
        return forward::run(&options, &options.forward).await;
    }
    let address = SocketAddr::new(options.host, options.port);
    let socket = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let webhook = TemporaryWebhook::create(&options, socket.local_addr()?).await?;
    note(&format!(
        "listening on http://{}, {}; Ctrl-C ends it",
        socket.local_addr()?,
        match options.secrets.len() {
            _ if options.temporary.site.is_some() => "verifying with the webhook's secret".to_owned(),
            0 => "verifying nothing (no --secret)".to_owned(),
            1 => "verifying with 1 secret".to_owned(),
            n => format!("verifying with {n} secrets"),
        }
    ));
    options
        .secrets
        .extend(webhook.as_ref().map(|webhook| webhook.secret.clone()));
    let received = receive(socket, options).await;
    if let Some(webhook) = webhook {
        webhook.remove().await;
    }
    received
}

/// Receives until it is to end.
async fn receive(socket: TcpListener, options: ListenOptions) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::default();
    let stop = lifecycle.stop.clone();
    let listener = Arc::new(Listener::new(options));
    // Requests that wait for their --delay are not waited for.
    tokio::select! {
        served = serve(socket, Arc::clone(&listener)) => served?,
        watched = lifecycle.watch_signals(SecondSignal::IsIgnored) => watched?,
        () = stop.cancelled() => {}
        () = listener.unread.notified() => {
            let lost = listener.lost.lock().await.take();
            return lost.map_or(Ok(ExitCode::FAILURE), |lost| Err(lost.into()));
        }
    }
    note(&listener.receiver.summary());
    Ok(ExitCode::SUCCESS)
}

async fn serve(socket: TcpListener, listener: Arc<Listener>) -> io::Result<()> {
    let router = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(listener);
    axum::serve(socket, router).await
}

async fn answer(
    State(listener): State<Arc<Listener>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let incoming = Incoming {
        method: method.to_string(),
        path: uri.path().to_owned(),
        headers,
        body,
    };
    let received = listener.receiver.receive(incoming, clock::now_ms());
    let options = &listener.receiver.options;
    let shown = if options.json {
        print_json(&json_line(&received))
    } else {
        write(block(&received, listener.colours).as_bytes())
    };
    if let Err(lost) = shown {
        listener.lost.lock().await.get_or_insert(lost);
        listener.unread.notify_one();
    }
    tokio::time::sleep(options.delay).await;
    let status = StatusCode::from_u16(received.status).unwrap_or(StatusCode::OK);
    let mut response = status.into_response();
    if let (false, Some(value)) = (status.is_success(), &options.retry_after) {
        response.headers_mut().insert(RETRY_AFTER, value.clone());
    }
    response
}

impl Listener {
    fn new(options: ListenOptions) -> Self {
        Self {
            receiver: ListenReceiver::new(options),
            colours: wants_colours(),
            lost: Mutex::default(),
            unread: Notify::new(),
        }
    }
}

#[cfg(test)]
mod tests;
