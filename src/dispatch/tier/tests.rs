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
        (-5, Some("1s")),
        (0, Some("1s")),
        (1_000, Some("1s")),
        (1_100, Some("1s")),
        (1_101, Some("2s")),
        (2_200, Some("2s")),
        (4_000, Some("4s")),
        (4_401, Some("1m")),
        (66_000, Some("1m")),
        (66_001, None),
        (86_400_000, None),
        (i64::MAX, None),
    ] {
        assert_eq!(tiers.fitting(remaining_ms), name.map(tier), "{remaining_ms}");
    }
    assert_eq!(Tiers::default().fitting(1), None);
    assert_eq!(tiers.longest(), Some(tier("1m")));
}

#[test]
fn only_an_absurd_due_time_is_clamped() {
    let day = 86_400_000;
    for (due, published, now, at, clamped) in [
        (1_000, 0, 0, 1_000, false),
        (day, 0, 0, day, false),
        (2 * day, 0, 0, day * 6 / 5, true),
        (i64::MAX, 0, 100, day * 6 / 5, true),
        (i64::MIN, 0, 0, i64::MIN, false),
        // A producer whose clock runs ahead.
        (2 * day, day, 0, day * 6 / 5, true),
    ] {
        let expected = DueTime { at_ms: at, clamped };
        assert_eq!(due_time(due, published, now), expected, "{due}");
    }
}

proptest! {
    #[test]
    fn what_is_published_to_its_tier_may_be_held_there(delays in proptest::collection::vec(1_u64..86_400_000, 1..8), remaining_ms in 0_i64..=86_400_000, lag_ms in 0_i64..100_000) {
        let tiers: Tiers = delays.into_iter().map(|delay_ms| Tier { delay_ms }).collect();
        let due = due_time(remaining_ms, 0, lag_ms);
        prop_assert_eq!(due, DueTime { at_ms: remaining_ms, clamped: false });
        match tiers.fitting(remaining_ms) {
            Some(tier) => {
                prop_assert!(tier.may_hold(remaining_ms) && tier.delay_ms * 11 / 10 >= remaining_ms as u64);
            }
            None => prop_assert!(tiers.iter().all(|tier| tier.delay_ms * 11 / 10 < remaining_ms as u64)),
        }
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
