//! The registry of sites, goals and webhooks, read at the start and followed from then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use tokio::sync::watch;

use super::context::{Database, Foundation};
use crate::clock;
use crate::dispatch::schedule::Schedules;
use crate::domain::registry::Registry;
use crate::record::follow;
use crate::record::registry::RegistryReader;
use crate::tasks::Tasks;

/// Reads the registry, and starts the task that keeps it up to date.
pub(super) async fn start(
    foundation: &Foundation,
    database: &Database,
    tasks: &mut Tasks,
) -> anyhow::Result<watch::Receiver<Arc<Registry>>> {
    let links = foundation.config.sites.link_template();
    let mut reader = RegistryReader::new(Arc::clone(&database.keyring)).with_links(links);
    let read_at_ms = clock::now_ms();
    read(&mut reader, database, read_at_ms)
        .await
        .context("reading the configuration of sites and webhooks")?;
    warn_of_unknown_schedules(&reader.current(), &foundation.schedules);
    let registry_read_at = Arc::clone(&foundation.registry_read_at);
    registry_read_at.store(read_at_ms, Ordering::Relaxed);
    let (publish, registry) = watch::channel(reader.current());
    let (pool, finished) = (database.pool.clone(), foundation.lifecycle.finished.clone());
    let (known, health) = (registry.clone(), Arc::clone(&foundation.health));
    let metrics = Arc::clone(&foundation.metrics);
    tasks.spawn_background("registry", async move {
        let looked = move |begun_ms| {
            registry_read_at.store(begun_ms, Ordering::Release);
            let registry = known.borrow();
            metrics.webhooks_unreadable.set(registry.unreadable.size() as i64);
            if let Some(notice) = notice_of_unreadable(&registry) {
                health.notice("unreadable webhooks", notice, begun_ms);
            }
        };
        follow::follow(pool, reader, publish, looked, finished).await;
        Ok(())
    });
    Ok(registry)
}

/// The words about webhooks that this process cannot read; `None` if it reads all.
fn notice_of_unreadable(registry: &Registry) -> Option<String> {
    let one = registry.unreadable.iter().next()?;
    Some(format!(
        "webhooks that cannot be read here: {}, {one} among them. Their notifications wait. Another process writes \
         with a key that encryption.keys lacks here, or is of a newer version; the log has each with its cause",
        registry.unreadable.size()
    ))
}

/// Says which webhooks follow `default` because their schedule is not configured any more, a line a
/// schedule.
fn warn_of_unknown_schedules(registry: &Registry, schedules: &Schedules) {
    let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, webhook) in &registry.webhooks {
        if !schedules.has(&webhook.retry_schedule) {
            unknown
                .entry(&webhook.retry_schedule)
                .or_default()
                .push(id.to_string());
        }
    }
    for (schedule, webhooks) in unknown {
        tracing::warn!(
            schedule,
            webhooks = webhooks.len(),
            webhook.id = webhooks[0],
            "a retry schedule that webhooks name is not configured; they follow `default`"
        );
    }
}

async fn read(reader: &mut RegistryReader, database: &Database, now_ms: i64) -> anyhow::Result<()> {
    let mut connection = database.pool.acquire().await?;
    reader.look(&mut connection, now_ms).await?;
    Ok(())
}
