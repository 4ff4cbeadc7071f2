//! Goals that were given another name. Triggers, counters and rates go by names, since a producer
//! may publish goals as well: they follow the goals that the site has configured.

use std::collections::BTreeMap;

use super::id::GoalId;
use super::registry::Site;

/// New names of goals, by the names before.
#[derive(Debug, Default)]
pub(crate) struct GoalRenames(BTreeMap<String, String>);

impl GoalRenames {
    /// The renames that lead to a site's configuration, from goals by their names before.
    pub(crate) fn between<'a>(before: impl IntoIterator<Item = (&'a str, GoalId)>, site: &Site) -> Self {
        let after: BTreeMap<GoalId, &str> = site
            .goals
            .iter()
            .map(|goal| (goal.id, goal.name.as_str()))
            .collect();
        let renamed = before.into_iter().filter_map(|(name, id)| {
            let after = *after.get(&id)?;
            (name != after).then(|| (name.to_owned(), after.to_owned()))
        });
        Self(renamed.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a goal from now on.
    pub(crate) fn after<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// Gives counts by name their new names. Counts that come to have one name are added.
    pub(crate) fn apply_to_counts(&self, counts: &mut BTreeMap<Box<str>, u64>) {
        for (name, count) in std::mem::take(counts) {
            let sum = counts.entry(self.after(&name).into()).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Replaces a name; false if it stays.
    pub(crate) fn apply(&self, name: &mut String) -> bool {
        let after = self.0.get(name);
        after.inspect(|after| name.clone_from(after)).is_some()
    }
}
