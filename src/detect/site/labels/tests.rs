use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::detect::window::segments::Segments;
use crate::detect::window::{SlidingWindow, Visit};

fn budget(per_site: usize, bytes: usize) -> LabelBudget {
    LabelBudget {
        per_site,
        bytes,
        spent: 0,
        forgotten: 0,
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn label(labels: &mut SiteLabels, name: &str, visitors: u32, budget: &mut LabelBudget) -> Option<u16> {
    labels.label(hash(name), name, visitors, 1_000, budget)
}

#[test]
fn the_same_name_has_the_same_label() {
    let (mut labels, mut budget) = (SiteLabels::default(), budget(1_000, 1 << 20));
    let given: Vec<u16> = (0..500)
        .map(|n| label(&mut labels, &format!("/page/{n}"), 1_000, &mut budget).expect("room"))
        .collect();
    for (n, given) in given.into_iter().enumerate() {
        let name = format!("/page/{n}");
        assert_eq!(label(&mut labels, &name, 1_000, &mut budget), Some(given));
        assert_eq!(labels.name(given), Some(&*name));
    }
    assert_eq!(labels.len(), 500);
    labels.clear(&mut budget);
    assert_eq!(budget.spent, 0);
}

#[test]
fn without_room_a_name_is_other() {
    let (mut labels, mut budget) = (SiteLabels::default(), budget(2, 1 << 20));
    label(&mut labels, "a", 9, &mut budget);
    label(&mut labels, "b", 9, &mut budget);
    labels.collected_at = 1_000;
    assert_eq!(label(&mut labels, "c", 9, &mut budget), Some(OTHER));
    assert_eq!(label(&mut labels, "a", 9, &mut budget), Some(0));
    assert_eq!(labels.name(OTHER), None);
    budget.per_site = 9;
    budget.bytes = budget.spent;
    assert_eq!(label(&mut labels, "c", 9, &mut budget), Some(OTHER));
}

#[test]
fn unused_labels_are_collected() {
    let (mut labels, mut budget) = (SiteLabels::default(), budget(10_000, 1 << 20));
    let mut segments = Segments::new(1);
    let segment = segments.begin_record(0, 0);
    let mut window = SlidingWindow::new(&[300], 1_000);
    let used = label(&mut labels, "/used", 1, &mut budget).expect("room");
    let mut n = 0;
    while let Some(page) = label(&mut labels, &format!("/{n}"), window.live(), &mut budget) {
        let seen = Visit {
            hash: 1 << 60,
            second: 1_000,
            source: used,
            page,
        };
        window.visit(seen, 10, segment, &mut segments);
        n += 1;
    }
    assert!((30..100).contains(&n), "{n}");
    let last = format!("/{}", n - 1);
    labels.collect(window.live_mut(), &[], 1_000, &mut budget);
    assert_eq!(labels.len(), 2);
    let slot = window.within(300).next().expect("one visitor");
    assert_eq!(labels.name(slot.source), Some("/used"));
    assert_eq!(labels.name(slot.page), Some(&*last));
    assert_eq!(
        budget.spent,
        "/used".len() + last.len() + 2 * LABEL_OVERHEAD_BYTES
    );
    assert!(label(&mut labels, &last, 1, &mut budget) == Some(slot.page));
    labels.clear(&mut budget);
    assert_eq!(budget.spent, 0);
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let long = "é".repeat(400);
    let shown = cut(&long);
    assert!(shown.len() <= MAX_NAME_BYTES && shown.ends_with('…'));
    assert_eq!(cut("short"), "short");
}
