//! The detect role.

use super::Shared;
use crate::kafka::producer::Publisher;
use crate::tasks::Tasks;

pub(super) async fn start(
    _shared: &Shared,
    _publisher: &Publisher,
    _tasks: &mut Tasks,
) -> anyhow::Result<()> {
    Ok(())
}
