use super::*;

/// A Monday, in whole hours.
const MONDAY: u32 = 4 * 24 + 10 * 168;

fn hour(at: u32, events: u64, signups: Option<u64>) -> (u32, HourSummary) {
    let goals = signups.map(|count| ("Signup".into(), count));
    let summary = HourSummary {
        events,
        goals: goals.into_iter().collect(),
        ..HourSummary::default()
    };
    (at, summary)
}

fn rates(hours: &[(u32, HourSummary)]) -> Rates {
    let mut rates = Rates::new(Tz::UTC);
    assert!(rates.watch([None, Some("Signup".into())]));
    rates.learn(hours.iter());
    rates
}

/// A rate as it is known four weeks later.
fn rate(rates: &Rates, goal: Option<&str>, hour: u32) -> Option<f64> {
    rate_before(rates, MONDAY + 4 * 168, goal, hour)
}

fn rate_before(rates: &Rates, began: u32, goal: Option<&str>, hour: u32) -> Option<f64> {
    let found = rates.in_hour_of(goal, began * 3_600 + 3_599, hour * 3_600 + 17)?;
    assert_eq!(found.until, (hour + 1) * 3_600);
    Some(found.events)
}

#[test]
fn a_rate_is_the_mean_of_three_such_hours_or_more() {
    // 9 o'clock on Monday, Tuesday and Wednesday, and on Saturday.
    let days = [(0, 10), (24, 20), (48, 60), (120, 1_000)];
    let hours: Vec<_> = days
        .map(|(day, events)| hour(MONDAY + day + 9, events, None))
        .to_vec();
    let known = rates(&hours);
    assert_eq!(rate(&known, None, MONDAY + 72 + 9), Some(30.0), "on Thursday");
    assert_eq!(rate(&known, None, MONDAY + 72 + 10), None, "another hour");
    assert_eq!(
        rate(&known, None, MONDAY + 144 + 9),
        None,
        "one Saturday is not enough"
    );
    assert_eq!(rate(&rates(&hours[..2]), None, MONDAY + 72 + 9), None);
}

#[test]
fn an_hour_with_uncounted_minutes_counts_as_a_whole_one() {
    let known = |minutes: u32| {
        let mut hours: Vec<_> = (0..3).map(|day| hour(MONDAY + day * 24, 45, Some(3))).collect();
        for (_, summary) in &mut hours {
            summary.covered = (1 << minutes) - 1;
        }
        let known = rates(&hours);
        [None, Some("Signup")].map(|goal| rate(&known, goal, MONDAY))
    };
    assert_eq!(known(60), [Some(45.0), Some(3.0)]);
    assert_eq!(known(45), [Some(60.0), Some(4.0)]);
}

#[test]
fn hours_before_a_goal_was_counted_say_nothing_of_it() {
    let mut hours: Vec<_> = (0..3).map(|day| hour(MONDAY + day * 24, 5, None)).collect();
    hours.extend((7..11).map(|day| hour(MONDAY + day * 24, 5, Some(u64::from(day % 2) * 4))));
    let known = rates(&hours);
    assert_eq!(rate(&known, Some("Signup"), MONDAY), Some(2.0));
    assert_eq!(rate(&known, None, MONDAY), Some(5.0));
}

#[test]
fn only_the_28_days_before_a_silence_count() {
    let hours: Vec<_> = (0..3).map(|week| hour(MONDAY + week * 336, 5, None)).collect();
    let known = rates(&hours);
    let before = |began: u32| rate_before(&known, began, None, MONDAY);
    assert_eq!(before(MONDAY + 672), None, "its own hour is not before it");
    assert_eq!(before(MONDAY + 673), Some(5.0));
    assert_eq!(before(MONDAY + 674), None);
}

#[test]
fn what_does_not_come_makes_no_rate_smaller() {
    let mut hours: Vec<_> = (0..3).map(|day| hour(MONDAY + day * 24, 6, Some(6))).collect();
    let mut known = rates(&hours);
    // From Thursday on nothing comes, for two weeks.
    let began = MONDAY + 72;
    let silent = (began..began + MAX_SILENT_HOURS).map(|at| hour(at, 0, None));
    hours.extend(silent);
    known.learn(hours.iter());
    for goal in [None, Some("Signup")] {
        assert_eq!(rate_before(&known, began, goal, MONDAY + 72), Some(6.0));
        assert_eq!(rate_before(&known, began, goal, MONDAY + 240), Some(6.0));
        assert_eq!(
            rate_before(&known, began, goal, MONDAY + 73),
            None,
            "another hour"
        );
    }
}

#[test]
fn the_28_days_before_a_silence_of_14_are_kept() {
    let now = MONDAY + 6 * 168;
    let began = now - MAX_SILENT_HOURS;
    // Four weeks of ever more events, then none.
    let of_hour = |at: u32| hour(at, u64::from(began.saturating_sub(at)), None);
    let all: Vec<_> = (began - KEPT_HOURS..now).map(of_hour).collect();
    let known = rates(&all);
    let rate = |rates: &Rates| rate_before(rates, began, None, now - 1);
    assert!(rate(&known).is_some());
    assert_eq!(rate(&known), rate(&rates(&all[..KEPT_HOURS as usize])));
}

#[test]
fn only_what_is_watched_is_kept() {
    let hours: Vec<_> = (0..3).map(|week| hour(MONDAY + week * 168, 5, Some(1))).collect();
    let mut known = rates(&hours);
    assert!(!known.watch([None]), "nothing new");
    assert_eq!(rate(&known, Some("Signup"), MONDAY), None);
    assert_eq!(rate(&known, None, MONDAY), Some(5.0), "kept");
    assert!(
        known.watch([None, Some("Signup".into())]),
        "hours before now are to be learned"
    );
    known.learn(hours.iter());
    assert_eq!(rate(&known, Some("Signup"), MONDAY), Some(1.0));
    known.watch([]);
    assert!(!known.are_asked_for());
}

#[test]
fn hours_are_those_of_the_sites_zone() {
    let hours: Vec<_> = (0..3).map(|week| hour(MONDAY + week * 168, 5, None)).collect();
    let mut known = rates(&hours);
    // Midnight of Monday in London is Sunday evening in New York.
    known.set_zone(Tz::America__New_York);
    assert_eq!(rate(&known, None, MONDAY + 24), None, "Monday evening there");
    assert_eq!(rate(&known, None, MONDAY + 168), Some(5.0));
}
