//! What the tests stand on: a database and topics of their own, the binary as a process, a
//! receiver, the API.
#![allow(dead_code, reason = "a support method may wait for its test")]

pub(crate) mod acls;
pub(crate) mod app;
pub(crate) mod database;
pub(crate) mod evidence;
pub(crate) mod faults;
pub(crate) mod goal_stage;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod receiver;
pub(crate) mod services;

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks again and again until there is an answer. Fails after `patience` with what was waited for:
/// the bound only decides how long a failure takes.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    ask: impl FnMut() -> F,
) -> T {
    let answer = within(patience, ask).await;
    answer.unwrap_or_else(|| panic!("waited {patience:?} in vain: {what}"))
}

/// Asks until there is an answer; none after `patience`.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = ask().await;
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client for the service's own listeners.
pub(crate) fn http() -> reqwest::Client {
    // The crate brings no TLS provider of its own; the first to ask installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A name nobody else has.
pub(crate) fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}{}x{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Sends a signal by its name, such as `TERM`. By the shell, whose own word `kill` is: a minimal
/// system has no program of that name.
pub(crate) fn send_signal(process: &std::process::Child, name: &str) {
    let line = format!("kill -s {name} {}", process.id());
    let status = std::process::Command::new("sh").args(["-c", &line]).status();
    assert!(status.unwrap().success(), "{line}");
}

/// A port that was free a moment ago, and that this process has not been given before. Below the
/// range that outgoing connections take theirs from, and below that of the services.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id() * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (place % 10_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
