use super::*;

#[test]
fn the_plan_has_every_topic_of_the_design_with_equal_partitions() {
    let plan = plan(&Config::default(), &["1s".into(), "2s".into(), "4s".into()]);
    let names: Vec<&str> = plan.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "analytics.events",
            "bellwether.deliveries",
            "bellwether.retry.1s",
            "bellwether.retry.2s",
            "bellwether.retry.4s",
            "bellwether.dead-letter",
            "bellwether.rejected",
            "bellwether.detector-state",
        ]
    );
    assert!(plan.iter().all(|topic| topic.partitions == 48));
    let in_sync = Setting::new("min.insync.replicas", Bound::AtLeast, 2);
    assert!(plan.iter().all(|topic| topic.settings.contains(&in_sync)));
    let any_size = Setting::new("retention.bytes", Bound::Exactly, -1);
    let kept = plan.iter().filter(|topic| topic.settings.contains(&any_size));
    let kept: Vec<&str> = kept.map(|topic| topic.name.as_str()).collect();
    assert_eq!(kept, names[1..5], "what we have yet to read");
}

#[test]
fn only_values_within_the_bound_of_a_setting_are_taken() {
    for (bound, wanted, good, bad) in [
        (
            Bound::Exactly,
            "delete",
            vec!["delete"],
            vec!["compact", "compact,delete", ""],
        ),
        (
            Bound::AtLeast,
            "604800000",
            vec!["604800000", "-1", "9223372036854775807"],
            vec!["604799999", "0"],
        ),
        (
            Bound::AtMost,
            "0.1",
            vec!["0.1", "0.05", "0"],
            vec!["0.5", "0.11"],
        ),
        (
            Bound::AtMost,
            "33554432",
            vec!["33554432", "1048576"],
            vec!["1073741824"],
        ),
    ] {
        let setting = Setting::new("x", bound, wanted);
        for found in good {
            assert_eq!(setting.judge(found), None, "{found}");
        }
        for found in bad {
            let said = setting.judge(found).expect("wrong");
            assert!(said.contains(&format!("x is `{found}`")), "{said}");
            assert!(said.contains(&format!("`{wanted}`")), "{said}");
        }
    }
}
