use super::*;
use crate::config::Config;
use crate::kafka::topics::plan;

#[test]
fn each_role_uses_its_own_topics() {
    let plan = plan(&Config::default(), &["1s".into()]);
    let used = |role| {
        let roles = Roles::new(&[role]);
        let topics = plan.iter().filter(|topic| roles.use_topic(topic));
        topics.map(|topic| topic.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        used(ProcessRole::Detect),
        [
            "analytics.events",
            "bellwether.deliveries",
            "bellwether.rejected",
            "bellwether.detector-state"
        ]
    );
    assert_eq!(
        used(ProcessRole::Deliver),
        [
            "bellwether.deliveries",
            "bellwether.retry.1s",
            "bellwether.dead-letter"
        ]
    );
    assert_eq!(used(ProcessRole::Api), [""; 0]);
}

#[test]
fn no_role_named_means_all_of_them() {
    assert_eq!(Roles::new(&[]).to_string(), "route,detect,deliver,api");
    assert_eq!(
        Roles::new(&[ProcessRole::Api, ProcessRole::Detect, ProcessRole::Api]).to_string(),
        "detect,api"
    );
}
