//! The caller's share of connections, as the task of a request knows it.

use tokio::task_local;

use crate::record::pool_shares::{CallerShare, SharePermit};

use super::problem::Problem;
use super::problem_type::ProblemType;

task_local! {
    static SHARE: CallerShare;
}

/// Runs `work` with connections of this share only.
pub(super) async fn with_share<T>(share: CallerShare, work: impl Future<Output = T>) -> T {
    SHARE.scope(share, work).await
}

/// Runs `work`, in whatever task, with connections of the share of the task that calls this.
pub(super) fn with_own_share<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let share = SHARE.try_with(Clone::clone).ok();
    async {
        match share {
            Some(share) => with_share(share, work).await,
            None => work.await,
        }
    }
}

/// Waits for a connection of the caller's share; a request without a caller has none.
pub(super) async fn take() -> Result<Option<SharePermit>, Problem> {
    let Ok(share) = SHARE.try_with(Clone::clone) else {
        return Ok(None);
    };
    share.take().await.map(Some).ok_or_else(too_many_at_once)
}

fn too_many_at_once() -> Problem {
    let detail = "Other requests with this token wait for the database. Send fewer at a time.";
    Problem::new(ProblemType::RateLimited, detail).retry_after_seconds(1)
}
