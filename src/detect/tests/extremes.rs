//! Extremes of times and settings: nothing overflows, and nothing goes on for ever.

use proptest::prelude::*;
use proptest::sample::select;

use super::fixtures::*;
use crate::domain::event::{Event, EventKind, SourceClock};
use crate::domain::registry::Site;
use crate::domain::time::LAST_MS;
use crate::domain::trigger::{
    DropSettings, EpisodeTrigger, ErrorSettings, ErrorTrigger, NoticeOptions, NoticePace, Triggers,
};

const CLOCKS: [SourceClock; 2] = [SourceClock::Live, SourceClock::Log];
/// Times of events and records, in milliseconds since the Unix epoch.
const TIMES: [i64; 10] = [
    0,
    1,
    999,
    1_000,
    60_000,
    RECORD_MS,
    RECORD_MS + 1,
    4_294_867_295_000,
    4_294_967_296_000,
    LAST_MS,
];
const WINDOWS: [u32; 4] = [60, 300, 3_600, 3_599];
const DROP_WINDOWS: [u32; 4] = [300, 3_600, 3_601, 86_400];

fn errors(count: u32, window_seconds: u32, options: NoticeOptions) -> ErrorTrigger {
    ErrorTrigger {
        conditions: vec![
            ErrorSettings::ErrorEvents {
                count,
                event: None,
                window_seconds,
            },
            ErrorSettings::RejectedEvents {
                count,
                window_seconds,
            },
            ErrorSettings::Silence { goal: None },
        ],
        options,
    }
}

fn sites() -> impl Strategy<Value = Site> {
    let thresholds = select(vec![1, 2, 1_000_000_000]);
    let drops = (
        select(vec![1, 2, 4_000]),
        select(DROP_WINDOWS.to_vec()),
        any::<bool>(),
    );
    let options = (
        select(vec![None, Some(60), Some(30 * 86_400)]),
        select(vec![0, 1, 30 * 86_400]),
    );
    let paces = select(vec![
        NoticePace::Each,
        NoticePace::AtLeast {
            at_least: 1,
            within_seconds: 1,
        },
        NoticePace::AtLeast {
            at_least: 10_000,
            within_seconds: 3_600,
        },
        NoticePace::Every(1),
        NoticePace::Every(1_000_000_000),
    ]);
    let windows = select(WINDOWS.to_vec());
    (thresholds, windows, drops, options, paces).prop_map(|(threshold, window, drop, options, pace)| {
        let options = NoticeOptions {
            repeat_after_seconds: options.0,
            min_interval_seconds: options.1,
            notify_resolved: true,
        };
        let condition = DropSettings {
            threshold: drop.0,
            window_seconds: drop.1,
            require_history: drop.2,
        };
        let triggers = Triggers {
            visitor_spike: Some(EpisodeTrigger {
                condition: spike_settings(threshold, window),
                options,
            }),
            visitor_drop: Some(EpisodeTrigger { condition, options }),
            error_condition: Some(errors(threshold.min(1_000_000), window, options)),
            ..paced(pace)
        };
        site("a", [triggers])
    })
}

/// The kind, visitor, own time and record time of an event.
type Fact = (EventKind, u8, Option<i64>, i64, bool);

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let fact = (
        select(EventKind::ALL.to_vec()),
        0_u8..3,
        proptest::option::of(select(TIMES.to_vec())),
        select(TIMES.to_vec()),
        any::<bool>(),
    );
    proptest::collection::vec(fact, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn extreme_times_and_settings_overflow_nothing(
        clock in select(CLOCKS.to_vec()),
        site in sites(),
        facts in facts(),
    ) {
        let mut fed = Fed::new(clock, [site.clone()]);
        for (kind, visitor, own_ms, record_ms, is_ticking) in facts {
            let visitor = visitor.to_string();
            let event = Event {
                name: Some("n".into()),
                visitor_id: Some(visitor.as_str().into()),
                event_id: Some(visitor.as_str().into()),
                path: Some("/".into()),
                timestamp_ms: own_ms,
                ..Event::new("a", kind)
            };
            fed.record_ms = record_ms;
            fed.feed(&event);
            if is_ticking {
                fed.tick(record_ms);
            }
        }
        fed.tick(LAST_MS);
        let mut again = Fed::new(clock, [site]);
        again.load(&fed.states());
        again.tick(LAST_MS);
        again.engine.hand_over(true);
    }
}

#[test]
fn a_gap_of_weeks_gives_some_reminders_and_not_one_a_minute() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(60),
        ..NoticeOptions::default()
    };
    for clock in CLOCKS {
        let mut fed = Fed::new(clock, [site("a", [drop_with(1, 300, options)])]);
        let visit = |fed: &mut Fed, second: i64| {
            (fed.record_ms, fed.now_ms) = (second * 1_000, second * 1_000);
            fed.feed(&view("a", "1", second)).len()
        };
        let first = RECORD_MS / 1_000;
        visit(&mut fed, first);
        visit(&mut fed, first + 301);
        // The drop comes after another 301 s, and lasts.
        fed.tick((first + 700) * 1_000);
        let reminded = visit(&mut fed, first + 20 * 86_400);
        assert!(reminded < 150, "{clock}: {reminded}");
        let passed_over = fed.engine.take_withheld().len();
        assert!(passed_over > 20_000, "{clock}: {passed_over} are counted");
    }
}
