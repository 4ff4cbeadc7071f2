//! The list of findings.

use serde::Serialize;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::cli::inspect) struct SourceFinding {
    pub(in crate::cli::inspect) severity: Severity,
    /// Stable, for scripts.
    pub(in crate::cli::inspect) code: &'static str,
    pub(in crate::cli::inspect) text: String,
    pub(in crate::cli::inspect) remedy: String,
}

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli::inspect) enum Severity {
    /// Because of it some or all events lead to nothing.
    Problem,
    /// Worth knowing.
    Note,
}

/// Findings in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct FindingList(Vec<SourceFinding>);

impl FindingList {
    pub(super) fn problem(&mut self, code: &'static str, text: String, remedy: String) {
        self.add(Severity::Problem, code, text, remedy);
    }

    pub(super) fn note(&mut self, code: &'static str, text: String, remedy: String) {
        self.add(Severity::Note, code, text, remedy);
    }

    fn add(&mut self, severity: Severity, code: &'static str, text: String, remedy: String) {
        self.0.push(SourceFinding {
            severity,
            code,
            text,
            remedy,
        });
    }

    /// The findings, problems first.
    pub(super) fn into_sorted(mut self) -> Vec<SourceFinding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}
