//! `bellwether listen`: a receiver for trying webhooks out. It verifies every request, prints it, and answers as it is told.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::listen_print::{json_line, pretty};
use crate::clock;
use crate::deliver::{request, signature};
use crate::domain::secret::{InvalidSecret, Secret};

/// Largest body taken; Bellwether's own are far smaller.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Attempts remembered to notice repeats; later ones are not compared.
const MAX_REMEMBERED: usize = 1_000_000;

/// A local receiver that verifies and prints webhooks.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ListenOptions {
    /// Secret to verify signatures with; may be given more than once
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    pub(crate) secrets: Vec<Secret>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 takes a free one and names it on stderr
    #[arg(long, default_value_t = 9000)]
    pub(crate) port: u16,
    /// Fail the first N attempts of every delivery (with --status, else 500) and accept later ones
    #[arg(long, value_name = "N")]
    pub(crate) fail: Option<u32>,
    /// Fail the first N requests of all, and accept later ones
    #[arg(long, value_name = "N")]
    pub(crate) fail_first: Option<u64>,
    /// Answer with this status: failed requests with --fail or --fail-first, every request without
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) status: Option<u16>,
    /// Add this Retry-After header to answers that are not 2xx
    #[arg(long, value_name = "VALUE")]
    pub(crate) retry_after: Option<HeaderValue>,
    /// Wait this long before every answer, as in 250ms or 40s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) delay: Duration,
    /// Print one JSON object a line for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

fn secret(text: &str) -> Result<Secret, InvalidSecret> {
    Secret::parse(text)
}

/// One request as it was received and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// Milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
    pub(super) path: String,
    pub(super) event: Option<String>,
    pub(super) delivery_id: Option<String>,
    pub(super) notification_id: Option<String>,
    pub(super) attempt: Option<u32>,
    /// Since `webhook-timestamp`, which has whole seconds.
    pub(super) latency_ms: Option<i64>,
    /// Whether a plain signature is by one of the secrets; none when there are no secrets.
    pub(super) signature_ok: Option<bool>,
    /// The same of the Standard Webhooks signature.
    pub(super) standard_signature_ok: Option<bool>,
    /// This attempt of this delivery was here before.
    pub(super) repeated: bool,
    /// What is answered.
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// What was received in all.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    bad_signatures: u64,
    repeated: u64,
    deliveries: HashSet<String>,
    attempts: HashSet<(String, u32)>,
    statuses: BTreeMap<u16, u64>,
    events: BTreeMap<String, u64>,
}

/// The receiver behind the socket.
#[derive(Debug)]
struct Receiver {
    options: ListenOptions,
    tally: Mutex<Tally>,
    /// Nobody reads the output any more.
    unread: Notify,
    colours: bool,
}

/// Listens until SIGINT or SIGTERM, or until nobody reads the output, and prints a summary on stderr. Makes a runtime of its
/// own.
pub(super) fn run(options: ListenOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let address = SocketAddr::new(options.host, options.port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        say(&format!(
            "listening on http://{}, {}; Ctrl-C ends it",
            listener.local_addr()?,
            match options.secrets.len() {
                0 => "verifying nothing (no --secret)".to_owned(),
                1 => "verifying with 1 secret".to_owned(),
                n => format!("verifying with {n} secrets"),
            }
        ));
        let receiver = Arc::new(Receiver::new(options));
        // Requests that wait for their --delay are not waited for.
        tokio::select! {
            served = serve(listener, Arc::clone(&receiver)) => served?,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            () = receiver.unread.notified() => {}
        }
        say(&receiver.summary());
        Ok(())
    })
}

fn say(line: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}

async fn serve(listener: TcpListener, receiver: Arc<Receiver>) -> io::Result<()> {
    let router = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(receiver);
    axum::serve(listener, router).await
}

async fn answer(
    State(receiver): State<Arc<Receiver>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = receiver.receive(uri.path(), &headers, body, clock::now_ms());
    receiver.print(&received);
    tokio::time::sleep(receiver.options.delay).await;
    let status = StatusCode::from_u16(received.status).unwrap_or(StatusCode::OK);
    let mut response = status.into_response();
    if let (false, Some(value)) = (status.is_success(), &receiver.options.retry_after) {
        response.headers_mut().insert(RETRY_AFTER, value.clone());
    }
    response
}

impl Receiver {
    fn new(options: ListenOptions) -> Self {
        Self {
            colours: super::wants_colours(),
            options,
            tally: Mutex::default(),
            unread: Notify::new(),
        }
    }

    /// Judges one request and decides its answer.
    fn receive(&self, path: &str, headers: &HeaderMap, body: Bytes, now_ms: i64) -> Received {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let owned = |name: &str| header(name).map(str::to_owned);
        let secrets = &self.options.secrets;
        let verified =
            |verify: &dyn Fn(&Secret) -> bool| (!secrets.is_empty()).then(|| secrets.iter().any(verify));
        // During a rotation's overlap a receiver may hold either secret.
        let plain = [request::SIGNATURE, request::SIGNATURE_NEXT].map(header);
        let standard = (
            header(request::STANDARD_ID).unwrap_or_default(),
            header(request::STANDARD_TIMESTAMP).unwrap_or_default(),
            header(request::STANDARD_SIGNATURE).unwrap_or_default(),
        );
        let mut received = Received {
            at_ms: now_ms,
            path: path.to_owned(),
            event: owned(request::EVENT),
            delivery_id: owned(request::DELIVERY),
            notification_id: owned(request::STANDARD_ID),
            attempt: header(request::ATTEMPT).and_then(|text| text.parse().ok()),
            latency_ms: standard
                .1
                .parse::<i64>()
                .ok()
                .map(|seconds| now_ms.saturating_sub(seconds.saturating_mul(1_000))),
            signature_ok: verified(&|secret| {
                plain
                    .iter()
                    .flatten()
                    .any(|one| signature::verify_plain(secret, &body, one))
            }),
            standard_signature_ok: verified(&|secret| {
                let (id, timestamp, list) = standard;
                signature::verify_standard(secret, id, timestamp, &body, list)
            }),
            repeated: false,
            status: 200,
            body: body.clone(),
        };
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        received.status = self.status(received.attempt, tally.requests);
        received.repeated = tally.count(&received);
        received
    }

    /// The status for a request for attempt `attempt`, when `before` requests were here before it.
    fn status(&self, attempt: Option<u32>, before: u64) -> u16 {
        let options = &self.options;
        let fails = match (options.fail, options.fail_first) {
            (None, None) => return options.status.unwrap_or(200),
            (each, all) => {
                each.is_some_and(|n| attempt.is_none_or(|attempt| attempt <= n))
                    || all.is_some_and(|n| before < n)
            }
        };
        if fails { options.status.unwrap_or(500) } else { 200 }
    }

    fn print(&self, received: &Received) {
        let text = if self.options.json {
            json_line(received)
        } else {
            pretty(received, self.colours)
        };
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.unread.notify_one();
        }
    }

    fn summary(&self) -> String {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let list = |counts: &mut dyn Iterator<Item = (String, u64)>| {
            counts
                .map(|(name, count)| format!("{name} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut lines = vec![format!(
            "requests {}, deliveries {}, repeated {}, bad signatures {}",
            tally.requests,
            tally.deliveries.len(),
            tally.repeated,
            tally.bad_signatures
        )];
        if tally.requests > 0 {
            let events = list(&mut tally.events.iter().map(|(name, n)| (name.clone(), *n)));
            let statuses = list(&mut tally.statuses.iter().map(|(status, n)| (status.to_string(), *n)));
            lines.push(format!("events: {events}"));
            lines.push(format!("answers: {statuses}"));
        }
        lines.join("\n")
    }
}

impl Tally {
    /// Counts a request. Answers whether this attempt was here before.
    fn count(&mut self, received: &Received) -> bool {
        self.requests += 1;
        *self.statuses.entry(received.status).or_default() += 1;
        // Names are the sender's: kept few.
        let event = received.event.as_deref().unwrap_or("unknown");
        let known = self.events.len() < 100 || self.events.contains_key(event);
        *self
            .events
            .entry(if known { event } else { "others" }.to_owned())
            .or_default() += 1;
        if received.signature_ok == Some(false) || received.standard_signature_ok == Some(false) {
            self.bad_signatures += 1;
        }
        let Some(delivery) = &received.delivery_id else {
            return false;
        };
        if self.attempts.len() >= MAX_REMEMBERED {
            return false;
        }
        self.deliveries.insert(delivery.clone());
        let first = self
            .attempts
            .insert((delivery.clone(), received.attempt.unwrap_or(0)));
        self.repeated += u64::from(!first);
        !first
    }
}

#[cfg(test)]
mod tests;
