use std::collections::HashSet;

use super::*;
use crate::cli::demo::sites::QUIET_VISITORS;
use crate::ingest::formats::RecordReader;

const START_MS: i64 = 1_771_833_600_000;
const HOUR: i64 = 3_600_000;

#[test]
fn the_same_seed_gives_the_same_events_in_whatever_steps() {
    let whole = Traffic::new(7, START_MS, 60.0).advance(START_MS + HOUR);
    let mut stepped = Vec::new();
    let mut traffic = Traffic::new(7, START_MS, 60.0);
    for minute in 1..=60 {
        stepped.extend(traffic.advance(START_MS + minute * 60_000));
    }
    assert_eq!(whole, stepped);
    assert_ne!(whole, Traffic::new(8, START_MS, 60.0).advance(START_MS + HOUR));
}

#[test]
fn every_event_is_one_that_bellwether_reads() {
    for event in Traffic::new(1, START_MS, 60.0).advance(START_MS + HOUR) {
        let reader = RecordReader::default();
        let read = reader.read(event.json.as_bytes(), &[]).expect("readable");
        assert_eq!(read.timestamp_ms, Some(event.at_ms));
        assert_eq!(read.site_id, SITES[event.site].id);
    }
}

/// Current visitors of each site at the end of each of `seconds` real seconds.
fn visitors(speed: f64, seconds: i64) -> Vec<[usize; SITES.len()]> {
    let mut traffic = Traffic::new(1, START_MS, speed);
    let mut events = Vec::new();
    let mut counts = Vec::new();
    for second in 1..=seconds {
        let now_ms = START_MS + (second as f64 * 1_000.0 * speed) as i64;
        events.extend(traffic.advance(now_ms));
        events.retain(|event: &Published| event.at_ms > now_ms - 300_000);
        let mut distinct = [(); SITES.len()].map(|()| HashSet::new());
        for event in &events {
            distinct[event.site].insert(event.visitor);
        }
        counts.push(distinct.map(|visitors| visitors.len()));
    }
    counts
}

#[test]
fn a_minute_has_spikes_and_a_success_of_every_site() {
    for speed in [1.0, 10.0, 60.0, 240.0] {
        let counts = visitors(speed, 60);
        let spikes = SITES.iter().enumerate().filter(|(place, site)| {
            counts
                .iter()
                .any(|count| count[*place] >= site.threshold as usize)
        });
        assert!(spikes.count() >= 2, "at {speed}");
        let events = Traffic::new(1, START_MS, speed).advance(START_MS + (60_000.0 * speed) as i64);
        assert!(
            events.len() < 60 * 2_000,
            "{} events in a minute at {speed}",
            events.len()
        );
        if speed >= 10.0 {
            for (words, site) in [("\"Order\"", 0), ("\"Subscribed\"", 1), ("/install/done", 2)] {
                let has = events
                    .iter()
                    .any(|event| event.site == site && event.json.contains(words));
                assert!(has, "{words} at {speed}");
            }
        }
    }
}

#[test]
fn between_surges_no_site_is_near_its_threshold() {
    // 20 s is enough for the first surge to have gone.
    let counts = visitors(60.0, 36);
    for second in counts.iter().skip(30) {
        for (site, count) in SITES.iter().zip(second) {
            assert!(*count * 10 < site.threshold as usize * 8, "{}: {count}", site.id);
        }
    }
}

#[test]
fn the_first_minute_has_a_drop_that_ends() {
    let quiet = QUIET_VISITORS as usize;
    for speed in [20.0, 60.0, 240.0] {
        let shop: Vec<usize> = visitors(speed, 75).iter().map(|counts| counts[0]).collect();
        let before = shop[15..20].iter().min().expect("some");
        assert!(*before >= quiet + 3, "at {speed}: {shop:?}");
        let drop = shop.iter().skip(20).position(|count| *count < quiet);
        let drop = 20 + drop.unwrap_or_else(|| panic!("no drop at {speed}: {shop:?}"));
        assert!(drop < 45, "at {speed}: {drop}");
        assert!(
            shop[drop..].iter().any(|count| *count >= quiet + 3),
            "at {speed}: {shop:?}"
        );
    }
}
