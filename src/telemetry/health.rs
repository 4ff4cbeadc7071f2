//! Liveness and readiness of the process, with reasons.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::metrics::Metrics;
use super::words::ReadyCheck;

/// Longest time between two turns of a thread's loop, in milliseconds, before it counts as stuck.
const TICK_LIMIT_MS: i64 = 45_000;
/// Time after which a notice goes that was not repeated.
const NOTICE_MS: i64 = 10 * 60_000;

/// Answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// Ready, and no partition is left for this process.
    pub(crate) standby: bool,
    /// By check: `ok`, or the reason why not.
    pub(crate) checks: BTreeMap<&'static str, String>,
    /// Notices for the operator that do not make the process unready.
    pub(crate) notices: Vec<String>,
}

/// Shared by all tasks. No lock is held while anything waits.
#[derive(Debug)]
pub struct Health {
    metrics: Arc<Metrics>,
    checks: Mutex<BTreeMap<ReadyCheck, Result<(), String>>>,
    /// By key: what was said last, and when; without a time it holds for as long as the process.
    notices: Mutex<BTreeMap<String, (String, Option<i64>)>>,
    ticks: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
    /// Of each group member: how many partitions it was last assigned, or why that is still to
    /// come.
    partitions: Mutex<BTreeMap<String, Result<usize, String>>>,
    stopping: AtomicBool,
}

impl Health {
    /// All checks of `wanted` start as not yet done; the others do not apply to this process.
    pub fn new(metrics: Arc<Metrics>, wanted: &[ReadyCheck]) -> Self {
        let checks = wanted
            .iter()
            .copied()
            .map(|check| (check, Err("starting".to_owned())))
            .collect();
        Self {
            metrics,
            checks: Mutex::new(checks),
            notices: Mutex::default(),
            ticks: Mutex::default(),
            partitions: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Sets a check; unknown ones do not apply to this process and are left out.
    pub(crate) fn set(&self, check: ReadyCheck, state: Result<(), String>) {
        if let Some(slot) = lock(&self.checks).get_mut(&check) {
            self.metrics
                .ready
                .with_label_values(&[check.as_str()])
                .set(i64::from(state.is_ok()));
            *slot = state;
        }
    }

    /// Says something to whoever looks at `/readyz`, once for each `key`, until it was not said
    /// again for ten minutes.
    pub(crate) fn notice(&self, key: &str, text: String, now_ms: i64) {
        let mut notices = lock(&self.notices);
        notices.retain(|_, (_, said_ms)| is_current(*said_ms, now_ms));
        // Bounded: an operator reads a few, not thousands.
        if notices.len() < 20 || notices.contains_key(key) {
            notices.insert(key.to_owned(), (text, Some(now_ms)));
        }
    }

    /// Says something that does not change while the process runs.
    pub(crate) fn standing_notice(&self, key: &str, text: String) {
        lock(&self.notices).insert(key.to_owned(), (text, None));
    }

    /// Takes a notice back: it is no longer so.
    pub(crate) fn end_notice(&self, key: &str) {
        lock(&self.notices).remove(key);
    }

    /// A heartbeat that a thread of this name must beat.
    pub(crate) fn heartbeat(&self, thread: &str, now_ms: i64) -> Arc<AtomicI64> {
        Arc::clone(
            lock(&self.ticks)
                .entry(thread.to_owned())
                .or_insert_with(|| Arc::new(AtomicI64::new(now_ms))),
        )
    }

    /// A thread that has ended beats no more.
    pub(crate) fn heartbeat_ends(&self, thread: &str) {
        lock(&self.ticks).remove(thread);
    }

    /// A group member is about to join. The process is not ready before all of them were assigned
    /// what is theirs.
    pub(crate) fn member_joins(&self, member: &str) {
        lock(&self.partitions).insert(member.to_owned(), Err("starting".to_owned()));
    }

    /// A member was assigned partitions and cannot take them yet.
    pub(crate) fn member_waits(&self, member: &str, reason: String) {
        self.set_member(member, Err(format!("{member}: {reason}")));
    }

    /// Notes the number of partitions that a member holds now.
    pub(crate) fn set_partitions(&self, member: &str, count: usize) {
        self.set_member(member, Ok(count));
    }

    /// A group member has left.
    pub(crate) fn member_left(&self, member: &str) {
        lock(&self.partitions).remove(member);
    }

    fn set_member(&self, member: &str, state: Result<usize, String>) {
        let mut partitions = lock(&self.partitions);
        partitions.insert(member.to_owned(), state);
        let reason = partitions.values().find_map(|state| state.as_ref().err());
        // Still locked, so that of two members the later has the last word.
        self.set(ReadyCheck::Assignment, reason.cloned().map_or(Ok(()), Err));
    }

    /// From now on `/readyz` says no.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The threads whose loops have taken no turn in time; none means alive.
    pub(crate) fn stuck_threads(&self, now_ms: i64) -> Vec<String> {
        lock(&self.ticks)
            .iter()
            .filter(|(_, tick)| now_ms - tick.load(Ordering::Relaxed) > TICK_LIMIT_MS)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Makes the answer of `/readyz`.
    pub(crate) fn readiness(&self, now_ms: i64) -> Readiness {
        let mut checks: BTreeMap<&'static str, String> = lock(&self.checks)
            .iter()
            .map(|(check, state)| {
                (
                    check.as_str(),
                    state.as_ref().map_or_else(Clone::clone, |()| "ok".to_owned()),
                )
            })
            .collect();
        if self.stopping.load(Ordering::Relaxed) {
            checks.insert("stopping", "the process is stopping".to_owned());
        }
        let partitions = lock(&self.partitions);
        Readiness {
            ready: checks.values().all(|state| state == "ok"),
            standby: !partitions.is_empty() && partitions.values().all(|count| *count == Ok(0)),
            checks,
            notices: lock(&self.notices)
                .values()
                .filter(|(_, said_ms)| is_current(*said_ms, now_ms))
                .map(|(text, _)| text.clone())
                .collect(),
        }
    }
}

fn is_current(said_ms: Option<i64>, now_ms: i64) -> bool {
    said_ms.is_none_or(|said_ms| now_ms - said_ms < NOTICE_MS)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Labels;

    fn health() -> Health {
        Health::new(
            Arc::new(Metrics::new(&Labels::default())),
            &[ReadyCheck::Postgres, ReadyCheck::Kafka],
        )
    }

    #[test]
    fn ready_only_when_every_check_that_applies_is_ok() {
        let health = health();
        assert!(!health.readiness(0).ready);
        health.set(ReadyCheck::Postgres, Ok(()));
        health.set(ReadyCheck::Kafka, Err("no broker answers".into()));
        health.set(ReadyCheck::Keys, Err("does not apply here".into()));
        assert_eq!(health.readiness(0).checks["kafka"], "no broker answers");
        health.set(ReadyCheck::Kafka, Ok(()));
        assert!(health.readiness(0).ready);
        health.stop();
        assert!(!health.readiness(0).ready);
    }

    #[test]
    fn a_thread_that_does_not_go_round_for_45_seconds_is_stuck() {
        let health = health();
        let heartbeat = health.heartbeat("detect-0", 0);
        assert!(health.stuck_threads(45_000).is_empty());
        assert_eq!(health.stuck_threads(45_001), ["detect-0"]);
        heartbeat.store(45_000, Ordering::Relaxed);
        assert!(health.stuck_threads(45_001).is_empty());
    }

    #[test]
    fn a_member_without_partitions_is_a_standby() {
        let health = health();
        assert!(!health.readiness(0).standby);
        health.set_partitions("detect-0", 0);
        assert!(health.readiness(0).standby);
        health.set_partitions("deliver-0", 3);
        assert!(!health.readiness(0).standby);
    }

    #[test]
    fn ready_only_when_every_member_was_assigned_its_partitions() {
        let health = Health::new(
            Arc::new(Metrics::new(&Labels::default())),
            &[ReadyCheck::Assignment],
        );
        health.member_joins("detect-0");
        health.member_joins("deliver-0");
        health.set_partitions("deliver-0", 4);
        assert!(!health.readiness(0).ready);
        health.set_partitions("detect-0", 0);
        assert!(health.readiness(0).ready);
        health.set_partitions("detect-0", 4);
        health.member_left("deliver-0");
        assert!(health.readiness(0).ready);
    }

    #[test]
    fn a_member_without_its_partitions_is_named_with_the_reason() {
        let health = Health::new(
            Arc::new(Metrics::new(&Labels::default())),
            &[ReadyCheck::Assignment],
        );
        health.set_partitions("detect-0", 4);
        health.set_partitions("detect-1", 4);
        assert!(health.readiness(0).ready);
        health.member_waits("detect-1", "a newer state".to_owned());
        health.set_partitions("detect-0", 4);
        let readiness = health.readiness(0);
        assert!(!readiness.ready);
        assert_eq!(readiness.checks["assignment"], "detect-1: a newer state");
        health.set_partitions("detect-1", 4);
        assert!(health.readiness(0).ready);
    }

    #[test]
    fn a_notice_goes_when_it_was_not_said_for_ten_minutes() {
        let health = health();
        health.notice("one", "first".into(), 0);
        health.notice("two", "second".into(), 1_000);
        health.notice("one", "again".into(), 500_000);
        assert_eq!(health.readiness(600_999).notices, ["again", "second"]);
        assert_eq!(health.readiness(601_000).notices, ["again"]);
        assert!(health.readiness(1_100_000).notices.is_empty());
        health.standing_notice("stays", "for good".into());
        assert_eq!(health.readiness(9_900_000).notices, ["for good"]);
        health.end_notice("stays");
        health.notice("one", "once more".into(), 1_100_000);
        health.end_notice("one");
        assert!(health.readiness(1_100_000).notices.is_empty());
    }
}
