use super::*;
use crate::kafka::session::commit_metadata::CommitMetadata;

/// First attempts that are sent without asking, as a model.
mod unasked;

fn range(from: i64, to: i64) -> UnaskedRange {
    UnaskedRange { from, to }
}

const NOW: i64 = 1_771_970_400_000;

fn inherited(before_ms: i64, is_claimed: bool) -> HandOver {
    HandOver::Inherited {
        before_ms,
        is_claimed,
    }
}

#[test]
fn a_commit_says_what_its_owner_may_have_sent() {
    let open = |is_inherited| HandOver::Open {
        range: range(10, 42),
        is_inherited,
    };
    for (text, addition) in [
        ("v1 5f3a open", HandOver::Unknown),
        ("v1 5f3a open 10..42", open(false)),
        ("v1 5f3a open 10..42 inherited", open(true)),
        ("v1 5f3a handed-over", HandOver::HandedOver),
        ("v1 5f3a inherited 1771970400000", inherited(NOW, false)),
        ("v1 5f3a inherited 1771970400000 claimed", inherited(NOW, true)),
    ] {
        let metadata = CommitMetadata::new("5f3a", addition);
        assert_eq!(metadata.to_string(), text);
        assert_eq!(CommitMetadata::parse(text), metadata);
    }
    for text in [
        "",
        "v1 5f3a open 10..",
        "v1 5f3a open x..y",
        "v1 5f3a closed 1..2",
        "v1 5f3a inherited",
        "v1 5f3a inherited soon claimed",
    ] {
        let parsed = CommitMetadata::<HandOver>::parse(text);
        assert_eq!(parsed.addition, HandOver::Unknown, "{text}");
    }
}

#[test]
fn nothing_is_sent_unasked_before_the_range_is_committed() {
    let mut sends = UnaskedSends::new(Some(100), None);
    sends.extend(90, false);
    assert!(!sends.contains(100), "it is announced, and not answered");
    sends.acknowledge();
    assert!(!sends.contains(99) && sends.contains(100) && sends.contains(163) && !sends.contains(164));
    // In a backlog the range stands still.
    sends.extend(5_000, true);
    sends.acknowledge();
    assert!(!sends.contains(164) && sends.is_short(5_000));
    sends.extend(5_100, false);
    sends.acknowledge();
    assert!(sends.contains(5_299) && !sends.contains(5_300), "twice what came");
    assert!(!sends.is_short(5_100));
}

#[test]
fn without_a_known_end_everything_is_asked_about() {
    let mut sends = UnaskedSends::new(None, None);
    sends.extend(7, false);
    sends.acknowledge();
    assert!(!sends.contains(7) && !sends.is_short(7));
}

#[test]
fn a_later_owner_is_told_of_one_that_died_before() {
    let died = HandOver::Open {
        range: range(100, 164),
        is_inherited: false,
    };
    let mut sends = UnaskedSends::new(Some(900), Some(died));
    sends.extend(90, false);
    assert_eq!(sends.suspicion(99), Suspicion::IfNoted);
    assert_eq!(sends.suspicion(100), Suspicion::Sent);
    assert_eq!(sends.suspicion(164), Suspicion::IfNoted);
    for is_claimed in [false, true] {
        let expected = HandOver::Open {
            range: range(100, 964),
            is_inherited: true,
        };
        assert_eq!(sends.state(899, is_claimed), expected);
    }
    // All that the dead owner had read is complete.
    let expected = HandOver::Open {
        range: range(900, 964),
        is_inherited: false,
    };
    assert_eq!(sends.state(900, false), expected);
    assert_eq!(sends.state(900, true), HandOver::HandedOver);
}

#[test]
fn after_an_owner_that_says_nothing_all_is_suspect() {
    let sends = UnaskedSends::new(Some(900), Some(HandOver::Unknown));
    assert_eq!(sends.suspicion(0), Suspicion::Sent);
    assert_eq!(sends.suspicion(899), Suspicion::Sent);
    assert_eq!(UnaskedSends::new(Some(900), None).suspicion(0), Suspicion::None);
}

#[test]
fn a_planned_hand_over_does_not_clear_who_died_before() {
    // A died; B follows, and hands over before all that was due is complete; then C follows, or B.
    let suspect_before = HandOver::Unknown.suspect_before_ms(false, NOW);
    assert_eq!(suspect_before, Some(NOW));
    let mut suspects = SuspectRecords::new(suspect_before);
    suspects.note_read(10, Some(NOW - 1));
    assert!(suspects.contain(NOW - 1) && !suspects.contain(NOW));
    let left = suspects.state(10, true);
    assert_eq!(left, inherited(NOW, true));
    for is_own in [false, true] {
        assert!(!left.is_of_dead(is_own), "its claims hold");
        assert_eq!(left.suspect_before_ms(is_own, NOW + 5_000), Some(NOW));
    }
    // B lost the partition, and has it again, or has died, too.
    let lost = suspects.state(10, false);
    assert_eq!(lost.suspect_before_ms(true, NOW + 5_000), Some(NOW));
    assert_eq!(lost.suspect_before_ms(false, NOW + 5_000), Some(NOW + 5_000));
    // All that was due when A died is complete.
    suspects.note_read(11, None);
    suspects.note_read(12, Some(NOW));
    suspects.note_read(13, Some(NOW + 1));
    assert_eq!(suspects.state(11, true), inherited(NOW, true));
    assert_eq!(suspects.state(12, true), HandOver::HandedOver);
    assert_eq!(suspects.state(12, false), HandOver::Unknown);
    assert_eq!(HandOver::HandedOver.suspect_before_ms(false, NOW), None);
    assert_eq!(HandOver::Unknown.suspect_before_ms(true, NOW), None);
    assert_eq!(SuspectRecords::new(None).state(0, true), HandOver::HandedOver);
}
