use std::time::Duration;

use super::*;

fn schedule(delays: &[&str]) -> RetrySchedule {
    RetrySchedule::parse(delays).expect("a schedule")
}

#[test]
fn the_default_schedule_makes_four_attempts() {
    let default = RetrySchedule::default();
    assert_eq!(default, schedule(&["1s", "2s", "4s"]));
    assert_eq!(default.tiers().count() + 1, 4);
    let seconds = |tier: Option<Tier>| tier.map(|tier| tier.delay().as_secs());
    let next: Vec<_> = (0..5).map(|step| seconds(default.delay_at(step))).collect();
    assert_eq!(next, [Some(1), Some(2), Some(4), None, None]);
    let current: Vec<_> = (0..6).map(|step| seconds(default.current_delay(step))).collect();
    assert_eq!(current, [Some(1), Some(1), Some(2), Some(4), Some(4), Some(4)]);
    assert_eq!(schedule(&[]).current_delay(7), None);
}

#[test]
fn bad_delays_are_refused_by_name() {
    use InvalidDelay::*;
    for (text, error) in [
        ("soon", NotADelay("soon".to_owned())),
        ("", NotADelay(String::new())),
        ("1", NotADelay("1".to_owned())),
        ("-1s", NotADelay("-1s".to_owned())),
        ("0s", NotWholeMillis(Duration::ZERO)),
        ("1500us", NotWholeMillis(Duration::from_micros(1_500))),
        ("25h", TooLong(Duration::from_secs(90_000))),
    ] {
        let expected = Err(InvalidSchedule::Delay(error));
        assert_eq!(RetrySchedule::parse(&["1s", text]), expected, "{text}");
    }
    assert_eq!(
        RetrySchedule::parse(&["1s"; 33]),
        Err(InvalidSchedule::TooMany(33))
    );
    assert_eq!(
        TooLong(Duration::from_secs(90_000)).to_string(),
        "1day 1h is longer than 1day"
    );
}
