//! The past of sites as engines gather it, and the comparison with it.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::fixtures::*;
use crate::detect::usual::baseline::Usual;
use crate::detect::usual::past::{HistoryAnswer, LearnedPast};
use crate::domain::activity::{HourSummary, SiteHour};
use crate::domain::event::{Event, EventType, SourceClock};
use crate::domain::site_now::TriggerPhase;

/// A full hour, in seconds since the Unix epoch.
const HOUR: i64 = 472_222 * 3_600;

/// The hours that engine hands over, merged as they are kept.
fn keep(fed: &mut Fed, is_last: bool, kept: &mut BTreeMap<(String, u32), SiteHour>) {
    for ((site, hour), row) in fed.engine.hand_over(is_last).hours {
        kept.entry((site.as_str().to_owned(), hour))
            .or_default()
            .merge(&row);
    }
}

/// Answers what the engine asks: nothing was learned before.
fn answer_nothing(fed: &mut Fed) {
    for (site, hour, _) in fed.engine.take_unknown_sites() {
        answer(fed, site.id.as_str(), hour, Usual::new(site.time_zone), None);
    }
}

fn answer(fed: &mut Fed, site: &str, hour: u32, usual: Usual, earlier: Option<HourSummary>) {
    fed.engine.adopt_history(HistoryAnswer {
        partition: 7,
        site: site.parse().expect("a site id"),
        past: LearnedPast {
            usual,
            hour,
            earlier,
            counted: Vec::new(),
        },
    });
}

#[test]
fn a_minute_has_the_visitors_at_its_last_second() {
    let mut fed = Fed::log([site("a", [spike(9, 300)])]);
    let mut kept = BTreeMap::new();
    // Two at the start, one in the last second of the first minute, one in the next minute.
    for (visitor, second) in [("1", 0), ("2", 5), ("3", 59), ("4", 60), ("5", 400)] {
        fed.feed(&view("a", visitor, HOUR + second));
    }
    answer_nothing(&mut fed);
    keep(&mut fed, false, &mut kept);
    let hour = &kept[&("a".to_owned(), 472_222)];
    let minutes: Vec<_> = (0..8).map(|minute| hour.minute(minute)).collect();
    // At 5:59 those of the first minute are gone, and the one of second 60 is at its edge.
    assert_eq!(
        minutes,
        [Some(3), Some(4), Some(4), Some(4), Some(4), Some(2), None, None]
    );
    assert_eq!(hour.events, 4, "the last minute has not ended");
}

#[test]
fn a_silent_hour_of_a_live_site_is_covered_with_nobody() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(9, 300)])]);
    fed.feed(&view("a", "1", RECORD_MS / 1_000));
    answer_nothing(&mut fed);
    for minutes in 1..180 {
        fed.engine.tick(RECORD_MS + minutes * 60_000, true);
    }
    let mut kept = BTreeMap::new();
    keep(&mut fed, false, &mut kept);
    let full: Vec<_> = kept.values().filter(|hour| hour.is_learned()).collect();
    assert!(!full.is_empty());
    let last = full.last().expect("one");
    assert_eq!((last.median(), last.events), (Some(0.0), 0));
}

#[test]
fn minutes_in_which_windows_are_rebuilt_are_not_covered() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(9, 300)])]);
    fed.feed(&view("a", "1", RECORD_MS / 1_000));
    // It is not caught up: nobody knows what else happened.
    for minutes in 1..30 {
        fed.engine.tick(RECORD_MS + minutes * 60_000, false);
    }
    let mut kept = BTreeMap::new();
    keep(&mut fed, true, &mut kept);
    assert!(kept.values().all(|hour| hour.covered() == 0), "{kept:?}");
}

#[test]
fn only_registered_sites_have_a_past() {
    let mut fed = Fed::log([site("a", [])]);
    for second in 0..200 {
        fed.feed(&view("nobody", "1", HOUR + second));
    }
    assert!(fed.engine.hand_over(true).hours.is_empty());
    assert!(fed.engine.take_unknown_sites().is_empty());
}

#[test]
fn the_ticks_of_the_wall_clock_change_no_sample_of_a_log() {
    let run = |ticks: &[usize]| {
        let mut fed = Fed::log([site("a", [spike(5, 300)]), site("b", [])]);
        let mut kept = BTreeMap::new();
        for n in 0..2_000_usize {
            let (id, visitor) = (["a", "b"][n * 7 % 11 % 2], (n * 13 % 17).to_string());
            fed.feed(&view(id, &visitor, HOUR + (n * 11 % 29) as i64 + n as i64 * 9));
            if ticks.iter().any(|every| n % every == 0) {
                fed.engine.tick(RECORD_MS, false);
                answer_nothing(&mut fed);
                keep(&mut fed, false, &mut kept);
            }
        }
        fed.engine.tick(RECORD_MS, false);
        keep(&mut fed, true, &mut kept);
        kept.values_mut().for_each(|hour| hour.events = 0);
        kept
    };
    let few = run(&[]);
    assert!(few.len() > 8 && few.values().any(SiteHour::is_learned));
    assert_eq!(few, run(&[1]));
    assert_eq!(few, run(&[37, 100]));
}

#[test]
fn what_an_earlier_owner_counted_in_the_hour_is_added() {
    let mut fed = Fed::log([site("a", [])]);
    fed.feed(&view("a", "1", HOUR + 1_800));
    fed.feed(&view("a", "1", HOUR + 1_900));
    assert!(
        fed.engine.hand_over(false).hours.is_empty(),
        "it waits for the answer"
    );
    let asked = fed.engine.take_unknown_sites();
    assert_eq!(
        asked.iter().map(|(_, hour, _)| *hour).collect::<Vec<_>>(),
        [472_222]
    );
    assert!(fed.engine.take_unknown_sites().is_empty(), "once is enough");
    let earlier = HourSummary {
        events: 40,
        ..HourSummary::default()
    };
    answer(&mut fed, "a", 472_222, Usual::new(Tz::UTC), Some(earlier));
    let hours = fed.engine.hand_over(false).hours;
    assert_eq!(
        hours[0].1.events, 41,
        "the event of the last minute is not in yet"
    );
}

/// A site on which 40 visitors are usual at the hour after [`HOUR`].
fn usual_40(weeks: u32) -> Usual {
    let mut usual = Usual::new(Tz::UTC);
    for week in (1..=weeks).rev() {
        usual.learn(472_222 - week * 168, 40.0);
    }
    usual
}

#[test]
fn a_spike_says_how_many_are_usual() {
    let mut fed = Fed::log([site("a", [spike(3, 60)])]);
    fed.feed(&view("a", "1", HOUR + 10));
    answer(&mut fed, "a", 472_222, usual_40(4), None);
    fed.feed(&view("a", "2", HOUR + 100));
    fed.feed(&view("a", "3", HOUR + 101));
    let decided = fed.feed(&view("a", "4", HOUR + 102));
    let body = String::from_utf8(decided[0].body.to_vec()).expect("text");
    // The trigger's window holds 3, that of current visitors 4.
    assert!(body.contains(r#""current_visitors":3,"#), "{body}");
    let baseline = r#""baseline":{"status":"ready","current":4,"expected":40.0,"change_percent":-90,"score":null,"samples":4}"#;
    assert!(body.contains(baseline), "{body}");
}

#[test]
fn a_drop_says_how_many_are_usual() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [drop(1, 300)])]);
    let at = |fed: &mut Fed, second: i64| {
        (fed.now_ms, fed.record_ms) = ((HOUR + second) * 1_000, (HOUR + second) * 1_000);
    };
    for second in [0, 200, 400] {
        at(&mut fed, second);
        assert_eq!(fed.feed(&view("a", "1", HOUR + second)), []);
    }
    answer(&mut fed, "a", 472_222, usual_40(4), None);
    let decided = fed.tick((HOUR + 400 + 301 + 10) * 1_000);
    let told: Vec<_> = decided.iter().map(|one| one.event).collect();
    assert_eq!(told, [EventType::VisitorDrop]);
    let body = String::from_utf8(decided[0].body.to_vec()).expect("text");
    let baseline = r#""baseline":{"status":"ready","current":0,"expected":40.0,"change_percent":-100,"score":null,"samples":4}"#;
    assert!(body.contains(baseline), "{body}");
}

#[test]
fn without_anything_learned_the_baseline_is_null() {
    let mut fed = Fed::log([site("a", [spike(1, 300)])]);
    let decided = fed.feed(&view("a", "1", HOUR));
    assert_eq!(json(&decided[0])["data"]["baseline"], serde_json::Value::Null);
}

#[test]
fn what_this_engine_saw_is_known_before_the_answer_comes() {
    let mut fed = Fed::log([site("a", [spike(50, 300)])]);
    // Ten visitors every minute of the same hour, four weeks long.
    for week in 0..4 {
        for minute in 0..70 {
            for visitor in 0..10_i64 {
                let name = visitor.to_string();
                let at = HOUR + week * 604_800 + minute * 60 + visitor;
                assert!(fed.feed(&view("a", &name, at)).is_empty());
            }
        }
    }
    let mut decided = Vec::new();
    for visitor in 0..50_i64 {
        let name = format!("late {visitor}");
        decided.extend(fed.feed(&view("a", &name, HOUR + 4 * 604_800 + 1_000 + visitor)));
    }
    let baseline = &json(&decided[0])["data"]["baseline"];
    assert_eq!(
        (&baseline["status"], &baseline["expected"]),
        (&"ready".into(), &10.0.into())
    );
    assert_eq!(baseline["samples"], 4);
}

#[test]
fn the_present_is_handed_over_when_it_changes() {
    let mut fed = Fed::log([site("a", [spike(2, 300)])]);
    let mut presents = Vec::new();
    let mut look = |fed: &mut Fed| {
        presents.clear();
        for _ in 0..10 {
            presents.extend(fed.engine.hand_over(false).presents);
        }
        std::mem::take(&mut presents)
    };
    fed.feed(&view("a", "1", HOUR));
    let shown = look(&mut fed);
    assert_eq!((shown.len(), shown[0].current_visitors), (1, 1));
    assert_eq!(shown[0].triggers[0].state, TriggerPhase::Armed);
    assert!(look(&mut fed).is_empty());
    fed.feed(&view("a", "2", HOUR + 1));
    let shown = look(&mut fed);
    assert_eq!((shown.len(), shown[0].current_visitors), (1, 2));
    assert_eq!(shown[0].triggers[0].state, TriggerPhase::Firing);
    assert_eq!(shown[0].as_of.timestamp(), HOUR + 1);
}

#[test]
fn a_present_that_stays_the_same_is_confirmed_now_and_then() {
    let mut fed = Fed::new(SourceClock::Live, [site("a", [spike(9, 300)])]);
    fed.feed(&view("a", "1", RECORD_MS / 1_000));
    let mut shown = Vec::new();
    for second in 1..3_600 {
        fed.engine.tick(RECORD_MS + second * 1_000, true);
        let presents = fed.engine.hand_over(false).presents.into_iter();
        shown.extend(presents.map(|present| present.as_of.timestamp() - RECORD_MS / 1_000));
    }
    let gaps: Vec<i64> = shown.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Nobody comes or goes, but for the one visitor who leaves.
    assert!((10..=14).contains(&shown.len()), "{shown:?}");
    assert!(gaps.iter().all(|gap| *gap <= 370), "{gaps:?}");
}

/// A pageview of a page by a visitor of its own.
fn page<'a>(visitor: &'a str, path: &'a str, second: i64) -> Event<'a> {
    Event {
        path: Some(path.into()),
        ..view("a", visitor, second)
    }
}

#[test]
fn a_late_page_is_named_after_4096_others_were_seen() {
    let mut fed = Fed::log([site("a", [spike(5_000, 300)])]);
    let threshold = |fed: &mut Fed, threshold: u32| {
        let spiking = site("a", [spike(threshold, 300)]);
        fed.configure([changed(&spiking, |site| site.version = u64::from(threshold))]);
    };
    // The site never falls silent: one visitor stays.
    for n in 0..4_200_i64 {
        let (visitor, path) = (format!("v{n}"), format!("/page/{n}"));
        fed.feed(&page(&visitor, &path, HOUR + n / 100));
    }
    fed.feed(&page("stays", "/", HOUR + 200));
    // All but that one have left: their labels are given back to the first new page.
    threshold(&mut fed, 60);
    let mut decided = Vec::new();
    for n in 0..60_i64 {
        decided.extend(fed.feed(&page(&format!("late {n}"), "/popular", HOUR + 400)));
    }
    let pages = &json(&decided[0])["data"]["top_pages"];
    assert_eq!(pages, &serde_json::json!([{"path": "/popular", "visitors": 59}]));
}

#[test]
fn a_late_page_is_named_while_most_labels_are_in_use() {
    let mut fed = Fed::log([site("a", [spike(4_600, 300)])]);
    for n in 0..4_200_i64 {
        let (visitor, path) = (format!("v{n}"), format!("/page/{n}"));
        // Two hundred of them come early, and leave before the others.
        let second = if n < 200 { 0 } else { 200 };
        fed.feed(&page(&visitor, &path, HOUR + second));
    }
    let mut decided = Vec::new();
    for n in 0..700_i64 {
        decided.extend(fed.feed(&page(&format!("late {n}"), "/popular", HOUR + 310)));
    }
    let pages = &json(&decided[0])["data"]["top_pages"];
    assert_eq!(pages, &serde_json::json!([{"path": "/popular", "visitors": 600}]));
}

#[test]
fn a_late_page_is_named_where_each_has_a_page_of_its_own() {
    let mut fed = Fed::log([site("a", [spike(5_900, 300)])]);
    for n in 0..5_000_i64 {
        let (visitor, path) = (format!("v{n}"), format!("/page/{n}"));
        fed.feed(&page(&visitor, &path, HOUR + n / 100));
    }
    let mut decided = Vec::new();
    for n in 0..900_i64 {
        decided.extend(fed.feed(&page(&format!("late {n}"), "/popular", HOUR + 60)));
    }
    let pages = &json(&decided[0])["data"]["top_pages"];
    assert_eq!(pages, &serde_json::json!([{"path": "/popular", "visitors": 900}]));
    assert!(fed.engine.take_counters().evicted_pages >= 4_000);
}

#[test]
fn a_long_drop_names_what_the_visitors_of_now_are_on() {
    let mut fed = Fed::log([site("a", [drop(15, 7_200)])]);
    let mut decided = Vec::new();
    let mut visit = |visitor: &str, path: &str, second: i64| {
        let seen = Event {
            source: Some(format!("from {path}").into()),
            ..page(visitor, path, HOUR + second)
        };
        decided.extend(fed.feed(&seen));
    };
    for n in 0..4 {
        visit(&format!("first {n}"), "/b", 1);
    }
    for n in 0..10 {
        visit(&format!("then {n}"), "/landing", 200 + n);
    }
    // Labels of those who left are given to other names.
    for n in 0..170 {
        visit("stays", &format!("/x/{n}"), 215 + n * 40);
    }
    for n in 0..3 {
        visit(&format!("now {n}"), "/now", 7_030);
    }
    visit("stays", "/x", 7_210);
    let [fired] = &decided[..] else {
        panic!("{decided:?}");
    };
    let data = &json(fired)["data"];
    assert_eq!(data["current_visitors"], 14);
    assert_eq!(
        data["top_pages"],
        serde_json::json!([{"path": "/now", "visitors": 3}])
    );
    let sources = serde_json::json!([{"source": "from /now", "visitors": 3}]);
    assert_eq!(data["top_sources"], sources);
}
