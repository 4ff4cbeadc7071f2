use proptest::prelude::*;

use super::*;

fn tier(text: &str) -> Tier {
    text.parse().expect("a tier")
}

fn tiers(delays: &[&str]) -> Tiers {
    delays.iter().map(|text| tier(text)).collect()
}

#[test]
fn tier_names_are_canonical_and_other_names_are_no_tiers() {
    for (text, name) in [
        ("1s", "1s"),
        ("1000ms", "1s"),
        ("60s", "1m"),
        ("5m", "5m"),
        ("90s", "1m30s"),
        ("1day", "24h"),
        ("1500ms", "1s500ms"),
        ("2h 30m", "2h30m"),
    ] {
        assert_eq!(tier(text).to_string(), name);
        let topic = format!("bellwether.retry.{name}");
        assert_eq!(Tier::of_topic(&topic, "bellwether.retry."), Some(tier(text)));
    }
    for topic in [
        "bellwether.retry.60s",
        "bellwether.retry.",
        "bellwether.retry.x",
        "bellwether.deliveries",
        "x.retry.1s",
    ] {
        assert_eq!(Tier::of_topic(topic, "bellwether.retry."), None, "{topic}");
    }
}

#[test]
fn third_failure_goes_to_the_four_second_tier() {
    let tiers = tiers(&["1s", "2s", "4s", "2s", "1m", "1m"]);
    assert_eq!(
        tiers.iter().map(|tier| tier.to_string()).collect::<Vec<_>>(),
        ["1s", "2s", "4s", "1m"]
    );
    for (remaining_ms, name) in [
        (-5, "1s"),
        (0, "1s"),
        (999, "1s"),
        (1_000, "1s"),
        (1_999, "1s"),
        (2_000, "2s"),
        (4_000, "4s"),
        (59_999, "4s"),
        (66_000, "1m"),
        (86_400_000, "1m"),
    ] {
        assert_eq!(
            tiers.for_remaining(remaining_ms),
            Some(tier(name)),
            "{remaining_ms}"
        );
    }
    assert_eq!(Tiers::default().for_remaining(1), None);
}

#[test]
fn a_due_time_past_the_reach_of_its_tier_is_clamped() {
    let tiers = tiers(&["1s", "2s", "4s"]);
    let day = 86_400_000;
    for (name, due, published, now, at, clamped) in [
        ("1s", 1_000, 0, 0, 1_000, false),
        ("1s", 2_400, 0, 0, 2_400, false),
        ("1s", 2_401, 0, 0, 2_400, true),
        ("2s", 4_800, 0, 100, 4_800, false),
        ("2s", i64::MAX, 0, 100, 4_800, true),
        ("4s", day, 0, 0, day, false),
        ("4s", 2 * day, 0, 0, day * 6 / 5, true),
        ("1s", i64::MIN, 0, 0, i64::MIN, false),
        // A tier that is no longer configured, and a producer whose clock runs ahead.
        ("1s500ms", 2_400, 0, 0, 2_400, false),
        ("1s", 10_000, 9_000, 0, 2_400, true),
    ] {
        let expected = DueTime { at_ms: at, clamped };
        assert_eq!(
            tiers.due_time(tier(name), due, published, now),
            expected,
            "{name} {due}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_published_to_its_tier_is_never_clamped(delays in proptest::collection::vec(1_u64..86_400_000, 1..8), remaining_ms in 0_i64..=86_400_000, lag_ms in 0_i64..100_000) {
        let tiers: Tiers = delays.into_iter().map(|delay_ms| Tier { delay_ms }).collect();
        let tier = tiers.for_remaining(remaining_ms).expect("a tier");
        let due = tiers.due_time(tier, remaining_ms, 0, lag_ms);
        prop_assert_eq!(due, DueTime { at_ms: remaining_ms, clamped: false });
    }

    #[test]
    fn every_tier_is_read_back_from_its_topic(ms in 1_u64..=86_400_000) {
        let tier = Tier::try_new(Duration::from_millis(ms)).expect("a tier");
        prop_assert_eq!(Tier::of_topic(&format!("p.retry.{tier}"), "p.retry."), Some(tier));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,20}") {
        let _ = text.parse::<Tier>();
    }
}
