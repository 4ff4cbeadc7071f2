use super::*;
use crate::config::Config;
use crate::kafka::topics::plan;

#[test]
fn each_role_uses_its_own_topics() {
    let plan = plan(&Config::default(), &["1s".into()]);
    let used = |role| {
        let topics = Roles::new(&[role]).topics_of(plan.clone());
        topics.into_iter().map(|topic| topic.name).collect::<Vec<_>>()
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
fn roles_need_the_rights_of_each_on_a_topic() {
    let plan = plan(&Config::default(), &["1s".into()]);
    let needed = |roles: &[ProcessRole], name: &str| {
        let topics = Roles::new(roles).topics_of(plan.clone());
        let topic = topics.into_iter().find(|topic| topic.name == name);
        topic.map(|topic| topic.needed).unwrap_or_default()
    };
    let (detect, deliver) = (ProcessRole::Detect, ProcessRole::Deliver);
    let (read, write) = (AclOperation::Read, AclOperation::Write);
    for (roles, topic, operations) in [
        (vec![detect], "analytics.events", vec![read]),
        (vec![detect], "bellwether.deliveries", vec![write]),
        (vec![deliver], "bellwether.deliveries", vec![read]),
        (vec![detect, deliver], "bellwether.deliveries", vec![read, write]),
        (vec![deliver], "bellwether.retry.1s", vec![read, write]),
        (vec![detect], "bellwether.retry.1s", vec![]),
    ] {
        assert_eq!(needed(&roles, topic), operations, "{roles:?} {topic}");
    }
}

#[test]
fn detectors_ask_for_the_ends_of_what_is_routed() {
    let mut config = Config::default();
    for source in &mut config.sources.0 {
        source.keyed = Some(false);
    }
    let plan = plan(&config, &["1s".into()]);
    let topics = Roles::new(&[ProcessRole::Detect]).topics_of(plan);
    let source = topics.iter().find(|topic| topic.is_source);
    assert_eq!(
        source.map(|source| source.needed.as_slice()),
        Some([AclOperation::Describe].as_slice())
    );
}

#[test]
fn no_role_named_means_all_of_them() {
    assert_eq!(Roles::new(&[]).to_string(), "route,detect,deliver,api");
    assert_eq!(
        Roles::new(&[ProcessRole::Api, ProcessRole::Detect, ProcessRole::Api]).to_string(),
        "detect,api"
    );
}
