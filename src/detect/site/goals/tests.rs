use super::*;
use crate::domain::id::GoalId;
use crate::domain::texts::{Texts, WrittenTexts};
use proptest::prelude::*;

fn goal(rule: GoalRule) -> Arc<Goal> {
    goal_with(rule, &[])
}

fn goal_with(rule: GoalRule, props: &[(&str, &str)]) -> Arc<Goal> {
    Arc::new(Goal {
        id: GoalId::from_uuid(uuid::Uuid::nil()),
        name: "A goal".to_owned(),
        rule,
        props: props
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        active_since_ms: 0,
    })
}

fn page(path: &str) -> GoalRule {
    GoalRule::Page {
        path: path.to_owned(),
    }
}

fn event_rule(event: &str) -> GoalRule {
    GoalRule::Event {
        event: event.to_owned(),
    }
}

fn scroll(path: &str, scroll_threshold: u8) -> GoalRule {
    GoalRule::Scroll {
        path: path.to_owned(),
        scroll_threshold,
    }
}

fn event<'a>(kind: EventKind, name: Option<&'a str>, path: Option<&'a str>) -> Event<'a> {
    Event {
        name: name.map(Into::into),
        path: path.map(Into::into),
        ..Event::new("s", kind)
    }
}

fn found(index: &GoalIndex, event: &Event<'_>) -> Vec<u32> {
    let mut found = vec![99];
    index.find(event, &mut found);
    found
}

#[test]
fn an_event_goal_takes_custom_and_goal_events_of_its_name() {
    let index = GoalIndex::new([goal(event_rule("Signup")), goal(event_rule("signup"))]);
    for kind in [EventKind::Custom, EventKind::Goal] {
        assert_eq!(found(&index, &event(kind, Some("Signup"), None)), [0]);
        assert_eq!(found(&index, &event(kind, Some("signup"), None)), [1]);
        assert_eq!(found(&index, &event(kind, Some("Sign"), None)), [0; 0]);
    }
    for kind in [EventKind::Pageview, EventKind::Engagement, EventKind::Error] {
        assert_eq!(found(&index, &event(kind, Some("Signup"), None)), [0; 0]);
    }
}

#[test]
fn a_page_goal_takes_pageviews_whose_path_matches() {
    let index = GoalIndex::new([
        goal(page("/thanks")),
        goal(page("/blog*")),
        goal(page("/blog/*/edit")),
        goal(page("*")),
        goal(page("/blog/a*")),
    ]);
    let view = |path| found(&index, &event(EventKind::Pageview, None, Some(path)));
    assert_eq!(view("/thanks"), [0, 3]);
    assert_eq!(view("/thanks/"), [3]);
    assert_eq!(view("/blog/a/edit"), [1, 2, 3, 4]);
    assert_eq!(view("/blo"), [3]);
    assert_eq!(
        found(&index, &event(EventKind::Custom, Some("x"), Some("/thanks"))),
        [0; 0]
    );
    assert_eq!(found(&index, &event(EventKind::Pageview, None, None)), [0; 0]);
}

#[test]
fn a_scroll_goal_takes_engagement_from_its_threshold_on() {
    let index = GoalIndex::new([goal(scroll("/a*", 50)), goal(scroll("/a", 90))]);
    let at = |depth| {
        let mut event = event(EventKind::Engagement, None, Some("/a"));
        event.scroll_depth = depth;
        found(&index, &event)
    };
    assert_eq!(at(Some(49)), [0; 0]);
    assert_eq!(at(Some(50)), [0]);
    assert_eq!(at(Some(90)), [0, 1]);
    assert_eq!(at(Some(100)), [0, 1]);
    assert_eq!(at(Some(101)), [0; 0]);
    assert_eq!(at(None), [0; 0]);
}

#[test]
fn every_property_asked_for_must_be_there() {
    let index = GoalIndex::new([
        goal_with(event_rule("Buy"), &[("plan", "pro"), ("term", "year")]),
        goal_with(event_rule("Buy"), &[("plan", "pro")]),
    ]);
    let mut bought = event(EventKind::Custom, Some("Buy"), None);
    assert_eq!(found(&index, &bought), [0; 0]);
    for (props, completed) in [
        (r#""plan":"pro""#, &[1][..]),
        (r#""plan":"pro","term":"year""#, &[0, 1]),
        (r#""plan":"free","term":"year""#, &[]),
    ] {
        bought.props = Texts::Written(WrittenTexts::new(props));
        assert_eq!(found(&index, &bought), completed, "{props}");
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_trying_every_goal_finds(
        patterns in proptest::collection::vec("[ab/]{0,4}|[ab/*]{0,6}", 0..40),
        path in "[ab/]{0,8}",
    ) {
        let index = GoalIndex::new(patterns.iter().map(|pattern| goal(page(pattern))));
        let expected: Vec<u32> = (0..)
            .zip(&patterns)
            .filter(|(_, pattern)| Pattern::new(pattern).matches(&path))
            .map(|(number, _)| number)
            .collect();
        prop_assert!(expected.is_empty() || index.page_heads().may_match(&path));
        prop_assert_eq!(found(&index, &event(EventKind::Pageview, None, Some(&path))), expected);
    }
}

#[test]
fn a_thousand_goals_cost_an_event_a_few_comparisons() {
    let goals = (0..1_000).map(|n| goal(page(&format!("/section-{n:04}/*"))));
    let index = GoalIndex::new(goals);
    assert_eq!(
        index.pages.chain_of_last(),
        1,
        "prefixes that do not nest have no parents"
    );
    let view = event(EventKind::Pageview, None, Some("/section-0512/x"));
    assert_eq!(found(&index, &view), [512]);
}

#[test]
fn a_path_that_begins_like_no_goal_is_ruled_out_by_its_head() {
    let index = GoalIndex::new([goal(page("/thanks*")), goal(page("/signup"))]);
    let heads = index.page_heads();
    assert!(heads.may_match("/thanks/you") && heads.may_match("/signup"));
    assert!(!heads.may_match("/blog") && !heads.may_match("/") && !heads.may_match(""));
    assert!(GoalIndex::new([goal(page("/*"))]).page_heads().may_match("/"));
}
