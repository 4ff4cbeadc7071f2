use proptest::prelude::*;

use super::*;

prop_compose! {
    fn an_hour()(
        minutes in proptest::collection::vec(proptest::option::of(any::<u32>()), MINUTES),
        events in 0_u64..1_000,
        goals in proptest::collection::btree_map("[a-c]", 1_u64..9, 0..3),
        peak_z in proptest::option::of(0_f32..9.0),
    ) -> SiteHour {
        let mut hour = SiteHour { events, peak_z, ..SiteHour::default() };
        for (minute, visitors) in minutes.into_iter().enumerate() {
            if let Some(visitors) = visitors {
                hour.set(minute, visitors);
            }
        }
        hour.goals = goals.into_iter().map(|(name, count)| (name.into(), count)).collect();
        hour
    }
}

fn merged(one: &SiteHour, other: &SiteHour) -> SiteHour {
    let mut merged = one.clone();
    merged.merge(other);
    merged
}

proptest! {
    #[test]
    fn minutes_are_read_as_they_were_packed(hour in an_hour()) {
        let read = SiteHour::unpack(&hour.pack(), hour.covered()).expect("what was packed");
        for minute in 0..MINUTES {
            prop_assert_eq!(read.minute(minute), hour.minute(minute));
        }
    }

    #[test]
    fn no_bytes_make_unpacking_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SiteHour::unpack(&bytes, u64::MAX >> 4);
    }

    #[test]
    fn owners_merge_in_any_order_and_any_number_of_times(a in an_hour(), b in an_hour(), c in an_hour()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        for minute in 0..MINUTES {
            prop_assert_eq!(merged(&a, &b).minute(minute), a.minute(minute).max(b.minute(minute)));
        }
    }

    #[test]
    fn the_median_is_that_of_the_sorted_minutes(hour in an_hour()) {
        let mut counted: Vec<u32> = (0..MINUTES).filter_map(|minute| hour.minute(minute)).collect();
        counted.sort_unstable();
        let wanted = match counted.len() {
            0 => None,
            len if len % 2 == 1 => Some(counted[len / 2] as f32),
            len => Some(((f64::from(counted[len / 2 - 1]) + f64::from(counted[len / 2])) / 2.0) as f32),
        };
        prop_assert_eq!(hour.median(), wanted);
    }
}

#[test]
fn an_hour_of_44_minutes_is_not_learned_and_one_of_45_is() {
    let mut hour = SiteHour::default();
    for minute in 0..44 {
        hour.set(minute, 0);
    }
    assert!(!hour.is_learned());
    hour.set(59, 0);
    assert!(hour.is_learned());
}

#[test]
fn a_new_goal_beyond_the_bound_is_not_counted() {
    let mut hour = SiteHour::default();
    for number in 0..MAX_GOALS {
        assert!(hour.add_goal(&format!("goal {number}")));
    }
    assert!(!hour.add_goal("one more"));
    assert!(hour.add_goal("goal 7"));
    assert_eq!((hour.goals.len(), hour.goals["goal 7"]), (MAX_GOALS, 2));
}

#[test]
fn counts_of_an_earlier_owner_are_added() {
    let mut hour = SiteHour {
        events: 3,
        ..SiteHour::default()
    };
    hour.add_goal("Signup");
    let earlier = HourSummary {
        events: 4,
        goals: BTreeMap::from([("Signup".into(), 1), ("Order".into(), 1)]),
        ..HourSummary::default()
    };
    hour.add_counts(&earlier);
    assert_eq!(
        (hour.events, hour.goals["Signup"], hour.goals["Order"]),
        (7, 2, 1)
    );
}

#[test]
fn a_name_that_postgres_cannot_store_is_not_counted() {
    assert!(!SiteHour::default().add_goal("a\0b"));
}
