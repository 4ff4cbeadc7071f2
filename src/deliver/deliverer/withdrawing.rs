//! Rows of `parked` whose recovery was cancelled while they waited here.
//!
//! They are given back unsent, and the job that withdraws the recovery cancels them: it takes only
//! rows that nobody has claimed. Until it has, nobody claims them again.

use std::collections::HashSet;
use std::time::Duration;

use super::Deliverer;
use crate::clock;
use crate::deliver::intake::work::Work;
use crate::domain::id::JobId;
use crate::domain::time::from_ms;
use crate::record::parked::{self, GivenBackRow};
use crate::telemetry::words::PostgresOp;

/// Time for which rows that were given back are claimed by nobody. Longer than the job takes, which
/// looks each second.
const PUT_OFF: Duration = Duration::from_secs(30);

impl Deliverer {
    /// Notes the recoveries that were cancelled, and gives back their rows that wait for a turn.
    pub(super) fn withdraw(&mut self, withdrawn: HashSet<JobId>) {
        self.withdrawn = withdrawn;
        if self.withdrawn.is_empty() {
            return;
        }
        let withdrawn = &self.withdrawn;
        let works = self
            .scheduler
            .remove_where(|work| work.recovery().is_some_and(|job| withdrawn.contains(&job)));
        self.put_off(works.into_iter().map(|work| *work).collect());
    }

    /// True if a row's recovery was cancelled.
    pub(super) fn is_withdrawn(&self, work: &Work) -> bool {
        let recovery = work.recovery();
        recovery.is_some_and(|job| self.withdrawn.contains(&job))
    }

    /// Gives rows back that are not to be sent.
    pub(super) fn put_off(&self, works: Vec<Work>) {
        let rows: Vec<GivenBackRow> = works.iter().filter_map(Work::given_back).collect();
        if rows.is_empty() {
            return;
        }
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let in_flight = self.links.in_flight.clone();
        let not_before = from_ms(clock::now_ms()) + PUT_OFF;
        self.links.tasks.spawn(async move {
            let put_off = monitor.once(PostgresOp::Unpark, async {
                let mut connection = pool.acquire().await?;
                parked::put_off(&mut connection, &rows, not_before).await
            });
            // After an error their claims end by themselves.
            drop(put_off.await);
            for work in works {
                in_flight.complete(work);
            }
        });
    }
}
