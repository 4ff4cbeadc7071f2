//! Problems of a configuration, collected so that all are named at once.

use std::fmt::Display;

use super::forms;

/// Shown instead of a value that may be secret.
pub(super) const HIDDEN: &str = "\"…\"";

/// A line, and the key whose source is still to be named.
#[derive(Debug, PartialEq, Eq)]
struct ProblemLine {
    line: String,
    key: Option<String>,
}

/// Problems found in a configuration, a line each.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<ProblemLine>);

impl Problems {
    /// Adds that `key` holds `value`, which is not `allowed`.
    pub(super) fn add(&mut self, key: &str, value: impl Display, allowed: &str) {
        self.push(format!("{key} = {value}: {allowed}"), Some(key.to_owned()));
    }

    /// Adds it unless `ok`.
    pub(super) fn check(&mut self, ok: bool, key: &str, value: impl Display, allowed: &str) {
        if !ok {
            self.add(key, value, allowed);
        }
    }

    /// Adds that `key` holds a number out of its range, if it does. The number is `shown` so.
    pub(super) fn check_range(&mut self, key: &str, number: impl Into<i64>, shown: impl Display) {
        let is_in_range = forms::range_of(key).is_some_and(|range| range.contains(&number.into()));
        self.check(is_in_range, key, shown, &forms::allowed(key).unwrap_or_default());
    }

    /// Adds a line that was written elsewhere.
    pub(super) fn add_line(&mut self, line: String) {
        self.push(line, None);
    }

    /// Adds a line unless there is one of the same key: two checks may find the same value wrong.
    pub(super) fn add_line_unless_known(&mut self, line: String) {
        let key = |line: &str| line.split(" = ").next().map(str::to_owned);
        if !self.0.iter().any(|known| key(&known.line) == key(&line)) {
            let key = key(&line);
            self.push(line, key);
        }
    }

    fn push(&mut self, line: String, key: Option<String>) {
        let problem = ProblemLine { line, key };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// The lines, each with the source of its value.
    pub(super) fn into_lines(self, place_of: impl Fn(&str) -> String) -> Vec<String> {
        let line = |problem: ProblemLine| {
            let place = problem.key.map(|key| place_of(&key)).unwrap_or_default();
            problem.line + &place
        };
        self.0.into_iter().map(line).collect()
    }
}

/// A text as a TOML file has it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
