//! The work of a process: any subset of the roles.

use std::fmt;

use crate::kafka::rights::AclOperation;
use crate::kafka::topics::{TopicPlan, TopicUser};
use crate::telemetry::words::ProcessRole;

/// The roles of a process, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(Vec<ProcessRole>);

impl Roles {
    /// These roles, each once; all of them when none is named.
    pub(crate) fn new(named: &[ProcessRole]) -> Self {
        let mut roles = if named.is_empty() {
            ProcessRole::ALL.to_vec()
        } else {
            named.to_vec()
        };
        roles.sort_unstable();
        roles.dedup();
        Self(roles)
    }

    /// True if the process has this role.
    pub(crate) fn has(&self, role: ProcessRole) -> bool {
        self.0.contains(&role)
    }

    /// True if it works on Kafka's records.
    pub(crate) fn reads_kafka(&self) -> bool {
        [ProcessRole::Route, ProcessRole::Detect, ProcessRole::Deliver]
            .into_iter()
            .any(|role| self.has(role))
    }

    /// The topics of a plan that these roles use, each with the rights that they need.
    pub(crate) fn topics_of(&self, mut plan: Vec<TopicPlan>) -> Vec<TopicPlan> {
        for topic in &mut plan {
            topic.needed = self.operations_on(topic);
        }
        plan.retain(|topic| !topic.needed.is_empty());
        plan
    }

    fn operations_on(&self, topic: &TopicPlan) -> Vec<AclOperation> {
        let is_ours = |user: &TopicUser| match user {
            TopicUser::Route => self.has(ProcessRole::Route),
            TopicUser::Detect => self.has(ProcessRole::Detect),
            TopicUser::Deliver => self.has(ProcessRole::Deliver),
        };
        let uses = topic.users.iter().filter(|(user, _)| is_ours(user));
        let mut operations: Vec<AclOperation> = uses.flat_map(|(_, needed)| *needed).copied().collect();
        operations.sort_unstable();
        operations.dedup();
        operations
    }

    /// Names of the roles.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|role| role.as_str())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
