//! Keeping the registry of a process up to date for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::registry::Registry;
use crate::telemetry::throttle::Throttle;

use super::pg_monitor::in_words;
use super::registry::RegistryReader;

/// Channel on which the database announces changes.
const CHANNEL: &str = "bellwether_config";
/// Time between two looks without an announcement.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two looks, however many announcements come.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Longest time a look may take; after that the database is taken for unreachable.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// Time before listening again after it failed.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Looks for changes every second, and sooner when the database announces one, and publishes each
/// new registry until `stop`. `looked` gets the time at which each successful look began.
pub async fn follow(
    pool: PgPool,
    mut reader: RegistryReader,
    publish: watch::Sender<Arc<Registry>>,
    looked: impl Fn(i64),
    stop: CancellationToken,
) {
    let hint = Notify::new();
    // One `select!` for the whole time: to receive an announcement is not safe to cancel.
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen(&pool, CHANNEL, &hint) => {}
        () = keep_looking(&pool, &mut reader, &publish, looked, &hint) => {}
    }
}

async fn keep_looking(
    pool: &PgPool,
    reader: &mut RegistryReader,
    publish: &watch::Sender<Arc<Registry>>,
    looked: impl Fn(i64),
    hint: &Notify,
) {
    let (mut failing, mut failures) = (false, Throttle::new());
    loop {
        let begun_ms = clock::now_ms();
        match look(pool, reader).await {
            Ok(changed) => {
                if let Some(registry) = changed {
                    publish.send_replace(registry);
                }
                looked(begun_ms);
                if failing {
                    tracing::info!("the configuration is read again");
                }
                failing = false;
            }
            Err(error) => {
                if let Some(suppressed) = failures.admit(clock::monotonic()) {
                    let error = in_words(&error);
                    tracing::warn!(
                        error,
                        suppressed,
                        "the configuration cannot be read; the last one stays in force"
                    );
                }
                failing = true;
            }
        }
        tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
        tokio::select! {
            () = hint.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY - LOOK_AT_MOST_EVERY) => {}
        }
    }
}

async fn look(pool: &PgPool, reader: &mut RegistryReader) -> Result<Option<Arc<Registry>>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let looked = tokio::time::timeout(LOOK_TIMEOUT, reader.look(&mut conn, clock::now_ms())).await;
    looked.unwrap_or_else(|_| {
        // In the pool it would be tested before its next use, and that test would wait as long.
        conn.close_on_drop();
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer").into())
    })
}

/// Passes announcements of the database on `channel` on. A failure is no error: without them a
/// change takes up to a second longer.
pub(crate) async fn listen(pool: &PgPool, channel: &str, hint: &Notify) {
    loop {
        if let Err(error) = pass_hints_on(pool, channel, hint).await {
            tracing::debug!(error = in_words(&error), channel, "no hints of changes for now");
        }
        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
    }
}

async fn pass_hints_on(pool: &PgPool, channel: &str, hint: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    // A change may have come before the listener was there.
    hint.notify_one();
    while listener.try_recv().await?.is_some() {
        hint.notify_one();
    }
    Ok(())
}
