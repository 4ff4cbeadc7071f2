use super::*;
use crate::cli::inspect::findings::SourceFinding;
use crate::cli::inspect::sample::Sample;

fn verdict(severities: &[Severity]) -> String {
    let findings = severities.iter().map(|severity| SourceFinding {
        severity: *severity,
        code: "code",
        text: "found".to_owned(),
        remedy: "remedy".to_owned(),
    });
    let source = InspectedSource {
        topic: "events".to_owned(),
        format: "native".to_owned(),
        clock: "live".to_owned(),
        is_keyed: true,
        sample: Sample::default(),
        records: Vec::new(),
        findings: findings.collect(),
        now_ms: 0,
    };
    let text = text_of(&source, None, false);
    let verdict = text.lines().find(|line| line.starts_with("verdict: "));
    verdict.expect("a verdict").to_owned()
}

#[test]
fn only_without_any_finding_nothing_keeps_events() {
    use Severity::{Note, Problem};
    for (severities, said) in [
        (
            [].as_slice(),
            "verdict: nothing here keeps events from their webhooks.",
        ),
        (&[Note], "verdict: nothing is surely wrong."),
        (&[Problem, Note], "verdict: this is why"),
        (&[Problem, Problem], "verdict: 2 causes, the likeliest first"),
    ] {
        let verdict = verdict(severities);
        assert!(verdict.starts_with(said), "{verdict}");
    }
}
