use super::*;
use proptest::prelude::*;

#[test]
fn a_star_matches_any_run_of_characters() {
    for (pattern, path, matches) in [
        ("/blog", "/blog", true),
        ("/blog", "/blog/", false),
        ("/Blog", "/blog", false),
        ("/blog*", "/blog", true),
        ("/blog*", "/blog/", true),
        ("/blog*", "/blog/a/b", true),
        ("/blog*", "/a/blog", false),
        ("/blog/*", "/blog", false),
        ("/*/admin", "/sites/2/admin", true),
        ("/*/admin", "/admin", false),
        ("/**/admin", "/sites/2/admin", true),
        ("*", "", true),
        ("*", "/anything", true),
        ("**", "/anything", true),
        ("*a", "/a/a", true),
        ("/a*b*c", "/abbc", true),
        ("/a*b*c", "/acb", false),
        // The ends must not share a character.
        ("/aa*aa", "/aaa", false),
        ("/a?b", "/axb", false),
        ("/ä*ü", "/äöü", true),
        ("", "", true),
        ("", "/", false),
    ] {
        assert_eq!(Pattern::new(pattern).matches(path), matches, "{pattern} {path}");
    }
}

#[test]
fn many_stars_cost_linear_time() {
    let pattern = Pattern::new(&"*a".repeat(1_000));
    assert!(!pattern.matches(&"a".repeat(999)));
    assert!(pattern.matches(&"a".repeat(2_000)));
    let pattern = Pattern::new(&format!("{}b", "a*".repeat(500)));
    assert!(!pattern.matches(&"a".repeat(2_000)));
}

/// Matches by trying everything.
fn naive(pattern: &[char], path: &[char]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=path.len()).any(|skip| naive(rest, &path[skip..])),
        (Some((a, rest)), Some((b, tail))) => a == b && naive(rest, tail),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matches_what_trying_everything_matches(pattern in "[ab/ä*]{0,8}", path in "[ab/ä]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            Pattern::new(&pattern).matches(&path),
            naive(&chars(&pattern), &chars(&path))
        );
    }
}
