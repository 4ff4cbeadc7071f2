//! Log lines about rows that cannot be read: one a second for each cause, whatever number of rows it
//! concerns. A wrong key concerns every webhook of a deployment.

use std::collections::BTreeMap;

use super::webhook_row::UnreadableWebhook;
use crate::domain::id::{GoalId, WebhookId};
use crate::telemetry::throttle::KeyedThrottles;

/// The message about a row, and the reason. There are few of them: an error names a key or a part,
/// never the row.
type Cause = (&'static str, String);

static THROTTLES: KeyedThrottles<Cause> = KeyedThrottles::new();

/// The row that a line names.
#[derive(Debug, Default)]
pub(super) struct RowName {
    site: Option<String>,
    webhook: Option<WebhookId>,
    goal: Option<GoalId>,
}

impl RowName {
    /// Names a site.
    pub(super) fn site(id: String) -> Self {
        Self {
            site: Some(id),
            ..Self::default()
        }
    }
}

impl From<WebhookId> for RowName {
    fn from(id: WebhookId) -> Self {
        Self {
            webhook: Some(id),
            ..Self::default()
        }
    }
}

impl From<GoalId> for RowName {
    fn from(id: GoalId) -> Self {
        Self {
            goal: Some(id),
            ..Self::default()
        }
    }
}

/// Rows of one statement that cannot be read: the first of each cause, and the number of the
/// others. Logged when it is dropped.
#[derive(Debug, Default)]
pub(super) struct UnreadableRows(BTreeMap<Cause, (RowName, u64)>);

impl UnreadableRows {
    /// Notes a row.
    pub(super) fn note(&mut self, message: &'static str, row: impl Into<RowName>, error: impl ToString) {
        let found = self.0.entry((message, error.to_string()));
        found
            .and_modify(|(_, others)| *others += 1)
            .or_insert_with(|| (row.into(), 0));
    }

    /// Notes a webhook.
    pub(super) fn note_webhook(&mut self, webhook: &UnreadableWebhook) {
        let cause = webhook
            .cause
            .as_ref()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        let error = format!("its {}{cause}", webhook.part);
        self.note("a stored webhook cannot be read", webhook.id, error);
    }

    /// Takes the lines that are to be written now, each with the number of rows that it leaves out.
    fn take_lines(&mut self) -> impl Iterator<Item = (Cause, RowName, u64)> {
        let causes = std::mem::take(&mut self.0).into_iter();
        causes.filter_map(|(cause, (first, others))| {
            let suppressed = THROTTLES.admit(cause.clone(), others)?;
            Some((cause, first, suppressed))
        })
    }
}

impl Drop for UnreadableRows {
    fn drop(&mut self) {
        for ((message, error), first, suppressed) in self.take_lines() {
            tracing::error!(
                site.id = first.site,
                webhook.id = first.webhook.map(tracing::field::display),
                goal.id = first.goal.map(tracing::field::display),
                error,
                suppressed,
                "{message}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn twenty_thousand_rows_of_one_cause_are_one_line() {
        let mut rows = UnreadableRows::default();
        let ids: Vec<WebhookId> = (0..20_000)
            .map(|n| WebhookId::from_uuid(Uuid::from_u128(n)))
            .collect();
        for id in &ids {
            rows.note(
                "a row of this test cannot be read",
                *id,
                "key `a` is not configured",
            );
        }
        rows.note("a row of this test cannot be read", ids[7], "another cause");
        let lines: Vec<_> = rows
            .take_lines()
            .map(|((_, error), first, suppressed)| (error, first.webhook, suppressed))
            .collect();
        assert_eq!(
            lines,
            [
                ("another cause".to_owned(), Some(ids[7]), 0),
                ("key `a` is not configured".to_owned(), Some(ids[0]), 19_999),
            ]
        );
    }
}
