//! Triggers of goals that were given another name: what they counted, and their episodes, go on.

use super::SiteTriggers;
use super::trigger::Trigger;
use crate::detect::site::condition::Condition;
use crate::detect::site::rules::Rule;
use crate::detect::window::segments::Segments;
use crate::domain::goal_renames::GoalRenames;
use crate::domain::trigger::ErrorSettings;

impl SiteTriggers {
    /// Gives goals their new names, at the site's second `now`. A trigger that had the new name
    /// before, by goals that a producer publishes, ends.
    pub(crate) fn rename_goals(&mut self, renames: &GoalRenames, now: u32, segments: &mut Segments) {
        for trigger in &mut self.list {
            trigger.rename_goal(renames);
        }
        for (_, mut trigger) in std::mem::take(&mut self.named) {
            trigger.rename_goal(renames);
            if let Some(displaced) = self.named.insert(trigger.condition.clone(), trigger) {
                self.end(displaced, now, segments);
            }
        }
    }

    /// Names of the goals that triggers go by.
    pub(crate) fn goal_names(&self) -> impl Iterator<Item = &str> {
        self.all().filter_map(|trigger| match &trigger.condition {
            Condition::GoalCompletion(settings) => Some(settings.name.as_str()),
            Condition::Errors(ErrorSettings::Silence { goal }) => goal.as_deref(),
            _ => None,
        })
    }
}

impl Trigger {
    fn rename_goal(&mut self, renames: &GoalRenames) {
        match (&mut self.condition, &mut self.rule) {
            (Condition::GoalCompletion(settings), _) => {
                renames.apply(&mut settings.name);
            }
            (Condition::Errors(ErrorSettings::Silence { goal: Some(goal) }), Rule::Silence(rule)) => {
                renames.apply(goal);
                rule.goal = Some(goal.clone());
            }
            _ => {}
        }
    }
}
